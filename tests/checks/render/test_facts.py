"""Facts are drawn where they are what they should be, and never break a face."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.render import to_html, to_junit, to_markdown
from checks.render.facts import read
from checks.render.wording import champion, look, p_value
from checks.result import Report

PROPERTY = settings(deadline=None, max_examples=200)

STRANGE = [None, True, -1, 0, 2.5, 10**400, float("nan"), "x", [], {}, [[]], [None], {"x": None}]

KNOWN = [
    *("rows", "scoring", "on", "confidence", "look", "labels", "confusion", "champion"),
    *("metrics", "reliability", "curves", "slices", "override"),
]

INNER = [
    *("verdict", "confusion", "interval", "segments", "examples", "helpful", "bins", "slice"),
    *("rows", "share", "low", "high", "roc", "fpr", "tpr", "by", "reason"),
]

ANYTHING = st.recursive(
    st.sampled_from(STRANGE[:9]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(INNER),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


def render(report: Report) -> str:
    """Give every face, one after the other."""
    return to_html(report) + to_markdown(report) + to_junit(report)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the way to each value inside a value; of a list the first item stands for all."""
    inside: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list) and value:
        inside = [(0, value[0])]
    return [path] * bool(path) + [p for key, each in inside for p in paths(each, (*path, key))]


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a value with one place in it changed."""
    if not path:
        return new
    changed = value.copy()
    changed[path[0]] = put(value[path[0]], path[1:], new)
    return changed


@pytest.mark.parametrize("strange", STRANGE, ids=lambda value: str(value)[:20])
def test_any_fact_may_be_strange(example: Callable[..., Report], strange: Any) -> None:
    """Whichever value is not what it should be, every face is rendered and the rest is drawn."""
    report = example("good")
    for path in paths(report.facts):
        changed = Report("gate", report.checks, put(report.facts, path, strange))
        shown = render(changed)
        assert "nan" not in shown or strange != strange
        assert "Every check" in shown


@pytest.mark.parametrize("cell", [None, True, -1, 0.5, "7", [1]])
def test_a_matrix_with_a_cell_that_is_no_count_is_not_drawn(cell: Any) -> None:
    """A row is never drawn with its cells moved to other classes."""
    facts = {"labels": ["a", "b"], "confusion": [[1, 2], [cell, 4]]}
    assert read(facts).matrix is None
    assert read(facts).rest == facts


@pytest.mark.parametrize("key", KNOWN)
def test_any_fact_may_be_absent(example: Callable[..., Report], key: str) -> None:
    """A report without one of the facts is rendered."""
    report = example("good")
    facts = {name: value for name, value in report.facts.items() if name != key}
    render(Report("gate", report.checks, facts))


@PROPERTY
@given(facts=st.dictionaries(st.sampled_from(KNOWN), ANYTHING))
def test_any_facts_are_rendered(facts: dict[str, Any]) -> None:
    """No facts at all make a face raise."""
    render(Report("gate", (), facts))


@pytest.mark.parametrize("key", ["confusion", "champion", "slices", "curves", "look", "override"])
def test_a_strange_fact_is_listed_as_it_stands(example: Callable[..., Report], key: str) -> None:
    """What cannot be drawn is not lost: the page lists it."""
    report = example("good")
    page = to_html(Report("gate", report.checks, {**report.facts, key: "a strange thing"}))
    assert "a strange thing" in page[page.index("What else the checks were read from") :]


def test_a_good_report_leaves_nothing_over(example: Callable[..., Report]) -> None:
    """Every fact that the gate gives is drawn, so nothing is listed twice."""
    assert not read(example("good").facts).rest


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "First look at this test set."),
        (2, "Second look at this test set: each look makes a lucky pass likelier."),
        (11, "11th look at this test set: each look makes a lucky pass likelier."),
        (22, "22nd look at this test set: each look makes a lucky pass likelier."),
        (113, "113th look at this test set: each look makes a lucky pass likelier."),
        (0, ""),
        (None, ""),
    ],
)
def test_a_look_is_counted_in_words(count: int | None, said: str) -> None:
    """The warning begins with the second look; a count that is none says nothing."""
    assert look(read({"look": count})) == said


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            {"verdict": "promote", "difference": 0.021, "interval": [0.009, 0.034]}
            | {"helpful": 61, "harmful": 20, "p": 0.0000061},
            "better than version 4 by 0.021 (0.009 to 0.034); 61 flips help, 20 harm, p = 0.000006",
        ),
        (
            {"verdict": "keep", "difference": -0.012, "interval": [-0.023, -0.001], "dropped": 1},
            "no better than version 4: a difference of −0.012 (−0.023 to −0.001); "
            "1 row that it had learned left out",
        ),
        (
            {"verdict": "keep", "difference": 0.0, "helpful": 0, "harmful": 0, "p": 1.0},
            "no better than version 4: a difference of +0.000; 0 flips help, 0 harm, p = 1.000",
        ),
        (
            {"verdict": "inconclusive", "difference": 0.0004, "helpful": 1, "harmful": 0},
            "cannot be told from version 4: a difference of +0.0004; 1 flip helps, 0 harm",
        ),
        (
            {"verdict": "too few rows", "rows": 40, "dropped": 900},
            "40 are left that version 4 has not learned; 900 rows that it had learned left out",
        ),
        ({"verdict": "error"}, "version 4 could not be compared with, which refuses"),
        ({"verdict": "first model"}, "no champion serves yet, so the other rules decide"),
        ({"verdict": "promote"}, "compared with version 4"),
    ],
)
def test_the_champions_verdict_is_a_sentence(found: dict[str, Any], said: str) -> None:
    """Each verdict has its sentence, with as much of the numbers as there is."""
    facts = read({"champion": {"version": "4", **found}})
    assert champion(facts) == (found["verdict"], said)


@pytest.mark.parametrize(
    ("p", "said"),
    [(0.0, "< 0.000001"), (4e-7, "< 0.000001"), (0.0004, "= 0.0004"), (0.0321, "= 0.032")],
)
def test_a_p_value_is_never_zero(p: float, said: str) -> None:
    """A small p-value is bounded, since no test makes certain."""
    assert p_value(p) == said
