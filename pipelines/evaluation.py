"""Predictions on known rows, as numbers."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

from pipelines.errors import DataError

_BINS = 5
_MOST_VALUES = 20


@dataclass(frozen=True)
class Evaluation:
    """What a model said on rows whose answer is known.

    Parameters
    ----------
    labels : tuple
        The k classes, sorted: those the model knows and those that the rows hold.
    y_true, predictions : ndarray of shape (n_rows,)
    probabilities : ndarray of shape (n_rows, k)
        Columns in the order of ``labels``; zero for a class that the model does not know.
    confusion : ndarray of shape (k, k)
        Counts; rows are the true classes, columns the predicted ones.
    metrics : mapping of str to float
        By sklearn's scorer names; a metric that these rows do not define is absent.
    per_class : mapping
        Label to ``precision``, ``recall`` and ``support``.
    seconds_per_row : float
        Wall clock of one pass over all rows, divided by their number.
    """

    labels: tuple[Any, ...]
    y_true: NDArray[Any]
    predictions: NDArray[Any]
    probabilities: NDArray[np.float64]
    confusion: NDArray[np.int64]
    metrics: Mapping[str, float]
    per_class: Mapping[Any, Mapping[str, float]]
    seconds_per_row: float


def evaluate(model: ClassifierMixin, X: pd.DataFrame, y: NDArray[Any]) -> Evaluation:
    """Score a fitted classifier.

    Parameters
    ----------
    model : classifier with ``predict`` and ``predict_proba``
    X : DataFrame of shape (n_rows, n_features)
    y : ndarray of shape (n_rows,)
        The true labels; classes that the model has never seen are allowed.

    Raises
    ------
    DataError
        The labels are of another kind than those that the model learned.
    """
    if model.classes_.dtype.kind != y.dtype.kind:
        # Compared as text they would all differ, and the model would look worthless.
        raise DataError(
            "A model is judged on labels of the kind that it learned.",
            found=f"it learned {model.classes_[:3].tolist()}, and the rows hold {y[:3].tolist()}",
            next_move="restore the target's type at the source, or train again",
        )
    began = time.perf_counter()
    known = model.predict_proba(X).astype(np.float64)
    seconds = time.perf_counter() - began
    # Rows of a float32 network sum to one within its precision only.
    known /= known.sum(axis=1, keepdims=True)
    predictions = model.predict(X)
    labels = np.unique(np.concatenate([model.classes_, y]))
    probabilities = np.zeros((len(y), len(labels)))
    probabilities[:, np.searchsorted(labels, model.classes_)] = known
    precision, recall, _, support = precision_recall_fscore_support(
        y, predictions, labels=labels, zero_division=0.0
    )
    return Evaluation(
        labels=tuple(labels.tolist()),
        y_true=y,
        predictions=predictions,
        probabilities=probabilities,
        confusion=confusion_matrix(y, predictions, labels=labels),
        metrics=_metrics(y, predictions, probabilities, labels),
        per_class={
            label: {"precision": float(p), "recall": float(r), "support": int(s)}
            for label, p, r, s in zip(labels.tolist(), precision, recall, support, strict=True)
        },
        seconds_per_row=seconds / max(len(y), 1),
    )


def _metrics(
    y: NDArray[Any],
    predictions: NDArray[Any],
    probabilities: NDArray[np.float64],
    labels: NDArray[Any],
) -> dict[str, float]:
    metrics = {
        "accuracy": float(accuracy_score(y, predictions)),
        "balanced_accuracy": float(_balanced_accuracy(y, predictions)),
        "f1_macro": float(f1_score(y, predictions, average="macro", zero_division=0.0)),
    }
    if len(labels) < 2:
        return metrics
    if not np.isfinite(probabilities).all():
        # Whoever asks for one of these must see that there is none.
        return metrics | dict.fromkeys(("neg_log_loss", "roc_auc", "roc_auc_ovr"), math.nan)
    metrics["neg_log_loss"] = -float(log_loss(y, probabilities, labels=labels))
    # The area under the curve is undefined unless every class is among the true ones.
    if len(np.unique(y)) == len(labels):
        if len(labels) == 2:
            metrics["roc_auc"] = float(roc_auc_score(y, probabilities[:, 1]))
        else:
            metrics["roc_auc_ovr"] = float(
                roc_auc_score(y, probabilities, multi_class="ovr", labels=labels)
            )
    return metrics


def _balanced_accuracy(y: NDArray[Any], predictions: NDArray[Any]) -> float:
    # sklearn's warns of predicted classes that no row has; they do not enter the mean.
    present = np.unique(y)
    return float(np.mean([np.mean(predictions[y == label] == label) for label in present]))


def majority(y_train: NDArray[Any], rows: int) -> NDArray[Any]:
    """Return the training rows' commonest class, once for each of ``rows`` rows."""
    values, counts = np.unique(y_train, return_counts=True)
    return np.repeat(values[np.argmax(counts)], rows)


def slices(
    frame: pd.DataFrame,
    y_true: NDArray[Any],
    predictions: NDArray[Any],
    *,
    columns: Sequence[str] | None = None,
    minimum_rows: int = 50,
) -> pd.DataFrame:
    """Measure accuracy by the value of a column, worst first.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
    y_true, predictions : ndarray of shape (n_rows,)
    columns : sequence of str, optional
        All of the frame's by default. A number is cut into quintiles; a category with many
        levels keeps its commonest twenty.
    minimum_rows : int
        Smaller slices are left out: their accuracy is mostly chance.

    Returns
    -------
    DataFrame
        ``column``, ``value``, ``rows``, ``accuracy``.
    """
    hit = pd.Series(predictions == y_true, index=frame.index)
    found = []
    for column in columns or frame.columns:
        groups = hit.groupby(_groups(frame[column]), observed=True).agg(["size", "mean"])
        for value, row in groups[groups["size"] >= minimum_rows].iterrows():
            found.append((column, str(value), int(row["size"]), float(row["mean"])))
    table = pd.DataFrame(found, columns=["column", "value", "rows", "accuracy"])
    return table.sort_values("accuracy", kind="stable", ignore_index=True)


def _groups(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Name the slice that each row is in."""
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > _BINS:
        bins = pd.qcut(values.astype("float64"), _BINS, duplicates="drop")
        names = {b: f"{_said(b.left)} to {_said(b.right)}" for b in bins.cat.categories}
    else:
        bins = values
        names = {value: _said(value) for value in values.value_counts().index[:_MOST_VALUES]}
    named = bins.astype(object).map(names)
    return named.where(named.notna(), "other").where(values.notna(), "missing")


def _said(value: Any) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)
