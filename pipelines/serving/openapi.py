"""The service's own description, OpenAPI 3.0.3, typed by the columns of the model that answers.

3.0 is what the page of ``/docs`` reads.
"""

from typing import Any

from pipelines.serving.schema import LARGEST
from pipelines.serving.served import Served
from pipelines.serving.settings import ServeSettings

_EXAMPLE_ROWS = 2

_PROBLEMS = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["detail"],
            "properties": {
                "detail": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["column", "rule"],
                        "properties": {
                            "column": {"type": "string", "nullable": True},
                            "rule": {"type": "string"},
                        },
                    },
                }
            },
        }
    }
}


def document(
    served: Served, release: str, *, keyed: bool, settings: ServeSettings
) -> dict[str, Any]:
    """Return the document.

    Parameters
    ----------
    served : Served
        The version that answers now.
    release : str
        Of tidegate.
    keyed : bool
        Whether a key is asked for.
    settings : ServeSettings
    """
    record, records = _record(served), _examples(served)
    headers = {
        "x-request-id": {"schema": {"type": "string"}},
        "x-model-version": {"schema": {"type": "string"}},
    }
    many = {"minItems": 1, "maxItems": settings.maximum_rows}
    paths: dict[str, Any] = {
        "/invocations": {
            "post": {
                "summary": "Score rows, sent in any form of MLflow's scoring protocol",
                "operationId": "invocations",
                "requestBody": _invocations(served, record, records, many),
                "responses": _responses(
                    {"predictions": {"type": "array", "items": {"enum": served.classes}}}, headers
                ),
            }
        },
        "/v1/predict": {
            "post": {
                "summary": "Score records: class, probabilities, request id and version",
                "operationId": "predict",
                "requestBody": _json_body(
                    {
                        "type": "object",
                        "required": ["records"],
                        "additionalProperties": False,
                        "properties": {"records": {"type": "array", "items": record, **many}},
                    },
                    {"records": records},
                ),
                "responses": _responses(_predictions(served), headers),
            }
        },
        "/v1/labels": {
            "post": {
                "summary": "Tell the truth of rows, late and in any order",
                "operationId": "labels",
                "requestBody": _json_body(_labels(served, many), None),
                "responses": {
                    **_responses(
                        {
                            name: {"type": "integer"}
                            for name in ("accepted", "repeated", "changed", "unknown")
                        },
                        {},
                    ),
                    "409": {"description": "No prediction log is kept", "content": _PROBLEMS},
                },
            }
        },
        **{
            path: {"get": {"summary": said, "operationId": path.strip("/"), "responses": found}}
            for path, said, found in (
                ("/livez", "Whether the process lives", _text()),
                (
                    "/readyz",
                    "Whether it answers: not before it is warm",
                    _text(_503),
                ),
                ("/ping", "Whether it answers, as MLflow's server says it", _text(_503)),
                ("/version", "Which version answers", _responses({}, {}, plain=True)),
                ("/metrics", "Numbers, in Prometheus' text format", _text()),
            )
        },
    }
    found: dict[str, Any] = {
        "openapi": "3.0.3",
        "info": {
            "title": f"{served.name} version {served.version}",
            "version": release,
            "description": f"Answered by {served.name} version {served.version}, alias "
            f"{served.alias}. The document follows the version that answers.",
        },
        "paths": paths,
    }
    if keyed:
        found["components"] = {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}}
        found["security"] = [{"key": []}]
        for path in ("/livez", "/readyz", "/ping"):
            paths[path]["get"]["security"] = []
        for operations in paths.values():
            for operation in operations.values():
                refused = {"description": "No key, or another", "content": _PROBLEMS}
                operation["responses"].setdefault("401", refused)
    return found


_503 = {"503": {"description": "Not ready, or too much to do", "content": _PROBLEMS}}


