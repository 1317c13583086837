"""What happened to a model, and by whom: entries that are added and never changed.

An entry is one of `EVENTS`. The ledger lies where the registry is and is readable without
us: in a database as the table ``tidegate_ledger``, on an MLflow server as tags of the
registered model.
"""

import getpass
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.errors import ServiceError

if TYPE_CHECKING:
    from sqlalchemy import Engine, Table

EVENTS = (
    "look",  # the gate opened the sealed rows
    "verdict",  # and this came of it
    "waiting",  # a candidate that passed waits for a person's answer
    "approved",
    "rejected",
    "expired",  # nobody answered in time
    "override",  # a person let a refused candidate through
    "promoting",  # the ticket that a process takes before it moves the alias
    "withdrawn",  # and gives back without having moved it
    "promoted",
    "rolled back",
    "restored",  # moved back, since the served copy answered otherwise
    "decision",  # what a window of traffic led to, "nothing" too
    "revised",  # and what late labels made of a window that was judged before
    "retraining",  # the ticket that a process takes before it trains again
    "retrained",  # and what came of it
)
"""Every event, in the order of a version's life."""

TABLE = "tidegate_ledger"
"""The table's name in the tracking database."""

TAG = "tidegate.ledger."
"""What the key of an entry begins with where entries are tags of the registered model."""

_LONGEST_WHO = 200
_LONGEST_REASON = 1_000
_TRIES = 100


@dataclass(frozen=True)
class Entry:
    """One line of the ledger.

    Parameters
    ----------
    id : str
        Its number in the table, or the end of its tag's key.
    time : datetime
        In UTC.
    event : str
        One of `EVENTS`.
    version : str or None
        The version that it is about; after a move, what the alias names.
    who : str
        The person named, else the account that the process ran as.
    reason : str
    details : mapping
        JSON-able facts.
    previous_digest, digest : str
        SHA-256 in hexadecimal: of the entry before, empty for the first; of this one.
    """

    id: str
    time: datetime
    event: str
    version: str | None
    who: str
    reason: str
    details: Mapping[str, Any]
    previous_digest: str
    digest: str


