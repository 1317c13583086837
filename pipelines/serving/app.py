"""The service: the versions in memory behind MLflow's scoring protocol and a typed one.

What is asked often, ``/invocations`` and ``/v1/predict``, is read and answered without
FastAPI's machinery, and a request of a few rows without leaving the event loop: what the loop
hands to a thread costs more than the answer.
"""

import hmac
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send
from swagger_ui_bundle import swagger_ui_path

from pipelines.errors import ServiceError
from pipelines.serving.labels import read_labels
from pipelines.serving.log import Answer, PredictionLog
from pipelines.serving.metrics import CONTENT_TYPE, Metrics
from pipelines.serving.models import Models, NotReadyError
from pipelines.serving.openapi import document
from pipelines.serving.pressure import RETRY_SECONDS, ClientGoneError, OverloadError, Pressure
from pipelines.serving.protocol import parse, parse_records
from pipelines.serving.schema import Columns, RequestError, check_columns
from pipelines.serving.served import Served
from pipelines.serving.settings import ServeSettings
from pipelines.serving.shadow import Shadow

LIGHT_ROWS = 8
"""Most rows that are answered in the event loop, where the model is compiled."""

LIGHT_BYTES = 16 * 1024
"""Largest body that is read there."""

THREADS = 4
"""Threads for what is heavy: numpy's and scikit-learn's own work lets the others run."""

OPEN = ("/livez", "/readyz", "/ping")
"""What needs no key: whoever starts and stops the service asks these."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_MEGABYTE = 1_000_000

_logger = logging.getLogger(__name__)

Reader = Callable[..., dict[str, list[Any]]]
Writer = Callable[[Served, str, list[Any], Any], bytes]


class JSON(Response):
    """A document that orjson writes."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the bytes; what is bytes already stays as it is."""
        if isinstance(content, bytes):
            return content
        return orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS)


