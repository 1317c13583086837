"""Whether a version may be deployed: each claim on plain values."""

import pytest

from checks.deployment import (
    check_answer,
    check_champion_unchanged,
    check_checksum,
    check_passed_gate,
    check_same_terms,
)
from checks.result import Status


@pytest.mark.parametrize("verdict", ["failed", "error", "not applicable", "", "PASSED", None])
def test_only_a_passed_gate_passes(verdict: str | None) -> None:
    """Whatever else is kept with the candidate, or nothing, refuses."""
    assert check_passed_gate("passed").status is Status.PASSED
    assert check_passed_gate(verdict).status is Status.FAILED


def test_bytes_without_a_checksum_are_not_judged() -> None:
    """The same bytes pass, others fail, and with nothing to compare it is an error."""
    assert check_checksum("ab", "ab").status is Status.PASSED
    assert check_checksum("ab", "cd").status is Status.FAILED
    assert check_checksum("ab", None).status is Status.ERROR


@pytest.mark.parametrize(
    ("expected", "found", "rival", "status", "said"),
    [
        ("1", "1", "", Status.PASSED, "version 1"),
        (None, None, "", Status.PASSED, "none"),
        ("1", "2", "", Status.PASSED, "version 2"),
        ("1", "3", "", Status.FAILED, "Version 3 was promoted meanwhile"),
        (None, "3", "", Status.FAILED, "Version 3 was promoted meanwhile"),
        ("1", None, "", Status.FAILED, "Version 1 is the champion no more"),
        ("1", "1", "Ada (process 7 on b)", Status.FAILED, "by Ada (process 7 on b)"),
    ],
)
def test_the_champion_judged_against_is_the_one_replaced(
    expected: str | None, found: str | None, rival: str, status: Status, said: str
) -> None:
    """Version 2 may replace that one alone, or be it already."""
    result = check_champion_unchanged("2", expected, found, rival)
    assert result.status is status
    assert said in result.reason


@pytest.mark.parametrize(
    ("judged", "status"), [("ab", Status.PASSED), ("cd", Status.FAILED), (None, Status.ERROR)]
)
def test_only_a_verdict_by_the_same_settings_counts(judged: str | None, status: Status) -> None:
    """Others ask something else, and unknown ones may have asked nothing."""
    result = check_same_terms(judged, "ab")
    assert result.status is status
    assert ("tidegate gate" in result.reason) is (status is not Status.PASSED)


def test_only_an_approval_passes() -> None:
    """To wait counts neither way and says what to do; a rejection and a silence refuse."""
    waiting = check_answer("3", "waiting", deadline="2026-12-01 10:00 UTC")
    assert waiting.status is Status.NOT_APPLICABLE
    assert "tidegate approve 3 --by NAME --reason TEXT" in waiting.reason
    assert "2026-12-01 10:00 UTC" in waiting.reason
    assert check_answer("3", "approved", who="Ada", why="fine").status is Status.PASSED
    assert check_answer("3", "rejected", who="Ada", why="no").status is Status.FAILED
    assert check_answer("3", "expired", deadline="yesterday").status is Status.FAILED