class Storage(Protocol):
    """Where the entries of one model are kept.

    Rows are plain text by column. A storage only adds; any number of processes may do so at
    once, and each sees its own row, and those added before, in the next `rows`.
    """

    longest: int
    """Most characters that the details of one row may take."""

    def last_digest(self) -> str:
        """Return the digest of the newest row; empty where there is none."""

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Return every row with its ``id``, oldest first."""

    def add(self, row: Mapping[str, str | None]) -> str | None:
        """Keep a row and return its id; None where another row follows the same one."""


class Ledger:
    """The entries of one model.

    Each entry carries the digest of the one before it and of itself, so that a line that was
    changed, or taken out from between two others, is found by `intact`. Lines taken off the
    end are not: keep the last digest elsewhere where that matters.

    Parameters
    ----------
    model : str
    storage : Storage
    """

    def __init__(self, model: str, storage: Storage) -> None:
        self.model = model
        self._storage = storage

    def append(
        self,
        event: str,
        *,
        version: str | None = None,
        who: str | None = None,
        reason: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> Entry:
        """Add an entry and return it.

        Parameters
        ----------
        event : str
            One of `EVENTS`.
        version, who, reason
            See `Entry`; by default ``who`` is the account that this process runs as.
        details : mapping, optional
            JSON-able. The longest are left out, and named, where they do not fit.

        Raises
        ------
        ServiceError
            The store did not take it.
        ValueError
            There is no such event.
        """
        if event not in EVENTS:
            raise ValueError(f"{event!r} is no event of the ledger")
        for _ in range(_TRIES):
            row: dict[str, str | None] = {
                "model": self.model,
                "time": datetime.now(UTC).isoformat(timespec="microseconds"),
                "event": event,
                "version": version,
                "who": (who or account())[:_LONGEST_WHO],
                "reason": reason[:_LONGEST_REASON],
                "details": _bounded(details or {}, self._storage.longest),
                "previous_digest": self._storage.last_digest(),
            }
            row["digest"] = _digest(row)
            id = self._storage.add(row)
            if id is not None:
                return _entry({**row, "id": id})
        raise ServiceError(
            "What happened is written down.",
            found=f"{_TRIES} times another process wrote to the ledger first",
            next_move="run the command again",
        )

    def entries(self) -> tuple[Entry, ...]:
        """Return every entry, oldest first."""
        return tuple(_entry(row) for row in self._storage.rows())

    def intact(self) -> bool:
        """Whether each entry is as it was written, and follows another that is there."""
        rows = self._storage.rows()
        known = {"", *(row["digest"] for row in rows)}
        return all(
            row["digest"] == _digest(row) and row["previous_digest"] in known for row in rows
        )

    def looks(self, fingerprint: str) -> int:
        """Return how often a gate has opened the sealed rows of this fingerprint."""
        return sum(
            entry.event == "look" and entry.details.get("sealed") == fingerprint
            for entry in self.entries()
        )


class TableStorage:
    """Entries in a table of the tracking database.

    The database refuses two rows that follow the same one, so the rows of a model are one
    chain, and on SQLite and Postgres it refuses to change or delete any.

    Parameters
    ----------
    url : str
        SQLAlchemy's.
    model : str
    asking : callable
        Gives a context that turns the database's errors into a `ServiceError` of that rule.
    """

    longest = 20_000

    def __init__(
        self, url: str, model: str, asking: Callable[[str], AbstractContextManager[None]]
    ) -> None:
        self._url = url
        self._model = model
        self._asking = asking

    def last_digest(self) -> str:
        """Return the digest of the row with the greatest id."""
        rows = self._read(newest=True)
        return str(rows[0]["digest"]) if rows else ""

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Return the rows; there are none where there is no table yet."""
        return self._read()

    def _read(self, *, newest: bool = False) -> Sequence[Mapping[str, Any]]:
        import sqlalchemy

        table = self._table
        query = sqlalchemy.select(table).where(table.c.model == self._model)
        query = query.order_by(table.c.id.desc()).limit(1) if newest else query.order_by(table.c.id)
        with self._asking("The ledger is read."), self._engine.connect() as connection:
            if not sqlalchemy.inspect(connection).has_table(TABLE):
                return ()
            return [dict(row) for row in connection.execute(query).mappings()]

    def add(self, row: Mapping[str, str | None]) -> str | None:
        """Insert a row, and make the table before the first."""
        import sqlalchemy

        with self._asking("What happened is written down."):
            with self._engine.connect() as connection:
                there = sqlalchemy.inspect(connection).has_table(TABLE)
            if not there:
                self._make()
            try:
                with self._engine.begin() as connection:
                    added = connection.execute(self._table.insert().values(**row))
                    (id,) = added.inserted_primary_key or ("",)
                    return str(id)
            except sqlalchemy.exc.IntegrityError:
                return None

    @cached_property
    def _engine(self) -> "Engine":
        import sqlalchemy
        from sqlalchemy.pool import NullPool

        # No pool: a connection that outlives its call would be shared with a forked child.
        if not self._url.startswith("sqlite"):
            return sqlalchemy.create_engine(self._url, poolclass=NullPool)
        return sqlalchemy.create_engine(
            self._url,
            poolclass=NullPool,
            connect_args={"timeout": 20.0},
            isolation_level="AUTOCOMMIT",
        )

    @cached_property
    def _table(self) -> "Table":
        from sqlalchemy import Column, Integer, MetaData, String, Table, Text, UniqueConstraint

        return Table(
            TABLE,
            MetaData(),
            Column("id", Integer, primary_key=True),
            Column("model", String(256), nullable=False),
            Column("time", String(40), nullable=False),
            Column("event", String(20), nullable=False),
            Column("version", String(20)),
            Column("who", String(_LONGEST_WHO), nullable=False),
            Column("reason", Text, nullable=False),
            Column("details", Text, nullable=False),
            Column("previous_digest", String(64), nullable=False),
            Column("digest", String(64), nullable=False),
            UniqueConstraint("model", "previous_digest", name=f"{TABLE}_chain"),
            # Without it SQLite gives the number of a deleted row again.
            sqlite_autoincrement=True,
        )

    def _make(self) -> None:
        """Make the table and its triggers in one transaction, unless another process has."""
        import sqlalchemy
        from sqlalchemy.schema import CreateTable

        engine = self._engine
        statements = [str(CreateTable(self._table).compile(engine)), *_triggers(engine.dialect)]
        try:
            with engine.begin() as connection:
                if engine.dialect.name == "sqlite":
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                for statement in statements:
                    connection.exec_driver_sql(statement)
                if engine.dialect.name == "sqlite":
                    connection.exec_driver_sql("COMMIT")
        except sqlalchemy.exc.SQLAlchemyError:
            with engine.connect() as connection:
                if not sqlalchemy.inspect(connection).has_table(TABLE):
                    raise


