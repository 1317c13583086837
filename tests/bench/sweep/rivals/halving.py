"""scikit-learn's HalvingRandomSearchCV over max_iter, with MLflow's autologging."""

import time
import warnings
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sweep.contest import WORKERS, Book, Contestant, Task, accuracy, load
from sweep.space import ALPHA, BATCHES, EPOCHS, LAYERS, MOMENTUM, RATE, WIDTHS
from sweep.tables import Matrices


class Halving(Contestant):
    """One search after another, each with the next seed, until one has reached the target.

    A score counts from the moment when a worker knew it, which is earlier than its user does:
    `HalvingRandomSearchCV.fit` says nothing before it is done.
    """

    sort = "HalvingRandomSearchCV, max_iter"
    candidates: ClassVar[int] = 27
    least: ClassVar[int] = 1

    def __init__(self, table: Path, scratch: Path) -> None:
        from joblib import Parallel, delayed

        load(
            "mlflow.sklearn",
            "scipy.stats",
            "sklearn.experimental.enable_halving_search_cv",
            "sklearn.neural_network",
        )
        warnings.simplefilter("ignore")
        self._table = Matrices.load(table)
        Parallel(n_jobs=WORKERS)(delayed(_load)() for _ in range(2 * WORKERS))

    def prepare(self, task: Task) -> None:
        """Open the store and turn on autologging.

        No models are logged: one would add seconds to each search.
        """
        import mlflow

        mlflow.set_tracking_uri(task.store)
        mlflow.set_experiment("sweep")
        mlflow.sklearn.autolog(
            log_models=False, log_datasets=False, log_post_training_metrics=False, silent=True
        )

    def search(self, task: Task) -> None:
        """Fit, again and again."""
        from scipy.stats import loguniform, uniform
        from sklearn.model_selection import HalvingRandomSearchCV, PredefinedSplit
        from sklearn.neural_network import MLPClassifier

        table = self._table
        X = np.concatenate([table.X_train, table.X_validation])
        y = np.concatenate([table.y_train, table.y_validation])
        fold = np.r_[np.full(len(table.X_train), -1), np.zeros(len(table.X_validation), int)]
        common = {
            "hidden_layer_sizes": [
                (width,) * layers for layers in range(LAYERS[0], LAYERS[1] + 1) for width in WIDTHS
            ],
            "learning_rate_init": loguniform(*RATE),
            "alpha": loguniform(*ALPHA),
            "batch_size": list(BATCHES),
        }
        momentum = uniform(MOMENTUM[0], MOMENTUM[1] - MOMENTUM[0])
        score = Score(task.book, table.X_sealed, table.y_sealed)
        began, again = time.monotonic(), 0
        while not task.book.over and time.monotonic() - began < task.seconds:
            seed = 1000 * task.seed + again
            HalvingRandomSearchCV(
                MLPClassifier(random_state=seed),
                [
                    {**common, "solver": ["adam"]},
                    {**common, "solver": ["sgd"], "momentum": momentum},
                ],
                n_candidates=self.candidates,
                resource="max_iter",
                min_resources=self.least,
                max_resources=EPOCHS,
                factor=3,
                scoring=score,
                cv=PredefinedSplit(fold),
                refit=False,
                n_jobs=WORKERS,
                random_state=seed,
                return_train_score=False,
                error_score=0.0,
            ).fit(X, y)
            again += 1

    def close(self) -> None:
        """End the workers."""
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True, kill_workers=True)


class HalvingFromThree(Halving):
    """Nothing is compared before three epochs."""

    sort = "HalvingRandomSearchCV, max_iter from 3"
    least = 3


@dataclass(frozen=True)
class Score:
    """A scorer that tells the book."""

    book: Book
    X_sealed: np.ndarray
    y_sealed: np.ndarray

    def __call__(self, estimator: Any, X: np.ndarray, y: np.ndarray) -> float:
        """Return the accuracy on the validation rows."""
        score = accuracy(estimator, X, y)
        self.book.note(
            score, estimator.n_iter_, lambda: accuracy(estimator, self.X_sealed, self.y_sealed)
        )
        return score


def _load() -> None:
    """Be long enough about it that every worker is given one."""
    import_module("sklearn.model_selection")
    import_module("sklearn.neural_network")
    time.sleep(0.1)
