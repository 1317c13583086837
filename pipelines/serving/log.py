"""The prediction log: one row for each row that was scored, written beside the answers.

A request is never kept waiting: `PredictionLog.add` puts the answer on a bounded queue and
returns, and one thread writes what has gathered there in one transaction. When the database
falls behind or is away, answers beyond the bound are dropped and counted. A process that is
killed loses what was queued; what was committed stays, and the database stays whole.

Labels are the exception: whoever sends one is told that it is kept, so it is written first.
"""

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import orjson
import sqlalchemy as sa
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from pipelines.serving.archive import archived_rows, rotate
from pipelines.serving.settings import ServeSettings
from pipelines.serving.tables import (
    LABELS,
    LOCK_SECONDS,
    PREDICTIONS,
    SHADOWS,
    engine_of,
    first_line,
    naive,
    prepare,
    unreachable,
)

CAPACITY = 50_000
"""Most rows that wait to be written; about a second of writing on a slow disk."""

DRAIN_SECONDS = 10.0
"""How long `PredictionLog.close` waits for the last rows."""

_FILE = "predictions.db"
_FOLDER = "predictions"
_BATCH = 5_000
_RETRY_SECONDS = 0.5
_LONGEST_RETRY_SECONDS = 10.0
_MOST_IN = 500
_ROTATION_SECONDS = 3600.0
_DONE = object()

Columns = Mapping[str, Sequence[Any]]
"""Column to its cells, plain Python values; None, or NaN, where one is missing."""

_logger = logging.getLogger(__name__)


class Entry(Protocol):
    """What the queue holds: rows of one of the log's tables."""

    table: sa.Table

    def __len__(self) -> int:
        """Return how many rows it is."""

    def rows(self, redact: frozenset[str]) -> list[tuple[Any, ...]]:
        """Return the rows' values, in the order of the table's columns between id and key.

        Those of redacted columns are left out.
        """


@dataclass(frozen=True)
class Answer:
    """One request and what was said to it.

    Parameters
    ----------
    request_id : str
        At most 64 characters.
    time : datetime
        When the request came, with its time zone.
    name, version : str
        The registered model that answered.
    inputs : mapping of str to sequence of n_rows cells
        What was asked, column by column.
    predictions : sequence
        A class for each row, as plain Python values.
    probabilities : ndarray of shape (n_rows, n_classes)
    classes : sequence
        As plain Python values, in the order of the columns of ``probabilities``.
    seconds : float
        From the request's arrival to its answer.
    flags : sequence of n_rows sequences of str, optional
        By row, the columns that held a level which the model has never seen.
    """

    request_id: str
    time: datetime
    name: str
    version: str
    inputs: Columns
    predictions: Sequence[Any]
    probabilities: "np.ndarray[Any, np.dtype[np.floating[Any]]]"
    classes: Sequence[Any]
    seconds: float
    flags: Sequence[Sequence[str]] = ()

    table = PREDICTIONS

    def __len__(self) -> int:
        return len(self.predictions)

    def rows(self, redact: frozenset[str] = frozenset()) -> list[tuple[Any, ...]]:
        """Return a row of the log for each row of the request."""
        columns = [name for name in self.inputs if name not in redact]
        names = [str(label) for label in self.classes]
        # orjson writes a NaN as null.
        cells = zip(*(self.inputs[name] for name in columns), strict=True) if columns else ()
        inputs = [_json(dict(zip(columns, row, strict=True))) for row in cells]
        shares = np.asarray(self.probabilities, dtype=np.float64).tolist()
        moment, latency = naive(self.time), self.seconds * 1000
        return [
            (
                self.request_id,
                place,
                moment,
                self.name,
                self.version,
                inputs[place] if inputs else "{}",
                _json(prediction),
                _json(dict(zip(names, shares[place], strict=True))),
                latency,
                _json(list(self.flags[place])) if self.flags else "[]",
            )
            for place, prediction in enumerate(self.predictions)
        ]


