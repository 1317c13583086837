"""What a request must be: checked against the columns that the model reads."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipelines.features import Roles

_SHOWN = 5


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
        self.problems = [dict(problem) for problem in problems]

    @classmethod
    def of(cls, rule: str, *, column: str | None = None, status: int = 422) -> "RequestError":
        """Make the error of one broken rule."""
        return cls(status, [{"column": column, "rule": rule}])


def check_columns(frame: pd.DataFrame, roles: Roles) -> pd.DataFrame:
    """Return the model's columns of a request, in order.

    A number is a JSON number, true, false or null; text is a JSON string or null. Columns
    that the model does not read are passed over, as MLflow's own server does.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        Cells as the request had them.
    roles : Roles

    Raises
    ------
    RequestError
        Names each column at fault and the rule it breaks.
    """
    problems = [
        {"column": column, "rule": f"{column} is required"}
        for column in roles.columns
        if column not in frame.columns
    ]
    for column in roles.columns:
        if column in frame.columns:
            is_right = _is_number if column in roles.numeric else _is_text
            wrong = [row for row, cell in enumerate(frame[column]) if not is_right(cell)]
            if wrong:
                kind = "a finite number" if column in roles.numeric else "text"
                rows = ", ".join(str(row) for row in wrong[:_SHOWN])
                more = ", ..." if len(wrong) > _SHOWN else ""
                problems.append(
                    {
                        "column": column,
                        "rule": f"{column} is {kind} or null; it is neither in row {rows}{more}",
                    }
                )
    if problems:
        raise RequestError(422, problems)
    return frame[list(roles.columns)]


def _is_number(cell: Any) -> bool:
    if cell is None or isinstance(cell, bool):
        return True
    return isinstance(cell, int | float) and not math.isinf(cell)


def _is_text(cell: Any) -> bool:
    return cell is None or isinstance(cell, str) or (isinstance(cell, float) and math.isnan(cell))
