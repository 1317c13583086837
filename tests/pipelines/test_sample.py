import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.data import DataSettings, read
from pipelines.samples.flights import make_sample
from pipelines.split import SIDES, sides

FLIGHTS = Path(make_sample.__file__).parent
LEARNING = FLIGHTS / "flights.parquet"
TRAFFIC = sorted((FLIGHTS / "traffic").glob("*.parquet"))
KNOWN_LATER = {"arr_time", "arr_delay", "air_time", "sched_arr_time", "dep_time"}


@pytest.fixture(scope="module")
def learning() -> pd.DataFrame:
    """Read the table to learn from."""
    return pd.read_parquet(LEARNING)


@pytest.fixture(scope="module")
def traffic() -> dict[str, pd.DataFrame]:
    """Read the months that come after."""
    return {path.stem: pd.read_parquet(path) for path in TRAFFIC}


def sources(rows: int = 4_000) -> dict[str, pd.DataFrame]:
    """Make tables as the package has them: a flight every two hours, one plane, one station."""
    number = np.arange(rows)
    local = pd.Timestamp("2013-01-01 05:15") + pd.to_timedelta(number * 2, unit="h")
    flights = pd.DataFrame(
        {
            "year": local.year,
            "month": local.month,
            "day": local.day,
            "hour": local.hour,
            "minute": local.minute,
            "time_hour": local.floor("h").strftime("%Y-%m-%dT%H:%M:%SZ"),
            "dep_delay": 0.0,
            "arr_delay": np.where(number % 2, 14.0, 15.0),
            "carrier": "AA",
            "origin": "JFK",
            "dest": "BOS",
            "distance": 187,
            "tailnum": np.where(number % 3, "N1", "N2"),
        }
    )
    flights.loc[number % 5 == 0, "arr_delay"] = np.nan
    weather = flights[["origin", "time_hour"]].assign(
        **{name: number.astype(float) for name in make_sample.WEATHER}
    )
    planes = pd.DataFrame(
        {
            "tailnum": ["N1"],
            "year": [1999],
            "manufacturer": ["BOEING"],
            "seats": [100],
            "engine": ["Turbo-fan"],
        }
    )
    # The same hour at another airport, and an hour that was read twice.
    elsewhere = weather.assign(origin="LGA", temp=-1.0)
    return {
        "flights": flights,
        "weather": pd.concat([elsewhere, weather, weather.head(50)]),
        "planes": planes,
    }


# The files.


def test_the_sample_is_at_most_one_megabyte() -> None:
    """The repository and the wheel carry it, so it stays small."""
    assert len(TRAFFIC) == 6
    assert sum(path.stat().st_size for path in [LEARNING, *TRAFFIC]) <= 1_000_000


def test_each_file_holds_the_months_it_names(
    learning: pd.DataFrame, traffic: dict[str, pd.DataFrame]
) -> None:
    """January to June are learned from; each month after is in the file of its name."""
    assert set(learning["scheduled_departure"].dt.strftime("%Y-%m")) == {
        f"2013-{month:02d}" for month in range(1, 7)
    }
    for name, frame in traffic.items():
        assert set(frame["scheduled_departure"].dt.strftime("%Y-%m")) == {name}


def test_no_flight_comes_twice(learning: pd.DataFrame, traffic: dict[str, pd.DataFrame]) -> None:
    """The id names each flight once, over all files."""
    assert pd.concat([learning, *traffic.values()])["flight_id"].is_unique


def test_all_files_have_the_same_columns_and_types(
    learning: pd.DataFrame, traffic: dict[str, pd.DataFrame]
) -> None:
    """What is learned from is what is scored later."""
    for frame in traffic.values():
        assert frame.dtypes.equals(learning.dtypes)


