"""What a model answers when it is asked again, or about rows that are a little different.

Each function passes once over all rows. Frames are conformed ones (`features.conform`), and
the same seed gives the same rows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin

from pipelines.errors import DataError
from pipelines.evaluation import aligned, ask
from pipelines.features import Roles

_SINGLE_ROWS = 20
_PARTS = 8


def again(model: ClassifierMixin, X: pd.DataFrame, labels: Sequence[Any]) -> NDArray[np.float64]:
    """Ask for the probabilities once more.

    Parameters
    ----------
    model : classifier with ``predict_proba``
    X : DataFrame of shape (n_rows, n_features)
    labels : sequence of k labels
        As `evaluation.Evaluation` has them.

    Returns
    -------
    ndarray of shape (n_rows, k)
    """
    return aligned(ask(model.predict_proba, X), model.classes_, labels)


def reordered(model: ClassifierMixin, X: pd.DataFrame, *, seed: int = 0) -> NDArray[Any]:
    """Ask for the rows in another order, some alone and the rest in parts of unequal size.

    Returns
    -------
    ndarray of shape (n_rows,)
        The answers, in the order of ``X``.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(X))
    alone = np.arange(1, min(_SINGLE_ROWS, len(X)))
    cuts = np.union1d(alone, rng.integers(1, max(len(X), 2), size=_PARTS))
    answers = [ask(model.predict, X.iloc[part]) for part in np.split(order, cuts) if len(part)]
    together = np.concatenate(answers)
    back = np.empty_like(together)
    back[order] = together
    return back


def noisy(
    model: ClassifierMixin, X: pd.DataFrame, roles: Roles, *, noise: float, seed: int = 0
) -> NDArray[Any]:
    """Ask for the rows with normal noise on each number.

    Parameters
    ----------
    model : classifier
    X : DataFrame of shape (n_rows, n_features)
    roles : Roles
    noise : float
        Its standard deviation, in those of the column.
    seed : int

    Returns
    -------
    ndarray of shape (n_rows,)
    """
    columns = list(roles.numeric)
    numbers = X[columns].to_numpy(dtype=np.float64)
    drawn = np.random.default_rng(seed).standard_normal(numbers.shape)
    spread = X[columns].std(ddof=0).to_numpy(dtype=np.float64)
    moved = pd.DataFrame(numbers + drawn * (noise * spread), columns=columns, index=X.index)
    return _predict(model, X.assign(**{column: moved[column] for column in columns}))


def emptied(
    model: ClassifierMixin, X: pd.DataFrame, *, missing: float, seed: int = 0
) -> NDArray[Any]:
    """Ask for the rows with some of their cells empty.

    Parameters
    ----------
    model : classifier
    X : DataFrame of shape (n_rows, n_features)
    missing : float
        Chance of each cell to be emptied.
    seed : int

    Returns
    -------
    ndarray of shape (n_rows,)
    """
    lost = np.random.default_rng(seed).random(X.shape) < missing
    return _predict(model, X.mask(lost))


def shuffled(
    model: ClassifierMixin, X: pd.DataFrame, column: str, *, seed: int = 0
) -> NDArray[Any]:
    """Ask for the rows with a column's values exchanged among them.

    Each row gets the value of a row that is drawn among all whose value is another, a missing
    one counting as a value: a plain permutation would leave most rows of a frequent value
    as they are.

    Returns
    -------
    ndarray of shape (n_rows,)

    Raises
    ------
    DataError
        The model does not read the column.
    """
    if column not in X.columns:
        raise DataError(
            "A column whose values are exchanged is one that the model reads.",
            found=f"it does not read {column!r}",
            next_move="nothing: what a model does not read cannot change its answers",
        )
    codes, _ = pd.factorize(X[column], use_na_sentinel=False)
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes)
    others = len(codes) - counts[codes]
    if not others.all():
        return _predict(model, X)
    # Sorted by value, the other rows lie in one stretch after the row's own, round the end.
    after = np.cumsum(counts)[codes]
    drawn = np.random.default_rng(seed).integers(0, others)
    giver = order[(after + drawn) % len(codes)]
    given = X[column].take(giver).set_axis(X.index)
    return _predict(model, X.assign(**{column: given}))


def _predict(model: ClassifierMixin, X: pd.DataFrame) -> NDArray[Any]:
    return ask(model.predict, X)
