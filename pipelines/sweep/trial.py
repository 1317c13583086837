"""One trial: what a worker is given, what it does and what comes of it."""

import copy
import pickle
import time
import warnings
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipelines.models.families import FAMILIES
from pipelines.models.space import Value

MONITORED_ROWS = 2_000
"""Training rows that the training score is worked out on, spread evenly over all of them."""

MAXIMUM_ERROR = 300
"""Longest error kept of a failed trial, in characters."""

State = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class Point:
    """A trial after one pass over the training rows, or after its only fit.

    Parameters
    ----------
    epoch : int
        From 1.
    loss : float
        Log loss on the validation rows, in nats.
    train_score, score : float
        On at most `MONITORED_ROWS` training rows, and on all validation rows.
    """

    epoch: int
    loss: float
    train_score: float
    score: float

    @property
    def rank(self) -> tuple[float, float]:
        """What the best point has most of: few rows give many points the same score."""
        return self.score, -self.loss


@dataclass(frozen=True)
class Trial:
    """One configuration and what came of it.

    Parameters
    ----------
    number : int
        From 0, in the order in which the configurations were proposed.
    family : str
    params : mapping
        Only the parameters that existed for it.
    state : str
        FINISHED; FAILED, for the reason in ``error``; or KILLED: stopped before its end,
        since most others did better by then or the time was up.
    score, train_score : float or None
        At its best epoch; None when there was none.
    curve : tuple of Point
        One point an epoch, or a single one.
    seconds : float
        Wall clock in the worker.
    error : str
        Why it is FAILED or KILLED.
    """

    number: int
    family: str
    params: dict[str, Value]
    state: State
    score: float | None = None
    train_score: float | None = None
    curve: tuple[Point, ...] = ()
    seconds: float = 0.0
    error: str = ""

    @property
    def top(self) -> Point | None:
        """Its best point; None when there was none."""
        return max(self.curve, key=lambda point: point.rank, default=None)


@dataclass(frozen=True)
class Job:
    """What a worker needs to run a trial alone.

    Parameters
    ----------
    floors : mapping of int to float
        Epoch to the best score that a trial has to have reached by then.
    data : Path
        The folder of `save_data`.
    """

    number: int
    family: str
    params: dict[str, Value]
    seed: int
    data: Path
    scoring: str
    max_epochs: int
    patience: int
    floors: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """A trial and its fitted estimator, pickled: most are never looked at again."""

    trial: Trial
    model: bytes | None = None


def save_data(folder: Path, **arrays: np.ndarray) -> None:
    """Write matrices and labels so that every worker maps the same memory."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def run(job: Job) -> Outcome:
    """Fit and score one configuration; whatever goes wrong is the trial's own failure."""
    began = time.perf_counter()
    curve: list[Point] = []
    best: Any = None
    state: State = "FINISHED"
    error = ""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            # Overflow and slow convergence are told by the scores; a worker has no reader.
            warnings.simplefilter("ignore")
            best, error = _fit(job, curve)
        if error:
            state = "KILLED"
    except Exception as err:
        state, error = "FAILED", _said(err, len(curve))
    top = max(curve, key=lambda point: point.rank, default=None)
    trial = Trial(
        number=job.number,
        family=job.family,
        params=job.params,
        state=state,
        score=top.score if top else None,
        train_score=top.train_score if top else None,
        curve=tuple(curve),
        seconds=time.perf_counter() - began,
        error=error,
    )
    return Outcome(trial, pickle.dumps(best) if state == "FINISHED" else None)


def _fit(job: Job, curve: list[Point]) -> tuple[Any, str]:
    """Return the estimator as it was at its best epoch, and why it was stopped before its end.

    The curve is filled on the way, so that a trial that fails keeps what it had.
    """
    data = _load(job.data)
    family = FAMILIES[job.family]
    estimator = family.build(job.params, seed=job.seed, rows=len(data.X_train))
    if family.resource is None:
        estimator.fit(data.X_train, data.y_train)
        curve.append(_measure(estimator, data, job.scoring, 1))
        return estimator, ""
    best = estimator
    for epoch in range(1, job.max_epochs + 1):
        estimator.partial_fit(data.X_train, data.y_train, classes=data.classes)
        curve.append(_measure(estimator, data, job.scoring, epoch))
        top = max(curve, key=lambda point: point.rank)
        if top.epoch == epoch:
            best = copy.deepcopy(estimator)
        if top.score < job.floors.get(epoch, -np.inf):
            floor = job.floors[epoch]
            return best, f"best score {top.score:.4f} after epoch {epoch}, below {floor:.4f}"
        if epoch - top.epoch >= job.patience:
            break
    # The generator's state is no parameter; the seed says how to fit it again.
    return best.set_params(random_state=job.seed), ""


@dataclass(frozen=True)
class _Data:
    X_train: np.ndarray
    y_train: np.ndarray
    X_validation: np.ndarray
    X_monitored: np.ndarray
    classes: np.ndarray
    codes_validation: np.ndarray
    codes_monitored: np.ndarray


@cache
def _load(folder: Path) -> _Data:
    X_train, y_train, X_validation, y_validation = (
        np.load(folder / f"{name}.npy", mmap_mode="r")
        for name in ("X_train", "y_train", "X_validation", "y_validation")
    )
    classes = np.unique(y_train)
    rows = np.unique(np.linspace(0, len(X_train) - 1, MONITORED_ROWS).astype(np.intp))
    return _Data(
        X_train=X_train,
        y_train=y_train,
        X_validation=X_validation,
        X_monitored=X_train[rows],
        classes=classes,
        codes_validation=np.searchsorted(classes, y_validation),
        codes_monitored=np.searchsorted(classes, y_train[rows]),
    )


def _measure(estimator: Any, data: _Data, scoring: str, epoch: int) -> Point:
    from sklearn.metrics import log_loss

    probabilities = estimator.predict_proba(data.X_validation)
    monitored = estimator.predict_proba(data.X_monitored)
    if not (np.isfinite(probabilities).all() and np.isfinite(monitored).all()):
        raise FloatingPointError("it predicts numbers that are not finite")
    every = range(len(data.classes))
    return Point(
        epoch=epoch,
        loss=float(log_loss(data.codes_validation, probabilities, labels=every)),
        train_score=_score(scoring, data.codes_monitored, monitored),
        score=_score(scoring, data.codes_validation, probabilities),
    )


def _score(scoring: str, codes: np.ndarray, probabilities: np.ndarray) -> float:
    """Score probabilities as the scikit-learn scorer of that name does, higher being better.

    The scorers themselves would pass over the rows once per score.
    """
    from sklearn import metrics

    every = range(probabilities.shape[1])
    if scoring == "neg_log_loss":
        return -float(metrics.log_loss(codes, probabilities, labels=every))
    if scoring == "roc_auc_ovr":
        if probabilities.shape[1] == 2:
            return float(metrics.roc_auc_score(codes, probabilities[:, 1]))
        return float(metrics.roc_auc_score(codes, probabilities, multi_class="ovr", labels=every))
    predicted = probabilities.argmax(axis=1)
    if scoring == "f1_macro":
        return float(metrics.f1_score(codes, predicted, average="macro"))
    return float(getattr(metrics, f"{scoring}_score")(codes, predicted))


def _said(err: Exception, epochs: int) -> str:
    diverged = isinstance(err, FloatingPointError) or "non-finite" in str(err)
    kind = f"diverged in epoch {epochs + 1}" if diverged else type(err).__name__
    return f"{kind}: {err}"[:MAXIMUM_ERROR]
