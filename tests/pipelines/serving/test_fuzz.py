"""The service under whatever can be sent: it answers or refuses, never fails, never echoes."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import orjson
import pandas as pd
import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from schemathesis import Config, GenerationMode, checks
from schemathesis.python.asgi import shutdown_lifespans
from sklearn.pipeline import Pipeline

from pipelines.features import Roles
from pipelines.serving.app import create_app
from pipelines.serving.log import PredictionLog
from pipelines.serving.models import Models
from pipelines.serving.rowmodel import compile_model, known_levels
from pipelines.serving.served import Served
from pipelines.serving.settings import ServeSettings

SECRET = "kept-to-yourself"

BOUNDED = settings(
    max_examples=200,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def served(model: Pipeline, roles: Roles, table: pd.DataFrame) -> Served:
    """Make a version that answers by its compiled form."""
    names = {"name": "flights", "version": "3", "alias": "champion"}
    known = known_levels(model, roles)
    compiled = compile_model(model, roles)
    return Served(model, roles, **names, example=table.head(5), rows=compiled, levels=known)


@pytest.fixture(scope="module")
def start(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], FastAPI]:
    """Make a whole service, with a log of its own."""

    def make() -> FastAPI:
        log = PredictionLog.open(f"sqlite:///{tmp_path_factory.mktemp('log') / 'predictions.db'}")
        return create_app(Models.fixed(served), settings=ServeSettings(maximum_rows=20), log=log)

    return make


@pytest.fixture(scope="module")
def client(start: Callable[[], FastAPI]) -> Iterator[TestClient]:
    """Give a client that is told of a failure, and does not fail with it."""
    with TestClient(start(), raise_server_exceptions=False) as started:
        yield started


@pytest.fixture(scope="module")
def plain(served: Served) -> Iterator[TestClient]:
    """Give a client of a service whose model is not compiled."""
    models = Models.fixed(replace(served, rows=None))
    app = create_app(models, settings=ServeSettings(), log=None)
    with TestClient(app, raise_server_exceptions=False) as started:
        yield started


@pytest.fixture(scope="module")
def operations(start: Callable[[], FastAPI]) -> Iterator[list[Any]]:
    """Read what the service says that it can do, as its clients do."""
    refused = {"expected-statuses": ["413", "415", "422"]}
    told = Config.from_dict({"checks": {"negative_data_rejection": refused}})
    described = schemathesis.openapi.from_asgi("/openapi.json", start(), config=told)
    yield [found.ok() for found in described.get_all_operations()]
    shutdown_lifespans()


checks.load_all_checks()
KEPT = checks.CHECKS.get_by_names(
    [
        *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
        *("response_headers_conformance", "response_schema_conformance"),
        "negative_data_rejection",
    ]
)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_each_endpoint_keeps_its_word(operations: list[Any], mode: GenerationMode) -> None:
    """What is drawn from the description, or breaks it, is answered as the description says."""
    assert len(operations) == 8

    @given(drawn=st.data())
    @settings(BOUNDED, max_examples=40)
    def ask(drawn: st.DataObject) -> None:
        case = drawn.draw(strategy)
        case.validate_response(case.call(), checks=KEPT)

    for operation in operations:
        if mode is GenerationMode.NEGATIVE and operation.method == "get":
            continue
        strategy = operation.as_strategy(generation_mode=mode)
        ask()


texts = st.text(max_size=12)
numbers = st.one_of(
    st.floats(), st.integers(), st.integers(min_value=2**64), st.sampled_from([-0.0, 1e308, 5e-324])
)
cells = st.one_of(st.none(), st.booleans(), numbers, texts, st.just(SECRET))
columns = st.one_of(st.sampled_from(["delay", "seats", "carrier", "DELAY", "row", ""]), texts)
good = st.fixed_dictionaries(
    {
        "delay": st.none() | st.floats(-1e30, 1e30),
        "seats": st.none() | st.integers(-(10**30), 10**30),
        "carrier": st.none() | texts,
    }
)
records = st.one_of(good, st.dictionaries(columns, cells, max_size=4))
anything = st.recursive(
    cells,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(columns, inner, max_size=4),
    max_leaves=12,
)
tables = st.lists(st.lists(cells, max_size=4), max_size=4)
payloads = st.one_of(
    st.fixed_dictionaries({"dataframe_records": st.lists(records, max_size=25)}),
    st.fixed_dictionaries(
        {
            "dataframe_split": st.fixed_dictionaries(
                {"columns": st.lists(columns, max_size=4), "data": tables},
                optional={"index": anything},
            )
        }
    ),
    st.fixed_dictionaries({"instances": st.lists(records, max_size=4) | tables}),
    st.fixed_dictionaries(
        {"inputs": st.dictionaries(columns, st.lists(cells, max_size=4) | cells, max_size=4)}
    ),
    st.fixed_dictionaries({"records": st.lists(records, max_size=25)}),
    st.dictionaries(
        st.sampled_from(["inputs", "instances", "records", "params", "dataframe_split", "labels"]),
        anything,
        max_size=3,
    ),
    anything,
)


def as_json(payload: Any) -> bytes:
    """Write what may hold NaN and lone halves of characters, as Python's own clients do."""
    return json.dumps(payload).encode()


