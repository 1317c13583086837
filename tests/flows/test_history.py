"""Which version served when, and why."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flows.history import history
from flows.project import Project
from pipelines.errors import InputError

Command = Callable[..., Any]


@pytest.mark.slow
def test_history_says_what_served_and_why(tidegate: Command, registry: Any) -> None:
    """The verdict with its rules, who let it serve, and what it was made of."""
    registry.judged()
    assert tidegate("deploy", "--project", registry.folder).code == 0
    before = datetime.now(UTC).isoformat()
    refused = registry.judged("failed")
    signed = ("--by", "Ada", "--reason", "customers wait")
    assert tidegate("approve", "2", *signed, "--project", registry.folder).code == 0
    document = tidegate("history", "--project", registry.folder, "--json").document
    assert document["intact"] is True
    assert [(e["event"], e["version"]) for e in document["entries"]] == [
        ("promoted", "2"),
        ("promoting", "2"),
        ("override", "2"),
        ("verdict", "2"),
        ("promoted", "1"),
        ("promoting", "1"),
        ("verdict", "1"),
    ]
    at = ("history", "--project", registry.folder, "--json", "--at")
    first = tidegate(*at, before).document["served"]
    assert (first["version"], first["verdict"], first["answer"]) == ("1", "passed", None)
    now = tidegate(*at, datetime.now(UTC).date().isoformat()).document["served"]
    assert (now["version"], now["verdict"], now["replaced"]) == ("2", "failed", "1")
    assert now["rules"] == {"accuracy": "failed"}
    assert now["refused_by"] == ["accuracy"]
    assert (now["answer"]["event"], now["answer"]["who"]) == ("override", "Ada")
    assert now["run_id"] == refused.run_id
    assert len(now["data"]) == len(now["sealed"]) == 64
    said = tidegate("history", "--project", registry.folder, "--at", "2030-01-01").out
    assert now["data"] in said
    assert "override by Ada: customers wait" in said


def test_before_the_first_promotion_nothing_served(registry: Any) -> None:
    """That is an answer, and no error; so is a project in which nothing has happened."""
    project = Project.load(registry.folder)
    assert history(project)["entries"] == []
    assert history(project, "2020-01-01")["served"] is None


@pytest.mark.parametrize("said", ["yesterday", "2026-13-01", "2026-1-1", "", "01.02.2026"])
def test_what_is_no_date_is_told(registry: Any, said: str) -> None:
    """--at is not guessed."""
    with pytest.raises(InputError, match="takes a date"):
        history(Project.load(registry.folder), said)


def test_a_date_is_the_end_of_that_day_in_utc(registry: Any) -> None:
    """What was promoted in the course of a day served on that day, wherever the reader is."""
    tracker = registry.tracker
    entry = tracker.ledger("flights").append(
        "promoted", version="1", details={"alias": "champion", "from": None}
    )
    project = Project.load(registry.folder)
    day = entry.time.date()
    assert history(project, day.isoformat())["served"]["version"] == "1"
    assert history(project, (day - timedelta(days=1)).isoformat())["served"] is None
    early = (entry.time - timedelta(seconds=1)).replace(tzinfo=None).isoformat()
    assert history(project, early)["served"] is None
    east = (entry.time + timedelta(hours=9, seconds=1)).isoformat()[:19] + "+09:00"
    assert history(project, east)["served"]["version"] == "1"


def test_a_clock_that_was_set_back_hides_no_verdict(
    registry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written before counts as earlier, whatever the time beside it says."""
    ledger = registry.tracker.ledger("flights")
    ledger.append("verdict", version="1", details={"verdict": "passed"})

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) - timedelta(hours=1)

    monkeypatch.setattr("pipelines.ledger.datetime", Earlier)
    ledger.append("promoted", version="1", details={"alias": "champion", "from": None})
    served = history(Project.load(registry.folder), "2100-01-01")["served"]
    assert served["verdict"] == "passed"
