"""What a model is asked to find out whether its answers hold."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline

from pipelines import probes
from pipelines.errors import DataError
from pipelines.evaluation import evaluate
from pipelines.features import Roles, conform, preprocessor

ROLES = Roles(("delay", "distance", "fixed", "empty"), ("carrier", "origin"))
ROWS = 700


@pytest.fixture(scope="module")
def X() -> pd.DataFrame:
    """A conformed table with missing values, a constant and a column without a value."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "delay": rng.normal(size=ROWS),
            "distance": rng.normal(1_000, 200, size=ROWS),
            "fixed": 3.0,
            "empty": np.nan,
            "carrier": rng.choice(["AA", "UA", "DL"], ROWS, p=[0.8, 0.15, 0.05]),
            "origin": rng.choice(["JFK", "EWR"], ROWS),
        }
    )
    table.loc[::7, "delay"] = np.nan
    table.loc[::9, "carrier"] = None
    return conform(table, ROLES)


@pytest.fixture(scope="module")
def y(X: pd.DataFrame) -> np.ndarray:
    """Labels that follow a number and a category."""
    late = X["delay"].fillna(0) + 2 * (X["carrier"] == "UA") > 0.5
    return np.where(late, "late", "on time")


@pytest.fixture(scope="module")
def model(X: pd.DataFrame, y: np.ndarray) -> Pipeline:
    """A fitted model."""
    return Pipeline([("preprocess", preprocessor(ROLES)), ("model", LogisticRegression())]).fit(
        X, y
    )


class Recorder(ClassifierMixin, BaseEstimator):
    """A constant classifier that keeps the rows that it was asked about."""

    def __init__(self) -> None:
        self.asked: list[pd.DataFrame] = []

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Keep the rows."""
        self.asked.append(X)
        return np.zeros(len(X), dtype=int)


def _asked(probe: Any, *arguments: Any, **options: Any) -> pd.DataFrame:
    recorder = Recorder()
    probe(recorder, *arguments, **options)
    (asked,) = recorder.asked
    return asked


# -- again and reordered ------------------------------------------------------------------


def test_a_second_answer_has_the_columns_of_the_first(model: Pipeline, X: pd.DataFrame) -> None:
    """Also where the rows hold a class that the model has never seen."""
    unseen = np.array(["cancelled", "late"] * (ROWS // 2))
    first = evaluate(model, X, unseen)
    second = probes.again(model, X, first.labels)
    assert second.shape == (ROWS, 3)
    np.testing.assert_array_equal(second, first.probabilities)


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        HistGradientBoostingClassifier(max_iter=10),
        MLPClassifier((16,), max_iter=5),
    ],
    ids=["linear", "boosting", "mlp"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_honest_model_answers_alike_in_any_order(
    X: pd.DataFrame, y: np.ndarray, estimator: ClassifierMixin
) -> None:
    """Every family does, and the answers come back in the order of the rows."""
    model = Pipeline([("preprocess", preprocessor(ROLES)), ("model", estimator)]).fit(X, y)
    np.testing.assert_array_equal(probes.reordered(model, X), model.predict(X))


class RankedInItsBatch(ClassifierMixin, BaseEstimator):
    """Calls late whatever is above the mean of the rows that it is asked about together."""

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Compare with the mean."""
        return np.where(X["distance"] > X["distance"].mean(), "late", "on time")


class Remembering(ClassifierMixin, BaseEstimator):
    """Calls late every second row of a batch."""

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Count."""
        return np.where(np.arange(len(X)) % 2 == 0, "late", "on time")


@pytest.mark.parametrize("model", [RankedInItsBatch(), Remembering()])
def test_a_model_that_looks_at_other_rows_is_found_out(
    X: pd.DataFrame, model: ClassifierMixin
) -> None:
    """By the mean of its batch, or by the place of the row in it."""
    assert (probes.reordered(model, X) != model.predict(X)).sum() > 10


@pytest.mark.parametrize("rows", [1, 2, 5, ROWS])
def test_rows_are_asked_once_each_alone_or_in_unequal_parts(X: pd.DataFrame, rows: int) -> None:
    """A model that only fails for a single row, or for a full batch, shows."""
    recorder = Recorder()
    assert len(probes.reordered(recorder, X.head(rows))) == rows
    sizes = [len(part) for part in recorder.asked]
    order = np.concatenate([part.index for part in recorder.asked])
    assert sorted(order) == list(range(rows))
    assert 1 in sizes
    if rows == ROWS:
        assert len(set(sizes)) > 3
        assert (order != np.arange(rows)).mean() > 0.9


# -- noisy and emptied --------------------------------------------------------------------


def test_noise_is_in_standard_deviations_of_each_number(X: pd.DataFrame) -> None:
    """Every number that is there moves, by its own column's measure; nothing else does."""
    asked = _asked(probes.noisy, X, ROLES, noise=0.1)
    for column in ("delay", "distance"):
        moved = (asked[column] - X[column]).dropna()
        assert len(moved) == X[column].notna().sum()
        assert (moved != 0).all()
        assert moved.std() / X[column].std() == pytest.approx(0.1, rel=0.1)
        assert abs(moved.mean()) < 0.02 * X[column].std()
    rest = ["fixed", "empty", *ROLES.categorical]
    pd.testing.assert_frame_equal(asked[rest], X[rest])
    assert list(asked.columns) == list(X.columns)


