"""What a person at the terminal reads."""

import re
from typing import Any

import pytest

from checks.result import CheckResult, Report, Status
from flows.outcome import Outcome
from flows.terminal import show_outcome

CHAMPION = {
    "verdict": "keep",
    "version": "4",
    "difference": -0.0114,
    "interval": [-0.023, -0.0004],
    "helpful": 20,
    "harmful": 61,
    "p": 0.0000061,
}


def check(id_: str, status: Status, **values: Any) -> CheckResult:
    """Give a check with a value, an interval and a limit."""
    found = {"observed": 0.8912, "limit": 0.87, "interval": (0.8799, 0.9016)} | values
    return CheckResult(id_, "claim", status, details={"relation": "at least"}, **found)


REPORT = Report(
    "gate",
    (
        check("accuracy", Status.PASSED, reason="accuracy: 0.8912."),
        check("champion", Status.FIRST_MODEL, observed=None, limit=None, interval=None),
        check("cost", Status.NOT_APPLICABLE, reason="No costs are set."),
        check("size", Status.NOT_APPLICABLE, reason="No size is set."),
        check("recall[late]", Status.FAILED, reason="It is [bold]too[/bold] much."),
    ),
    {"look": 3, "champion": CHAMPION},
)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Print a report on a terminal of some columns, and give the lines."""

    def show(report: Report, columns: int = 80) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        show_outcome("gate", Outcome(report.verdict, report.reasons, judged=(report,)))
        return capsys.readouterr().out.splitlines()

    return show


@pytest.mark.parametrize("columns", [60, 80, 130])
def test_no_line_is_wider_than_the_terminal_and_no_id_is_cut(shown: Any, columns: int) -> None:
    """A long id is folded: each of its letters is in the table, and in the reason below."""
    report = Report("gate", (check(f"recall[{'x' * 90}]", Status.FAILED, reason="low"),))
    lines = shown(report, columns)
    assert max(map(len, lines)) <= columns
    end = lines.index("gate: failed")
    assert "".join(lines[:end]).count("x") == 90
    assert "".join(lines[end:]).count("x") == 90


def test_value_interval_and_limit_stand_in_a_row_refusals_first(shown: Any) -> None:
    """The first row is what refuses; a row has status, id, value, limit, and below the interval."""
    lines = shown(REPORT)
    rows = [line.split() for line in lines[2:]]
    assert rows[0][0] == "failed"
    assert rows[0][-3:] == ["0.8912", "≥", "0.8700"]
    place = next(n for n, row in enumerate(rows) if row[0] == "passed")
    assert rows[place] == ["passed", "accuracy", "0.8912", "≥", "0.8700"]
    assert rows[place + 1] == ["0.8799", "to", "0.9016"]
    assert ["first", "model", "champion", "–", "–"] in rows


def test_a_wide_terminal_has_room_for_what_was_found(shown: Any) -> None:
    """The sentence is in the table where it fits, as it stands, its brackets included."""
    wide, narrow = "\n".join(shown(REPORT, 130)), "\n".join(shown(REPORT, 80))
    assert "accuracy: 0.8912." in wide
    assert "accuracy: 0.8912." not in narrow
    assert narrow.count("[bold]too[/bold]") == 1
    assert wide.count("[bold]too[/bold]") == 2


def test_what_does_not_apply_is_one_line(shown: Any) -> None:
    """Checks that do not apply are counted, and not listed."""
    lines = shown(REPORT)
    assert "2 checks do not apply; the report says why" in lines
    assert not [line for line in lines if "cost" in line]


def test_champion_look_and_override_follow_the_table(shown: Any) -> None:
    """The comparison is said in a sentence, and how often the rows were read."""
    override = {"by": "Ada", "reason": "the route is closed"}
    report = Report("gate", REPORT.checks, {**REPORT.facts, "override": override})
    text = " ".join(shown(report, 130))
    assert "keep: no better than version 4: a difference of −0.0114 (−0.0230 to −0.0004)" in text
    assert "Third look at this test set: each look makes a lucky pass likelier." in text
    assert "Let through by Ada, against the verdict: the route is closed" in text


def test_many_checks_that_hold_are_a_number(shown: Any) -> None:
    """A contract of a hundred rules that hold is one line; what refuses among them is a row."""
    holds = [check(f"r{n}", Status.PASSED) for n in range(99)]
    assert "data: 99 checks passed" in shown(Report("data", tuple(holds)))
    lines = shown(Report("data", (*holds, check("last", Status.FAILED, reason="no"))))
    assert lines[2].split()[:2] == ["failed", "last"]
    assert "… and 60 more that hold" in lines


def test_a_value_does_not_steer_the_terminal(shown: Any) -> None:
    """An escape sequence in a class name or a reason reaches nobody's screen."""
    attack = "\x1b]0;owned\x07\x1b[2J"
    report = Report(
        attack,
        (check(attack, Status.FAILED, reason=attack, observed=attack, limit=attack),),
        {"champion": {"verdict": attack}, "override": {"by": attack, "reason": attack}},
    )
    assert not re.search("[\x00-\x08\x0b-\x1f]", "".join(shown(report, 130)))
