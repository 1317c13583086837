"""The service: one model behind MLflow's scoring protocol."""

import re
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

from pipelines.features import Roles
from pipelines.scoring import answer
from pipelines.serving.log import Answer, PredictionLog
from pipelines.serving.protocol import parse
from pipelines.serving.schema import RequestError, check_columns

if TYPE_CHECKING:
    from sklearn.model_selection import FixedThresholdClassifier
    from sklearn.pipeline import Pipeline

MAXIMUM_BYTES = 32 * 1024 * 1024
"""Largest body that is read; beyond it the connection would fill the memory."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_EXAMPLE_ROWS = 2


@dataclass(frozen=True)
class Served:
    """One version of a model, ready to answer.

    It is never changed: a request that holds it is answered by one version from end to end.
    """

    model: "Pipeline | FixedThresholdClassifier"
    roles: Roles
    name: str
    version: str
    alias: str

    def answer(
        self, rows: pd.DataFrame
    ) -> tuple[list[Any], "np.ndarray[Any, np.dtype[np.floating[Any]]]"]:
        """Return a class for each conformed row, and the probability of each class."""
        predictions, probabilities = answer(self.model, rows)
        return predictions.tolist(), probabilities


def create_app(
    model: "Pipeline | FixedThresholdClassifier",
    roles: Roles,
    *,
    name: str,
    version: str,
    alias: str,
    example: pd.DataFrame,
    log: PredictionLog | None,
    maximum_rows: int,
) -> FastAPI:
    """Make the service of one model.

    Parameters
    ----------
    model : Pipeline, or FixedThresholdClassifier around one
        A fitted classifier over conformed frames.
    roles : Roles
        The columns that it reads: what a request is checked against.
    name, version, alias : str
        What it is called in the registry.
    example : DataFrame
        Conformed rows that ``/docs`` shows, and that warm the model before the first request.
    log : PredictionLog or None
        Closed when the service ends.
    maximum_rows : int
        Most rows of one request.
    """
    served = Served(model, roles, name, version, alias)
    release = installed_version("tidegate")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        served.answer(example[list(roles.columns)])
        yield
        if log is not None:
            await run_in_threadpool(log.close)

    title = f"{name} version {version}"
    app = FastAPI(title=title, version=release, lifespan=lifespan, docs_url=None, redoc_url=None)
    # FastAPI's own page fetches its scripts from a network of other hosts; these are here, and
    # read OpenAPI up to 3.0.
    app.openapi_version = "3.0.3"
    app.mount("/docs/assets", StaticFiles(directory=swagger_ui_path))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=title,
            swagger_js_url="/docs/assets/swagger-ui-bundle.js",
            swagger_css_url="/docs/assets/swagger-ui.css",
            swagger_favicon_url="/docs/assets/favicon-32x32.png",
        )

    @app.exception_handler(RequestError)
    async def refuse(request: Request, error: RequestError) -> JSONResponse:
        return JSONResponse({"detail": error.problems}, status_code=error.status)

    @app.get("/ping", response_class=PlainTextResponse)
    async def ping() -> PlainTextResponse:
        """Say that the model is loaded and answers."""
        return PlainTextResponse("\n")

    @app.get("/version")
    async def show_version() -> dict[str, str]:
        """Say which model answers."""
        return {"model": name, "version": version, "alias": alias, "tidegate": release}

    @app.post(
        "/invocations",
        response_class=JSONResponse,
        openapi_extra={"requestBody": _body(roles, example)},
        responses={
            200: {"description": "A class for each row", "content": _answers(model)},
            413: {"description": "Too many rows, or bytes", "content": _PROBLEMS},
            415: {"description": "Neither JSON nor CSV", "content": _PROBLEMS},
            422: {"description": "Which column breaks which rule", "content": _PROBLEMS},
        },
    )
    async def invocations(request: Request) -> JSONResponse:
        """Score rows, sent in any form of MLflow's scoring protocol."""
        arrived, began = datetime.now(UTC), time.perf_counter()
        sent = request.headers.get("x-request-id", "")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        body = await _read(request)

        def respond() -> list[Any]:
            kind = request.headers.get("content-type")
            columns = parse(body, kind, served.roles, maximum_rows=maximum_rows)
            rows = check_columns(columns, served.roles)
            predictions, probabilities = served.answer(rows)
            if log is not None:
                log.add(
                    Answer(
                        request_id=request_id,
                        time=arrived,
                        name=served.name,
                        version=served.version,
                        inputs=rows,
                        predictions=predictions,
                        probabilities=probabilities,
                        classes=served.model.classes_.tolist(),
                        seconds=time.perf_counter() - began,
                    )
                )
            return predictions

        return JSONResponse(
            {"predictions": await run_in_threadpool(respond)},
            headers={"x-request-id": request_id, "x-model-version": served.version},
        )

    return app


async def _read(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAXIMUM_BYTES:
            raise RequestError.of(f"a body holds at most {MAXIMUM_BYTES} bytes", status=413)
        chunks.append(chunk)
    return b"".join(chunks)


_PROBLEMS: dict[str, Any] = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["detail"],
            "properties": {
                "detail": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "column": {"type": ["string", "null"]},
                            "rule": {"type": "string"},
                        },
                    },
                }
            },
        }
    }
}


def _answers(model: "Pipeline | FixedThresholdClassifier") -> dict[str, Any]:
    return {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["predictions"],
                "properties": {
                    "predictions": {
                        "type": "array",
                        "items": {"enum": model.classes_.tolist()},
                    }
                },
            }
        }
    }


def _body(roles: Roles, example: pd.DataFrame) -> dict[str, Any]:
    rows = example[list(roles.columns)].head(_EXAMPLE_ROWS)
    cells = rows.astype(object).where(rows.notna(), None)
    kinds = dict.fromkeys(roles.numeric, "number") | dict.fromkeys(roles.categorical, "string")
    record = {
        "type": "object",
        "required": list(kinds),
        "additionalProperties": False,
        "properties": {name: {"type": [kind, "null"]} for name, kind in kinds.items()},
    }
    records = {
        "type": "object",
        "required": ["dataframe_records"],
        "properties": {"dataframe_records": {"type": "array", "minItems": 1, "items": record}},
    }
    others = {"type": "object", "minProperties": 1, "maxProperties": 1}
    split = {"columns": list(cells.columns), "data": cells.to_numpy().tolist()}
    forms = {
        "records": {"dataframe_records": cells.to_dict("records")},
        "split": {"dataframe_split": split},
        "inputs": {"inputs": cells.to_dict("list")},
    }
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"anyOf": [records, others]},
                "examples": {form: {"value": value} for form, value in forms.items()},
            },
            "text/csv": {"schema": {"type": "string"}, "example": rows.to_csv(index=False)},
        },
    }
