"""Two models on the same rows: what one has right and the other wrong."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from checks.model.answers import Answers, Labels, NotJudgedError
from checks.model.interval import Interval

DRAWS = 2_000
"""Draws of the paired bootstrap."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Which rows each of two models has right.

    Parameters
    ----------
    truth : ndarray of int, shape (n_rows,)
        The true classes as positions.
    right, other_right : ndarray of bool, shape (n_rows,)
        Of the model that is judged, and of the one beside it.
    unknown : int
        Answers of the other model that name a class not known here; they are wrong.
    """

    truth: NDArray[np.int64]
    right: NDArray[np.bool_]
    other_right: NDArray[np.bool_]
    unknown: int = 0

    @classmethod
    def of(
        cls, answers: Answers, others: Labels, what: str, rows: NDArray[np.bool_] | None = None
    ) -> "Pair":
        """Pair a model's answers with another's, on some of the rows.

        Raises
        ------
        NotJudgedError
            The other's answers are none of one label a row, or name no known class at all.
        """
        codes = answers.codes(others, what, like=answers.truth, others=True)
        right, other_right = answers.predicted == answers.truth, codes == answers.truth
        rows = np.ones(len(codes), dtype=bool) if rows is None else rows
        return cls(
            answers.truth[rows], right[rows], other_right[rows], int((codes[rows] < 0).sum())
        )

    @property
    def helpful(self) -> NDArray[np.bool_]:
        """Which rows only the judged model has right."""
        return self.right & ~self.other_right

    @property
    def harmful(self) -> NDArray[np.bool_]:
        """Which rows only the other model has right."""
        return ~self.right & self.other_right

    @property
    def mcnemar_p(self) -> float:
        """The p-value of the exact McNemar test, two-sided.

        Were the models equally good, a flip would help as often as harm (McNemar 1947,
        Psychometrika 12, 153-157).
        """
        from scipy.stats import binomtest

        helpful, harmful = int(self.helpful.sum()), int(self.harmful.sum())
        flips = helpful + harmful
        return float(binomtest(helpful, flips, 0.5).pvalue) if flips else 1.0

    def scores(self, scoring: str) -> tuple[float, float]:
        """Return both models' scores: ``accuracy``, or ``balanced_accuracy``."""
        own, other = _scores(_cells(self)[None], scoring)
        return float(own[0]), float(other[0])

    def interval(self, scoring: str, confidence: float) -> Interval:
        """Return the confidence interval of the difference of the scores.

        The percentiles of `DRAWS` draws of pairs with replacement (Efron and Tibshirani 1993,
        chapter 13), seeded. A draw of rows is a draw of how many fall into each cell of class
        and outcome, which is what is drawn. A class that a draw lacks is left out of its mean.
        """
        cells = _cells(self)
        rng = np.random.default_rng(0)
        total = int(cells.sum())
        drawn = rng.multinomial(total, cells.ravel() / total, size=DRAWS)
        own, other = _scores(drawn.reshape(DRAWS, *cells.shape), scoring)
        tail = (1 - confidence) / 2
        low, high = np.quantile(own - other, [tail, 1 - tail])
        return float(low), float(high)


def _cells(pair: Pair) -> NDArray[np.int64]:
    """Count the rows of each class by outcome: shape (k, 2, 2), wrong before right."""
    if not len(pair.truth):
        raise NotJudgedError("there is no row to compare on")
    k = int(pair.truth.max()) + 1
    place = (pair.truth * 2 + pair.right) * 2 + pair.other_right
    counts: NDArray[np.int64] = np.bincount(place, minlength=4 * k).reshape(k, 2, 2)
    # In an order of their own: neither the order of rows nor the names of classes may decide
    # what is drawn.
    held = sorted(each.ravel().tolist() for each in counts if each.any())
    return np.array(held, dtype=np.int64).reshape(-1, 2, 2)


def _scores(
    cells: NDArray[np.int64], scoring: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Score draws of cells, shape (draws, k, 2, 2), for both models."""
    own, other, of = cells[:, :, 1].sum(axis=2), cells[:, :, :, 1].sum(axis=2), cells.sum((2, 3))
    if scoring == "accuracy":
        rows = of.sum(axis=1)
        return own.sum(axis=1) / rows, other.sum(axis=1) / rows
    if scoring != "balanced_accuracy":
        raise NotJudgedError(f"models are compared by accuracy or balanced_accuracy, not {scoring}")
    present = of > 0
    shares = np.maximum(of, 1) * present.sum(axis=1, keepdims=True)
    return (own / shares).sum(axis=1), (other / shares).sum(axis=1)
