"""One trial: what a worker is given, what it does and what comes of it."""

import pickle
import time
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.models.families import FAMILIES
from pipelines.models.family import Family
from pipelines.models.learner import Learner, Rows
from pipelines.models.space import Value
from pipelines.sweep.scoring import log_loss, score

MONITORED_ROWS = 500
"""Training rows that the training score is worked out on, spread evenly over all of them."""

MAXIMUM_ERROR = 300
"""Longest error kept of a failed trial, in characters."""

MAXIMUM_TRACEBACK = 6_000
"""Longest traceback kept of a failed trial, in characters: its end."""

State = Literal["FINISHED", "FAILED", "KILLED"]


class Point(NamedTuple):
    """A trial after so many units of its resource.

    Parameters
    ----------
    epoch : int
        Units learned from, from 1: epochs, trees, iterations or rows.
    loss : float
        Log loss on the validation rows, in nats.
    score : float
        On all validation rows.
    train_score : float or None
        On at most `MONITORED_ROWS` training rows; worked out at the end of a rung and at the
        best point on the way there, if it is a new best, and None elsewhere.
    """

    epoch: int
    loss: float
    score: float
    train_score: float | None = None

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
        FINISHED; FAILED, for the reason in ``error``; or KILLED: others were given more in
        its place, or the time was up.
    score, train_score : float or None
        At its best point; None when there was none.
    curve : tuple of Point
    seconds : float
        Wall clock in the workers.
    error : str
        Why it is FAILED or KILLED.
    rung : int
        The highest that it reached, from 0; -1 for none.
    units : int
        Of its family's resource that it was given.
    traceback : str
        Of an exception that nobody expected.
    """

    number: int
    family: str
    params: Mapping[str, Value]
    state: State
    score: float | None = None
    train_score: float | None = None
    curve: tuple[Point, ...] = ()
    seconds: float = 0.0
    error: str = ""
    rung: int = -1
    units: int = 0
    traceback: str = ""

    @property
    def top(self) -> Point | None:
        """Its best point; None when there was none."""
        return max(self.curve, key=lambda point: point.rank, default=None)


@dataclass(frozen=True)
class Job:
    """Take a trial from where it stands to a rung: all that a worker needs.

    Parameters
    ----------
    number, family, params, seed
        The trial's.
    rung, units : int
        The rung to reach, and how much of the resource that is in all.
    final : bool
        Whether it is the top rung.
    scoring : str
    patience : int
        Units without a better point after which a trial measured at each unit ends.
    max_epochs : int
        Of a family whose resource they are: what each fold is given.
    target : float or None
        The score that is good enough: a trial measured at each unit ends there.
    refit : bool
        Learn from every training row, and measure nothing.
    checkpoint : bytes or None
        Where it stands; None at its start.
    seconds : float or None
        Longest that it may take.
    memory_mb : int or None
        Most memory that it may take, in MiB beside what the worker has.
    """

    number: int
    family: str
    params: Mapping[str, Value]
    seed: int
    rung: int
    units: int
    final: bool
    scoring: str
    patience: int
    max_epochs: int
    target: float | None = None
    refit: bool = False
    checkpoint: bytes | None = None
    seconds: float | None = None
    memory_mb: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Parameters
    ----------
    number, rung : int
        The job's.
    state : str
        PAUSED at the rung; FINISHED: at the top, no better for too long or good enough; FAILED.
    points : tuple of Point
        Measured in this job.
    seconds : float
        Wall clock in the worker.
    error, traceback : str
        Why it FAILED; without a traceback where the numbers ran away, or a limit was met.
    checkpoint : bytes or None
        Where the trial stands, for the next job and `best_of`; None when it failed.
    """

    number: int
    rung: int
    state: Literal["PAUSED", "FINISHED", "FAILED"]
    points: tuple[Point, ...] = ()
    seconds: float = 0.0
    error: str = ""
    traceback: str = ""
    checkpoint: bytes | None = None


