"""pipelines.sweep.scoring: the same numbers as scikit-learn's own scorers."""

import inspect
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import get_scorer, get_scorer_names, make_scorer
from sklearn.metrics import log_loss as theirs
from sklearn.naive_bayes import GaussianNB

from pipelines.errors import ProjectError
from pipelines.sweep.scoring import SCORERS, check_scoring, log_loss
from pipelines.sweep.trial import load_data, save_data

LABELS = {
    "text": np.array(["early", "late", "on_time"]),
    "whole numbers": np.array([3, 7, 19]),
    "booleans": np.array([False, True]),
}


def rows(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose first column tells the class, more or less, and every class is there."""
    random = np.random.default_rng(4)
    X = random.normal(size=(240, 3)).astype(np.float32)
    hidden = X[:, 0] + random.normal(size=240)
    return X, labels[np.digitize(hidden, (-0.3, 0.9)[: len(labels) - 1])]


def expected(scoring: str, model: Any, X: np.ndarray, y: np.ndarray, positive: Any) -> float:
    """Ask scikit-learn's scorer, told which class is the positive one where its metric asks."""
    scorer = get_scorer(scoring)
    takes = inspect.signature(scorer._score_func).parameters
    # With its default of 1 a metric of two classes takes no text; and neither do averages care.
    averaged = scorer._kwargs.get("average", "binary") != "binary"
    if len(model.classes_) == 2 and "pos_label" in takes and not averaged:
        scorer = make_scorer(
            scorer._score_func,
            response_method=scorer._response_method,
            greater_is_better=scorer._sign > 0,
            **{**scorer._kwargs, "pos_label": positive},
        )
    elif scoring.endswith("likelihood_ratio"):
        return float(scorer._sign * scorer._score_func(y == positive, model.predict(X) == positive))
    return float(scorer(model, X, y))


def defined(scoring: str, classes: int) -> bool:
    """Whether scikit-learn has such a score for so many classes."""
    try:
        check_scoring(scoring, classes)
    except ProjectError:
        return False
    return True


CASES = [
    (scoring, kind, classes, first)
    for scoring in SCORERS
    for kind, labels in LABELS.items()
    for classes in (2, 3)
    if classes <= len(labels) and defined(scoring, classes)
    for first in ((False, True) if classes == 2 else (False,))
]
"""A positive class comes first or last; of three there is none."""


@pytest.mark.parametrize(("scoring", "kind", "classes", "first"), CASES)
def test_every_score_is_the_scorers(
    tmp_path: Path, scoring: str, kind: str, classes: int, first: bool
) -> None:
    """Each score is what scikit-learn's scorer of that name says of the fitted classifier."""
    labels = LABELS[kind][:classes]
    X, y = rows(labels)
    more = {"flipped": np.ones(1)} if first else {}
    save_data(tmp_path, X_train=X, y_train=y, X_validation=X, y_validation=y, **more)
    data = load_data(tmp_path)
    model = GaussianNB().fit(X[::2], y[::2])
    found = data.score(scoring, data.codes_validation, model.predict_proba(X))
    positive = labels[0] if first else labels[-1]
    assert found == pytest.approx(expected(scoring, model, X, y, positive), rel=1e-6, abs=1e-9)


def test_what_is_defined() -> None:
    """Every score is defined for two classes; for three, all but those of one positive class."""
    assert [name for name in SCORERS if not defined(name, 2)] == []
    of_two = {"average_precision", "f1", "jaccard", "precision", "recall", "roc_auc"}
    undefined = {name for name in SCORERS if not defined(name, 3)}
    assert undefined >= of_two - {"average_precision"}
    assert undefined <= of_two | {"neg_negative_likelihood_ratio", "positive_likelihood_ratio"}


def test_an_undefined_score_names_itself() -> None:
    """A score that these classes do not have is refused with the setting to change."""
    with pytest.raises(ProjectError, match=r"train\.scoring") as caught:
        check_scoring("f1", 3)
    assert "f1" in caught.value.rule
    assert "3 classes" in caught.value.rule


def test_every_scorer_of_classifiers() -> None:
    """The names are scikit-learn's scorers that probabilities can feed, every one.

    Left out are those of regression, of clusterings, and of rows with several labels.
    """
    X, y = rows(np.array([0, 1]))
    model = GaussianNB().fit(X, y)
    fit: set[str] = set()
    for name in get_scorer_names():
        scorer = get_scorer(name)
        module = scorer._score_func.__module__
        if not module.endswith(("_classification", "_ranking", "_scorer")) or name.endswith(
            "_samples"
        ):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scorer(model, X, y)
        fit.add(name)
    assert set(SCORERS) == fit
    assert list(SCORERS) == sorted(SCORERS)


@given(
    weights=st.lists(
        st.tuples(*[st.floats(0, 1) for _ in range(3)]).filter(lambda row: sum(row) > 0.01),
        min_size=3,
        max_size=20,
    ),
    dtype=st.sampled_from([np.float32, np.float64]),
)
@settings(max_examples=100, deadline=None)
def test_the_loss_is_theirs(weights: list[tuple[float, ...]], dtype: type[np.floating]) -> None:
    """The log loss is scikit-learn's, also where a true class is said to be impossible."""
    raw = np.array(weights)
    probabilities = (raw / raw.sum(axis=1, keepdims=True)).astype(dtype)
    codes = np.arange(len(raw)) % 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = theirs(codes, probabilities, labels=[0, 1, 2])
    assert log_loss(codes, probabilities) == pytest.approx(said, rel=1e-5)
