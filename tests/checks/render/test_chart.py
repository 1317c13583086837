"""A picture shows what the numbers say."""

import re
from xml.etree import ElementTree

import pytest

from checks.render.chart import flips, gauge, strips
from checks.render.facts import Part
from checks.result import CheckResult, Status


def check(observed: float, limit: float, relation: str, *ends: float) -> CheckResult:
    """Give a check with a value, a limit and perhaps an interval."""
    interval = (ends[0], ends[1]) if ends else None
    details = {"relation": relation}
    return CheckResult("a", "c", Status.PASSED, observed, limit, "", details, interval)


def point(drawing: str) -> float:
    """Give where the measured value is drawn; the limit is at 50."""
    return float(ElementTree.fromstring(drawing).find("circle").attrib["cx"])  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("observed", "limit"), [(0.9, 0.87), (0.871, 0.87), (-0.4, -0.5), (8.6, 0.0), (3e-9, 1e-9)]
)
def test_more_than_the_limit_is_to_the_right_of_it(observed: float, limit: float) -> None:
    """A value above its limit is drawn above it, whatever its scale, and within the picture."""
    assert 50 < point(gauge(check(observed, limit, "at least"))) <= 100
    assert point(gauge(check(limit, observed, "at least"))) < 50 or limit == 0


def test_the_refused_side_is_shaded() -> None:
    """Below a lowest value and above a highest one, and never outside what a share can be."""
    low = re.search(r'refused" d="M(\S+) 8h(\S+)"', gauge(check(0.9, 0.87, "at least")))
    high = re.search(r'refused" d="M(\S+) 8h(\S+)"', gauge(check(0.9, 0.98, "at most")))
    assert low is not None
    assert high is not None
    assert float(low[1]) + float(low[2]) == 50
    assert float(high[1]) == 50
    # 0.98 in the middle and 0.888 to the left end: 1 is well before the right end.
    assert float(high[2]) < 15


def test_the_whisker_crosses_the_limit_where_the_interval_does() -> None:
    """A reader sees that an estimate above its limit may still lie below it."""
    for ends, crosses in (((0.86, 0.92), True), ((0.88, 0.92), False)):
        drawing = gauge(check(0.9, 0.87, "at least", *ends))
        found = re.search(r'whisker" d="M(\S+) 8H(\S+?)M', drawing)
        assert found is not None
        assert (float(found[1]) < 50 < float(found[2])) is crosses


@pytest.mark.parametrize(
    "strange",
    [
        CheckResult("a", "c", Status.PASSED, 5, 1, details={"relation": "at least"}),
        CheckResult("a", "c", Status.PASSED, 0.5, 0.4),
        CheckResult("a", "c", Status.PASSED, 0.5, 0.4, details={"relation": ["at least"]}),
        CheckResult("a", "c", Status.PASSED, float("nan"), 0.4, details={"relation": "at least"}),
        CheckResult("a", "c", Status.PASSED, 0.5, 10**400, details={"relation": "at least"}),
    ],
)
def test_what_has_no_scale_is_not_drawn(strange: CheckResult) -> None:
    """A count, a check without a relation and a value that is no number have no picture."""
    assert gauge(strange) == ""


def test_flips_are_as_long_as_they_are_many() -> None:
    """Three times as many rows are a bar three times as long; none are no bar."""
    widths = re.findall(r'width="(\S+)" height="26"', flips(60, 20, "version 4"))
    assert float(widths[1]) == pytest.approx(3 * float(widths[0]))
    assert re.findall(r'width="(\S+)" height="26"', flips(0, 0, "version 4")) == ["0.0", "0.0"]


def test_slices_share_one_scale() -> None:
    """Rows of a table are compared by eye, so the same share is at the same place."""
    parts = [Part("a", 9, 0.5), Part("b", 9, 0.9, interval=(0.85, 0.95)), Part("c", 9, 0.5)]
    places = [point(drawing) for drawing in strips(parts, 0.8)]
    assert places[0] == places[2] < places[1]
