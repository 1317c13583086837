"""What the gate compares with, and what it writes down."""

import json
from typing import Any

import pytest

from flows.gate import evaluate_candidate, evaluate_champion, judge_candidate, keep_report
from flows.project import Project
from flows.session import Session
from pipelines.promotion import promote
from pipelines.split import sealed_rows

ALIASES = {"alias": "champion", "previous_alias": "previous"}

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("moved_to", [None, "2"])
def test_a_champion_that_was_moved_by_hand_cannot_be_beaten(
    registry: Any, moved_to: str | None
) -> None:
    """Deleted, it makes no first model; put on a weaker version, it is no bar to pass."""
    for _ in range(2):
        judged = registry.judged()
    tracker = registry.tracker
    promote(tracker, tracker.ledger("flights"), "1", expected=None, **ALIASES)
    session = Session(Project.load(registry.folder))
    rows = sealed_rows(session.dataset)
    with session.run("gate", judged.run_id):
        assert not isinstance(evaluate_champion.fn(session, rows, "1"), str)
        tracker.point("flights", "champion", moved_to)
        why = evaluate_champion.fn(session, rows, moved_to)
    assert isinstance(why, str)
    assert "by the ledger version 1 serves" in why
    assert "tidegate rollback --to 1" in why


def test_a_champion_whose_file_was_changed_cannot_be_beaten(registry: Any) -> None:
    """A weaker model in its place would be no bar to pass."""
    judged = registry.judged()
    tracker = registry.tracker
    promote(tracker, tracker.ledger("flights"), "1", expected=None, **ALIASES)
    file = registry.model_file(judged)
    file.write_bytes(file.read_bytes() + b" ")
    session = Session(Project.load(registry.folder))
    with session.run("gate", judged.run_id):
        why = evaluate_champion.fn(session, sealed_rows(session.dataset), "1")
    assert why == "the file of version 1 is not the one that was judged"


def test_the_fast_path_is_compared_on_the_sealed_rows_and_tagged(
    registry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run keeps how far the compiled model agrees, for the server to read."""
    monkeypatch.setattr("flows.gate.create_markdown_artifact", lambda *_, **__: None)
    judged = registry.judged()
    session = Session(Project.load(registry.folder))
    rows = sealed_rows(session.dataset)
    with session.run("gate", judged.run_id):
        scored = evaluate_candidate.fn(session, rows, None)
        keep_report.fn(session, judge_candidate.fn(session, scored, 1), scored)
    tag = registry.tracker.run(judged.run_id).tags["tidegate.fast_path"]
    kept = json.loads(registry.tracker.read_file(judged.run_id, "gate/fast_path.json"))
    assert kept["agrees"]
    assert kept["rows"] >= len(rows)
    assert tag.startswith(f"agrees: {kept['rows']} rows, 0 flipped")
