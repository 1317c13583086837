"""pipelines.serving.protocol: every form of MLflow's scoring protocol, and what is none."""

import json
from typing import Any

import pandas as pd
import pytest

from pipelines.features import Roles
from pipelines.serving.protocol import parse, parse_records
from pipelines.serving.schema import MAXIMUM_PROBLEMS, RequestError

JSON = "application/json"
COLUMNS: dict[str, list[Any]] = {
    "delay": [1.5, None],
    "seats": [100, 200],
    "carrier": ["AA", None],
}
RECORDS = pd.DataFrame(COLUMNS, dtype=object).to_dict("records")
ROWS = [list(record.values()) for record in RECORDS]


def read(body: Any, roles: Roles, kind: str | None = JSON, *, maximum_rows: int = 10) -> Any:
    """Parse a body, given as bytes or as what JSON makes of it."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse(raw, kind, roles, maximum_rows=maximum_rows)


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": list(COLUMNS), "data": ROWS}},
        {"dataframe_split": {"columns": list(COLUMNS), "index": [0, 1], "data": ROWS}},
        {"dataframe_records": RECORDS},
        {"inputs": COLUMNS},
        {"inputs": RECORDS},
        {"instances": RECORDS},
        {"instances": ROWS},
        {"inputs": COLUMNS, "params": {}},
    ],
)
def test_every_form_gives_the_same_columns(roles: Roles, body: Any) -> None:
    """dataframe_split, dataframe_records, inputs and instances say the same."""
    assert read(body, roles) == COLUMNS


def test_one_row_of_scalars(roles: Roles) -> None:
    """Inputs that are single values are one row."""
    row = {name: cells[0] for name, cells in COLUMNS.items()}
    assert read({"inputs": row}, roles) == {name: [cell] for name, cell in row.items()}


def test_a_record_may_leave_out_what_another_names(roles: Roles) -> None:
    """A key that one record lacks is null there."""
    assert read({"dataframe_records": [{"delay": 1}, {"seats": 2}]}, roles) == {
        "delay": [1, None],
        "seats": [None, 2],
    }


@pytest.mark.parametrize("kind", ["text/csv", "Text/CSV; charset=UTF-8"])
def test_csv(roles: Roles, kind: str) -> None:
    """CSV cells are read as pandas would: numbers, true and false, and the names of missing."""
    body = b'\xef\xbb\xbfdelay,seats,carrier\r\n1.5,true,"A,A"\r\n,1e3,NA\r\n\r\nnan, 7 ,012\r\n'
    assert read(body, roles, kind) == {
        "delay": [1.5, None, None],
        "seats": [True, 1000.0, 7.0],
        "carrier": ["A,A", None, "012"],
    }


def test_csv_leaves_a_word_for_the_schema(roles: Roles) -> None:
    """A word among numbers is kept as it is, and so is what Python alone takes for a number."""
    assert read(b"delay\nsoon\n1_000\n", roles, "text/csv") == {"delay": ["soon", "1_000"]}


def test_pandas_and_csv_agree_on_missing(roles: Roles) -> None:
    """What pandas.read_csv takes for missing is missing here."""
    from pandas._libs.parsers import STR_NA_VALUES

    from pipelines.serving.protocol import _MISSING

    assert _MISSING == STR_NA_VALUES


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/vnd.apache.parquet",
        "json",
        "application/json; charset=latin-1",
    ],
)
def test_another_content_type_is_415(roles: Roles, kind: str | None) -> None:
    """A content type that is not spoken here, or none, is refused by 415."""
    with pytest.raises(RequestError) as caught:
        read({"inputs": COLUMNS}, roles, kind)
    assert caught.value.status == 415


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"", "is JSON"),
        (b"{", "is JSON"),
        (b"\xff\xfe\x00", "is JSON"),
        (b"[" * 200_000, "is JSON"),
        (b'{"inputs": ' + b"9" * 5_000 + b"}", "is JSON"),
        (b"null", "an object with one of"),
        ([1, 2], "an object with one of"),
        ({}, "an object with one of"),
        ({"columns": []}, "an object with one of"),
        ({"inputs": COLUMNS, "instances": RECORDS}, "an object with one of"),
        ({"inputs": COLUMNS, "params": {"a": 1}}, "an object with one of"),
        ({"inputs": COLUMNS, "secret": 1}, "an object with one of"),
        ({"dataframe_split": [1]}, "columns and data"),
        ({"dataframe_split": {"data": ROWS}}, "columns and data"),
        ({"dataframe_split": {"columns": ["a"]}}, "are lists"),
        ({"dataframe_split": {"columns": ["a"], "data": [1]}}, "are lists"),
        ({"dataframe_split": {"columns": [1], "data": [[1]]}}, "named by text"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}, "named once"),
        ({"dataframe_split": {"columns": ["a"], "data": [[1], [1, 2]]}}, r"row 1 \(from 0\) has 2"),
        ({"instances": [[1, 2]]}, "for each of 3 columns"),
        ({"dataframe_records": {"delay": [1]}}, "list of objects"),
        ({"dataframe_records": [1]}, "list of objects"),
        ({"instances": "secret"}, "list of objects"),
        ({"inputs": {"delay": [1], "seats": [1, 2]}}, "one length"),
        ({"inputs": {}}, "at least one row"),
        ({"inputs": {"delay": []}}, "at least one row"),
        ({"dataframe_records": []}, "at least one row"),
        ({"dataframe_records": [{}]}, "at least one row"),
        ({"dataframe_split": {"columns": ["a"], "data": []}}, "at least one row"),
    ],
)
def test_what_cannot_be_read_is_422(roles: Roles, body: Any, rule: str) -> None:
    """A body that is no form of the protocol is refused by its rule, without its content."""
    with pytest.raises(RequestError, match=rule) as caught:
        read(body, roles)
    assert caught.value.status == 422
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"", "at least one row"),
        (b"delay,seats\n", "at least one row"),
        (b"delay,seats\n1\n", r"row 0 \(from 0\) has 1"),
        (b"delay,seats\n1,2,3\n", r"row 0 \(from 0\) has 3"),
        (b"delay,delay\n1,2\n", "named once"),
        (b'delay\n"1\n', "is CSV"),
        (b"delay\n\xe9\n", "is CSV"),
    ],
)
def test_what_is_no_csv_is_422(roles: Roles, body: bytes, rule: str) -> None:
    """A ragged, headless, unclosed or wrongly encoded CSV is refused by its rule."""
    with pytest.raises(RequestError, match=rule) as caught:
        read(body, roles, "text/csv")
    assert caught.value.status == 422


def test_too_many_rows_are_413(roles: Roles) -> None:
    """One row more than the limit is refused, and the limit itself is not."""
    assert read({"inputs": {"delay": [1] * 10}}, roles)
    with pytest.raises(RequestError, match="at most 10 rows") as caught:
        read({"inputs": {"delay": [1] * 11}}, roles)
    assert caught.value.status == 413


def test_records_name_each_column(roles: Roles) -> None:
    """/v1/predict reads records that each name each column, and says which one does not."""
    body = json.dumps({"records": RECORDS}).encode()
    assert parse_records(body, JSON, roles, maximum_rows=10) == COLUMNS
    short = json.dumps({"records": [RECORDS[0], {"delay": 1}]}).encode()
    with pytest.raises(RequestError, match=r"row 1 \(from 0\) has not") as caught:
        parse_records(short, JSON, roles, maximum_rows=10)
    assert caught.value.problems[0]["column"] == "seats"


def test_a_name_for_each_row_makes_no_large_table(roles: Roles) -> None:
    """Records that each have a column of their own are refused before a table is made of them."""
    with pytest.raises(RequestError, match="is not a column") as caught:
        read({"dataframe_records": [{f"x{n}": 1} for n in range(1000)]}, roles, maximum_rows=1000)
    assert len(caught.value.problems) == MAXIMUM_PROBLEMS
