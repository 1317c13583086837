"""The ledger in real databases: it only grows, and shows when somebody made it otherwise."""

import hashlib
import json
import multiprocessing
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy

from pipelines.ledger import Ledger, TableStorage, TagStorage
from pipelines.tracking import Tracker, TrackingSettings


@contextmanager
def asking(rule: str) -> Iterator[None]:
    yield


def of(url: str, model: str = "flights") -> Ledger:
    return Ledger(model, TableStorage(url, model, asking))


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A new SQLite file."""
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, url: str) -> str:
    """Each of the databases that a project may be on."""
    return url if request.param == "sqlite" else str(request.getfixturevalue("postgres"))


@pytest.fixture
def model() -> str:
    """A name of its own, since the Postgres server is shared."""
    return uuid.uuid4().hex


def test_entries_come_back_as_they_were_written(database: str, model: str) -> None:
    """Who, what and why, oldest first, each model for itself."""
    ledger = of(database, model)
    assert ledger.entries() == ()
    first = ledger.append("look", details={"sealed": "abc", "rows": 227})
    second = ledger.append("approved", version="3", who="Ada Ünal", reason="„späte“ flights")
    of(database, f"{model}2").append("look")
    assert of(database, model).entries() == (first, second)
    assert (second.who, second.reason, second.version) == ("Ada Ünal", "„späte“ flights", "3")
    assert first.details == {"sealed": "abc", "rows": 227}
    assert first.who
    assert second.previous_digest == first.digest
    assert ledger.intact()


def test_looks_are_counted_by_their_fingerprint(url: str) -> None:
    """A look at other rows is not a look at these."""
    ledger = of(url)
    for sealed in ("a", "a", "b"):
        ledger.append("look", details={"sealed": sealed})
    ledger.append("verdict", details={"sealed": "a"})
    assert (ledger.looks("a"), ledger.looks("b"), ledger.looks("c")) == (2, 1, 0)


def test_an_event_that_nobody_knows_is_not_written(url: str) -> None:
    """A misspelt one would be found by no reader."""
    with pytest.raises(ValueError, match="aproved"):
        of(url).append("aproved")
    assert of(url).entries() == ()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE tidegate_ledger SET reason = 'other'",
        "DELETE FROM tidegate_ledger WHERE event = 'look'",
    ],
)
def test_the_database_refuses_to_change_a_row(database: str, model: str, change: str) -> None:
    """Also when it is asked by somebody else than us."""
    ledger = of(database, model)
    ledger.append("look")
    before = ledger.entries()
    engine = sqlalchemy.create_engine(database)
    with (
        pytest.raises(sqlalchemy.exc.DBAPIError, match="append-only"),
        engine.begin() as connection,
    ):
        connection.exec_driver_sql(change)
    engine.dispose()
    assert ledger.entries() == before


@pytest.mark.slow
def test_postgres_refuses_to_empty_the_table(postgres: str, model: str) -> None:
    """TRUNCATE fires no trigger of a row, so there is one of the statement."""
    of(postgres, model).append("look")
    engine = sqlalchemy.create_engine(postgres)
    with (
        pytest.raises(sqlalchemy.exc.DBAPIError, match="append-only"),
        engine.begin() as connection,
    ):
        connection.exec_driver_sql("TRUNCATE tidegate_ledger")
    engine.dispose()


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE tidegate_ledger SET version = '7' WHERE id = 2",
        "UPDATE tidegate_ledger SET time = '2026-01-01T00:00:00+00:00' WHERE id = 3",
        "DELETE FROM tidegate_ledger WHERE id = 1",
        "DELETE FROM tidegate_ledger WHERE id = 2",
    ],
)
def test_tampering_shows(url: str, tmp_path: Path, tamper: str) -> None:
    """Whoever drops the triggers and changes a row, or takes one out, breaks the chain."""
    ledger = of(url)
    for version in ("1", "2", "3"):
        ledger.append("promoted", version=version)
    assert ledger.intact()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("DROP TRIGGER tidegate_ledger_no_update")
        connection.execute("DROP TRIGGER tidegate_ledger_no_delete")
        connection.execute(tamper)
    connection.close()
    assert not ledger.intact()


def test_the_digest_can_be_computed_without_us(url: str, tmp_path: Path) -> None:
    """It is the SHA-256 of the columns, in the order that docs/deploy.md gives, as JSON."""
    ledger = of(url)
    ledger.append("look", details={"rows": 3})
    ledger.append("approved", version="3", who="Ünal", reason="it's fine")
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        rows = connection.execute(
            "SELECT previous_digest, model, time, event, version, who, reason, details, digest "
            "FROM tidegate_ledger ORDER BY id"
        ).fetchall()
    connection.close()
    for *columns, digest in rows:
        assert hashlib.sha256(json.dumps(columns).encode()).hexdigest() == digest


def _write(url: str, model: str, number: int) -> None:
    for _ in range(10):
        of(url, model).append("look", details={"process": number})


@pytest.mark.slow
def test_processes_that_write_at_once_make_one_chain(database: str, model: str) -> None:
    """No entry is lost, no two follow the same one, and the table is made once."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(database, model, n)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    entries = of(database, model).entries()
    assert sorted(entry.details["process"] for entry in entries) == sorted([*range(4)] * 10)
    assert [e.previous_digest for e in entries] == ["", *(e.digest for e in entries[:-1])]


