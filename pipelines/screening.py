"""What is in the columns that ought not to be: the answer, the row's name, or its time."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types

from pipelines.features import Roles
from pipelines.split import hash_rows

if TYPE_CHECKING:
    from pipelines.data import DataSettings

SCREENED_ROWS = 20_000
"""Rows that a column's power is measured on: the third digit of an area needs no more."""

FOLLOWS = 0.999
"""Rank correlation with the time from which a column is the time under another name."""

# None that a made-up table is likely to have been drawn with: its classes would be the halves.
_SEED = 52_709_633

_BINS = 20
_PRIOR_ROWS = 5.0
_FEWEST_ROWS = 20
_EQUAL = 1e-3
_CHANCE = 1e-3


def screened(rows: int) -> NDArray[np.intp]:
    """Choose the positions to measure on: at most `SCREENED_ROWS`, always the same ones."""
    if rows <= SCREENED_ROWS:
        return np.arange(rows)
    return np.random.RandomState(0).choice(rows, SCREENED_ROWS, replace=False)


def alone(frame: pd.DataFrame, labels: NDArray[Any], columns: Iterable[str]) -> dict[str, float]:
    """Measure how well each column alone ranks the classes.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
    labels : ndarray of shape (n_rows,)
    columns : iterable of str

    Returns
    -------
    dict of str to float
        Column to area under the ROC curve, 0.5 for not at all.

    Notes
    -----
    It is the area of the smoothed target rate per level or per twentieth, learnt on one half
    of the rows and ranked on the other (target encoding: Micci-Barreca, "A preprocessing
    scheme for high-cardinality categorical attributes", SIGKDD Explorations 3 (2001)); with
    more than two classes the mean over them, each against the rest, weighted by its share.
    """
    chosen = screened(len(frame))
    answers = labels[chosen]
    # One half teaches the rates, the other is ranked by them, so that many levels gain nothing.
    taught = np.random.default_rng(_SEED).random(len(chosen)) < 0.5
    return {
        column: _power(_coded(frame[column].iloc[chosen]), answers, taught) for column in columns
    }


def _coded(series: "pd.Series[Any]") -> NDArray[np.int64]:
    """Return each cell's level, or its twentieth, as a small number; 0 where missing."""
    if types.is_numeric_dtype(series) and not types.is_bool_dtype(series):
        ranks = series.rank(pct=True).to_numpy(dtype=float, na_value=np.nan)
        return np.nan_to_num(np.ceil(ranks * _BINS)).astype(np.int64)
    codes, _ = pd.factorize(series)
    return np.asarray(codes, dtype=np.int64) + 1


def _power(codes: NDArray[np.int64], answers: NDArray[Any], taught: NDArray[np.bool_]) -> float:
    size = int(codes.max()) + 1
    told, asked = codes[taught], codes[~taught]
    rows, asked_rows = (np.bincount(half, minlength=size) for half in (told, asked))
    classes, counts = np.unique(answers, return_counts=True)
    if len(classes) == 2:
        classes, counts = classes[1:], counts[1:]
    total, weight = 0.0, 0
    for label, count in zip(classes, counts.tolist(), strict=True):
        hit = answers == label
        if not 0 < hit[~taught].sum() < len(asked) or not hit[taught].any():
            continue
        hits = np.bincount(told, weights=hit[taught], minlength=size)
        rate = (hits + hit[taught].mean() * _PRIOR_ROWS) / (rows + _PRIOR_ROWS)
        asked_hits = np.bincount(asked, weights=hit[~taught], minlength=size)
        total += count * area(rate, asked_hits, asked_rows - asked_hits)
        weight += count
    return total / weight if weight else 0.5


