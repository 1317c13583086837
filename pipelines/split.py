"""Which rows are learned from, which choose the configuration, and which only the gate sees.

A row's side follows from the row alone: from a hash of its id (or of its content, or of
its group), or from its time against fixed instants. So a row keeps its side as the table
grows, whatever the order of rows and columns, and exact duplicates share a side.
"""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.errors import DataError, ProjectError

if TYPE_CHECKING:
    from pipelines.data import Dataset, SplitSettings

SIDES = ("train", "validation", "sealed", "later")

_EXACT = 2.0**53
_MISSING = np.uint64(2**64 - 1)
_NUMBERS = ("boolean", "integer", "floating", "mixed-integer-float", "decimal")
_SHOWN = 5


@dataclass(frozen=True)
class Split:
    """The rows that training may see."""

    train: pd.DataFrame
    validation: pd.DataFrame

    @property
    def both(self) -> pd.DataFrame:
        """Every row that a model learns from: choosing a configuration is learning too."""
        return pd.concat([self.train, self.validation])

    def sample(self, rows: int, *, seed: int) -> pd.DataFrame:
        """Draw rows of both, without replacement; all of them where there are fewer."""
        both = self.both
        return both.sample(min(rows, len(both)), random_state=seed)


def learning_rows(dataset: "Dataset") -> Split:
    """Give the rows to learn from and those that choose among configurations.

    Raises
    ------
    DataError
        A side has no rows, or lacks a class.
    """
    side = _checked_sides(dataset)
    return Split(dataset.frame.loc[side == "train"], dataset.frame.loc[side == "validation"])


def sealed_rows(dataset: "Dataset") -> pd.DataFrame:
    """Give the sealed test rows, for the gate alone.

    Raises
    ------
    DataError
        A side has no rows, or lacks a class.
    """
    rows: pd.DataFrame = dataset.frame.loc[_checked_sides(dataset) == "sealed"]
    return rows


def sealed_fingerprint(dataset: "Dataset") -> str:
    """Name the sealed test rows by what is in them, whatever their order.

    Returns
    -------
    str
        SHA-256 in hexadecimal over the sorted `hash_rows`, each as eight bytes, lowest first.

    Raises
    ------
    DataError
        A side has no rows, or lacks a class.
    """
    hashed = hash_rows(dataset.frame)[_checked_sides(dataset) == "sealed"]
    return hashlib.sha256(np.sort(hashed).astype("<u8").tobytes()).hexdigest()


def sides(dataset: "Dataset") -> NDArray[Any]:
    """Name the side of each row.

    Returns
    -------
    ndarray of shape (n_rows,)
        Of `SIDES`. Classes are spread alike over the sides by chance, not by count: to hold
        the counts would move rows between sides as the table grows.
    """
    settings = dataset.settings.split
    if settings.method == "time":
        return _by_time(dataset, settings)
    if settings.method == "group":
        key = _key_column(dataset, "group", dataset.settings.group)
        hashed = _hash(dataset.frame[key])
    elif dataset.settings.id is not None:
        hashed = _hash(dataset.frame[_key_column(dataset, "id", dataset.settings.id)])
    else:
        hashed = hash_rows(dataset.frame)
    share = _mix(hashed ^ _mix(np.uint64(settings.seed))) / 2.0**64
    side = np.full(len(share), "train", dtype="<U10")
    side[share < settings.validation + settings.sealed] = "validation"
    side[share < settings.sealed] = "sealed"
    return side


def hash_rows(frame: pd.DataFrame) -> NDArray[np.uint64]:
    """Hash each row's content, whatever the order of the columns.

    Returns
    -------
    ndarray of shape (n_rows,)
    """
    total = np.zeros(len(frame), dtype=np.uint64)
    names = _hash_array(np.array([str(c) for c in frame.columns], dtype=object))
    for column, name in zip(frame.columns, names, strict=True):
        total += _mix(_hash(frame[column]) ^ name)
    return total


def _by_time(dataset: "Dataset", settings: "SplitSettings") -> NDArray[Any]:
    if dataset.settings.time is None or settings.sealed_from is None:
        raise ProjectError(
            "A split by time needs a time column and the instant from which rows are sealed.",
            found=f"data.time = {dataset.settings.time!r}, "
            f"data.split.sealed_from = {settings.sealed_from!r}",
            next_move="set both in tidegate.toml, or data.split.method = 'random'",
        )
    time = dataset.frame[dataset.settings.time]
    if time.isna().any():
        raise DataError(
            "A split by time needs a time for each row.",
            found=f"{int(time.isna().sum())} of {len(time)} rows of {time.name!r} have none",
            next_move="fill them at the source, or split by hash: data.split.method = 'random'",
        )
    side = np.full(len(time), "train", dtype="<U10")
    for name, instant in (
        ("validation", settings.validation_from),
        ("sealed", settings.sealed_from),
        ("later", settings.until),
    ):
        if instant is not None:
            side[(time >= _as_instant(instant, time)).to_numpy()] = name
    return side


