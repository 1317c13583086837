"""The loop of a sweep: propose, dispatch, collect, keep the best."""

import pickle
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from pipelines.errors import DataError, ServiceError, SweepError
from pipelines.features import Roles, conform, preprocessor
from pipelines.models.families import YARDSTICK
from pipelines.sweep.importance import importance
from pipelines.sweep.proposals import Proposer, seed_of
from pipelines.sweep.rungs import floors
from pipelines.sweep.settings import TrainSettings
from pipelines.sweep.trial import Job, Outcome, Trial, save_data
from pipelines.sweep.workers import Lost, Workers, start_workers

LOOKAHEAD = 8
"""Trial n is proposed knowing the trials up to n - LOOKAHEAD, and no other.

So proposals do not depend on which trial ends first, nor on how many workers there are.
More workers than this would wait for one another.
"""

OnTrial = Callable[[Trial, Trial | None], None]
"""Is told of each trial as it ends, and of the best one so far."""


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found.

    Parameters
    ----------
    trials : tuple of Trial
        In the order in which they were proposed.
    best : Trial
        The finished one with the highest score; of equals the one with the lowest loss.
    model : Pipeline
        Fitted preprocessing and the winner's estimator, as it was at its best epoch.
    yardstick : Pipeline or None
        The same for the best linear model, when the sweep tried one.
    importance : dict of str to float
        Of the winner's family; empty when its trials say too little.
    stopped : "budget" or "timeout"
        Why it ended.
    seconds : float
        Wall clock, preprocessing included.
    scoring : str
    """

    trials: tuple[Trial, ...]
    best: Trial
    model: Pipeline
    yardstick: Pipeline | None
    importance: dict[str, float]
    stopped: Literal["budget", "timeout"]
    seconds: float
    scoring: str


def sweep(
    train: pd.DataFrame,
    y_train: np.ndarray,
    validation: pd.DataFrame,
    y_validation: np.ndarray,
    roles: Roles,
    settings: TrainSettings,
    *,
    scratch: Path,
    workers: Workers | None = None,
    on_trial: OnTrial = lambda trial, best: None,
) -> SweepResult:
    """Search for the model that scores best on the validation rows.

    Preprocessing is fitted once, on the training rows alone, and every worker maps the same
    matrices. The same rows, settings and machine give the same trials and the same winner,
    with any number of workers.

    Parameters
    ----------
    train, validation : DataFrame, (n_rows, ...)
        With at least the columns of ``roles``.
    y_train, y_validation : ndarray, (n_rows,)
        From `pipelines.features.labels`.
    scratch : Path
        A folder for the matrices, which are gone when the sweep ends.
    workers : Workers, optional
        Started early with `start_workers`; without them the sweep starts its own.

    Raises
    ------
    DataError
        The training rows have one class, or the validation rows a class of their own.
    SweepError
        No trial finished.
    ServiceError
        The matrices could not be written.
    """
    began = time.monotonic()
    _check_classes(y_train, y_validation)
    X_train, X_validation = conform(train, roles), conform(validation, roles)
    preprocess = preprocessor(roles).fit(X_train)
    with ExitStack() as stack:
        if workers is None:
            workers = stack.enter_context(start_workers(settings))
        try:
            scratch.mkdir(parents=True, exist_ok=True)
            data = Path(stack.enter_context(TemporaryDirectory(prefix="sweep-", dir=scratch)))
            save_data(
                data,
                X_train=preprocess.transform(X_train),
                y_train=y_train,
                X_validation=preprocess.transform(X_validation),
                y_validation=y_validation,
            )
        except OSError as err:
            raise ServiceError(
                "The sweep writes its matrices where the workers can map them.",
                found=f"{scratch}: {err.strerror}",
                next_move="free some space or make the folder writable, "
                "or set tracking.folder elsewhere",
            ) from err
        # Before the folder goes: the workers have its files mapped.
        stack.callback(workers.stop)
        search = _Search(settings, data, workers, on_trial)
        search.run(began)
    best = search.best()
    return SweepResult(
        trials=tuple(search.trials[number] for number in sorted(search.trials)),
        best=best.trial,
        model=_pipeline(preprocess, best),
        yardstick=_pipeline(preprocess, search.tops[YARDSTICK])
        if YARDSTICK in search.tops
        else None,
        importance=importance(search.proposer.studies[best.trial.family]),
        stopped=search.stopped,
        seconds=time.monotonic() - began,
        scoring=settings.scoring,
    )


@dataclass
class _Search:
    settings: TrainSettings
    data: Path
    workers: Workers
    on_trial: OnTrial
    trials: dict[int, Trial] = field(default_factory=dict)
    tops: dict[str, Outcome] = field(default_factory=dict)
    stopped: Literal["budget", "timeout"] = "budget"

    def __post_init__(self) -> None:
        self.proposer = Proposer(self.settings)
        self._told: list[Trial] = []
        self._proposed: list[Job] = []
        self._again: deque[Job] = deque()
        self._lost: set[int] = set()

    def run(self, began: float) -> None:
        """Run the trials of the budget, or as many as the time allows."""
        while len(self.trials) < self.settings.trials:
            self._dispatch()
            ended = self.workers.wait(self._seconds_left(began))
            for outcome in ended:
                if isinstance(outcome, Lost):
                    self._retry_once(outcome)
                else:
                    self._record(outcome)
            if not ended:
                self._time_is_up()
                break
        for number in range(len(self._told), len(self._proposed)):
            self._tell(number)

    def best(self) -> Outcome:
        """Return the best finished trial.

        Raises
        ------
        SweepError
            There is none.
        """
        if self.tops:
            return max(self.tops.values(), key=_rank)
        first = next((trial for _, trial in sorted(self.trials.items()) if trial.error), None)
        raise SweepError(
            "At least one trial gives a usable model.",
            found=f"none of {len(self.trials)} did"
            + (f"; the first, {first.family}: {first.error}" if first else ""),
            next_move="give it more time (train.timeout_seconds)"
            if self.stopped == "timeout"
            else "narrow the space in [train.space], or try train.families = ['linear']",
        )

    def _dispatch(self) -> None:
        while self.workers.idle:
            if self._again:
                self.workers.submit(self._again.popleft())
                continue
            number = len(self._proposed)
            known = number - LOOKAHEAD
            if number == self.settings.trials or any(
                n not in self.trials for n in range(len(self._told), known + 1)
            ):
                return
            if known >= 0:
                self._tell(known)
            self.workers.submit(self._propose(number))

    def _propose(self, number: int) -> Job:
        settings = self.settings
        family, params = self.proposer.ask(number)
        peers = (trial for trial in self._told if trial.family == family)
        job = Job(
            number=number,
            family=family,
            params=params,
            seed=seed_of(settings.seed, number, 1),
            data=self.data,
            scoring=settings.scoring,
            max_epochs=settings.max_epochs,
            patience=settings.patience,
            floors=floors(peers) if settings.prune else {},
        )
        self._proposed.append(job)
        return job

    def _tell(self, number: int) -> None:
        self.proposer.tell(self.trials[number])
        self._told.append(self.trials[number])

    def _retry_once(self, lost: Lost) -> None:
        """Run a trial again whose worker died, unless it may be the trial that kills it."""
        job = lost.job
        if job.number not in self._lost:
            self._lost.add(job.number)
            self._again.append(job)
            return
        said = f"its worker died twice, the last time with exit code {lost.exit_code}"
        self._record(Outcome(Trial(job.number, job.family, job.params, "FAILED", error=said)))

    def _record(self, outcome: Outcome) -> None:
        trial = outcome.trial
        self.trials[trial.number] = trial
        if outcome.model is not None:
            top = self.tops.get(trial.family)
            if top is None or _rank(outcome) > _rank(top):
                self.tops[trial.family] = outcome
        best = max(self.tops.values(), key=_rank).trial if self.tops else None
        self.on_trial(trial, best)

    def _seconds_left(self, began: float) -> float | None:
        if self.settings.timeout_seconds is None:
            return None
        return max(0.0, began + self.settings.timeout_seconds - time.monotonic())

    def _time_is_up(self) -> None:
        self.stopped = "timeout"
        self.workers.stop()
        said = f"still running after {self.settings.timeout_seconds:g} s"
        for job in self._proposed:
            if job.number not in self.trials:
                trial = Trial(job.number, job.family, job.params, "KILLED", error=said)
                self._record(Outcome(trial))


def _rank(outcome: Outcome) -> tuple[float, float, int]:
    top = outcome.trial.top
    assert top is not None
    return *top.rank, -outcome.trial.number


def _pipeline(preprocess: ColumnTransformer, outcome: Outcome) -> Pipeline:
    assert outcome.model is not None
    return Pipeline([("preprocess", preprocess), ("model", pickle.loads(outcome.model))])


def _check_classes(y_train: np.ndarray, y_validation: np.ndarray) -> None:
    classes = np.unique(y_train)
    if len(classes) < 2:
        raise DataError(
            "The training rows have at least two classes.",
            found=f"{len(y_train)} rows, all {classes[0]}" if len(classes) else "no rows",
            next_move="check data.target, and where [data.split] cuts",
        )
    unknown = np.setdiff1d(y_validation, classes)
    if unknown.size or not len(y_validation):
        raise DataError(
            "The validation rows have the classes of the training rows.",
            found=f"only in validation: {', '.join(map(str, unknown[:5]))}"
            if unknown.size
            else "no rows",
            next_move="move the cut in [data.split], or leave those rows out",
        )