@dataclass(frozen=True, eq=False)
class Data:
    """The rows of a sweep, preprocessed once; every worker of a machine maps the same memory.

    Parameters
    ----------
    train : Rows
    X_validation : ndarray of float32, shape (n_rows, n_columns)
    codes_validation : ndarray of intp, shape (n_rows,)
        The place of each label in ``train.classes``.
    flipped : bool
        Whether the first of two classes is the one that a score is about.
    folds : ndarray of intp, shape (n_train_rows,), or None
        The fold of each training row, where trials are scored by cross-validation.
    families : mapping of str to Family
        Those that the trials are of.
    """

    train: Rows
    X_validation: NDArray[np.float32]
    codes_validation: NDArray[np.intp]
    flipped: bool = False
    folds: NDArray[np.intp] | None = None
    families: Mapping[str, Family] = field(default_factory=lambda: FAMILIES)

    def fold(self, number: int) -> "Data":
        """Return the data with one fold held out in the place of the validation rows."""
        assert self.folds is not None
        held_out = np.flatnonzero(self.folds == number)
        return Data(
            train=self.train.take(np.flatnonzero(self.folds != number)),
            X_validation=self.train.X[held_out],
            codes_validation=self.train.codes[held_out],
            flipped=self.flipped,
            families=self.families,
        )

    def score(
        self, scoring: str, codes: NDArray[np.intp], probabilities: NDArray[np.floating[Any]]
    ) -> float:
        """Score probabilities, higher being better."""
        if self.flipped:
            return score(scoring, 1 - codes, probabilities[:, ::-1])
        return score(scoring, codes, probabilities)

    @cached_property
    def monitored(self) -> Rows:
        """Some of the training rows, to see how much better a model does on what it knows."""
        last = len(self.train.X) - 1
        return self.train.take(np.unique(np.linspace(0, last, MONITORED_ROWS).astype(np.intp)))


_FAMILIES = "families.pickle"
_ARRAYS = ("X_train", "y_train", "X_validation", "y_validation")


def save_data(
    folder: Path, *, families: Mapping[str, Family] = FAMILIES, **arrays: NDArray[np.generic]
) -> None:
    """Write matrices and labels, by the names that `load_data` reads, and the families."""
    (folder / _FAMILIES).write_bytes(pickle.dumps(families))
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def load_data(folder: Path) -> Data:
    """Map what `save_data` wrote.

    X_train, y_train, X_validation and y_validation; and, where there are any, weights, folds
    and flipped, whose value is of no meaning.
    """
    X_train, y_train, X_validation, y_validation = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS
    )
    families = folder / _FAMILIES
    classes, codes = np.unique(y_train, return_inverse=True)
    return Data(
        train=Rows(
            X=X_train,
            y=y_train,
            codes=codes.astype(np.intp),
            classes=classes,
            weights=_optional(folder / "weights.npy"),
        ),
        X_validation=X_validation,
        codes_validation=np.searchsorted(classes, y_validation),
        flipped=(folder / "flipped.npy").exists(),
        folds=_optional(folder / "folds.npy"),
        families=pickle.loads(families.read_bytes()) if families.exists() else FAMILIES,
    )


def _optional(path: Path) -> NDArray[Any] | None:
    return np.load(path, mmap_mode="r") if path.exists() else None


class _Standing(NamedTuple):
    """Where a trial stands.

    ``best`` is None while the learner itself is the best so far. A trial scored by folds has
    neither, and the best point of each fold that it was given.
    """

    learner: Learner | None
    best: Learner | None
    top: Point | None
    folds: tuple[Point, ...] = ()


def best_of(checkpoint: bytes) -> Learner:
    """Return the learner as it was at its best point."""
    standing: _Standing = pickle.loads(checkpoint)
    best = standing.best or standing.learner
    assert best is not None
    return best


def refit_units(checkpoint: bytes) -> int:
    """Return how much each fold wanted of the resource, on average."""
    standing: _Standing = pickle.loads(checkpoint)
    return round(float(np.mean([point.epoch for point in standing.folds])))


class OvertimeError(Exception):
    """A trial took longer than it may."""


