"""pipelines.scoring: a table with what the model says beside it, written whole or not at all."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline

from pipelines.errors import DataError, InputError, ServiceError
from pipelines.features import Roles, conform, preprocessor
from pipelines.scoring import answer, score, write_table

ROLES = Roles(("delay",), ("carrier",))


@pytest.fixture
def table() -> pd.DataFrame:
    """Rows with an id that the model does not read, and an index of its own."""
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": range(100, 160),
            "delay": random.integers(-5, 6, 60),
            "carrier": random.choice(["AA", "UA"], 60),
        },
        index=range(1_000, 1_060),
    )


@pytest.fixture
def model(table: pd.DataFrame) -> Pipeline:
    """Late where the delay is positive."""
    fitted = Pipeline([("prepare", preprocessor(ROLES)), ("classify", LogisticRegression())])
    return fitted.fit(conform(table, ROLES), np.where(table["delay"] > 0, "late", "on_time"))


def test_answers_stand_beside_their_rows(model: Pipeline, table: pd.DataFrame) -> None:
    """The table keeps its columns, types and index, and gains the class and its chances."""
    scored = score(model, table, ROLES)
    pd.testing.assert_frame_equal(scored[list(table.columns)], table)
    assert list(scored.columns[3:]) == ["prediction", "probability_late", "probability_on_time"]
    rows = conform(table, ROLES)
    assert scored["prediction"].tolist() == model.predict(rows).tolist()
    np.testing.assert_allclose(
        scored[["probability_late", "probability_on_time"]], model.predict_proba(rows)
    )


def thresholded(model: ClassifierMixin, threshold: float, positive: object) -> ClassifierMixin:
    """Make the model answer one class from a probability on."""
    made = FixedThresholdClassifier(
        FrozenEstimator(model),
        threshold=threshold,
        pos_label=positive,
        response_method="predict_proba",
    )
    return made.fit(pd.DataFrame({"any": [0, 1]}), model.classes_)


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        HistGradientBoostingClassifier(max_iter=5),
        MLPClassifier((4,), max_iter=5, random_state=0),
    ],
    ids=["linear", "boosting", "mlp"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", [str, bool, int])
def test_one_pass_says_what_the_model_says(
    table: pd.DataFrame, estimator: ClassifierMixin, kind: type
) -> None:
    """Answers are those of `predict`, by the likelier class or by any threshold of either class."""
    late = (table["delay"] + np.arange(60) % 7 > 2).to_numpy()
    y = np.where(late, "late", "on_time") if kind is str else late.astype(kind)
    rows = conform(table, ROLES)
    model = Pipeline([("prepare", preprocessor(ROLES)), ("classify", estimator)]).fit(rows, y)
    every = model.predict_proba(rows)
    models = [model]
    for place, label in enumerate(model.classes_.tolist()):
        # On a probability, where at or above must mean the same, and beyond all of them.
        for threshold in (0.0, float(np.sort(every[:, place])[30]), 0.5, 0.9, 1.1):
            models.append(thresholded(model, threshold, label))
    seen = set()
    for each in models:
        predictions, probabilities = answer(each, rows)
        np.testing.assert_array_equal(predictions, each.predict(rows))
        assert predictions.dtype == each.predict(rows).dtype
        np.testing.assert_array_equal(probabilities, every)
        seen.add(tuple(predictions.tolist()))
    assert len(seen) > 3


def test_a_table_is_scored_by_the_threshold(model: Pipeline, table: pd.DataFrame) -> None:
    """The class beside each row follows from the threshold; the chances stay as they are."""
    plain = score(model, table, ROLES)
    eager = score(thresholded(model, 0.01, "late"), table, ROLES)
    assert eager["prediction"].tolist() == [
        "late" if chance >= 0.01 else "on_time" for chance in plain["probability_late"]
    ]
    assert eager["prediction"].tolist() != plain["prediction"].tolist()
    chances = ["probability_late", "probability_on_time"]
    pd.testing.assert_frame_equal(eager[chances], plain[chances])


def test_a_missing_or_unseen_level_is_scored(model: Pipeline, table: pd.DataFrame) -> None:
    """A category never seen, a missing cell and a missing number each get an answer."""
    strange = table.head(3).astype({"delay": float, "carrier": object})
    strange["carrier"] = ["ZZ", None, "AA"]
    strange.iloc[2, 1] = np.nan
    assert score(model, strange, ROLES)["prediction"].isin(["late", "on_time"]).all()


def test_scoring_twice_replaces_the_answers(model: Pipeline, table: pd.DataFrame) -> None:
    """A table that was scored before has its answers once."""
    once = score(model, table, ROLES)
    pd.testing.assert_frame_equal(score(model, once, ROLES), once)


def test_what_cannot_be_scored_is_refused(model: Pipeline, table: pd.DataFrame) -> None:
    """No rows, a missing column, words for numbers, and a name that the answers take."""
    with pytest.raises(DataError, match="at least one row"):
        score(model, table.head(0), ROLES)
    with pytest.raises(DataError, match="carrier"):
        score(model, table.drop(columns="carrier"), ROLES)
    with pytest.raises(DataError, match="soon"):
        score(model, table.assign(delay="soon"), ROLES)
    with pytest.raises(DataError, match="named prediction"):
        score(model, table.assign(prediction=1.0), Roles(("prediction",), ()))


@pytest.mark.parametrize("name", ["scored.csv", "scored.parquet", "SCORED.CSV"])
def test_a_table_reads_back(tmp_path: Path, table: pd.DataFrame, name: str) -> None:
    """What was written reads back the same, replaces what was there and leaves no litter."""
    path = tmp_path / name
    path.write_text("old")
    write_table(table, path)
    read = pd.read_parquet(path) if name.endswith("parquet") else pd.read_csv(path)
    pd.testing.assert_frame_equal(read, table.reset_index(drop=True), check_dtype=False)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_an_output_that_cannot_be_is_the_users_to_mend(tmp_path: Path, table: pd.DataFrame) -> None:
    """Another ending, an absent folder and a column of mixed types are input errors."""
    with pytest.raises(InputError, match=r"\.csv or \.parquet"):
        write_table(table, tmp_path / "scored.xlsx")
    with pytest.raises(InputError, match="no folder"):
        write_table(table, tmp_path / "absent" / "scored.csv")
    mixed = pd.DataFrame({"a": pd.Series([1, "x", b"y"], dtype=object)})
    with pytest.raises(InputError, match="one type"):
        write_table(mixed, tmp_path / "scored.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is full is Linux's")
@pytest.mark.parametrize("name", ["scored.csv", "scored.parquet"])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, table: pd.DataFrame, name: str) -> None:
    """When the disk is full the table of before stands, and nothing half-written beside it."""
    path = tmp_path / name
    path.write_text("old")
    (tmp_path / f".{name}.{os.getpid()}.partial").symlink_to("/dev/full")
    with pytest.raises(ServiceError, match="No space left"):
        write_table(pd.concat([table] * 2_000), path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == [name]
