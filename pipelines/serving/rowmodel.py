"""A fitted pipeline compiled into a few numpy operations, for requests of a few rows.

Nearly all of the time of a single-row answer goes into frames and scikit-learn's validation of
them. The preparation of `pipelines.features.preprocessor` needs neither: medians, means and
scales are arrays, and a category is a place in a dictionary. Networks and linear models are
compiled too; any other estimator is given the prepared matrix.

A compiled model is used only where it was seen to answer as the pipeline does (`compare`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from pipelines.features import Roles
from pipelines.scoring import answer
from pipelines.serving.schema import Columns

LEAST_ROWS = 1_000
"""Fewest rows on which a compiled model is compared with its pipeline."""

TOLERANCE = 1e-6
"""Largest difference of a probability that is taken for none."""

_EMPTIED = 0.1
_STRANGE = 0.02
_UNSEEN = "\x00a level that nobody has seen"


class NotCompiledError(Exception):
    """The model has a part that is not known here; it is served as it is."""


class Encoding:
    """The one-hot columns of the categorical cells.

    Parameters
    ----------
    encoder : OneHotEncoder
        Fitted on the categorical columns.
    names : sequence of str
    """

    def __init__(self, encoder: OneHotEncoder, names: Sequence[str]) -> None:
        self.places: list[tuple[str, dict[str | None, int], int]] = []
        self.width = 0
        known = [
            [level for level in levels if isinstance(level, str)] for levels in encoder.categories_
        ]
        rows = 2 + max((len(levels) for levels in known), default=0)
        asked = {}
        for name, levels in zip(names, known, strict=True):
            cells = [*levels, *[_UNSEEN] * (rows - 1 - len(levels)), math.nan]
            asked[name] = pd.Series(cells, dtype=object)
        # Asked rather than worked out: where each level, and a missing one, goes.
        blocks = np.asarray(encoder.transform(pd.DataFrame(asked, columns=list(names))))
        for place, (name, levels) in enumerate(zip(names, known, strict=True)):
            width = _width(encoder, place)
            block = blocks[:, self.width : self.width + width]
            hit = [self.width + int(row.argmax()) if row.any() else -1 for row in block]
            places: dict[str | None, int] = dict(zip(levels, hit, strict=False))
            places[None] = hit[-1]
            self.places.append((name, places, hit[len(levels)]))
            self.width += width

    def fill(self, out: NDArray[np.float32], columns: Columns, first: int) -> None:
        """Set the ones of the rows, from a column of the matrix on."""
        for name, places, unseen in self.places:
            for row, cell in enumerate(columns[name]):
                place = places.get(cell, unseen)
                if place >= 0:
                    out[row, first + place] = 1.0


class Preparation:
    """From checked cells to the matrix that the estimator was fitted on.

    Parameters
    ----------
    step : ColumnTransformer
        Fitted, as `pipelines.features.preprocessor` makes it.
    roles : Roles

    Raises
    ------
    NotCompiledError
    """

    def __init__(self, step: Any, roles: Roles) -> None:
        if not isinstance(step, ColumnTransformer):
            raise NotCompiledError(f"the first step is a {type(step).__name__}")
        parts = {name: fitted for name, fitted, _ in step.transformers_}
        if not parts.keys() <= {"numeric", "categorical", "remainder"}:
            raise NotCompiledError(f"the preparation has other parts: {', '.join(parts)}")
        self._numeric = list(roles.numeric)
        self._encoding: Encoding | None = None
        self._width = 0
        if roles.numeric:
            impute, scale = (parts["numeric"].named_steps[name] for name in ("impute", "scale"))
            self._median = np.array(impute.statistics_, dtype=np.float64)
            self._marked = np.asarray(impute.indicator_.features_, dtype=np.intp)
            self._mean = np.array(scale.mean_, dtype=np.float64)
            self._scale = np.array(scale.scale_, dtype=np.float64)
            self._width = len(self._mean)
        if roles.categorical:
            self._encoding = Encoding(parts["categorical"], roles.categorical)

    def __call__(self, columns: Columns) -> NDArray[np.float32]:
        """Return the matrix of shape (n_rows, n_features)."""
        rows = len(next(iter(columns.values())))
        encoded = 0 if self._encoding is None else self._encoding.width
        out = np.zeros((rows, self._width + encoded), dtype=np.float32)
        if self._numeric:
            # None becomes NaN in an array of numbers.
            cells = np.array([columns[name] for name in self._numeric], dtype=np.float64).T
            absent = np.isnan(cells)
            cells = np.where(absent, self._median, cells)
            if len(self._marked):
                cells = np.hstack([cells, absent[:, self._marked]])
            out[:, : self._width] = (cells - self._mean) / self._scale
        if self._encoding is not None:
            self._encoding.fill(out, columns, self._width)
        return out


class RowModel:
    """A compiled model. It is never changed, and safe to share between threads.

    Attributes
    ----------
    classes : list
        As plain Python values, in the order of the probabilities.
    levels : mapping of str to frozenset of str
        The categories that training saw, by column.
    """

    def __init__(
        self,
        prepare: Preparation,
        shares: Callable[[NDArray[np.float32]], NDArray[Any]],
        classes: Sequence[Any],
        levels: Mapping[str, frozenset[str]],
        threshold: tuple[int, float] | None,
    ) -> None:
        self.classes = list(classes)
        self.levels = levels
        self._prepare = prepare
        self._shares = shares
        self._threshold = threshold

    def answer(self, columns: Columns) -> tuple[list[Any], NDArray[np.float64]]:
        """Return a class for each row, and the probability of each class.

        Parameters
        ----------
        columns : Columns
            Checked cells: see `pipelines.serving.schema.check_columns`.

        Returns
        -------
        list of n_rows classes
        ndarray of shape (n_rows, n_classes)
        """
        shares = np.asarray(self._shares(self._prepare(columns)), dtype=np.float64)
        if self._threshold is None:
            places = shares.argmax(axis=1).tolist()
        else:
            positive, least = self._threshold
            reached = shares[:, positive] >= least
            places = np.where(reached, positive, 1 - positive).tolist()
        return [self.classes[place] for place in places], shares


@dataclass(frozen=True)
class Agreement:
    """How a compiled model answers beside its pipeline.

    Parameters
    ----------
    rows : int
        That were compared.
    flipped : int
        Rows that were answered otherwise.
    difference : float
        The largest difference of a probability.
    reason : str
        Why there was nothing to compare, or nothing.
    """

    rows: int = 0
    flipped: int = 0
    difference: float = math.inf
    reason: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the compiled model may answer in the pipeline's place."""
        enough = self.rows >= LEAST_ROWS and not self.reason
        return enough and self.flipped == 0 and self.difference <= TOLERANCE

    def __str__(self) -> str:
        if self.reason:
            return f"no: {self.reason}"
        said = f"{self.rows} rows, {self.flipped} flipped, largest difference {self.difference:.1e}"
        return f"{'agrees' if self.agrees else 'no'}: {said}"


