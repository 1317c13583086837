"""Which answers differ, where a difference counts.

A probability may differ in its last digits with the number of rows that are asked for at
once. A label that changes for that alone says nothing of the model.
"""

import numpy as np
from numpy.typing import NDArray

from checks.model.answers import Answers, Labels, NotJudgedError, class_name
from checks.model.evidence import Threshold

TOLERANCE = 1e-5
"""Probabilities nearer than this to one another, or to a threshold, decide nothing."""


def changed(answers: Answers, others: Labels | str, what: str) -> NDArray[np.bool_]:
    """Return which rows get another label, shape (n_rows,).

    Raises
    ------
    NotJudgedError
        There are no other answers, or they are not one label a row.
    """
    if isinstance(others, str):
        raise NotJudgedError(f"{what} are not there ({others})")
    codes = answers.codes(others, what, like=answers.truth, others=True)
    differ: NDArray[np.bool_] = codes != answers.predicted
    return differ


def undecided(answers: Answers, threshold: Threshold | None = None) -> NDArray[np.bool_]:
    """Return which rows lie on the border between two classes, shape (n_rows,)."""
    given = np.asarray(answers.probabilities, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] < 2:
        return np.zeros(len(given), dtype=bool)
    if threshold is not None:
        positive = given[:, answers.named(class_name(threshold.label))]
        return np.asarray(np.abs(positive - threshold.value) < TOLERANCE)
    top = np.sort(given, axis=1)
    return np.asarray(top[:, -1] - top[:, -2] < TOLERANCE)
