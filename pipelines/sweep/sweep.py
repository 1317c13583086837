"""From rows to the best model that a budget finds."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from pipelines.errors import DataError, ServiceError, SweepError
from pipelines.features import Roles, conform, preprocessor
from pipelines.models.families import Families
from pipelines.models.family import Family
from pipelines.models.learner import Learner
from pipelines.models.rehearsal import check_values, rehearse
from pipelines.models.space import Value
from pipelines.sweep.ensemble import Ensemble, vote
from pipelines.sweep.executors import start_executor
from pipelines.sweep.folds import assign_folds
from pipelines.sweep.importance import importance
from pipelines.sweep.journal import Journal
from pipelines.sweep.rungs import Rung
from pipelines.sweep.scoring import check_scoring
from pipelines.sweep.search import MOST_LOSSES, OnProgress, OnTrial, Run, Search, Stopped
from pipelines.sweep.settings import TrainSettings
from pipelines.sweep.trial import Job, Outcome, Trial, best_of, load_data, save_data
from pipelines.sweep.workers import Executor, Lost


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found.

    Parameters
    ----------
    trials : tuple of Trial
        In the order in which they were proposed.
    best : Trial
        The one with the highest score; of equals the one with the lowest loss.
    ensemble : Ensemble or None
        The best few, where they were allowed to vote and beat the best one.
    model : Pipeline
        Fitted preprocessing, and the ensemble or the winner's estimator as it was at its best
        point.
    importance : dict of str to float
        Of the winner's family; empty when its trials say too little.
    rungs : tuple of Rung
        What became of the trials at each rung, by family.
    spent : dict of str to float
        Seconds in the workers, by family.
    stopped : str
        Why it ended: ``trials``, ``seconds``, ``no improvement``, ``target score`` or
        ``interrupted``.
    seconds : float
        Wall clock, preprocessing and what it took before it was resumed included.
    scoring : str
    """

    trials: tuple[Trial, ...]
    best: Trial
    ensemble: Ensemble | None
    model: Pipeline
    importance: dict[str, float]
    rungs: tuple[Rung, ...]
    spent: dict[str, float]
    stopped: Stopped
    seconds: float
    scoring: str


def sweep(
    train: pd.DataFrame,
    y_train: NDArray[Any],
    validation: pd.DataFrame,
    y_validation: NDArray[Any],
    roles: Roles,
    settings: TrainSettings,
    *,
    folder: Path,
    terms: Mapping[str, Any] = {},
    positive: object = None,
    families: Families | None = None,
    executor: Executor | None = None,
    interrupts: tuple[type[BaseException], ...] = (KeyboardInterrupt,),
    on_trial: OnTrial = lambda trial, best: None,
    on_progress: OnProgress = lambda progress: None,
) -> SweepResult:
    """Search for the model that scores best on the validation rows.

    Preprocessing is fitted once, on the training rows alone, and every worker maps the same
    matrices. The same rows, settings and machine give the same trials and the same winner,
    with any number of workers, and however often the sweep is cut short and goes on.

    Parameters
    ----------
    train, validation : DataFrame, shape (n_rows, ...)
        With at least the columns of ``roles``.
    y_train, y_validation : ndarray, shape (n_rows,)
        From `pipelines.features.labels`.
    folder : Path
        The sweep's own, with its journal. A folder in which one was begun is gone on with.
    terms : mapping
        What the sweep depends on: settings, data, libraries. It goes on under no others.
    positive : label, optional
        Which of two classes a score such as ``f1`` is about; without it the last.
    families : Families, optional
        The project's; without it the built-in ones.
    executor : Executor, optional
        Started early with `start_workers`; without one the sweep starts its own.
    interrupts : tuple of exception types
        What ends the sweep, and leaves the best so far.

    Raises
    ------
    DataError
        The training rows have one class, or the validation rows a class of their own.
    ProjectError
        The scorer cannot score these classes, a declared space holds values that its family
        does not take, or the folder's sweep was begun under others
        terms.
    SweepError
        No trial gave a usable model, or too many failed.
    ServiceError
        The folder cannot be written, or the workers are gone.
    """
    began = time.monotonic()
    chosen = (families or Families()).choose(settings.families)
    classes = _check_classes(y_train, y_validation)
    check_scoring(settings.scoring, len(classes))
    for name, family in chosen.items():
        if name in settings.space:
            check_values(family, settings.space_of(family), settings.space[name])
    X_train, X_validation = conform(train, roles), conform(validation, roles)
    preprocess = preprocessor(roles).fit(X_train)
    with ExitStack() as stack:
        if executor is None:
            executor = stack.enter_context(start_executor(settings, chosen))
        journal = stack.enter_context(Journal(folder, terms))
        matrix = preprocess.transform(X_train)
        try:
            data = Path(stack.enter_context(TemporaryDirectory(prefix="data-", dir=folder)))
            save_data(
                data,
                families=families or Families(),
                X_train=matrix,
                y_train=y_train,
                X_validation=preprocess.transform(X_validation),
                y_validation=y_validation,
                **_extras(settings, y_train, classes, positive),
            )
        except OSError as err:
            raise ServiceError(
                "The sweep writes its matrices where the workers can map them.",
                found=f"{folder}: {err.strerror}",
                next_move="free some space or make the folder writable, "
                "or set tracking.folder elsewhere",
            ) from err
        # Before the folder goes: the workers have its files mapped, and NFS keeps those.
        stack.callback(executor.stop)
        executor.share(data)
        _rehearse(settings, families, chosen, data)
        search = Search(
            settings,
            chosen,
            rows=len(matrix),
            columns=matrix.shape[1],
            classes=len(classes),
            executor=executor,
            journal=journal,
            on_trial=on_trial,
            on_progress=on_progress,
        )
        try:
            search.run()
        except interrupts:
            search.stopped = "interrupted"
            search.close()
            if not search.ranked():
                raise
        best = search.best()
        learner, ensemble = _winner(search, settings, journal, executor, data)
        trials = search.trials
        return SweepResult(
            trials=trials,
            best=trials[best.number],
            ensemble=ensemble,
            model=_pipeline(preprocess, ensemble.model if ensemble else learner.estimator()),
            importance=importance(search.proposer.study(best.family)),
            rungs=search.rungs,
            spent={
                name: sum(trial.seconds for trial in trials if trial.family == name)
                for name in settings.families
            },
            stopped=search.stopped,
            seconds=journal.spent + time.monotonic() - began,
            scoring=settings.scoring,
        )