def _record(served: Served) -> dict[str, Any]:
    bounded = {"type": "number", "nullable": True, "minimum": -LARGEST, "maximum": LARGEST}
    # True and false are numbers to a model, and a table of them is sent as it is.
    number = {"anyOf": [bounded, {"type": "boolean"}]}
    text = {"type": "string", "nullable": True}
    kinds: dict[str, Any] = dict.fromkeys(served.roles.numeric, number)
    kinds |= dict.fromkeys(served.roles.categorical, text)
    return {
        "type": "object",
        "required": list(kinds),
        "additionalProperties": False,
        "properties": kinds,
    }


def _examples(served: Served) -> list[dict[str, Any]]:
    rows = served.example[list(served.roles.columns)].head(_EXAMPLE_ROWS)
    cells = rows.astype(object).where(rows.notna(), None)
    return [{str(name): cell for name, cell in row.items()} for row in cells.to_dict("records")]


def _invocations(
    served: Served, record: dict[str, Any], records: list[dict[str, Any]], many: dict[str, int]
) -> dict[str, Any]:
    # Here a record may leave out what it does not know, as long as another names the column.
    record = {key: said for key, said in record.items() if key != "required"}
    names = list(served.roles.columns)
    data = [[row[name] for name in names] for row in records]
    split = {"columns": names, "data": data}
    inputs = {name: [row[name] for row in records] for name in names}
    csv = "\n".join(
        ",".join("" if cell is None else str(cell) for cell in row) for row in (names, *data)
    )
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["dataframe_records"],
                    "properties": {"dataframe_records": {"type": "array", "items": record, **many}},
                    "description": "Or dataframe_split, inputs or instances, alone.",
                },
                "examples": {
                    "records": {"value": {"dataframe_records": records}},
                    "split": {"value": {"dataframe_split": split}},
                    "inputs": {"value": {"inputs": inputs}},
                },
            },
            "text/csv": {"schema": {"type": "string"}, "example": csv},
        },
    }


def _json_body(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": schema}
    if example is not None:
        content["example"] = example
    return {"required": True, "content": {"application/json": content}}


def _predictions(served: Served) -> dict[str, Any]:
    names = [str(label) for label in served.classes]
    share = {"type": "number", "minimum": 0, "maximum": 1}
    return {
        "request_id": {"type": "string"},
        "model": {"type": "string"},
        "version": {"type": "string"},
        "predictions": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["row", "class", "probabilities"],
                "properties": {
                    "row": {"type": "integer"},
                    "class": {"enum": served.classes},
                    "probabilities": {
                        "type": "object",
                        "required": names,
                        "properties": dict.fromkeys(names, share),
                    },
                },
            },
        },
    }


def _labels(served: Served, many: dict[str, int]) -> dict[str, Any]:
    label = {
        "type": "object",
        "required": ["request_id", "label"],
        "additionalProperties": False,
        "properties": {
            "request_id": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"},
            "row": {"type": "integer", "minimum": 0, "maximum": 2147483647, "default": 0},
            "label": {"enum": served.classes},
            "time": {"type": "string", "format": "date-time", "nullable": True},
        },
    }
    return {
        "type": "object",
        "required": ["labels"],
        "additionalProperties": False,
        "properties": {"labels": {"type": "array", "items": label, **many}},
    }


def _responses(
    properties: dict[str, Any], headers: dict[str, Any], *, plain: bool = False
) -> dict[str, Any]:
    schema = {"type": "object", "required": list(properties), "properties": properties}
    ok = {"description": "The answer", "content": {"application/json": {"schema": schema}}}
    if headers:
        ok["headers"] = headers
    if plain:
        return {"200": ok, **_503}
    return {
        "200": ok,
        "413": {"description": "Too many rows, or bytes", "content": _PROBLEMS},
        "415": {"description": "A content type that is not spoken", "content": _PROBLEMS},
        "422": {"description": "Which field breaks which rule", "content": _PROBLEMS},
        **_503,
    }


def _text(more: dict[str, Any] | None = None) -> dict[str, Any]:
    ok = {"description": "Text", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {"200": ok, **(more or {})}
