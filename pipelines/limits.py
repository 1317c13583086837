"""The gate's first limits: what an untuned model does on this table, less what chance may take."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types

from pipelines import probes
from pipelines.features import Roles, conform, labels
from pipelines.yardstick import fit_yardstick

NOISE, MISSING = 0.01, 0.05
"""Noise and share of empty cells of the gate's robustness rules."""

_BINS = 15
_FIFTHS = 5
_FEWEST_ROWS = 50
_TIMED = 20
_SLOWER = 10.0
# A machine on which other work runs takes several times as long as one that is idle.
_ROW_MS, _BATCH_MS = 250.0, 1_000.0
_LARGEST_MB = 50
_EIGHTHS = 8
_SUPPORT, _FEWEST_OF_CLASS = 10, 5
_Z = 1.96
_SAFE = 3.0
_UNBOUNDED = (
    "minimum_support",
    "slices.minimum_rows",
    "size_mb",
    "latency.row_ms",
    "latency.batch_ms",
)


@dataclass(frozen=True)
class Yardstick:
    """What an untuned logistic regression did on rows that it had not seen.

    Parameters
    ----------
    rows : int
    majority : float
        Share of the commonest class.
    accuracy, balanced_accuracy : float
    recall : mapping of str to (float, int)
        Class to its recall and its rows.
    gap : float
        Accuracy on the rows that it learned from, less ``accuracy``.
    brier, ece : float
        Brier score, and expected calibration error of the answered class.
    worst : float
        Lowest accuracy for a value, or a fifth, of one column; of all rows where none is large.
    flips, drop : float
        Share of answers that noise changes, and accuracy lost with cells empty.
    row_ms, batch_ms : float
        Median wall clock for one row and for 1,000, in milliseconds.
    """

    rows: int
    majority: float
    accuracy: float
    balanced_accuracy: float
    recall: Mapping[str, tuple[float, int]]
    gap: float
    brier: float
    ece: float
    worst: float
    flips: float
    drop: float
    row_ms: float
    batch_ms: float


@dataclass(frozen=True)
class Limits:
    """Limits for ``[gate]``, each by the name of its setting."""

    metrics: Mapping[str, float]
    recall: Mapping[str, float]
    values: Mapping[str, float] = field(default_factory=dict)


def measure(train: pd.DataFrame, validation: pd.DataFrame, target: str, roles: Roles) -> Yardstick:
    """Fit a logistic regression on some rows and look at it on others.

    Parameters
    ----------
    train, validation : DataFrame of shape (n_rows, n_columns)
    target : str
    roles : Roles
    """
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score

    known, y_known = conform(train, roles), labels(train[target])
    X, y = conform(validation, roles), labels(validation[target])
    model = fit_yardstick(known, y_known, roles)
    said = model.predict(X)
    probabilities = model.predict_proba(X)
    classes, counts = np.unique(y, return_counts=True)
    recall = recall_score(y, said, labels=classes, average=None, zero_division=0)
    accuracy = float(accuracy_score(y, said))
    some = np.linspace(0, len(X) - 1, _TIMED).astype(np.intp)
    batch = X.iloc[np.arange(1_000) % len(X)]
    return Yardstick(
        rows=len(y),
        majority=float(counts.max() / counts.sum()),
        accuracy=accuracy,
        balanced_accuracy=float(balanced_accuracy_score(y, said)),
        recall={
            _name(label): (float(value), int(count))
            for label, value, count in zip(classes, recall, counts, strict=True)
        },
        gap=float(accuracy_score(y_known, model.predict(known))) - accuracy,
        brier=_brier(y, probabilities, model.classes_),
        ece=_ece(said == y, probabilities.max(axis=1)),
        worst=_worst(X, said == y, accuracy),
        flips=float(np.mean(probes.noisy(model, X, roles, noise=NOISE) != said)),
        drop=accuracy - float(np.mean(probes.emptied(model, X, missing=MISSING) == y)),
        row_ms=_milliseconds(model.predict, [X.iloc[[place]] for place in some]),
        batch_ms=_milliseconds(model.predict, [batch] * 5),
    )