class Key:
    """Lets in whoever has the key: as ``Authorization: Bearer``, or as ``X-API-Key``.

    Parameters
    ----------
    app : ASGI application
    key : str
    """

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it with 401."""
        if scope["type"] == "http" and scope["path"] not in OPEN:
            headers = dict(scope["headers"])
            given = headers.get(b"x-api-key", b"")
            bearer: bytes = headers.get(b"authorization", b"")
            if bearer[:7].lower() == b"bearer ":
                given = bearer[7:]
            # In constant time: the time of an answer tells nothing of the key.
            if not hmac.compare_digest(given, self._key):
                refused = _problem(401, "the key is given as Authorization: Bearer or X-API-Key")
                refused.headers["www-authenticate"] = "Bearer"
                await refused(scope, receive, send)
                return
        await self._app(scope, receive, send)


class Service:
    """What the endpoints share.

    Parameters
    ----------
    models : Models
    settings : ServeSettings
    log : PredictionLog or None
    shadow : Shadow or None
    """

    def __init__(
        self,
        models: Models,
        settings: ServeSettings,
        log: PredictionLog | None,
        shadow: Shadow | None,
    ) -> None:
        self.models = models
        self.settings = settings
        self.log = log
        self.shadow = shadow
        self.metrics = Metrics()
        self.draining = False
        body = round(settings.maximum_mb * _MEGABYTE)
        longest = settings.deadline_seconds
        self.pressure = Pressure(settings.queue, body=body, threads=THREADS, seconds=longest)
        # Labels wait for the database: while it is away the model still answers.
        self.label_pressure = Pressure(settings.queue, body=body, threads=1, seconds=longest)

    def close(self) -> None:
        """Finish what was begun, and write down what was said."""
        self.pressure.close()
        self.label_pressure.close()
        if self.shadow is not None:
            self.shadow.close()
        self.models.close()
        if self.log is not None:
            self.log.close()

    async def score(self, request: Request, read: Reader, write: Writer) -> Response:
        """Answer rows: read by one protocol, written by the same."""
        arrived, began = datetime.now(UTC), time.perf_counter()
        sent = request.headers.get("x-request-id", "")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        # One version from end to end, whatever happens to the alias meanwhile.
        served = self.models.current
        kind = request.headers.get("content-type")
        admission = self.pressure.enter()
        try:
            body = await admission.read(request.receive)
            await admission.queue()

            def prepare() -> Columns:
                found = read(body, kind, served.roles, maximum_rows=self.settings.maximum_rows)
                return check_columns(found, served.roles)

            def respond(columns: Columns) -> bytes:
                predictions, probabilities = served.answer(columns)
                flags = served.flags(columns)
                self.metrics.count_predictions(served.version, predictions)
                self.metrics.count_unknown(flags)
                if self.log is not None:
                    self.log.add(
                        Answer(
                            request_id=request_id,
                            time=arrived,
                            name=served.name,
                            version=served.version,
                            inputs=columns,
                            predictions=predictions,
                            probabilities=probabilities,
                            classes=served.classes,
                            seconds=time.perf_counter() - began,
                            flags=flags,
                        )
                    )
                if self.shadow is not None:
                    self.shadow.offer(request_id, columns, predictions)
                return write(served, request_id, predictions, probabilities)

            if served.rows is not None and len(body) <= LIGHT_BYTES:
                columns = prepare()
                if len(next(iter(columns.values()))) <= LIGHT_ROWS:
                    said = respond(columns)
                else:
                    said = await admission.run(lambda: respond(columns))
            else:
                said = await admission.run(lambda: respond(prepare()))
        finally:
            admission.leave()
        headers = {"x-request-id": request_id, "x-model-version": served.version}
        return JSON(said, headers=headers)

    async def label(self, request: Request) -> Response:
        """Keep the truth of rows, and answer when it is kept."""
        log, served = self.log, self.models.current
        if log is None:
            return _problem(409, "this service keeps no prediction log, so it keeps no labels")
        admission = self.label_pressure.enter()
        try:
            body = await admission.read(request.receive)
            await admission.queue()
            labels = read_labels(
                body,
                request.headers.get("content-type"),
                classes=served.classes,
                maximum=self.settings.maximum_rows,
            )
            receipt = await admission.run(lambda: log.record_labels(served.name, labels))
        finally:
            admission.leave()
        self.metrics.count_labels(vars(receipt))
        return JSON(vars(receipt))


def create_app(
    models: Models,
    *,
    settings: ServeSettings,
    log: PredictionLog | None,
    api_key: str | None = None,
    shadow: Shadow | None = None,
    gauges: Callable[[], str] | None = None,
) -> FastAPI:
    """Make the service of a model.

    Parameters
    ----------
    models : Models
        Started when the service starts, and closed with it, as are the next two.
    settings : ServeSettings
    log : PredictionLog or None
    api_key : str or None
        Asked of every request but `OPEN`; None for none.
    shadow : Shadow or None
    gauges : callable, optional
        Gives more numbers for ``/metrics``, in Prometheus' text format.
    """
    release = installed_version("tidegate")
    service = Service(models, settings, log, shadow)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        models.start()
        yield
        service.draining = True
        service.close()

    app = FastAPI(
        title="tidegate", version=release, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.service = service

    def openapi() -> dict[str, Any]:
        return document(models.current, release, keyed=api_key is not None, settings=settings)

    app.openapi = openapi  # type: ignore[method-assign]
    # FastAPI's own page fetches its scripts from a network of other hosts; these are here.
    app.mount("/docs/assets", StaticFiles(directory=swagger_ui_path))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=f"{models.current.name} version {models.current.version}",
            swagger_js_url="/docs/assets/swagger-ui-bundle.js",
            swagger_css_url="/docs/assets/swagger-ui.css",
            swagger_favicon_url="/docs/assets/favicon-32x32.png",
        )

    async def invocations(request: Request) -> Response:
        return await service.score(request, parse, _for_mlflow)

    async def predict(request: Request) -> Response:
        return await service.score(request, parse_records, _typed)

    async def livez(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        if service.draining or not models.ready:
            why = "it ends" if service.draining else models.last_failure or "it warms up"
            return _problem(503, f"not ready: {why}")
        return PlainTextResponse("ok\n")

    async def ping(request: Request) -> Response:
        return PlainTextResponse("\n") if models.ready else _problem(503, "not ready")

    async def show_version(request: Request) -> Response:
        served = models.current
        return JSON(
            {
                "model": served.name,
                "version": served.version,
                "alias": served.alias,
                "tidegate": release,
                "git": served.git,
                "previous": None if models.previous is None else models.previous.version,
                "challenger": None if models.challenger is None else models.challenger.version,
                "fast_path": served.path,
                "reloads": models.reloads,
                "failures": models.failures,
                "last_failure": models.last_failure,
            }
        )

    async def show_metrics(request: Request) -> Response:
        service.metrics.observe(models, log, shadow)
        more = b"" if gauges is None else gauges().encode()
        return Response(service.metrics.render() + more, media_type=CONTENT_TYPE)

    for path, method, endpoint in (
        ("/invocations", "POST", invocations),
        ("/v1/predict", "POST", predict),
        ("/v1/labels", "POST", service.label),
        ("/livez", "GET", livez),
        ("/readyz", "GET", readyz),
        ("/ping", "GET", ping),
        ("/version", "GET", show_version),
        ("/metrics", "GET", show_metrics),
    ):
        app.router.add_route(path, _counted(service, path, endpoint), methods=[method])
    if api_key:
        app.add_middleware(Key, key=api_key)
    return app


def _counted(
    service: Service, path: str, endpoint: Callable[[Request], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    """Turn what an endpoint raises into an answer, and count it."""

    async def answer(request: Request) -> Response:
        began = time.perf_counter()
        try:
            response = await endpoint(request)
        except RequestError as err:
            response = JSON({"detail": err.problems}, status_code=err.status)
        except OverloadError as err:
            service.metrics.count_refusal(err.reason)
            response = _busy(f"too much to do ({err.reason}); try again")
        except NotReadyError:
            response = _busy("no version is in memory yet")
        except ServiceError as err:
            response = _busy(f"{err.rule} It cannot now.")
        except ClientGoneError:
            return Response(status_code=499)
        except Exception as err:
            # Neither the log nor the client is told the message: it may quote the row.
            _logger.exception("%s failed: %s", path, type(err).__name__, exc_info=_silent(err))
            response = _problem(500, "the service failed at this request")
        service.metrics.count_request(path, response.status_code, time.perf_counter() - began)
        return response

    return answer


def _silent(err: Exception) -> tuple[Any, Any, Any]:
    return type(err), type(err)(), err.__traceback__


def _problem(status: int, rule: str) -> JSON:
    return JSON({"detail": [{"column": None, "rule": rule}]}, status_code=status)


def _busy(rule: str) -> JSON:
    response = _problem(503, rule)
    response.headers["retry-after"] = str(RETRY_SECONDS)
    return response


def _for_mlflow(
    served: Served, request_id: str, predictions: list[Any], probabilities: Any
) -> bytes:
    return orjson.dumps({"predictions": predictions})


def _typed(served: Served, request_id: str, predictions: list[Any], probabilities: Any) -> bytes:
    names = [str(label) for label in served.classes]
    rows = [
        {"row": row, "class": label, "probabilities": dict(zip(names, shares, strict=True))}
        for row, (label, shares) in enumerate(zip(predictions, probabilities.tolist(), strict=True))
    ]
    return orjson.dumps(
        {
            "request_id": request_id,
            "model": served.name,
            "version": served.version,
            "predictions": rows,
        }
    )
