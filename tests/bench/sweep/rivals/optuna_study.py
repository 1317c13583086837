"""Optuna: full fits, and epochs with successive halving, by two processes or two threads."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sweep.contest import WORKERS, Contestant, Task, accuracy, load
from sweep.pair import Pair
from sweep.space import ALPHA, BATCHES, EPOCHS, LAYERS, MOMENTUM, RATE, SOLVERS, WIDTHS, network
from sweep.tables import Matrices

STUDY = "sweep"


class Study(Contestant):
    """Workers that share a study in a journal file, as Optuna advises for one machine.

    MLflow is called by the callback of optuna-integration. It is given the experiment instead
    of a name to look up after each trial, which is faster than its default.
    """

    epochwise: ClassVar[bool] = False
    every_epoch: ClassVar[bool] = True
    threads: ClassVar[bool] = False

    def __init__(self, table: Path, scratch: Path) -> None:
        import optuna

        load(
            "optuna_integration.mlflow",
            "optuna.samplers._tpe.sampler",
            "optuna.storages.journal",
            "sklearn.neural_network",
        )
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.simplefilter("ignore")
        self._table = Matrices.load(table)
        self._classes = np.unique(self._table.y_train)
        if self.threads:
            self._steps = self._worker(0)
        else:
            self._pair = Pair(self._worker)

    def prepare(self, task: Task) -> None:
        """Make the study and open the stores."""
        import mlflow
        import optuna

        mlflow.set_tracking_uri(task.store)
        self._experiment = mlflow.set_experiment(STUDY).experiment_id
        if self.threads:
            self._study = optuna.create_study(
                study_name=STUDY,
                direction="maximize",
                sampler=optuna.samplers.TPESampler(seed=task.seed),
            )
            self._steps[0](task)
        else:
            optuna.create_study(study_name=STUDY, direction="maximize", storage=_journal(task))
            self._pair.tell("prepare", task)

    def search(self, task: Task) -> None:
        """Optimize in each worker until the book is over."""
        if self.threads:
            self._steps[1](task)
        else:
            self._pair.tell("search", task)

    def close(self) -> None:
        """End the workers."""
        if not self.threads:
            self._pair.close()

    def _worker(self, place: int) -> tuple[Callable[[Task], None], Callable[[Task], None]]:
        import mlflow
        import optuna
        from optuna_integration.mlflow import MLflowCallback

        kept: dict[str, Any] = {}

        def prepare(task: Task) -> None:
            mlflow.set_tracking_uri(task.store)
            experiment = mlflow.get_experiment_by_name(STUDY).experiment_id
            kept["log"] = MLflowCallback(
                metric_name="accuracy",
                create_experiment=False,
                mlflow_kwargs={"experiment_id": experiment},
            )
            kept["study"] = (
                self._study
                if self.threads
                else optuna.load_study(
                    study_name=STUDY,
                    storage=_journal(task),
                    sampler=optuna.samplers.TPESampler(seed=WORKERS * task.seed + place),
                    pruner=optuna.pruners.SuccessiveHalvingPruner(
                        min_resource=1, reduction_factor=3
                    )
                    if self.epochwise
                    else optuna.pruners.NopPruner(),
                )
            )

        def search(task: Task) -> None:
            def end(study: Any, trial: Any) -> None:
                if task.book.over:
                    study.stop()

            fit = self._epochs if self.epochwise else self._whole
            kept["study"].optimize(
                lambda trial: fit(trial, task),
                timeout=task.seconds,
                n_jobs=WORKERS if self.threads else 1,
                callbacks=[kept["log"], end],
                catch=(ValueError,),
            )

        return prepare, search

    def _network(self, trial: Any, task: Task, **more: Any) -> Any:
        params = {
            "layers": trial.suggest_int("layers", *LAYERS),
            "width": trial.suggest_categorical("width", WIDTHS),
            "solver": trial.suggest_categorical("solver", SOLVERS),
            "learning_rate_init": trial.suggest_float("learning_rate_init", *RATE, log=True),
            "alpha": trial.suggest_float("alpha", *ALPHA, log=True),
            "batch_size": trial.suggest_categorical("batch_size", BATCHES),
        }
        if params["solver"] == "sgd":
            params["momentum"] = trial.suggest_float("momentum", *MOMENTUM)
        return network(params, 1000 * task.seed + trial.number, **more)

    def _whole(self, trial: Any, task: Task) -> float:
        table = self._table
        estimator = self._network(trial, task, max_iter=EPOCHS)
        estimator.fit(table.X_train, table.y_train)
        score = accuracy(estimator, table.X_validation, table.y_validation)
        task.book.note(
            score, estimator.n_iter_, lambda: accuracy(estimator, table.X_sealed, table.y_sealed)
        )
        return score

    def _epochs(self, trial: Any, task: Task) -> float:
        import optuna

        table, best = self._table, 0.0
        estimator = self._network(trial, task)
        for epoch in range(1, EPOCHS + 1):
            estimator.partial_fit(table.X_train, table.y_train, classes=self._classes)
            score = accuracy(estimator, table.X_validation, table.y_validation)
            best = max(best, score)
            over = task.book.note(
                score, 1, lambda: accuracy(estimator, table.X_sealed, table.y_sealed)
            )
            if over:
                break
            trial.report(score, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return best


class FullFits(Study):
    """Optuna's default sampler, every trial fitted to its end."""

    sort = "Optuna, full fits"


class FullFitsThreads(FullFits):
    """The same by ``n_jobs=2`` in one process and in memory."""

    sort = "Optuna, full fits, two threads"
    threads = True


class Pruned(Study):
    """Optuna with partial_fit and successive halving."""

    sort = "Optuna, partial_fit and SuccessiveHalvingPruner"
    epochwise = True


def _journal(task: Task) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(task.scratch / "journal.log")))