def compile_model(model: "Pipeline | FixedThresholdClassifier", roles: Roles) -> RowModel:
    """Compile a fitted model.

    Parameters
    ----------
    model : Pipeline, or FixedThresholdClassifier around one
    roles : Roles

    Raises
    ------
    NotCompiledError
        A part of it is not known here.
    """
    pipeline = _pipeline(model)
    threshold = None
    if isinstance(model, FixedThresholdClassifier):
        positive = int(np.flatnonzero(model.classes_ == model.pos_label)[0])
        threshold = (positive, float(model.threshold))
    (_, step), (_, estimator) = pipeline.steps
    return RowModel(
        Preparation(step, roles),
        _shares(estimator),
        model.classes_.tolist(),
        known_levels(model, roles),
        threshold,
    )


def known_levels(model: Any, roles: Roles) -> Mapping[str, frozenset[str]]:
    """Return the categories that a model saw in training, by column; none where it is unknown."""
    try:
        step = _pipeline(model).steps[0][1]
        encoder = {name: fitted for name, fitted, _ in step.transformers_}["categorical"]
        found = encoder.categories_
    except (NotCompiledError, AttributeError, KeyError):
        return {}
    return {
        name: frozenset(level for level in levels if isinstance(level, str))
        for name, levels in zip(roles.categorical, found, strict=True)
    }


