import os
import subprocess
import sys
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.data import Dataset, DataSettings, fingerprint
from pipelines.errors import DataError, ProjectError
from pipelines.split import SIDES, hash_rows, learning_rows, sealed_fingerprint, sealed_rows, sides

BY_TIME = {
    "method": "time",
    "validation_from": date(2013, 5, 1),
    "sealed_from": date(2013, 6, 1),
    "until": date(2013, 7, 1),
}
LARGE = 2**53
PINNED_HASHES = ["b7c6d51575e6d536", "858b5b2db917c0ef", "2b850cb8c004f0ef"]
PINNED_SIDES = "stvvtttttsttvsvvtttttsvvttttvstttvttttstttttttttttsttttvsstt"

CELLS = {
    "whole": st.integers(-(2**62), 2**62),
    "number": st.floats(allow_infinity=False, width=32) | st.none(),
    "word": st.sampled_from(["", "a", "b", "nan", "None", "Ünited", "1"]) | st.none(),
    "sure": st.booleans(),
    "when": st.datetimes(
        min_value=datetime.fromisoformat("1900-01-01"),
        max_value=datetime.fromisoformat("2261-01-01"),
    ),
}
ROWS = st.lists(st.tuples(*CELLS.values()), min_size=1, max_size=30)
TYPES = {"whole": "int64", "number": "float64", "word": "str", "sure": "bool"}


def frame_of(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Make a table of drawn rows, each column in its narrowest type."""
    frame = pd.DataFrame(rows, columns=list(CELLS)).astype(TYPES)
    return frame.assign(when=frame["when"].astype("datetime64[us]"))


def dataset_of(frame: pd.DataFrame, split: dict[str, Any] | None = None, **more: Any) -> Dataset:
    """Make a data set; its target need not be in the table."""
    given = {"source": "a.csv", "target": "late", "split": split or {}, **more}
    return Dataset(frame, DataSettings.model_validate(given), fingerprint(frame), "a.csv")


def flights(rows: int = 2_000) -> pd.DataFrame:
    """Make a table of two classes, with an id, groups and a time."""
    number = np.arange(rows)
    return pd.DataFrame(
        {
            "key": number,
            "plane": number % 97,
            "when": pd.date_range("2013-01-01", "2013-07-31", periods=rows),
            "delay": np.sqrt(number),
            "late": np.where(number % 4, "on_time", "late"),
        }
    )


# A row keeps its side.


@given(old=ROWS, new=ROWS, random=st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_a_row_keeps_its_side_as_the_table_grows(
    old: list[Any], new: list[Any], random: Any
) -> None:
    """Rows that are added, before or between, move no other row."""
    frame = frame_of(old)
    place = list(range(len(old) + len(new)))
    random.shuffle(place)
    grown = frame_of(old + new).iloc[place]
    again = pd.Series(sides(dataset_of(grown)), index=place).sort_index()
    assert list(again[: len(old)]) == list(sides(dataset_of(frame)))


@given(rows=ROWS, copies=st.integers(2, 4))
@settings(max_examples=30, deadline=None)
def test_exact_duplicates_share_a_side(rows: list[Any], copies: int) -> None:
    """A row that comes twice never sits on both sides of the split."""
    side = sides(dataset_of(frame_of(rows * copies))).reshape(copies, len(rows))
    assert (side == side[0]).all()


@given(rows=ROWS, random=st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_order_of_columns_moves_no_row(rows: list[Any], random: Any) -> None:
    """An export that writes its columns in another order gives the same split."""
    frame = frame_of(rows)
    columns = list(frame.columns)
    random.shuffle(columns)
    assert (hash_rows(frame[columns]) == hash_rows(frame)).all()


@given(rows=ROWS)
@settings(max_examples=30, deadline=None)
def test_a_wider_type_moves_no_row(rows: list[Any]) -> None:
    """Each column, read in a wider type that holds the same values, hashes as before."""
    frame = frame_of(rows)
    hashed = hash_rows(frame)
    wider: dict[str, list[str]] = {
        "whole": ["Int64", "object", "category"],
        "number": ["Float64", "object", "category"],
        "word": ["object", "category", "string"],
        "sure": ["boolean", "object", "category", "int8", "float64"],
        "when": ["datetime64[us, UTC]", "category"],
    }
    if (frame["whole"].abs() < LARGE).all():
        wider["whole"].append("float64")
    for column, types in wider.items():
        for kind in types:
            values = frame[column]
            same = values.dt.tz_localize("UTC") if "UTC" in kind else values.astype(kind)
            assert (hash_rows(frame.assign(**{column: same})) == hashed).all(), (column, kind)


@pytest.mark.parametrize(
    ("before", "added"),
    [
        ([1, 2, 3], None),
        ([True, False, True], None),
        ([1, 2, 3], 0.5),
        ([LARGE + 2, 2**60, -LARGE], None),
        ([None, None, None], "a word"),
        ([None, None, None], True),
        ([None, None, None], pd.Timestamp("2013-06-30")),
        ([0, 1, 0], 2**63),
        ([0.0, -0.0, 1.0], np.nan),
        ([pd.Timestamp("2013-06-30")] * 3, None),
    ],
)
def test_one_more_cell_moves_no_row(before: list[Any], added: Any) -> None:
    """A column whose type changes because one row was added keeps the hash of the others."""
    old = pd.DataFrame({"column": before})
    new = pd.DataFrame({"column": [*before, added]})
    assert (hash_rows(new)[:3] == hash_rows(old)).all()


def test_a_narrow_number_is_the_number_it_stands_for() -> None:
    """Parquet's small types give the split of the CSV file with the same numbers."""
    wide = pd.DataFrame({"a": [1.0, 2.5, -7.0], "b": [1, 0, 1]})
    narrow = wide.astype({"a": "float32", "b": "int8"})
    assert (hash_rows(narrow) == hash_rows(wide)).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("nan", None),
        ("1", 1),
        ("", None),
        (LARGE, LARGE + 1),
        (0, None),
        (pd.Timestamp("9999-12-31"), pd.NaT),
        (pd.Timestamp("9999-12-31"), pd.Timestamp("9999-12-30")),
        (pd.Timedelta("1h"), pd.Timedelta("2h")),
        ([1], [2]),
    ],
)
def test_other_cells_are_another_row(one: Any, other: Any) -> None:
    """Values that differ hash differently, also those that look alike as text or as floats."""
    hashed = [hash_rows(pd.DataFrame({"a": pd.Series([cell])}))[0] for cell in (one, other)]
    assert hashed[0] != hashed[1]


