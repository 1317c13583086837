"""What a request must be: checked against the columns that the model reads."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd

from pipelines.features import Roles

_SHOWN = 5
_MAXIMUM_PROBLEMS = 20
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
        self.problems = [dict(problem) for problem in problems[:_MAXIMUM_PROBLEMS]]

    @classmethod
    def of(cls, rule: str, *, column: str | None = None, status: int = 422) -> Self:
        """Make the error of one broken rule."""
        return cls(status, [{"column": column, "rule": rule}])


def check_columns(columns: Mapping[str, Sequence[Any]], roles: Roles) -> pd.DataFrame:
    """Return a request's rows as the model reads them.

    Every column of the model is there, and no other: a misspelt optional column would
    otherwise be scored as missing without a word. A number is a number, true, false, or null;
    text is a string or null. NaN, which MLflow's clients write for a missing cell, is null;
    an infinity, or a number too large for a double, is refused.

    Parameters
    ----------
    columns : mapping of str to sequence
        Cells as the request had them, all of one length.
    roles : Roles

    Returns
    -------
    DataFrame of shape (n_rows, n_columns)
        As `pipelines.features.conform` gives it: float64, and objects of str or NaN.

    Raises
    ------
    RequestError
        Names each column at fault, the rule it breaks and the first rows that break it.
    """
    problems: list[Mapping[str, str | None]] = [
        {"column": name, "rule": f"{name} is required; send null where it is not known"}
        for name in roles.columns
        if name not in columns
    ]
    for name in columns:
        if name not in roles.columns:
            shown = _printable(name)
            problems.append({"column": shown, "rule": f"{shown} is not a column of the model"})
    found: dict[str, Any] = {}
    for names, convert, kind in (
        (roles.numeric, _number, "a finite number"),
        (roles.categorical, _text, "text"),
    ):
        for name in names:
            if name not in columns:
                continue
            found[name], wrong = _converted(columns[name], convert)
            if wrong:
                rows = ", ".join(map(str, wrong[:_SHOWN])) + (", ..." if wrong[_SHOWN:] else "")
                rule = f"{name} is {kind} or null; it is neither in row {rows} (from 0)"
                problems.append({"column": name, "rule": rule})
    if problems:
        raise RequestError(422, problems)
    numbers = {name: np.array(found[name], dtype=np.float64) for name in roles.numeric}
    # A Series keeps its type, where a frame would infer one for an array of strings.
    texts = {name: pd.Series(found[name], dtype=object) for name in roles.categorical}
    return pd.DataFrame({**numbers, **texts}, columns=list(roles.columns))


def _converted(cells: Sequence[Any], convert: Callable[[Any], Any]) -> tuple[list[Any], list[int]]:
    values: list[Any] = []
    wrong: list[int] = []
    for row, cell in enumerate(cells):
        try:
            values.append(convert(cell))
        except (TypeError, OverflowError, UnicodeEncodeError):
            wrong.append(row)
    return values, wrong


def _number(cell: Any) -> float:
    if cell is None:
        return math.nan
    if not isinstance(cell, int | float):
        raise TypeError
    value = float(cell)
    if math.isinf(value):
        raise OverflowError
    return value


def _text(cell: Any) -> str | float:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return math.nan
    if not isinstance(cell, str):
        raise TypeError
    # Half a surrogate pair, which JSON can spell, would break whoever reads the log.
    cell.encode()
    return cell


def _printable(name: str) -> str:
    # A name that a client sent: half a surrogate pair cannot be encoded in the answer.
    return name[:_MAXIMUM_NAME].encode("utf-8", "replace").decode()
