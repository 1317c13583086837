"""Trials on their way to MLflow: none is waited for, none is lost and none is written twice."""

import json
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.errors import ServiceError, TidegateError

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from pipelines.sweep.trial import Point, Trial

MAXIMUM_CHILDREN = 200
"""Trials of a run that get a run of their own: with more of them MLflow's pages grow slow."""

MAXIMUM_POINTS = 16
"""Longest curve of a trial in MLflow; the whole ones are in the sweep's ``trials.json``."""

MAXIMUM_TRACEBACK = 8_000
"""Longest traceback in characters, its end: the longest tag that MLflow takes."""

PATIENCE_SECONDS = 10.0
"""How long a command that ends waits for a store that is away."""

LONGEST_PAUSE = 5.0
"""Seconds between two tries at a store that has been away for a while."""

_RULE = "Each trial is logged as a run."


@dataclass(frozen=True)
class Entry:
    """What MLflow is told of a trial; it is a line of the spool, and so made of JSON's types.

    Parameters
    ----------
    number : int
    name : str
    state : str
        FINISHED, FAILED or KILLED.
    started, ended : int
        Milliseconds since 1970.
    tags, params : mapping of str to str
        The tags that say what it came to, which are written last, and its parameters.
    metrics : sequence of (str, float, int)
        Name, value and step.
    first : bool
        Whether it goes before those that only fill what is left of `MAXIMUM_CHILDREN`.
    always : bool
        Whether it gets a run whatever went before it, as the winner does.
    """

    number: int
    name: str
    state: str
    started: int
    ended: int
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Sequence[tuple[str, float, int]]
    first: bool
    always: bool

    @property
    def standing(self) -> str:
        """Tell apart what a trial was when it was told, and what it was when told again."""
        return standing(self.state, self.tags)


@dataclass(frozen=True)
class Child:
    """The run of a trial, and where that stood when it was written last."""

    run_id: str
    standing: str

    @property
    def new(self) -> bool:
        """Whether nothing of what the trial came to was written yet."""
        return self.standing.endswith("None None")


class Runs(Protocol):
    """What is asked of MLflow; each call raises a `TidegateError` when it is away.

    All but `create` may be repeated without harm.
    """

    def children(self) -> dict[int, Child]:
        """Find the trials that have a run, by their number; of two of one trial, one is deleted."""

    def create(self, entry: Entry) -> str:
        """Open a trial's run and return its id."""

    def complete(self, child: Child, entry: Entry) -> None:
        """Log what the trial came to, and close its run."""


def standing(state: str, tags: Mapping[str, str]) -> str:
    """Name a trial's state and how far it came."""
    return f"{state} {tags.get('tidegate.rung')} {tags.get('tidegate.units')}"


def entry_of(trial: "Trial", *, ended: int, always: bool = False) -> Entry:
    """Say what MLflow is told of a trial.

    The curve has the points at which the training score was worked out, the ends of the rungs
    and the best ones, thinned to `MAXIMUM_POINTS`.

    Parameters
    ----------
    trial : Trial
    ended : int
        Milliseconds since 1970.
    always : bool
        See `Entry`.
    """
    last = {"score": trial.score, "train_score": trial.train_score, "seconds": trial.seconds}
    metrics = [(name, float(value), 0) for name, value in last.items() if value is not None]
    told = _thinned([point for point in trial.curve if point.train_score is not None])
    if len(told) > 1:
        for point in told:
            assert point.train_score is not None
            metrics += [
                ("epoch_score", float(point.score), point.epoch),
                ("epoch_train_score", float(point.train_score), point.epoch),
                ("epoch_loss", float(point.loss), point.epoch),
            ]
    tags = {
        "tidegate.rung": str(trial.rung),
        "tidegate.units": str(trial.units),
    }
    if trial.error:
        tags["tidegate.error"] = trial.error
    if trial.traceback:
        tags["tidegate.traceback"] = trial.traceback[-MAXIMUM_TRACEBACK:]
    params = {"family": trial.family, **trial.params}
    return Entry(
        number=trial.number,
        name=f"trial {trial.number:03d} {trial.family}",
        state=trial.state,
        started=ended - round(1000 * trial.seconds),
        ended=ended,
        tags=tags,
        params={name: str(value) for name, value in params.items()},
        metrics=metrics,
        first=trial.rung > 0 or trial.state == "FINISHED" or bool(trial.traceback),
        always=always,
    )


