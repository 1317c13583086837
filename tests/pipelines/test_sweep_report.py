"""The sweep's page: whole in itself, true to the trials, and deaf to what names try to say."""

import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from pipelines.explanation import explain
from pipelines.parameters import Part
from pipelines.sweep.sweep import SweepResult
from pipelines.sweep.trial import Point, Trial
from pipelines.sweep_report import chart
from pipelines.sweep_report.html import to_html

HOSTILE = "</script><script>alert(1)</script><img src=x onerror='alert(2)'>\"&\x00"

MODEL = Pipeline(
    [("preprocess", FunctionTransformer()), ("model", GaussianNB().fit([[0], [1]], [0, 1]))]
)


class _Page(HTMLParser):
    """What a browser would see: tags with their attributes, and the text of each kind of tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.tags[-1][0] if self.tags else "", []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def _trial(number: int, state: str = "FINISHED", **changes: Any) -> Trial:
    curve = tuple(Point(e, 0.1, 0.8 + 0.01 * e - number / 1_000, 0.9) for e in range(1, 4))
    values = {
        "number": number,
        "family": "mlp",
        "params": {
            "layers": 1 + number % 4,
            "width": 16 << number % 3,
            "alpha": 0.1 / (number + 1),
        },
        "state": state,
        "score": 0.83 - number / 1_000,
        "train_score": 0.9,
        "curve": curve,
        "seconds": 0.5,
        "rung": 1,
        "units": 3,
    }
    return Trial(**{**values, **changes})


def _page(trials: list[Trial], title: str = "flights", **changes: Any) -> str:
    values = {
        "trials": tuple(trials),
        "best": trials[0],
        "model": MODEL,
        "ensemble": None,
        "rungs": (),
        "spent": {},
        "importance": {},
        "stopped": "trials",
        "seconds": 12.0,
        "scoring": "accuracy",
    }
    result = SweepResult(**{**values, **changes})
    told = explain(result)
    parts = (Part("weights", "3 × 5", 15, 0.1, 0.2, 0.3, HOSTILE if title == HOSTILE else ""),)
    return to_html(result, replace(told, learned=parts), title)


SWEEPS = {
    "one": [_trial(0, curve=(Point(1, 0.1, 0.5),), rung=0)],
    "failed": [_trial(0), _trial(1, "FAILED", score=None, curve=(), rung=-1, units=0, error="no")],
    "five": [_trial(number) for number in range(5)],
    "no-params": [_trial(number, params={}) for number in range(3)],
    "mixed": [_trial(0), _trial(1, params={"momentum": 0.5}), _trial(2, params={"solver": "sgd"})],
    "families": [*map(_trial, range(4)), *(_trial(n, family="linear") for n in range(4, 8))],
    "rungs": [
        _trial(n, curve=tuple(Point(9 * k, 0.1, 0.5, 0.6) for k in (1, 3, 9)), rung=2)
        for n in range(30)
    ],
    "equal": [_trial(n, score=0.5, curve=(Point(1, 0.1, 0.5, 0.5),), rung=0) for n in range(30)],
}


@pytest.mark.parametrize("trials", SWEEPS.values(), ids=SWEEPS)
def test_any_sweep_is_a_page(trials: list[Trial]) -> None:
    """Every trial has a row, every picture a description, and every number is one."""
    page = _page(trials)
    seen = _Page(page)
    rows = [tag for tag in seen.all("tr") if "data-t" in tag]
    assert sorted(str(row["data-t"]) for row in rows) == sorted(str(t.number) for t in trials)
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in seen.all("svg"))
    drawn = " ".join(str(value) for _, attrs in seen.tags for value in attrs.values())
    assert not re.search(r"\b(nan|inf)\b", drawn)


@pytest.mark.parametrize("tag", ["trial 3", "score", "layers", "alpha"])
def test_the_page_says_what_it_shows(tag: str) -> None:
    """Without a picture, too: each has its numbers in a table below it."""
    assert tag in _page(SWEEPS["five"], best=_trial(3)).lower()


def test_a_name_stays_a_name() -> None:
    """Markup in the title, a family, a parameter, a value, a scorer or an error is only text."""
    trials = [
        _trial(n, family=HOSTILE, params={HOSTILE: f"{HOSTILE}{n}", "x": n}) for n in range(4)
    ]
    trials.append(_trial(9, "FAILED", family=HOSTILE, score=None, curve=(), error=HOSTILE))
    page = _page(trials, HOSTILE, importance={HOSTILE: 1.0}, scoring=HOSTILE)
    plain = _Page(_page([*SWEEPS["five"], *SWEEPS["failed"]]))
    seen = _Page(page)
    assert len(seen.all("script")) == 1
    assert {tag for tag, _ in seen.tags} <= {tag for tag, _ in plain.tags}
    attributes = {name for _, attrs in seen.tags for name in attrs}
    assert not {name for name in attributes if name.startswith("on") or name in ("src", "href")}
    assert "\x00" not in page
    assert "alert(1)" in "".join(seen.texts["h1"])


def test_the_page_asks_for_nothing() -> None:
    """No address is in it, and it forbids the browser to load any or run any other script."""
    page = _page(SWEEPS["families"])
    seen = _Page(page)
    (policy,) = (str(m["content"]) for m in seen.all("meta") if "http-equiv" in m)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"'sha256-{digest}'" in policy
    assert not re.search(r"https?:|url\(|@import", page)


def test_a_picture_and_a_row_of_one_trial_know_of_each_other() -> None:
    """By its number, on the line, the curve, the dots and the row."""
    page = _page([_trial(n) for n in range(30)])
    tags = {tag for tag, attrs in _Page(page).tags if attrs.get("data-t") == "7"}
    assert tags == {"path", "circle", "tr"}


def test_rows_are_reached_by_the_keyboard() -> None:
    """And sorted by buttons, with the order said."""
    seen = _Page(_page(SWEEPS["five"]))
    assert all(row["tabindex"] == "0" for row in seen.all("tr") if "data-t" in row)
    assert [head for head in seen.all("th") if head.get("aria-sort") == "descending"]


def test_a_family_can_be_chosen_when_there_are_several() -> None:
    """The winner's first; its trials are the lines, and no other's."""
    seen = _Page(_page(SWEEPS["families"]))
    radios = [each for each in seen.all("input") if each.get("name") == "family"]
    assert [(radio["value"], "checked" in radio) for radio in radios] == [
        ("mlp", True),
        ("linear", False),
    ]


def test_the_table_is_in_the_order_of_the_score() -> None:
    """The winner first, also when another has its score; what has none comes last."""
    trials = [
        _trial(0, score=0.9),
        _trial(1, score=0.9),
        _trial(2, "FAILED", score=None),
        _trial(3, score=0.95),
    ]
    rows = [
        row["data-t"] for row in _Page(_page(trials, best=trials[1])).all("tr") if "data-t" in row
    ]
    assert rows == ["3", "1", "0", "2"]


def test_many_trials_stay_a_page_that_scrolls() -> None:
    """Of thousands the best and some of the rest are shown, and the page says so."""
    page = _page([_trial(n, score=0.9 - n / 10_000) for n in range(2_500)])
    seen = _Page(page)
    rows = [int(str(row["data-t"])) for row in seen.all("tr") if "data-t" in row]
    assert len(rows) == chart.MOST_DRAWN == len(set(rows))
    assert rows[:500] == list(range(500))
    assert rows[-1] == 2_499
    assert "1,000 of 2,500" in page
    assert len(page.encode()) < 2_000_000


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0.0, 0.5, 1.0]),
        (0.8713, 0.8941, [0.88, 0.89]),
        (-3.0, 7.0, [0.0, 5.0]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    """And lie within what is drawn."""
    assert chart.nice(low, high, 4) == ticks


def test_ticks_of_a_logarithm_are_powers_of_ten_or_between() -> None:
    """At least two, however few decades there are."""
    assert chart.log_ticks(1e-4, 5e-2) == pytest.approx([1e-4, 1e-3, 1e-2])
    assert chart.log_ticks(16, 768) == pytest.approx([30, 100, 300])
    assert len(chart.log_ticks(3, 31)) >= 2
