"""A report's three faces say what the report says, whatever stands in it."""

import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.render import MAXIMUM_CHECKS, MAXIMUM_CLASSES, to_html, to_junit, to_markdown
from checks.result import CheckResult, Report, Status

PROPERTY = settings(deadline=None, max_examples=50)

FACES = [to_markdown, to_junit, to_html]

MIXED = Report(
    "gate",
    (
        CheckResult(
            "accuracy",
            "accuracy is at least 0.87",
            Status.PASSED,
            0.8912,
            0.87,
            "accuracy is 0.8912.",
            {"relation": "at least"},
        ),
        CheckResult(
            "confusion[late -> on_time]",
            "At most 0.3",
            Status.FAILED,
            0.41,
            0.3,
            "Of 987 rows truly late, 405 predicted on_time.",
            {"relation": "at most"},
        ),
        CheckResult("recall[lat]", "At least 0.7", Status.ERROR, None, 0.7, "no class lat"),
        CheckResult("champion", "As good", Status.NOT_APPLICABLE, reason="There is none yet."),
    ),
    {"rows": 3120, "labels": ["late", "on_time"], "confusion": [[582, 405], [54, 2079]]},
)

HOSTILE = [
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    "a|b\nc",
    "`` ` ``",
    "a\\|b\\\\|c",
    "*b* _i_ [x](http://evil.example) ![y](z) $x$ ~s~",
    "@octocat #12 www.evil.example",
    "&amp; &#0; ]]> -->",
    "nul \x00 bell \x07 \ufffe surrogate \ud800",
    "\"quoted\" 'single'",
    "",
]


class Page(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep text."""
        self.text += data


def hostile(text: str) -> Report:
    """Put one text wherever a report has text."""
    check = CheckResult(text, text, Status.FAILED, text, text, text, {"examples": [text]})
    facts = {"labels": [text, "b"], "confusion": [[1, 2], [3, 4]], "note": text, text: 1}
    return Report(text, (check,), facts)


def cases(xml: str) -> dict[str, ElementTree.Element]:
    """Return the test cases by name."""
    return {case.attrib["name"]: case for case in ElementTree.fromstring(xml).iter("testcase")}


def test_junit_is_red_where_the_report_is() -> None:
    """A failed rule is a failure, a crash an error, what does not apply is skipped."""
    xml = to_junit(MIXED)
    outcomes = {name: [child.tag for child in case] for name, case in cases(xml).items()}
    assert outcomes == {
        "accuracy": [],
        "confusion[late -> on_time]": ["failure"],
        "recall[lat]": ["error"],
        "champion": ["skipped"],
    }
    counts = {"tests": "4", "failures": "1", "errors": "1", "skipped": "1"}
    root = ElementTree.fromstring(xml)
    assert root.tag == "testsuites"
    for element in (root, root[0]):
        assert counts.items() <= element.attrib.items()


def test_junit_says_why() -> None:
    """The message is the reason, and the text gives claim, value and limit."""
    failure = cases(to_junit(MIXED))["confusion[late -> on_time]"][0]
    assert failure.attrib["message"] == "Of 987 rows truly late, 405 predicted on_time."
    assert failure.text is not None
    assert "observed: 0.4100\nlimit: ≤ 0.3000" in failure.text


@pytest.mark.parametrize(
    "checks", [(), (CheckResult("champion", "As good", Status.NOT_APPLICABLE),)]
)
def test_a_report_in_which_nothing_was_judged_is_green_nowhere(checks: Any) -> None:
    """Nothing judged is an error in JUnit, and the first thing said elsewhere."""
    report = Report("gate", checks)
    suite = ElementTree.fromstring(to_junit(report))
    assert suite.attrib["errors"] == "1"
    for face in (to_markdown(report), to_html(report)):
        assert "No check was judged, so nothing is known" in face
        assert "✅" not in face
        assert '<h1><svg class="icon passed"' not in face


@pytest.mark.parametrize("face", FACES)
def test_every_check_and_reason_is_shown(face: Any) -> None:
    """No face leaves out a check, a value or a reason."""
    shown = face(MIXED).replace("\\", "").replace("-&gt;", "->")
    for check in MIXED.checks:
        assert check.id in shown
        assert check.reason in shown or (face is to_junit and check.status is Status.PASSED)


@pytest.mark.parametrize(
    ("statuses", "headline"),
    [
        ([Status.PASSED], "Passed"),
        ([Status.PASSED, Status.FAILED], "Failed"),
        ([Status.PASSED, Status.ERROR], "Could not be judged"),
        ([Status.FAILED, Status.ERROR], "Failed, and not judged in full"),
    ],
)
def test_the_verdict_comes_first(statuses: list[Status], headline: str) -> None:
    """The heading of page and markdown is the verdict."""
    report = Report("gate", tuple(CheckResult("a", "c", status) for status in statuses))
    page = to_html(report)
    assert page.index(headline) < page.index("<table")
    assert f"</svg>{headline}</h1>" in page
    assert to_markdown(report).splitlines()[0].endswith(f"gate: {report.verdict}")


def test_the_page_needs_nothing_else() -> None:
    """The page names no script, style, picture or address outside itself."""
    page = to_html(MIXED)
    tags = Page(page).tags
    assert not {tag for tag, _ in tags} & {"script", "link", "img", "iframe", "object", "base"}
    assert not [attrs for _, attrs in tags if {"src", "href", "action"} & set(attrs)]
    assert not re.search(r"https?:|url\(|@import", page)


def test_the_page_is_made_for_light_and_dark() -> None:
    """Both colour schemes are declared."""
    page = to_html(MIXED)
    assert '<meta name="color-scheme" content="light dark">' in page
    assert "@media (prefers-color-scheme: dark)" in page


def test_the_matrix_is_shown_as_counts_and_as_shares() -> None:
    """A row of the second table is the first one's divided by its sum."""
    text = " ".join(Page(to_html(MIXED)).text.split())
    for shown in ("582", "405", "987", "2,079", "0.590", "0.410", "0.025", "0.975"):
        assert shown in text
    markdown = to_markdown(MIXED)
    assert "| `late` | **582** | 405 | 0.590 |" in markdown
    assert "| `on_time` | 54 | **2,079** | 0.975 |" in markdown


def test_a_class_without_rows_has_no_share() -> None:
    """A share of nothing is a dash and not a division by zero."""
    report = Report("gate", (), {"labels": ["a", "b"], "confusion": [[0, 0], [1, 1]]})
    assert "| `a` | **0** | 0 | – |" in to_markdown(report)
    assert "<td class=o>–" in to_html(report)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_breaks_out(text: str) -> None:
    """Whatever a class or a value is called, it stays text in each face."""
    report = hostile(text)
    plain, page = Page(to_html(hostile("x"))), Page(to_html(report))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    ElementTree.fromstring(to_junit(report))
    markdown = to_markdown(report)
    assert len(markdown.splitlines()) == len(to_markdown(hostile("x")).splitlines())
    for face in FACES:
        face(report).encode()


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("a|b", r"a\|b"),
        ("<b>x</b>", r"\<b\>x\</b\>"),
        ("ask @octocat about #12", "ask @\N{WORD JOINER}octocat about #\N{WORD JOINER}12"),
        ("see http://evil.example", r"see http:\//evil.example"),
        ("*bold* and _late_", r"\*bold\* and \_late\_"),
    ],
)
def test_markdown_has_no_markup_but_its_own(reason: str, shown: str) -> None:
    """Neither a cell's border nor a link, a mention or an issue comes out of a reason."""
    report = Report("gate", (CheckResult("a", "c", Status.FAILED, reason=reason),))
    assert to_markdown(report).count(shown) == 2


