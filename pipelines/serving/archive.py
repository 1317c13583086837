"""The prediction log's old days: Parquet files by date and version, and their end.

``<folder>/date=2013-07-01/version=3/<random>.parquet``, by the request's day in UTC. Rows are
written there, under a name that nobody reads until the file is whole, and deleted from the
database after that. In between they are in both, so whoever reads asks the database first
and takes each key once; whoever goes on after a process that was killed writes no key that is
in the files already.
"""

import fcntl
import os
import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from datetime import time as midnight
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from pipelines.errors import ServiceError
from pipelines.serving.tables import LABELS, PREDICTIONS, SHADOWS, give_keys

PART = 10_000
"""Most rows of one file, and of one step of a rotation."""

_MOST_IN = 500
_LOCK = 7432002
_TEXT = (
    "key",
    "request_id",
    "model_name",
    "model_version",
    "inputs",
    "prediction",
    "probabilities",
    "flags",
    "shadow_version",
    "shadow_prediction",
    "shadow_probabilities",
)
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in _TEXT),
        ("row", pa.int32()),
        ("time", pa.timestamp("us")),
        ("latency_ms", pa.float64()),
    ]
)


def rotate(
    engine: sa.Engine,
    folder: Path | None,
    *,
    now: datetime,
    archive_days: int,
    retention_days: int | None = None,
) -> Iterator[None]:
    """Move the log's old days into files, and delete those past retention: step by step.

    A step is at most `PART` rows, so that whoever takes the steps can do other work between
    them. Nothing is done while another process is at it.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Of a database that has the log's tables.
    folder : Path or None
        Where the files go; None moves nothing, and only deletes.
    now : datetime
        UTC, without a zone.
    archive_days, retention_days : int
        A day is old once so many whole days lie between it and today.

    Raises
    ------
    sqlalchemy.exc.SQLAlchemyError, OSError
        Nothing is lost: the next rotation goes on from there.
    """
    with _alone(engine, folder) as mine:
        if not mine:
            return
        with engine.begin() as connection:
            give_keys(connection, PREDICTIONS)
        if retention_days is not None:
            yield from _end(engine, folder, _day_before(now, retention_days))
        if folder is not None:
            for left in folder.glob("date=*/version=*/.*.tmp"):
                left.unlink(missing_ok=True)
            yield from _move(engine, folder, _day_before(now, archive_days))


