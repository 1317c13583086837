"""pipelines.windows: a window is judged once, revised beside itself, by one monitor."""

import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipelines.errors import MissingError, ServiceError
from pipelines.windows import WindowRecord, Windows

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)


def record(day: int = 0, version: str = "1", **more: Any) -> WindowRecord:
    """Return a window of one day."""
    since = NOON + timedelta(days=day)
    values: dict[str, Any] = {
        "model": "flights",
        "version": version,
        "since": since,
        "until": since + timedelta(days=1),
        "rows": 300,
        "labelled": 0,
        "reports": {"drift": {"verdict": "passed"}},
        "decision": {"action": "nothing", "reasons": []},
    }
    return WindowRecord(**{**values, **more})


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The address of a record that is not there yet."""
    return f"sqlite:///{tmp_path / 'predictions.db'}"


def test_a_window_is_kept_once(url: str) -> None:
    """The same window is refused the second time, and stays as it was; others are told apart."""
    with Windows.open(url) as store:
        first = record()
        assert store.add(first)
        assert not store.add(replace(first, rows=1, decision={"action": "retrain"}))
        assert store.add(record(1))
        assert store.add(record(version="2"))
        assert store.records("flights", "1")[0] == first
    with Windows.open(url) as store:
        assert [r.version for r in store.records("flights")] == ["1", "2", "1"]
        assert [r.since for r in store.records("flights", limit=1)] == [NOON + timedelta(days=1)]
        assert store.records("trains") == []


def test_a_window_is_named_by_what_it_is_of() -> None:
    """The zone of a time does not matter to a window's name; its ends and version do."""
    zone = datetime.fromisoformat("2013-07-01T14:00:00+02:00")
    assert record().id == record(since=zone).id
    assert len({record().id, record(1).id, record(version="2").id}) == 3


def test_a_revision_keeps_what_was_found_first(url: str) -> None:
    """What held before stays, the first of it for ever; what did not change is not repeated."""
    with Windows.open(url) as store:
        store.add(record(reports={"drift": {"a": 1}, "performance": {"verdict": "none"}}))
        for labels in range(1, 31):
            reports = {"drift": {"a": 1}, "performance": {"verdict": labels}}
            now = store.revise(record().id, reports=reports, labelled=labels, reason="late labels")
        assert now == store.records("flights")[0]
        assert (now.labelled, now.reports["performance"]) == (30, {"verdict": 30})
        assert len(now.revisions) == 20
        assert now.revisions[0]["reports"] == {"performance": {"verdict": "none"}}
        assert now.revisions[-1]["reports"] == {"performance": {"verdict": 29}}
        assert now.revisions[-1]["labelled"] == 29
        with pytest.raises(MissingError, match="no window"):
            store.revise("0" * 64, reports={}, labelled=0, reason="")


HOLDER = """
import sys, time
from pipelines.windows import Windows
with Windows.open(sys.argv[1]) as store, store.lease("flights", seconds=3600):
    print("held", flush=True)
    time.sleep(600)
"""


def test_one_monitor_at_a_time_and_a_killed_one_is_none(url: str) -> None:
    """A second monitor is turned away while the first lives, and let in after kill -9."""
    child = subprocess.Popen([sys.executable, "-c", HOLDER, url], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    with Windows.open(url) as store:
        with (
            pytest.raises(ServiceError, match=f"process {child.pid} "),
            store.lease("flights", seconds=1),
        ):
            raise AssertionError
        with store.lease("trains", seconds=1):
            pass
        child.send_signal(signal.SIGKILL)
        child.wait()
        for _ in range(2):
            with store.lease("flights", seconds=1):
                pass


def test_what_another_machine_holds_ends_by_itself(url: str) -> None:
    """A lease of another machine holds until its time is up."""
    for until, free in (("2099-01-01 00:00:00", False), ("2013-01-01 00:00:00", True)):
        with Windows.open(url) as store:
            with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
                connection.execute("delete from tidegate_monitors")
                connection.execute(
                    "insert into tidegate_monitors values ('flights', 'elsewhere', 1, 1.0, ?)",
                    (f"{until}.000000",),
                )
            refused = nullcontext() if free else pytest.raises(ServiceError, match="elsewhere")
            with refused, store.lease("flights", seconds=1):
                assert free


@pytest.mark.slow
def test_windows_on_postgres(postgres: str) -> None:
    """A real Postgres keeps, refuses and revises windows as SQLite does."""
    with Windows.open(postgres) as store, store.lease("flights", seconds=60):
        assert store.add(record())
        assert not store.add(record())
        store.revise(record().id, reports={}, labelled=1, reason="late labels")
        assert [r.labelled for r in store.records("flights")] == [1]


@pytest.mark.slow
def test_two_monitors_in_one_instant(postgres: str) -> None:
    """Of two that find no lease, the later is turned away as from one that is held."""
    with (
        Windows.open(postgres) as store,
        sa.create_engine(postgres, poolclass=sa.NullPool).connect() as other,
    ):
        other.execute(
            sa.text(
                "insert into tidegate_monitors "
                "values ('flights', 'elsewhere', 1, 1.0, '2099-01-01')"
            )
        )
        # The second waits for the first's row, which it cannot see yet.
        threading.Timer(1.0, other.commit).start()
        with (
            pytest.raises(ServiceError, match="One monitor of a model"),
            store.lease("flights", seconds=1),
        ):
            raise AssertionError
