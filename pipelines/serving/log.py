"""The prediction log: one row for each row that was scored, written beside the answers.

A request is never kept waiting: `PredictionLog.add` puts the answer on a bounded queue and
returns, and one thread writes what has gathered there in one transaction. When the database
falls behind or is away, answers beyond the bound are dropped and counted. A process that is
killed loses what was queued; what was committed stays, and the database stays whole.

Times are UTC without a zone; inputs, predictions and probabilities are JSON.
"""

import json
import logging
import math
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from pipelines.data import masked
from pipelines.errors import InputError, MissingError, ServiceError
from pipelines.scoring import PREDICTION, PROBABILITY
from pipelines.serving.settings import ServeSettings

CAPACITY = 50_000
"""Most rows that wait to be written; about a second of writing on a slow disk."""

DRAIN_SECONDS = 10.0
"""How long `PredictionLog.close` waits for the last rows."""

_FILE = "predictions.db"
_BATCH = 5_000
_RETRY_SECONDS = 0.5
_LONGEST_RETRY_SECONDS = 10.0
_LOCK_SECONDS = 10
_TIMEOUTS = {"sqlite": {"timeout": _LOCK_SECONDS}, "postgresql": {"connect_timeout": 5}}

_METADATA = sa.MetaData()
_PREDICTIONS = sa.Table(
    "predictions",
    _METADATA,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("request_id", sa.String(64), nullable=False, index=True),
    sa.Column("row", sa.Integer, nullable=False),
    sa.Column("time", sa.DateTime, nullable=False),
    sa.Column("model_name", sa.Text, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("prediction", sa.Text, nullable=False),
    sa.Column("probabilities", sa.Text, nullable=False),
    sa.Column("latency_ms", sa.Float, nullable=False),
    sa.Index("predictions_window", "model_name", "model_version", "time"),
)

_logger = logging.getLogger(__name__)


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
    inputs : DataFrame of shape (n_rows, n_columns)
        The conformed rows.
    predictions : sequence
        A class for each row, as plain Python values.
    probabilities : ndarray of shape (n_rows, n_classes)
    classes : sequence
        As plain Python values, in the order of the columns of ``probabilities``.
    seconds : float
        From the request's arrival to its answer.
    """

    request_id: str
    time: datetime
    name: str
    version: str
    inputs: pd.DataFrame
    predictions: Sequence[Any]
    probabilities: "np.ndarray[Any, np.dtype[np.floating[Any]]]"
    classes: Sequence[Any]
    seconds: float

    def rows(self) -> list[dict[str, Any]]:
        """Return a row of the log for each row of the request."""
        shared = {
            "request_id": self.request_id,
            "time": _naive(self.time),
            "model_name": self.name,
            "model_version": self.version,
            "latency_ms": self.seconds * 1000,
        }
        columns = list(self.inputs.columns)
        names = [str(label) for label in self.classes]
        return [
            shared
            | {
                "row": place,
                "inputs": json.dumps(dict(zip(columns, map(_or_null, cells), strict=True))),
                "prediction": json.dumps(prediction),
                "probabilities": json.dumps(dict(zip(names, shares, strict=True))),
            }
            for place, (cells, prediction, shares) in enumerate(
                zip(
                    self.inputs.itertuples(index=False, name=None),
                    self.predictions,
                    self.probabilities.tolist(),
                    strict=True,
                )
            )
        ]


class PredictionLog:
    """A bounded queue and the one thread that writes it.

    Safe to share between threads. The log owns its thread and its connections; whoever
    opened it closes it, and nothing may be added after that.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Of a database that has the log's table.
    capacity : int
        Most rows that wait.

    Attributes
    ----------
    written : int
        Rows committed by this log.
    dropped : int
        Rows lost: beyond the capacity, refused by the database, or left at the end.
    """

    def __init__(self, engine: sa.Engine, *, capacity: int = CAPACITY) -> None:
        self.written = 0
        self.dropped = 0
        self._engine = engine
        self._capacity = capacity
        self._queue: deque[Answer] = deque()
        self._waiting = 0
        self._closing = threading.Event()
        self._changed = threading.Condition()
        self._writer = threading.Thread(target=self._write, name="prediction-log", daemon=True)
        self._writer.start()

    @classmethod
    def open(cls, url: str, *, capacity: int = CAPACITY) -> Self:
        """Open the log, and make its table where there is none.

        Raises
        ------
        InputError
            The address is no SQLAlchemy URL, or its driver is not installed.
        ServiceError
            The database cannot be reached or written.
        """
        engine = _engine(url)
        try:
            if engine.url.get_backend_name() == "sqlite" and engine.url.database:
                Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
            _METADATA.create_all(engine)
        except (SQLAlchemyError, OSError) as err:
            engine.dispose()
            raise _unreachable(url, err) from err
        return cls(engine, capacity=capacity)

    def add(self, answer: Answer) -> None:
        """Queue an answer, or count it as dropped; never waits for the database."""
        rows = len(answer.predictions)
        with self._changed:
            # One request larger than the whole queue is taken when nothing else waits.
            full = self._waiting and self._waiting + rows > self._capacity
            if full or self._closing.is_set():
                self.dropped += rows
                return
            self._queue.append(answer)
            self._waiting += rows
            self._changed.notify_all()

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
        self._writer.join(timeout=_LOCK_SECONDS)
        with self._changed:
            self.dropped += self._waiting
            self._waiting = 0
            self._queue.clear()
        self._engine.dispose()
        if self.dropped:
            _logger.warning("the prediction log lost %d rows", self.dropped)

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing.is_set())
                if self._closing.is_set():
                    return
                batch = self._take()
            rows = sum(len(answer.predictions) for answer in batch)
            kept = self._insert(batch)
            with self._changed:
                if kept:
                    self.written += rows
                else:
                    self.dropped += rows
                self._waiting -= rows
                self._changed.notify_all()

    def _take(self) -> list[Answer]:
        batch: list[Answer] = []
        rows = 0
        while self._queue and rows < _BATCH:
            batch.append(self._queue.popleft())
            rows += len(batch[-1].predictions)
        return batch

    def _insert(self, batch: Sequence[Answer]) -> bool:
        wait = _RETRY_SECONDS
        try:
            rows = [row for answer in batch for row in answer.rows()]
        except Exception:
            # The thread must outlive an answer that cannot be written down.
            _logger.exception("an answer could not be written to the prediction log")
            return False
        while True:
            try:
                with self._engine.begin() as connection:
                    connection.execute(_PREDICTIONS.insert(), rows)
            except (OperationalError, InterfaceError) as err:
                # Locked, full or away: all of these can pass.
                _logger.warning("the prediction log waits for its database: %s", _first_line(err))
                if self._closing.wait(wait):
                    return False
                wait = min(2 * wait, _LONGEST_RETRY_SECONDS)
            except Exception:
                _logger.exception("the database refused rows of the prediction log")
                return False
            else:
                return True


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


def read_window(
    url: str,
    *,
    name: str,
    version: str,
    since: str | datetime | None = None,
    until: str | datetime | None = None,
) -> pd.DataFrame:
    """Read what one version was asked and what it said.

    Parameters
    ----------
    url : str
        The log's address.
    name, version : str
        The registered model.
    since, until : str or datetime, optional
        The window: from ``since``, up to but not at ``until``. ISO 8601; UTC where they
        name no time zone.

    Returns
    -------
    DataFrame of shape (n_rows, n_columns + 1 + n_classes)
        The inputs, ``prediction`` and ``probability_<class>``, as `pipelines.scoring.score`
        gives them, indexed by the time of the request, in UTC.

    Raises
    ------
    MissingError
        The window holds no prediction of this version.
    InputError
        A time that cannot be read, or an address that is none.
    ServiceError
        The database cannot be reached or read.
    """
    conditions = [
        _PREDICTIONS.c.model_name == name,
        _PREDICTIONS.c.model_version == str(version),
    ]
    if since is not None:
        conditions.append(_PREDICTIONS.c.time >= _instant(since))
    if until is not None:
        conditions.append(_PREDICTIONS.c.time < _instant(until))
    wanted = (
        sa.select(
            _PREDICTIONS.c.time,
            _PREDICTIONS.c.inputs,
            _PREDICTIONS.c.prediction,
            _PREDICTIONS.c.probabilities,
        )
        .where(*conditions)
        .order_by(_PREDICTIONS.c.time, _PREDICTIONS.c.id)
    )
    engine = _engine(url)
    file = engine.url.database if engine.url.get_backend_name() == "sqlite" else None
    rows: Sequence[Any] = ()
    try:
        # Connecting to a SQLite file that is not there would make an empty one.
        if file is None or Path(file).exists():
            with engine.connect() as connection:
                if sa.inspect(connection).has_table(_PREDICTIONS.name):
                    rows = connection.execute(wanted).all()
    except SQLAlchemyError as err:
        raise _unreachable(url, err) from err
    finally:
        engine.dispose()
    if not rows:
        raise MissingError(
            "A window of the prediction log holds predictions of the champion.",
            found=f"none of {name} version {version} in {masked(url)}",
            next_move="serve it with `tidegate serve`, or name a file with --data",
        )
    return _as_frame(rows)


def _engine(url: str) -> sa.Engine:
    try:
        address = sa.make_url(url)
        backend = address.get_backend_name()
        engine = sa.create_engine(
            address, connect_args=_TIMEOUTS.get(backend, {}), pool_pre_ping=True
        )
    except (SQLAlchemyError, ImportError, ValueError) as err:
        raise InputError(
            "The prediction log is a SQLAlchemy URL whose driver is installed.",
            # A ValueError is of the port, and may quote a password that holds an @ or a colon.
            found=masked(url) if isinstance(err, ValueError) else f"{masked(url)}: {err}",
            next_move="for example postgresql+psycopg://user@host:5432/database in serve.log",
        ) from err
    if backend == "sqlite":
        if address.database in (None, "", ":memory:"):
            raise InputError(
                "The prediction log outlives the service.",
                found=f"{url}, which is kept in memory",
                next_move="name a file, sqlite:///predictions.db, in serve.log",
            )
        sa.event.listen(engine, "connect", _write_ahead)
    return engine


def _write_ahead(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # In WAL mode NORMAL keeps the file whole through a loss of power, and what was
    # committed through the end of the process (sqlite.org/pragma.html#pragma_synchronous).
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _unreachable(url: str, err: Exception) -> ServiceError:
    return ServiceError(
        "The prediction log's database can be reached and used.",
        found=f"{masked(url)}: {_first_line(err)}",
        next_move="start it or make it writable, or name another in serve.log",
    )


def _first_line(err: Exception) -> str:
    # SQLAlchemy's own text goes on with the statement and its values.
    cause = err.orig if isinstance(err, DBAPIError) and err.orig is not None else err
    return (str(cause).strip() or type(cause).__name__).splitlines()[0][:200]


def _instant(value: str | datetime) -> datetime:
    if isinstance(value, datetime):
        return _naive(value)
    try:
        return _naive(datetime.fromisoformat(value.strip()))
    except ValueError as err:
        raise InputError(
            "A window's end is a time in ISO 8601.",
            found=repr(value[:60]),
            next_move="for example 2013-07-01 or 2013-07-01T06:00:00+02:00",
        ) from err


def _naive(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        return instant
    return instant.astimezone(UTC).replace(tzinfo=None)


def _or_null(cell: Any) -> Any:
    return None if isinstance(cell, float) and math.isnan(cell) else cell


def _as_frame(rows: Sequence[Any]) -> pd.DataFrame:
    index = pd.DatetimeIndex([row.time for row in rows], name="time").tz_localize(UTC)
    inputs = pd.DataFrame([json.loads(row.inputs) for row in rows], index=index)
    said = pd.DataFrame({PREDICTION: [json.loads(row.prediction) for row in rows]}, index=index)
    shares = pd.DataFrame([json.loads(row.probabilities) for row in rows], index=index)
    return pd.concat([inputs, said, shares.add_prefix(PROBABILITY)], axis=1)
