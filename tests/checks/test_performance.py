"""Labelled windows: when a loss is confirmed, when labels are too few or too odd, estimates."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from checks.model.settings import GateSettings
from checks.monitor import MonitorSettings
from checks.performance import (
    Labelled,
    answered_confidence,
    check_performance,
    estimate_performance,
)
from checks.result import CheckResult, Report, Status

CLASSES = ["late", "on_time"]
DAY = 86_400.0


def window(right: NDArray[np.bool_], late: NDArray[np.bool_], **more: Any) -> Labelled:
    """Make a window of rows that are truly late or not, and answered rightly or not."""
    truth = np.where(late, "late", "on_time")
    said = np.where(late == right, "late", "on_time")
    sure = np.where(said == "late", 0.8, 0.2)
    given: dict[str, Any] = {
        "classes": CLASSES,
        "y_true": truth,
        "predictions": said,
        "probabilities": np.column_stack([sure, 1 - sure]),
        "frame": pd.DataFrame({"carrier": np.where(np.arange(len(late)) % 2, "AA", "UA")}),
        "delays": np.full(len(late), 3 * DAY),
        "rows": len(late),
    }
    return Labelled(**{**given, **more})


def counted(right: int, rows: int) -> Labelled:
    """Make a window of so many rows, half of them late, of which so many are right."""
    return window(np.arange(rows) < right, np.arange(rows) % 2 == 0)


def judged(
    labelled: Labelled, settings: dict[str, Any] | None = None, **gate: Any
) -> dict[str, CheckResult]:
    report = performance(labelled, settings, **gate)
    return {check.id: check for check in report.checks}


def performance(labelled: Labelled, settings: dict[str, Any] | None = None, **gate: Any) -> Report:
    asked = GateSettings.model_validate(gate)
    return check_performance(labelled, asked, MonitorSettings(**(settings or {})))


AT_LEAST = {"metrics": {"accuracy": {"min": 0.8}}}


def test_a_loss_is_confirmed_by_the_far_end() -> None:
    """An accuracy whose whole interval is below the limit fails, with the interval said."""
    found = judged(counted(700, 1_000), **AT_LEAST)["accuracy"]
    assert found.status is Status.FAILED
    assert found.interval is not None
    assert found.interval[1] < 0.8
    assert "So is all of its interval" in found.reason


def test_a_loss_that_is_not_certain_is_none() -> None:
    """An accuracy below the limit whose interval reaches it passes, and says what is seen."""
    found = judged(counted(790, 1_000), **AT_LEAST)["accuracy"]
    assert found.status is Status.PASSED
    assert found.details["beyond"] is True
    assert found.interval is not None
    assert found.interval[0] < 0.79 < 0.8 < found.interval[1]
    assert "no confirmed loss" in found.reason


def test_a_model_that_the_gate_would_refuse_is_no_loss() -> None:
    """What is not certainly good is refused by the gate, and not certainly bad here."""
    found = judged(counted(805, 1_000), **AT_LEAST)["accuracy"]
    assert found.status is Status.PASSED
    assert "beyond" not in found.details


def test_the_end_that_decides_lies_where_the_exact_test_does() -> None:
    """The smallest count that is no loss is the one that the exact binomial test lets pass."""
    least = int(binom.ppf(0.01, 400, 0.8))
    assert binom.cdf(least, 400, 0.8) > 0.01 >= binom.cdf(least - 1, 400, 0.8)
    passed, failed = (judged(counted(n, 400), **AT_LEAST)["accuracy"] for n in (least, least - 1))
    assert (passed.status, failed.status) == (Status.PASSED, Status.FAILED)


def test_a_model_at_its_limits_rarely_alarms() -> None:
    """Windows of a model that does exactly what is asked alarm no more often than alpha says."""
    rng = np.random.default_rng(5)
    gate = {
        **AT_LEAST,
        "recall": {"late": 0.8, "on_time": 0.8},
        "confusion": {"late -> on_time": 0.2},
        "slices": {"minimum": 0.8, "columns": ["carrier"]},
    }
    alarms, windows = 0, 300
    for _ in range(windows):
        drawn = window(rng.random(200) < 0.8, rng.random(200) < 0.5)
        alarms += not performance(drawn, {"alpha": 0.05}, **gate).passed
    assert alarms <= binom.ppf(0.999, windows, 0.05)


def test_a_real_loss_is_seen_at_a_thousand_rows() -> None:
    """An accuracy that fell by 6 points is confirmed in nearly each window of 1,000 rows."""
    rng = np.random.default_rng(6)
    found = [
        judged(window(rng.random(1_000) < 0.74, rng.random(1_000) < 0.5), **AT_LEAST)["accuracy"]
        for _ in range(40)
    ]
    assert sum(each.status is Status.FAILED for each in found) >= 38


def test_noise_is_no_loss_of_calibration() -> None:
    """A calibrated model's error on few rows is above its limit by chance, and confirms nothing."""
    rng = np.random.default_rng(7)
    failures = above = 0
    for _ in range(60):
        sure = rng.uniform(0.5, 1, 300)
        labelled = window(rng.random(300) < sure, rng.random(300) < 0.5)
        of_late = np.where(labelled.predictions == "late", sure, 1 - sure)
        given = np.column_stack([of_late, 1 - of_late])
        labelled = Labelled(**{**vars(labelled), "probabilities": given})
        found = judged(labelled, calibration={"ece": 0.03})["calibration[ece]"]
        failures += found.status is Status.FAILED
        above += bool(found.details.get("beyond"))
    assert failures == 0
    assert above > 30


