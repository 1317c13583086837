"""JUnit XML is red where the report is, whatever stands in it."""

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.render import to_junit
from checks.result import CheckResult, Report, Status

PROPERTY = settings(deadline=None, max_examples=50)


def cases(xml: str) -> dict[str, ElementTree.Element]:
    """Return the test cases by name."""
    return {case.attrib["name"]: case for case in ElementTree.fromstring(xml).iter("testcase")}


def test_junit_is_red_where_the_report_is(mixed: Report) -> None:
    """A failed rule is a failure, a crash an error, what has nothing to judge is skipped."""
    xml = to_junit(mixed)
    outcomes = {name: [child.tag for child in case] for name, case in cases(xml).items()}
    assert outcomes == {
        "accuracy": [],
        "confusion[late -> on_time]": ["failure"],
        "recall[lat]": ["error"],
        "champion": ["skipped"],
        "cost": ["skipped"],
    }
    counts = {"tests": "5", "failures": "1", "errors": "1", "skipped": "2"}
    root = ElementTree.fromstring(xml)
    assert root.tag == "testsuites"
    for element in (root, root[0]):
        assert counts.items() <= element.attrib.items()


def test_junit_says_why(mixed: Report) -> None:
    """The message is the reason, and the text gives claim, value, interval and limit."""
    failure = cases(to_junit(mixed))["confusion[late -> on_time]"][0]
    assert failure.attrib["message"] == "Of 987 rows truly late, 405 predicted on_time."
    assert failure.text is not None
    assert "observed: 0.4100 (0.3800 to 0.4410)\nlimit: ≤ 0.3000" in failure.text


@pytest.mark.parametrize("status", [None, Status.FIRST_MODEL, Status.NOT_APPLICABLE])
def test_a_suite_in_which_nothing_was_judged_is_red(status: Status | None) -> None:
    """Nothing judged is an error, since an empty suite would be green."""
    checks = () if status is None else (CheckResult("champion", "As good", status),)
    assert ElementTree.fromstring(to_junit(Report("gate", checks))).attrib["errors"] == "1"


@PROPERTY
@given(text=st.text(max_size=40))
def test_any_text_is_xml(hostile: Callable[[str], Report], text: str) -> None:
    """JUnit stays XML for any text at all."""
    ElementTree.fromstring(to_junit(hostile(text)))


def test_every_attack_stays_text(attack: str, hostile: Callable[[str], Report]) -> None:
    """Markup in a name makes no element."""
    xml: Any = ElementTree.fromstring(to_junit(hostile(attack)))
    suite = ["testcase", "failure", "testcase", "skipped"]
    assert [node.tag for node in xml.iter()] == ["testsuites", "testsuite", *suite]
