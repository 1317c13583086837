"""Probabilities that are not what happens are refused."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from checks.model.answers import Answers
from checks.model.calibration import check_brier, check_ece, reliability
from checks.model.interval import share_interval
from checks.model.settings import CalibrationSettings
from checks.result import CheckResult, Status

CHECKS: dict[str, Any] = {"brier": check_brier, "ece": check_ece}
LOOSE = CalibrationSettings(brier=1.9, ece=0.99)


def forecasts(k: int, rows: int = 500, *, sharper: float = 1.0, seed: int = 0) -> Answers:
    """Make calibrated probabilities of k classes, then make them too sure."""
    rng = np.random.default_rng(seed)
    given = rng.dirichlet(np.ones(k), rows)
    truth = (given.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).clip(0, k - 1)
    given = given**sharper
    given /= given.sum(axis=1, keepdims=True)
    return Answers(range(k), truth, given.argmax(axis=1), given)


@pytest.mark.parametrize("k", [2, 3, 10, 100])
def test_the_brier_score_is_that_of_scikit_learn(k: int) -> None:
    """Half the sum over the classes for two of them, the sum for more."""
    some = forecasts(k)
    found = check_brier(some, LOOSE)
    expected = brier_score_loss(some.truth, some.probabilities, labels=range(k))
    assert found.observed == pytest.approx(expected, abs=1e-12)
    assert found.interval is not None
    assert found.interval[0] < expected < found.interval[1]


def test_the_brier_score_is_that_of_the_definition() -> None:
    """Brier 1950 on three forecasts of rain worked by hand, halved for two classes.

    (0.7, 0.3) rain, (0.9, 0.1) rain, (0.2, 0.8) rain: 0.18, 0.02 and 1.28, of which the mean
    is 1.48 / 3.
    """
    given = np.array([[0.7, 0.3], [0.9, 0.1], [0.2, 0.8]])
    rain = Answers(("rain", "none"), np.array(["rain"] * 3), np.array(["rain"] * 3), given)
    assert check_brier(rain, LOOSE).observed == pytest.approx(1.48 / 3 / 2)


@pytest.mark.parametrize(("k", "worst"), [(2, 1.0), (3, 2.0)])
def test_the_worst_brier_score(k: int, worst: float) -> None:
    """Sure and wrong each time is 1 with two classes and 2 with more."""
    truth = np.zeros(10, dtype=int)
    given = np.tile(np.eye(k)[1], (10, 1))
    found = check_brier(Answers(range(k), truth, truth + 1, given), LOOSE)
    assert found.observed == worst


def test_the_calibration_error_is_that_of_the_definition() -> None:
    """Guo et al. 2017 on two bins worked by hand.

    Four answers at 0.9 of which three are right, and one at 0.6 that is right, in bins of a
    fifth: 4/5 of 0.15 and 1/5 of 0.4.
    """
    given = np.array([[0.9, 0.1]] * 4 + [[0.6, 0.4]])
    truth = np.array([0, 0, 0, 1, 0])
    five = Answers((0, 1), truth, np.zeros(5, int), given)
    found = check_ece(five, CalibrationSettings(ece=0.5, bins=5))
    assert found.observed == pytest.approx(0.8 * 0.15 + 0.2 * 0.4)


@settings(max_examples=40, deadline=None)
@given(k=st.integers(2, 6), bins=st.integers(2, 30), seed=st.integers(0, 1000))
def test_the_calibration_error_is_the_mean_distance_of_the_reliability_curve(
    k: int, bins: int, seed: int
) -> None:
    """The bins are those of scikit-learn's curve, weighted by their rows."""
    some = forecasts(k, 200, sharper=2, seed=seed)
    assert some.probabilities is not None
    right = some.truth == some.predicted
    sure = some.probabilities.max(axis=1)
    share, confidence = calibration_curve(right, sure, n_bins=bins)
    facts = reliability(some, bins)
    rows = np.array([one["rows"] for one in facts["bins"]])
    assert [one["accuracy"] for one in facts["bins"]] == pytest.approx(share)
    assert [one["confidence"] for one in facts["bins"]] == pytest.approx(confidence)
    assert facts["ece"] == pytest.approx((rows * np.abs(share - confidence)).sum() / 200)
    found = check_ece(some, CalibrationSettings(ece=0.9, bins=bins))
    assert found.observed == pytest.approx(facts["ece"])


