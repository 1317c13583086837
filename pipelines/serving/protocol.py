"""What may be sent: MLflow's scoring protocol to ``/invocations``, records to ``/v1/predict``.

MLflow's is ``dataframe_split``, ``dataframe_records``, ``inputs`` and ``instances`` as JSON, or
CSV (https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/, "Inference Server
Specification").
"""

import csv
import json
from collections.abc import Sequence
from email.message import Message
from functools import lru_cache
from io import StringIO
from typing import Any

import orjson

from pipelines.features import Roles
from pipelines.serving.schema import MAXIMUM_PROBLEMS, RequestError, unknown_column

Cells = dict[str, list[Any]]
"""Column name to its cells, as they were sent."""

_KINDS = ("dataframe_split", "dataframe_records", "instances", "inputs")

# What pandas.read_csv reads as missing, so that a file and a request mean the same.
_MISSING = frozenset(
    (
        "",
        *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
        *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    )
)


def parse(body: bytes, content_type: str | None, roles: Roles, *, maximum_rows: int) -> Cells:
    """Read a request's rows, each cell as it was sent.

    Parameters
    ----------
    body : bytes
    content_type : str or None
        The header.
    roles : Roles
        Names the columns of rows that are sent as plain lists, and tells which cells of a
        CSV file are numbers.
    maximum_rows : int

    Raises
    ------
    RequestError
        415 for another content type, 413 for too many rows, 422 for what cannot be read.
    """
    kind = content_kind(content_type)
    if kind not in {"application/json", "text/csv"}:
        raise RequestError.of("the content type is application/json or text/csv", status=415)
    columns = _from_json(body, roles) if kind == "application/json" else _from_csv(body, roles)
    return _bounded(columns, maximum_rows)


def parse_records(
    body: bytes, content_type: str | None, roles: Roles, *, maximum_rows: int
) -> Cells:
    """Read the rows of ``{"records": [{column: value}]}``, each cell as it was sent.

    Unlike MLflow's forms, each record names each column: the schema of ``/v1/predict`` says so.

    Parameters
    ----------
    body : bytes
    content_type : str or None
        The header.
    roles : Roles
    maximum_rows : int

    Raises
    ------
    RequestError
        415 for another content type, 413 for too many rows, 422 for what cannot be read.
    """
    sent = read_json(body, content_type)
    if not isinstance(sent, dict) or sent.keys() != {"records"}:
        raise RequestError.of("the body is an object with records, alone")
    columns = _bounded(_from_records(sent["records"], "records", roles), maximum_rows)
    for name in roles.columns:
        for place, record in enumerate(sent["records"] if name in columns else ()):
            if name not in record:
                raise RequestError.of(
                    f"each record has {name}, or null for it; row {place} (from 0) has not",
                    column=name,
                )
    return columns


def read_json(body: bytes, content_type: str | None) -> Any:
    """Read a body of JSON, in which NaN may stand for a number, as MLflow's clients send it.

    Raises
    ------
    RequestError
        415 for another content type, 422 for what is no JSON.
    """
    if content_kind(content_type) != "application/json":
        raise RequestError.of("the content type is application/json", status=415)
    try:
        return orjson.loads(body)
    except ValueError:
        # NaN, and numbers beyond 64 bits, which the schema has a better word for.
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as err:
            raise RequestError.of("the body is JSON, in UTF-8") from err


@lru_cache(maxsize=64)
def content_kind(content_type: str | None) -> str:
    """Return the kind of content that a header names, in lower case; none is empty.

    Raises
    ------
    RequestError
        415 for an encoding other than UTF-8.
    """
    if not content_type:
        return ""
    header = Message()
    header["content-type"] = content_type
    if (header.get_content_charset() or "utf-8") not in {"utf-8", "utf8"}:
        raise RequestError.of("the body is in UTF-8", status=415)
    return header.get_content_type()


