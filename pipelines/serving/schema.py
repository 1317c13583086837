"""What a request must be: checked against the columns that the model reads."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pipelines.features import Roles

if TYPE_CHECKING:
    import pandas as pd

Columns = Mapping[str, Sequence[Any]]
"""Checked cells by column, all of one length: float or None, and str or None."""

LARGEST = 1e30
"""Largest size of a number: models work in single precision, which ends at 3e38."""

_SHOWN = 5

MAXIMUM_PROBLEMS = 20
"""Most broken rules that one answer names."""

_MAXIMUM_NAME = 100


class RequestError(ValueError):
    """A request that is refused.

    Parameters
    ----------
    status : int
        415 for a content type that is not spoken here, 413 for too much, else 422.
    problems : sequence of mapping
        Each with ``column`` (or None) and ``rule``; never a value of the request, which may
        be somebody's data.
    """

    def __init__(self, status: int, problems: Sequence[Mapping[str, str | None]]) -> None:
        super().__init__("; ".join(str(problem["rule"]) for problem in problems))
        self.status = status
        self.problems = [dict(problem) for problem in problems[:MAXIMUM_PROBLEMS]]

    @classmethod
    def of(cls, rule: str, *, column: str | None = None, status: int = 422) -> Self:
        """Make the error of one broken rule."""
        return cls(status, [{"column": column, "rule": rule}])


def check_columns(columns: Mapping[str, Sequence[Any]], roles: Roles) -> Columns:
    """Return a request's cells as the model reads them.

    Every column of the model is there, and no other: a misspelt optional column would
    otherwise be scored as missing without a word. A number is a number, true, false, or null;
    text is a string or null. NaN, which MLflow's clients write for a missing cell, is null;
    an infinity, or a number beyond `LARGEST`, is refused.

    Parameters
    ----------
    columns : mapping of str to sequence
        Cells as the request had them, all of one length.
    roles : Roles

    Returns
    -------
    Columns
        In the order of the roles.

    Raises
    ------
    RequestError
        Names each column at fault, the rule it breaks and the first rows that break it.
    """
    problems: list[Mapping[str, str | None]] = []
    found: dict[str, list[Any]] = {}
    for names, convert, kind in (
        (roles.numeric, _number, f"a finite number or null, at most {LARGEST:g} in size"),
        (roles.categorical, _text, "text or null"),
    ):
        for name in names:
            cells = columns.get(name)
            if cells is None:
                rule = f"{name} is required; send null where it is not known"
                problems.append({"column": name, "rule": rule})
                continue
            try:
                found[name] = [convert(cell) for cell in cells]
            except _WRONG:
                problems.append({"column": name, "rule": _rule(name, kind, cells, convert)})
    if len(columns) > len(found):
        for name in columns:
            if name not in roles.columns:
                problems.append(unknown_column(name))
    if problems:
        raise RequestError(422, problems)
    return found


def as_frame(columns: Columns, roles: Roles) -> "pd.DataFrame":
    """Return checked cells as a pipeline reads them.

    Parameters
    ----------
    columns : Columns
    roles : Roles

    Returns
    -------
    DataFrame of shape (n_rows, n_columns)
        As `pipelines.features.conform` gives it: float64, and objects of str or NaN.
    """
    import pandas as pd

    # None becomes NaN in an array of numbers.
    numbers = {name: np.array(columns[name], dtype=np.float64) for name in roles.numeric}
    # A Series keeps its type, where a frame would infer one for an array of strings.
    texts = {
        name: pd.Series(
            [math.nan if cell is None else cell for cell in columns[name]], dtype=object
        )
        for name in roles.categorical
    }
    return pd.DataFrame({**numbers, **texts}, columns=list(roles.columns))


_WRONG = (TypeError, OverflowError, UnicodeEncodeError)


def _rule(name: str, kind: str, cells: Sequence[Any], convert: Callable[[Any], Any]) -> str:
    wrong: list[int] = []
    for row, cell in enumerate(cells):
        try:
            convert(cell)
        except _WRONG:
            wrong.append(row)
    rows = ", ".join(map(str, wrong[:_SHOWN])) + (", ..." if wrong[_SHOWN:] else "")
    return f"{name} is {kind}; it is not in row {rows} (from 0)"


def _number(cell: Any) -> float | None:
    if cell is None:
        return None
    if not isinstance(cell, int | float):
        raise TypeError
    value = float(cell)
    if abs(value) > LARGEST:
        raise OverflowError
    # Only NaN differs from itself.
    return value if value == value else None


def _text(cell: Any) -> str | None:
    if isinstance(cell, str):
        # Half a surrogate pair, which JSON can spell, would break whoever reads the log.
        cell.encode()
        return cell
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    raise TypeError


def unknown_column(name: str) -> Mapping[str, str | None]:
    """Return the rule that a column breaks which the model does not read."""
    shown = printable(name)
    return {"column": shown, "rule": f"{shown} is not a column of the model"}


def printable(name: str) -> str:
    """Return a name that a client sent, short enough and fit to be answered."""
    # Half a surrogate pair cannot be encoded in the answer.
    return name[:_MAXIMUM_NAME].encode("utf-8", "replace").decode()