@dataclass(frozen=True)
class ShadowAnswer:
    """What a version that nobody hears said to a request that another one answered.

    Parameters
    ----------
    request_id, name, version, predictions, probabilities, classes
        As those of `Answer`.
    """

    request_id: str
    name: str
    version: str
    predictions: Sequence[Any]
    probabilities: "np.ndarray[Any, np.dtype[np.floating[Any]]]"
    classes: Sequence[Any]

    table = SHADOWS

    def __len__(self) -> int:
        return len(self.predictions)

    def rows(self, redact: frozenset[str] = frozenset()) -> list[tuple[Any, ...]]:
        """Return a row of the log for each row of the request."""
        names = [str(label) for label in self.classes]
        shares = np.asarray(self.probabilities, dtype=np.float64).tolist()
        return [
            (
                self.request_id,
                place,
                self.name,
                self.version,
                _json(prediction),
                _json(dict(zip(names, shares[place], strict=True))),
            )
            for place, prediction in enumerate(self.predictions)
        ]


@dataclass(frozen=True)
class Label:
    """The truth of one row that was scored, or will be.

    Parameters
    ----------
    request_id : str
    row : int
        Place in the request, from 0.
    label : bool, int or str
    observed : datetime, optional
        When it was seen to be so, with its time zone.
    """

    request_id: str
    row: int
    label: Any
    observed: datetime | None = None


@dataclass(frozen=True)
class Receipt:
    """What became of labels that were sent.

    Parameters
    ----------
    accepted : int
        New ones; of them ``unknown`` are of rows that the log does not hold, or not yet.
    repeated : int
        Known already, and the same.
    changed : int
        Known already as another: the new one holds, the old one stays in the table.
    unknown : int
    """

    accepted: int
    repeated: int
    changed: int
    unknown: int


