"""What a pull request shows is what the report says, and fits into a comment."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.render import to_markdown
from checks.render.markdown import MAXIMUM_BYTES, MAXIMUM_CLASSES
from checks.result import CheckResult, Report, Status

PROPERTY = settings(deadline=None, max_examples=50)


def test_verdict_champion_and_reasons_come_first(example: Callable[..., Report]) -> None:
    """A reader who stops at the first table knows the verdict, and why."""
    report = example("refused")
    lead = to_markdown(report)[: to_markdown(report).index("\n| | check")]
    assert lead.startswith("## ❌ gate: failed\n")
    assert "**keep**: no better than version 4" in lead
    assert "Third look at this test set" in lead
    for check in report.refusals:
        assert f"- `{check.id}`: " in lead


def test_every_judged_check_is_a_row_with_its_interval(mixed: Report) -> None:
    """The table has mark, id, value with interval, limit and sentence, in the report's order."""
    rows = [line for line in to_markdown(mixed).splitlines() if re.match(r"\| [✅❌⚠🆕➖]", line)]
    assert rows == [
        "| ✅ | `accuracy` | 0.8912 | ≥ 0.8700 | accuracy is 0.8912. |",
        "| ❌ | `confusion[late -> on_time]` | 0.4100 (0.3800 to 0.4410) | ≤ 0.3000 "
        "| Of 987 rows truly late, 405 predicted on\\_time. |",
        "| ⚠️ | `recall[lat]` | – | 0.7000 | no class lat |",
        "| 🆕 | `champion` | – | – | There is none yet. |",
    ]


def test_what_does_not_apply_is_folded(mixed: Report) -> None:
    """Checks that do not apply stand below, in a part that is closed at first."""
    markdown = to_markdown(mixed)
    folded = markdown[markdown.index("<details>") : markdown.index("</details>")]
    assert "<summary>1 check does not apply</summary>" in folded
    assert "<li><code>cost</code> No costs are set.</li>" in folded
    # An empty line would end the block of HTML.
    assert "\n\n" not in folded
    assert "cost" not in markdown.replace(folded, "")


def test_the_matrix_has_counts_and_the_share_that_is_found(mixed: Report) -> None:
    """Each true class is a row, its own column is bold, and its recall ends the row."""
    markdown = to_markdown(mixed)
    assert "| `late` | **582** | 405 | 0.590 |" in markdown
    assert "| `on_time` | 54 | **2,079** | 0.975 |" in markdown


def test_a_class_without_rows_has_no_share() -> None:
    """A share of nothing is a dash and not a division by zero."""
    report = Report("gate", (), {"labels": ["a", "b"], "confusion": [[0, 0], [1, 1]]})
    assert "| `a` | **0** | 0 | – |" in to_markdown(report)


def test_a_matrix_too_wide_is_left_out() -> None:
    """GitHub scrolls no table, so a matrix of many classes is for the page alone."""
    k = MAXIMUM_CLASSES + 1
    facts = {"labels": [str(n) for n in range(k)], "confusion": np.eye(k, dtype=int)}
    assert "Confusion matrix" not in to_markdown(Report("gate", (), facts))


def test_no_attack_breaks_out(attack: str, hostile: Callable[[str], Report]) -> None:
    """Whatever a class or a value is called, no line is added or lost."""
    markdown = to_markdown(hostile(attack))
    assert len(markdown.splitlines()) == len(to_markdown(hostile("x")).splitlines())
    markdown.encode()


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
def test_prose_has_no_markup(reason: str, shown: str) -> None:
    """Neither a cell's border nor a link, a mention or an issue comes out of a reason."""
    report = Report("gate", (CheckResult("a", "c", Status.FAILED, reason=reason),))
    assert to_markdown(report).count(shown) == 2


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("a</li></details><b>x", "a&lt;/li&gt;&lt;/details&gt;&lt;b&gt;x"),
        ("ask @octocat about #12", "ask @\N{WORD JOINER}octocat about #\N{WORD JOINER}12"),
        ("http://evil.example", "http:\N{WORD JOINER}//evil.example"),
        ("it's\n\n# so", "it&#x27;s # so"),
    ],
)
def test_the_folded_part_has_no_markup(reason: str, shown: str) -> None:
    """What stands in the block of HTML cannot close it, link or mention."""
    report = Report("gate", (CheckResult("a", "c", Status.NOT_APPLICABLE, reason=reason),))
    assert f"<li><code>a</code> {shown}</li>" in to_markdown(report)


@PROPERTY
@given(text=st.text(max_size=40))
def test_any_text_is_one_row(hostile: Callable[[str], Report], text: str) -> None:
    """The table keeps its shape for any text at all."""
    markdown = to_markdown(hostile(text))
    table = [line for line in markdown.splitlines() if line.startswith("| ❌")]
    assert len(table) == 1
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", table[0])) == 6


@pytest.mark.parametrize(
    ("status", "letter"),
    [
        *((Status.FAILED, letter) for letter in ("x", "|", "\N{PILE OF POO}", '"', "@a ")),
        (Status.PASSED, "|"),
        (Status.NOT_APPLICABLE, "|"),
    ],
)
def test_a_thousand_long_rules_fit_into_a_comment(
    status: Status, letter: str, worst: Callable[..., Report]
) -> None:
    """The text is bounded, and of many checks the refusals are kept."""
    markdown = to_markdown(worst(status, letter))
    assert len(markdown.encode()) <= MAXIMUM_BYTES
    assert "| ❌ | `the one` |" in markdown
    assert re.search(r"… and \d+ more", markdown)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.87, "0.8700"), (3120, "3,120"), (None, "–"), (1.5e-9, "1.5e-09"), ("none", "none")],
)
def test_numbers_are_written_alike(value: Any, shown: str) -> None:
    """Four digits for a share, separators for a count, a dash for nothing."""
    report = Report("gate", (CheckResult("a", "c", Status.PASSED, value, value),))
    assert to_markdown(report).count(f"| {shown} ") == 2