def test_the_confidence_is_that_of_the_answer_a_threshold_gives() -> None:
    """A class answered at 0.3 is 0.3 sure, though the other is likelier."""
    given = np.tile([0.7, 0.3], (10, 1))
    truth = np.array([1] * 3 + [0] * 7)
    low = Answers((0, 1), truth, np.ones(10, int), given)
    assert check_ece(low, LOOSE).observed == pytest.approx(0)


def test_the_interval_is_that_of_scipy() -> None:
    """The ends agree with scipy's percentile bootstrap of rows."""
    from scipy.stats import bootstrap

    some = forecasts(2, 400, sharper=3)
    given = np.asarray(some.probabilities)

    def error(rows: Any) -> float:
        rows = np.asarray(rows, dtype=int)
        drawn = Answers((0, 1), some.truth[rows], some.predicted[rows], given[rows])
        return float(reliability(drawn)["ece"])

    expected = bootstrap(
        (np.arange(400),),
        error,
        confidence_level=0.9,
        n_resamples=500,
        method="percentile",
        vectorized=False,
        rng=np.random.default_rng(1),
    ).confidence_interval
    found = check_ece(some, LOOSE, confidence=0.9)
    width = expected.high - expected.low
    assert found.interval == pytest.approx(tuple(expected), abs=0.15 * width)


def test_the_interval_holds_the_error_of_a_calibrated_model() -> None:
    """Draws are further off than the rows, yet the bound is never the milder way."""
    for seed in range(20):
        found = check_ece(forecasts(2, 2_000, seed=seed), LOOSE, confidence=0.6)
        assert found.interval is not None
        assert isinstance(found.observed, float)
        assert found.interval[0] <= found.observed <= found.interval[1]


@pytest.mark.parametrize("k", [2, 5])
def test_too_sure_a_model_is_refused_and_a_calibrated_one_is_not(k: int) -> None:
    """The same answers, their probabilities sharpened, and the rule says in which direction."""
    limit = CalibrationSettings(ece=0.05)
    honest = check_ece(forecasts(k, 5_000), limit, on="bound")
    assert honest.status is Status.PASSED
    sharp = check_ece(forecasts(k, 5_000, sharper=4), limit)
    assert sharp.status is Status.FAILED
    assert "too sure" in sharp.reason
    flat = check_ece(forecasts(k, 5_000, sharper=0.3), limit)
    assert flat.status is Status.FAILED
    assert "too unsure" in flat.reason


def test_inverted_probabilities_are_refused() -> None:
    """Columns the wrong way round are as far from what happens as can be."""
    some = forecasts(2, 1_000)
    wrong = Answers((0, 1), some.truth, some.predicted, np.asarray(some.probabilities)[:, ::-1])
    assert check_brier(some, CalibrationSettings(brier=0.25)).status is Status.PASSED
    assert check_brier(wrong, CalibrationSettings(brier=0.25)).status is Status.FAILED


@pytest.mark.parametrize("name", CHECKS)
def test_a_limit_inside_the_interval_passes_by_the_estimate_alone(name: str) -> None:
    """What the estimate keeps and the interval does not is refused on the bound."""
    some = forecasts(2, 300, sharper=2)
    found = CHECKS[name](some, LOOSE)
    between = (found.observed + found.interval[1]) / 2
    limit = CalibrationSettings(**{name: between})
    assert CHECKS[name](some, limit).status is Status.PASSED
    refused = CHECKS[name](some, limit, on="bound")
    assert refused.status is Status.FAILED
    assert "may be as high as" in refused.reason


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("labels", [("late", "on_time"), (False, True), (3, 7)])
def test_labels_of_every_kind_are_judged(name: str, labels: Any) -> None:
    """Strings, booleans and integers are only names."""
    plain = forecasts(2)
    named = np.array(labels)
    other = Answers(labels, named[plain.truth], named[plain.predicted], plain.probabilities)
    assert CHECKS[name](other, LOOSE) == CHECKS[name](plain, LOOSE)