def _rehearse(
    settings: TrainSettings, families: Families | None, chosen: Mapping[str, Family], data: Path
) -> None:
    """Try out each family of the project's own, which nobody has tried before."""
    for name in families.own if families else ():
        if name in chosen:
            space = settings.space_of(chosen[name])
            first = next(iter(chosen[name].starts()), {})
            params: dict[str, Value] = {}
            for key, dimension in space.items():
                if dimension.exists(params):
                    params[key] = first.get(key, dimension.first)
            rehearse(chosen[name], params, load_data(data).train)


def _winner(
    search: Search, settings: TrainSettings, journal: Journal, executor: Executor, data: Path
) -> tuple[Learner, Ensemble | None]:
    def checkpoint(run: Run) -> bytes:
        assert run.kept is not None
        kept = journal.checkpoint(run.number, run.kept)
        if kept is None:
            raise ServiceError(
                "What the best trials have learned is in the sweep's folder.",
                found=f"{journal.folder}: nothing of trial {run.number} at rung {run.kept}",
                next_move="start anew without --resume",
            )
        return kept

    best = search.best()
    if settings.folds:
        return _refit(search.refit_job(best, checkpoint(best)), executor), None
    ranked = search.ranked()[: max(1, settings.ensemble)]
    learners = [(run.number, best_of(checkpoint(run))) for run in ranked]
    ensemble = None
    if len(learners) > 1 and best.top is not None:
        ensemble = vote(learners, load_data(data), scoring=settings.scoring, score=best.top.score)
    return learners[0][1], ensemble


def _refit(job: Job, executor: Executor) -> Learner:
    """Fit the winner on every training row."""
    for _ in range(MOST_LOSSES):
        executor.submit(job)
        ended: list[Outcome | Lost] = []
        while not ended:
            ended = executor.wait(None)
        (outcome,) = ended
        if isinstance(outcome, Outcome):
            break
    if isinstance(outcome, Lost):
        raise SweepError(
            "The winner is fitted anew on every training row.",
            found=f"{MOST_LOSSES} workers were lost with it; the last: {outcome.reason}",
            next_move="see that the machine has memory for it, or lower train.workers",
        )
    if outcome.checkpoint is None:
        raise SweepError(
            "The winner is fitted anew on every training row.",
            found=outcome.error,
            next_move="raise train.trial_seconds or train.trial_memory_mb, or set train.folds = 0",
        )
    return best_of(outcome.checkpoint)


def _extras(
    settings: TrainSettings, y_train: NDArray[Any], classes: NDArray[Any], positive: object
) -> dict[str, NDArray[Any]]:
    extras: dict[str, NDArray[Any]] = {}
    if settings.class_weight == "balanced":
        from sklearn.utils.class_weight import compute_sample_weight

        extras["weights"] = compute_sample_weight("balanced", y_train).astype(np.float32)
    if settings.folds:
        extras["folds"] = assign_folds(y_train, settings.folds, settings.seed)
    if len(classes) == 2 and positive is not None and str(classes[0]) == str(positive):
        extras["flipped"] = np.ones(1)
    return extras


def _pipeline(preprocess: ColumnTransformer, estimator: Any) -> Pipeline:
    return Pipeline([("preprocess", preprocess), ("model", estimator)])


def _check_classes(y_train: NDArray[Any], y_validation: NDArray[Any]) -> NDArray[Any]:
    classes: NDArray[Any] = np.unique(y_train)
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
    return classes
