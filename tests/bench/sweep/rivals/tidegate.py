"""tidegate itself."""

import json
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from sweep.contest import WORKERS, Contestant, Task, accuracy, load
from sweep.space import EPOCHS, declared
from sweep.tables import Matrices

FAMILY = "mlp"


def settings(seed: int, **more: Any) -> Any:
    """Return the ``[train]`` section: the bench's space and epochs, the rest as it comes.

    Raises
    ------
    ValueError
        The family has a dimension that the rivals are not given.
    """
    from pipelines.models.families import FAMILIES
    from pipelines.sweep.settings import TrainSettings

    found = TrainSettings(
        **{
            "trials": 10_000,
            "seed": seed,
            "workers": WORKERS,
            "families": (FAMILY,),
            "scoring": "accuracy",
            "max_epochs": EPOCHS,
            "space": {FAMILY: declared()},
            **more,
        }
    )
    extra = ", ".join(found.space_of(FAMILIES[FAMILY]).keys() - declared().keys())
    if extra:
        raise ValueError(f"tidegate searches more than the rivals: {extra}")
    return found


def workers(count: int = WORKERS, *more: str) -> Any:
    """Start the executor that `start_workers` does, its server loading ``more`` beside."""
    from pipelines.models.families import FAMILIES
    from pipelines.sweep.forkserver import ForkServer
    from pipelines.sweep.workers import Workers

    modules = ["sklearn.metrics", FAMILIES[FAMILY].module, *more]
    return Workers(count, ForkServer("pipelines.sweep.workers:work", modules))


class Frames:
    """What a sweep is called with."""

    def __init__(self, table: Path) -> None:
        import numpy as np
        import pandas as pd

        from pipelines.features import Roles

        given = json.loads((table / "roles.json").read_text())
        self.roles = Roles(tuple(given["numeric"]), tuple(given["categorical"]))
        self.train, self.validation = (
            pd.read_parquet(table / f"{side}.parquet") for side in ("train", "validation")
        )
        self.y_train, self.y_validation = (
            np.load(table / f"y_{side}.npy") for side in ("train", "validation")
        )

    def sweep(self, found: Any, folder: Path, executor: Any, **more: Any) -> Any:
        """Run a sweep."""
        from pipelines.sweep.sweep import sweep

        return sweep(
            self.train,
            self.y_train,
            self.validation,
            self.y_validation,
            self.roles,
            found,
            folder=folder,
            executor=executor,
            **more,
        )


class Watched:
    """An executor, each outcome of which is told to the book as it comes in.

    At the target it does what Ctrl-C does: the sweep keeps the best so far, and ends.
    """

    def __init__(self, executor: Any, task: Task, table: Matrices) -> None:
        self._executor = executor
        self._task = task
        self._table = table

    def __getattr__(self, name: str) -> Any:
        return getattr(self._executor, name)

    def wait(self, timeout: float | None) -> list[Any]:
        """Return what has ended."""
        ended: list[Any] = self._executor.wait(timeout)
        for outcome in ended:
            if self._reached(outcome):
                raise KeyboardInterrupt
        return ended

    def _reached(self, outcome: Any) -> bool:
        points = getattr(outcome, "points", ())
        if not points:
            return False
        score = max(point.score for point in points)
        return self._task.book.note(score, len(points), lambda: self._sealed(outcome))

    def _sealed(self, outcome: Any) -> float:
        from pipelines.sweep.trial import best_of

        estimator = best_of(outcome.checkpoint).estimator()
        return accuracy(estimator, self._table.X_sealed, self._table.y_sealed)


class Prepared:
    """The preprocessing of rows that are given as matrices: nothing is left to do."""

    def __init__(self, frames: Frames, table: Matrices) -> None:
        self._matrices = {
            id(frames.train): table.X_train,
            id(frames.validation): table.X_validation,
        }

    def fit(self, frame: Any) -> "Prepared":
        """Learn nothing."""
        return self

    def transform(self, frame: Any) -> Any:
        """Return the matrix of these rows."""
        return self._matrices[id(frame)]


class Tidegate(Contestant):
    """`pipelines.sweep.sweep.sweep`, each trial logged by `pipelines.tracking.Tracker`.

    It is given the matrices that the others are given, in the place of its own preprocessing. A
    score counts once it has come back to the driver. It is told the target as its user would tell
    it, by ``train.target_score``: a trial ends at the epoch that reaches it.
    """

    sort = "tidegate"
    product = True
    beside: ClassVar[tuple[str, ...]] = ()

    def __init__(self, table: Path, scratch: Path) -> None:
        self._executor = workers(WORKERS, *self.beside)
        load("pipelines.sweep.sweep", "pipelines.tracking", "optuna.samplers._tpe.sampler")
        self._frames = Frames(table)
        self._table = Matrices.load(table)
        sweep = import_module("pipelines.sweep.sweep")
        sweep.conform = lambda frame, roles: frame  # type: ignore[attr-defined]
        prepared = Prepared(self._frames, self._table)
        sweep.preprocessor = lambda roles: prepared  # type: ignore[attr-defined]
        # The first fork is answered once the server has loaded everything.
        server = self._executor._server
        line, pid = server.fork()
        line.close()
        server.reap(pid)

    def prepare(self, task: Task) -> None:
        """Open the store and a run in it."""
        from pipelines.tracking import Tracker, TrackingSettings

        self._tracker = Tracker.open(
            TrackingSettings(folder=".", uri=task.store), task.scratch, experiment="sweep"
        )
        self._run = self._tracker.start("sweep", tags={})

    def search(self, task: Task) -> None:
        """Sweep; then wait until everything is logged."""
        # Raised anew of a sweep that was stopped before it had taken in a single trial.
        with suppress(KeyboardInterrupt):
            self._frames.sweep(
                settings(task.seed, timeout_seconds=task.seconds, target_score=task.target),
                task.scratch / "sweep",
                Watched(self._executor, task, self._table),
                on_trial=lambda trial, best: self._tracker.log_trial(self._run, trial),
            )
        self._tracker.finish(self._run, "FINISHED")

    def close(self) -> None:
        """End the workers."""
        self._executor.__exit__(None, None, None)


class Plain(Tidegate):
    """Fitted by scikit-learn's own ``partial_fit``."""

    sort = "tidegate, plain partial_fit"
    beside = ("sweep.rivals.plain",)


class NoStarts(Tidegate):
    """Without the configurations that tidegate tries first, which no rival is given."""

    sort = "tidegate, no starting points"

    def __init__(self, table: Path, scratch: Path) -> None:
        from pipelines.models.mlp import MLP

        MLP.starts = lambda self: ()  # type: ignore[method-assign]
        super().__init__(table, scratch)
