"""A log lived through again: the same rows, answered by a model that is fitted anew or not.

A log says what was asked, what was true and when that became known. So it can be told what
another course would have answered: cut into spans, each is answered by the model of its time,
and a model that is fitted at the end of a span learns from what was known by then and from
nothing else.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, clone
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline

from pipelines.errors import DataError, InputError
from pipelines.features import Roles, conform
from pipelines.scoring import answer
from pipelines.threshold import named

FEWEST_ROWS = 20
"""Fewest rows of a span: fewer say nothing of what a course comes to."""


@dataclass(frozen=True, eq=False)
class Span:
    """Consecutive rows of a log.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        The inputs as they were logged.
    truth : ndarray of object, shape (n_rows,)
        The labels, as classes of the model; None where there is none.
    known : ndarray of datetime64, shape (n_rows,)
        When each label came, UTC; NaT where there is none.
    since, until : datetime
        The times of the first and of the last row.
    """

    frame: pd.DataFrame
    truth: NDArray[Any]
    known: NDArray[np.datetime64]
    since: datetime
    until: datetime

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which rows have a label, whenever it came."""
        return np.array([label is not None for label in self.truth.tolist()], dtype=bool)

    def labelled_by(self, time: datetime) -> NDArray[np.bool_]:
        """Return which rows had their label by a time, shape (n_rows,)."""
        return self.labelled & ~(self.known > _utc64(time))


def cut(
    frame: pd.DataFrame,
    labels: Sequence[Any],
    known: Sequence[Any],
    *,
    classes: Sequence[Any],
    number: int,
) -> list[Span]:
    """Cut a log into spans of equally many rows, in the order of time.

    Not of equal length: traffic that comes in bursts, or one row of a clock that jumped, would
    leave spans with next to no row.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        The inputs, indexed by the time of the request, in UTC.
    labels : sequence of n_rows labels
        None where there is none; of one that is no class there is none either.
    known : sequence of n_rows times
        When each label came; a label without a time is known at once.
    classes : sequence of labels
        The model's.
    number : int

    Raises
    ------
    InputError
        The log has too few rows for so many spans.
    """
    if number < 2 or len(frame) < number * FEWEST_ROWS:
        raise InputError(
            f"A replay needs two spans or more, of {FEWEST_ROWS} rows or more each.",
            found=f"{len(frame):,} rows for {number} spans",
            next_move="ask for fewer with --windows, or wait for more traffic",
        )
    named_classes = {named(label): label for label in classes}
    truth = np.array([None] * len(frame), dtype=object)
    for place, label in enumerate(labels):
        name = _name(label)
        truth[place] = None if name is None else named_classes.get(name)
    times = pd.DatetimeIndex(frame.index)
    asked = (times.tz_localize("UTC") if times.tz is None else times).tz_convert("UTC")
    came = pd.to_datetime(pd.Series(list(known), dtype=object), utc=True, errors="coerce")
    came = came.where(came.notna(), pd.Series(asked))
    stamps = came.dt.tz_localize(None).to_numpy(dtype="datetime64[us]")
    order = np.argsort(asked.to_numpy(), kind="stable")
    spans = []
    for part in np.array_split(order, number):
        spans.append(
            Span(
                frame.iloc[part].reset_index(drop=True),
                truth[part],
                stamps[part],
                asked[part[0]].to_pydatetime(),
                asked[part[-1]].to_pydatetime(),
            )
        )
    return spans


@dataclass(frozen=True, eq=False)
class Lesson:
    """Rows to learn from.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
    y : ndarray of shape (n_rows,)
    """

    frame: pd.DataFrame
    y: NDArray[Any]

    def __len__(self) -> int:
        return len(self.frame)

    def with_known(self, spans: Sequence[Span], time: datetime, roles: Roles) -> "Lesson":
        """Return these rows and those of the spans whose labels were there by a time."""
        frames, labels = [self.frame[list(roles.columns)]], [np.asarray(self.y)]
        for span in spans:
            there = span.labelled_by(time)
            frames.append(span.frame.loc[there].reindex(columns=list(roles.columns)))
            labels.append(span.truth[there].astype(self.y.dtype))
        frame = pd.concat([conform(each, roles) for each in frames], ignore_index=True)
        return Lesson(frame, np.concatenate(labels))

    def parted(self, share: float, *, seed: int = 0) -> "tuple[Lesson, Lesson]":
        """Hold a share of the rows back, drawn at random; return what is left, and it.

        A model is surer of rows that it has learned than of any other, so that these would make
        a reference from which all traffic has drifted.
        """
        order = np.random.default_rng(seed).permutation(len(self))
        held, left = np.split(order, [round(share * len(self))])
        first, second = (Lesson(self.frame.iloc[p], self.y[p]) for p in (np.sort(left), held))
        return first, second


