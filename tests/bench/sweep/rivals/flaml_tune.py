"""FLAML's tune: its own search, with or without epochs as its resource."""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sweep.contest import WORKERS, Contestant, Task, accuracy, load
from sweep.pair import Pair
from sweep.space import ALPHA, BATCHES, EPOCHS, LAYERS, MOMENTUM, RATE, SOLVERS, WIDTHS, network
from sweep.tables import Matrices


class Flaml(Contestant):
    """Two processes that search for themselves with seeds of their own: the first one counts.

    Without Ray or Spark FLAML's search is of one trial at a time, and Ray's own overhead is
    larger than what it would gain here.
    """

    sort = "FLAML"
    resource: ClassVar[bool] = True
    algorithm: ClassVar[str] = "BlendSearch"

    def __init__(self, table: Path, scratch: Path) -> None:
        import optuna

        load("flaml.tune", "flaml.tune.searcher.blendsearch", "sklearn.neural_network")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.getLogger("flaml").setLevel(logging.ERROR)
        warnings.simplefilter("ignore")
        self._table = Matrices.load(table)
        self._classes = np.unique(self._table.y_train)
        self._pair = Pair(self._worker)

    def prepare(self, task: Task) -> None:
        """Open the stores."""
        import mlflow

        mlflow.set_tracking_uri(task.store)
        mlflow.set_experiment("sweep")
        self._pair.tell("prepare", task)

    def search(self, task: Task) -> None:
        """Search in both workers until the book is over."""
        self._pair.tell("search", task)

    def close(self) -> None:
        """End the workers."""
        self._pair.close()

    def _worker(self, place: int) -> tuple[Callable[[Task], None], Callable[[Task], None]]:
        import mlflow
        from flaml import tune
        from flaml.tune.searcher import blendsearch

        def prepare(task: Task) -> None:
            mlflow.set_tracking_uri(task.store)
            mlflow.set_experiment("sweep")

        def search(task: Task) -> None:
            seed = WORKERS * task.seed + place
            space = {
                "layers": tune.randint(LAYERS[0], LAYERS[1] + 1),
                "width": tune.choice(list(WIDTHS)),
                "solver": tune.choice(list(SOLVERS)),
                "learning_rate_init": tune.loguniform(*RATE),
                "momentum": tune.uniform(*MOMENTUM),
                "alpha": tune.loguniform(*ALPHA),
                "batch_size": tune.choice(list(BATCHES)),
            }
            resource = (
                {
                    "resource_attr": "epochs",
                    "min_resource": 1,
                    "max_resource": EPOCHS,
                    "reduction_factor": 3,
                }
                if self.resource
                else {}
            )
            searcher = getattr(blendsearch, self.algorithm)(
                metric="accuracy",
                mode="max",
                space=space,
                low_cost_partial_config={"layers": 1, "width": WIDTHS[0]},
                time_budget_s=task.seconds,
                seed=seed,
                **resource,
            )
            tune.run(
                lambda config: self._fit(config, task, seed),
                metric="accuracy",
                mode="max",
                config=space,
                search_alg=searcher,
                time_budget_s=task.seconds,
                num_samples=-1,
                verbose=0,
            )

        return prepare, search

    def _fit(self, config: dict[str, Any], task: Task, seed: int) -> dict[str, float] | None:
        import mlflow

        if task.book.over:
            return None
        params = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in config.items()
        }
        epochs = round(params.pop("epochs", EPOCHS))
        if params["solver"] != "sgd":
            del params["momentum"]
        table, best, estimator = self._table, 0.0, network(params, seed)
        for _ in range(epochs):
            try:
                estimator.partial_fit(table.X_train, table.y_train, classes=self._classes)
            except ValueError:
                break
            score = accuracy(estimator, table.X_validation, table.y_validation)
            best = max(best, score)
            if task.book.note(
                score, 1, lambda: accuracy(estimator, table.X_sealed, table.y_sealed)
            ):
                break
        with mlflow.start_run():
            mlflow.log_params({**params, "epochs": epochs})
            mlflow.log_metric("accuracy", best)
        return {"accuracy": best}


class FlamlFullFits(Flaml):
    """Every trial is fitted to its end."""

    sort = "FLAML, full fits"
    resource = False


class Cfo(Flaml):
    """FLAML's local search alone."""

    sort = "FLAML, CFO"
    algorithm = "CFO"
