"""An answer that depends on what it must not depend on refuses."""

from typing import Any

import numpy as np
import pytest

from checks.model.answers import Answers
from checks.model.behaviour import (
    check_agreement,
    check_deterministic,
    check_invariance,
    check_missing,
    check_noise,
    check_row_order,
)
from checks.model.evidence import Threshold
from checks.result import Status

ROWS = 200
RNG = np.random.default_rng(0)
LATE = RNG.uniform(0.05, 0.95, ROWS)
PROBABILITIES = np.column_stack([LATE, 1 - LATE])
PREDICTIONS = np.where(LATE > 0.5, "late", "on_time")
TRUTH = np.where(RNG.random(ROWS) < LATE, "late", "on_time")
ANSWERS = Answers(("late", "on_time"), TRUTH, PREDICTIONS, PROBABILITIES)


def flipped(count: int) -> np.ndarray:
    """Give the answers with the first few turned into the other class."""
    other = np.where(PREDICTIONS == "late", "on_time", "late")
    return np.where(np.arange(ROWS) < count, other, PREDICTIONS)


def test_labels_follow_from_probabilities() -> None:
    """The likeliest class is answered; one row that is not is found and named."""
    assert check_agreement(ANSWERS).status is Status.PASSED
    astray = Answers(("late", "on_time"), TRUTH, flipped(1), PROBABILITIES)
    found = check_agreement(astray)
    assert (found.status, found.observed) == (Status.FAILED, 1)
    assert "row 0" in found.reason


def test_inverted_probabilities_are_found() -> None:
    """Right labels beside probabilities of the opposite order mislead whoever ranks by them."""
    inverted = Answers(("late", "on_time"), TRUTH, PREDICTIONS, PROBABILITIES[:, ::-1])
    assert check_agreement(inverted).observed == ROWS


@pytest.mark.parametrize(("label", "value"), [("late", 0.3), ("on_time", 0.8)])
def test_a_threshold_is_the_rule_where_one_is_set(label: str, value: float) -> None:
    """With a threshold the class is answered from that probability upwards, and not otherwise."""
    column = PROBABILITIES[:, 0 if label == "late" else 1]
    other = "on_time" if label == "late" else "late"
    held = Answers(
        ("late", "on_time"), TRUTH, np.where(column >= value, label, other), PROBABILITIES
    )
    assert check_agreement(held, Threshold(label, value)).status is Status.PASSED
    assert check_agreement(held).status is Status.FAILED
    assert check_agreement(ANSWERS, Threshold(label, value)).status is Status.FAILED


def test_a_nan_probability_agrees_with_nothing() -> None:
    """What is no number cannot be the likeliest."""
    broken = PROBABILITIES.copy()
    broken[3] = np.nan
    given = Answers(("late", "on_time"), TRUTH, PREDICTIONS, broken)
    assert check_agreement(given).status is Status.ERROR
    assert check_deterministic(ANSWERS, broken).status is Status.FAILED


def test_the_same_rows_get_the_same_probabilities() -> None:
    """A model that draws while it answers is found."""
    assert check_deterministic(ANSWERS, PROBABILITIES.copy()).status is Status.PASSED
    drawn = PROBABILITIES + np.where(np.arange(ROWS) < 3, 0.01, 0.0)[:, None] * [1, -1]
    found = check_deterministic(ANSWERS, drawn)
    assert (found.status, found.observed) == (Status.FAILED, 3)
    assert check_deterministic(ANSWERS, PROBABILITIES[:50].copy()).status is Status.PASSED
    assert check_deterministic(ANSWERS, drawn[:2]).observed == 2
    for strange in (PROBABILITIES[:0], PROBABILITIES[:, :1], np.vstack([PROBABILITIES] * 2)):
        assert check_deterministic(ANSWERS, strange).status is Status.ERROR
    assert check_deterministic(ANSWERS, "it broke off").status is Status.ERROR


def test_a_row_answers_for_itself() -> None:
    """An answer that changes with the rows around it is found."""
    assert check_row_order(ANSWERS, PREDICTIONS).status is Status.PASSED
    found = check_row_order(ANSWERS, flipped(2))
    assert (found.status, found.observed) == (Status.FAILED, 2)
    assert found.details["examples"] == [0, 1]


def test_rounding_on_the_border_is_no_dependence() -> None:
    """A row on the border between two classes may fall either way by its last digits."""
    border = PROBABILITIES.copy()
    border[0] = [0.5 + 1e-7, 0.5 - 1e-7]
    given = Answers(("late", "on_time"), TRUTH, PREDICTIONS, border)
    assert check_row_order(given, flipped(1)).status is Status.PASSED


def test_a_column_that_decides_is_found() -> None:
    """A declared column must not change the answer, by more than the limit allows."""
    assert check_invariance(ANSWERS, PREDICTIONS, "carrier", 0.0).status is Status.PASSED
    found = check_invariance(ANSWERS, flipped(1), "carrier", 0.0, on="bound")
    assert (found.id, found.status) == ("invariance[carrier]", Status.FAILED)
    assert check_invariance(ANSWERS, flipped(4), "carrier", 0.05).status is Status.PASSED


def test_at_no_flips_the_count_is_judged() -> None:
    """No answer changed in 200 rows; that it might in more is no refusal."""
    found = check_invariance(ANSWERS, PREDICTIONS, "carrier", 0.0, on="bound")
    assert found.status is Status.PASSED


def test_a_column_that_is_not_read_is_said() -> None:
    """The rule does not apply, which is no pass; a column that is not there is an error."""
    assert check_invariance(ANSWERS, None, "carrier", 0.0).status is Status.NOT_APPLICABLE
    missing = check_invariance(ANSWERS, "no such column", "carier", 0.0)
    assert missing.status is Status.ERROR


@pytest.mark.parametrize(("count", "status"), [(4, Status.PASSED), (30, Status.FAILED)])
def test_noise_may_flip_few_answers(count: int, status: Status) -> None:
    """The share of answers that a little noise changes is held against its limit."""
    found = check_noise(ANSWERS, flipped(count), 0.01, 0.1)
    assert (found.status, found.observed) == (status, count / ROWS)


def test_empty_cells_may_cost_little_accuracy() -> None:
    """What is lost is accuracy, not answers: a flip from wrong to right costs nothing."""
    wrong = np.where(TRUTH == "late", "on_time", "late")
    worse = np.where((np.arange(ROWS) < 60) & (PREDICTIONS == TRUTH), wrong, PREDICTIONS)
    better = np.where(np.arange(ROWS) < 60, TRUTH, PREDICTIONS)
    assert check_missing(ANSWERS, worse, 0.05, 0.05).status is Status.FAILED
    assert check_missing(ANSWERS, better, 0.05, 0.05).status is Status.PASSED


@pytest.mark.parametrize("check", [check_noise, check_missing])
def test_robustness_without_a_limit_or_answers(check: Any) -> None:
    """No limit does not apply; no answers are an error."""
    assert check(ANSWERS, PREDICTIONS, 0.01, None).status is Status.NOT_APPLICABLE
    assert check(ANSWERS, "it broke off", 0.01, 0.1).status is Status.ERROR