def area(scores: NDArray[np.float64], positives: NDArray[Any], negatives: NDArray[Any]) -> float:
    """Return the area under the ROC curve of rows that are counted by level.

    It is Mann and Whitney's: the chance that a positive row's score is above a negative
    row's, a tie counting half. Counted by level it takes one pass, whatever the rows.

    Parameters
    ----------
    scores, positives, negatives : ndarray of shape (n_levels,)
        Of each level the score, and how many rows of either kind it has.
    """
    _, rank = np.unique(scores, return_inverse=True)
    above, below = np.bincount(rank, positives), np.bincount(rank, negatives)
    beaten = np.cumsum(below) - below / 2
    return float((above * beaten).sum() / (above.sum() * below.sum()))


def copied(
    sealed: pd.DataFrame, learned: pd.DataFrame, roles: Roles, target: str
) -> NDArray[np.bool_]:
    """Say which sealed rows stand among the learned ones, their id and time aside.

    Parameters
    ----------
    sealed, learned : DataFrame of shape (n_rows, n_columns)
        Not conformed.
    roles : Roles
        The columns that the model reads, which are compared together with the target.
    target : str

    Returns
    -------
    ndarray of bool, shape (n_rows,)
    """
    compared = [*roles.columns, target]
    return np.isin(hash_rows(sealed[compared]), hash_rows(learned[compared]))


def telling(frame: pd.DataFrame, roles: Roles, settings: "DataSettings") -> dict[str, str]:
    """Find the columns that a model reads and that name a row or its time.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        The whole table, with its time column: in a part of it, such as one month, honest
        columns follow the time too. Fewer than twenty rows tell nothing.
    roles : Roles
    settings : DataSettings

    Returns
    -------
    dict of str to str
        Column to a sentence that says how it shows.
    """
    named = {settings.id: "id", settings.time: "time", settings.group: "group"}
    found = {
        column: f"{column} is the {named[column]} column."
        for column in roles.columns
        if column in named
    }
    for column in roles.columns:
        if column in found or column not in frame.columns:
            continue
        numeric = column in roles.numeric
        said = _naming(frame[column], numeric=numeric)
        if not said and numeric and settings.time is not None:
            said = _timing(frame[column], frame[settings.time])
        if said:
            found[column] = f"{column} {said}."
    return found


def _naming(values: "pd.Series[Any]", *, numeric: bool) -> str:
    """Say how a column names each row; nothing where it does not."""
    present = values.dropna()
    count = len(present)
    if count < max(_FEWEST_ROWS, len(values) / 2) or present.nunique() < count:
        return ""
    every = f"each of {count:,} rows"
    if not numeric:
        return f"has a different value in {every}, as an id does"
    numbers = np.sort(_numbers(present))
    width = numbers[-1] - numbers[0]
    if np.ptp(np.diff(numbers)) <= _EQUAL * width / count:
        return f"counts {every} in equal steps"
    # Whole numbers drawn from as narrow a range would hardly all be different (the birthday
    # problem); prices and other sums of a small table may well be.
    if (numbers % 1 == 0).all() and math.exp(-count * (count - 1) / 2 / width) < _CHANCE:
        return f"has a different whole number in {every}, as an id does"
    return ""


def _timing(values: "pd.Series[Any]", time: "pd.Series[Any]") -> str:
    """Say how a column of numbers follows the time; nothing where it does not."""
    from scipy.stats import spearmanr

    chosen = screened(len(values))
    number, instant = values.iloc[chosen], time.iloc[chosen]
    both = (number.notna() & instant.notna()).to_numpy()
    number, instant = number[both], instant[both]
    if len(number) < _FEWEST_ROWS or number.nunique() < 2 or instant.nunique() < 2:
        return ""
    rho = float(spearmanr(_numbers(number), instant.rank()).statistic)
    if abs(rho) < FOLLOWS:
        return ""
    return f"follows the time column {time.name} (rank correlation {rho:.4f})"


def _numbers(present: "pd.Series[Any]") -> NDArray[np.float64]:
    return pd.to_numeric(present).to_numpy(dtype=np.float64)
