"""The gate lets a good model through, and nothing else."""

import doctest
import re
import tomllib
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn import metrics as sk
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.neighbors import KNeighborsClassifier

from checks.model.answers import Answers, NotJudgedError, class_name
from checks.model.baseline import check_baseline
from checks.model.champion import check_champion
from checks.model.confusion import check_confusion, check_precision, check_recall
from checks.model.evidence import Champion, Evidence
from checks.model.fresh import check_answers
from checks.model.gate import judge
from checks.model.limits import (
    check_enough_rows,
    check_limits,
    check_metric,
    check_probabilities,
    check_support,
)
from checks.model.scorers import METRICS, score
from checks.model.settings import GateSettings, Limit, Section
from checks.result import CheckResult, Report, Status

PROPERTY = settings(deadline=None, max_examples=50)

GUIDE = Path(__file__).parents[3] / "docs" / "gate.md"

LABELS = ("late", "on_time")
TRUTH = np.array(["late", "late", "on_time"])
PERFECT = TRUTH
MISSES_ONE = np.array(["late", "on_time", "on_time"])
ALWAYS_ON_TIME = np.array(["on_time"] * 3)
ALWAYS_LATE = np.array(["late"] * 3)
NOTHING = np.zeros(3, dtype=bool)


def blocks(guide: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", guide, flags=re.MULTILINE | re.DOTALL)


def answers(predictions: Any = MISSES_ONE, truth: Any = TRUTH, labels: Any = LABELS) -> Answers:
    """Give three answers, one of them wrong."""
    return Answers(labels, truth, predictions)


def certain(predictions: Any, labels: Iterable[Any]) -> np.ndarray:
    """Give each prediction the probability 1."""
    return (np.asarray(predictions)[:, None] == np.asarray(list(labels))[None, :]).astype(float)


Gate = Callable[..., Report]


@pytest.fixture(scope="session")
def gate(make_evidence: Callable[..., Evidence]) -> Gate:
    """Judge three rows, all answered rightly, by one limit on the estimate."""

    def judged(
        settings: dict[str, Any] | None = None,
        *,
        labels: Any = LABELS,
        truth: Any = TRUTH,
        predictions: Any = PERFECT,
        probabilities: Any = None,
        baseline: Any = ALWAYS_LATE,
        **more: Any,
    ) -> Report:
        if probabilities is None:
            probabilities = certain(predictions, labels)
        given = {"metrics": {"accuracy": {"min": 0.6}}} if settings is None else settings
        lax = {"minimum_rows": 1, "minimum_support": 1, "on": "estimate"}
        return judge(
            GateSettings.model_validate({**lax, **given}),
            make_evidence(labels, truth, predictions, probabilities, majority=baseline, **more),
        )

    return judged


def beats(given: Answers, other: Any, **how: Any) -> CheckResult:
    """Hold a model against always answering one class."""
    return check_baseline(given, other, "majority", **how)


def found(report: Report, id: str) -> CheckResult:
    """Return the result of one rule."""
    return next(check for check in report.checks if check.id == id)


# A good model, and the ways in which it is not


def test_a_good_model_passes(gate: Gate) -> None:
    """The positive control: every rule holds, so the gate opens."""
    report = gate(
        {
            "metrics": {"accuracy": {"min": 0.9}, "neg_log_loss": {"min": -0.1}},
            "recall": {"late": 0.9},
            "precision": {"late": 0.9},
            "confusion": {"late -> on_time": 0.1},
        },
    )
    assert report.passed, report.reasons
    assert [check.id for check in report.checks] == [
        *("limits", "schema", "rows", "classes", "probabilities", "agreement", "sealed"),
        *("accuracy", "neg_log_loss", "recall[late]", "precision[late]"),
        *("confusion[late -> on_time]", "cost", "baseline[majority]", "baseline[yardstick]"),
        *("champion", "segments", "overfit", "slices", "calibration[brier]", "calibration[ece]"),
        *("loadable", "latency[row]", "latency[batch]", "size", "deterministic", "row_order"),
        *("robustness[noise]", "robustness[missing]"),
        *("leakage[alone]", "leakage[duplicates]", "leakage[names]"),
    ]
    assert report.facts["confusion"] == [[2, 0], [0, 1]]
    assert report.facts["labels"] == ["late", "on_time"]


MISSING = np.array(["late", None, "on_time"], dtype=object)
NAN = np.array([[np.nan, 1.0], [1.0, 0.0], [0.0, 1.0]])

REFUSED: dict[str, tuple[dict[str, Any], str, Status, str]] = {
    "no limits": ({"settings": {}}, "limits", Status.ERROR, "no limit"),
    "too few rows": (
        {"settings": {"minimum_rows": 4, "recall": {"late": 0.1}}},
        "rows",
        Status.ERROR,
        "fewer than 4",
    ),
    "no rows": (
        {
            "truth": np.array([], dtype=str),
            "predictions": np.array([], dtype=str),
            "probabilities": np.zeros((0, 2)),
            "baseline": np.array([], dtype=str),
        },
        "accuracy",
        Status.ERROR,
        "not one label a row",
    ),
    "an empty class": (
        {"labels": ("late", "lost", "on_time")},
        "classes",
        Status.ERROR,
        "truly 'lost'",
    ),
    "one class": (
        {"labels": ("late",), "truth": ALWAYS_LATE, "predictions": ALWAYS_LATE},
        "classes",
        Status.ERROR,
        "only class",
    ),
    "no class": ({"labels": (), "probabilities": np.zeros((3, 0))}, "classes", Status.ERROR, ""),
    "two classes of one name": (
        {"labels": ("late", "late"), "probabilities": np.eye(2)[[0, 0, 1]]},
        "accuracy",
        Status.ERROR,
        "same name",
    ),
    "classes of two kinds": (
        {"labels": ("late", 1), "probabilities": np.eye(2)[[0, 0, 1]]},
        "accuracy",
        Status.ERROR,
        "one kind",
    ),
    "a NaN probability": ({"probabilities": NAN}, "probabilities", Status.ERROR, "row 0: nan, 1"),
    "an infinite probability": (
        {"probabilities": np.where(np.isnan(NAN), np.inf, NAN)},
        "probabilities",
        Status.ERROR,
        "1 of 3",
    ),
    "probabilities that add up to 2": (
        {"probabilities": np.ones((3, 2))},
        "probabilities",
        Status.ERROR,
        "3 of 3",
    ),
    "a negative probability": (
        {"probabilities": np.array([[-0.5, 1.5], [1, 0], [0, 1]])},
        "probabilities",
        Status.ERROR,
        "row 0: -0.5, 1.5",
    ),
    "a column too few": (
        {"probabilities": np.ones((3, 1))},
        "probabilities",
        Status.ERROR,
        "shape (3, 1)",
    ),
    "words for probabilities": (
        {"probabilities": np.full((3, 2), "x")},
        "probabilities",
        Status.ERROR,
        "broke off with ValueError",
    ),
    "a missing prediction": ({"predictions": MISSING}, "accuracy", Status.ERROR, "not None"),
    "a NaN prediction": (
        {
            "labels": (0, 1),
            "truth": np.array([0, 1, 1]),
            "predictions": np.array([0, 1, np.nan]),
            "probabilities": np.eye(2)[[0, 1, 1]],
        },
        "accuracy",
        Status.ERROR,
        "not nan",
    ),
    "a missing truth": ({"truth": MISSING}, "accuracy", Status.ERROR, "not None"),
    "a prediction that is no class": (
        {"predictions": np.array(["late", "late", "lost"])},
        "accuracy",
        Status.ERROR,
        "'lost', none of the classes",
    ),
    "predictions of another kind": (
        {"predictions": np.array([1, 1, 0])},
        "accuracy",
        Status.ERROR,
        "integers, but the classes are strings",
    ),
    "a prediction too few": (
        {"predictions": PERFECT[:2]},
        "accuracy",
        Status.ERROR,
        "2 rows of the model's answers, but 3",
    ),
    "a column of predictions": (
        {"predictions": PERFECT[:, None], "probabilities": certain(PERFECT, LABELS)},
        "accuracy",
        Status.ERROR,
        "not one label a row",
    ),
    "predictions that nothing can read": (
        {"predictions": object(), "probabilities": certain(PERFECT, LABELS)},
        "accuracy",
        Status.ERROR,
        "",
    ),
    "a recall limit on a class that is not there": (
        {"settings": {"recall": {"lat": 0.1}}},
        "recall[lat]",
        Status.ERROR,
        "did you mean 'late'?",
    ),
    "a precision limit on a class that is not there": (
        {"settings": {"precision": {"early": 0.1}}},
        "precision[early]",
        Status.ERROR,
        "not there",
    ),
    "a confusion limit on a class that is not there": (
        {"settings": {"confusion": {"late -> early": 0.1}}},
        "confusion[late -> early]",
        Status.ERROR,
        "'early'",
    ),
    "a class that is never found": (
        {"settings": {"recall": {"late": 0.1}}, "predictions": ALWAYS_ON_TIME},
        "recall[late]",
        Status.FAILED,
        "Of 2 rows truly late, 0 found: 0.0000, below the 0.1000",
    ),
    "a class that is never answered": (
        {"settings": {"precision": {"late": 0.1}}, "predictions": ALWAYS_ON_TIME},
        "precision[late]",
        Status.ERROR,
        "never answers late",
    ),
    "a class confused too often": (
        {"settings": {"confusion": {"late -> on_time": 0.3}}, "predictions": MISSES_ONE},
        "confusion[late -> on_time]",
        Status.FAILED,
        "1 predicted on_time: 0.5000, above the 0.3000",
    ),
    "a score too low": (
        {"settings": {"metrics": {"accuracy": {"min": 0.9}}}, "predictions": MISSES_ONE},
        "accuracy",
        Status.FAILED,
        "accuracy is 0.6667, below the 0.9000",
    ),
    "a score too good": (
        {"settings": {"metrics": {"accuracy": {"max": 0.99}}}},
        "accuracy",
        Status.FAILED,
        "above the 0.9900",
    ),
    "a score that is perfect by definition": (
        {"settings": {"metrics": {"top_k_accuracy": {"min": 0.9}}}},
        "top_k_accuracy",
        Status.ERROR,
        "not defined on these rows",
    ),
    "a score of two classes for three": (
        {
            "settings": {"metrics": {"roc_auc": {"min": 0.5}}},
            "labels": (0, 1, 2),
            "truth": np.array([0, 1, 2]),
            "predictions": np.array([0, 1, 2]),
            "baseline": np.array([0, 0, 0]),
        },
        "roc_auc",
        Status.ERROR,
        "two classes, and there are 3",
    ),
    "a score of one class when none is named": (
        {"settings": {"metrics": {"f1": {"min": 0.5}}}},
        "f1",
        Status.ERROR,
        "set data.positive",
    ),
    "a score of a class that is not there": (
        {"settings": {"metrics": {"f1": {"min": 0.5}}}, "positive": "early"},
        "f1",
        Status.ERROR,
        "'early'",
    ),
    "no better than the commonest class": (
        {"predictions": ALWAYS_LATE},
        "baseline[majority]",
        Status.FAILED,
        "gives 0.6667: better by 0.0000, and more than 0.0000",
    ),
    "better than the commonest class by too little": (
        {"settings": {"recall": {"late": 0.1}, "baseline": {"majority": 0.4}}},
        "baseline[majority]",
        Status.FAILED,
        "better by 0.3333, and more than 0.4000",
    ),
    "no better than the yardstick": (
        {"yardstick": PERFECT},
        "baseline[yardstick]",
        Status.FAILED,
        "an untuned logistic regression gives 1.0000",
    ),
    "a baseline of other rows": (
        {"baseline": ALWAYS_LATE[:2]},
        "baseline[majority]",
        Status.ERROR,
        "2 rows of the baseline's answers",
    ),
    "no yardstick": (
        {"yardstick": "it did not converge"},
        "baseline[yardstick]",
        Status.ERROR,
        "it did not converge",
    ),
    "worse than the champion": (
        {"predictions": MISSES_ONE, "champion": PERFECT, "baseline": ALWAYS_ON_TIME},
        "champion",
        Status.FAILED,
        "champion 1 has 1.0000",
    ),
    "a champion that cannot be scored": (
        {"champion": "version 3: ModuleNotFoundError"},
        "champion",
        Status.ERROR,
        "version 3: ModuleNotFoundError",
    ),
    "a champion that cannot be scored, without a reason": (
        {"champion": ""},
        "champion",
        Status.ERROR,
        "cannot be scored",
    ),
    "a champion of other rows": (
        {"champion": PERFECT[:2]},
        "champion",
        Status.ERROR,
        "2 rows of the champion's answers",
    ),
    "a champion that answers nothing": (
        {"champion": MISSING},
        "champion",
        Status.ERROR,
        "not None",
    ),
    "a champion with labels of another kind": (
        {"champion": np.array([1, 1, 0])},
        "champion",
        Status.ERROR,
        "integers",
    ),
    "a champion of another problem": (
        {"champion": np.array(["a", "b", "a"])},
        "champion",
        Status.ERROR,
        "'a', 'b', none of the classes",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_gate_refuses(gate: Gate, case: str) -> None:
    """Each fault closes the gate, and the rule that names it says so."""
    given, rule, status, said = REFUSED[case]
    report = gate(**given)
    assert not report.passed
    check = found(report, rule)
    assert check.status is status, check
    assert said in check.reason


@pytest.mark.parametrize("rule", ["recall[late]", "confusion[late -> on_time]"])
def test_a_true_class_without_rows_cannot_be_judged(gate: Gate, rule: str) -> None:
    """A share of no rows is neither kept nor broken."""
    report = gate(
        {"recall": {"late": 0.1}, "confusion": {"late -> on_time": 0.9}},
        truth=ALWAYS_ON_TIME,
        predictions=ALWAYS_ON_TIME,
        baseline=ALWAYS_LATE,
    )
    assert found(report, rule).status is Status.ERROR
    assert "no sealed row is truly late" in found(report, rule).reason


def test_a_crash_in_one_check_leaves_the_others_judged(gate: Gate) -> None:
    """A rule that breaks off is an error of its own; the report is still whole."""
    report = gate(
        {"recall": {"late": 0.1}},
        champion=Champion("1", [[1], [2, 3], [4]], NOTHING),  # type: ignore[arg-type]
    )
    assert found(report, "champion").status is Status.ERROR
    assert "broke off with" in found(report, "champion").reason
    assert found(report, "recall[late]").status is Status.PASSED


def test_a_rare_class_is_compared_by_balanced_accuracy() -> None:
    """What accuracy cannot see, the other scorer does: finding the rare class at some cost."""
    truth = np.array([0] * 8 + [1] * 2)
    predictions = np.array([0] * 5 + [1] * 5)
    majority = np.zeros(10, dtype=int)
    given = answers(predictions, truth, (0, 1))
    assert beats(given, majority).status is Status.FAILED
    balanced = beats(given, majority, scoring="balanced_accuracy")
    assert balanced.status is Status.PASSED
    assert balanced.details["baseline"] == pytest.approx(0.5)


def test_margins_are_met_to_the_digit() -> None:
    """A margin that is met exactly counts, whatever binary fractions make of it."""
    truth = np.zeros(100, dtype=int)
    truth[50:] = 1

    def wrong(rows: int) -> np.ndarray:
        return np.where(np.arange(100) < rows, 1 - truth, truth)

    # 0.88 - 0.7 comes out above 0.18.
    no_better = beats(answers(wrong(12), truth, (0, 1)), wrong(30), margin=0.18)
    assert no_better.status is Status.FAILED


def test_a_reason_tells_apart_what_rounding_would_not() -> None:
    """A score just below its limit is not printed as the same number."""
    truth = np.zeros(1_000_000, dtype=int)
    truth[:2] = 1
    predictions = truth.copy()
    predictions[:100_001] = 0
    predictions[-100_000:] = 1
    check = check_metric(answers(predictions, truth, (0, 1)), "accuracy", Limit(min=0.9))
    assert check.status is Status.FAILED
    assert "0.899998, below the 0.900000" in check.reason


# Class names


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ((False, True), ("false", "true")),
        ((np.False_, np.True_), ("false", "true")),
        ((0, 1), ("0", "1")),
        ((-1.0, 2.0), ("-1", "2")),
        (("true", "1"), ("true", "1")),
        ((np.str_("a"), "B "), ("a", "B ")),
    ],
)
def test_a_toml_key_names_any_kind_of_class(labels: Any, names: Any) -> None:
    """Booleans are written as TOML writes them, numbers by their digits, strings as they are."""
    assert answers(labels=labels).names == names


@pytest.mark.parametrize("label", [None, float("nan"), 0.5, b"late", ("late",)])
def test_other_labels_have_no_name(label: object) -> None:
    """A missing label is not a class."""
    with pytest.raises(NotJudgedError):
        class_name(label)


@pytest.mark.parametrize("dtype", ["bool", "int64", "float64", "str", "object"])
def test_limits_apply_to_labels_of_any_kind(gate: Gate, dtype: str) -> None:
    """The same answers are refused by the same rule, however the labels are kept."""
    truth, predictions = np.array([1, 1, 0]).astype(dtype), np.array([1, 0, 0]).astype(dtype)
    labels = tuple(np.unique(truth).tolist())
    names = [class_name(label) for label in labels]
    settings = {"recall": {names[1]: 0.6}, "confusion": {f"{names[1]} -> {names[0]}": 0.6}}
    report = gate(
        settings,
        labels=labels,
        truth=truth,
        predictions=predictions,
        baseline=truth[[2, 2, 2]],
    )
    assert [check.id for check in report.refusals] == [f"recall[{names[1]}]"]


@pytest.mark.parametrize(
    ("labels", "key", "cell"),
    [
        (("a", "b"), "a -> b", (0, 1)),
        (("a", "b"), "b->a", (1, 0)),
        (("a -> b", "c"), "a -> b -> c", (0, 1)),
        ((True, False), "true -> false", (0, 1)),
        ((10, 2), "2 -> 10", (1, 0)),
        ((" a", "b "), "a -> b", (0, 1)),
    ],
)
def test_a_cell_is_named_by_its_classes(labels: Any, key: str, cell: tuple[int, int]) -> None:
    """Arrows and spaces in class names do not get in the way."""
    assert answers(labels=labels).cell(key) == cell


@pytest.mark.parametrize(
    ("labels", "key", "said"),
    [
        (("a", "b -> c", "a -> b", "c"), "a -> b -> c", "2 ways"),
        (("a", "a "), "a -> a", "4 ways"),
        (("a -> a", "b"), "a -> a -> a -> a", "no confusion"),
        (("a", "b"), "a - b", "no class"),
    ],
)
def test_a_cell_that_is_not_clear_is_not_judged(labels: Any, key: str, said: str) -> None:
    """What could mean two cells, or none, is an error and no guess."""
    with pytest.raises(NotJudgedError, match=said):
        answers(labels=labels).cell(key)


# The single checks, where judge() does not reach them


def test_single_checks_are_closed_too() -> None:
    """Each function alone gives an error for what it cannot judge, and never raises."""
    broken = Answers(None, None, None)  # type: ignore[arg-type]
    results = [
        check_limits(GateSettings()),
        check_enough_rows(broken, 1),
        check_support(broken),
        check_probabilities(broken),
        check_metric(broken, "accuracy", Limit(min=0.5)),
        check_metric(answers(), "no_such_metric", Limit(min=0.5)),
        check_metric(answers(), "neg_log_loss", Limit(min=-9.0)),
        check_recall(broken, "late", 0.5),
        check_precision(broken, "late", 0.5),
        check_confusion(broken, "late -> on_time", 0.5),
        beats(broken, ALWAYS_LATE),
        check_champion(broken, Champion("1", ALWAYS_LATE, NOTHING), NOTHING),
        check_answers(None, None),  # type: ignore[arg-type]
    ]
    assert {result.status for result in results} == {Status.ERROR}
    assert all(result.reason for result in results)


def test_a_limit_that_is_no_number_refuses() -> None:
    """A NaN that gets past the settings is a limit that nothing keeps."""
    nan = float("nan")
    assert check_recall(answers(PERFECT), "late", nan).status is Status.FAILED
    assert check_precision(answers(PERFECT), "late", nan).status is Status.FAILED
    assert check_confusion(answers(PERFECT), "late -> on_time", nan).status is Status.FAILED
    assert beats(answers(PERFECT), ALWAYS_LATE, margin=nan).status is Status.FAILED
    champion = Champion("1", MISSES_ONE, NOTHING)
    found = check_champion(answers(PERFECT), champion, NOTHING, minimum_effect=nan)
    assert found.status is Status.FAILED
    limit = Limit.model_construct(min=nan, max=None)
    assert check_metric(answers(PERFECT), "accuracy", limit).status is Status.FAILED


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        (PERFECT, Status.PASSED, "3 answers, all the same"),
        (PERFECT.astype(object), Status.PASSED, "all the same"),
        (MISSES_ONE, Status.FAILED, "of row 1, is 'on_time' and was 'late'"),
        (PERFECT[:2], Status.ERROR, "2 answers, where 3"),
        (PERFECT[:0], Status.ERROR, "0 answers"),
        (np.array([1, 1, 0]), Status.ERROR, "integers, where strings"),
        (MISSING, Status.ERROR, "not None"),
        (None, Status.ERROR, ""),
    ],
)
def test_a_loaded_copy_answers_as_the_candidate_did(given: Any, status: Status, said: str) -> None:
    """One answer that differs, or cannot be compared, fails the smoke check."""
    check = check_answers(given, TRUTH)
    assert check.status is status
    assert said in check.reason


