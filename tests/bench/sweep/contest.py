"""The rules: what a contestant is given, what it owes, and how its time is taken."""

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

WORKERS = 2
MLFLOW = ("mlflow", "mlflow.store.tracking.sqlalchemy_store")


@dataclass(frozen=True)
class Task:
    """One search.

    Parameters
    ----------
    table : Path
        The folder of the matrices.
    seed : int
    target : float
        The validation accuracy to reach.
    seconds : float
        After these the search is given up.
    store : str
        Address of an empty and migrated MLflow store of its own.
    scratch : Path
        An empty folder of its own.
    """

    table: Path
    seed: int
    target: float
    seconds: float
    store: str
    scratch: Path

    @property
    def book(self) -> "Book":
        """Where every process of the contestant writes its scores."""
        return Book(self.scratch / "book.jsonl", self.target)


class Book:
    """Scores in the order in which they came to be known, by any number of processes.

    A line is appended in one write, so that lines of several processes are never mixed.
    """

    def __init__(self, path: Path, target: float) -> None:
        self.path = path
        self.target = target
        self._flag = path.with_suffix(".over")

    def note(self, score: float, epochs: int, judge: Callable[[], float]) -> bool:
        """Write down what so many more epochs led to; return whether the search is over.

        The clock is read first: nothing that the bench does here is in the contestant's time
        to the target.

        Parameters
        ----------
        score : float
            Validation accuracy.
        epochs : int
            Fitted since the last score of this process's.
        judge : callable
            Gives the sealed accuracy of the model that scored so; called at the target alone.
        """
        line: dict[str, Any] = {"at": time.time(), "score": float(score), "epochs": int(epochs)}
        reached = score >= self.target
        if reached:
            line["sealed"] = float(judge())
        with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "wb") as file:
            file.write(json.dumps(line).encode() + b"\n")
        if reached:
            self.end()
        return self.over

    @property
    def over(self) -> bool:
        """Whether the target was reached, or the time is up."""
        return self._flag.exists()

    def end(self) -> None:
        """Tell every process that the search is over."""
        self._flag.touch()

    def lines(self) -> list[dict[str, Any]]:
        """Return what was written, earliest first."""
        if not self.path.exists():
            return []
        read = [json.loads(line) for line in self.path.read_text().splitlines()]
        return sorted(read, key=lambda line: line["at"])


class Contestant(ABC):
    """A way to search, in a process that has done nothing else.

    Made, it has its libraries loaded and its workers up. Each search is prepared (its store
    opened, its workers told), then run; when warm only the latter is timed. A search ends when
    the book is over, or `Task.seconds` after it began.
    """

    sort: ClassVar[str]
    """What it is called in the table."""

    product: ClassVar[bool] = False
    """Whether it runs in the product's environment, and not in the bench's."""

    @abstractmethod
    def __init__(self, table: Path, scratch: Path) -> None:
        """Load the libraries and start the workers."""

    @abstractmethod
    def prepare(self, task: Task) -> None:
        """Open the store and tell the workers of the task."""

    @abstractmethod
    def search(self, task: Task) -> None:
        """Search until the book is over or the time is up."""

    @abstractmethod
    def close(self) -> None:
        """End the workers."""


def result(task: Task, clock: float, began: float, returned: float) -> dict[str, Any]:
    """Return what a search came to.

    Parameters
    ----------
    task : Task
    clock : float
        From when its seconds count: the birth of its process, or ``began``.
    began, returned : float
        When `Contestant.search` was called and when it returned.
    """
    lines = task.book.lines()
    reached = next((line for line in lines if line["score"] >= task.target), None)
    if reached and reached["at"] - began > task.seconds:
        reached = None
    counted = [line for line in lines if reached is None or line["at"] <= reached["at"]]
    return {
        "reached": reached is not None,
        "seconds": (reached["at"] if reached else min(returned, began + task.seconds)) - clock,
        "returned": returned - clock,
        "best": max(
            (line["score"] for line in counted if line["at"] - began <= task.seconds), default=0.0
        ),
        "sealed": reached["sealed"] if reached else None,
        "epochs": sum(line["epochs"] for line in counted),
    }


def load(*modules: str) -> None:
    """Import what a contestant will need, and what MLflow's store in SQLite does."""
    for module in (*MLFLOW, *modules):
        import_module(module)


def accuracy(estimator: Any, X: np.ndarray, y: np.ndarray) -> float:
    """Return the share of right answers."""
    return float(np.mean(estimator.predict(X) == y))


def rungs(epochs: int, eta: int = 3) -> Iterable[int]:
    """Return the epochs at which successive halving compares: 1, 3, 9, ... and the last."""
    rung = 1
    while rung < epochs:
        yield rung
        rung *= eta
    yield epochs
