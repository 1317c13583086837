"""The page says what the report says, whatever stands in it, and needs nothing else."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.render import to_html
from checks.render.html import MAXIMUM_BYTES, MAXIMUM_CLASSES
from checks.result import CheckResult, Report, Status

PROPERTY = settings(deadline=None, max_examples=50)
Example = Callable[..., Report]


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


def text_of(page: str) -> str:
    """Return what a reader of the page reads, in one line."""
    return " ".join(Page(page[page.index("<body>") :]).text.split())


def with_(report: Report, **facts: Any) -> Report:
    """Change a report's facts."""
    return Report(report.name, report.checks, {**report.facts, **facts})


@pytest.mark.parametrize(
    ("statuses", "headline"),
    [
        ([Status.PASSED], "Passed"),
        ([Status.PASSED, Status.FIRST_MODEL], "Passed"),
        ([Status.PASSED, Status.FAILED], "Failed"),
        ([Status.PASSED, Status.ERROR], "Could not be judged"),
        ([Status.FAILED, Status.ERROR], "Failed, and not judged in full"),
    ],
)
def test_the_verdict_comes_first(statuses: list[Status], headline: str) -> None:
    """The heading of the page is the verdict."""
    page = to_html(Report("gate", tuple(CheckResult("a", "c", status) for status in statuses)))
    assert page.index(headline) < page.index("<table")
    assert f"</svg>{headline}</h1>" in page


@pytest.mark.parametrize("status", [None, Status.FIRST_MODEL, Status.NOT_APPLICABLE])
def test_a_report_in_which_nothing_was_judged_is_not_green(status: Status | None) -> None:
    """Nothing judged is the first thing said, and no sign of a pass stands beside it."""
    checks = () if status is None else (CheckResult("champion", "As good", status),)
    page = to_html(Report("gate", checks))
    assert "No check was judged, so nothing is known" in page
    assert '<h1><svg class="icon error"' in page


@pytest.mark.parametrize("kind", ["good", "refused", "error", "first"])
def test_every_check_is_shown_with_what_it_rests_on(example: Example, kind: str) -> None:
    """Id, claim, status, limit, value, both ends of the interval and the sentence are there."""
    report = example(kind)
    page = text_of(to_html(report))
    for check in report.checks:
        assert check.id in page
        assert check.reason in page
        if check.status is not Status.NOT_APPLICABLE:
            assert check.claim in page
            assert str(check.status) in page
        for value in (check.observed, check.limit, *(check.interval or ())):
            assert not isinstance(value, float) or f"{value:.4f}" in page


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("good", "promote: better than version 4 by "),
        ("refused", "keep: no better than version 4: a difference of −"),
        ("error", "error: version 4 could not be compared with, which refuses."),
        ("first", "first model: no champion serves yet, so the other rules decide."),
    ],
)
def test_the_champion_and_the_look_stand_under_the_verdict(
    example: Example, kind: str, said: str
) -> None:
    """The header says how the comparison came out and how often the rows were read."""
    page = to_html(example(kind))
    header = text_of(page[: page.index("</header>")])
    assert said in header
    assert ("First look at this test set." in header) is (kind == "first")


def test_what_does_not_apply_is_folded_below_the_others(mixed: Report) -> None:
    """A check that does not apply stands in a part that is closed at first."""
    page = to_html(mixed)
    folded = page[page.index("<details>") : page.index("</details>")]
    assert "1 check does not apply" in folded
    assert "No costs are set." in folded
    assert "There is none yet." not in folded
    assert "No costs are set." not in page.replace(folded, "")


def test_many_checks_that_hold_are_folded_and_refusals_never() -> None:
    """Of a hundred checks the refusal at the end is at the top, the last that hold are folded."""
    holds = [CheckResult(f"r{n:03}", "c", Status.PASSED, 0.5, 0.4) for n in range(99)]
    last = CheckResult("last", "c", Status.FAILED, 0.3, 0.4, reason="too low")
    page = to_html(Report("gate", (*holds, last)))
    table = page[page.index("<table") : page.index("<details>")]
    assert table.index("last") < table.index("r000")
    assert "60 more checks that hold" in page


def test_the_page_needs_nothing_else(example: Example) -> None:
    """The page names no script, style, picture or address outside itself."""
    page = to_html(example("good"))
    tags = Page(page).tags
    assert not {tag for tag, _ in tags} & {"script", "link", "img", "iframe", "object", "base"}
    assert not [attrs for _, attrs in tags if {"src", "href", "action"} & set(attrs)]
    assert not [name for _, attrs in tags for name in attrs if name.startswith("on")]
    assert not re.search(r"https?:|url\(|@import", page)


def test_the_page_is_made_for_light_dark_narrow_and_paper(mixed: Report) -> None:
    """Both colour schemes are declared, and the small screen and the printer have their rules."""
    page = to_html(mixed)
    assert '<meta name="color-scheme" content="light dark">' in page
    for rule in ("prefers-color-scheme: dark", "max-width: 760px", "@media print"):
        assert rule in page


def test_the_pictures_are_well_formed_and_titled(example: Example) -> None:
    """Each SVG is XML, and has a title unless the number that it draws stands beside it."""
    for report in (example("good"), example("refused", 25)):
        drawings = re.findall(r"<svg.*?</svg>", to_html(report), re.S)
        kinds = set()
        for drawing in drawings:
            root = ElementTree.fromstring(drawing)
            kinds.add(root.attrib["class"].split()[0])
            title = root.find("title")
            named = root.attrib.get("role") == "img" and title is not None and title.text
            assert named or root.attrib.get("aria-hidden") == "true"
            for node in root.iter():
                assert "nan" not in " ".join(node.attrib.values())
        assert {"icon", "gauge", "strip", "flips", "plot"} <= kinds