def _as_instant(instant: Any, time: pd.Series) -> pd.Timestamp:
    stamp = pd.Timestamp(instant)
    zone = time.dt.tz
    if stamp.tzinfo is None and zone is not None:
        return stamp.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
    if stamp.tzinfo is not None and zone is None:
        raise ProjectError(
            "The instants of a split have a time zone only if the time column has one.",
            found=f"{instant} against {time.name!r}, which has none",
            next_move="write the instants in [data.split] as local times, without an offset",
        )
    return stamp


def _key_column(dataset: "Dataset", role: str, name: str | None) -> str:
    if name is None:
        raise ProjectError(
            f"A split by {role} needs a {role} column.",
            found=f"data.{role} is not set",
            next_move=f"name the column in [data] {role}",
        )
    if dataset.frame[name].isna().any():
        count = int(dataset.frame[name].isna().sum())
        raise DataError(
            f"Each row has a {role}, which decides its side.",
            found=f"{count} of {len(dataset.frame)} rows of {name!r} have none",
            next_move="fill them at the source",
        )
    return name


def _hash(values: pd.Series) -> NDArray[np.uint64]:
    """Hash values so that the same value, or none, hashes alike whatever its column's type.

    A column widens as a table grows: whole numbers become floats, and true and false become
    objects, where a first cell is missing; a column without a value becomes text.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = pd.Series(np.asarray(values))
    hashed = _hash_present(values)
    hashed[values.isna().to_numpy()] = _MISSING
    return hashed


def _hash_present(values: pd.Series) -> NDArray[np.uint64]:
    if pd.api.types.is_datetime64_any_dtype(values):
        utc = values.dt.tz_convert("UTC").dt.tz_localize(None) if values.dt.tz else values
        # Not nanoseconds, which end in 2262: an open end is often written as the year 9999.
        return _hash_array(utc.to_numpy(dtype="datetime64[us]").view("int64"))
    if pd.api.types.is_numeric_dtype(values):
        return _hash_numbers(values)
    if pd.api.types.infer_dtype(values, skipna=True) in _NUMBERS:
        # Built anew, whole numbers keep the digits that a float would lose.
        numbers = pd.Series(values.where(values.notna(), 0).tolist())
        exact = pd.api.types.is_numeric_dtype(numbers)
        return _hash_numbers(numbers if exact else numbers.astype(np.float64))
    if isinstance(values.dtype, pd.StringDtype):
        # Each level once: a table of 200,000 rows has a few hundred of them.
        codes, levels = pd.factorize(values)
        return np.append(_hash_array(levels.to_numpy(dtype=object)), _MISSING)[codes]
    return _hash_array(values.astype(object).map(str, na_action="ignore").to_numpy())


def _hash_numbers(values: pd.Series) -> NDArray[np.uint64]:
    # Adding zero makes minus zero plus zero.
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan) + 0.0
    hashed = _hash_array(numbers)
    large = (np.abs(numbers) >= _EXACT) & (np.abs(numbers) < 2.0**63)
    if large.any():
        hashed[large] = _hash_array(values.to_numpy()[large].astype(np.int64))
    return hashed


def _hash_array(values: NDArray[Any]) -> NDArray[np.uint64]:
    return np.asarray(pd.util.hash_array(values), dtype=np.uint64)


def _mix(value: Any) -> Any:
    """Spread a 64-bit value (the finaliser of splitmix64; Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return value ^ (value >> np.uint64(31))


def _checked_sides(dataset: "Dataset") -> NDArray[Any]:
    side = sides(dataset)
    target = dataset.frame[dataset.settings.target]
    classes = set(target[side != "later"].unique())
    for name in SIDES[:3]:
        lacking = classes - set(target[side == name].unique())
        if lacking:
            shown = ", ".join(sorted(repr(label) for label in lacking)[:_SHOWN])
            count = int((side == name).sum())
            raise DataError(
                "Each of the train, validation and sealed rows needs every class.",
                found=f"the {count} {name} rows have none of {shown}",
                next_move="give more rows, other shares or instants in [data.split], "
                "another data.split.seed, or merge rare classes at the source",
            )
    return side