TRUTH = np.array([0, 1, 1])


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize(
    "given",
    [
        None,
        np.array([[np.nan, 1], [0.5, 0.5], [0.5, 0.5]]),
        np.array([[1.2, -0.2], [0.5, 0.5], [0.5, 0.5]]),
        np.array([[0.5, 0.5]]),
        np.array([0.5, 0.5, 0.5]),
        np.full((3, 2), "high"),
    ],
)
def test_probabilities_that_are_none_are_an_error(name: str, given: Any) -> None:
    """None, a NaN, beyond 0 and 1, another shape, no numbers: not judged, and no pass."""
    broken = Answers((0, 1), TRUTH, TRUTH, given)
    found = CHECKS[name](broken, LOOSE)
    assert found.status is Status.ERROR
    if given is None or np.asarray(given).dtype.kind == "f":
        assert reliability(broken) == {}


@pytest.mark.parametrize("name", CHECKS)
def test_rows_of_one_class_are_judged(name: str) -> None:
    """A batch of one class, or with a class the model did not know, still has a distance."""
    surely = np.tile([0.8, 0.2, 0.0], (50, 1))
    zeros = np.zeros(50, dtype=int)
    for truth in (zeros, np.where(np.arange(50) < 5, 2, 0)):
        found = CHECKS[name](Answers(range(3), truth, zeros, surely), LOOSE)
        assert found.status is Status.PASSED


@pytest.mark.parametrize("name", CHECKS)
def test_without_a_limit_the_rule_does_not_apply(name: str) -> None:
    """It says which setting would ask for it, and looks at nothing."""
    broken = Answers((0, 1), TRUTH, TRUTH, None)
    found = CHECKS[name](broken, CalibrationSettings())
    assert (found.id, found.status) == (f"calibration[{name}]", Status.NOT_APPLICABLE)
    assert f"gate.calibration.{name}" in found.reason


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 200), low=st.floats(0.01, 0.4), more=st.floats(0, 0.3))
def test_a_higher_limit_never_refuses_what_a_lower_one_passes(
    seed: int, low: float, more: float
) -> None:
    """A looser limit makes no pass a refusal, on the estimate as on the bound."""
    some = forecasts(2, 100, seed=seed)
    for name, check in CHECKS.items():
        for on in ("estimate", "bound"):
            strict, loose = (
                check(some, CalibrationSettings(**{name: limit}), on=on)
                for limit in (low, low + more)
            )
            assert not (strict.status is Status.PASSED and loose.status is Status.FAILED)


def test_the_bins_of_the_diagram_hold_every_row() -> None:
    """Each bin says its ends, its rows and how sure its share is; certain answers have one too."""
    given = np.array([[1.0, 0.0]] * 4 + [[0.0, 1.0]] * 2 + [[0.5, 0.5]] * 4)
    truth = np.array([0, 0, 0, 1, 1, 1, 0, 0, 1, 1])
    predicted = np.array([0] * 4 + [1] * 2 + [0] * 4)
    facts = reliability(Answers((0, 1), truth, predicted, given), 10, 0.9)
    assert json.loads(json.dumps(facts)) == facts
    assert [(one["low"], one["high"], one["rows"]) for one in facts["bins"]] == [
        (0.4, 0.5, 4),
        (0.9, 1.0, 6),
    ]
    assert facts["bins"][1]["interval"] == list(share_interval(5, 6, 0.9))
    assert facts["ece"] == pytest.approx(0.1)
    zero = reliability(Answers((0, 1), truth, predicted, given[:, ::-1]), 10)
    assert zero["bins"][0]["low"] == 0


def test_results_survive_json() -> None:
    """A result read back from its document is the same."""
    for check in CHECKS.values():
        result = check(forecasts(3), LOOSE)
        assert CheckResult.from_dict(result.to_dict()) == result
