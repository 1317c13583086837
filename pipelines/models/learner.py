"""A model that is being fitted: it can be stopped, pickled, sent elsewhere, and go on.

The sweep gives a trial a little of its family's resource, looks at what came of it, and later
perhaps gives it more. What it has learned is never learned again.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Rows:
    """What is learned from. The arrays may be read-only memory maps.

    Parameters
    ----------
    X : ndarray of float32, shape (n_rows, n_columns)
        In C order.
    y : ndarray, shape (n_rows,)
        The labels.
    codes : ndarray of intp, shape (n_rows,)
        The place of each label in ``classes``.
    classes : ndarray, shape (n_classes,)
        Sorted.
    weights : ndarray of float32, shape (n_rows,), or None
        How much each row counts.
    """

    X: NDArray[np.float32]
    y: NDArray[Any]
    codes: NDArray[np.intp]
    classes: NDArray[Any]
    weights: NDArray[np.float32] | None = None

    def take(self, places: NDArray[np.intp]) -> "Rows":
        """Return the rows of these places, in this order."""
        weights = None if self.weights is None else self.weights[places]
        return Rows(self.X[places], self.y[places], self.codes[places], self.classes, weights)


class Learner(ABC):
    """A model on its way; pickled without the rows.

    The same start and the same calls give the same model, in any process of one machine, and
    a pickle in between changes nothing.

    Attributes
    ----------
    units : int
        How much of its family's resource it has learned from.
    """

    units: int = 0

    @abstractmethod
    def advance(self, rows: Rows, units: int) -> None:
        """Go on until it has learned from so many units in all.

        Raises
        ------
        Exception
            Whatever the library raises; FloatingPointError where the numbers run away.
        """

    @abstractmethod
    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
        """Return the probability of each class, shape (n_rows, n_classes)."""

    @abstractmethod
    def estimator(self) -> Any:
        """Return the fitted scikit-learn classifier, its own copy, as it is now.

        Its parameters say how to fit it again.
        """

    def snapshot(self) -> "Learner":
        """Return it as it is now, untouched by what this one learns later.

        Of a snapshot only `predict_proba` and `estimator` are asked.
        """
        return copy.deepcopy(self)


class _Fitting(Learner):
    """Around an estimator of scikit-learn's."""

    def __init__(self, model: Any, seed: int) -> None:
        self.model = model
        self.seed = seed
        self.classes: NDArray[Any] | None = None

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
        found: NDArray[np.floating[Any]] = self.model.predict_proba(X)
        if self.classes is None or found.shape[1] == len(self.classes):
            return found
        # A class of which it was shown no row has no column of its own.
        whole = np.zeros((len(found), len(self.classes)), dtype=found.dtype)
        whole[:, np.searchsorted(self.classes, self.model.classes_)] = found
        return whole

    def estimator(self) -> Any:
        model = copy.deepcopy(self.model)
        if "random_state" in model.get_params(deep=False):
            # A generator's state is no parameter; the seed says how to fit it again.
            model.set_params(random_state=self.seed)
        return model


class Passes(_Fitting):
    """Fitted by ``partial_fit``: a unit is one pass over the rows."""

    def advance(self, rows: Rows, units: int) -> None:
        """Pass over the rows until it has so many times in all."""
        self.classes = rows.classes
        for _ in range(self.units, units):
            with _running_away():
                self.model.partial_fit(rows.X, rows.y, classes=rows.classes, **_weighted(rows))
            self.units += 1

    def estimator(self) -> Any:
        """Return the classifier, whose parameters make as many passes."""
        model = super().estimator()
        # The second keeps it from stopping by a rule of its own.
        again = {"max_iter": self.units, "n_iter_no_change": self.units}
        known = model.get_params(deep=False)
        return model.set_params(**{name: value for name, value in again.items() if name in known})


class Growing(_Fitting):
    """Fitted by ``warm_start``: a unit is one tree, or one iteration.

    Parameters
    ----------
    model : classifier with ``warm_start``
    seed : int
    size : str
        The parameter that is the number of units, such as ``n_estimators``.
    """

    def __init__(self, model: Any, seed: int, size: str) -> None:
        super().__init__(model, seed)
        self.size = size

    def advance(self, rows: Rows, units: int) -> None:
        """Add trees, or iterations, until it has so many in all."""
        if units <= self.units:
            return
        self.classes = rows.classes
        self.model.set_params(**{"warm_start": True, self.size: units})
        with _running_away():
            self.model.fit(rows.X, rows.y, **_weighted(rows))
        self.units = units

    def snapshot(self) -> "Growing":
        """Return it as it is now, around the same trees: they only grow more."""
        parts = [*getattr(self.model, "estimators_", ()), *getattr(self.model, "_predictors", ())]
        return copy.deepcopy(self, {id(part): part for part in parts})

    def estimator(self) -> Any:
        """Return the fitted classifier, which grows no further by itself."""
        return super().estimator().set_params(warm_start=False)


class Subsets(_Fitting):
    """Fitted at once: a unit is one row, and more of them are another fit.

    The rows of a smaller fit are among those of a larger one, in the classes' proportions, and
    hold at least one of each class.
    """

    def advance(self, rows: Rows, units: int) -> None:
        """Fit on so many rows."""
        from sklearn.base import clone

        if units <= self.units:
            return
        self.classes = rows.classes
        if units < len(rows.X):
            least = max(units, len(rows.classes))
            rows = rows.take(np.sort(stratified(rows, self.seed)[:least]))
        model = clone(self.model)
        with _running_away():
            model.fit(rows.X, rows.y, **_weighted(rows))
        self.model, self.units = model, units

    def snapshot(self) -> "Subsets":
        """Return it as it is now; what this one learns later is another model."""
        return copy.copy(self)


@contextmanager
def _running_away() -> Iterator[None]:
    """Tell numbers that ran away, which scikit-learn says as a ValueError, by their own error."""
    try:
        yield
    except ValueError as err:
        if any(said in str(err) for said in ("non-finite", "Floating-point under-/overflow")):
            raise FloatingPointError(str(err)) from err
        raise


def _weighted(rows: Rows) -> dict[str, Any]:
    return {} if rows.weights is None else {"sample_weight": rows.weights}


def stratified(rows: Rows, seed: int) -> NDArray[np.intp]:
    """Return the places of the rows in an order of which every head is stratified.

    A row of each class comes first.
    """
    random = np.random.default_rng(seed)
    position = np.empty(len(rows.codes), dtype=np.float64)
    for code in range(len(rows.classes)):
        places = random.permutation(np.flatnonzero(rows.codes == code))
        # Evenly spread over the whole, so that a head holds each class in proportion.
        position[places] = (np.arange(len(places)) + 0.5) / max(len(places), 1)
        position[places[:1]] = -1.0
    return np.argsort(position, kind="stable")
