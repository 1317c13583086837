"""A model that knows its training rows better than new ones is found out."""

import numpy as np
import pytest

from checks.model.answers import Answers
from checks.model.overfit import check_overfit, gap_interval
from checks.result import Status

LABELS = ("late", "on_time")


def scored(right: int, of: int) -> Answers:
    """Give answers of which so many are right, both classes alike."""
    truth = np.array(["late", "on_time"] * (of // 2))
    other = np.where(truth == "late", "on_time", "late")
    return Answers(LABELS, truth, np.where(np.arange(of) < right, truth, other))


def test_a_network_that_memorises_is_refused() -> None:
    """A perfect score on the training rows beside a poor one on new rows is a gap."""
    found = check_overfit(scored(800, 1000), scored(4000, 4000), 0.1)
    assert found.status is Status.FAILED
    assert found.observed == pytest.approx(0.2)
    assert "above the 0.1000 that is allowed" in found.reason


def test_a_gap_within_the_limit_passes() -> None:
    """A small gap is no memorising, and a negative one neither."""
    assert check_overfit(scored(880, 1000), scored(3600, 4000), 0.1).status is Status.PASSED
    assert check_overfit(scored(950, 1000), scored(3600, 4000), 0.1).status is Status.PASSED


def test_the_bound_is_stricter_than_the_estimate() -> None:
    """With few sealed rows a gap may be wider than it looks."""
    few = scored(82, 100), scored(3600, 4000)
    assert check_overfit(*few, 0.1).status is Status.PASSED
    assert check_overfit(*few, 0.1, on="bound").status is Status.FAILED


def test_without_a_limit_the_rule_does_not_apply() -> None:
    """A gate that sets none says where it would be set."""
    found = check_overfit(scored(80, 100), scored(80, 100), None)
    assert found.status is Status.NOT_APPLICABLE
    assert "gate.overfit" in found.reason


def test_unscored_training_rows_cannot_be_judged() -> None:
    """What is not known is no pass."""
    found = check_overfit(scored(80, 100), "the run has no training rows", 0.1)
    assert found.status is Status.ERROR
    assert "no training rows" in found.reason


@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("shares", [((56, 70), (48, 80)), ((9, 10), (3, 10)), ((10, 10), (0, 20))])
def test_the_interval_of_a_gap_is_that_of_statsmodels(
    shares: tuple[tuple[int, int], tuple[int, int]], confidence: float
) -> None:
    """Newcombe's interval agrees with another library's."""
    from statsmodels.stats.proportion import confint_proportions_2indep

    first, second = shares
    expected = confint_proportions_2indep(
        *first, *second, method="newcomb", compare="diff", alpha=1 - confidence
    )
    found = gap_interval(scored(*first), scored(*second), "accuracy", confidence)
    assert found == pytest.approx(expected, abs=1e-12)


def test_the_interval_of_a_gap_is_that_of_the_worked_example() -> None:
    """Newcombe 1998 (Statistics in Medicine 17, 873-890), table II: 56/70 and 48/80, method 10."""
    found = gap_interval(scored(56, 70), scored(48, 80), "accuracy", 0.95)
    assert found == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_the_gap_in_balanced_accuracy_is_drawn() -> None:
    """Its interval holds the estimate and shrinks with the rows."""
    small = gap_interval(scored(90, 100), scored(95, 100), "balanced_accuracy", 0.95)
    large = gap_interval(scored(9000, 10000), scored(9500, 10000), "balanced_accuracy", 0.95)
    assert small[0] < large[0] < -0.05 < large[1] < small[1]
