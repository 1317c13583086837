"""Where a version stands, read from the ledger alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.approval import question
from pipelines.ledger import Entry

DEADLINE = datetime(2026, 12, 1, 10, tzinfo=UTC)
PASSED = ("verdict", {"verdict": "passed"})
REFUSED = ("verdict", {"verdict": "failed"})
WAITING = ("waiting", {"deadline": DEADLINE.isoformat()})


def entries(*happened: Any, version: str = "3") -> list[Entry]:
    found = []
    for number, each in enumerate(happened):
        event, details = each if isinstance(each, tuple) else (each, {})
        time = DEADLINE - timedelta(days=9) + timedelta(hours=number)
        found.append(Entry(str(number), time, event, version, "Ada", "", details, "", ""))
    return found


@pytest.mark.parametrize(
    ("happened", "state"),
    [
        ((), "not judged"),
        ((PASSED,), "passed"),
        ((REFUSED,), "refused"),
        ((("verdict", {}),), "refused"),
        ((PASSED, WAITING), "waiting"),
        ((PASSED, WAITING, "approved", "promoting", "promoted"), "approved"),
        ((REFUSED, "override", "promoting", "withdrawn"), "approved"),
        ((PASSED, WAITING, "rejected"), "rejected"),
        ((PASSED, WAITING, "expired"), "expired"),
        ((PASSED, WAITING, "rejected", PASSED), "passed"),
        ((PASSED, WAITING, "rejected", REFUSED), "refused"),
        ((PASSED, WAITING, "expired", PASSED, WAITING), "waiting"),
    ],
)
def test_the_last_verdict_opens_the_question(happened: Any, state: str) -> None:
    """What was answered before it counts no more."""
    assert question(entries(*happened), "3").state == state


def test_another_version_is_another_question() -> None:
    """An approval of one lets no other serve."""
    both = entries(PASSED, WAITING, "approved", version="2") + entries(PASSED, WAITING)
    assert question(both, "3").state == "waiting"
    assert question(both, "2").state == "approved"


def test_it_is_late_only_while_it_waits_and_after_the_deadline() -> None:
    """An answer in time stays one for ever."""
    waiting = question(entries(PASSED, WAITING), "3")
    assert waiting.deadline == DEADLINE
    assert not waiting.late(DEADLINE)
    assert waiting.late(DEADLINE + timedelta(seconds=1))
    answered = question(entries(PASSED, WAITING, "approved"), "3")
    assert not answered.late(DEADLINE + timedelta(days=1))


def test_a_gate_that_was_cut_short_takes_the_verdict_back() -> None:
    """After another look at the sealed rows for a run, its earlier verdict is none any more."""
    look, passed = ("look", {"run_id": "a"}), ("verdict", {"verdict": "passed", "run_id": "a"})
    refused = ("verdict", {"verdict": "failed", "run_id": "a"})
    assert question(entries(look, passed), "3").state == "passed"
    assert question(entries(look, passed, WAITING, look), "3").state == "not judged"
    assert question(entries(passed, ("look", {"run_id": "b"})), "3").state == "passed"
    assert question(entries(look, passed, look, refused), "3").state == "refused"