def refit(
    model: "Pipeline | FixedThresholdClassifier",
    lesson: Lesson,
    roles: Roles,
    *,
    balanced: bool = False,
) -> "Pipeline | FixedThresholdClassifier":
    """Fit a model's own configuration anew: the same parameters, and the same threshold.

    Parameters
    ----------
    model : Pipeline, or FixedThresholdClassifier around one
        Fitted; it stays as it is.
    lesson : Lesson
    roles : Roles
    balanced : bool
        Whether each class counts alike, as with ``train.class_weight = "balanced"``.

    Raises
    ------
    DataError
        The rows hold one class alone, or a column that the model reads is missing.
    """
    if len(np.unique(lesson.y)) < 2:
        raise DataError(
            "A model is fitted on rows of at least two classes.",
            found=f"{len(lesson):,} rows, all {lesson.y[0]}" if len(lesson) else "no rows",
            next_move="see that the table and the log's labels are of one target",
        )
    X = conform(lesson.frame, roles)
    pipeline = cast("Pipeline", _unfitted(_inside(model)))
    weights: dict[str, Any] = {}
    if balanced:
        from sklearn.utils.class_weight import compute_sample_weight

        weights["model__sample_weight"] = compute_sample_weight("balanced", lesson.y)
    with warnings.catch_warnings():
        # As many passes as the sweep found best, whether or not the loss still falls.
        warnings.simplefilter("ignore", ConvergenceWarning)
        pipeline.fit(X, lesson.y, **weights)
    if not isinstance(model, FixedThresholdClassifier):
        return pipeline
    fixed = FixedThresholdClassifier(
        FrozenEstimator(pipeline),
        threshold=model.threshold,
        pos_label=model.pos_label,
        response_method=model.response_method,
    )
    return fixed.fit(X, lesson.y)


def answer_span(
    model: "Pipeline | FixedThresholdClassifier", span: Span, roles: Roles
) -> tuple[NDArray[Any], NDArray[np.floating[Any]]]:
    """Return what a model says to the rows of a span: labels and probabilities.

    Raises
    ------
    DataError
        The log has not each column that the model reads, as where one is redacted.
    """
    return answer(model, conform(span.frame, roles))


def before(frame: pd.DataFrame, column: str | None, time: datetime) -> NDArray[np.bool_]:
    """Return which rows of a table had happened by a time; all where it has no times."""
    if column is None:
        return np.ones(len(frame), dtype=bool)
    times = pd.to_datetime(frame[column], utc=True)
    return np.asarray(times <= pd.Timestamp(time), dtype=bool)


def _inside(model: Any) -> Any:
    """Return the pipeline that a threshold was put on."""
    if isinstance(model, FixedThresholdClassifier):
        model = model.estimator
    return model.estimator if isinstance(model, FrozenEstimator) else model


def _unfitted(model: Any) -> ClassifierMixin:
    """Return a copy to fit; a frozen member of a vote would stay as it was."""
    if isinstance(model, FrozenEstimator):
        return _unfitted(model.estimator)
    copy = clone(model)
    if isinstance(model, Pipeline):
        copy.set_params(steps=[(name, _unfitted(step)) for name, step in model.steps])
    if isinstance(model, VotingClassifier):
        copy.set_params(estimators=[(name, _unfitted(each)) for name, each in model.estimators])
    return cast("ClassifierMixin", copy)


def _name(label: Any) -> str | None:
    if label is None or (isinstance(label, float) and np.isnan(label)):
        return None
    if isinstance(label, np.generic):
        label = label.item()
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    return named(label)


def _utc64(time: datetime) -> np.datetime64:
    return np.datetime64(pd.Timestamp(time).tz_convert("UTC").tz_localize(None), "us")
