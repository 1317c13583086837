"""What keeps a column from being compared: it is absent, empty, or of another type."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from checks.drift.cells import counts_of, numbers_of
from checks.result import MAXIMUM_EXAMPLES, CheckResult, Status

if TYPE_CHECKING:
    import pandas as pd

_MAXIMUM_TEXT = 40


def fault_of(
    reference: "pd.DataFrame", current: "pd.DataFrame", column: str, *, is_number: bool
) -> CheckResult | None:
    """Return what keeps a column from being compared; None where nothing does.

    Parameters
    ----------
    reference, current : DataFrame of shape (n_rows, n_columns)
        Neither empty.
    column : str
    is_number : bool
        Whether the model reads the column as numbers; else its cells are levels.

    Returns
    -------
    CheckResult or None
        `Status.FAILED` where the window is broken, `Status.ERROR` where the reference lacks the
        column, and `Status.NOT_APPLICABLE` where it has no value of it.
    """
    if column not in reference.columns:
        reason = f"The reference has no column {column}, so it cannot be compared."
        return _fault(column, Status.ERROR, reason)
    if column not in current.columns:
        return _fault(column, Status.FAILED, f"The window has no column {column}.")
    if reference[column].isna().all():
        reason = f"The reference has no value of {column} to compare with."
        return _fault(column, Status.NOT_APPLICABLE, reason)
    values = current[column]
    if values.isna().all():
        return _fault(column, Status.FAILED, f"All {len(values)} values of {column} are missing.")
    if is_number:
        return _not_numbers(column, values)
    return _other_type(column, reference[column], values)


def _not_numbers(column: str, values: "pd.Series[Any]") -> CheckResult | None:
    numbers = numbers_of(values)
    strays = np.isinf(numbers) | (np.isnan(numbers) & values.notna().to_numpy())
    if not strays.any():
        return None
    count = int(strays.sum())
    shown = _shown(values[strays].head(MAXIMUM_EXAMPLES))
    return _fault(
        column,
        Status.FAILED,
        f"{count} of {len(values)} values of {column} are not finite numbers: "
        + ", ".join(map(repr, shown)),
        count=count,
        share=count / len(values),
        examples=shown,
    )


def _other_type(
    column: str, reference: "pd.Series[Any]", values: "pd.Series[Any]"
) -> CheckResult | None:
    """Find numbers where there were words, or words where there were numbers.

    Other words are none: a month that the reference has not seen is drift.
    """
    before, after = counts_of(reference), counts_of(values)
    were, are = ({_is_number(level) for level in side} for side in (before, after))
    if were == are or len(were) > 1 or len(are) > 1:
        return None
    found, known = (_shown(list(side)[:MAXIMUM_EXAMPLES]) for side in (after, before))
    count = sum(after.values())
    return _fault(
        column,
        Status.FAILED,
        f"All {count} values of {column} are {'numbers' if True in are else 'words'}, "
        f"{', '.join(map(repr, found))}, where the reference has {', '.join(map(repr, known))}.",
        count=count,
        share=1.0,
        examples=found,
    )


def _is_number(level: str) -> bool:
    try:
        return math.isfinite(float(level))
    except ValueError:
        return False


def _shown(values: Any) -> list[str]:
    return [str(value)[:_MAXIMUM_TEXT] for value in values]


def _fault(column: str, status: Status, reason: str, **details: Any) -> CheckResult:
    claim = f"The window has {column}, with values of its type"
    return CheckResult(f"{column}.broken", claim, status, reason=reason, details=details)
