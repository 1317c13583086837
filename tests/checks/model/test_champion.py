"""The candidate takes the champion's place when it is better, and then only."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.model.answers import Answers
from checks.model.champion import check_champion
from checks.model.evidence import Champion
from checks.model.paired import Pair
from checks.result import CheckResult, Status

LABELS = ("late", "on_time")


def compared(
    helpful: int, harmful: int, both: int = 800, neither: int = 100, **how: Any
) -> CheckResult:
    """Compare two models by how many rows only one of them, both or neither has right."""
    right = np.repeat([True, False, True, False], [helpful, harmful, both, neither])
    was = np.repeat([False, True, True, False], [helpful, harmful, both, neither])
    truth = np.where(np.arange(len(right)) % 3 == 0, "late", "on_time")
    other = np.where(truth == "late", "on_time", "late")
    nothing = np.zeros(len(truth), dtype=bool)
    champion = Champion("4", np.where(was, truth, other), nothing)
    return check_champion(
        Answers(LABELS, truth, np.where(right, truth, other)), champion, nothing, **how
    )


def test_a_better_model_is_promoted() -> None:
    """Many more flips help than harm: the interval lies above zero and the exact test agrees."""
    found = compared(60, 20)
    assert (found.status, found.details["verdict"]) == (Status.PASSED, "promote")
    assert found.observed == pytest.approx(40 / 980)
    assert found.interval is not None
    assert found.interval[0] > 0
    assert (found.details["helpful"], found.details["harmful"]) == (60, 20)
    assert "60 flips for the better, 20 for the worse" in found.reason
    assert "champion 4" in found.reason


def test_a_worse_model_is_not() -> None:
    """Where the interval lies below zero the champion is kept."""
    found = compared(20, 60)
    assert (found.status, found.details["verdict"]) == (Status.FAILED, "keep")


def test_a_difference_that_may_be_chance_is_inconclusive() -> None:
    """A few rows more tell nothing, and the champion stays."""
    found = compared(14, 10)
    assert (found.status, found.details["verdict"]) == (Status.FAILED, "inconclusive")


def test_equal_answers_keep_the_champion() -> None:
    """A copy of the champion is not worth a change, and is told apart from a draw."""
    found = compared(0, 0)
    assert (found.status, found.details["verdict"]) == (Status.FAILED, "keep")
    assert "has the same rows right" in found.reason


def test_the_champion_is_not_compared_with_itself() -> None:
    """A candidate that serves already is kept, whatever its score."""
    truth = np.array(["late", "on_time"] * 50)
    nothing = np.zeros(100, dtype=bool)
    champion = Champion("4", truth, nothing, is_candidate=True)
    found = check_champion(Answers(LABELS, truth, truth), champion, nothing)
    assert (found.status, found.details["verdict"]) == (Status.FAILED, "keep")
    assert "this very model" in found.reason


@pytest.mark.parametrize(
    ("effect", "verdict"),
    [(0.03, "promote"), (0.045, "inconclusive"), (0.07, "keep"), (-0.01, "promote")],
)
def test_an_improvement_must_be_worth_it(effect: float, verdict: str) -> None:
    """Below the smallest effect the same flips are no reason to change."""
    assert compared(60, 20, minimum_effect=effect).details["verdict"] == verdict


@pytest.mark.parametrize(
    ("flips", "verdict"), [((10, 10), "promote"), ((20, 60), "keep"), ((10, 19), "inconclusive")]
)
def test_a_negative_effect_asks_for_no_worse(flips: tuple[int, int], verdict: str) -> None:
    """A fresh model may take over when it is surely not worse by more than that."""
    assert compared(*flips, minimum_effect=-0.015).details["verdict"] == verdict


def test_no_champion_is_a_status_of_its_own() -> None:
    """The first model is judged by the other rules, and the report says so."""
    truth = np.array(["late", "on_time"])
    found = check_champion(Answers(LABELS, truth, truth), None, np.zeros(2, dtype=bool))
    assert found.status is Status.FIRST_MODEL
    assert found.details["verdict"] == "first model"
    assert "no champion yet" in found.reason


def test_rows_that_either_has_learned_are_dropped() -> None:
    """What is compared is what neither has seen, and the report counts the rest."""
    truth = np.array(["late", "on_time"] * 200)
    wrong = np.where(truth == "late", "on_time", "late")
    learned, own = np.arange(400) < 100, np.arange(400) >= 350
    # The champion is right on what it has learned, and there alone.
    champion = Champion("4", np.where(learned, truth, wrong), learned)
    found = check_champion(Answers(LABELS, truth, truth), champion, own)
    assert (found.details["rows"], found.details["dropped"]) == (250, 150)
    assert found.details["champion"] == 0.0


def test_too_few_rows_are_a_verdict_of_their_own() -> None:
    """Where the champion has learned nearly all sealed rows, nothing can be said."""
    truth = np.array(["late", "on_time"] * 200)
    champion = Champion("4", truth, np.arange(400) < 350)
    nothing = np.zeros(400, dtype=bool)
    found = check_champion(Answers(LABELS, truth, truth), champion, nothing, minimum_rows=100)
    assert (found.status, found.details["verdict"]) == (Status.ERROR, "too few rows")
    assert "50 sealed rows" in found.reason
    assert found.details["version"] == "4"


@pytest.mark.parametrize(
    ("champion", "learned", "said"),
    [
        ("version 3: the file is gone", np.zeros(2, dtype=bool), "the file is gone"),
        (Champion("3", np.array([1, 0]), np.zeros(2, bool)), np.zeros(2, bool), "integers"),
        (Champion("3", np.array(["x", "y"]), np.zeros(2, bool)), np.zeros(2, bool), "none of"),
        (Champion("3", np.array(["late"]), np.zeros(2, bool)), np.zeros(2, bool), "1 rows"),
        (Champion("3", np.array(["late"] * 2), np.zeros(2, bool)), "no record", "no record"),
    ],
)
def test_what_cannot_be_compared_is_an_error(champion: Any, learned: Any, said: str) -> None:
    """A champion that is named and cannot be scored refuses, with the reason."""
    truth = np.array(["late", "on_time"])
    found = check_champion(Answers(LABELS, truth, truth), champion, learned)
    assert (found.status, found.details["verdict"]) == (Status.ERROR, "error")
    assert said in found.reason


def test_a_class_that_has_gone_is_a_wrong_answer() -> None:
    """A champion that still answers it is compared, and those answers are counted."""
    truth = np.array(["late", "on_time"] * 50)
    champion = Champion("4", np.where(np.arange(100) < 5, "cancelled", truth), np.zeros(100, bool))
    found = check_champion(Answers(LABELS, truth, truth), champion, np.zeros(100, dtype=bool))
    assert (found.details["unknown"], found.details["helpful"]) == (5, 5)


def test_examples_are_named_as_the_table_names_them() -> None:
    """A flip is shown by the row's id, so that somebody can look it up."""
    truth = np.array(["late", "on_time"] * 50)
    wrong = np.where(truth == "late", "on_time", "late")
    predictions = np.where(np.arange(100) == 7, wrong, truth)
    champion = Champion("4", np.where(np.arange(100) < 3, wrong, truth), np.zeros(100, bool))
    names = [f"flight {row}" for row in range(100)]
    found = check_champion(
        Answers(LABELS, truth, predictions), champion, np.zeros(100, dtype=bool), rows=names
    )
    assert found.details["examples"] == {
        "helpful": ["flight 0", "flight 1", "flight 2"],
        "harmful": ["flight 7"],
    }