def read_archive(
    folder: Path | None,
    columns: Sequence[str],
    *,
    name: str,
    version: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Iterator[dict[str, Any]]:
    """Give the archived rows of a window, each once, in no order.

    Parameters
    ----------
    folder : Path or None
        None, or one that is not there, has no rows.
    columns : sequence of str
        Which of a row's values are wanted; ``key`` is among what is given.
    name, version
        The registered model; by default every version.
    since, until : datetime, optional
        UTC, without a zone; ``until`` is not in it.

    Raises
    ------
    ServiceError
        A file cannot be read.
    """
    seen: set[str] = set()
    wanted = list({"key": 0, "model_name": 0, "time": 0, **dict.fromkeys(columns)})
    for file in _files(folder, version, since, until):
        try:
            part = pq.read_table(file, columns=wanted, partitioning=None)
        except FileNotFoundError:
            # Its day came to its end just now.
            continue
        except (pa.ArrowException, OSError) as err:
            raise ServiceError(
                "The prediction log's files can be read.",
                found=f"{file}: {err}",
                next_move="mend the disk, or move that file away to go on without its rows",
            ) from err
        for row in part.to_pylist():
            outside = (since is not None and row["time"] < since) or (
                until is not None and row["time"] >= until
            )
            if row["model_name"] != name or outside or row["key"] in seen:
                continue
            seen.add(row["key"])
            yield row


def archived_rows(folder: Path | None, ids: Collection[str], *, name: str) -> set[tuple[str, int]]:
    """Return which rows of some requests are in the files."""
    if not ids:
        return set()
    found: set[tuple[str, int]] = set()
    for file in _files(folder, None, None, None):
        try:
            part = pq.read_table(
                file,
                columns=["request_id", "row"],
                filters=[("request_id", "in", list(ids)), ("model_name", "=", name)],
                partitioning=None,
            )
        except FileNotFoundError:
            continue
        found.update(zip(part["request_id"].to_pylist(), part["row"].to_pylist(), strict=True))
    return found


def _files(
    folder: Path | None, version: str | None, since: datetime | None, until: datetime | None
) -> list[Path]:
    if folder is None:
        return []
    found = []
    for day in sorted(folder.glob("date=*")):
        on = date.fromisoformat(day.name.removeprefix("date="))
        if (since is None or on >= since.date()) and (until is None or on <= until.date()):
            found += [
                file
                for file in sorted(day.glob("version=*/*.parquet"))
                if version is None or unquote(file.parent.name.removeprefix("version=")) == version
            ]
    return found


def _day_before(now: datetime, days: int) -> datetime:
    """Return the midnight before which a day is old."""
    return datetime.combine(now.date(), midnight.min) - timedelta(days=days)


def _move(engine: sa.Engine, folder: Path, before: datetime) -> Iterator[None]:
    table = PREDICTIONS.c
    kept: set[str] = set()
    place: Path | None = None
    while True:
        with engine.connect() as connection:
            oldest = connection.execute(
                sa.select(table.time, table.model_version)
                .where(table.time < before)
                .order_by(table.time)
                .limit(1)
            ).first()
            if oldest is None:
                return
            begin = datetime.combine(oldest.time.date(), midnight.min)
            rows = connection.execute(
                sa.select(PREDICTIONS)
                .where(
                    table.time >= begin,
                    table.time < min(begin + timedelta(days=1), before),
                    table.model_version == oldest.model_version,
                )
                .order_by(table.time, table.id)
                .limit(PART)
            ).all()
            shadows = _shadows(connection, {row.request_id for row in rows})
        version = quote(oldest.model_version, safe="")
        partition = folder / f"date={begin.date().isoformat()}" / f"version={version}"
        if partition != place:
            place = partition
            # What a killed process wrote and did not come to delete.
            kept = {
                key
                for file in partition.glob("*.parquet")
                for key in pq.read_table(file, columns=["key"], partitioning=None)[
                    "key"
                ].to_pylist()
            }
        if fresh := [row for row in rows if row.key not in kept]:
            _write(partition, fresh, shadows)
        _delete(engine, rows)
        yield


def _shadows(
    connection: sa.Connection, ids: Collection[str]
) -> dict[tuple[str, int, str], Sequence[Any]]:
    found: dict[tuple[str, int, str], Sequence[Any]] = {}
    some = sorted(ids)
    for first in range(0, len(some), _MOST_IN):
        asked = sa.select(SHADOWS).where(SHADOWS.c.request_id.in_(some[first : first + _MOST_IN]))
        for row in connection.execute(asked.order_by(SHADOWS.c.id)):
            found[row.request_id, row.row, row.model_name] = (
                row.model_version,
                row.prediction,
                row.probabilities,
            )
    return found


def _write(
    partition: Path, rows: Sequence[Any], shadows: dict[tuple[str, int, str], Sequence[Any]]
) -> None:
    records = []
    for row in rows:
        beside = shadows.get((row.request_id, row.row, row.model_name), (None, None, None))
        names = ("shadow_version", "shadow_prediction", "shadow_probabilities")
        records.append({**row._mapping, **dict(zip(names, beside, strict=True))})
    partition.mkdir(parents=True, exist_ok=True)
    id = secrets.token_hex(8)
    unfinished = partition / f".{id}.tmp"
    with unfinished.open("wb") as file:
        pq.write_table(pa.Table.from_pylist(records, schema=_SCHEMA), file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(partition / f"{id}.parquet")
    # The names too are on the disk before the rows leave the database.
    for folder in (partition, partition.parent, partition.parent.parent):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _delete(engine: sa.Engine, rows: Sequence[Any], *, labels: bool = False) -> None:
    """Delete rows and what was said beside them, where no other row has their place."""
    with engine.begin() as connection:
        connection.execute(
            PREDICTIONS.delete().where(PREDICTIONS.c.key == sa.bindparam("gone")),
            [{"gone": row.key} for row in rows],
        )
        for table in (SHADOWS, LABELS) if labels else (SHADOWS,):
            _forget(connection, table, [(r.request_id, r.row, r.model_name) for r in rows])


def _forget(
    connection: sa.Connection, table: sa.Table, places: Sequence[tuple[str, int, str]]
) -> None:
    # A client may have used a request's id again, on a day that stays.
    again = sa.exists().where(
        PREDICTIONS.c.request_id == table.c.request_id,
        PREDICTIONS.c.row == table.c.row,
        PREDICTIONS.c.model_name == table.c.model_name,
    )
    gone = table.delete().where(
        table.c.request_id == sa.bindparam("gone"),
        table.c.row == sa.bindparam("place"),
        table.c.model_name == sa.bindparam("model"),
        ~again,
    )
    connection.execute(
        gone, [dict(zip(("gone", "place", "model"), p, strict=True)) for p in places]
    )


def _end(engine: sa.Engine, folder: Path | None, before: datetime) -> Iterator[None]:
    table = PREDICTIONS.c
    while True:
        with engine.connect() as connection:
            rows = connection.execute(
                sa.select(table.key, table.request_id, table.row, table.model_name)
                .where(table.time < before)
                .order_by(table.time)
                .limit(PART)
            ).all()
        if not rows:
            break
        _delete(engine, rows, labels=True)
        yield
    for file in _files(folder, None, None, before - timedelta(days=1)):
        places = pq.read_table(
            file, columns=["request_id", "row", "model_name"], partitioning=None
        ).to_pylist()
        with engine.begin() as connection:
            # The labels go first: without the file nobody would know which they are.
            _forget(
                connection, LABELS, [(p["request_id"], p["row"], p["model_name"]) for p in places]
            )
        file.unlink(missing_ok=True)
        for emptied in (file.parent, file.parent.parent):
            if not any(emptied.iterdir()):
                emptied.rmdir()
        yield


@contextmanager
def _alone(engine: sa.Engine, folder: Path | None) -> Iterator[bool]:
    """Say whether no other process rotates; the lock of one that is killed ends with it."""
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            lock = sa.select(sa.func.pg_try_advisory_lock(_LOCK))
            mine = bool(connection.execute(lock).scalar())
            try:
                yield mine
            finally:
                if mine:
                    # The pool would keep the connection, and the lock with it.
                    connection.execute(sa.select(sa.func.pg_advisory_unlock(_LOCK)))
        return
    beside = folder if folder is not None else Path(str(engine.url.database)).parent
    beside.mkdir(parents=True, exist_ok=True)
    with (beside / ".rotation").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
