"""Predictions as numbers, also where rows and model do not fit each other well."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from threadpoolctl import threadpool_info

from pipelines.errors import DataError
from pipelines.evaluation import BLOCK_ROWS, aligned, ask, evaluate, majority, one_thread, predict


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


def test_what_adds_up_to_something_else_is_not_mended() -> None:
    """Probabilities that are none reach the gate as they are; single precision's are rounded."""
    labels = np.array(["a", "b"])
    broken = np.array([[0.2, 0.2], [-2.0, -1.0], [0.0, 0.0]])
    assert aligned(broken, labels, labels) == pytest.approx(broken)
    rounded = np.array([[0.3, 0.7001]], dtype=np.float32)
    assert aligned(rounded, labels, labels).sum() == 1.0


@pytest.mark.parametrize("rows", [1, BLOCK_ROWS, BLOCK_ROWS + 1, 2 * BLOCK_ROWS + 700])
def test_blocks_give_every_answer_once_and_in_order(rows: int) -> None:
    """No block is larger than it may be, and together they answer what was asked."""
    X = _rows(rows)
    asked: list[pd.DataFrame] = []

    def method(block: pd.DataFrame) -> np.ndarray:
        asked.append(block)
        return block.to_numpy()

    np.testing.assert_array_equal(ask(method, X), X.to_numpy())
    assert max(map(len, asked)) <= BLOCK_ROWS
    pd.testing.assert_frame_equal(pd.concat(asked), X)


def test_a_model_that_is_asked_in_blocks_is_scored_as_one_that_is_asked_at_once() -> None:
    """The rows of a block are answered for themselves."""
    X = _rows(BLOCK_ROWS + 300)
    y = _labels(X, ["late", "on time"])
    model = LogisticRegression().fit(X, y)
    found = evaluate(model, X, y)
    np.testing.assert_allclose(found.probabilities, model.predict_proba(X))
    np.testing.assert_array_equal(found.predictions, model.predict(X))
    np.testing.assert_array_equal(predict(model, X, y), model.predict(X))


def test_labels_of_another_kind_are_no_answers_to_compare() -> None:
    """A champion that learned numbers is not called wrong on each row of text."""
    X = _rows()
    model = LogisticRegression().fit(X, _labels(X, [0, 1]))
    with pytest.raises(DataError, match="of the kind that it learned"):
        predict(model, X, _labels(X, ["0", "1"]))


def test_models_compute_on_one_thread_for_the_length_of_a_block() -> None:
    """Whatever number of threads there was is there again afterwards."""
    before = [pool["num_threads"] for pool in threadpool_info()]
    with one_thread():
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
    assert [pool["num_threads"] for pool in threadpool_info()] == before