def holds(client: TestClient, path: str, body: bytes, kind: str) -> int:
    """Send a body, and see that it is answered or refused by a rule, without an echo."""
    reply = client.post(path, content=body, headers={"content-type": kind})
    assert reply.status_code in (200, 413, 415, 422), reply.text
    assert SECRET not in reply.text or reply.status_code == 200
    if reply.status_code != 200:
        for problem in orjson.loads(reply.content)["detail"]:
            assert problem.keys() == {"column", "rule"}
    return reply.status_code


@given(path=st.sampled_from(["/invocations", "/v1/predict", "/v1/labels"]), payload=payloads)
@example("/invocations", {"dataframe_split": {"columns": [], "data": [[]]}})
@example("/invocations", {"inputs": {}})
@example("/v1/predict", {"records": [{}]})
@example("/v1/predict", {"records": [{"delay": 10**400, "seats": 1, "carrier": "\ud800"}]})
@settings(BOUNDED, max_examples=600)
def test_any_json_is_answered_or_refused(client: TestClient, path: str, payload: Any) -> None:
    """JSON of every protocol, half right or all wrong, gets 200 or a rule, and never an echo."""
    holds(client, path, as_json(payload), "application/json")


@given(
    header=st.lists(columns, max_size=4) | st.just(["delay", "seats", "carrier"]) | st.none(),
    rows=st.lists(st.lists(cells, max_size=4), max_size=6),
)
@example(header=None, rows=[[1.5, 120, SECRET], [1.5, 120, "AA"]])
@BOUNDED
def test_any_csv_is_answered_or_refused(
    client: TestClient, header: list[str] | None, rows: list[list[Any]]
) -> None:
    """CSV with its header, another or none gets 200 or a rule, and never an echo."""
    text = io.StringIO()
    csv.writer(text).writerows(rows if header is None else [header, *rows])
    body = text.getvalue().encode("utf-8", errors="surrogatepass")
    holds(client, "/invocations", body, "text/csv")


@given(
    path=st.sampled_from(["/invocations", "/v1/predict", "/v1/labels"]),
    body=st.binary(max_size=200),
    kind=st.one_of(
        st.sampled_from(
            [
                *("application/json", "text/csv", "text/csv; charset=latin-1", "", "; ; ="),
                *('application/json; charset="', "APPLICATION/JSON;CHARSET=UTF8", "a/b/c"),
            ]
        ),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
    ),
)
@example("/invocations", b"[" * 100_000, "application/json")
@example("/v1/labels", b'{"a":' * 50_000, "application/json")
@example("/invocations", b'"' * 101, "text/csv")
@example("/invocations", b"delay\n" + b"\x00", "text/csv")
@example("/invocations", b"1" * 5_000, "application/json")
@example("/invocations", b"application/json; charset*=utf-9''x", "application/json")
@settings(BOUNDED, max_examples=400)
def test_any_bytes_are_answered_or_refused(
    client: TestClient, path: str, body: bytes, kind: str
) -> None:
    """Random bytes under any content type get a rule."""
    assume(kind == kind.strip())
    holds(client, path, body, kind)


@given(row=good, name=st.binary(max_size=80))
@example({"delay": 1e30, "seats": -(10**30), "carrier": ""}, b"a b")
@BOUNDED
def test_a_right_row_is_always_scored(
    client: TestClient, plain: TestClient, row: dict[str, Any], name: bytes
) -> None:
    """A row by the rules is scored, compiled or not, whatever it is said to be called."""
    try:
        (row["carrier"] or "").encode()
    except UnicodeEncodeError:
        assume(False)
    headers = {"content-type": "application/json", "x-request-id": name.hex()}
    for asked in (client, plain):
        reply = asked.post("/v1/predict", content=as_json({"records": [row]}), headers=headers)
        assert reply.status_code == 200, reply.text
        (found,) = reply.json()["predictions"]
        assert sum(found["probabilities"].values()) == pytest.approx(1.0)


labels = st.fixed_dictionaries(
    {},
    optional={
        "request_id": st.one_of(st.sampled_from(["a", "b", SECRET]), anything),
        "row": st.one_of(st.integers(-2, 2**70), anything),
        "label": st.one_of(st.sampled_from(["late", "on_time", SECRET]), anything),
        "time": st.one_of(
            st.datetimes().map(str),
            st.sampled_from(["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "20130101"]),
            anything,
        ),
    },
)


@given(payload=st.fixed_dictionaries({"labels": st.lists(labels, max_size=25) | anything}))
@example({"labels": [{"request_id": "a", "label": "late", "row": 2**70}]})
@example({"labels": [{"request_id": "a", "label": "late", "time": "0001-01-01T00:00:00+14:00"}]})
@settings(BOUNDED, max_examples=300)
def test_any_labels_are_kept_or_refused(client: TestClient, payload: Any) -> None:
    """Labels of any form, time and row are kept or refused by a rule, and never echoed."""
    holds(client, "/v1/labels", as_json(payload), "application/json")