def test_the_matrices_are_counts_and_shares_of_both_models(example: Example) -> None:
    """A row of a table of shares is that of the counts divided by its sum, for either model."""
    report = example("good", 3)
    page = text_of(to_html(report))
    for counts in (report.facts["confusion"], report.facts["champion"]["confusion"]):
        for row in counts:
            for count in row:
                assert f"{count:,}" in page
                assert f"{count / sum(row):.3f}" in page
    for caption in ("Candidate: rows", "Champion, version 4: share of the true class"):
        assert caption in page


def test_a_class_without_rows_has_no_share() -> None:
    """A share of nothing is a dash and not a division by zero."""
    report = Report("gate", (), {"labels": ["a", "b"], "confusion": [[0, 0], [1, 1]]})
    assert "<td class=o>–" in to_html(report)


def test_many_classes_are_a_picture_with_the_largest_confusions() -> None:
    """From a width on the cells are drawn, and the one that holds most wrong rows is named."""
    k = MAXIMUM_CLASSES + 1
    counts = 50 * np.eye(k, dtype=int)
    counts[3, 7] = 21
    page = to_html(Report("gate", (), {"labels": [f"c{n}" for n in range(k)], "confusion": counts}))
    assert '<g class="heat"' in page
    assert "<tr><td>c3<td>c7<td class=n>21<td class=n>0.296" in page
    assert "Every cell in numbers" in page


def test_an_answer_that_is_no_class_here_has_a_column() -> None:
    """A champion that knows another class has one column more, and is drawn."""
    champion = {"verdict": "promote", "version": "4", "confusion": [[5, 1, 2], [0, 7, 1]]}
    facts = {"labels": ["a", "b"], "confusion": [[8, 0], [0, 8]], "champion": champion}
    assert "(another class)" in to_html(Report("gate", (), facts))


def test_flips_segments_and_slices_are_shown(example: Example) -> None:
    """Counts, examples, and each part's name, rows and shares are on the page."""
    report = example("good")
    champion = report.facts["champion"]
    page = text_of(to_html(report))
    assert f"harmful {champion['harmful']} helpful {champion['helpful']}" in page.replace(
        f"harmful {champion['harmful']}helpful", f"harmful {champion['harmful']} helpful"
    )
    assert "Only the candidate has right: UA-1545-0101, B6-725" in page
    for part in (*champion["segments"], *report.facts["slices"]):
        assert part["slice"] in page
        assert f"{part['rows']:,}" in page
    assert "0.740" in page
    assert "0.8100" in page


def test_reliability_and_curves_are_drawn(example: Example) -> None:
    """The bins that hold rows are points with their count, the curves have name and area."""
    report = example("good")
    page = text_of(to_html(report))
    for each in report.facts["reliability"]["bins"]:
        assert not each["rows"] or str(each["rows"]) in page
    assert "expected calibration error 0.0182, Brier 0.0871" in page
    area = report.facts["curves"]["late"]["roc"]["area"]
    assert f"late · area {area:.3f}" in page
    for axis in ("false positive rate", "true positive rate", "recall", "precision", "confidence"):
        assert axis in page


def test_an_override_stands_under_the_verdict(example: Example) -> None:
    """Who let a refused model through, and why, is said before anything else."""
    report = with_(example("refused"), override={"by": "Ada", "reason": "the route is closed"})
    page = to_html(report)
    header = text_of(page[: page.index("</header>")])
    assert "Let through by Ada, against the verdict: the route is closed" in header


def test_no_attack_breaks_out(attack: str, hostile: Callable[[str], Report]) -> None:
    """Whatever a class or a value is called, it stays text."""
    page, plain = Page(to_html(hostile(attack))), Page(to_html(hostile("x")))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    to_html(hostile(attack)).encode()


@PROPERTY
@given(text=st.text(max_size=40))
def test_any_text_is_text(hostile: Callable[[str], Report], text: str) -> None:
    """The page keeps its shape for any text at all."""
    tags = [tag for tag, _ in Page(to_html(hostile(text))).tags]
    assert tags == [tag for tag, _ in Page(to_html(hostile("x"))).tags]


@pytest.mark.parametrize(
    ("status", "letter", "count"),
    [
        (Status.FAILED, "x", 10),
        (Status.PASSED, '"', 100),
        # Six bytes in the page.
        *((status, '"', 1000) for status in Status),
        (Status.FAILED, "\N{PILE OF POO}", 10**9),
    ],
)
def test_the_largest_report_stays_below_a_megabyte(
    status: Status, letter: str, count: int, worst: Callable[..., Report]
) -> None:
    """The page's size is bounded for a hundred dense classes and a thousand endless rules."""
    page = to_html(worst(status, letter, count))
    assert len(page.encode()) < MAXIMUM_BYTES
    assert "the one" in page
    assert "more that hold" in page or status is not Status.PASSED


def test_a_hundred_classes_keep_every_cell(example: Example) -> None:
    """An ordinary report of a hundred classes has its matrix in numbers, and room to spare."""
    page = to_html(example("good", 100))
    assert "Every cell in numbers" in page
    assert len(page.encode()) < MAXIMUM_BYTES / 2


def test_more_classes_than_can_be_drawn_are_named_by_their_largest_confusions() -> None:
    """A matrix of a thousand classes costs the page no megabytes."""
    k = 1000
    counts = np.eye(k, dtype=int)
    counts[0, 1] = 9
    facts = {"labels": [str(n) for n in range(k)], "confusion": counts}
    page = to_html(Report("gate", (), facts))
    assert len(page) < 30_000
    assert "<tr><td>0<td>1<td class=n>9" in page
