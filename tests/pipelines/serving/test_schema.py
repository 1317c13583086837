"""pipelines.serving.schema: a request checked against the columns that the model reads."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.features import Roles, conform
from pipelines.serving.schema import RequestError, check_columns

GOOD: dict[str, list[Any]] = {
    "carrier": ["AA", None],
    "delay": [1, None],
    "seats": [True, 2.5],
}


def test_rows_come_as_the_model_reads_them(roles: Roles) -> None:
    """Checked rows are what conform makes of them: order, types and missing cells."""
    rows = check_columns(GOOD, roles)
    expected = conform(pd.DataFrame(GOOD), roles)
    pd.testing.assert_frame_equal(rows, expected)
    assert list(rows.columns) == ["delay", "seats", "carrier"]


def test_nan_is_null(roles: Roles) -> None:
    """NaN, which MLflow's clients send for a missing cell, is a missing cell in any column."""
    rows = check_columns(GOOD | {"delay": [np.nan, 0.0], "carrier": [np.nan, "AA"]}, roles)
    assert rows["delay"].isna().tolist() == [True, False]
    assert rows["carrier"].isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("change", "column", "rule"),
    [
        ({"delay": ["secret", 1.0]}, "delay", "delay is a finite number or null"),
        ({"delay": [[1.0], 1.0]}, "delay", "delay is a finite number or null"),
        ({"delay": [float("inf"), 1.0]}, "delay", "delay is a finite number or null"),
        ({"delay": [10**400, 1.0]}, "delay", "delay is a finite number or null"),
        ({"carrier": [1, "AA"]}, "carrier", "carrier is text or null"),
        ({"carrier": [True, "AA"]}, "carrier", "carrier is text or null"),
        ({"carrier": ["\ud800", "AA"]}, "carrier", "carrier is text or null"),
        ({"carrier": [{"secret": 1}, "AA"]}, "carrier", "carrier is text or null"),
        ({"carier": ["secret", "AA"]}, "carier", "carier is not a column of the model"),
    ],
)
def test_what_breaks_a_rule_is_named(
    roles: Roles, change: dict[str, Any], column: str, rule: str
) -> None:
    """The error names the column and the rule, and never a value of the row."""
    with pytest.raises(RequestError) as caught:
        check_columns(GOOD | change, roles)
    assert caught.value.status == 422
    (problem,) = caught.value.problems
    assert problem["column"] == column
    assert problem["rule"].startswith(rule)
    assert "secret" not in str(caught.value)
    assert ("row 0 " in problem["rule"]) is (column != "carier")


def test_everything_wrong_is_told_at_once(roles: Roles) -> None:
    """A missing, a misspelt and a mistyped column are all named, in one answer."""
    with pytest.raises(RequestError) as caught:
        check_columns({"delay": ["x"] * 9, "seat": [1] * 9, "carrier": ["AA"] * 9}, roles)
    problems = {problem["column"]: problem["rule"] for problem in caught.value.problems}
    assert set(problems) == {"delay", "seats", "seat"}
    assert "in row 0, 1, 2, 3, 4, ... (from 0)" in problems["delay"]


def test_a_name_that_cannot_be_printed_is_cut(roles: Roles) -> None:
    """An unknown column's name is shortened, and half a surrogate pair does not survive."""
    with pytest.raises(RequestError) as caught:
        check_columns(GOOD | {"\ud800" + "x" * 500: [1, 2]}, roles)
    column = caught.value.problems[0]["column"]
    assert column == "?" + "x" * 99
