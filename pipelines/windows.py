"""Which stretches of traffic were judged, how, and what was decided: rows that are added once.

They lie in the prediction log's database. A window is named by what it is of, so that a
monitor that was killed and started again does not judge, or decide, the same one twice. What
late labels make of a closed window is written beside what was found first, never over it.
"""

import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import psutil
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from pipelines.errors import MissingError, ServiceError
from pipelines.serving.tables import METADATA, engine_of, naive, prepare, unreachable

_WINDOWS = sa.Table(
    "tidegate_windows",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("since", sa.DateTime, nullable=False),
    sa.Column("until", sa.DateTime, nullable=False),
    sa.Column("made", sa.DateTime, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("labelled", sa.Integer, nullable=False),
    sa.Column("reports", sa.Text, nullable=False),
    sa.Column("decision", sa.Text),
    sa.Column("run_id", sa.Text),
    sa.Column("revisions", sa.Text, nullable=False),
)

_LEASES = sa.Table(
    "tidegate_monitors",
    METADATA,
    sa.Column("model", sa.String(256), primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("until", sa.DateTime, nullable=False),
)

_ALERTS = sa.Table(
    "tidegate_alerts",
    METADATA,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("sent", sa.DateTime, nullable=False),
)

_KEPT_REVISIONS = 20


@dataclass(frozen=True)
class WindowRecord:
    """A window that was judged.

    Parameters
    ----------
    model, version : str
    since, until : datetime
        From ``since``, up to but not at ``until``; UTC.
    rows, labelled : int
        Scored rows, and those of them whose label had come.
    reports : mapping of str to dict
        By name, as `checks.result.Report.to_dict` gives them.
    decision : mapping or None
        What it led to; None for a version that served no longer.
    run_id : str or None
        The MLflow run that keeps the evidence.
    made : datetime
        When it was judged first.
    revisions : sequence of mapping
        What late labels changed, oldest first: ``time``, ``reason``, ``labelled`` and the
        ``reports`` that held before.
    """

    model: str
    version: str
    since: datetime
    until: datetime
    rows: int
    labelled: int
    reports: Mapping[str, Mapping[str, Any]]
    decision: Mapping[str, Any] | None = None
    run_id: str | None = None
    made: datetime = field(default_factory=lambda: datetime.now(UTC))
    revisions: Sequence[Mapping[str, Any]] = ()

    @property
    def id(self) -> str:
        """SHA-256, in hexadecimal, of the model, the version and the ends."""
        ends = (naive(self.since).isoformat(), naive(self.until).isoformat())
        return hashlib.sha256("\n".join((self.model, self.version, *ends)).encode()).hexdigest()


class Windows:
    """The judged windows of one prediction log. To be closed, or used in a ``with`` block.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Of a database that has the tables.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the record, and make its tables where there are none.

        Raises
        ------
        InputError
            The address is none, or the log was written by a newer tidegate.
        ServiceError
            The database cannot be reached or written.
        """
        engine = engine_of(url)
        try:
            prepare(engine, url)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def add(self, record: WindowRecord) -> bool:
        """Keep a window; say whether it was new. One that is there already stays as it is."""
        values = {
            "id": record.id,
            "model": record.model,
            "version": record.version,
            "since": naive(record.since),
            "until": naive(record.until),
            "made": naive(record.made),
            "rows": record.rows,
            "labelled": record.labelled,
            "reports": json.dumps(dict(record.reports)),
            "decision": None if record.decision is None else json.dumps(dict(record.decision)),
            "run_id": record.run_id,
            "revisions": json.dumps(list(record.revisions)),
        }
        try:
            with self._transaction() as connection:
                connection.execute(_WINDOWS.insert(), [values])
        except IntegrityError:
            return False
        return True

    def revise(
        self, id: str, *, reports: Mapping[str, Mapping[str, Any]], labelled: int, reason: str
    ) -> WindowRecord:
        """Give a window other reports; those that held before stay in its revisions.

        Raises
        ------
        MissingError
            There is no such window.
        """
        with self._transaction() as connection:
            wanted = sa.select(_WINDOWS).where(_WINDOWS.c.id == id).with_for_update()
            row = connection.execute(wanted).first()
            if row is None:
                raise MissingError(
                    "A window that was judged can be judged anew.",
                    found=f"no window {id[:12]}",
                    next_move="see `tidegate history`",
                )
            before = _record(row)
            revision = {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "reason": reason,
                "labelled": before.labelled,
                "reports": {
                    name: report
                    for name, report in before.reports.items()
                    if reports.get(name) != report
                },
            }
            revisions = [*before.revisions, revision]
            # The first one is what was believed at the time; it is never left out.
            if len(revisions) > _KEPT_REVISIONS:
                revisions = [revisions[0], *revisions[1 - _KEPT_REVISIONS :]]
            changed = {
                "reports": json.dumps(dict(reports)),
                "labelled": labelled,
                "revisions": json.dumps(revisions),
            }
            connection.execute(_WINDOWS.update().where(_WINDOWS.c.id == id).values(**changed))
            return _record(connection.execute(wanted).one())

    def records(
        self, model: str, version: str | None = None, *, limit: int | None = None
    ) -> list[WindowRecord]:
        """Return the windows of a model, the last ``limit`` of them, newest last."""
        wanted = sa.select(_WINDOWS).where(_WINDOWS.c.model == model)
        if version is not None:
            wanted = wanted.where(_WINDOWS.c.version == version)
        wanted = wanted.order_by(_WINDOWS.c.until.desc(), _WINDOWS.c.made.desc()).limit(limit)
        with self._transaction() as connection:
            return [_record(row) for row in connection.execute(wanted)][::-1]

    def last_alert(self, name: str) -> datetime | None:
        """Return when an alert was last sent; None where it never was."""
        wanted = sa.select(_ALERTS.c.sent).where(_ALERTS.c.name == name)
        with self._transaction() as connection:
            sent: datetime | None = connection.execute(wanted).scalar()
        return None if sent is None else sent.replace(tzinfo=UTC)

    def remember_alert(self, name: str, sent: datetime) -> None:
        """Keep when an alert was sent."""
        with self._transaction() as connection:
            connection.execute(_ALERTS.delete().where(_ALERTS.c.name == name))
            connection.execute(_ALERTS.insert(), [{"name": name, "sent": naive(sent)}])

    @contextmanager
    def lease(self, model: str, *, seconds: float) -> Iterator[None]:
        """Let one monitor of a model work at a time, for the length of a block.

        What a process of this machine held that has ended is free at once; what another
        machine holds is free when ``seconds`` have passed since it was taken.

        Raises
        ------
        ServiceError
            Another monitor is at work.
        """
        mine = {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}
        until = naive(datetime.now(UTC) + timedelta(seconds=seconds))
        try:
            with self._transaction() as connection:
                wanted = sa.select(_LEASES).where(_LEASES.c.model == model).with_for_update()
                held = connection.execute(wanted).first()
                if held is not None and _lives(held):
                    raise _taken(f"process {held.pid} on {held.host} is at it")
                connection.execute(_LEASES.delete().where(_LEASES.c.model == model))
                connection.execute(_LEASES.insert(), [{"model": model, "until": until, **mine}])
        except IntegrityError as err:
            # Where no row is there to be locked, two of them can come this far; one gets it.
            raise _taken("another one began in the same instant") from err
        try:
            yield
        finally:
            with self._transaction() as connection:
                connection.execute(
                    _LEASES.delete().where(
                        _LEASES.c.model == model, *(_LEASES.c[k] == v for k, v in mine.items())
                    )
                )

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as connection:
                if connection.dialect.name == "sqlite":
                    # What is read decides what is written.
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection
        except IntegrityError:
            raise
        except SQLAlchemyError as err:
            raise unreachable(self._engine.url.render_as_string(), err) from err


def _record(row: Any) -> WindowRecord:
    return WindowRecord(
        model=row.model,
        version=row.version,
        since=row.since.replace(tzinfo=UTC),
        until=row.until.replace(tzinfo=UTC),
        rows=row.rows,
        labelled=row.labelled,
        reports=json.loads(row.reports),
        decision=None if row.decision is None else json.loads(row.decision),
        run_id=row.run_id,
        made=row.made.replace(tzinfo=UTC),
        revisions=tuple(json.loads(row.revisions)),
    )


def _taken(found: str) -> ServiceError:
    return ServiceError(
        "One monitor of a model works at a time.",
        found=found,
        next_move="wait until it has ended",
    )


def _lives(held: Any) -> bool:
    if held.host == socket.gethostname():
        return bool(_started(held.pid) == held.started)
    return bool(held.until > naive(datetime.now(UTC)))


def _started(pid: int) -> float | None:
    """Return when a process began, which tells it from a later one of the same number."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None