def _bounded(columns: Cells, maximum_rows: int) -> Cells:
    rows = len(next(iter(columns.values()), ()))
    if rows == 0:
        raise RequestError.of("a request holds at least one row")
    if rows > maximum_rows:
        raise RequestError.of(
            f"a request holds at most {maximum_rows} rows; score a file with `tidegate predict`",
            status=413,
        )
    return columns


def _from_json(body: bytes, roles: Roles) -> Cells:
    sent = read_json(body, "application/json")
    if not isinstance(sent, dict):
        sent = {}
    kinds = [kind for kind in _KINDS if kind in sent]
    # MLflow's clients may send their empty "params"; a model of a table has none.
    others = [key for key in sent if key not in _KINDS and not (key == "params" and not sent[key])]
    if len(kinds) != 1 or others:
        raise RequestError.of(f"the body is an object with one of {', '.join(_KINDS)}, alone")
    kind, rows = kinds[0], sent[kinds[0]]
    if kind == "dataframe_split":
        if not isinstance(rows, dict) or not isinstance(rows.get("columns"), list):
            raise RequestError.of("dataframe_split holds columns and data")
        return _from_rows(rows["columns"], rows.get("data"), kind)
    if kind != "dataframe_records":
        if isinstance(rows, dict):
            return _from_columns(rows, kind)
        if isinstance(rows, list) and rows and isinstance(rows[0], list):
            return _from_rows(roles.columns, rows, kind)
    return _from_records(rows, kind, roles)


def _from_rows(columns: Sequence[Any], rows: Any, kind: str) -> Cells:
    if not all(isinstance(name, str) for name in columns):
        raise RequestError.of(f"the columns of {kind} are named by text")
    if len(set(columns)) != len(columns):
        raise RequestError.of(f"each column of {kind} is named once")
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise RequestError.of(f"the rows of {kind} are lists")
    for place, row in enumerate(rows):
        if len(row) != len(columns):
            raise RequestError.of(
                f"each row of {kind} has a cell for each of {len(columns)} columns; "
                f"row {place} (from 0) has {len(row)}"
            )
    return {name: [row[place] for row in rows] for place, name in enumerate(columns)}


def _from_records(sent: Any, kind: str, roles: Roles) -> Cells:
    if not isinstance(sent, list) or not all(isinstance(row, dict) for row in sent):
        raise RequestError.of(f"{kind} is a list of objects, one for each row")
    # A record may leave out what it does not know, as long as another names the column.
    names = dict.fromkeys(name for row in sent for name in row)
    unknown = names.keys() - set(roles.columns)
    if len(unknown) > MAXIMUM_PROBLEMS:
        # A small body in which each row has a name of its own would be a large table.
        raise RequestError(422, [unknown_column(name) for name in names if name in unknown])
    return {name: [row.get(name) for row in sent] for name in names}


def _from_columns(sent: dict[str, Any], kind: str) -> Cells:
    columns = {name: cells if isinstance(cells, list) else [cells] for name, cells in sent.items()}
    if len({len(cells) for cells in columns.values()}) > 1:
        raise RequestError.of(f"the columns of {kind} have one length")
    return columns


def _from_csv(body: bytes, roles: Roles) -> Cells:
    try:
        text = body.decode("utf-8-sig")
        lines = [line for line in csv.reader(StringIO(text, newline=""), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as err:
        raise RequestError.of("the body is CSV with a header, in UTF-8") from err
    if lines and not set(lines[0]) & set(roles.columns):
        # A table without its header: to name its unknown columns would be to quote a row.
        raise RequestError.of("CSV begins with the names of columns that the model reads")
    columns = _from_rows(lines[0], lines[1:], "CSV") if lines else {}
    return {
        name: [_number(cell) if name in roles.numeric else _text(cell) for cell in cells]
        for name, cells in columns.items()
    }


def _text(cell: str) -> str | None:
    return None if cell in _MISSING else cell


def _number(cell: str) -> float | bool | str | None:
    """Read a number; what is none stays text, for the schema to refuse."""
    text = cell.strip()
    if text in _MISSING:
        return None
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    try:
        return float(text) if "_" not in text else cell
    except ValueError:
        return cell