def test_a_share_of_the_cells_of_every_column_is_emptied(X: pd.DataFrame) -> None:
    """Numbers and text alike; what is left is as it was, and the model can read it."""
    asked = _asked(probes.emptied, X, missing=0.2)
    for column in ("delay", "distance", "fixed", *ROLES.categorical):
        there = X[column].notna()
        assert asked.loc[there, column].isna().mean() == pytest.approx(0.2, abs=0.06)
        kept = asked[column].dropna()
        pd.testing.assert_series_equal(kept, X.loc[kept.index, column])
    pd.testing.assert_frame_equal(conform(asked, ROLES), asked)


# -- shuffled -----------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["delay", "distance", "carrier", "origin"])
def test_every_row_gets_another_value(X: pd.DataFrame, column: str) -> None:
    """Also of a lopsided column, where a permutation would leave most rows as they are."""
    asked = _asked(probes.shuffled, X, column)
    before, after = X[column].fillna("none"), asked[column].fillna("none")
    assert (before != after).all()
    assert set(after) <= set(before)
    assert asked[column].dtype == X[column].dtype
    rest = X.columns.drop(column)
    pd.testing.assert_frame_equal(asked[rest], X[rest])


def test_the_other_values_are_drawn_as_often_as_they_occur(X: pd.DataFrame) -> None:
    """So that a rare level is not asked about more than it should be."""
    asked = _asked(probes.shuffled, X, "carrier", seed=3)
    common = X["carrier"] == "AA"
    others = X.loc[~common, "carrier"].fillna("none").value_counts(normalize=True)
    drawn = asked.loc[common, "carrier"].fillna("none").value_counts(normalize=True)
    for level, share in others.items():
        assert drawn[level] == pytest.approx(share, abs=0.08)


@pytest.mark.parametrize("column", ["fixed", "empty"])
def test_a_constant_column_cannot_be_shuffled(X: pd.DataFrame, column: str) -> None:
    """There is no other value to give."""
    pd.testing.assert_frame_equal(_asked(probes.shuffled, X, column), X)


def test_a_column_that_the_model_does_not_read_is_told(X: pd.DataFrame) -> None:
    """An answer could not change, which would look like fairness."""
    with pytest.raises(DataError, match="does not read 'gender'"):
        probes.shuffled(Recorder(), X, "gender")


# -- all ----------------------------------------------------------------------------------


def _all(model: ClassifierMixin, X: pd.DataFrame, seed: int) -> list[np.ndarray]:
    return [
        probes.reordered(model, X, seed=seed),
        probes.noisy(model, X, ROLES, noise=0.5, seed=seed),
        probes.emptied(model, X, missing=0.3, seed=seed),
        probes.shuffled(model, X, "carrier", seed=seed),
    ]


def test_the_same_seed_gives_the_same_answers(model: Pipeline, X: pd.DataFrame) -> None:
    """A gate that is asked twice must say the same, and the rows stay as they were."""
    before = X.copy()
    for first, second in zip(_all(model, X, 4), _all(model, X, 4), strict=True):
        np.testing.assert_array_equal(first, second)
    for first, second in zip(_all(model, X, 4)[1:], _all(model, X, 5)[1:], strict=True):
        assert (first != second).any()
    pd.testing.assert_frame_equal(X, before)


def test_a_threshold_decides_every_answer(model: Pipeline, X: pd.DataFrame, y: np.ndarray) -> None:
    """What is asked is `predict`, which is what is served."""
    severe = FixedThresholdClassifier(model, threshold=0.0, pos_label="late").fit(X, y)
    for answers in _all(severe, X, 0):
        assert (answers == "late").all()
    for answers in _all(model, X, 0):
        assert (answers == "on time").any()
