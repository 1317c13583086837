"""Columns that know the answer, the row or its time; rows that stand on both sides."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import pipelines
from pipelines.data import DataSettings
from pipelines.features import Roles, roles_of
from pipelines.screening import SCREENED_ROWS, alone, area, copied, screened, telling

SAMPLE = Path(pipelines.__file__).parent / "samples" / "flights" / "flights.parquet"
ROWS = 2_000


# -- alone --------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [2, 5, 200])
@pytest.mark.parametrize("tied", [False, True])
def test_the_area_of_levels_is_that_of_their_rows(levels: int, tied: bool) -> None:
    """Sklearn says the same of the rows one by one, ties among them."""
    rng = np.random.default_rng(levels)
    scores = rng.integers(0, 3, levels) / 3 if tied else rng.random(levels)
    codes = rng.integers(0, levels, ROWS)
    hit = rng.random(ROWS) < 0.3 + 0.4 * scores[codes]
    positives = np.bincount(codes[hit], minlength=levels)
    negatives = np.bincount(codes[~hit], minlength=levels)
    assert area(scores, positives, negatives) == pytest.approx(roc_auc_score(hit, scores[codes]))


def _columns(rows: int = ROWS) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    late = rng.random(rows) < 0.3
    frame = pd.DataFrame(
        {
            "arrival": np.where(late, 30.0, -5.0) + rng.normal(size=rows),
            "status": np.where(late, "delayed", "landed"),
            "flag": late,
            "upside_down": np.where(late, -1.0, 1.0),
            "absent": np.where(late, np.nan, rng.random(rows)),
            "hint": late + rng.normal(size=rows),
            "noise": rng.normal(size=rows),
            "level": rng.choice(list("abcdef"), rows),
            "name": [f"row {number}" for number in range(rows)],
            "fixed": 1.0,
        }
    )
    return frame, late


@pytest.mark.parametrize("kind", ["bool", "int", "text"])
def test_a_column_that_is_the_answer_is_found(kind: str) -> None:
    """Number, text, flag, sign or mere absence; chance stays near one half."""
    frame, late = _columns()
    labels = {"bool": late, "int": late.astype(int), "text": np.where(late, "late", "ok")}[kind]
    found = alone(frame, labels, frame.columns)
    assert list(found) == list(frame.columns)
    for column in ("arrival", "status", "flag", "upside_down", "absent"):
        assert found[column] > 0.999, column
    assert 0.65 < found["hint"] < 0.85
    for column in ("noise", "level", "name", "fixed"):
        assert found[column] == pytest.approx(0.5, abs=0.06), column


def test_among_many_classes_a_column_is_weighed_by_their_shares() -> None:
    """A column that tells one class of three from the rest is worth its part."""
    rng = np.random.default_rng(1)
    labels = rng.choice(["a", "b", "c"], ROWS, p=[0.5, 0.3, 0.2])
    frame = pd.DataFrame({"all": labels, "one": labels == "a", "none": rng.random(ROWS)})
    found = alone(frame, labels, frame.columns)
    assert found["all"] == pytest.approx(1.0)
    assert found["none"] == pytest.approx(0.5, abs=0.06)
    assert found["none"] + 0.1 < found["one"] < 0.95


def test_labels_that_cannot_be_ranked_give_one_half() -> None:
    """A single class, or one with a single row, says nothing of a column."""
    frame = pd.DataFrame({"x": np.arange(50.0)})
    assert alone(frame, np.zeros(50, dtype=int), ["x"]) == {"x": 0.5}
    lonely = np.zeros(50, dtype=int)
    lonely[7] = 1
    assert alone(frame, lonely, ["x"])["x"] == 0.5


def test_a_large_table_is_measured_on_a_sample() -> None:
    """Always the same rows of it, each once."""
    chosen = screened(5 * SCREENED_ROWS)
    assert len(np.unique(chosen)) == SCREENED_ROWS
    np.testing.assert_array_equal(chosen, screened(5 * SCREENED_ROWS))
    np.testing.assert_array_equal(screened(7), np.arange(7))
    frame, late = _columns(2 * SCREENED_ROWS)
    frame.index += 1_000_000
    found = alone(frame, late, ["status", "noise"])
    assert found["status"] > 0.999
    assert found["noise"] == pytest.approx(0.5, abs=0.02)


# -- copied -------------------------------------------------------------------------------


def test_a_sealed_row_that_was_learned_under_another_id_is_a_copy() -> None:
    """Id, time and whatever the model does not read are aside; label and features are not."""
    roles = Roles(("delay",), ("carrier",))
    learned = pd.DataFrame(
        {
            "id": [1, 2, 3, 4],
            "delay": [5, 6, 7, None],
            "carrier": ["AA", "UA", None, "DL"],
            "late": ["late", "ok", "ok", "ok"],
        }
    )
    sealed = pd.DataFrame(
        {
            "id": [5, 6, 7, 8, 9],
            "delay": [5, 6, 7, None, 5],
            "carrier": ["AA", "AA", None, "DL", "AA"],
            "late": ["late", "ok", "ok", "ok", "ok"],
        }
    )
    expected = [True, False, True, True, False]
    assert copied(sealed, learned, roles, "late").tolist() == expected
    whole = sealed.head(1).astype({"delay": "int64"})
    assert copied(whole, learned, roles, "late").tolist() == [True]


# -- telling ------------------------------------------------------------------------------


def _settings(**changes: Any) -> DataSettings:
    return DataSettings(source="flights.csv", target="late", **changes)


def _told(time: bool = True, **columns: Any) -> dict[str, str]:
    """Return what is said of the columns of a table that is sorted by time."""
    when = pd.date_range("2013-01-01", periods=ROWS, freq="13min")
    frame = pd.DataFrame({**columns, "when": when})
    settings = _settings(time="when") if time else _settings()
    return telling(frame, roles_of(frame, _settings(time="when")), settings)


def test_the_id_time_and_group_columns_are_not_for_a_model() -> None:
    """They may be, where the model is older than the setting."""
    frame = pd.DataFrame({"id": [3, 1], "when": [1.0, 1.5], "crew": ["a", "a"], "x": [1.0, 1.0]})
    roles = Roles(("id", "when", "x"), ("crew",))
    assert telling(frame, roles, _settings(id="id", time="when", group="crew")) == {
        "id": "id is the id column.",
        "when": "when is the time column.",
        "crew": "crew is the group column.",
    }


def test_what_names_each_row_is_found() -> None:
    """Counters in any order and step, with gaps or as floats, and text that is never the same."""
    rng = np.random.default_rng(0)
    gaps = np.sort(rng.choice(9 * ROWS, ROWS, replace=False))
    found = _told(
        time=False,
        counter=np.arange(ROWS),
        mixed=rng.permutation(ROWS) + 70_000,
        scaled=rng.permutation(ROWS) / 17,
        gaps=rng.permutation(gaps),
        holes=pd.Series(gaps, dtype="float64").where(np.arange(ROWS) % 5 > 0),
        code=[f"{number:x}" for number in rng.permutation(ROWS) + 4_096],
    )
    every = f"each of {ROWS:,} rows"
    assert found == {
        "counter": f"counter counts {every} in equal steps.",
        "mixed": f"mixed counts {every} in equal steps.",
        "scaled": f"scaled counts {every} in equal steps.",
        "gaps": f"gaps has a different whole number in {every}, as an id does.",
        "holes": "holes has a different whole number in each of 1,600 rows, as an id does.",
        "code": f"code has a different value in {every}, as an id does.",
    }


def test_what_follows_the_time_is_found() -> None:
    """Forwards or backwards, evenly or not, with missing cells, and in any order of rows."""
    hours = np.arange(ROWS) * 13 / 60
    columns = {
        "hours": np.floor(hours),
        "left": 1_000 - np.floor(hours),
        "square": np.floor(hours) ** 2,
        "partly": np.where(np.arange(ROWS) % 3, np.floor(hours), np.nan),
    }
    found = _told(**columns)
    assert set(found) == set(columns)
    said = "follows the time column when (rank correlation"
    assert found["hours"].startswith(f"hours {said} 1.0000")
    assert found["left"].startswith(f"left {said} -1.0000")
    assert _told(time=False, **columns) == {}


def test_honest_columns_tell_nothing() -> None:
    """Measurements, years, hours of the day, rare text, and what merely drifts with the time."""
    rng = np.random.default_rng(0)
    when = np.arange(ROWS)
    found = _told(
        measured=rng.normal(size=ROWS),
        drifting=when / ROWS + 0.1 * rng.normal(size=ROWS),
        hour=(when * 13 // 60) % 24,
        day=1 + (when * 13 // 1440) % 7,
        plane_year=rng.integers(1956, 2013, ROWS),
        flag=rng.random(ROWS) < 0.2,
        nearly_never=[f"note {n}" if n % 100 == 0 else None for n in when],
        sums=rng.permutation(rng.choice(10**9, ROWS, replace=False)),
        fixed=1,
        absent=[None] * (ROWS - 1) + [2.0],
    )
    assert found == {}


def test_a_small_table_tells_little() -> None:
    """A dozen different ages are no ids."""
    frame = pd.DataFrame({"age": range(30, 42), "name": list("abcdefghijkl"), "late": [0, 1] * 6})
    assert telling(frame, Roles(("age",), ("name",)), _settings()) == {}


def test_the_sample_project_has_no_telling_columns() -> None:
    """On all its rows, and on the month that is sealed."""
    frame = pd.read_parquet(SAMPLE)
    settings = _settings(time="scheduled_departure", id="flight_id")
    roles = roles_of(frame, settings)
    assert telling(frame, roles, settings) == {}
    assert telling(frame[frame["scheduled_departure"] >= "2013-06-01"], roles, settings) == {}
    read = Roles(("flight_id", *roles.numeric), roles.categorical)
    assert "whole number" in telling(frame, read, _settings())["flight_id"]