def test_a_real_loss_of_calibration_is_seen() -> None:
    """A model that is right in half of what it is sure of fails by both measures."""
    rng = np.random.default_rng(8)
    labelled = window(rng.random(1_000) < 0.5, rng.random(1_000) < 0.5)
    found = judged(labelled, calibration={"ece": 0.05, "brier": 0.2})
    assert found["calibration[ece]"].status is Status.FAILED
    assert found["calibration[brier]"].status is Status.FAILED


def test_costs_and_cells_are_judged_the_other_way_round() -> None:
    """A ceiling fails where the low end of the interval is above it."""
    gate = {
        "confusion": {"late -> on_time": 0.2},
        "cost": {"matrix": {"late -> on_time": 5.0}, "max": 0.7},
    }
    bad, good = judged(counted(600, 1_000), **gate), judged(counted(900, 1_000), **gate)
    for id in ("confusion[late -> on_time]", "cost"):
        assert (bad[id].status, good[id].status) == (Status.FAILED, Status.PASSED)
        assert bad[id].interval is not None
        assert bad[id].interval[0] > float(str(bad[id].limit))


def test_a_metric_between_two_limits_fails_on_either_side() -> None:
    """A metric with a lowest and a highest value fails below the one and above the other."""
    gate = {"metrics": {"accuracy": {"min": 0.6, "max": 0.8}}}
    statuses = [judged(counted(n, 1_000), **gate)["accuracy"].status for n in (500, 700, 900)]
    assert statuses == [Status.FAILED, Status.PASSED, Status.FAILED]


def test_a_slice_is_judged_where_all_rows_are_well() -> None:
    """A declared column's bad value fails; one that the log has not is beside the point."""
    late = np.random.default_rng(9).random(1_000) < 0.5
    right = np.where(np.arange(1_000) % 2, True, np.arange(1_000) % 4 == 0)
    gate = {"slices": {"minimum": 0.7, "columns": ["carrier", "origin"]}}
    found = judged(window(right, late), **gate)
    assert found["slices[carrier]"].status is Status.FAILED
    assert "carrier = UA" in found["slices[carrier]"].reason
    assert found["slices[origin]"].status is Status.NOT_APPLICABLE
    assert "slices" not in found


def test_too_few_labels_are_no_pass() -> None:
    """With too few labels no rule is judged, and the report passes for none."""
    report = performance(counted(20, 99), **AT_LEAST)
    assert [check.id for check in report.checks] == ["labels"]
    assert "99 labelled rows; fewer than 100" in report.checks[0].reason
    assert not report.passed
    assert performance(counted(100, 100), **AT_LEAST).passed


@pytest.mark.parametrize("rows", [0, 1])
def test_a_window_of_hardly_a_row_is_judged(rows: int) -> None:
    """A window with one row, or with none, says that it is too few."""
    report = performance(counted(rows, rows), **AT_LEAST)
    assert report.checks[0].status is Status.NOT_APPLICABLE
    assert report.facts["labelled"] == rows