class PredictionLog:
    """A bounded queue and the one thread that writes it.

    Safe to share between threads. The log owns its thread and its connections; whoever
    opened it closes it, and nothing may be added after that.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Of a database that has the log's tables.
    capacity : int
        Most rows that wait.
    redact : collection of str
        Columns that are not written down.
    archive : Path, optional
        Where days older than ``archive_days`` go; by default they stay in the database.
    archive_days, retention_days : int, optional
        After how many whole days a day goes there, and is deleted; by default never.

    Attributes
    ----------
    written : int
        Rows committed by this log.
    dropped : int
        Rows lost: beyond the capacity, refused by the database, or left at the end.
    """

    def __init__(
        self,
        engine: sa.Engine,
        *,
        capacity: int = CAPACITY,
        redact: Sequence[str] = (),
        archive: Path | None = None,
        archive_days: int = 30,
        retention_days: int | None = None,
    ) -> None:
        self.written = 0
        self.dropped = 0
        self._engine = engine
        self._capacity = capacity
        self._redact = frozenset(redact)
        self._queue: deque[Entry] = deque()
        self._waiting = 0
        self._id = secrets.token_hex(8)
        self._number = 0
        self._archive = archive
        self._days = (archive_days, retention_days)
        self._opened = (datetime.now(UTC), time.monotonic())
        self._rotation: Iterator[None] | None = None
        self._due = time.monotonic()
        self._closing = threading.Event()
        self._changed = threading.Condition()
        self._writer = threading.Thread(target=self._write, name="prediction-log", daemon=True)
        self._writer.start()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        capacity: int = CAPACITY,
        redact: Sequence[str] = (),
        archive: Path | None = None,
        archive_days: int = 30,
        retention_days: int | None = None,
    ) -> Self:
        """Open the log; make its tables where there are none, and mend those of an older form.

        Raises
        ------
        InputError
            The address is no SQLAlchemy URL, its driver is not installed, or the log was
            written by a newer tidegate.
        ServiceError
            The database cannot be reached or written.
        """
        engine = engine_of(url)
        try:
            prepare(engine, url)
        except BaseException:
            engine.dispose()
            raise
        return cls(
            engine,
            capacity=capacity,
            redact=redact,
            archive=archive,
            archive_days=archive_days,
            retention_days=retention_days,
        )

    def add(self, answer: Entry) -> None:
        """Queue an answer, or count it as dropped; never waits for the database."""
        rows = len(answer)
        with self._changed:
            # One request larger than the whole queue is taken when nothing else waits.
            full = self._waiting and self._waiting + rows > self._capacity
            if full or self._closing.is_set():
                self.dropped += rows
                return
            self._queue.append(answer)
            self._waiting += rows
            self._changed.notify_all()

    def holds(self, request_id: str) -> bool:
        """Say whether the database has this request: its rows come in one transaction.

        Raises
        ------
        ServiceError
            The database cannot be reached.
        """
        asked = sa.select(PREDICTIONS.c.id).where(PREDICTIONS.c.request_id == request_id).limit(1)
        try:
            with self._engine.connect() as connection:
                return connection.execute(asked).first() is not None
        except SQLAlchemyError as err:
            raise unreachable(self._engine.url.render_as_string(), err) from err

    def record_labels(self, name: str, labels: Sequence[Label]) -> Receipt:
        """Keep labels, and return when the database has them.

        They may come late, in any order, more than once, and before the row that they are of.

        Parameters
        ----------
        name : str
            The registered model.
        labels : sequence of Label

        Raises
        ------
        ServiceError
            The database did not take them: none is kept, and all may be sent again.
        """
        try:
            # Read before the transaction: nobody is kept from writing for as long as it takes.
            archived = self._archived(name, {label.request_id for label in labels})
            with self._engine.begin() as connection:
                if connection.dialect.name == "sqlite":
                    # What is read here decides what is written.
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                return _record(connection, name, labels, archived)
        except SQLAlchemyError as err:
            raise unreachable(self._engine.url.render_as_string(), err) from err

    def flush(self, seconds: float = DRAIN_SECONDS) -> bool:
        """Wait until all that was added is written or dropped; say whether it came to that."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout=seconds)

    def close(self, seconds: float = DRAIN_SECONDS) -> None:
        """Write what is queued and end; what is not written in time is counted as dropped."""
        if self._closing.is_set():
            return
        self.flush(seconds)
        with self._changed:
            self._closing.set()
            self._changed.notify_all()
        self._writer.join(timeout=LOCK_SECONDS)
        with self._changed:
            self.dropped += self._waiting
            self._waiting = 0
            self._queue.clear()
        self._engine.dispose()
        if self.dropped:
            _logger.warning("the prediction log lost %d rows", self.dropped)

    def _archived(self, name: str, ids: Collection[str]) -> set[tuple[str, int]]:
        """Return which rows of some requests are in the archive, where the database has none."""
        if self._archive is None or not self._archive.is_dir():
            return set()
        asked, left = sorted(ids), set(ids)
        with self._engine.connect() as connection:
            for first in range(0, len(asked), _MOST_IN):
                held = sa.select(PREDICTIONS.c.request_id).where(
                    PREDICTIONS.c.request_id.in_(asked[first : first + _MOST_IN]),
                    PREDICTIONS.c.model_name == name,
                )
                left.difference_update(connection.execute(held).scalars())
        return archived_rows(self._archive, left, name=name)

    def _write(self) -> None:
        while True:
            self._rotate()
            with self._changed:
                wait = 0.0 if self._rotation else max(0.0, self._due - time.monotonic())
                self._changed.wait_for(lambda: self._queue or self._closing.is_set(), wait)
                if self._closing.is_set():
                    break
                batch = self._take()
            if not batch:
                continue
            rows = sum(len(answer) for answer in batch)
            kept = self._insert(batch)
            with self._changed:
                self.written += kept
                self.dropped += rows - kept
                self._waiting -= rows
                self._changed.notify_all()
        # What it holds, a lock, ends with it.
        self._rotation = None

    def _rotate(self) -> None:
        """Take a step of the rotation, or begin one where the last is an hour past."""
        archive_days, retention_days = self._days
        try:
            if self._rotation is None:
                if time.monotonic() < self._due:
                    return
                self._due = time.monotonic() + _ROTATION_SECONDS
                if self._archive is None and retention_days is None:
                    return
                self._rotation = rotate(
                    self._engine,
                    self._archive,
                    now=self._now(),
                    archive_days=archive_days,
                    retention_days=retention_days,
                )
            if next(self._rotation, _DONE) is _DONE:
                self._rotation = None
        except Exception as err:
            # Old days wait for the next hour; answers are written all the same.
            self._rotation = None
            _logger.warning("the prediction log's old days stay: %s", first_line(err))

    def _now(self) -> datetime:
        """Return the time, but no later than has passed since the log was opened.

        A clock that jumps ahead makes no day old.
        """
        opened, start = self._opened
        passed = opened + timedelta(seconds=time.monotonic() - start)
        return naive(min(datetime.now(UTC), passed))

    def _take(self) -> list[Entry]:
        batch: list[Entry] = []
        rows = 0
        while self._queue and rows < _BATCH:
            batch.append(self._queue.popleft())
            rows += len(batch[-1])
        return batch

    def _insert(self, batch: Sequence[Entry]) -> int:
        """Write the rows, however long it takes, and return how many are kept."""
        found: dict[sa.Table, list[tuple[Any, ...]]] = {}
        for entry in batch:
            try:
                rows = entry.rows(self._redact)
            except Exception:
                # The thread must outlive an answer that cannot be written down.
                _logger.exception("an answer could not be written to the prediction log")
                continue
            keyed = [(*row, f"{self._id}-{self._number + n}") for n, row in enumerate(rows)]
            self._number += len(rows)
            if keyed:
                found.setdefault(entry.table, []).extend(keyed)
        wait = _RETRY_SECONDS
        while True:
            try:
                with self._engine.begin() as connection:
                    for table, rows in found.items():
                        _put(connection, table, rows)
            except (OperationalError, InterfaceError) as err:
                # Locked, full or away: all of these can pass. Where the rows were kept and
                # only the word of it was lost, their keys keep them from being there twice.
                _logger.warning("the prediction log waits for its database: %s", first_line(err))
                if self._closing.wait(wait):
                    return 0
                wait = min(2 * wait, _LONGEST_RETRY_SECONDS)
            except Exception:
                _logger.exception("the database refused rows of the prediction log")
                return 0
            else:
                return sum(map(len, found.values()))


def _put(connection: sa.Connection, table: sa.Table, rows: Sequence[tuple[Any, ...]]) -> None:
    # Plain tuples: SQLAlchemy's own insert makes a mapping of each row, and a driver's of that.
    names = [column.name for column in table.columns if column.name != "id"]
    sqlite = connection.dialect.name == "sqlite"
    if sqlite and "time" in names:
        at = names.index("time")
        rows = [(*row[:at], row[at].isoformat(" ", "microseconds"), *row[at + 1 :]) for row in rows]
    marks = ", ".join(["?" if sqlite else "%s"] * len(names))
    columns = ", ".join(f'"{name}"' for name in names)
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({columns}) VALUES ({marks}) ON CONFLICT DO NOTHING", list(rows)
    )


def log_url(settings: ServeSettings, state: Path) -> str:
    """Return the address of the project's prediction log.

    Parameters
    ----------
    settings : ServeSettings
    state : Path
        The project's state folder, where a relative SQLite path starts.
    """
    if settings.log is None:
        return f"sqlite:///{state / _FILE}"
    try:
        url = sa.make_url(settings.log)
    except (SQLAlchemyError, ValueError):
        return settings.log
    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        url = url.set(database=str(state / str(url.database)))
    return url.render_as_string(hide_password=False)


def archive_folder(settings: ServeSettings, state: Path) -> Path:
    """Return where the old days of the project's prediction log go."""
    return state / _FOLDER