def _thinned(points: "Sequence[Point]") -> "list[Point]":
    last = len(points) - 1
    if last < MAXIMUM_POINTS:
        return list(points)
    best = max(range(len(points)), key=lambda place: points[place].rank)
    # The rungs lie a factor apart, and so does what is kept.
    steps = MAXIMUM_POINTS - 2
    kept = {0, best, *(round(last ** (step / steps)) for step in range(1, steps + 1))}
    return [points[place] for place in sorted(kept)]


def table_of(trials: "Sequence[Trial]") -> str:
    """Return all trials as one table, in the layout of ``mlflow.log_table``.

    Its columns are those of `Trial`, and ``params.`` before the name of each parameter that
    any trial has; what a trial does not have is null.
    """
    names = sorted({name for trial in trials for name in trial.params})
    columns = ["trial", "family", "state", "score", "train_score", "rung", "units", "seconds"]
    data = [
        [
            *(trial.number, trial.family, trial.state, _finite(trial.score)),
            *(_finite(trial.train_score), trial.rung, trial.units, _finite(trial.seconds)),
            trial.error,
            *(trial.params.get(name) for name in names),
        ]
        for trial in trials
    ]
    columns = [*columns, "error", *(f"params.{name}" for name in names)]
    return json.dumps({"columns": columns, "data": data})


def _finite(value: float | None) -> float | None:
    """Return a number that JSON has."""
    return float(value) if value is not None and abs(value) < float("inf") else None


