"""Intervals, and limits that are held against their ends."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.model.answers import Answers, NotJudgedError
from checks.model.confusion import check_confusion, check_precision, check_recall
from checks.model.interval import (
    RESAMPLES,
    draw_matrices,
    mean_interval,
    score_interval,
    share_interval,
)
from checks.model.limits import check_metric
from checks.model.scorers import METRICS, score
from checks.model.settings import Limit
from checks.result import CheckResult, Status

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


def graded(k: int, rows: int = 400, *, ties: bool = False, seed: int = 0) -> Answers:
    """Make answers of k classes whose probabilities know something of the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(k, rows, p=np.arange(1, k + 1) / (k * (k + 1) / 2))
    scores = rng.normal(size=(rows, k))
    scores[np.arange(rows), truth] += 1
    given = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    if ties:
        given = np.round(given, 1) + 0.02
        given /= given.sum(axis=1, keepdims=True)
    return Answers(range(k), truth, given.argmax(axis=1), given, 1 if k == 2 else None)


OF_TWO = {name for name in METRICS if name != "top_k_accuracy"}
OF_MORE = {
    name
    for name in METRICS
    if name not in ("f1", "jaccard", "precision", "recall", "roc_auc") and "likelihood" not in name
}
SHARES = {
    *("accuracy", "f1_micro", "precision", "precision_micro"),
    *("recall", "recall_micro", "recall_weighted", "top_k_accuracy"),
}
CASES = [(2, name) for name in sorted(OF_TWO - SHARES)]
CASES += [(3, name) for name in sorted(OF_MORE - SHARES)]
TRIED = [
    (2, "average_precision"),
    (2, "balanced_accuracy"),
    (2, "f1"),
    (2, "neg_brier_score"),
    (2, "neg_log_loss"),
    (2, "roc_auc"),
    (3, "d2_log_loss_score"),
    (3, "matthews_corrcoef"),
    (3, "roc_auc_ovo"),
]


@pytest.mark.parametrize(("k", "name"), TRIED)
def test_the_interval_of_a_score_is_that_of_a_bootstrap_of_rows(k: int, name: str) -> None:
    """The ends agree with scipy's percentile bootstrap, to what two draws of it differ by."""
    from scipy.stats import bootstrap

    small = graded(k, ties=True)
    low, high = score_interval(name, small, 0.9)

    def of_rows(rows: Any) -> float:
        assert small.probabilities is not None
        rows = np.asarray(rows, dtype=int)
        drawn = small.y_true[rows], small.predictions[rows], small.probabilities[rows]
        return score(name, Answers(small.labels, *drawn, small.positive))

    expected = bootstrap(
        (np.arange(400),),
        of_rows,
        confidence_level=0.9,
        n_resamples=500,
        method="percentile",
        vectorized=False,
        rng=np.random.default_rng(1),
    ).confidence_interval
    width = expected.high - expected.low
    assert (low, high) == pytest.approx(tuple(expected), abs=0.15 * width)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("k", "name"), CASES)
def test_each_draw_is_scored_as_scikit_learn_scores_its_rows(
    monkeypatch: pytest.MonkeyPatch, k: int, name: str, ties: bool
) -> None:
    """With a single draw both ends are the score of its rows, to the last digits."""
    from checks.model import interval

    rows = 200
    whole = graded(k, rows, ties=ties)
    monkeypatch.setattr(interval, "RESAMPLES", 1)
    monkeypatch.setattr(interval, "_FEWEST_RESAMPLES", 1)
    given = np.asarray(whole.probabilities)
    by_rows = any(word in name for word in ("roc_auc", "average_prec", "brier", "log_loss"))
    if by_rows:
        drawn = np.random.default_rng(0).integers(0, rows, rows)
        if "brier" in name or "log_loss" in name:
            # Losses are drawn by class, one class after the other.
            drawn = np.argsort(whole.truth, kind="stable")[drawn]
        truth, predicted, given = whole.y_true[drawn], whole.predictions[drawn], given[drawn]
    else:
        matrix = draw_matrices(whole.confusion, 1, np.random.default_rng(0))[0]
        true, said = np.indices(matrix.shape)
        truth, predicted = (np.repeat(side.ravel(), matrix.ravel()) for side in (true, said))
    expected = score(name, Answers(whole.labels, truth, predicted, given, whole.positive))
    low, high = interval._drawn(name, whole)
    assert low == pytest.approx([expected], abs=1e-12)
    assert high == pytest.approx([expected], abs=1e-12)


