"""A column whose values are the reference's in another unit: a fault of the source, not drift."""

from typing import TYPE_CHECKING, Any

import numpy as np

from checks.drift.cells import known_numbers
from checks.drift.shift import ks_shift
from checks.result import CheckResult, Status

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

FAR = 0.3
"""Smallest distance between the samples as they are: a smaller one is drift like any other."""

NEAR = 0.15
"""Largest distance once the reference is converted."""

_TIMES = 3.0
_LEAST_VALUES = 50
_LEAST_DISTINCT = 10

# The international definitions of 1959, and what a hundred spreadsheets confuse.
_FACTORS = {
    "miles to kilometres": 1.609344,
    "feet to metres": 0.3048,
    "inches to centimetres": 2.54,
    "inches to millimetres": 25.4,
    "pounds to kilograms": 0.45359237,
    "ounces to grams": 28.349523125,
    "US gallons to litres": 3.785411784,
    "miles per hour to metres per second": 0.44704,
    "knots to kilometres per hour": 1.852,
    "inches of mercury to hectopascals": 33.8639,
    "tens": 10.0,
    "hundreds, as in percent or cents": 100.0,
    "thousands": 1_000.0,
    "millions": 1_000_000.0,
    "minutes to hours, or seconds to minutes": 1 / 60,
    "seconds to hours": 1 / 3_600,
    "hours to days": 1 / 24,
    "days to weeks": 1 / 7,
    "days to years": 1 / 365.25,
}
_OFFSETS = {
    "degrees Fahrenheit to Celsius": (5 / 9, -160 / 9),
    "degrees Celsius to kelvins": (1.0, 273.15),
}


def unit_of(reference: "pd.Series[Any]", current: "pd.Series[Any]") -> CheckResult | None:
    """Return the finding that a column's unit has changed; None where nothing shows that.

    The window is far from the reference as it is, and near to it once that is converted from
    one unit to another, or has its sign turned.

    Parameters
    ----------
    reference, current : Series
        Of numbers.
    """
    before, after = known_numbers(reference), known_numbers(current)
    if min(len(before), len(after)) < _LEAST_VALUES:
        return None
    if min(len(np.unique(before)), len(np.unique(after))) < _LEAST_DISTINCT:
        return None
    apart = ks_shift(before, after).effect
    if apart < FAR:
        return None
    name, left = min(
        ((name, ks_shift(converted, after).effect) for name, converted in _converted(before)),
        key=lambda each: each[1],
    )
    if left > NEAR or left * _TIMES > apart:
        return None
    column = str(reference.name)
    return CheckResult(
        f"{column}.unit",
        f"The values of {column} are in the unit of the reference",
        Status.FAILED,
        apart,
        FAR,
        f"As if the unit had changed, {name}: distance {apart:.3f} from the reference as it is, "
        f"{left:.3f} once it is converted; middle value {np.median(before):.4g} before, "
        f"{np.median(after):.4g} now.",
        {
            "conversion": name,
            "distance": apart,
            "distance_converted": left,
            "reference_rows": len(before),
            "current_rows": len(after),
        },
    )


def _converted(
    values: "NDArray[np.float64]",
) -> "list[tuple[str, NDArray[np.float64]]]":
    found = [("its sign turned", -values)]
    for name, factor in _FACTORS.items():
        found += [(name, values * factor), (f"{name}, and back", values / factor)]
    for name, (factor, offset) in _OFFSETS.items():
        found += [
            (name, values * factor + offset),
            (f"{name}, and back", (values - offset) / factor),
        ]
    return found
