"""The service: one model behind MLflow's scoring protocol."""

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any

import pandas as pd
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, PlainTextResponse

from pipelines.features import Roles
from pipelines.scoring import PREDICTION, PROBABILITY, score
from pipelines.serving.log import LoggedRow, PredictionLog
from pipelines.serving.protocol import parse
from pipelines.serving.schema import RequestError, check_columns

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def create_app(
    model: "Pipeline",
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
    model : Pipeline
        A fitted classifier.
    roles : Roles
        The columns that it reads: what a request is checked against.
    name, version, alias : str
        What it is called in the registry.
    example : DataFrame
        Rows that ``/docs`` shows, and that warm the model before the first request.
    log : PredictionLog or None
    maximum_rows : int
        Most rows of one request.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        score(model, example, roles)
        yield
        if log is not None:
            log.close()

    app = FastAPI(
        title=f"{name} version {version}",
        version=installed_version("tidegate"),
        lifespan=lifespan,
    )

    @app.exception_handler(RequestError)
    async def refuse(request: Request, error: RequestError) -> JSONResponse:
        return JSONResponse({"detail": error.problems}, status_code=error.status)

    @app.get("/ping")
    async def ping() -> PlainTextResponse:
        """Say that the model is loaded and answers."""
        return PlainTextResponse("\n")

    @app.get("/version")
    async def show_version() -> dict[str, str]:
        """Say which model answers."""
        return {
            "model": name,
            "version": version,
            "alias": alias,
            "tidegate": installed_version("tidegate"),
        }

    @app.post(
        "/invocations",
        openapi_extra={"requestBody": _body(example)},
        responses={
            413: {"description": "too many rows"},
            415: {"description": "neither JSON nor CSV"},
            422: {"description": "which column breaks which rule"},
        },
    )
    async def invocations(request: Request) -> JSONResponse:
        """Score rows, sent in any form of MLflow's scoring protocol."""
        body = await request.body()
        kind = request.headers.get("content-type")
        request_id = request.headers.get("x-request-id") or uuid.uuid4().hex
        answers = await run_in_threadpool(answer, body, kind, request_id[:64])
        return JSONResponse(
            {"predictions": answers},
            headers={"x-request-id": request_id[:64], "x-model-version": version},
        )

    def answer(body: bytes, kind: str | None, request_id: str) -> list[Any]:
        began = time.perf_counter()
        rows = check_columns(parse(body, kind, roles, maximum_rows=maximum_rows), roles)
        scored = score(model, rows, roles)
        if log is not None:
            spent = (time.perf_counter() - began) * 1000
            log.put(_rows(scored, roles, request_id, name, version, spent))
        return scored[PREDICTION].tolist()

    return app


def _rows(
    scored: pd.DataFrame,
    roles: Roles,
    request_id: str,
    name: str,
    version: str,
    latency_ms: float,
) -> list[LoggedRow]:
    now = datetime.now(UTC)
    records = scored.astype(object).where(scored.notna(), None).to_dict("records")
    return [
        LoggedRow(
            request_id=request_id,
            time=now,
            model_name=name,
            model_version=version,
            inputs={column: record[column] for column in roles.columns},
            prediction=record[PREDICTION],
            probabilities={
                str(key).removeprefix(PROBABILITY): value
                for key, value in record.items()
                if str(key).startswith(PROBABILITY) and key not in roles.columns
            },
            latency_ms=latency_ms,
        )
        for record in records
    ]


def _body(example: pd.DataFrame) -> dict[str, Any]:
    rows = example.head(2)
    records = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "example": {"dataframe_records": records},
            },
            "text/csv": {"schema": {"type": "string"}, "example": rows.to_csv(index=False)},
        },
    }