def measure_earlier(train: pd.DataFrame, time: str, target: str, roles: Roles) -> list[Yardstick]:
    """Measure once more on the latest rows to learn from, learning from those before.

    One stretch of time says little of the next: a limit has to hold in both.
    """
    turn = train[time].quantile(0.6)
    past, recent = train[train[time] < turn], train[train[time] >= turn]
    if set(past[target]) != set(recent[target]):
        return []
    return [measure(past, recent, target, roles)]


def propose_limits(yardsticks: Sequence[Yardstick], sealed: int) -> Limits:
    """Return first limits: the worst yardstick's values, less what chance may take.

    The gate holds a limit against the end of an interval. So each limit is the end (Wilson's,
    for a share) that the sealed rows will give a model which is as good as the measured rows
    leave certain. A perfect score of ten rows is certain of little.

    Parameters
    ----------
    yardsticks : sequence of Yardstick
        The latest first.
    sealed : int
        Rows that the gate will have.
    """
    accuracy, balanced = 1.0, 1.0
    recalls: dict[str, float] = {}
    rarest = math.inf
    for each in yardsticks:
        share = sealed / max(each.rows, 1)
        counts = [count for _, count in each.recall.values()]
        rarest = min(rarest, min(counts) * share)
        # Rows of which a share would be as certain as the mean of the classes' shares.
        even = len(counts) ** 2 / sum(1 / count for count in counts)
        accuracy = min(accuracy, _least(_expected(each), sealed))
        expected = min(each.balanced_accuracy - 0.03, _least(each.balanced_accuracy, even))
        balanced = min(balanced, _least(expected, even * share))
        for label, (value, count) in each.recall.items():
            expected = min(value - 0.1, _least(value, count, _SAFE))
            recalls[label] = min(recalls.get(label, 1.0), _least(expected, count * share))
    latest = yardsticks[0]
    # What is a matter of chance in a comparison on the sealed rows, in standard errors of 1.
    chance = _Z / math.sqrt(max(sealed, 1))
    wrong = max(1 - _expected(each) for each in yardsticks)
    off = math.sqrt(_BINS * wrong * (1 - wrong) / max(sealed, 1))
    classes = 1 if len(latest.recall) == 2 else 2
    drop = 2 * max(0.0, *(each.drop for each in yardsticks)) + 0.06
    values = {
        "minimum_support": float(max(_FEWEST_OF_CLASS, int(rarest / 2))),
        "overfit": _ceiling(
            max(0.0, *(each.gap for each in yardsticks))
            + 0.1
            + max(_expected(each) - _least(_expected(each), sealed) for each in yardsticks)
        ),
        "size_mb": float(_LARGEST_MB),
        "baseline.yardstick": -_ceiling(0.02 + chance * math.sqrt(wrong)),
        "slices.minimum": _floor(min(each.worst for each in yardsticks) - 0.2),
        "slices.minimum_rows": float(max(2, sealed // _EIGHTHS)),
        "calibration.brier": _ceiling(
            max(each.brier for each in yardsticks)
            + classes * (0.03 + chance * math.sqrt(wrong * (1 - wrong)))
        ),
        "calibration.ece": _ceiling(max(each.ece for each in yardsticks) + 0.05 + off),
        "latency.row_ms": _generous(max(each.row_ms for each in yardsticks), _ROW_MS),
        "latency.batch_ms": _generous(max(each.batch_ms for each in yardsticks), _BATCH_MS),
        # A linear model takes a missing or a moved cell more lightly than most.
        "robustness.flips": _ceiling(
            _most(2 * max(each.flips for each in yardsticks) + 0.05, sealed)
        ),
        "robustness.drop": _ceiling(drop + chance * math.sqrt(drop)),
    }
    # The defaults, where there are rows enough for them.
    if values["minimum_support"] >= _SUPPORT:
        del values["minimum_support"]
    if values["slices.minimum_rows"] >= _FEWEST_ROWS:
        del values["slices.minimum_rows"]
    return Limits(
        {
            # Whether it beats the commonest class, the same rows say more exactly.
            "accuracy": _floor(accuracy),
            "balanced_accuracy": _floor(max(balanced, 1 / len(latest.recall))),
        },
        {label: _floor(limit) for label, limit in recalls.items() if _floor(limit) > 0},
        # A floor of nothing, or a ceiling of all, would ask nothing.
        {
            name: value
            for name, value in values.items()
            if name in _UNBOUNDED or 0 < value < 1 or -1 < value < 0
        },
    )


def _name(label: object) -> str:
    """Return the text by which the gate's rules name a class, as TOML writes it."""
    value = label.item() if isinstance(label, np.generic) else label
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _expected(yardstick: Yardstick) -> float:
    """Return an accuracy that another model of this kind reaches on other rows."""
    return min(yardstick.accuracy - 0.02, _least(yardstick.accuracy, yardstick.rows))


def _brier(
    y: NDArray[Any], probabilities: NDArray[np.floating[Any]], classes: NDArray[Any]
) -> float:
    hit = y[:, None] == classes[None, :]
    total = float(np.mean(np.sum((probabilities - hit) ** 2, axis=1)))
    # For two classes half of it is the share that is usually meant.
    return total / 2 if len(classes) == 2 else total


def _ece(right: NDArray[np.bool_], confidence: NDArray[np.floating[Any]]) -> float:
    """Return the expected calibration error (Naeini, Cooper, Hauskrecht 2015, AAAI)."""
    place = np.minimum((confidence * _BINS).astype(np.intp), _BINS - 1)
    apart = np.bincount(place, weights=right - confidence.astype(np.float64), minlength=_BINS)
    return float(np.abs(apart).sum() / max(len(right), 1))


def _worst(X: pd.DataFrame, right: NDArray[np.bool_], overall: float) -> float:
    hit = pd.Series(right, index=X.index)
    lowest = overall
    for column in X.columns:
        values = X[column]
        if types.is_numeric_dtype(values) and values.nunique() > _FIFTHS:
            values = pd.qcut(values, _FIFTHS, duplicates="drop")
        found = hit.groupby(values, observed=True, dropna=False).agg(["size", "mean"])
        large = found.loc[found["size"] >= _FEWEST_ROWS, "mean"]
        lowest = min(lowest, float(large.min())) if len(large) else lowest
    return lowest


def _milliseconds(ask: Callable[[Any], Any], frames: Sequence[pd.DataFrame]) -> float:
    ask(frames[0])
    taken = []
    for frame in frames:
        began = time.perf_counter()
        ask(frame)
        taken.append(time.perf_counter() - began)
    return 1_000 * float(np.median(taken))


def _generous(value: float, least: float) -> float:
    """Return a round number that a slower model on a busier machine still keeps."""
    wanted = max(value * _SLOWER, least)
    scale = 10 ** (len(str(int(wanted))) - 1)
    return float(math.ceil(wanted / scale) * scale)


def _least(share: float, rows: float, z: float = _Z) -> float:
    """Return the low end of Wilson's interval, which the gate will hold against a limit."""
    share, rows = min(max(share, 0.0), 1.0), max(rows, 1.0)
    middle = share + z**2 / (2 * rows)
    spread = z * math.sqrt(share * (1 - share) / rows + (z / (2 * rows)) ** 2)
    return max((middle - spread) / (1 + z**2 / rows), 0.0)


def _most(share: float, rows: float) -> float:
    return 1 - _least(1 - share, rows)


def _floor(value: float) -> float:
    return max(math.floor(value * 100 + 1e-9) / 100, 0.0)


def _ceiling(value: float) -> float:
    return math.ceil(value * 100 - 1e-9) / 100