def test_cells_that_are_swapped_are_another_row() -> None:
    """The hash of a row knows which column a value is in."""
    one, other = pd.DataFrame({"a": [1], "b": [2]}), pd.DataFrame({"a": [2], "b": [1]})
    assert hash_rows(one) != hash_rows(other)


def test_sides_are_pinned() -> None:
    """A library that hashed otherwise would unseal rows: it is noticed here, not by a user."""
    frame = pd.DataFrame(
        {
            "whole": [1, 2**60, -3],
            "number": [0.5, np.nan, -0.0],
            "word": ["a", None, "Ünited"],
            "sure": [True, False, True],
            "when": pd.to_datetime(["2013-06-30", None, "9999-12-31"]),
        }
    )
    assert [f"{value:016x}" for value in hash_rows(frame)] == PINNED_HASHES
    letters = "".join(side[0] for side in sides(dataset_of(flights(60), id="key")))
    assert letters == PINNED_SIDES


def test_another_process_gives_the_same_sides() -> None:
    """Nothing in the hash comes from the process, such as Python's own hash of text."""
    code = (
        "import pandas as pd; from pipelines.split import hash_rows;"
        "print(hash_rows(pd.DataFrame({'a': ['x', 'y', None]})).tolist())"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    expected = hash_rows(pd.DataFrame({"a": ["x", "y", None]})).tolist()
    assert answers == {f"{expected}\n"}


# Shares.


@pytest.mark.parametrize("key", ["id", "content"])
@pytest.mark.parametrize(("validation", "sealed"), [(0.2, 0.2), (0.1, 0.4), (0.05, 0.05)])
def test_shares_are_what_was_asked(key: str, validation: float, sealed: float) -> None:
    """Each side has its share of the rows, and of each class, within chance."""
    frame = flights(20_000)
    split = {"validation": validation, "sealed": sealed}
    dataset = dataset_of(frame, split, **({"id": "key"} if key == "id" else {}))
    asked = {"train": 1 - validation - sealed, "validation": validation, "sealed": sealed}
    for _, side in pd.Series(sides(dataset)).groupby(frame["late"].to_numpy()):
        for name, share in asked.items():
            # Five standard deviations of the share of a class's rows.
            slack = 5 * np.sqrt(share * (1 - share) / len(side))
            assert abs((side == name).mean() - share) < slack


def test_sequential_ids_are_spread() -> None:
    """Neighbouring ids, and ids in steps, do not share a side more often than chance has it."""
    for step in (1, 2, 64, 1000, 2**32):
        frame = pd.DataFrame({"key": np.arange(5_000) * step})
        sealed = sides(dataset_of(frame, id="key")) == "sealed"
        assert abs(sealed.mean() - 0.2) < 0.03
        assert abs((sealed[1:] & sealed[:-1]).mean() - 0.04) < 0.015


def test_another_seed_is_another_split() -> None:
    """The seed changes which rows are sealed, and two splits overlap only by chance."""
    frame = flights(20_000)
    sealed = [sides(dataset_of(frame, {"seed": seed}, id="key")) == "sealed" for seed in (0, 1)]
    assert abs((sealed[0] & sealed[1]).mean() - 0.04) < 0.01


def test_the_id_alone_decides_where_there_is_one() -> None:
    """A row whose other cells are mended keeps its side."""
    frame = flights()
    mended = frame.assign(delay=frame["delay"] + 1, new="column")
    one, other = (sides(dataset_of(each, id="key")) for each in (frame, mended))
    assert (one == other).all()
    assert (sides(dataset_of(frame)) != sides(dataset_of(mended))).any()


# Groups and time.


def test_a_group_stays_on_one_side() -> None:
    """All rows of a group share a side, and each side has groups."""
    frame = flights()
    side = pd.Series(sides(dataset_of(frame, {"method": "group"}, group="plane", id="key")))
    assert (side.groupby(frame["plane"]).nunique() == 1).all()
    assert set(side) == set(SIDES[:3])


def test_instants_decide_a_split_by_time() -> None:
    """An instant belongs to the side that it starts, and rows after the end to none."""
    frame = pd.DataFrame(
        {
            "when": pd.to_datetime(
                [
                    "2013-04-30 23:59:59",
                    "2013-05-01",
                    "2013-05-31 23:59",
                    "2013-06-01",
                    "2013-06-30 23:59",
                    "2013-07-01",
                    "2014-01-01",
                ],
                format="ISO8601",
            )
        }
    )
    expected = ["train", "validation", "validation", "sealed", "sealed", "later", "later"]
    assert list(sides(dataset_of(frame, BY_TIME, time="when"))) == expected
    without_end = {**BY_TIME, "until": None}
    assert list(sides(dataset_of(frame, without_end, time="when")))[-2:] == ["sealed"] * 2


def test_later_rows_are_neither_learned_from_nor_sealed() -> None:
    """Rows from the end on are in no table, and a class that only they have is not asked for."""
    frame = flights()
    frame.loc[frame.index[-5:], "late"] = "cancelled"
    dataset = dataset_of(frame, BY_TIME, time="when")
    learned, sealed = learning_rows(dataset), sealed_rows(dataset)
    used = pd.concat([learned.train, learned.validation, sealed])
    assert used["when"].max() < pd.Timestamp("2013-07-01")
    assert len(used) == (frame["when"] < "2013-07-01").sum()


def test_local_instants_are_of_the_columns_zone() -> None:
    """Instants without a zone are local to the column, with a zone they are themselves."""
    when = pd.to_datetime(["2013-05-31T23:30:00", "2013-06-01T00:30:00"]).tz_localize("Asia/Tokyo")
    frame = pd.DataFrame({"when": when})
    assert list(sides(dataset_of(frame, BY_TIME, time="when"))) == ["validation", "sealed"]
    world = {
        "method": "time",
        "validation_from": datetime(2013, 5, 1, tzinfo=UTC),
        "sealed_from": datetime(2013, 6, 1, tzinfo=UTC),
    }
    assert list(sides(dataset_of(frame, world, time="when"))) == ["validation", "validation"]


def test_an_instant_that_the_clock_skips_still_splits() -> None:
    """A local time that summer time jumps over is the first one after it."""
    when = pd.to_datetime(["2013-03-31T00:30:00Z", "2013-03-31T01:30:00Z"])
    frame = pd.DataFrame({"when": when.tz_convert("Europe/Paris")})
    skipped = {**BY_TIME, "validation_from": datetime.fromisoformat("2013-03-31T02:30")}
    assert list(sides(dataset_of(frame, skipped, time="when"))) == ["train", "validation"]


def test_a_zone_without_one_in_the_column_is_refused() -> None:
    """A naive column cannot be compared with instants of a zone, and no zone is guessed."""
    world = {
        "method": "time",
        "validation_from": datetime(2013, 5, 1, tzinfo=UTC),
        "sealed_from": datetime(2013, 6, 1, tzinfo=UTC),
    }
    with pytest.raises(ProjectError, match="time zone"):
        sides(dataset_of(flights(), world, time="when"))


# The three tables.


def test_the_three_tables_are_the_whole_table_once() -> None:
    """Train, validation and sealed rows share no row and leave none out."""
    frame = flights()
    dataset = dataset_of(frame, id="key")
    split = learning_rows(dataset)
    parts = [split.train, split.validation, sealed_rows(dataset)]
    assert sorted(key for part in parts for key in part["key"]) == list(frame["key"])


def test_a_sample_is_of_rows_that_training_may_see() -> None:
    """A seeded sample holds no sealed row, and no more rows than there are."""
    dataset = dataset_of(flights(), id="key")
    split = learning_rows(dataset)
    sample = split.sample(300, seed=0)
    assert len(sample) == 300
    assert set(sample["key"]).isdisjoint(sealed_rows(dataset)["key"])
    pd.testing.assert_frame_equal(sample, split.sample(300, seed=0))
    whole = split.sample(10**6, seed=0)
    assert len(whole) == len(split.train) + len(split.validation)


@pytest.mark.parametrize("rows_of", [learning_rows, sealed_rows])
@pytest.mark.parametrize("side", SIDES[:3])
def test_a_class_that_a_side_lacks_is_refused(side: str, rows_of: Any) -> None:
    """Whichever side lacks a class, neither training nor the gate starts."""
    frame = flights()
    rare = sides(dataset_of(frame, id="key")) != side
    frame.loc[np.flatnonzero(rare)[:40], "late"] = "diverted"
    with pytest.raises(DataError) as caught:
        rows_of(dataset_of(frame, id="key"))
    assert f"{side} rows have none of 'diverted'" in caught.value.found
    assert caught.value.next_move


def test_a_side_without_rows_is_refused() -> None:
    """Instants after the last row leave a side empty, and the message says which."""
    late = {**BY_TIME, "sealed_from": date(2014, 1, 1), "until": None}
    with pytest.raises(DataError, match="the 0 sealed rows"):
        learning_rows(dataset_of(flights(), late, time="when"))


@pytest.mark.parametrize(
    ("role", "column", "split"),
    [
        ("id", "key", {}),
        ("group", "plane", {"method": "group"}),
        ("time", "when", BY_TIME),
    ],
)
def test_a_row_without_what_decides_is_refused(
    role: str, column: str, split: dict[str, Any]
) -> None:
    """A missing id, group or time has no side, and is not quietly put on one."""
    frame = flights()
    frame[column] = frame[column].where(frame.index != 3)
    with pytest.raises(DataError) as caught:
        sides(dataset_of(frame, split, **{role: column}))
    assert "1 of 2000" in caught.value.found
    assert f"'{column}'" in caught.value.found


def test_the_sealed_fingerprint_is_that_of_the_sealed_rows() -> None:
    """It follows the sealed rows' content, and neither their order nor the other rows."""
    frame = flights()
    dataset = dataset_of(frame, id="key")
    same = dataset_of(frame.sample(frac=1.0, random_state=1)[frame.columns[::-1]], id="key")
    assert sealed_fingerprint(same) == sealed_fingerprint(dataset)
    side = sides(dataset)
    for name, alike in (("train", True), ("validation", True), ("sealed", False)):
        row = int(np.flatnonzero(side == name)[0])
        changed = frame.copy()
        changed.loc[row, "delay"] += 1.0
        fingerprint_now = sealed_fingerprint(dataset_of(changed, id="key"))
        assert (fingerprint_now == sealed_fingerprint(dataset)) is alike, name
