"""Ray Tune with ASHA."""

import logging
import os
import time
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sweep.contest import WORKERS, Book, Contestant, Task, accuracy, load, rungs
from sweep.space import ALPHA, BATCHES, EPOCHS, LAYERS, MOMENTUM, RATE, SOLVERS, WIDTHS, network
from sweep.tables import Matrices

TUNED = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # files of its own beside MLflow's
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_INSUFFICIENT_RESOURCE_THRESHOLD_S": "3600",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


class Asha(Contestant):
    """Tuned: actors are used again, one CPU a trial, a result at each rung and not each epoch."""

    sort = "Ray Tune, ASHA"
    every_epoch: ClassVar[bool] = False

    def __init__(self, table: Path, scratch: Path) -> None:
        os.environ.update(TUNED)
        import ray

        load("ray.tune", "ray.air.integrations.mlflow", "ray.tune.schedulers")
        warnings.simplefilter("ignore")
        ray.init(
            num_cpus=WORKERS,
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
            runtime_env={"worker_process_setup_hook": "sweep.rivals.ray_tune.load_worker"},
        )
        # The processes that the actors will live in are up, and have loaded what they need.
        ray.get([ray.remote(num_cpus=1)(load_worker).remote() for _ in range(2 * WORKERS)])
        self._table = table

    def prepare(self, task: Task) -> None:
        """Open the store."""
        import mlflow

        mlflow.set_tracking_uri(task.store)
        mlflow.set_experiment("sweep")

    def search(self, task: Task) -> None:
        """Run one experiment."""
        from ray import tune
        from ray.air.integrations.mlflow import MLflowLoggerCallback
        from ray.tune.schedulers import ASHAScheduler

        space = {
            "layers": tune.randint(LAYERS[0], LAYERS[1] + 1),
            "width": tune.choice(WIDTHS),
            "solver": tune.choice(SOLVERS),
            "learning_rate_init": tune.loguniform(*RATE),
            "momentum": tune.uniform(*MOMENTUM),
            "alpha": tune.loguniform(*ALPHA),
            "batch_size": tune.choice(BATCHES),
            "seed": tune.randint(0, 2**31),
        }
        trainable = tune.with_resources(
            tune.with_parameters(
                _network_class(),
                folder=str(self._table),
                book=task.book,
                stops=tuple(range(1, EPOCHS + 1) if self.every_epoch else rungs(EPOCHS)),
            ),
            {"cpu": 1},
        )
        np.random.seed(task.seed)
        tune.Tuner(
            trainable,
            param_space=space,
            tune_config=tune.TuneConfig(
                metric="accuracy",
                mode="max",
                num_samples=-1,
                max_concurrent_trials=WORKERS,
                reuse_actors=True,
                search_alg=tune.search.BasicVariantGenerator(
                    random_state=task.seed, max_concurrent=WORKERS
                ),
                scheduler=ASHAScheduler(
                    time_attr="epochs", max_t=EPOCHS, grace_period=1, reduction_factor=3
                ),
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=str(task.scratch / "ray"),
                verbose=0,
                stop=_stopper(task),
                callbacks=[MLflowLoggerCallback(tracking_uri=task.store, experiment_name="sweep")],
            ),
        ).fit()

    def close(self) -> None:
        """Stop Ray."""
        import ray

        ray.shutdown()


class AshaEveryEpoch(Asha):
    """A result after each epoch, as most users write it."""

    sort = "Ray Tune, ASHA, a result an epoch"
    every_epoch = True


def load_worker() -> None:
    """Load what an actor needs, long enough about it that every process is given one."""
    import_module("sklearn.neural_network")
    import_module("ray.tune")
    time.sleep(0.1)


def _stopper(task: Task) -> Any:
    from ray.tune import Stopper

    began = time.monotonic()

    class Over(Stopper):
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return result["epochs"] >= EPOCHS

        def stop_all(self) -> bool:
            return task.book.over or time.monotonic() - began > task.seconds

    return Over()


def _network_class() -> Any:
    from ray import tune

    class Network(tune.Trainable):
        def setup(
            self, config: dict[str, Any], folder: str, book: Book, stops: tuple[int, ...]
        ) -> None:
            self._table = Matrices.load(Path(folder))
            self._classes = np.unique(self._table.y_train)
            self._book, self._stops = book, stops
            self.reset_config(config)

        def reset_config(self, config: dict[str, Any]) -> bool:
            params = {name: value for name, value in config.items() if name != "seed"}
            if params["solver"] != "sgd":
                del params["momentum"]
            self._estimator = network(params, config["seed"])
            self._epochs = 0
            return True

        def step(self) -> dict[str, Any]:
            table, best, estimator = self._table, 0.0, self._estimator
            end = next(stop for stop in self._stops if stop > self._epochs)
            while self._epochs < end:
                self._epochs += 1
                try:
                    estimator.partial_fit(table.X_train, table.y_train, classes=self._classes)
                except ValueError:
                    # Diverged.
                    return {"accuracy": 0.0, "epochs": EPOCHS, "done": True}
                score = accuracy(estimator, table.X_validation, table.y_validation)
                best = max(best, score)
                if self._book.note(
                    score, 1, lambda: accuracy(estimator, table.X_sealed, table.y_sealed)
                ):
                    break
            return {"accuracy": best, "epochs": self._epochs}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            return None

        def load_checkpoint(self, checkpoint: Any) -> None:
            return None

    return Network