@pytest.mark.parametrize("name", sorted(SHARES))
def test_a_share_has_the_interval_of_wilson(name: str) -> None:
    """A score that is a share of rows needs no draws, and all right does not mean certain."""
    some = graded(3 if name == "top_k_accuracy" else 2)
    of = 400
    if name in ("recall", "precision"):
        of = int((getattr(some, "truth" if name == "recall" else "predicted") == 1).sum())
    expected = share_interval(round(score(name, some) * of), of, 0.9)
    assert score_interval(name, some, 0.9) == expected
    surely = np.eye(len(some.names))[some.truth]
    low, high = score_interval(
        name, Answers(some.labels, some.truth, some.truth, surely, some.positive), 0.9
    )
    assert low < 1
    assert high == 1


@settings(max_examples=30, deadline=None)
@given(k=st.integers(2, 12), seed=st.integers(0, 1000), confidence=st.floats(0.55, 0.99))
def test_an_interval_holds_its_score(k: int, seed: int, confidence: float) -> None:
    """Whatever is drawn, a score lies between the ends of its own interval."""
    some = graded(k, 300, seed=seed)
    for name in ("balanced_accuracy", "f1_macro", "matthews_corrcoef", "neg_log_loss"):
        if len(np.unique(some.truth)) < k or len(np.unique(some.predicted)) < k:
            continue
        low, high = score_interval(name, some, confidence)
        assert low <= score(name, some) <= high


@pytest.mark.parametrize("labels", [("late", "on_time"), (False, True), (7, 3)])
def test_the_kind_of_label_changes_no_interval(labels: Any) -> None:
    """Strings, booleans and integers are only names: the intervals are the same."""
    plain = graded(2)
    named = np.array(labels)
    other = Answers(
        labels, named[plain.truth], named[plain.predicted], plain.probabilities, labels[1]
    )
    for name in ("f1", "precision", "roc_auc", "average_precision", "neg_brier_score"):
        assert score_interval(name, other, 0.9) == score_interval(name, plain, 0.9)


@settings(max_examples=30, deadline=None)
@given(cells=st.lists(st.lists(st.integers(0, 30), min_size=3, max_size=3), min_size=3, max_size=3))
def test_drawn_matrices_have_the_rows_and_no_new_cells(cells: list[list[int]]) -> None:
    """A draw has as many rows, and none in a cell that is empty."""
    confusion = np.array(cells)
    if not confusion.sum():
        return
    drawn = draw_matrices(confusion, 50, np.random.default_rng(0))
    assert drawn.shape == (50, 3, 3)
    assert (drawn.sum(axis=(1, 2)) == confusion.sum()).all()
    assert not drawn[:, confusion == 0].any()


def test_drawn_matrices_are_those_of_drawn_rows() -> None:
    """Means and covariances of the cells are the multinomial's, as those of rows are."""
    confusion = np.array([[30, 10], [5, 55]])
    drawn = draw_matrices(confusion, 20_000, np.random.default_rng(0)).reshape(-1, 4)
    share = confusion.ravel() / 100
    expected = 100 * (np.diag(share) - np.outer(share, share))
    assert drawn.mean(axis=0) == pytest.approx(confusion.ravel(), rel=0.02)
    assert np.cov(drawn.T) == pytest.approx(expected, abs=0.6)


@pytest.mark.parametrize("rows", [30, 2_000])
def test_the_interval_of_a_mean_is_that_of_scipy(rows: int) -> None:
    """A skewed value's mean, compared with scipy's percentile bootstrap."""
    from scipy.stats import bootstrap

    values = np.random.default_rng(4).exponential(size=rows)
    expected = bootstrap(
        (values,), np.mean, confidence_level=0.9, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    width = expected.high - expected.low
    assert mean_interval(values, 0.9) == pytest.approx(tuple(expected), abs=0.1 * width)


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [np.inf], [[1.0], [2.0]]])
def test_no_mean_without_numbers(values: Any) -> None:
    """A NaN, an infinity or no row at all is not judged, rather than left out."""
    with pytest.raises(NotJudgedError):
        mean_interval(np.array(values), 0.95)


def test_an_interval_is_the_same_each_time() -> None:
    """The draws are seeded: a verdict does not depend on when it is asked for."""
    for name in ("f1", "roc_auc", "neg_log_loss"):
        assert score_interval(name, GUIDE, 0.9) == score_interval(name, GUIDE, 0.9)


