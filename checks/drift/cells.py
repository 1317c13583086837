"""The cells of a column, as what the tests compare: numbers, or how many rows a level has."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

Counts = Mapping[str, int]
"""Rows of each level, the missing ones left out."""


def numbers_of(values: "pd.Series[Any]") -> "NDArray[np.float64]":
    """Return the cells as numbers; NaN where there is none, or what is there is not one."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_timedelta64_dtype(values):
        # Nanoseconds are numbers, yet no value of this column.
        return np.full(len(values), np.nan)
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    numbers = pd.to_numeric(values, errors="coerce")
    return np.asarray(numbers.to_numpy(dtype=np.float64, na_value=np.nan))


def known_numbers(values: "pd.Series[Any]") -> "NDArray[np.float64]":
    """Return the numbers of a column without its missing cells."""
    numbers = numbers_of(values)
    missing = np.isnan(numbers)
    return numbers[~missing] if missing.any() else numbers


def coded(values: "pd.Series[Any]") -> "tuple[NDArray[np.intp], list[str]]":
    """Return the place of each cell in a list of names, and the list; -1 where missing.

    A name may come twice: what Python tells apart, such as 1 and "1", may be called the same.
    """
    import pandas as pd

    try:
        codes, found = pd.factorize(values)
    except TypeError:
        # Lists and mappings are no levels, but they have names as all things do.
        named = values.astype(object).where(values.notna(), None).map(str, na_action="ignore")
        codes, found = pd.factorize(named)
    return codes, [name_of(value) for value in found]


def name_of(value: object) -> str:
    """Return the name of a level.

    Whole numbers lose their ``.0``: a level keeps its name when its column, in one of the
    samples, holds a missing value and so became a column of decimals.
    """
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def counts_of(values: "pd.Series[Any]") -> dict[str, int]:
    """Count the rows of each level of a column."""
    codes, names = coded(values)
    sizes = np.bincount(codes[codes >= 0], minlength=len(names))
    counts: dict[str, int] = {}
    for name, size in zip(names, sizes.tolist(), strict=True):
        if size:
            counts[name] = counts.get(name, 0) + size
    return counts


def levels_of(values: "pd.Series[Any]") -> "NDArray[np.object_]":
    """Return the cells as the names of their levels, None where missing."""
    codes, names = coded(values)
    return np.array([*names, None], dtype=object)[codes]