def run(job: Job, data: Data) -> Outcome:
    """Go on with a trial up to the job's rung; whatever goes wrong is the trial's own failure."""
    began = time.perf_counter()
    points: list[Point] = []
    state: Literal["PAUSED", "FINISHED", "FAILED"] = "FAILED"
    error = trace = ""
    checkpoint = None
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            # Overflow and slow convergence are told by the scores; a worker has no reader.
            warnings.simplefilter("ignore")
            standing, ended = _go_on(job, data, points, began)
        state = "FINISHED" if ended else "PAUSED"
        checkpoint = pickle.dumps(standing, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as err:
        state, error = "FAILED", _said(err, job, points)
        if not _expected(err):
            trace = traceback.format_exc()[-MAXIMUM_TRACEBACK:]
    return Outcome(
        number=job.number,
        rung=job.rung,
        state=state,
        points=tuple(points),
        seconds=time.perf_counter() - began,
        error=error,
        traceback=trace,
        checkpoint=checkpoint,
    )


def _go_on(job: Job, data: Data, points: list[Point], began: float) -> tuple[_Standing, bool]:
    """Return where the trial stands then, and whether it has ended.

    The points are filled on the way, so that a trial that fails keeps what it had.
    """
    standing = _Standing(None, None, None)
    if job.checkpoint is not None:
        standing = pickle.loads(job.checkpoint)
    if data.folds is not None and not job.refit:
        return _next_folds(job, data, standing, points, began), job.final
    learner = standing.learner or _start(job, data)
    if job.refit:
        learner.advance(data.train, job.units)
        return _Standing(None, learner, None), True
    best, top, ended = _fit(
        learner, job, data, job.units, (standing.best, standing.top), points, began
    )
    ended = ended or job.final
    if ended and best is None:
        best = learner.snapshot()
    return _Standing(None if ended else learner, best, top), ended


def _next_folds(
    job: Job, data: Data, standing: _Standing, points: list[Point], began: float
) -> _Standing:
    tops = standing.folds
    for fold in range(len(tops), job.units):
        part = data.fold(fold)
        most = data.families[job.family].most(
            job.params, rows=len(part.train.X), max_epochs=job.max_epochs
        )
        _, top, _ = _fit(_start(job, part), job, part, most, (None, None), [], began)
        tops = (*tops, top)
        points.append(
            Point(
                len(tops),
                *(
                    float(np.mean([getattr(top, name) for top in tops]))
                    for name in ("loss", "score", "train_score")
                ),
            )
        )
    return _Standing(None, None, points[-1], tops)


def _start(job: Job, data: Data) -> Learner:
    return data.families[job.family].start(job.params, seed=job.seed, rows=len(data.train.X))


def _fit(
    learner: Learner,
    job: Job,
    data: Data,
    to: int,
    standing: tuple[Learner | None, Point | None],
    points: list[Point],
    began: float,
) -> tuple[Learner | None, Point, bool]:
    """Advance to so many units.

    Returns
    -------
    Learner or None
        The best so far; None where that is how the learner is left.
    Point
        Its point.
    bool
        Whether it needs no more: it was no better for too long, or is good enough.
    """
    best, top = standing
    known, ended = top, False
    stepwise = data.families[job.family].resource == "epochs"
    for units in range(learner.units + 1, to + 1) if stepwise else (to,):
        if top is not None and best is None:
            best = learner.snapshot()
        learner.advance(data.train, units)
        point = _measure(learner, data, job.scoring, units)
        points.append(point)
        if top is None or point.rank > top.rank:
            best, top = None, point
            if stepwise and job.target is not None and point.score >= job.target:
                ended = True
                break
        elif stepwise and units - top.epoch >= job.patience:
            ended = True
            break
        if job.seconds is not None and time.perf_counter() - began > job.seconds:
            raise OvertimeError(f"longer than {job.seconds:g} s")
    assert top is not None
    # Of these alone: on small data a training score costs as much as half an epoch.
    if top is not known:
        place = points.index(top)
        top = top._replace(train_score=_train_score(best or learner, data, job.scoring))
        points[place] = top
    if points and points[-1].epoch == to and points[-1].train_score is None:
        points[-1] = points[-1]._replace(train_score=_train_score(learner, data, job.scoring))
    return best, top, ended


def _measure(learner: Learner, data: Data, scoring: str, units: int) -> Point:
    probabilities = learner.predict_proba(data.X_validation)
    if not np.isfinite(probabilities).all():
        raise FloatingPointError("it predicts numbers that are not finite")
    return Point(
        epoch=units,
        loss=log_loss(data.codes_validation, probabilities),
        score=data.score(scoring, data.codes_validation, probabilities),
    )


def _train_score(learner: Learner, data: Data, scoring: str) -> float:
    monitored = data.monitored
    return data.score(scoring, monitored.codes, learner.predict_proba(monitored.X))


def diverged(error: str) -> bool:
    """Tell whether a trial failed since its numbers ran away: the worst score, and no fault."""
    return error.startswith("diverged")


def _expected(err: Exception) -> bool:
    expected = (FloatingPointError, OvertimeError, MemoryError)
    return isinstance(err, expected) or "non-finite" in str(err)


def _said(err: Exception, job: Job, points: list[Point]) -> str:
    reached = points[-1].epoch if points else 0
    kind = type(err).__name__
    if isinstance(err, OvertimeError):
        kind = "stopped"
    elif isinstance(err, MemoryError):
        kind = f"stopped: more than {job.memory_mb} MiB" if job.memory_mb else "out of memory"
    elif _expected(err):
        kind = f"diverged after {reached} units"
    said = f"{kind}: {err}" if str(err) else kind
    return said[:MAXIMUM_ERROR]
