"""pipelines.scoring: a table with what the model says beside it, written whole or not at all."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from pipelines.errors import DataError, InputError, ServiceError
from pipelines.features import Roles, conform, preprocessor
from pipelines.scoring import score, write_table

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