def compare(
    model: "Pipeline | FixedThresholdClassifier", roles: Roles, rows: pd.DataFrame, *, seed: int = 0
) -> Agreement:
    """Compile a model and compare its answers with the pipeline's.

    Parameters
    ----------
    model : Pipeline, or FixedThresholdClassifier around one
    roles : Roles
    rows : DataFrame of shape (n_rows, n_columns)
        Conformed; each is asked as it is, and again with cells emptied and levels that were
        never seen, until `LEAST_ROWS` were asked at least.
    seed : int
        Of which cells those are.
    """
    if not len(rows):
        return Agreement(reason="there is no row to compare on")
    try:
        compiled = compile_model(model, roles)
        random = np.random.default_rng(seed)
        asked = [rows]
        while len(asked) < 2 or sum(map(len, asked)) < LEAST_ROWS:
            asked.append(_disturbed(rows, roles, random))
        whole = pd.concat(asked, ignore_index=True)
        expected, shares = answer(model, whole)
        given, found = compiled.answer(as_columns(whole, roles))
    except Exception as err:
        # Whatever it is, the pipeline answers.
        said = str(err).splitlines() or [""]
        return Agreement(reason=f"{type(err).__name__}: {said[0][:200]}")
    flipped = sum(a != b for a, b in zip(expected.tolist(), given, strict=True))
    return Agreement(len(whole), flipped, float(np.abs(shares - found).max()))


def as_columns(rows: pd.DataFrame, roles: Roles) -> dict[str, list[Any]]:
    """Return conformed rows as checked cells."""
    return {name: _cells(rows[name].tolist()) for name in roles.columns}


def _cells(values: list[Any]) -> list[Any]:
    return [None if isinstance(cell, float) and math.isnan(cell) else cell for cell in values]


def _disturbed(rows: pd.DataFrame, roles: Roles, random: np.random.Generator) -> pd.DataFrame:
    out = rows.copy()
    for name in roles.columns:
        out.loc[random.random(len(out)) < _EMPTIED, name] = math.nan
    for name in roles.categorical:
        out.loc[random.random(len(out)) < _STRANGE, name] = _UNSEEN
    return out


def _pipeline(model: Any) -> Pipeline:
    if isinstance(model, FixedThresholdClassifier):
        model = model.estimator_
    if isinstance(model, FrozenEstimator):
        model = model.estimator
    if not isinstance(model, Pipeline) or len(model.steps) != 2:
        raise NotCompiledError(f"the model is a {type(model).__name__}")
    return model


def _width(encoder: OneHotEncoder, place: int) -> int:
    rare = encoder.infrequent_categories_[place]
    levels = len(encoder.categories_[place])
    return levels if rare is None else levels - len(rare) + 1


def _shares(estimator: Any) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
    if type(estimator) is MLPClassifier:
        return _network(estimator)
    if type(estimator) is LogisticRegression:
        return _linear(estimator)
    probabilities: Callable[[NDArray[np.float32]], NDArray[Any]] = estimator.predict_proba
    return probabilities


def _network(estimator: MLPClassifier) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
    hidden: Any = {
        "relu": lambda x: np.maximum(x, 0, out=x),
        "tanh": lambda x: np.tanh(x, out=x),
        "logistic": lambda x: expit(x, out=x),
        "identity": lambda x: x,
    }[estimator.activation]
    layers = list(zip(estimator.coefs_, estimator.intercepts_, strict=True))
    binary = estimator.out_activation_ == "logistic"
    if binary and layers[-1][0].shape[1] != 1:
        raise NotCompiledError("the network answers several questions at once")

    def shares(matrix: NDArray[np.float32]) -> NDArray[Any]:
        x: Any = matrix
        for place, (weights, bias) in enumerate(layers):
            x = x @ weights
            x += bias
            if place < len(layers) - 1:
                x = hidden(x)
        if not binary:
            return np.asarray(softmax(x, axis=1))
        positive = expit(x[:, 0])
        return np.column_stack([1 - positive, positive])

    return shares


def _linear(estimator: LogisticRegression) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
    weights, bias = estimator.coef_.T, estimator.intercept_

    def shares(matrix: NDArray[np.float32]) -> NDArray[Any]:
        scores = matrix @ weights + bias
        if scores.shape[1] > 1:
            return np.asarray(softmax(scores, axis=1))
        positive = expit(scores[:, 0])
        return np.column_stack([1 - positive, positive])

    return shares
