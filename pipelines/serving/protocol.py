"""MLflow's scoring protocol: what may be sent to ``/invocations``.

``dataframe_split``, ``dataframe_records``, ``inputs`` and ``instances`` as JSON, or CSV
(https://mlflow.org/docs/latest/genai/serving/, "Input formats").
"""

import json
from io import StringIO
from typing import Any

import pandas as pd

from pipelines.features import Roles
from pipelines.serving.schema import RequestError

_JSON_KINDS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def parse(
    body: bytes, content_type: str | None, roles: Roles, *, maximum_rows: int
) -> pd.DataFrame:
    """Read a request's rows, each cell as it was sent.

    Parameters
    ----------
    body : bytes
    content_type : str or None
        ``application/json`` where there is none.
    roles : Roles
        Names the columns of rows that are sent as plain lists.
    maximum_rows : int

    Raises
    ------
    RequestError
        415 for another content type, 413 for too many rows, 422 for what cannot be read.
    """
    kind = (content_type or "application/json").partition(";")[0].strip().lower()
    if kind == "application/json":
        frame = _from_json(body, roles)
    elif kind in {"text/csv", "application/csv"}:
        frame = _from_csv(body, roles)
    else:
        raise RequestError.of("send application/json or text/csv", status=415)
    if frame.empty:
        raise RequestError.of("a request holds at least one row")
    if len(frame) > maximum_rows:
        raise RequestError.of(
            f"a request holds at most {maximum_rows} rows; score a file with `tidegate predict`",
            status=413,
        )
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise RequestError.of("each column is named once", column=str(repeated[0]))
    return frame


def _from_json(body: bytes, roles: Roles) -> pd.DataFrame:
    try:
        sent = json.loads(body)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as err:
        raise RequestError.of("the body is JSON, in UTF-8") from err
    kinds = [kind for kind in _JSON_KINDS if isinstance(sent, dict) and kind in sent]
    if len(kinds) != 1:
        raise RequestError.of(f"the body is an object with one of {', '.join(_JSON_KINDS)}")
    rows = sent[kinds[0]]
    if kinds[0] == "dataframe_split":
        return _from_split(rows)
    if kinds[0] == "dataframe_records":
        return _from_records(rows, kinds[0])
    if isinstance(rows, dict):
        return _from_columns(rows, kinds[0])
    if isinstance(rows, list) and rows and all(isinstance(row, list) for row in rows):
        return _table(list(roles.columns), rows, kinds[0])
    return _from_records(rows, kinds[0])


def _from_split(sent: Any) -> pd.DataFrame:
    if not isinstance(sent, dict) or not isinstance(sent.get("columns"), list):
        raise RequestError.of("dataframe_split holds columns and data")
    return _table(sent["columns"], sent.get("data"), "dataframe_split")


def _table(columns: list[Any], rows: Any, kind: str) -> pd.DataFrame:
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise RequestError.of(f"the rows of {kind} are lists")
    if any(len(row) != len(columns) for row in rows):
        raise RequestError.of(f"each row of {kind} has a cell for each of {len(columns)} columns")
    return pd.DataFrame(rows, columns=[str(name) for name in columns], dtype=object)


def _from_records(sent: Any, kind: str) -> pd.DataFrame:
    if not isinstance(sent, list) or not all(isinstance(row, dict) for row in sent):
        raise RequestError.of(f"{kind} is a list of objects, one a row")
    columns = list(dict.fromkeys(name for row in sent for name in row))
    cells = [[row.get(name) for name in columns] for row in sent]
    return pd.DataFrame(cells, columns=columns, dtype=object)


def _from_columns(sent: dict[str, Any], kind: str) -> pd.DataFrame:
    columns = {name: cells if isinstance(cells, list) else [cells] for name, cells in sent.items()}
    if len({len(cells) for cells in columns.values()}) > 1:
        raise RequestError.of(f"the columns of {kind} have one length")
    return pd.DataFrame(columns, dtype=object)


def _from_csv(body: bytes, roles: Roles) -> pd.DataFrame:
    try:
        frame = pd.read_csv(
            StringIO(body.decode("utf-8-sig")), dtype=dict.fromkeys(roles.categorical, "str")
        )
    except (UnicodeDecodeError, ValueError) as err:
        raise RequestError.of("the body is CSV with a header, in UTF-8") from err
    return frame.astype(object).where(frame.notna(), None)
