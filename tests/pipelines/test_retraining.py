"""pipelines.retraining: the table to learn from anew is the old one and what was labelled."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.contract import narrowed
from pipelines.data import Dataset, DataSettings, read
from pipelines.errors import DataError
from pipelines.retraining import write_table
from pipelines.serving.log import Answer, Label, PredictionLog
from pipelines.serving.window import Window, read_window
from pipelines.split import sides

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def dataset(folder: Path, rows: int = 400, **settings: Any) -> Dataset:
    """Read a table of every kind of column."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "key": np.arange(rows),
            "at": pd.date_range("2013-01-01", periods=rows, freq="h"),
            "who": [f"u{n % 40}" for n in range(rows)],
            "note": "said later",
            "seats": random.integers(50, 300, rows),
            "delay": random.normal(size=rows),
            "paid": random.random(rows) < 0.5,
            "gate": random.integers(1, 9, rows).astype(str),
            "late": random.integers(0, 2, rows),
        }
    )
    frame.to_parquet(folder / "table.parquet", index=False)
    told = {
        "source": "table.parquet",
        "target": "late",
        "id": "key",
        "time": "at",
        "drop": {"note": "known later"},
        **settings,
    }
    return read(DataSettings.model_validate(told), folder)


COLUMNS = ("seats", "delay", "paid", "gate")


def logged(folder: Path, labels: list[Any], redact: tuple[str, ...] = ()) -> Window:
    """Log a request whose rows have these labels; None for none yet."""
    url = f"sqlite:///{folder / 'predictions.db'}"
    log = PredictionLog.open(url, redact=redact)
    rows = len(labels)
    log.add(
        Answer(
            request_id="r",
            time=NOON,
            name="m",
            version="1",
            inputs={
                "seats": [100.0] * rows,
                "delay": [None, *[0.5] * (rows - 1)],
                "paid": [1.0] * rows,
                "gate": ["7"] * rows,
            },
            predictions=[0] * rows,
            probabilities=np.tile([0.75, 0.25], (rows, 1)),
            classes=[0, 1],
            seconds=0.0,
        )
    )
    assert log.flush()
    log.record_labels("m", [Label("r", n, v) for n, v in enumerate(labels) if v is not None])
    log.close()
    return read_window(url, name="m")


def test_labelled_rows_come_below_the_table(tmp_path: Path) -> None:
    """Each labelled row is there with its types, id, time and truth; the others are not."""
    before = dataset(tmp_path)
    settings = write_table(
        before, logged(tmp_path, [1, None, 0]), tmp_path / "new" / "t.parquet", columns=COLUMNS
    )
    after = read(settings, tmp_path)
    assert len(after.frame) == 402
    assert "note" not in after.frame
    pd.testing.assert_frame_equal(
        after.frame.head(400), before.frame.drop(columns=["note", "who"]), check_dtype=False
    )
    new = after.frame.tail(2)
    assert new["late"].tolist() == [1, 0]
    assert new["seats"].tolist() == [100, 100]
    assert new["paid"].tolist() == [True, True]
    assert new["gate"].tolist() == ["7", "7"]
    assert new["delay"].isna().tolist() == [True, False]
    assert set(new["at"]) == {pd.Timestamp(NOON).tz_localize(None)}
    assert after.frame["key"].is_unique
    for column in ("key", "late", "seats", "paid"):
        assert after.frame[column].dtype == before.frame[column].dtype


def test_a_logged_row_keeps_its_id(tmp_path: Path) -> None:
    """Labels that come later move no row's id: what was learned from is known again."""
    before = dataset(tmp_path)
    first = write_table(
        before, logged(tmp_path, [None, 0]), tmp_path / "a.parquet", columns=COLUMNS
    )
    url = f"sqlite:///{tmp_path / 'predictions.db'}"
    log = PredictionLog.open(url)
    log.record_labels("m", [Label("r", 0, 1)])
    log.close()
    second = write_table(
        before, read_window(url, name="m"), tmp_path / "b.parquet", columns=COLUMNS
    )
    old = read(first, tmp_path).frame.tail(1)["key"].tolist()
    assert read(second, tmp_path).frame.tail(1)["key"].tolist() == old


def test_a_split_by_time_keeps_its_shares(tmp_path: Path) -> None:
    """The newest rows are sealed, as many of a hundred as before; what came later is left out."""
    split = {
        "method": "time",
        "validation_from": date(2013, 1, 9),
        "sealed_from": date(2013, 1, 12),
        "until": date(2013, 1, 16),
    }
    before = dataset(tmp_path, split=split)
    window = logged(tmp_path, [n % 2 for n in range(100)])
    after = read(write_table(before, window, tmp_path / "t.parquet", columns=COLUMNS), tmp_path)
    old, new = sides(before), sides(after)
    assert "later" not in new
    assert len(new) == (old != "later").sum() + 100
    for side in ("train", "validation"):
        assert (new == side).mean() == pytest.approx((old[old != "later"] == side).mean(), abs=0.05)
    assert (new[-100:] == "sealed").all()


def test_a_split_by_group_gives_each_request_a_group_of_its_own(tmp_path: Path) -> None:
    """A logged row has no group but its own request's row."""
    before = dataset(tmp_path, group="who", split={"method": "group"})
    after = read(
        write_table(before, logged(tmp_path, [1, 0]), tmp_path / "t.parquet", columns=COLUMNS),
        tmp_path,
    )
    assert after.frame["who"].tail(2).tolist() == ["r/0", "r/1"]


@pytest.mark.parametrize(
    ("labels", "redact", "said"),
    [([None], (), "has one"), ([2], (), "'?2'?"), ([1], ("gate",), "column gate")],
)
def test_what_cannot_be_learned_is_refused(
    tmp_path: Path, labels: list[Any], redact: tuple[str, ...], said: str
) -> None:
    """No label, a label of no class, and a redacted column each have their own sentence."""
    with pytest.raises(DataError, match=said):
        write_table(
            dataset(tmp_path),
            logged(tmp_path, labels, redact),
            tmp_path / "t.parquet",
            columns=COLUMNS,
        )
    assert not (tmp_path / "t.parquet").exists()


def test_a_contract_asks_nothing_of_columns_that_are_not_there() -> None:
    """What is asked of a missing column is left out, and the set of columns is those there."""
    contract = {
        "name": "c",
        "expectations": [
            {"type": "a", "kwargs": {"column": "x"}},
            {"type": "b", "kwargs": {"column": "gone"}},
            {"type": "c", "kwargs": {"column_set": ["x", "gone"]}},
            {"type": "d", "kwargs": {"column_A": "x", "column_B": "gone"}},
            {"type": "e", "kwargs": {"min_value": 3}},
        ],
    }
    kept = narrowed(contract, ["x"])
    assert [e["type"] for e in kept["expectations"]] == ["a", "c", "e"]
    assert kept["expectations"][1]["kwargs"] == {"column_set": ["x"]}
    assert len(contract["expectations"]) == 5


def test_the_clock_of_a_zone_is_kept(tmp_path: Path) -> None:
    """A time column that has a zone gives the logged time in that zone."""
    before = dataset(tmp_path)
    zoned = before.frame.assign(at=before.frame["at"].dt.tz_localize("America/New_York"))
    settings = write_table(
        Dataset(zoned, before.settings, "", ""),
        logged(tmp_path, [1]),
        tmp_path / "t.parquet",
        columns=COLUMNS,
    )
    found = read(settings, tmp_path).frame["at"]
    assert str(found.dt.tz) == "America/New_York"
    assert found.iloc[-1] - NOON < timedelta(seconds=1)
