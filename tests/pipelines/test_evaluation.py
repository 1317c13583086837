"""Predictions as numbers, also where rows and model do not fit each other well."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer

from pipelines.errors import DataError
from pipelines.evaluation import evaluate, majority, slices


@pytest.fixture(autouse=True)
def _no_warnings() -> Any:
    """A warning of sklearn's on stderr is noise to a user."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def _rows(n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame({"x": rng.normal(size=n), "z": rng.normal(size=n)})


def _labels(X: pd.DataFrame, classes: list[Any]) -> np.ndarray:
    noise = np.random.default_rng(2).normal(scale=0.5, size=len(X))
    cuts = np.quantile(X["x"], np.linspace(0, 1, len(classes) + 1)[1:-1])
    return np.array(classes)[np.searchsorted(cuts, X["x"] + noise)]


@pytest.mark.parametrize("classes", [["late", "on time"], [0, 1], [False, True], ["a", "b", "c"]])
def test_metrics_are_those_of_sklearns_scorers(classes: list[Any]) -> None:
    """A name means here what it means to sklearn."""
    X = _rows()
    y = _labels(X, classes)
    model = LogisticRegression().fit(X, y)
    found = evaluate(model, X, y)
    assert set(found.metrics) == {
        "accuracy",
        "balanced_accuracy",
        "f1_macro",
        "neg_log_loss",
        "roc_auc" if len(classes) == 2 else "roc_auc_ovr",
    }
    for name, value in found.metrics.items():
        assert value == pytest.approx(get_scorer(name)(model, X, y)), name


def test_the_confusion_matrix_has_true_classes_in_its_rows() -> None:
    """Recall is read along a row, precision down a column."""
    X = _rows()
    y = _labels(X, ["late", "on time"])
    found = evaluate(LogisticRegression().fit(X, y), X, y)
    late = found.predictions == "late"
    assert found.labels == ("late", "on time")
    assert found.confusion[0].tolist() == [
        (late & (y == "late")).sum(),
        (~late & (y == "late")).sum(),
    ]
    assert found.per_class["late"] == {
        "precision": pytest.approx(np.mean(y[late] == "late")),
        "recall": pytest.approx(np.mean(late[y == "late"])),
        "support": int((y == "late").sum()),
    }


def test_a_class_that_the_model_never_saw_is_counted_as_missed() -> None:
    """Its rows are in the matrix, with probability zero."""
    X = _rows()
    y = _labels(X, ["a", "c"])
    model = LogisticRegression().fit(X, y)
    truth = y.copy()
    truth[:10] = "b"
    found = evaluate(model, X, truth)
    assert found.labels == ("a", "b", "c")
    assert found.confusion[1].sum() == 10
    assert found.confusion[:, 1].sum() == 0
    assert found.probabilities[:, 1].max() == 0.0
    assert found.per_class["b"] == {"precision": 0.0, "recall": 0.0, "support": 10}
    assert found.metrics["accuracy"] == np.mean(model.predict(X) == truth)
    assert np.isfinite(list(found.metrics.values())).all()


def test_rows_of_one_class_have_no_area_under_the_curve() -> None:
    """What a batch does not define is absent, and nothing is made up."""
    X = _rows()
    y = _labels(X, ["a", "b"])
    model = LogisticRegression().fit(X, y)
    found = evaluate(model, X, np.array(["a"] * len(X)))
    assert "roc_auc" not in found.metrics
    assert found.metrics["balanced_accuracy"] == found.metrics["accuracy"]
    assert found.per_class["b"]["support"] == 0
    assert found.confusion.sum() == len(X)


def test_labels_of_another_kind_are_refused() -> None:
    """Numbers that came back as text would make any model look worthless."""
    X = _rows()
    model = LogisticRegression().fit(X, _labels(X, [0, 1]))
    with pytest.raises(DataError, match="kind that it learned"):
        evaluate(model, X, _labels(X, ["0", "1"]))


