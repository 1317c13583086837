"""Tables that are read a batch at a time."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa

from pipelines.batches import open_batches
from pipelines.data import DataSettings, read_frame
from pipelines.errors import DataError

SETTINGS = DataSettings(source="t.csv", target="late")
ROWS = 23

Write = Callable[[pd.DataFrame, Path], tuple[str, str | None]]


def table() -> pd.DataFrame:
    """Columns whose type shows only when all rows are seen."""
    whole = list(range(ROWS))
    return pd.DataFrame(
        {
            "whole": whole,
            "one_gap": [*whole[:-1], None],
            "one_decimal": [*map(float, whole[:-1]), 0.5],
            "empty": [None] * ROWS,
            "first_at_end": [*[None] * (ROWS - 1), "x"],
            "yes": [True] * ROWS,
            "yes_gap": pd.Series([*[True] * (ROWS - 1), None], dtype=object),
            "code": pd.Series([*[f"0{n}" for n in whole[:-1]], "A"], dtype=object),
            "large": pd.Series([*whole[:-1], 2**63 + 5], dtype="uint64"),
            "text": [f"t{n}" for n in whole],
        }
    )


def as_csv(frame: pd.DataFrame, folder: Path) -> tuple[str, str | None]:
    frame.to_csv(folder / "t.csv", index=False)
    return "t.csv", None


def as_gzip(frame: pd.DataFrame, folder: Path) -> tuple[str, str | None]:
    frame.to_csv(folder / "t.csv.gz", index=False)
    return "t.csv.gz", None


def as_parquet(frame: pd.DataFrame, folder: Path) -> tuple[str, str | None]:
    frame.to_parquet(folder / "t.parquet", row_group_size=5, index=False)
    return "t.parquet", None


def as_groups(frame: pd.DataFrame, folder: Path) -> tuple[str, str | None]:
    frame.to_parquet(folder / "t.parquet", row_group_size=10_000, index=False)
    return "t.parquet", None


def as_indexed(frame: pd.DataFrame, folder: Path) -> tuple[str, str | None]:
    frame.set_index("text").to_parquet(folder / "t.parquet", row_group_size=9)
    return "t.parquet", None


def as_sql(frame: pd.DataFrame, folder: Path) -> tuple[str, str | None]:
    engine = sa.create_engine(f"sqlite:///{folder / 't.db'}")
    # SQLite has no integer of 64 bits without a sign.
    frame.drop(columns="large", errors="ignore").to_sql("t", engine, index=False)
    engine.dispose()
    return "sqlite:///t.db", "SELECT * FROM t ORDER BY whole"


@pytest.mark.parametrize("write", [as_csv, as_gzip, as_parquet, as_indexed, as_sql])
@pytest.mark.parametrize("size", [1, 4, ROWS, 100])
def test_batches_are_the_whole_table(tmp_path: Path, write: Write, size: int) -> None:
    """Each batch has the rows and the types of the whole-table reader, and the size asked for."""
    source, query = write(table(), tmp_path)
    whole = read_frame(SETTINGS, tmp_path, source, query=query)
    batches = open_batches(SETTINGS, tmp_path, source, size, query=query)
    assert (batches.rows, len(batches)) == (ROWS, -(-ROWS // size))
    found = list(batches)
    assert [len(frame) for frame in found[:-1]] == [size] * (len(batches) - 1)
    for place, frame in enumerate(found):
        expected = whole.iloc[place * size : (place + 1) * size].reset_index(drop=True)
        pd.testing.assert_frame_equal(frame.reset_index(drop=True), expected)


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    """A header without rows is an input error, as it is for the whole-table reader."""
    (tmp_path / "t.csv").write_text("a,b\n")
    with pytest.raises(DataError, match="no row"):
        open_batches(SETTINGS, tmp_path, "t.csv", 10)


@pytest.mark.parametrize("write", [as_csv, as_groups, as_sql])
def test_memory_does_not_grow_with_the_table(tmp_path: Path, write: Write) -> None:
    """Ten times the rows take no more memory, in batches of the same size."""
    peaks, sizes = [], []
    for rows in (20_000, 200_000):
        folder = tmp_path / str(rows)
        folder.mkdir()
        number = np.arange(rows)
        frame = pd.DataFrame({"whole": number, "large": number / 3, "text": number.astype(str)})
        source, query = write(frame, folder)
        sizes.append(frame.memory_usage(deep=True).sum())
        next(iter(open_batches(SETTINGS, folder, source, rows, query=query)))
        # Python's own memory and Arrow's: neither allocator knows of the other.
        before = arrow = pa.total_allocated_bytes()
        tracemalloc.start()
        for _ in open_batches(SETTINGS, folder, source, 1_000, query=query):
            arrow = max(arrow, pa.total_allocated_bytes())
        peaks.append(tracemalloc.get_traced_memory()[1] + arrow - before)
        tracemalloc.stop()
    # A whole table would be all of it; what is left of a cache or a first call is not a tenth.
    assert peaks[1] - peaks[0] < (sizes[1] - sizes[0]) / 10