def test_nothing_is_known_after_push_back(learning: pd.DataFrame) -> None:
    """No column tells of the flight once it has left the gate, and none gives the label away."""
    assert not KNOWN_LATER & set(learning.columns)
    late = learning["late"] == "late"
    for column in learning.columns.drop(["late", "flight_id", "scheduled_departure"]):
        values = learning[column]
        levels = pd.qcut(values, 50, duplicates="drop") if values.dtype.kind in "if" else values
        shares = late.groupby(levels, observed=True).agg(["mean", "size"])
        right = (shares["mean"].where(shares["mean"] > 0.5, 1 - shares["mean"])) * shares["size"]
        # The departure delay alone is right 88 times in 100; a leak would be right nearly always.
        assert right.sum() / shares["size"].sum() < 0.92, column


def test_the_sample_is_real_in_its_gaps(learning: pd.DataFrame) -> None:
    """Both kinds of column are there, some cells are missing, and no column is empty."""
    missing = learning.isna().mean()
    assert missing["plane_year"] > 0.1
    assert missing["manufacturer"] > 0.1
    assert missing["pressure"] > 0.05
    assert missing.max() < 0.3
    assert learning["late"].value_counts(normalize=True)["late"] == pytest.approx(0.25, abs=0.01)


def test_the_sample_splits_by_time_and_by_chance() -> None:
    """The reader takes the table as it is, and each way to split it fills every side."""
    for split in (
        {"method": "random"},
        {"method": "time", "validation_from": "2013-05-01", "sealed_from": "2013-06-01"},
    ):
        settings = DataSettings.model_validate(
            {
                "source": "flights.parquet",
                "target": "late",
                "positive": "late",
                "time": "scheduled_departure",
                "id": "flight_id",
                "split": split,
            }
        )
        found = pd.Series(sides(read(settings, FLIGHTS))).value_counts()
        assert set(found.index) == set(SIDES[:3])
        assert found.min() > 3_000


def test_the_readme_names_every_column_and_count(
    learning: pd.DataFrame, traffic: dict[str, pd.DataFrame]
) -> None:
    """The page beside the files tells of the columns and rows that are in them."""
    text = (FLIGHTS / "README.md").read_text(encoding="utf-8")
    rows = text.partition("## Columns")[2]
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]*)\|", rows, re.MULTILINE)))
    assert named == [name for name in named if name in learning.columns]
    assert set(named) == set(learning.columns)
    assert f"{len(learning):,}" in text
    assert f"{sum(len(frame) for frame in traffic.values()):,}" in text


# The script that made them.


def test_flights_without_an_arrival_are_left_out() -> None:
    """A cancelled flight is neither late nor punctual."""
    sample = make_sample.join(sources())
    assert (sample["flight_id"] % 5 != 0).all()


def test_late_starts_at_fifteen_minutes() -> None:
    """Fourteen minutes are punctual, fifteen are late."""
    sample = make_sample.join(sources())
    odd = sample["flight_id"] % 2 == 1
    assert set(sample.loc[odd, "late"]) == {"on_time"}
    assert set(sample.loc[~odd, "late"]) == {"late"}


def test_weather_is_of_the_airport_and_hour() -> None:
    """A flight gets the reading of its own airport in its own hour, and comes once."""
    sample = make_sample.join(sources())
    assert (sample["temp"] == sample["flight_id"]).all()
    assert sample["flight_id"].is_unique


def test_an_unknown_plane_leaves_cells_missing() -> None:
    """A flight whose plane is not in the registry is kept."""
    sample = make_sample.join(sources())
    unknown = sample["flight_id"] % 3 == 0
    assert unknown.any()
    assert (sample["seats"].isna() == unknown).all()
    assert (sample["plane_year"].dropna() == 1999).all()


def test_thinning_keeps_a_flight_whatever_the_others_are() -> None:
    """A share of the flights is kept, by their number alone."""
    few, many = (make_sample.join(sources(rows)) for rows in (2_000, 4_000))
    assert len(many) == pytest.approx(4_000 * 0.8 * make_sample.SHARE, rel=0.2)
    assert set(few["flight_id"]) == {number for number in many["flight_id"] if number < 2_000}


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """A sample that is made again shows no change in git."""
    for name in ("one", "other"):
        written = make_sample.write(make_sample.join(sources()), tmp_path / name)
        assert len(written) == 7
    for path in (tmp_path / "one").rglob("*.parquet"):
        other = tmp_path / "other" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes()
