"""A named person lets a version serve, and that shows for ever."""

from collections.abc import Callable
from typing import Any

import pytest

Command = Callable[..., Any]
REQUIRED = ("--set", "deploy.approval=required")
SIGNED = ("--by", "Ada", "--reason", "tried on last week")

pytestmark = pytest.mark.slow


def test_an_approved_version_becomes_champion(tidegate: Command, registry: Any) -> None:
    """The challenger is one no more, and the ledger names who approved it and why."""
    registry.judged()
    assert tidegate("deploy", "--project", registry.folder, *REQUIRED).code == 0
    ended = tidegate("approve", "1", *SIGNED, "--project", registry.folder, "--json")
    assert ended.code == 0
    assert ended.document["model"] == {"name": "flights", "version": "1", "alias": "champion"}
    assert registry.aliases == {"champion": "1"}
    assert registry.events("1") == ["verdict", "waiting", "approved", "promoting", "promoted"]
    approved = registry.tracker.ledger("flights").entries()[-3]
    assert (approved.who, approved.reason) == ("Ada", "tried on last week")
    again = tidegate("approve", "1", *SIGNED, "--project", registry.folder)
    assert again.code == 2
    assert "champion already" in again.err


def test_to_approve_what_the_gate_refused_is_an_override(tidegate: Command, registry: Any) -> None:
    """It serves, its verdict stays what it was, and version, run, status and history say it."""
    judged = registry.judged("failed")
    assert tidegate("approve", "1", *SIGNED, "--project", registry.folder).code == 0
    assert registry.aliases == {"champion": "1"}
    assert registry.events("1") == ["verdict", "override", "promoting", "promoted"]
    for tags in (
        registry.tracker.version("flights", "1").tags,
        registry.tracker.run(judged.run_id).tags,
    ):
        assert tags["tidegate.override"] == "tried on last week"
        assert tags["tidegate.override_by"] == "Ada"
        assert tags["tidegate.verdict"] == "failed"
    status = tidegate("status", "--project", registry.folder, "--json").document
    assert status["champion"]["override_by"] == "Ada"
    told = tidegate("history", "--project", registry.folder)
    assert "override" in told.out


def test_an_override_is_held_against_the_champion_too(tidegate: Command, registry: Any) -> None:
    """A refused version that was judged against another champion must be judged again."""
    registry.judged("failed")
    second = registry.judged()
    assert tidegate("deploy", "--run", second.run_id, "--project", registry.folder).code == 0
    late = tidegate("approve", "1", *SIGNED, "--project", registry.folder, "--json")
    assert late.code == 1
    assert late.document["reasons"][0].startswith("champion_unchanged:")
    assert registry.events("1") == ["verdict"]


@pytest.mark.parametrize(
    ("version", "by", "reason", "said"),
    [
        ("1", " ", "fine", "--by is empty"),
        ("1", "Ada", "", "--reason is empty"),
        ("9", "Ada", "fine", "no version '9'"),
        ("champion", "Ada", "fine", "no version 'champion'"),
        ("1", "Ada", "fine", "was not deployed"),
    ],
)
def test_an_answer_that_cannot_be_given_ends_with_2(
    tidegate: Command, registry: Any, version: str, by: str, reason: str, said: str
) -> None:
    """Without a name or a reason, of an unknown version, and of one that nobody asked about."""
    registry.judged()
    ended = tidegate(
        "approve", version, "--by", by, "--reason", reason, "--project", registry.folder
    )
    assert ended.code == 2
    assert said in ended.err
    assert registry.events("1") == ["verdict"]