@PROPERTY
@given(st.text(max_size=40))
def test_any_text_is_rendered(text: str) -> None:
    """JUnit stays XML, and the page keeps its shape, for any text at all."""
    report = hostile(text)
    ElementTree.fromstring(to_junit(report))
    tags = [tag for tag, _ in Page(to_html(report)).tags]
    assert tags == [tag for tag, _ in Page(to_html(hostile("x"))).tags]
    table = [line for line in to_markdown(report).splitlines() if line.startswith("| ❌")]
    assert len(table) == 1
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", table[0])) == 6


def test_a_hundred_classes_and_a_thousand_rules_stay_below_a_megabyte() -> None:
    """The page's size is bounded: long names are cut, and of many rules the refusals are kept."""
    k = 100
    counts = np.random.default_rng(0).integers(0, 100_000, (k, k))
    long = "x" * 10_000
    holds = CheckResult("a" * 60, "c" * 200, Status.PASSED, 0.5, 0.4, "r" * 600)
    refuses = CheckResult("the one", "c", Status.FAILED, reason="it fails")
    facts = {"labels": [f"{n}{long}" for n in range(k)], "confusion": counts, "columns": [long] * 9}
    report = Report("gate", (*[holds] * 1000, refuses), facts)
    page = to_html(report)
    assert len(page.encode()) < 1_000_000
    assert "the one" in page
    assert f"{1001 - MAXIMUM_CHECKS:,} more that hold" in page


def test_a_matrix_too_wide_for_markdown_is_left_out() -> None:
    """GitHub scrolls no table, so a matrix of many classes is for the page alone."""
    k = MAXIMUM_CLASSES + 1
    facts = {"labels": [str(n) for n in range(k)], "confusion": np.eye(k, dtype=int)}
    report = Report("gate", (), facts)
    assert "Confusion matrix" not in to_markdown(report)
    assert "Confusion matrix" in to_html(report)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.87, "0.8700"), (3120, "3,120"), (None, "–"), (1.5e-9, "1.5e-09"), ("none", "none")],
)
def test_numbers_are_written_alike_everywhere(value: Any, shown: str) -> None:
    """Four digits for a share, separators for a count, a dash for nothing."""
    report = Report("gate", (CheckResult("a", "c", Status.PASSED, value, value),))
    assert to_markdown(report).count(f"| {shown} ") == 2
    assert to_html(report).count(f'<td class="n">{shown}') == 2