def test_a_rare_class_is_worth_a_change_in_balanced_accuracy() -> None:
    """Finding the rare class at some cost harms accuracy and helps the mean recall."""
    truth = np.array(["on_time"] * 900 + ["late"] * 100)
    champion = np.array(["on_time"] * 1000)
    candidate = np.where(np.arange(1000) < 90, "late", truth)
    nothing = np.zeros(1000, dtype=bool)
    pair = Answers(LABELS, truth, candidate), Champion("1", champion, nothing), nothing
    assert check_champion(*pair).details["verdict"] == "inconclusive"
    balanced = check_champion(*pair, scoring="balanced_accuracy")
    assert balanced.details["verdict"] == "promote"
    assert balanced.observed == pytest.approx((810 / 900 + 1) / 2 - 0.5)


def drawn(rng: np.random.Generator, rows: int, k: int, wrong: tuple[float, float]) -> Pair:
    """Draw two models that are wrong on their shares of the rows."""
    truth = rng.integers(0, k, rows)
    own, other = (rng.random(rows) >= share for share in wrong)
    return Pair(truth, own, other)


@pytest.mark.parametrize("scoring", ["accuracy", "balanced_accuracy"])
def test_the_paired_interval_is_that_of_scipy(scoring: str) -> None:
    """The ends agree with scipy's percentile bootstrap of rows, to what two draws differ by."""
    from scipy.stats import bootstrap
    from sklearn.metrics import balanced_accuracy_score

    pair = drawn(np.random.default_rng(0), 300, 3, (0.1, 0.2))
    low, high = pair.interval(scoring, 0.9)

    def difference(rows: Any) -> float:
        rows = np.asarray(rows, dtype=int)
        if scoring == "accuracy":
            return float(pair.right[rows].mean() - pair.other_right[rows].mean())
        truth = pair.truth[rows]
        scores = [
            balanced_accuracy_score(truth, np.where(right[rows], truth, (truth + 1) % 3))
            for right in (pair.right, pair.other_right)
        ]
        return float(scores[0] - scores[1])

    expected = bootstrap(
        (np.arange(300),),
        difference,
        confidence_level=0.9,
        n_resamples=1000,
        method="percentile",
        vectorized=False,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (low, high) == pytest.approx(tuple(expected), abs=0.1 * (expected.high - expected.low))


@pytest.mark.parametrize("scoring", ["accuracy", "balanced_accuracy"])
@pytest.mark.parametrize("k", [2, 5, 100])
def test_the_scores_of_a_pair_are_those_of_sklearn(scoring: str, k: int) -> None:
    """Both models' scores are scikit-learn's, for 2 to 100 classes."""
    from sklearn import metrics

    pair = drawn(np.random.default_rng(k), 2_000, k, (0.2, 0.3))
    score = getattr(metrics, f"{scoring}_score")
    for found, right in zip(pair.scores(scoring), (pair.right, pair.other_right), strict=True):
        given = np.where(right, pair.truth, (pair.truth + 1) % k)
        assert found == pytest.approx(score(pair.truth, given))


@pytest.mark.parametrize(("helpful", "harmful"), [(15, 5), (3, 9), (0, 6), (7, 7), (0, 0)])
def test_the_test_of_flips_is_that_of_statsmodels(helpful: int, harmful: int) -> None:
    """The exact McNemar test agrees with another library's on the same table."""
    from statsmodels.stats.contingency_tables import mcnemar

    table = [[50, helpful], [harmful, 10]]
    expected = mcnemar(table, exact=True).pvalue if helpful + harmful else 1.0
    found = compared(helpful, harmful, both=50, neither=10).details["mcnemar_p"]
    assert found == pytest.approx(expected)


def test_the_test_of_flips_is_that_of_the_worked_example() -> None:
    """Fagerland, Lydersen, Laake 2013 (BMC Medical Research Methodology 13, 91), table 2.

    Airway hyper-responsiveness before and after stem cell transplantation: 1 against 7 flips,
    exact conditional p = 0.070.
    """
    assert compared(1, 7, both=1, neither=12).details["mcnemar_p"] == pytest.approx(0.070, abs=5e-4)


@settings(max_examples=60, deadline=None)
@given(
    flips=st.tuples(st.integers(0, 80), st.integers(0, 80)),
    effects=st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)),
)
def test_asking_for_more_never_promotes_more(
    flips: tuple[int, int], effects: tuple[float, float]
) -> None:
    """A candidate that a smaller effect refuses is refused by a larger one."""
    small, large = sorted(effects)
    if compared(*flips, minimum_effect=large).status is Status.PASSED:
        assert compared(*flips, minimum_effect=small).status is Status.PASSED


@settings(max_examples=60, deadline=None)
@given(flips=st.tuples(st.integers(0, 60), st.integers(0, 60)))
def test_two_models_do_not_replace_each_other(flips: tuple[int, int]) -> None:
    """If one takes the other's place, the other does not take it back on the same rows."""
    helpful, harmful = flips
    verdicts = {
        compared(helpful, harmful).details["verdict"],
        compared(harmful, helpful).details["verdict"],
    }
    assert verdicts != {"promote"}
