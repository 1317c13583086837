"""What each kind of model has learned, counted against the model itself."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from pipelines.parameters import describe_learned

ROWS = pd.DataFrame(np.random.default_rng(0).normal(size=(80, 3)), columns=["a", "b", "c"])
LABELS = np.where(ROWS["a"] * 5 + ROWS["b"] > 0, "yes", "no")


def _fitted(model: Any, before: Any = None) -> Pipeline:
    scaler = ColumnTransformer([("numbers", StandardScaler(), ["a", "b", "c"])])
    return Pipeline([("preprocess", before or scaler), ("model", model)]).fit(ROWS, LABELS)


def test_a_network_is_its_layers() -> None:
    """Weights and biases of each, whose counts are those of the arrays."""
    network = MLPClassifier((5, 4), max_iter=5, random_state=0)
    parts = describe_learned(_fitted(network))
    assert [(part.name, part.shape, part.parameters) for part in parts] == [
        ("hidden layer 1: weights", "3 × 5", 15),
        ("hidden layer 1: biases", "5", 5),
        ("hidden layer 2: weights", "5 × 4", 20),
        ("hidden layer 2: biases", "4", 4),
        ("output layer: weights", "4 × 1", 4),
        ("output layer: biases", "1", 1),
    ]
    assert parts[0].median == pytest.approx(np.median(np.abs(network.coefs_[0])))


def test_a_neuron_that_has_no_say_is_counted() -> None:
    """Whether nothing leaves it or nothing enters it."""
    model = _fitted(MLPClassifier((5,), max_iter=5, random_state=0))
    assert describe_learned(model)[0].note == "0 of 5 neurons silent"
    model[-1].coefs_[0][:, 1] = 1e-9
    model[-1].coefs_[1][3, :] = 0.0
    assert describe_learned(model)[0].note == "2 of 5 neurons silent"


@pytest.mark.parametrize("model", [LogisticRegression(), SGDClassifier(loss="log_loss")])
def test_a_linear_model_names_its_largest_coefficients(model: Any) -> None:
    """By the columns that it was given, strongest first."""
    weights, intercepts = describe_learned(_fitted(model))
    assert (weights.shape, weights.parameters, intercepts.parameters) == ("1 × 3", 3, 1)
    assert weights.note.startswith("largest: numbers__a, ")


def test_columns_without_names_are_no_error() -> None:
    """A transformer of the project's own need not name what it makes."""
    weights, _ = describe_learned(_fitted(LogisticRegression(), FunctionTransformer(np.asarray)))
    assert weights.note == ""


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(7, random_state=0),
        ExtraTreesClassifier(7, random_state=0),
        HistGradientBoostingClassifier(max_iter=7),
    ],
)
def test_an_ensemble_is_its_trees(model: Any) -> None:
    """Each has one split less than leaves."""
    splits, leaves = describe_learned(_fitted(model))
    assert splits.shape == leaves.shape == "7 trees"
    assert leaves.parameters - splits.parameters == 7
    assert splits.parameters > 0


def test_a_vote_is_its_members() -> None:
    """What each has learned, by its place."""
    vote = VotingClassifier(
        [("one", LogisticRegression()), ("two", RandomForestClassifier(3))], voting="soft"
    )
    names = [part.name for part in describe_learned(_fitted(vote))]
    assert names == ["1: coefficients", "1: intercepts", "2: splits", "2: leaf values"]


def test_an_estimator_that_nobody_foresaw_shows_its_arrays() -> None:
    """Whatever numbers it keeps under scikit-learn's convention."""
    parts = {part.name: part.parameters for part in describe_learned(_fitted(GaussianNB()))}
    assert parts["theta_"] == parts["var_"] == 6