def test_nothing_expected_is_nothing_proven() -> None:
    """A smoke check without rows is an error, not a pass."""
    assert check_answers(PERFECT[:0], PERFECT[:0]).status is Status.ERROR


# Settings


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"minimum_rows": 0}, "greater than or equal to 1"),
        ({"minimum_rows": "many"}, "valid integer"),
        ({"minimum_row": 5}, "Extra inputs"),
        ({"metrics": {"acuracy": {"min": 0.5}}}, "did you mean 'accuracy'?"),
        ({"metrics": {"accuracy": 0.5}}, "{ min = 0.5 }"),
        ({"metrics": {"accuracy": {}}}, "min, max or both"),
        ({"metrics": {"accuracy": {"mn": 0.5}}}, "Extra inputs"),
        ({"metrics": {"accuracy": {"min": 0.9, "max": 0.8}}}, "nothing could pass"),
        ({"metrics": {"accuracy": {"min": 0.0}}}, "asks nothing"),
        ({"metrics": {"accuracy": {"max": 1.0}}}, "asks nothing"),
        ({"metrics": {"accuracy": {"min": -0.1}}}, "outside"),
        ({"metrics": {"accuracy": {"min": 87.0}}}, "outside"),
        ({"metrics": {"neg_log_loss": {"min": 0.3}}}, "outside"),
        ({"metrics": {"accuracy": {"min": float("nan")}}}, "finite"),
        ({"metrics": {"accuracy": {"min": "0.9"}}}, "valid number"),
        ({"recall": {"late": 0.0}}, "greater than 0"),
        ({"recall": {"late": 1.5}}, "less than or equal to 1"),
        ({"recall": {"late": True}}, "valid number"),
        ({"recall": {"late": float("nan")}}, "finite"),
        ({"recall": {"": 0.5}}, "at least 1 character"),
        ({"precision": {"late": -0.5}}, "greater than 0"),
        ({"confusion": {"late -> on_time": 1.0}}, "less than 1"),
        ({"confusion": {"late on_time": 0.5}}, "true class -> predicted class"),
        ({"confusion": {"late -> ": 0.5}}, "true class -> predicted class"),
        ({"confusion": {"late -> late": 0.5}}, "[gate.recall]"),
        ({"scoring": "r2"}, "'accuracy' or 'balanced_accuracy'"),
        ({"minimum_support": 0}, "greater than or equal to 1"),
        ({"overfit": 1.0}, "less than 1"),
        ({"size_mb": 0}, "greater than 0"),
        ({"baseline": {"majority": -0.1}}, "greater than or equal to 0"),
        ({"baseline": {"yardstik": 0.1}}, "Extra inputs"),
        ({"champion": {"minimum_effect": float("inf")}}, "finite"),
        ({"champion": {"minimum_effect": 1.0}}, "less than 1"),
        ({"cost": {"matrix": {"late -> on_time": 5.0}}}, "max ask nothing"),
        ({"cost": {"matrix": {"late -> late": 5.0}, "max": 1.0}}, "no confusion"),
        ({"cost": {"matrix": {"late -> on_time": -5.0}, "max": 1.0}}, "greater than or equal to 0"),
        ({"slices": {"columns": ["carrier"]}}, "minimum ask nothing"),
        ({"slices": {"minimum": 0.0}}, "greater than 0"),
        ({"calibration": {"ece": 1.0}}, "less than 1"),
        ({"calibration": {"bins": 1}}, "greater than or equal to 2"),
        ({"latency": {"row_ms": 0}}, "greater than 0"),
        ({"invariance": {"flips": 1.0}}, "less than 1"),
        ({"robustness": {"noise": 0}}, "greater than 0"),
        ({"leakage": {"alone": 0.5}}, "greater than 0.5"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_refused(section: dict[str, Any], said: str) -> None:
    """Unknown names, impossible values and limits that ask nothing never reach a judgement."""
    with pytest.raises(ValidationError, match=re.escape(said)):
        GateSettings.model_validate(section)


# What scikit-learn says


def test_every_classification_scorer_of_sklearn_is_known() -> None:
    """The list is scikit-learn's own, without what scores numbers, clusters or many labels."""
    regression = r"error|deviance|d2_(absolute|pinball|tweedie)|explained_variance|r2"
    clustering = r"rand|mutual_info|homogeneity|completeness|v_measure|fowlkes"
    others = re.compile(f"{regression}|{clustering}|_samples$")
    ours = {name for name in sk.get_scorer_names() if not others.search(name)}
    assert set(METRICS) == ours


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("k", [2, 3])
def test_scores_are_those_of_sklearn(name: str, k: int) -> None:
    """A score has the value that scikit-learn's scorer gives for the live model."""
    rng = np.random.default_rng(k)
    X = rng.normal(size=(200, 2))
    y = np.digitize(X[:, 0] + rng.normal(size=200), np.linspace(-0.5, 0.5, k - 1) if k > 2 else [0])
    model = KNeighborsClassifier(15).fit(X, y)
    given = Answers(model.classes_, y, model.predict(X), model.predict_proba(X))
    try:
        with warnings.catch_warnings(action="error"):
            expected = sk.get_scorer(name)(model, X, y)
    except (ValueError, UndefinedMetricWarning):
        with pytest.raises(ValueError, match=r"."):
            score(name, given)
        return
    assert score(name, given) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["f1", "precision", "recall", "jaccard", "average_precision"])