class Spool:
    """The trials of one run that MLflow is yet to have, in a file: one line each.

    The file is only appended to: a line for each trial that is told, and one for each that is
    delivered. A line that was cut short, by the end of its process or by a full disk, counts
    as not written. One process has it open at a time.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ServiceError
        Another process has it open.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.whole = True
        self._file: int | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            while self._file is None or not _names(path, self._file):
                # Whoever had it may have removed it between our opening and our locking.
                self.close()
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
                _lock(self._file, path)
        except ServiceError:
            self.close()
            raise
        except OSError:
            # The sweep goes on without; what that means is said if it comes to matter.
            self.whole = False

    def read(self) -> list[Entry]:
        """Return what was told and not delivered, in the order in which it was told."""
        waiting: dict[int, Entry] = {}
        for line in self.path.read_bytes().split(b"\n") if self._file is not None else ():
            with suppress(ValueError):
                record = json.loads(line)
                if "trial" in record:
                    entry = Entry(**record["trial"])
                    waiting.pop(entry.number, None)
                    waiting[entry.number] = entry
                else:
                    number, where = record["delivered"]
                    if number in waiting and waiting[number].standing == where:
                        del waiting[number]
        return list(waiting.values())

    def tell(self, entry: Entry) -> None:
        """Write down a trial."""
        self._append({"trial": vars(entry)})

    def deliver(self, entry: Entry) -> None:
        """Write down that MLflow has it."""
        self._append({"delivered": [entry.number, entry.standing]})

    def close(self, *, remove: bool = False) -> None:
        """Let another process have it, or remove it."""
        with suppress(OSError):
            if remove:
                self.path.unlink(missing_ok=True)
            if self._file is not None:
                os.close(self._file)
        self._file = None

    def _append(self, record: Mapping[str, Any]) -> None:
        line = json.dumps(record).encode() + b"\n"
        try:
            if self._file is None:
                raise OSError("it is not open")
            # The newline before ends a line that was cut short.
            if os.write(self._file, b"\n" + line) < len(line) + 1:
                raise OSError("the disk is full")
        except OSError:
            self.whole = self.whole and "trial" not in record


def _names(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _lock(file: int, path: Path) -> None:
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        raise ServiceError(
            "One process at a time writes the trials of a run.",
            found=f"another one has {path} open",
            next_move="wait until it has ended, or end it, then run the command again",
        ) from err


class Delivery:
    """Brings the trials of one run to MLflow, in a thread of its own.

    Whatever goes wrong on the way is tried again, later and later up to `LONGEST_PAUSE`, and
    another trial is tried in between. What must not be done twice, opening a trial's run, is
    done while it is known which trials have one; when that is in doubt, since a call failed or
    another process went before, MLflow is asked first.

    At most `MAXIMUM_CHILDREN` trials get a run: those that went beyond the first rung,
    finished or failed with a traceback, as they come; then, when the sweep is over, the others
    as far as there is room; one place is kept for the winner. The thread is a daemon: the
    spool has what it leaves.

    Parameters
    ----------
    spool : Spool
        Which it closes; what is in it already is delivered too.
    runs : Runs
    fresh : bool
        Whether it is known that no trial of the run was delivered before.
    """

    def __init__(self, spool: Spool, runs: Runs, *, fresh: bool) -> None:
        self._spool = spool
        self._runs = runs
        self._children: dict[int, Child] | None = {} if fresh else None
        self._changed = threading.Condition()
        self._waiting: dict[int, Entry] = {}
        self._held: dict[int, Entry] = {}
        self._failure: TidegateError | None = None
        self._pause = 0.0
        self._moved = time.monotonic()
        self._closed = False
        self.delivered = 0
        for entry in spool.read():
            self._queue(entry)
        self._thread = threading.Thread(target=self._work, name="trial-writer", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Queue a trial; told again, it is delivered as it was told last."""
        with self._changed:
            self._spool.tell(entry)
            self._queue(entry)
            self._changed.notify_all()

    def release(self) -> None:
        """Let the trials go that only fill what is left: no more will come before them."""
        with self._changed:
            self._waiting |= self._held
            self._held.clear()
            self._pause = 0.0
            self._changed.notify_all()

    def flush(self) -> None:
        """Return once MLflow has every trial.

        Raises
        ------
        ServiceError
            None got through for `PATIENCE_SECONDS`.
        """
        self.release()
        began = time.monotonic()
        with self._changed:
            while self._waiting:
                left = max(began, self._moved) + PATIENCE_SECONDS - time.monotonic()
                if left <= 0:
                    raise self._undelivered()
                self._changed.wait(left)

    def close(self) -> None:
        """End the thread, after the call to MLflow that it is in; an empty spool is removed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=1.0)

    def _queue(self, entry: Entry) -> None:
        for queue in (self._waiting, self._held):
            queue.pop(entry.number, None)
        (self._waiting if entry.first or entry.always else self._held)[entry.number] = entry

    def _undelivered(self) -> ServiceError:
        failure = self._failure or ServiceError(_RULE, found="it does not answer")
        kept = "kept in" if self._spool.whole else "and not all of them kept in"
        return ServiceError(
            _RULE,
            found=f"{len(self._waiting)} not written, {kept} {self._spool.path}: {failure.found}",
            next_move=f"{failure.next_move or 'see that the store is up'}: "
            "`tidegate train --resume` delivers what is kept",
        )

    def _work(self) -> None:
        while (entry := self._next()) is not None:
            failure: TidegateError | None = None
            try:
                self._deliver(entry)
            except TidegateError as err:
                failure = err
            except Exception as err:
                # A thread that died would leave flush waiting for nothing.
                failure = ServiceError(_RULE, found=repr(err)[:300])
            with self._changed:
                self._settle(entry, failure)
        self._spool.close(remove=not self._waiting and not self._held)

    def _next(self) -> Entry | None:
        """Wait for a trial, and for the end of a pause; None when there is no more to do."""
        with self._changed:
            if self._pause:
                self._changed.wait_for(lambda: self._closed or not self._pause, self._pause)
            self._changed.wait_for(lambda: self._closed or self._waiting)
            return None if self._closed else next(iter(self._waiting.values()))

    def _deliver(self, entry: Entry) -> None:
        known = self._children
        if known is None:
            known = self._runs.children()
        # In doubt until the call below has come back.
        self._children = None
        child = known.get(entry.number)
        if child is None and (entry.always or len(known) < MAXIMUM_CHILDREN - 1):
            child = known[entry.number] = Child(self._runs.create(entry), standing("RUNNING", {}))
        self._children = known
        if child is not None and child.standing != entry.standing:
            self._runs.complete(child, entry)
            known[entry.number] = Child(child.run_id, entry.standing)

    def _settle(self, entry: Entry, failure: TidegateError | None) -> None:
        self._failure = failure
        current = self._waiting.get(entry.number) is entry
        if failure is None:
            self._spool.deliver(entry)
            self.delivered += 1
            self._pause, self._moved = 0.0, time.monotonic()
            if current:
                del self._waiting[entry.number]
        else:
            self._pause = min(2 * self._pause or 0.1, LONGEST_PAUSE)
            if current:
                # Behind the others: MLflow may have something against this one alone.
                self._waiting[entry.number] = self._waiting.pop(entry.number)
        self._changed.notify_all()
