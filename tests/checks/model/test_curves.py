"""The curves of the report are scikit-learn's."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from checks.model.answers import Answers
from checks.model.curves import MOST_POINTS, curves


def scored(k: int, rows: int = 2_000, *, positive: Any = None, seed: int = 0) -> Answers:
    """Make k classes, the later the commoner, with probabilities that know something."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(k, rows, p=np.arange(1, k + 1) / (k * (k + 1) / 2))
    scores = rng.random((rows, k))
    scores[np.arange(rows), truth] += 0.5
    given = scores / scores.sum(axis=1, keepdims=True)
    return Answers(range(k), truth, given.argmax(axis=1), given, positive)


@pytest.mark.parametrize(("positive", "name"), [(None, "1"), (0, "0"), (1, "1")])
def test_of_two_classes_one_is_drawn(positive: Any, name: str) -> None:
    """The positive one, and the second where none is named."""
    some = scored(2, positive=positive)
    drawn = curves(some)
    assert list(drawn) == [name]
    truth, scores = some.truth == int(name), np.asarray(some.probabilities)[:, int(name)]
    assert drawn[name]["roc"]["area"] == pytest.approx(roc_auc_score(truth, scores))
    area = drawn[name]["precision_recall"]["area"]
    assert area == pytest.approx(average_precision_score(truth, scores))


@pytest.mark.parametrize("k", [3, 10, 100])
def test_of_many_classes_the_rarest_four_are_drawn(k: int) -> None:
    """They are the ones a score over all rows says least about."""
    some = scored(k, 20_000)
    rows = np.bincount(some.truth, minlength=k)
    held = sorted((code for code in range(k) if rows[code]), key=lambda code: rows[code])
    assert list(curves(some)) == [str(code) for code in held[:4]]


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(2, 3_000), seed=st.integers(0, 100), digits=st.integers(1, 9))
def test_a_curve_is_thinned_to_points_of_its_own(rows: int, seed: int, digits: int) -> None:
    """At most 101 points, both ends among them, each one a point of the whole curve."""
    some = scored(2, rows, seed=seed)
    given_ = np.round(np.asarray(some.probabilities), digits)
    truth = some.truth
    truth[:2] = [0, 1]
    drawn = curves(Answers((0, 1), truth, some.predicted, given_))["1"]
    roc, precision_recall = drawn["roc"], drawn["precision_recall"]
    assert len(roc["fpr"]) == len(roc["tpr"]) <= MOST_POINTS
    assert len(precision_recall["recall"]) == len(precision_recall["precision"]) <= MOST_POINTS
    assert (roc["fpr"][0], roc["tpr"][0], roc["fpr"][-1], roc["tpr"][-1]) == (0, 0, 1, 1)
    fpr, tpr, _ = roc_curve(truth == 1, given_[:, 1])
    assert set(zip(roc["fpr"], roc["tpr"], strict=True)) <= set(
        zip(fpr.tolist(), tpr.tolist(), strict=True)
    )
    assert json.loads(json.dumps(drawn)) == drawn


def test_a_thinned_curve_looks_the_same() -> None:
    """The area under the points that are kept differs from that of all by less than a pixel."""
    drawn = curves(scored(2, 50_000))["1"]["roc"]
    kept = np.trapezoid(drawn["tpr"], drawn["fpr"])
    assert kept == pytest.approx(drawn["area"], abs=0.002)


@pytest.mark.parametrize(
    ("labels", "positive", "name"),
    [
        (("late", "on_time"), "late", "late"),
        ((False, True), None, "true"),
        ((7, 3), None, "3"),
    ],
)
def test_curves_are_named_as_rules_name_classes(labels: Any, positive: Any, name: str) -> None:
    """Strings, booleans and integers by their text."""
    plain = scored(2)
    named = np.array(labels)
    some = Answers(
        labels, named[plain.truth], named[plain.predicted], plain.probabilities, positive
    )
    assert list(curves(some)) == [name]


@pytest.mark.parametrize(
    ("truth", "probabilities"),
    [
        ([0, 1, 1], None),
        ([0, 1, 1], [[np.nan, 1], [0.5, 0.5], [0.5, 0.5]]),
        ([0, 1, 1], [[0.5, 0.5]]),
        ([1, 1, 1], [[0.5, 0.5]] * 3),
        ([0, 0, 0], [[0.5, 0.5]] * 3),
        ([0, 1, 5], [[0.5, 0.5]] * 3),
    ],
)
def test_nothing_is_drawn_where_there_is_nothing(truth: Any, probabilities: Any) -> None:
    """No probabilities, a NaN, one class alone: no curve, and no exception."""
    some = Answers(
        (0, 1),
        np.array(truth),
        np.array([0, 1, 1]),
        None if probabilities is None else np.array(probabilities),
    )
    assert curves(some) == {}


def test_a_class_without_rows_is_not_drawn() -> None:
    """A class that the rows lack has no curve; the others have theirs."""
    some = scored(3)
    wider = np.column_stack([np.asarray(some.probabilities), np.zeros(2_000)])
    assert set(curves(Answers(range(4), some.truth, some.predicted, wider))) == {"0", "1", "2"}
