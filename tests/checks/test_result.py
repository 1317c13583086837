"""The words that every check speaks."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.result import MAXIMUM_TEXT, CheckResult, Report, Status, report_schema

PROPERTY = settings(deadline=None, max_examples=50)

TEXT = st.text(max_size=20)
VALUE = st.none() | st.integers() | st.floats() | TEXT
JSON = st.recursive(
    VALUE | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
CHECKS = st.builds(
    CheckResult,
    id=TEXT,
    claim=TEXT,
    status=st.sampled_from(Status),
    observed=VALUE,
    limit=VALUE,
    reason=st.text(max_size=600),
    details=st.dictionaries(TEXT, JSON, max_size=3),
    interval=st.none() | st.tuples(st.floats(), st.floats()),
)
REPORTS = st.builds(
    Report, name=TEXT, checks=st.lists(CHECKS, max_size=5), facts=st.dictionaries(TEXT, JSON)
)


def result(status: Status) -> CheckResult:
    """Give a check that came to a status."""
    return CheckResult("a", "claim", status, reason="why")


@PROPERTY
@given(REPORTS)
def test_a_report_round_trips_through_strict_json(report: Report) -> None:
    """What is written to JSON, which knows no NaN, is the same report when read again."""
    text = json.dumps(report.to_dict(), allow_nan=False)
    read = Report.from_dict(json.loads(text))
    assert read == report
    assert read.verdict is report.verdict


@PROPERTY
@given(REPORTS, st.sampled_from([Status.FAILED, Status.ERROR]), st.integers(0, 5))
def test_adding_a_refusal_never_helps(report: Report, status: Status, place: int) -> None:
    """No other check makes up for one that refuses, wherever it stands."""
    checks = list(report.checks)
    checks.insert(place, result(status))
    assert not Report("gate", tuple(checks)).passed


@PROPERTY
@given(REPORTS)
def test_a_verdict_and_its_reasons_agree(report: Report) -> None:
    """A report that does not pass says why, and one that passes has nothing to say."""
    assert bool(report.reasons) is not report.passed


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ([], Status.ERROR),
        ([Status.NOT_APPLICABLE], Status.ERROR),
        ([Status.FIRST_MODEL, Status.NOT_APPLICABLE], Status.ERROR),
        ([Status.PASSED, Status.FIRST_MODEL], Status.PASSED),
        ([Status.FAILED, Status.FIRST_MODEL], Status.FAILED),
        ([Status.PASSED, Status.NOT_APPLICABLE], Status.PASSED),
        ([Status.PASSED, Status.FAILED], Status.FAILED),
        ([Status.FAILED, Status.ERROR, Status.PASSED], Status.ERROR),
    ],
)
def test_the_verdict_is_the_worst_that_was_found(found: list[Status], verdict: Status) -> None:
    """An error outranks a failure, a failure a pass; nothing judged is an error."""
    assert Report("gate", tuple(map(result, found))).verdict is verdict


def test_a_misspelt_status_is_refused() -> None:
    """A status outside the five would count neither as a pass nor as a refusal."""
    with pytest.raises(ValueError, match="fail"):
        CheckResult("a", "claim", "fail")  # type: ignore[arg-type]


def test_a_forged_verdict_is_not_read_back() -> None:
    """The verdict in a stored report is worked out from its checks, not believed."""
    stored = Report("gate", (result(Status.FAILED),)).to_dict() | {"verdict": "passed"}
    assert Report.from_dict(stored).verdict is Status.FAILED


def test_a_reason_is_bounded() -> None:
    """A reason that quotes a megabyte is cut."""
    check = CheckResult("a", "claim", Status.FAILED, reason="x" * 1_000_000)
    assert len(check.reason) == MAXIMUM_TEXT
    assert check.reason.endswith("…")


def test_foreign_values_become_json() -> None:
    """Arrays, numpy scalars, NaN and dates are kept as JSON has them."""
    check = CheckResult(
        "a",
        "claim",
        Status.PASSED,
        observed=np.float32(0.5),  # type: ignore[arg-type]
        limit=float("nan"),
        details={"rows": np.array([1, 2]), "when": date(2026, 1, 2), 3: (np.bool_(True),)},
    )
    assert check.observed == 0.5
    assert type(check.observed) is float
    assert check.limit == "nan"
    assert check.details == {"rows": [1, 2], "when": "2026-01-02", "3": [True]}


PUBLISHED = Path(__file__).parents[2] / "docs" / "gate-report.schema.json"

VALID: Any = jsonschema.Draft202012Validator(report_schema())


@pytest.mark.checkout
def test_the_published_schema_is_the_functions() -> None:
    """docs/gate-report.schema.json is what `report_schema` gives, and a schema."""
    jsonschema.Draft202012Validator.check_schema(report_schema())
    written = json.dumps(report_schema(), indent=2) + "\n"
    assert PUBLISHED.read_text() == written, f"the file must hold:\n{written}"


@PROPERTY
@given(REPORTS)
def test_every_report_is_valid_by_the_schema(report: Report) -> None:
    """Whatever checks came to, what is written to JSON is what the schema promises."""
    VALID.validate(json.loads(json.dumps(report.to_dict(), allow_nan=False)))


@pytest.mark.parametrize(
    "change",
    [
        lambda report: report.update(extra=1),
        lambda report: report.pop("verdict"),
        lambda report: report.update(verdict="first model"),
        lambda report: report["checks"][0].update(extra=1),
        lambda report: report["checks"][0].pop("interval"),
        lambda report: report["checks"][0].update(status="fail"),
        lambda report: report["checks"][0].update(interval=[0.1]),
        lambda report: report["checks"][0].update(observed=[0.1]),
        lambda report: report["checks"][0].update(reason="x" * (MAXIMUM_TEXT + 1)),
    ],
)
def test_the_schema_is_closed(change: Any) -> None:
    """A key more, a key less, another word or another shape is no report."""
    report = Report("gate", (result(Status.PASSED),)).to_dict()
    VALID.validate(report)
    change(report)
    assert not VALID.is_valid(report)