@pytest.mark.parametrize("positive", ["late", "on_time"])
def test_scores_of_one_class_are_about_the_one_named(name: str, positive: str) -> None:
    """A string is the positive class when it is named, and the other one is not."""
    truth = np.array(["late", "late", "late", "on_time", "on_time"])
    predictions = np.array(["late", "on_time", "late", "late", "on_time"])
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.8, 0.2], [0.1, 0.9]])
    value = score(name, Answers(LABELS, truth, predictions, probabilities, positive))
    if name == "average_precision":
        column = probabilities[:, LABELS.index(positive)]
        expected = sk.average_precision_score(truth == positive, column)
    else:
        metric = getattr(sk, f"{name}_score")
        expected = metric(truth, predictions, pos_label=positive)
    assert value == pytest.approx(expected)


@st.composite
def labelled(draw: st.DrawFn, classes: int = 100) -> tuple[list[Any], np.ndarray, np.ndarray]:
    """Draw classes of any kind, in any order, and rows of them; some classes have no row."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    k = draw(st.integers(2, classes))
    kind = draw(st.sampled_from(["int", "str", "object", "bool"]))
    if kind == "bool":
        labels: list[Any] = [False, True]
    elif kind == "int":
        labels = rng.choice(np.arange(-500, 500), k, replace=False).tolist()
    else:
        labels = [f"{'é x'[: n % 4]}{n}" for n in rng.choice(1000, k, replace=False).tolist()]
    held = np.array(labels, dtype=object if kind == "object" else None)
    rows = draw(st.integers(1, 60))
    return labels, rng.choice(held, rows), rng.choice(held, rows)


@PROPERTY
@given(labelled())
def test_the_confusion_matrix_is_that_of_sklearn(drawn: Any) -> None:
    """For 2 to 100 classes of any kind, in any order, whether or not a row has them."""
    labels, truth, predictions = drawn
    counts = Answers(labels, truth, predictions).confusion
    expected = sk.confusion_matrix(
        np.array(truth.tolist()), np.array(predictions.tolist()), labels=np.array(labels)
    )
    np.testing.assert_array_equal(counts, expected)


# What must hold for every gate


SHARE = st.floats(0.01, 0.99)
TWO_CLASS_ROWS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20)


@PROPERTY
@given(TWO_CLASS_ROWS, SHARE, SHARE)
def test_raising_a_limit_never_turns_a_refusal_into_a_pass(
    rows: list[tuple[bool, bool]], one: float, other: float
) -> None:
    """Of two limits the stricter passes no model that the laxer refuses."""
    lax, strict = sorted((one, other))
    truth, predictions = np.array(rows).T
    given = answers(predictions, truth, (False, True))
    for lenient, harsh in [
        (
            check_metric(given, "balanced_accuracy", Limit(min=lax)),
            check_metric(given, "balanced_accuracy", Limit(min=strict)),
        ),
        (
            check_metric(given, "f1", Limit(max=strict)),
            check_metric(given, "f1", Limit(max=lax)),
        ),
        (check_recall(given, "true", lax), check_recall(given, "true", strict)),
        (check_precision(given, "true", lax), check_precision(given, "true", strict)),
        (
            check_confusion(given, "true -> false", strict),
            check_confusion(given, "true -> false", lax),
        ),
        (
            beats(given, ~truth, margin=lax),
            beats(given, ~truth, margin=strict),
        ),
        (check_enough_rows(given, int(20 * lax)), check_enough_rows(given, int(20 * strict))),
    ]:
        assert lenient.status is Status.PASSED or harsh.status is not Status.PASSED


def statuses(
    gate: Gate, labels: list[Any], truth: np.ndarray, predictions: np.ndarray, floor: float
) -> list[Status]:
    """Judge by every kind of rule, and return what each of them found."""
    names = [class_name(label) for label in labels]
    settings = {
        "metrics": {"accuracy": {"min": floor}, "f1_macro": {"max": floor}},
        "recall": dict.fromkeys(names, floor),
        "precision": dict.fromkeys(names, floor),
        "confusion": {f"{names[0]} -> {names[1]}": floor},
    }
    report = gate(
        settings,
        labels=labels,
        truth=truth,
        predictions=predictions,
        probabilities=certain(predictions, labels),
        baseline=np.repeat(np.array(labels[:1]), len(truth)),
        champion=truth,
    )
    return [check.status for check in report.checks]


@PROPERTY
@given(labelled(classes=6), st.integers(0, 2**32 - 1), SHARE)
def test_neither_the_order_of_rows_nor_the_names_of_classes_matter(
    gate: Gate, drawn: Any, seed: int, floor: float
) -> None:
    """The same answers in another order, under other names, get the same status rule by rule."""
    labels, truth, predictions = drawn
    first = statuses(gate, labels, truth, predictions, floor)
    order = np.random.default_rng(seed).permutation(len(truth))
    assert statuses(gate, labels, truth[order], predictions[order], floor) == first
    names = {label: f"class {chr(ord('z') - place)}" for place, label in enumerate(labels)}
    renamed = [np.array([names[value] for value in each.tolist()]) for each in (truth, predictions)]
    assert statuses(gate, list(names.values()), renamed[0], renamed[1], floor) == first


@PROPERTY
@given(TWO_CLASS_ROWS, st.sampled_from(["recall", "precision"]), SHARE)
def test_a_further_limit_never_helps(
    gate: Gate, rows: list[tuple[bool, bool]], section: str, floor: float
) -> None:
    """A gate with one limit more passes no model that the gate without it refuses."""
    truth, predictions = np.array(rows).T
    given: dict[str, Any] = {
        "labels": (False, True),
        "truth": truth,
        "predictions": predictions,
        "baseline": ~truth,
    }
    few = {"metrics": {"accuracy": {"min": 0.5}}}
    more = gate({**few, section: {"true": floor}}, **given)
    assert gate(few, **given).passed or not more.passed


@pytest.mark.checkout
def test_the_guide_names_every_rule(gate: Gate) -> None:
    """docs/gate.md explains each rule, each setting of the gate and each verdict."""
    guide = GUIDE.read_text(encoding="utf-8")
    words = set(re.findall(r"`([^`\n]+)`", guide)) | set(re.findall(r"^(\w+) =", guide, re.M))
    sections = set(re.findall(r"^\[gate\.(\w+)\]", guide, re.M))
    plain = {re.sub(r"\[.*", "", word) for word in words} | sections
    plain |= {word.rpartition(".")[2] for word in words}
    plain |= {word.partition(" = ")[0] for word in words}
    assert {name for name in GateSettings.model_fields if name not in plain} == set()
    for field in GateSettings.model_fields.values():
        if isinstance(field.default, Section):
            assert {name for name in type(field.default).model_fields if name not in plain} == set()
    assert {name for name in METRICS if name not in words} == set()
    ids = [check.id for check in gate().checks if check.id != "accuracy"]
    assert {id for id in ids if id not in words} == set()


@pytest.mark.checkout
def test_the_examples_of_the_guide_are_what_the_gate_says() -> None:
    """Each example of docs/gate.md, run anew, prints what stands there."""
    found = doctest.testfile(str(GUIDE), module_relative=False)
    assert found.attempted > 30
    assert found.failed == 0


@pytest.mark.checkout
def test_the_settings_of_the_guide_are_settings() -> None:
    """Each table of settings in docs/gate.md is one that the gate takes."""
    for block in blocks(GUIDE.read_text(encoding="utf-8"), "toml"):
        GateSettings.model_validate(tomllib.loads(block)["gate"])
