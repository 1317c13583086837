"""A named person refuses a version, which then stays refused."""

from collections.abc import Callable
from typing import Any

import pytest

Command = Callable[..., Any]
SIGNED = ("--by", "Ada", "--reason", "too many false alarms")

pytestmark = pytest.mark.slow


def test_a_rejected_version_does_not_serve(tidegate: Command, registry: Any) -> None:
    """Neither an approval nor a deploy gets past it; a new verdict opens the question anew."""
    judged = registry.judged()
    required = ("--set", "deploy.approval=required")
    at = ("--project", registry.folder)
    assert tidegate("deploy", *at, *required).code == 0
    assert tidegate("reject", "1", *SIGNED, *at).code == 0
    assert registry.aliases == {}
    for verb in (["approve", "1", *SIGNED], ["reject", "1", *SIGNED], ["deploy"]):
        ended = tidegate(*verb, *at, "--json")
        assert ended.code == 1
        assert ended.document["reasons"] == [
            "approval: Ada rejected version 1: too many false alarms"
        ]
    assert registry.events("1") == ["verdict", "waiting", "rejected"]
    ledger = registry.tracker.ledger("flights")
    verdict = next(entry for entry in ledger.entries() if entry.event == "verdict")
    ledger.append("verdict", version="1", details=verdict.details)
    assert tidegate("deploy", "--run", judged.run_id, *at).code == 0
    assert registry.aliases == {"champion": "1"}


def test_what_does_not_wait_is_not_rejected(tidegate: Command, registry: Any) -> None:
    """A version that the gate refused, or that serves, ends with 2 and says so."""
    registry.judged("failed")
    refused = tidegate("reject", "1", *SIGNED, "--project", registry.folder)
    assert refused.code == 2
    assert "the gate refused it" in refused.err
    registry.judged()
    assert tidegate("deploy", "--project", registry.folder).code == 0
    assert tidegate("reject", "2", *SIGNED, "--project", registry.folder).code == 2
    assert registry.aliases == {"champion": "2"}