def test_a_class_that_did_not_come_is_beside_the_point() -> None:
    """A window without a row of a class says that its recall is unknown, and is no error."""
    found = judged(
        window(np.ones(200, bool), np.zeros(200, bool)),
        recall={"late": 0.5},
        metrics={"roc_auc": {"min": 0.5}, "accuracy": {"min": 0.5}},
    )
    assert found["recall[late]"].status is Status.NOT_APPLICABLE
    assert "no labelled row is truly late" in found["recall[late]"].reason
    assert found["roc_auc"].status is Status.NOT_APPLICABLE
    assert found["accuracy"].status is Status.PASSED


def test_labels_that_are_no_class_are_told_and_left_out() -> None:
    """Labels that the model does not know fail above their share, and count in no rule."""
    labelled = counted(900, 1_000)
    truth = labelled.y_true.astype(object)
    truth[:10] = "cancelled"
    few = judged(Labelled(**{**vars(labelled), "y_true": truth}), **AT_LEAST)
    assert few["labels.classes"].status is Status.PASSED
    assert few["accuracy"].observed == pytest.approx(890 / 990)
    truth[:100] = "cancelled"
    truth[0] = None
    many = judged(Labelled(**{**vars(labelled), "y_true": truth}), **AT_LEAST)
    assert many["labels.classes"].status is Status.FAILED
    assert "100 of 1,000 labels are not, such as 'None', 'cancelled'" in (
        many["labels.classes"].reason
    )


def test_labels_are_known_as_a_log_wrote_them() -> None:
    """A boolean's or a number's label is the same as its text."""
    for classes, texts in (([False, True], ["false", "true"]), ([0, 1], ["0", "1"])):
        code = np.arange(200) % 2
        labelled = Labelled(
            classes,
            np.array(texts, dtype=object)[code],
            np.array(classes)[code],
            np.eye(2)[code],
            pd.DataFrame(index=range(200)),
            np.zeros(200),
            200,
        )
        found = judged(labelled, metrics={"f1": {"min": 0.9}})
        assert found["f1"].status is Status.PASSED, found["f1"].reason


def test_answers_that_are_no_class_are_an_error() -> None:
    """A log whose answers the model cannot have given is an error, and no pass."""
    labelled = counted(900, 1_000)
    report = performance(Labelled(**{**vars(labelled), "classes": ["early", "on_time"]}))
    assert report.checks[0].status is Status.ERROR
    assert "none of the model's classes" in report.reasons[0]


def half_labelled(others: float, rows: int = 1_000) -> Labelled:
    """Make a window half of whose rows have labels, and say how many of the others are late."""
    late = np.arange(rows) < rows * others
    sure = np.where(late, 0.8, 0.2)
    return Labelled(
        **{
            **vars(counted(900, 1_000)),
            "rows": 1_000 + rows,
            "unlabelled_predictions": np.where(late, "late", "on_time"),
            "unlabelled_probabilities": np.column_stack([sure, 1 - sure]),
        }
    )


def test_early_labels_of_a_biased_sample_are_said_to_be_one() -> None:
    """Where the other rows were answered otherwise, coverage says so, and passes for nothing."""
    found = judged(half_labelled(0.95))["labels.coverage"]
    assert found.status is Status.NOT_APPLICABLE
    assert found.details["biased"] is True
    assert "1,000 of 2,000 rows have a label (50.0%), the middle one 3.0 days after" in found.reason
    assert "hold" in found.reason


def test_labels_like_the_others_are_no_biased_sample() -> None:
    """Where the other rows were answered alike, coverage passes, with the warning kept."""
    found = judged(half_labelled(0.5))["labels.coverage"]
    assert (found.status, found.details["biased"]) == (Status.PASSED, False)
    assert "Labels that come early may be a biased sample" in found.reason


def test_a_few_odd_rows_without_a_label_bias_nothing() -> None:
    """However different they are, rows that are few of the window change little of it."""
    found = judged(half_labelled(1.0, rows=60))["labels.coverage"]
    assert found.details["biased"] is False


