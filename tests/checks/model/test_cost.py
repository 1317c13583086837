"""What mistakes cost, and whether each class has rows enough."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.model.answers import Answers
from checks.model.confusion import check_cost
from checks.model.interval import share_interval
from checks.model.limits import check_support
from checks.model.settings import CostSettings
from checks.result import CheckResult, Status

LABELS = ("late", "on_time")


def answers(*cells: int, labels: Any = LABELS) -> Answers:
    """Make answers from the cells of their confusion matrix, row by row."""
    k = len(labels)
    true, said = (side.ravel() for side in np.indices((k, k)))
    named = np.array(labels)
    return Answers(labels, named[np.repeat(true, cells)], named[np.repeat(said, cells)])


def asked(maximum: float | None, **matrix: float) -> CostSettings:
    """Ask for a highest cost per row; ``late__on_time`` is a cell."""
    cells = {name.replace("__", " -> "): cost for name, cost in matrix.items()}
    return CostSettings(matrix=cells, max=maximum)


def test_the_cost_is_that_of_the_matrix() -> None:
    """60 late flights missed at 5 and 40 false alarms at 1: 340 over 1,000 rows."""
    found = check_cost(answers(140, 60, 40, 760), asked(0.3, late__on_time=5.0))
    assert found.observed == pytest.approx(0.34)
    assert (found.id, found.status, found.limit) == ("cost", Status.FAILED, 0.3)
    assert found.reason == (
        "1,000 rows cost 340, most of it late -> on_time (60 at 5): 0.3400, "
        "above the 0.3000 that is allowed."
    )
    assert found.details["dearest"] == "late -> on_time"
    assert found.details["share"] == pytest.approx(300 / 340)


def test_the_costs_of_the_german_credit_data() -> None:
    """The Statlog German credit data's costs (bad as good 5, good as bad 1), by hand.

    Of 300 bad credits 120 called good, of 700 good ones 80 called bad: 680 over 1,000.
    """
    found = check_cost(
        answers(180, 120, 80, 620, labels=("bad", "good")), asked(1.0, bad__good=5.0)
    )
    assert found.observed == pytest.approx(0.68)


def test_without_a_matrix_the_cost_is_the_share_of_wrong_answers() -> None:
    """Each mistake costs 1 where nothing else is said."""
    found = check_cost(answers(140, 60, 40, 760), asked(0.2))
    assert found.observed == pytest.approx(0.1)
    low, high = share_interval(100, 1000, 0.95)
    assert found.interval == pytest.approx((low, high), abs=0.005)


@settings(max_examples=40, deadline=None)
@given(
    cells=st.lists(st.integers(0, 20), min_size=9, max_size=9),
    cost=st.floats(0, 10),
)
def test_the_cost_is_the_mean_over_rows(cells: list[int], cost: float) -> None:
    """The matrix gives what a look-up row by row gives, and the interval holds it."""
    if not sum(cells):
        return
    some = answers(*cells, labels=("a", "b", "c"))
    each = [
        0.0 if true == said else cost if (true, said) == ("a", "c") else 1.0
        for true, said in zip(some.y_true, some.predictions, strict=True)
    ]
    found = check_cost(some, asked(100.0, a__c=cost))
    assert found.observed == pytest.approx(np.mean(each))
    assert found.interval is not None
    assert found.interval[0] <= np.mean(each) <= found.interval[1]


def test_the_interval_is_that_of_scipy() -> None:
    """The ends agree with scipy's percentile bootstrap of the rows' costs."""
    from scipy.stats import bootstrap

    each = np.repeat([0.0, 5.0, 1.0], [900, 60, 40])
    expected = bootstrap(
        (each,), np.mean, confidence_level=0.9, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    found = check_cost(answers(140, 60, 40, 760), asked(0.3, late__on_time=5.0), confidence=0.9)
    width = expected.high - expected.low
    assert found.interval == pytest.approx(tuple(expected), abs=0.1 * width)


def test_the_bound_is_the_stricter_way() -> None:
    """A limit between the estimate and the high end passes the one and not the other."""
    some, limit = answers(140, 60, 40, 760), asked(0.35, late__on_time=5.0)
    assert check_cost(some, limit).status is Status.PASSED
    refused = check_cost(some, limit, on="bound")
    assert refused.status is Status.FAILED
    assert "may be as high as" in refused.reason


def test_a_few_rows_without_a_mistake_do_not_cost_nothing_for_certain() -> None:
    """No draw of right answers holds a mistake; the high end is that of a share of none."""
    some, limit = answers(10, 0, 0, 10), asked(0.5, late__on_time=5.0)
    found = check_cost(some, limit)
    assert found.status is Status.PASSED
    assert found.interval == (0.0, pytest.approx(5 * share_interval(0, 20, 0.95)[1]))
    assert check_cost(some, limit, on="bound").status is Status.FAILED


@pytest.mark.parametrize(
    ("settings_", "says"),
    [
        (asked(0.5, late__early=2.0), "'early'"),
        (CostSettings(matrix={"late -> on_time": 2.0, "late->on_time": 3.0}, max=1.0), "too"),
    ],
)
def test_costs_that_cannot_be_read_are_an_error(settings_: CostSettings, says: str) -> None:
    """A class that is not there, or one cell twice: refused, with the reason."""
    found = check_cost(answers(10, 1, 1, 10), settings_)
    assert found.status is Status.ERROR
    assert says in found.reason


def test_missing_labels_are_an_error() -> None:
    """A truth with a hole refuses, and raises nothing."""
    truth = np.array(["late", None], dtype=object)
    broken = Answers(LABELS, truth, np.array(["late", "late"]))
    assert check_cost(broken, asked(0.5)).status is Status.ERROR
    assert check_support(broken, 1).status is Status.ERROR


def test_without_a_highest_cost_the_rule_does_not_apply() -> None:
    """It says which setting would ask for it."""
    found = check_cost(answers(1, 1, 1, 1), CostSettings())
    assert found.status is Status.NOT_APPLICABLE
    assert "gate.cost.max" in found.reason


@pytest.mark.parametrize(
    ("labels", "cell"), [((False, True), "true -> false"), ((3, 7), "7 -> 3"), (LABELS, None)]
)
def test_cells_are_named_by_the_text_of_their_classes(labels: Any, cell: str | None) -> None:
    """Booleans, integers and strings; the second class missed twice at 10."""
    cell = cell or "on_time -> late"
    found = check_cost(
        answers(8, 0, 2, 10, labels=labels), CostSettings(matrix={cell: 10.0}, max=2.0)
    )
    assert found.observed == pytest.approx(1.0)
    assert found.details["dearest"] == cell


def test_a_hundred_classes_have_a_cost() -> None:
    """The matrix of many classes is judged as that of two."""
    rng = np.random.default_rng(0)
    truth, said = rng.integers(0, 100, (2, 5_000))
    found = check_cost(
        Answers(range(100), truth, said), CostSettings(matrix={"3 -> 4": 50.0}, max=2.0)
    )
    expected = (truth != said).mean() + 49 * ((truth == 3) & (said == 4)).mean()
    assert found.observed == pytest.approx(expected)


# Rows of each class


def test_a_class_with_too_few_rows_is_an_error_that_names_it() -> None:
    """Nine rows where ten are asked for say too little to judge by."""
    some = answers(5, 4, 0, 91)
    assert check_support(some, 9).status is Status.PASSED
    found = check_support(some, 10)
    assert (found.id, found.status, found.observed, found.limit) == (
        "classes",
        Status.ERROR,
        9,
        10,
    )
    assert found.reason.startswith("Fewer than 10 sealed rows are truly 'late', of 'late' 9")
    assert found.details["support"] == {"late": 9, "on_time": 91}


def test_a_class_without_a_row_is_an_error() -> None:
    """How the model does there is unknown."""
    found = check_support(answers(0, 0, 3, 97))
    assert (found.status, found.observed) == (Status.ERROR, 0)
    assert "'late'" in found.reason


def test_a_single_class_is_nothing_to_tell_apart() -> None:
    """One class alone is an error, however many rows it has."""
    found = check_support(answers(50, labels=("late",)), 10)
    assert found.status is Status.ERROR
    assert "the only class" in found.reason


def test_only_the_named_classes_must_have_rows() -> None:
    """A class that the candidate does not answer for is counted and not asked for."""
    some = answers(20, 0, 0, 0, 20, 0, 0, 0, 2, labels=("a", "b", "c"))
    assert check_support(some, 10).status is Status.ERROR
    found = check_support(some, 10, names=("a", "b"))
    assert (found.status, found.observed) == (Status.PASSED, 20)
    assert found.details["support"]["c"] == 2
    assert check_support(some, 10, names=("a", "d")).status is Status.ERROR
    assert check_support(some, 10, names=("a",)).status is Status.ERROR


@pytest.mark.parametrize("labels", [("a", "b"), (False, True), (0, 1), tuple(range(100))])
def test_support_is_counted_for_labels_of_every_kind(labels: Any) -> None:
    """Strings, booleans and integers, 2 classes to 100."""
    k = len(labels)
    cells = (10 * np.eye(k, dtype=int)).ravel()
    found = check_support(answers(*cells, labels=labels), 10)
    assert (found.status, found.observed) == (Status.PASSED, 10)


def test_results_survive_json() -> None:
    """A result read back from its document is the same."""
    for result in (
        check_cost(answers(140, 60, 40, 760), asked(0.3)),
        check_support(answers(140, 60, 40, 760), 10),
    ):
        assert CheckResult.from_dict(result.to_dict()) == result