def test_probabilities_that_are_no_numbers_give_metrics_that_are_none() -> None:
    """NaN is handed on, so that a gate sees it and fails closed."""

    class Broken(LogisticRegression):
        def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
            return np.full((len(X), 2), np.nan)

    X = _rows()
    y = _labels(X, ["a", "b"])
    found = evaluate(Broken().fit(X, y), X, y)
    assert np.isnan(found.metrics["neg_log_loss"])
    assert np.isnan(found.metrics["roc_auc"])
    assert found.metrics["accuracy"] > 0.5


def test_single_precision_probabilities_are_probabilities() -> None:
    """A float32 network's rows sum to one within seven digits, which sklearn refuses."""

    class Single(LogisticRegression):
        def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
            return (super().predict_proba(X) * (1 + 1e-6)).astype(np.float32)

    X = _rows()
    y = _labels(X, ["a", "b", "c"])
    found = evaluate(Single().fit(X, y), X, y)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1.0, rtol=1e-12)


def test_the_majority_is_the_training_rows_commonest_class() -> None:
    """The dummy that every model has to beat."""
    assert majority(np.array(["a", "b", "b"]), 2).tolist() == ["b", "b"]
    assert majority(np.array([True, False, True]), 3).dtype == bool


def test_slices_find_where_a_model_is_wrong() -> None:
    """The worst slice is the first, with its rows counted; tiny ones are left out."""
    frame = pd.DataFrame({"carrier": ["AA"] * 60 + ["UA"] * 60 + ["ZZ"] * 10, "x": range(130)})
    y = np.ones(130, dtype=np.int64)
    predictions = np.where(frame["carrier"] == "UA", 0, 1)
    predictions[60:75] = 1
    found = slices(frame, y, predictions, columns=["carrier"])
    assert found.to_dict("records") == [
        {"column": "carrier", "value": "UA", "rows": 60, "accuracy": 0.25},
        {"column": "carrier", "value": "AA", "rows": 60, "accuracy": 1.0},
    ]
    worst = slices(frame, y, predictions, columns=["x"], minimum_rows=20).iloc[0]
    assert (worst["value"], worst["accuracy"]) == ("77.4 to 103.2", 0.0)


def test_slices_take_every_kind_of_column() -> None:
    """Missing values are a slice, rare levels are one together, and dtypes do not matter."""
    n = 600
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "number": rng.normal(size=n),
            "flag": rng.random(n) > 0.5,
            "few": rng.integers(0, 3, n),
            "text": pd.Series([f"level {i % 100}" for i in range(n)]),
            "object": pd.Series(["a", None] * (n // 2), dtype=object),
            "category": pd.Series(["p", "q", "r"] * (n // 3), dtype="category"),
            "empty": pd.Series([np.nan] * n),
            "mixed": pd.Series([1, "one"] * (n // 2), dtype=object),
            "nullable": pd.Series([1, None] * (n // 2), dtype="Int64"),
        }
    )
    frame.loc[:99, "number"] = np.nan
    y = rng.integers(0, 2, n)
    found = slices(frame, y, y)
    values = found.groupby("column")["value"].agg(set).to_dict()
    assert "missing" in values["number"]
    assert len(values["number"]) == 6
    assert values["flag"] == {"True", "False"}
    assert values["few"] == {"0", "1", "2"}
    assert values["text"] == {"other"}
    assert values["object"] == {"a", "missing"}
    assert values["category"] == {"p", "q", "r"}
    assert values["empty"] == {"missing"}
    assert values["mixed"] == {"1", "one"}
    assert values["nullable"] == {"1", "missing"}
    assert found.groupby("column")["rows"].sum().loc[["number", "flag", "category"]].eq(n).all()


def test_slices_of_too_few_rows_are_an_empty_table() -> None:
    """The caller still finds the columns."""
    found = slices(pd.DataFrame({"x": [1, 2]}), np.array([1, 1]), np.array([1, 0]))
    assert found.empty
    assert list(found.columns) == ["column", "value", "rows", "accuracy"]
