"""pipelines.serving.schema: a request checked against the columns that the model reads."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.features import Roles, conform
from pipelines.serving.schema import RequestError, as_frame, check_columns

GOOD: dict[str, list[Any]] = {
    "carrier": ["AA", None],
    "delay": [1, None],
    "seats": [True, 2.5],
}


def test_cells_come_plain_and_in_order(roles: Roles) -> None:
    """Checked cells are floats, text and None, in the order in which the model reads them."""
    found = check_columns(GOOD, roles)
    assert found == {"delay": [1.0, None], "seats": [1.0, 2.5], "carrier": ["AA", None]}
    assert list(found) == ["delay", "seats", "carrier"]
    assert [type(cell) for cell in found["seats"]] == [float, float]


def test_rows_come_as_the_model_reads_them(roles: Roles) -> None:
    """A frame of checked cells is what conform makes of them: order, types, missing cells."""
    rows = as_frame(check_columns(GOOD, roles), roles)
    expected = conform(pd.DataFrame(GOOD), roles)
    pd.testing.assert_frame_equal(rows, expected)


def test_nan_is_null(roles: Roles) -> None:
    """NaN, which MLflow's clients send for a missing cell, is a missing cell in any column."""
    found = check_columns(GOOD | {"delay": [np.nan, 0.0], "carrier": [np.nan, "AA"]}, roles)
    assert found["delay"] == [None, 0.0]
    assert found["carrier"] == [None, "AA"]


@pytest.mark.parametrize(
    ("change", "column", "rule"),
    [
        ({"delay": ["secret", 1.0]}, "delay", "delay is a finite number or null"),
        ({"delay": [[1.0], 1.0]}, "delay", "delay is a finite number or null"),
        ({"delay": [-1.1e30, 1.0]}, "delay", "delay is a finite number or null, at most 1e+30"),
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