def test_a_clock_that_jumped_is_told() -> None:
    """A label that is older than its answer is counted and said."""
    labelled = counted(900, 1_000)
    labelled.delays[:3] = -DAY
    labelled.delays[3:10] = np.nan
    report = performance(Labelled(**{**vars(labelled), "rows": 1_001}))
    assert report.facts["before_their_answer"] == 3
    assert report.facts["delay_seconds"]["median"] == 3 * DAY
    coverage = next(check for check in report.checks if check.id == "labels.coverage")
    assert "3 before it, so a clock jumped" in coverage.reason


def test_the_facts_hold_what_a_page_draws() -> None:
    """Coverage, delay, accuracy with its interval and the confusion matrix are facts."""
    facts = performance(counted(900, 1_000)).facts
    assert (facts["coverage"], facts["accuracy"]) == (1.0, 0.9)
    assert facts["interval"][0] < 0.9 < facts["interval"][1]
    assert facts["confusion"] == [[450, 50], [50, 450]]


def drawn(rng: np.random.Generator, rows: int, low: float) -> tuple[Any, Any]:
    """Draw confidences from ``low`` to 1, and answers that are right so often, less a tenth."""
    sure = rng.uniform(low, 1, rows)
    return sure, rng.random(rows) < sure - 0.1


def test_an_estimate_follows_the_inputs() -> None:
    """On windows of harder rows, from a model that is too sure, the estimate is near the truth."""
    rng = np.random.default_rng(1)
    reference = drawn(rng, 5_000, 0.5)
    inside = 0
    for _ in range(20):
        sure, right = drawn(rng, 1_000, 0.5)
        hard = sure < 0.75
        found = estimate_performance(*reference, sure[hard])
        assert found.interval is not None
        inside += found.interval[0] <= right[hard].mean() <= found.interval[1]
    assert inside >= 17


def test_an_estimate_that_was_wrong_is_muted() -> None:
    """Where "nothing changed" was nearer on the closed windows, the estimate says nothing."""
    rng = np.random.default_rng(2)
    reference = drawn(rng, 2_000, 0.5)
    sure, _ = drawn(rng, 500, 0.5)
    muted = estimate_performance(*reference, sure, [(0.8, 0.66), (0.79, 0.65)], baseline=0.65)
    assert muted.status is Status.NOT_APPLICABLE
    assert "Muted: on 2 closed windows the estimate was off by 0.1400" in muted.reason
    kept = estimate_performance(*reference, sure, [(0.6, 0.59), (0.7, 0.71)], baseline=0.65)
    assert kept.status is Status.PASSED
    assert "off by 0.0100 on 2 closed windows" in kept.reason


def test_an_estimate_alarms_by_what_it_has_shown() -> None:
    """It fails below the baseline by more than it was ever off, and only once it was tried."""
    rng = np.random.default_rng(3)
    reference = drawn(rng, 2_000, 0.5)
    low = rng.uniform(0.5, 0.6, 500)
    good = [(0.60, 0.59), (0.70, 0.71), (0.66, 0.64)]
    assert estimate_performance(*reference, low, good).status is Status.FAILED
    assert estimate_performance(*reference, low, good[:2]).status is Status.PASSED
    wild = [*good, (0.1, 0.4), (0.3, 0.25), (0.25, 0.3)]
    found = estimate_performance(*reference, low, wild)
    assert found.status is Status.PASSED
    assert found.details["largest_error"] == pytest.approx(0.3)


def test_an_estimate_does_not_see_a_concept_that_changed() -> None:
    """With the same inputs the estimate stays, whatever has become of the labels."""
    rng = np.random.default_rng(4)
    sure, right = drawn(rng, 2_000, 0.5)
    found = estimate_performance(sure, right, sure, [(0.65, 0.65)] * 3)
    assert found.status is Status.PASSED
    assert found.observed == pytest.approx(right.mean(), abs=1e-3)


def test_nothing_to_estimate_from_is_said() -> None:
    """Without a row on either side there is no estimate, and no crash."""
    nothing, rows = np.array([]), np.array([0.9, np.nan])
    for sides in ((nothing, nothing, rows), (rows, rows > 0, nothing)):
        assert estimate_performance(*sides).status is Status.NOT_APPLICABLE


def test_confidence_is_that_of_the_answer() -> None:
    """Where a threshold decides, the probability of the answered class is not the highest one."""
    given = np.array([[0.3, 0.7], [0.1, 0.9]])
    said = np.array(["late", "on_time"])
    assert answered_confidence(CLASSES, said, given).tolist() == [0.3, 0.9]
