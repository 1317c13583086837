"""Intervals, and limits that are held against their ends."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.model import (
    Answers,
    GateSettings,
    Limit,
    check_beats_champion,
    check_confusion,
    check_metric,
    check_precision,
    check_recall,
    judge,
    score_interval,
    share_interval,
)
from checks.result import CheckResult, Report, Status

LABELS = ("late", "on_time")


def answers(*cells: int) -> Answers:
    """Make answers of two classes from the cells of their confusion matrix, row by row."""
    truth = np.repeat(["late", "late", "on_time", "on_time"], cells)
    predicted = np.repeat(["late", "on_time", "late", "on_time"], cells)
    late = np.where(predicted == "late", 0.8, 0.3)
    return Answers(LABELS, truth, predicted, np.column_stack([late, 1 - late]), "late")


# The document's worked example.
GUIDE = answers(582, 405, 54, 2079)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("count", "of"), [(0, 10), (10, 10), (3, 7), (582, 987), (2661, 3120)])
def test_the_interval_of_a_share_is_that_of_statsmodels(
    count: int, of: int, confidence: float
) -> None:
    """Wilson's interval agrees with another library's."""
    from statsmodels.stats.proportion import proportion_confint

    expected = proportion_confint(count, of, alpha=1 - confidence, method="wilson")
    assert share_interval(count, of, confidence) == pytest.approx(expected, abs=1e-12)


def test_the_interval_of_a_share_is_that_of_the_worked_example() -> None:
    """Newcombe 1998 (Statistics in Medicine 17, 857-872), table I: 81 of 263, method 3."""
    assert share_interval(81, 263, 0.95) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize("name", ["balanced_accuracy", "f1", "roc_auc", "neg_log_loss"])
def test_a_bootstrap_is_that_of_scipy(name: str) -> None:
    """The ends agree with scipy's percentile bootstrap, to what two draws of it differ by."""
    from scipy.stats import bootstrap

    from checks.model import score

    small = answers(120, 60, 20, 200)
    low, high = score_interval(name, small, 0.9)

    def of_rows(rows: Any) -> float:
        assert small.probabilities is not None
        rows = np.asarray(rows, dtype=int)
        drawn = small.y_true[rows], small.predictions[rows], small.probabilities[rows]
        return score(name, Answers(LABELS, *drawn, "late"))

    expected = bootstrap(
        (np.arange(400),),
        of_rows,
        confidence_level=0.9,
        n_resamples=1000,
        method="percentile",
        vectorized=False,
        rng=np.random.default_rng(1),
    ).confidence_interval
    width = expected.high - expected.low
    assert (low, high) == pytest.approx(tuple(expected), abs=0.12 * width)


CHECKS: dict[str, tuple[Any, Any, float]] = {
    "accuracy": (check_metric, Limit(min=0.85), 2661 / 3120),
    "recall": (check_recall, 0.58, 582 / 987),
    "precision": (check_precision, 0.91, 582 / 636),
    "confusion": (check_confusion, 0.42, 405 / 987),
}
NAMES = {"accuracy": "accuracy", "confusion": "late -> on_time"}


def made(case: str, **how: Any) -> CheckResult:
    """Make one of the checks on the worked example."""
    check, limit, _ = CHECKS[case]
    result: CheckResult = check(GUIDE, NAMES.get(case, "late"), limit, **how)
    return result


@pytest.mark.parametrize("case", CHECKS)
def test_a_limit_inside_the_interval_passes_by_the_estimate_alone(case: str) -> None:
    """What the estimate keeps and the interval does not is refused on the bound."""
    by_estimate, by_bound = made(case), made(case, on="bound")
    assert by_estimate.status is Status.PASSED
    assert by_bound.status is Status.FAILED
    assert by_estimate.observed == by_bound.observed == pytest.approx(CHECKS[case][2])
    assert by_bound.interval is not None
    assert f"may be as {'high' if case == 'confusion' else 'low'} as" in by_bound.reason
    end = by_bound.interval[1 if case == "confusion" else 0]
    assert f"{end:.4f}" in by_bound.reason


@pytest.mark.parametrize("case", CHECKS)
def test_less_confidence_is_a_shorter_interval(case: str) -> None:
    """The surer an interval is to hold the truth, the wider it is, at both ends."""
    wide, short = made(case, confidence=0.99).interval, made(case, confidence=0.6).interval
    assert wide is not None
    assert short is not None
    assert wide[0] < short[0] < short[1] < wide[1]


