"""What the rules are judged from: plain values, gathered by whoever calls the gate.

A part that could not be gathered is a string, which says why; the rules that need it are
errors then, and the gate refuses. None means that there is nothing of the kind, as where no
champion serves yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from checks.model.answers import Answers, Labels


@dataclass(frozen=True)
class Threshold:
    """From which probability of a class that class is answered, where one of two is set so.

    Parameters
    ----------
    label : bool, int or str
    value : float
    """

    label: Any
    value: float


@dataclass(frozen=True, eq=False)
class Champion:
    """What the model that serves now answers on the same rows.

    Parameters
    ----------
    version : str
    predictions : ndarray of shape (n_rows,)
        On all sealed rows; a class that has gone since is an answer like any other, and wrong.
    learned : ndarray of bool, shape (n_rows,)
        Which sealed rows it was trained or chosen on.
    is_candidate : bool
        Whether it is the very model that is judged.
    """

    version: str
    predictions: Labels
    learned: NDArray[np.bool_]
    is_candidate: bool = False


@dataclass(frozen=True, eq=False)
class FreshCopy:
    """What a copy did that a process of its own loaded from the stored file.

    Parameters
    ----------
    predictions : ndarray of shape (n_rows,)
    probabilities : ndarray of shape (n_rows, k)
    row_ms, batch_ms : float
        Median wall clock for one row and for 1,000, in milliseconds.
    size : int
        Of the model file, in bytes.
    """

    predictions: Labels
    probabilities: NDArray[np.float64]
    row_ms: float
    batch_ms: float
    size: int


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything that is known of a candidate.

    Parameters
    ----------
    answers : Answers or str
        On the sealed rows; why it could not be scored.
    frame : DataFrame of shape (n_rows, n_columns)
        The sealed rows' features, as the candidate reads them.
    train : Answers or str
        On rows that it learned from.
    learned : ndarray of bool, shape (n_rows,), or str
        Which sealed rows it was trained or chosen on.
    majority, yardstick : ndarray of shape (n_rows,), or str
        What always answering the commonest training class gives, and what an untuned model
        says that was fitted on the same training rows.
    champion : Champion, str or None
        Why the one that the alias names cannot be scored; None where no alias names one.
    fresh : FreshCopy or str
    again : ndarray of float, shape (n_rows or fewer, k), or str
        The probabilities of the first rows, asked for a second time; the fresh copy answers
        all of them once more.
    reordered : ndarray of shape (n_rows,), or str
        The answers to the same rows in another order and in parts, put back in order.
    noisy, emptied : ndarray of shape (n_rows,), or str
        The answers when each number has a little noise, and when some cells are empty.
    shuffled : mapping of str to (ndarray of shape (n_rows,), str or None)
        By declared column, the answers when that column is shuffled among the rows; None where
        the model does not read it.
    alone : mapping of str to float, or str
        Area under the ROC curve of each column alone, on rows it was not learned from.
    copied : ndarray of bool, shape (n_rows,), or str
        Which sealed rows stand among the learned ones, their id and time aside.
    telling : mapping of str to str, or str
        Columns that the model reads and that name a row or its time, and how that shows.
    rows : sequence
        What names each sealed row, for examples; its position by default.
    look : int
        Which look at these sealed rows this is; with each the test set tells a little less.
    threshold : Threshold or None
        Where none is set, the likeliest class is answered.
    """

    answers: Answers | str
    frame: pd.DataFrame
    train: Answers | str
    learned: NDArray[np.bool_] | str
    majority: Labels | str
    yardstick: Labels | str
    champion: Champion | str | None
    fresh: FreshCopy | str
    again: NDArray[np.float64] | str
    reordered: Labels | str
    noisy: Labels | str
    emptied: Labels | str
    alone: Mapping[str, float] | str
    copied: NDArray[np.bool_] | str
    telling: Mapping[str, str] | str
    shuffled: Mapping[str, Labels | str | None] = field(default_factory=dict)
    rows: Sequence[Any] = ()
    look: int = 1
    threshold: Threshold | None = None