def _record(
    connection: sa.Connection,
    name: str,
    labels: Sequence[Label],
    archived: Collection[tuple[str, int]],
) -> Receipt:
    ids = sorted({label.request_id for label in labels})
    known: dict[tuple[str, int], str] = {}
    asked = set(archived)
    for first in range(0, len(ids), _MOST_IN):
        some = ids[first : first + _MOST_IN]
        told = sa.select(LABELS.c.request_id, LABELS.c.row, LABELS.c.label).where(
            LABELS.c.request_id.in_(some), LABELS.c.model_name == name
        )
        for id, row, text in connection.execute(told.order_by(LABELS.c.id)):
            known[id, row] = text
        held = sa.select(PREDICTIONS.c.request_id, PREDICTIONS.c.row).where(
            PREDICTIONS.c.request_id.in_(some), PREDICTIONS.c.model_name == name
        )
        asked |= {(id, row) for id, row in connection.execute(held)}
    arrived = naive(datetime.now(UTC))
    kept: list[dict[str, Any]] = []
    counts = {"accepted": 0, "repeated": 0, "changed": 0, "unknown": 0}
    for label in labels:
        key, text = (label.request_id, label.row), _json(label.label)
        before = known.get(key)
        if before == text:
            counts["repeated"] += 1
            continue
        counts["accepted" if before is None else "changed"] += 1
        counts["unknown"] += before is None and key not in asked
        known[key] = text
        kept.append(
            {
                "request_id": label.request_id,
                "row": label.row,
                "model_name": name,
                "label": text,
                "observed": None if label.observed is None else naive(label.observed),
                "arrived": arrived,
            }
        )
    if kept:
        connection.execute(LABELS.insert(), kept)
    return Receipt(**counts)


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