def test_the_longest_details_are_left_out_and_named(url: str) -> None:
    """An entry with more than fits is kept without it rather than refused."""
    ledger = of(url)
    ledger.append("verdict", details={"refused_by": ["accuracy"], "rules": ["x" * 100] * 400})
    (entry,) = ledger.entries()
    assert entry.details == {"refused_by": ["accuracy"], "left_out": ["rules"]}


def test_mlflow_does_not_mind_the_table(tmp_path: Path) -> None:
    """Its store opens again, as new, with the ledger's table in it."""
    Tracker.open(TrackingSettings(), tmp_path, "flights").ledger("flights").append("look")
    from mlflow.store.db import utils

    database = tmp_path / ".tidegate" / "mlflow.db"
    engine = sqlalchemy.create_engine(f"sqlite:///{database}")
    assert utils._all_tables_exist(engine)
    utils._verify_schema(engine)
    utils._upgrade_db(engine)
    engine.dispose()
    again = Tracker.open(TrackingSettings(), tmp_path, "flights")
    again.start("run", tags={})
    assert [entry.event for entry in again.ledger("flights").entries()] == ["look"]


def test_a_store_that_may_only_be_read_can_be_read(url: str, tmp_path: Path) -> None:
    """`history` and `status` write nothing, also where nothing was written yet."""
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("CREATE TABLE other (x)")
    connection.close()
    os.chmod(tmp_path / "ledger.db", 0o444)  # noqa: PTH101
    assert of(url).entries() == ()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    assert tables == [("other",)]


def test_tags_hold_the_same_entries(url: str) -> None:
    """On a server each is a tag, in the order of the clock; a changed or lost one shows."""
    tags: dict[str, str] = {"mlflow.other": "1"}
    ledger = Ledger("flights", TagStorage(lambda: tags, tags.__setitem__))
    for version in ("1", "2", "3"):
        ledger.append("promoted", version=version, reason='"quoted" ünd', details={"rows": 3})
    assert [e.version for e in ledger.entries()] == ["1", "2", "3"]
    assert ledger.entries()[0].details == {"rows": 3}
    assert ledger.intact()
    key = sorted(tags)[2]
    kept = tags.pop(key)
    assert not ledger.intact()
    tags[key] = kept.replace('"2"', '"1"')
    assert not ledger.intact()
    tags[key] = kept
    assert ledger.intact()
    assert all(len(value) < 5_000 for value in tags.values())
