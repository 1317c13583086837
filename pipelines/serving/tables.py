"""The prediction log's tables: what they hold, which form they have, and how they are reached.

Times are UTC without a zone; inputs, predictions, probabilities, labels and flags are JSON.
"""

import secrets
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pipelines.data import masked
from pipelines.errors import InputError, ServiceError

FORM = 2
"""The form of the tables. 1 had predictions alone, without flags."""

LOCK_SECONDS = 10
"""How long a writer waits for another one."""

_POLL_SECONDS = 0.02
_TIMEOUTS = {"sqlite": {"timeout": LOCK_SECONDS}, "postgresql": {"connect_timeout": 5}}

METADATA = sa.MetaData()

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")

PREDICTIONS = sa.Table(
    "predictions",
    METADATA,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("request_id", sa.String(64), nullable=False, index=True),
    sa.Column("row", sa.Integer, nullable=False),
    sa.Column("time", sa.DateTime, nullable=False),
    sa.Column("model_name", sa.Text, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("prediction", sa.Text, nullable=False),
    sa.Column("probabilities", sa.Text, nullable=False),
    sa.Column("latency_ms", sa.Float, nullable=False),
    sa.Column("flags", sa.Text),
    sa.Column("key", sa.String(64)),
    sa.Index("predictions_window", "model_name", "model_version", "time"),
    sa.Index("predictions_time", "time"),
    sa.Index("predictions_key", "key", unique=True),
)

LABELS = sa.Table(
    "labels",
    METADATA,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("row", sa.Integer, nullable=False),
    sa.Column("model_name", sa.Text, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("observed", sa.DateTime),
    sa.Column("arrived", sa.DateTime, nullable=False),
    sa.Index("labels_request", "request_id", "row"),
    sa.Index("labels_arrived", "model_name", "arrived"),
)
"""One row for each time that a label was told; the last one of a row holds."""

SHADOWS = sa.Table(
    "shadows",
    METADATA,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("request_id", sa.String(64), nullable=False, index=True),
    sa.Column("row", sa.Integer, nullable=False),
    sa.Column("model_name", sa.Text, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("prediction", sa.Text, nullable=False),
    sa.Column("probabilities", sa.Text, nullable=False),
    sa.Column("key", sa.String(64)),
    sa.Index("shadows_key", "key", unique=True),
)
"""As `PREDICTIONS`, a row has a ``key`` that no other row ever has: not one that is written
again because nobody saw that it had been kept, and not one in the archive."""

_FORM = sa.Table("prediction_log_form", METADATA, sa.Column("form", sa.Integer, primary_key=True))


def prepare(engine: sa.Engine, url: str) -> None:
    """Make the tables that are not there, and bring those of an older log to today's form.

    It is one transaction: a process that is killed in the midst of it leaves the old log.

    Raises
    ------
    InputError
        The log was written by a newer tidegate.
    ServiceError
        The database cannot be reached or written.
    """
    try:
        if engine.url.get_backend_name() == "sqlite" and engine.url.database:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        with engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                # Two processes that open a new log at once make it one after the other.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            elif connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7432001)")
            found = sa.inspect(connection)
            if found.has_table(_FORM.name):
                form = connection.execute(sa.select(sa.func.max(_FORM.c.form))).scalar()
                if form is not None and form > FORM:
                    raise InputError(
                        "A prediction log is read and written by a tidegate that knows its form.",
                        found=f"{masked(url)} has form {form}; this one knows {FORM}",
                        next_move="install the newer tidegate, or name another log in serve.log",
                    )
            older = [table for table in (PREDICTIONS, SHADOWS) if found.has_table(table.name)]
            for table in older:
                _mend(connection, table, found)
            METADATA.create_all(connection)
            if not connection.execute(sa.select(_FORM.c.form).where(_FORM.c.form == FORM)).first():
                connection.execute(_FORM.insert(), [{"form": FORM}])
    except (SQLAlchemyError, OSError) as err:
        raise unreachable(url, err) from err


def _mend(connection: sa.Connection, table: sa.Table, found: sa.Inspector) -> None:
    columns = {column["name"] for column in found.get_columns(table.name)}
    for column in table.columns:
        if column.name not in columns and column.nullable:
            kind = column.type.compile(connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind}")
    give_keys(connection, table)
    for index in table.indexes:
        index.create(connection, checkfirst=True)


def give_keys(connection: sa.Connection, table: sa.Table) -> None:
    """Give a key to the rows that have none: those that an older tidegate wrote."""
    # An id is given again once its row is gone, hence the random part.
    part = sa.literal(f"{secrets.token_hex(8)}-").op("||")(sa.cast(table.c.id, sa.Text))
    connection.execute(table.update().where(table.c.key.is_(None)).values(key=part))


def engine_of(url: str) -> sa.Engine:
    """Return an engine for the log's address; nothing is connected yet.

    Raises
    ------
    InputError
        The address is no SQLAlchemy URL, its driver is not installed, or it is kept in memory.
    """
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
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            # SQLite does not wait for another process that switches the mode of a new file.
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            break
    # In WAL mode NORMAL keeps the file whole through a loss of power, and what was
    # committed through the end of the process (sqlite.org/pragma.html#pragma_synchronous).
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def unreachable(url: str, err: Exception) -> ServiceError:
    """Return the error of a database that is away, locked or full; no password is in it."""
    return ServiceError(
        "The prediction log's database can be reached and used.",
        found=f"{masked(url)}: {first_line(err)}",
        next_move="start it or make it writable, or name another in serve.log",
    )


def first_line(err: Exception) -> str:
    """Return what a driver says, without the statement and its values."""
    cause = err.orig if isinstance(err, DBAPIError) and err.orig is not None else err
    return (str(cause).strip() or type(cause).__name__).splitlines()[0][:200]


def instant_of(value: str | datetime) -> datetime:
    """Return a time as the log keeps it: UTC, without a zone.

    Raises
    ------
    InputError
        It is not ISO 8601.
    """
    if isinstance(value, datetime):
        return naive(value)
    try:
        return naive(datetime.fromisoformat(value.strip()))
    except ValueError as err:
        raise InputError(
            "A window's end is a time in ISO 8601.",
            found=repr(value[:60]),
            next_move="for example 2013-07-01 or 2013-07-01T06:00:00+02:00",
        ) from err


def naive(instant: datetime) -> datetime:
    """Return the time in UTC, without a zone; what names none is in UTC."""
    if instant.tzinfo is None:
        return instant
    return instant.astimezone(UTC).replace(tzinfo=None)