class TagStorage:
    """Entries as tags of the registered model, for a server whose database is out of reach.

    A server takes any number of tags at once and orders nothing: entries are in the order
    of the clocks that wrote them, and two may follow the same one. Its administrator can
    change a tag; `Ledger.intact` then says so.

    Parameters
    ----------
    read : callable
        Gives the registered model's tags; none where there is no such model.
    write : callable
        Sets one tag, and makes the model before the first.
    """

    # The server's database keeps 5,000 characters of a tag.
    longest = 2_000

    def __init__(
        self, read: Callable[[], Mapping[str, str]], write: Callable[[str, str], None]
    ) -> None:
        self._read = read
        self._write = write

    def last_digest(self) -> str:
        """Return the digest of the row with the latest time."""
        rows = self.rows()
        return str(rows[-1]["digest"]) if rows else ""

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Return the rows in the order of their time."""
        found = []
        for key, value in sorted(self._read().items()):
            if key.startswith(TAG):
                row = json.loads(value)
                found.append({**row, "id": key.removeprefix(TAG), "details": _text(row["details"])})
        return found

    def add(self, row: Mapping[str, str | None]) -> str:
        """Set one tag, under a key that no other process makes."""
        id = f"{time.time_ns():019d}.{secrets.token_hex(4)}"
        # Nested: quoted in a text of its own, each quotation mark would count twice.
        self._write(TAG + id, _text({**row, "details": json.loads(row["details"] or "{}")}))
        return id


def account() -> str:
    """Return the account that this process runs as."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _triggers(dialect: Any) -> list[str]:
    refusal = f"{TABLE} is append-only"
    if dialect.name == "sqlite":
        return [
            f"CREATE TRIGGER {TABLE}_no_{verb} BEFORE {verb} ON {TABLE} "
            f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
            for verb in ("update", "delete")
        ]
    if dialect.name == "postgresql":
        return [
            f"CREATE OR REPLACE FUNCTION {TABLE}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{refusal}'; END $$",
            f"CREATE TRIGGER {TABLE}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {TABLE} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {TABLE}_refuse()",
        ]
    return []


def _digest(row: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a row's columns as a JSON list, without its id."""
    columns = ("previous_digest", "model", "time", "event", "version", "who", "reason", "details")
    return hashlib.sha256(json.dumps([row[name] for name in columns]).encode()).hexdigest()


def _bounded(details: Mapping[str, Any], longest: int) -> str:
    """Return details as JSON, without the longest of them where all do not fit."""
    kept, left_out = dict(details), list[str]()
    while True:
        said = {**kept, **({"left_out": left_out} if left_out else {})}
        text = _text(said)
        if len(text) <= longest:
            return text
        largest = max(kept, key=lambda name: len(json.dumps(kept[name], default=str)))
        left_out.append(largest)
        del kept[largest]


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _entry(row: Mapping[str, Any]) -> Entry:
    return Entry(
        id=str(row["id"]),
        time=datetime.fromisoformat(row["time"]),
        event=row["event"],
        version=row["version"],
        who=row["who"],
        reason=row["reason"],
        details=json.loads(row["details"]),
        previous_digest=row["previous_digest"],
        digest=row["digest"],
    )