def test_a_limit_outside_the_interval_passes_on_the_bound() -> None:
    """With less confidence the same rows keep the same limit."""
    at = {
        confidence: check_recall(GUIDE, "late", 0.575, on="bound", confidence=confidence)
        for confidence in (0.95, 0.6)
    }
    assert at[0.95].status is Status.FAILED
    assert at[0.6].status is Status.PASSED


def test_a_ceiling_of_a_score_is_held_against_the_high_end() -> None:
    """``max`` says too good to be true, and means the high end on the bound."""
    limit = Limit(max=0.86)
    assert check_metric(GUIDE, "accuracy", limit).status is Status.PASSED
    refused = check_metric(GUIDE, "accuracy", limit, on="bound")
    assert refused.status is Status.FAILED
    assert "may be as high as" in refused.reason


def test_a_score_that_a_draw_leaves_undefined_is_not_judged() -> None:
    """One row of a class is missing from a third of the draws, so the end is not known."""
    rare = answers(1, 0, 0, 200)
    found = check_metric(rare, "f1", Limit(min=0.1), on="bound")
    assert found.status is Status.ERROR


@settings(max_examples=40, deadline=None)
@given(
    cells=st.tuples(*[st.integers(1, 400)] * 4),
    floor=st.floats(0.05, 1.0),
    confidence=st.floats(0.55, 0.99),
)
def test_the_bound_refuses_whatever_the_estimate_refuses(
    cells: tuple[int, int, int, int], floor: float, confidence: float
) -> None:
    """Judging on the bound is never the milder way."""
    drawn = answers(*cells)
    for check in (check_recall, check_precision):
        if check(drawn, "late", floor).status is Status.FAILED:
            strict = check(drawn, "late", floor, on="bound", confidence=confidence)
            assert strict.status is Status.FAILED


def test_flips_are_counted_and_tested_as_by_statsmodels() -> None:
    """The exact McNemar test agrees with another library's on the same table."""
    from statsmodels.stats.contingency_tables import mcnemar

    truth = np.array(["late"] * 60 + ["on_time"] * 60)
    rng = np.random.default_rng(3)
    wrong = np.where(truth == "late", "on_time", "late")
    new = np.where(rng.random(120) < 0.1, wrong, truth)
    old = np.where(rng.random(120) < 0.3, wrong, truth)
    found = check_beats_champion(Answers(LABELS, truth, new), old).details
    right, was = new == truth, old == truth
    table = [[(right & was).sum(), (right & ~was).sum()], [(~right & was).sum(), 0]]
    assert found["helpful"] == table[0][1]
    assert found["harmful"] == table[1][0]
    assert found["mcnemar_p"] == pytest.approx(mcnemar(table, exact=True).pvalue)
    same = check_beats_champion(Answers(LABELS, truth, new), new).details
    assert (same["helpful"], same["harmful"], same["mcnemar_p"]) == (0, 0, 1.0)


def test_the_gate_judges_as_its_settings_say() -> None:
    """``on`` and ``confidence`` reach every limit, and the report says which were used."""
    limits: dict[str, Any] = {
        "metrics": {"accuracy": {"min": 0.85}},
        "recall": {"late": 0.58},
        "precision": {"late": 0.91},
        "confusion": {"late -> on_time": 0.42},
    }

    def verdict(**how: Any) -> Report:
        return judge(
            GateSettings.model_validate({**limits, **how}),
            labels=LABELS,
            y_true=GUIDE.y_true,
            predictions=GUIDE.predictions,
            probabilities=GUIDE.probabilities,
            baseline_predictions=np.full(len(GUIDE.y_true), "on_time"),
            champion=None,
            positive="late",
        )

    assert verdict().passed
    strict = verdict(on="bound", confidence=0.9)
    assert {check.id for check in strict.refusals} == {
        "accuracy",
        "recall[late]",
        "precision[late]",
        "confusion[late -> on_time]",
    }
    assert (strict.facts["on"], strict.facts["confidence"]) == ("bound", 0.9)
    by_id = {check.id: check for check in strict.checks}
    assert by_id["recall[late]"].interval == pytest.approx(share_interval(582, 987, 0.9))


def test_an_interval_survives_json() -> None:
    """A result read back from its document is the same, its interval included."""
    result = made("recall")
    assert CheckResult.from_dict(result.to_dict()) == result


@pytest.mark.checkout
def test_the_guide_quotes_the_interval_that_the_gate_finds() -> None:
    """docs/gate.md says the low end of the recall of its worked example."""
    from pathlib import Path

    low, _ = share_interval(582, 987, 0.95)
    guide = (Path(__file__).parents[2] / "docs" / "gate.md").read_text()
    assert f"low as {low:.4f}" in " ".join(guide.split())
