"""Predictions on known rows, as numbers."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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

_SINGLE_PRECISION = 1e-3

BLOCK_ROWS = 4_000
"""Rows that a model is asked for at once: their matrix stays in a core's cache, where each of
a boosting's trees finds it again, which takes half the time of all rows at once."""


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
    refuse_other_kind(model, y)
    labels = np.unique(np.concatenate([model.classes_, y]))
    began = time.perf_counter()
    known = ask(model.predict_proba, X)
    seconds = time.perf_counter() - began
    probabilities = aligned(known, model.classes_, labels)
    predictions = ask(model.predict, X)
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


def predict(model: ClassifierMixin, X: pd.DataFrame, y: NDArray[Any]) -> NDArray[Any]:
    """Give a fitted classifier's labels, where nothing else of it is judged.

    Parameters
    ----------
    model : classifier with ``predict``
    X : DataFrame of shape (n_rows, n_features)
    y : ndarray of shape (n_rows,)
        The true labels.

    Raises
    ------
    DataError
        The labels are of another kind than those that the model learned.
    """
    refuse_other_kind(model, y)
    return ask(model.predict, X)


def refuse_other_kind(model: ClassifierMixin, y: NDArray[Any]) -> None:
    """Raise a `DataError` on labels of another kind than those that the model learned."""
    if model.classes_.dtype.kind != y.dtype.kind:
        # Compared as text they would all differ, and the model would look worthless.
        raise DataError(
            "A model is judged on labels of the kind that it learned.",
            found=f"it learned {model.classes_[:3].tolist()}, and the rows hold {y[:3].tolist()}",
            next_move="restore the target's type at the source, or train again",
        )


def ask(method: Callable[[pd.DataFrame], NDArray[Any]], X: pd.DataFrame) -> NDArray[Any]:
    """Ask a model for every row, in blocks of `BLOCK_ROWS`.

    Parameters
    ----------
    method : callable
        The model's ``predict`` or ``predict_proba``.
    X : DataFrame of shape (n_rows, n_features)

    Returns
    -------
    ndarray of shape (n_rows,) or (n_rows, n_classes)
    """
    if len(X) <= BLOCK_ROWS:
        return method(X)
    starts = range(0, len(X), BLOCK_ROWS)
    return np.concatenate([method(X.iloc[start : start + BLOCK_ROWS]) for start in starts])


@contextmanager
def one_thread() -> Iterator[None]:
    """Let the models of the block compute on one thread.

    Short steps gain nothing from more. Where other processes use the cores, such as the model's
    fresh copy, a thread that waits for its fellow burns thirty times what it computes.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


def aligned(
    known: NDArray[Any], classes: NDArray[Any], labels: Sequence[Any] | NDArray[Any]
) -> NDArray[np.float64]:
    """Give a model's probabilities a column for each label.

    Parameters
    ----------
    known : ndarray of shape (n_rows, n_classes)
    classes : ndarray of shape (n_classes,)
        What the model knows, in the order of the columns of ``known``.
    labels : sequence of k labels
        Sorted, with all of ``classes`` among them.

    Returns
    -------
    ndarray of shape (n_rows, k)
        Rows sum to one where the model's do, in single precision; zero for a label that the
        model does not know.
    """
    probabilities = np.zeros((len(known), len(labels)))
    # Rows of a float32 network sum to one within its precision only.
    shares = known.astype(np.float64)
    total = shares.sum(axis=1, keepdims=True)
    # What adds up to something else is no probability, and is left for the gate to see.
    close = np.abs(total - 1) <= _SINGLE_PRECISION
    shares /= np.where(close, total, 1.0)
    probabilities[:, np.searchsorted(np.asarray(labels), classes)] = shares
    return probabilities


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