def test_the_intervals_hold_the_true_score_as_often_as_they_say() -> None:
    """Of 300 samples of 300 rows nine in ten intervals hold it, to four standard errors."""
    rng = np.random.default_rng(8)
    cells = np.array([[0.2, 0.1], [0.05, 0.65]])
    # Recall 2/3 and 13/14; precision of the first 4/5.
    balanced, f1 = (2 / 3 + 13 / 14) / 2, 2 * 0.2 / (0.3 + 0.25)
    held = {"balanced_accuracy": 0, "f1": 0}
    for _ in range(300):
        one = answers(*rng.multinomial(300, cells.ravel()))
        for name, true in (("balanced_accuracy", balanced), ("f1", f1)):
            low, high = score_interval(name, one, 0.9)
            held[name] += low <= true <= high
    off = 4 * (0.9 * 0.1 / 300) ** 0.5
    assert {name: count / 300 for name, count in held.items()} == pytest.approx(
        {"balanced_accuracy": 0.9, "f1": 0.9}, abs=off
    )


def test_a_rare_class_is_judged_whatever_is_drawn() -> None:
    """Ten rows in 50,000 are missing from one draw in 20,000, and that says nothing."""
    rare = answers(6, 4, 100, 49_890)
    for name in ("f1_macro", "balanced_accuracy", "recall", "roc_auc"):
        low, high = score_interval(name, rare, 0.95)
        assert 0 < low < high <= 1


def test_a_single_row_of_a_class_says_nothing() -> None:
    """It is missing from a third of the draws, which count as the worst: the low end is 0."""
    rare = answers(1, 0, 0, 200)
    assert score_interval("f1", rare, 0.95) == (0.0, 1.0)
    assert score_interval("balanced_accuracy", rare, 0.95)[0] == pytest.approx(0.5)
    assert score_interval("roc_auc", rare, 0.95)[0] == 0
    found = check_metric(rare, "f1", Limit(min=0.1), on="bound")
    assert found.status is Status.FAILED


def test_an_end_without_number_is_not_judged() -> None:
    """A likelihood ratio over two false alarms is infinite in one draw of eight."""
    few = answers(40, 20, 2, 200)
    with pytest.raises(NotJudgedError, match="no end"):
        score_interval("positive_likelihood_ratio", few, 0.95)


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("recall", (0, 0, 5, 50)),
        ("precision", (0, 5, 0, 50)),
        ("roc_auc", (0, 0, 5, 50)),
        ("positive_likelihood_ratio", (5, 5, 0, 50)),
    ],
)
def test_an_undefined_score_has_no_interval(name: str, cells: tuple[int, ...]) -> None:
    """What has no value for the rows themselves is an error, whatever the draws."""
    found = check_metric(answers(*cells), name, Limit(min=0.1), on="bound")
    assert found.status is Status.ERROR


def test_a_class_without_rows_leaves_the_interval_as_it_is() -> None:
    """A class that is neither true nor answered is no part of a mean over classes."""
    some = graded(2)
    wider = Answers(range(3), some.truth, some.predicted)
    for name in ("f1_macro", "precision_macro", "balanced_accuracy"):
        assert score_interval(name, wider, 0.9) == score_interval(name, some, 0.9)


def test_many_classes_have_intervals() -> None:
    """A hundred classes with ten rows each, some never answered in a draw, are judged."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(100), 10)
    predicted = np.where(rng.random(1000) < 0.8, truth, rng.integers(0, 100, 1000))
    many = Answers(range(100), truth, predicted)
    for name in ("f1_macro", "precision_macro", "balanced_accuracy", "matthews_corrcoef"):
        low, high = score_interval(name, many, 0.95)
        assert 0.7 < low < score(name, many) < high < 0.9


def test_a_bootstrap_has_a_thousand_draws() -> None:
    """With fewer the 25th of them, which is the end, would itself be chance."""
    assert RESAMPLES == 1_000


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


def test_an_interval_survives_json() -> None:
    """A result read back from its document is the same, its interval included."""
    result = made("recall")
    assert CheckResult.from_dict(result.to_dict()) == result


@pytest.mark.checkout
def test_the_guide_quotes_the_interval_that_the_gate_finds() -> None:
    """docs/gate.md says the low end of the recall of its worked example."""
    from pathlib import Path

    low, _ = share_interval(582, 987, 0.95)
    guide = (Path(__file__).parents[3] / "docs" / "gate.md").read_text()
    assert f"low as {low:.4f}" in " ".join(guide.split())
