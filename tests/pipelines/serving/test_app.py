"""pipelines.serving.app: the service as its clients meet it."""

import json
import logging
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline

from pipelines.features import Roles, preprocessor
from pipelines.serving.app import create_app
from pipelines.serving.log import PredictionLog
from pipelines.serving.models import Models
from pipelines.serving.rowmodel import NotCompiledError, RowModel, compile_model, known_levels
from pipelines.serving.served import Served
from pipelines.serving.settings import ServeSettings
from pipelines.serving.shadow import Shadow
from pipelines.serving.window import read_window

ROW = {"delay": 2.0, "seats": None, "carrier": "AA"}


def served(model: Any, roles: Roles, table: pd.DataFrame, version: str = "3") -> Served:
    """Make a version of a model, compiled where it can be."""
    rows: RowModel | None = None
    with suppress(NotCompiledError):
        rows = compile_model(model, roles)
    known = known_levels(model, roles)
    names = {"name": "flights", "version": version, "alias": "champion"}
    return Served(model, roles, **names, example=table.head(5), rows=rows, levels=known)


def service(
    model: Any,
    roles: Roles,
    table: pd.DataFrame,
    log: PredictionLog | None = None,
    **settings: Any,
) -> FastAPI:
    """Make the service of version 3."""
    told = ServeSettings(**{"maximum_rows": 100, **settings})
    return create_app(Models.fixed(served(model, roles, table)), settings=told, log=log)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The prediction log's address."""
    return f"sqlite:///{tmp_path / 'predictions.db'}"


@pytest.fixture
def client(model: Pipeline, roles: Roles, table: pd.DataFrame, url: str) -> Iterator[TestClient]:
    """A client of a service that writes a log; leaving it closes the log."""
    with TestClient(service(model, roles, table, PredictionLog.open(url))) as started:
        yield started


def test_it_answers_as_the_model_does(
    client: TestClient, model: Pipeline, table: pd.DataFrame
) -> None:
    """Predictions over HTTP are the model's own, missing cells and unseen levels included."""
    rows = table.head(100).copy()
    rows.loc[3, "carrier"] = "ZZ"
    sent = rows.astype(object).where(rows.notna(), None)
    body = {"dataframe_split": sent.to_dict("split")}
    reply = client.post("/invocations", json=body)
    assert reply.status_code == 200
    assert reply.json() == {"predictions": model.predict(rows).tolist()}
    text = rows.to_csv(index=False)
    by_csv = client.post("/invocations", content=text, headers={"content-type": "text/csv"})
    assert by_csv.json() == reply.json()


def test_it_answers_by_the_threshold_of_its_model(
    model: Pipeline, roles: Roles, table: pd.DataFrame, url: str
) -> None:
    """A model with a threshold answers and logs by it, and its chances stay as they are."""
    careful = FixedThresholdClassifier(
        FrozenEstimator(model), threshold=0.9, pos_label="late", response_method="predict_proba"
    ).fit(table, model.predict(table))
    rows = table.head(100)
    sent = rows.astype(object).where(rows.notna(), None)
    with TestClient(service(careful, roles, table, PredictionLog.open(url))) as started:
        reply = started.post("/invocations", json={"dataframe_split": sent.to_dict("split")})
    assert reply.json() == {"predictions": careful.predict(rows).tolist()}
    assert reply.json() != {"predictions": model.predict(rows).tolist()}
    logged = read_window(url, name="flights", version="3").frame
    assert logged["prediction"].tolist() == careful.predict(rows).tolist()


def test_what_mlflow_clients_send_is_taken(client: TestClient) -> None:
    """MLflow's own dump of a frame, NaN and all, is scored."""
    from mlflow.utils.proto_json_utils import dump_input_data

    frame = pd.DataFrame([ROW | {"seats": np.nan}, ROW | {"carrier": np.nan}])
    body = dump_input_data(frame)
    assert "NaN" in body
    reply = client.post("/invocations", content=body, headers={"content-type": "application/json"})
    assert reply.json() == {"predictions": ["late", "late"]}


@pytest.mark.parametrize(("target", "kind"), [([0, 1], int), ([False, True], bool)])
def test_classes_keep_their_type(
    model: Pipeline, roles: Roles, table: pd.DataFrame, target: list[Any], kind: type
) -> None:
    """Classes that are numbers, or true and false, are answered as such."""
    late = (table["delay"] > 0).to_numpy().astype(int)
    other = clone(model).fit(table, np.array(target)[late])
    with TestClient(service(other, roles, table)) as client:
        (answer,) = client.post("/invocations", json={"inputs": ROW}).json()["predictions"]
    assert answer == target[1]
    assert type(answer) is kind


@pytest.mark.parametrize(
    ("change", "column", "rule"),
    [
        ({"delay": "secret"}, "delay", "finite number or null"),
        ({"delay": float("inf")}, "delay", "finite number or null"),
        ({"carrier": 17}, "carrier", "text or null"),
        ({"carier": "secret"}, "carier", "not a column"),
    ],
)
def test_a_bad_row_is_422(
    client: TestClient, change: dict[str, Any], column: str, rule: str
) -> None:
    """A bad row is refused with its column and rule, and without its values."""
    body = json.dumps({"dataframe_records": [ROW | change]})
    reply = client.post("/invocations", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 422
    (problem,) = reply.json()["detail"]
    assert problem["column"] == column
    assert rule in problem["rule"]
    assert "secret" not in reply.text
    assert "17" not in reply.text


def test_a_missing_column_is_422(client: TestClient) -> None:
    """A column that the model reads and the request lacks is named."""
    reply = client.post("/invocations", json={"inputs": {"delay": 1.0, "carrier": "AA"}})
    assert reply.status_code == 422
    assert [problem["column"] for problem in reply.json()["detail"]] == ["seats"]


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", ""])
def test_another_content_type_is_415(client: TestClient, kind: str) -> None:
    """What is neither JSON nor CSV is refused by 415, whatever its body."""
    reply = client.post("/invocations", content=b"{}", headers={"content-type": kind})
    assert reply.status_code == 415


def test_too_much_is_413(client: TestClient) -> None:
    """Too many rows, and more bytes than are read, are refused by 413."""
    rows = client.post("/invocations", json={"dataframe_records": [ROW] * 101})
    assert rows.status_code == 413
    kind = {"content-type": "application/json"}
    large = client.post("/invocations", content=b" " * 32_000_001, headers=kind)
    assert large.status_code == 413
    assert client.post("/invocations", json={"inputs": ROW}).status_code == 200


def test_ping_and_version(client: TestClient) -> None:
    """/ping answers, and /version names the model, its version and its alias."""
    assert client.get("/ping").status_code == 200
    found = client.get("/version").json()
    assert {"model": "flights", "version": "3", "alias": "champion"}.items() <= found.items()


def test_the_documented_examples_work(client: TestClient) -> None:
    """/docs is there, and every example of its schema is scored."""
    page = client.get("/docs")
    assert page.status_code == 200
    # Whoever reads it asks this service alone.
    for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert client.get(address).status_code == 200
    assert not re.findall(r"https?://", page.text)
    schema = client.get("/openapi.json").json()
    content = schema["paths"]["/invocations"]["post"]["requestBody"]["content"]
    examples = content["application/json"]["examples"]
    assert len(examples) == 3
    for example in examples.values():
        assert len(client.post("/invocations", json=example["value"]).json()["predictions"]) == 2
    text = content["text/csv"]["example"]
    reply = client.post("/invocations", content=text, headers={"content-type": "text/csv"})
    assert len(reply.json()["predictions"]) == 2


def test_every_row_is_logged(model: Pipeline, roles: Roles, table: pd.DataFrame, url: str) -> None:
    """Scored rows are in the log with id and version once the service has ended; refused not."""
    with TestClient(service(model, roles, table, PredictionLog.open(url))) as client:
        body = {"dataframe_records": [ROW, ROW | {"delay": -2.0}]}
        mine = client.post("/invocations", json=body, headers={"x-request-id": "flight-1"})
        odd = client.post("/invocations", json=body, headers={"x-request-id": "no spaces"})
        client.post("/invocations", json={"inputs": ROW | {"delay": "soon"}})
    assert mine.headers["x-request-id"] == "flight-1"
    assert odd.headers["x-request-id"] != "no spaces"
    assert mine.headers["x-model-version"] == "3"
    window = read_window(url, name="flights", version="3").frame
    assert window["prediction"].tolist() == ["late", "on_time"] * 2
    assert window["delay"].tolist() == [2.0, -2.0] * 2
    assert window["seats"].isna().all()
    shares = model.predict_proba(pd.DataFrame([ROW]).astype({"seats": float}))[0]
    assert window["probability_late"].iloc[0] == pytest.approx(shares[0])


def test_the_end_waits_for_what_is_queued(
    model: Pipeline, roles: Roles, table: pd.DataFrame, url: str
) -> None:
    """A service that ends while its log's database is locked writes the last rows first."""
    log = PredictionLog.open(url)
    lock = sqlite3.connect(
        url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False
    )
    lock.execute("begin immediate")
    release = threading.Timer(0.5, lock.execute, ["commit"])
    with TestClient(service(model, roles, table, log)) as client:
        client.post("/invocations", json={"inputs": ROW})
        assert log.written == 0
        release.start()
    assert (log.written, log.dropped) == (1, 0)
    release.join()
    lock.close()


def test_an_error_in_the_model_does_not_echo_the_row(
    model: Pipeline, roles: Roles, table: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    """When scoring itself fails the answer is a bare 500, and the next request is served."""

    class Faulty(Pipeline):  # type: ignore[misc]
        def predict_proba(self, rows: pd.DataFrame) -> Any:
            if (rows["delay"] == 99.5).any():
                raise RuntimeError(f"cannot score {rows}")
            return super().predict_proba(rows)

    models = Models.fixed(replace(served(Faulty(model.steps), roles, table), rows=None))
    app = create_app(models, settings=ServeSettings(), log=None)
    with caplog.at_level(logging.ERROR), TestClient(app) as client:
        reply = client.post("/invocations", json={"inputs": ROW | {"delay": 99.5}})
        assert reply.status_code == 500
        assert "99.5" not in reply.text
        assert client.post("/invocations", json={"inputs": ROW}).status_code == 200
    assert "RuntimeError" in caplog.text
    assert "99.5" not in caplog.text


@pytest.mark.slow
def test_a_real_server_on_loopback(
    model: Pipeline, roles: Roles, table: pd.DataFrame, url: str
) -> None:
    """Under uvicorn eight clients at once get right answers, and none is lost from the log."""
    app = service(model, roles, table, PredictionLog.open(url))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    wrong: list[str] = []

    def ask(number: int) -> None:
        with httpx.Client(base_url=address, timeout=60) as client:
            for place in range(25):
                delay = float(number * 25 + place - 100)
                reply = client.post("/invocations", json={"inputs": ROW | {"delay": delay}})
                expected = ["late" if delay > 0 else "on_time"]
                # At the border the model may say either.
                if abs(delay) > 1 and reply.json() != {"predictions": expected}:
                    wrong.append(reply.text)

    try:
        assert httpx.get(f"{address}/ping", timeout=60).status_code == 200
        clients = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for each in clients:
            each.start()
        for each in clients:
            each.join()
        refused = httpx.post(f"{address}/invocations", content=b"{", timeout=60)
        assert refused.status_code == 415
    finally:
        server.should_exit = True
        thread.join()
    assert wrong == []
    window = read_window(url, name="flights", version="3").frame
    assert sorted(window["delay"]) == [float(number - 100) for number in range(200)]


TYPED = {"records": [ROW, ROW | {"carrier": "ZZ", "delay": -2.0}]}


def test_predict_says_class_probabilities_id_and_version(
    client: TestClient, model: Pipeline
) -> None:
    """/v1/predict answers each record whole, and names what answered."""
    reply = client.post("/v1/predict", json=TYPED, headers={"x-request-id": "mine"})
    found = reply.json()
    assert (found["request_id"], found["model"], found["version"]) == ("mine", "flights", "3")
    assert [row["class"] for row in found["predictions"]] == ["late", "on_time"]
    assert [row["row"] for row in found["predictions"]] == [0, 1]
    shares = model.predict_proba(pd.DataFrame([ROW]).astype({"seats": float}))[0]
    assert found["predictions"][0]["probabilities"] == pytest.approx(
        dict(zip(["late", "on_time"], shares.tolist(), strict=True)), abs=1e-6
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"records": []}, "at least one row"),
        ({"rows": [ROW]}, "records"),
        ({"records": [{"delay": 1.0}]}, "seats"),
        ({"records": [ROW, {"delay": 1.0, "seats": 1.0}]}, "carrier"),
        ({"records": [ROW | {"secret": 1}]}, "secret is not a column"),
        ([ROW], "records"),
    ],
)
def test_a_bad_record_is_422(client: TestClient, body: Any, said: str) -> None:
    """A record that lacks a column, or has another, is refused by name."""
    reply = client.post("/v1/predict", json=body)
    assert reply.status_code == 422
    assert said in reply.text


def test_labels_come_back_with_their_rows(
    model: Pipeline, roles: Roles, table: pd.DataFrame, url: str
) -> None:
    """What /v1/labels confirmed stands beside the answer, and can be sent again and changed."""
    with TestClient(service(model, roles, table, PredictionLog.open(url))) as client:
        client.post("/v1/predict", json=TYPED, headers={"x-request-id": "mine"})
        client.app.state.service.log.flush()  # type: ignore[attr-defined]
        sent = [
            {"request_id": "mine", "row": 1, "label": "late", "time": "2013-07-01T12:00:00Z"},
            {"request_id": "nobody", "label": "late"},
        ]
        first = client.post("/v1/labels", json={"labels": sent})
        again = client.post("/v1/labels", json={"labels": [sent[0] | {"label": "on_time"}]})
        metrics = client.get("/metrics").text
    assert first.json() == {"accepted": 2, "repeated": 0, "changed": 0, "unknown": 1}
    assert again.json()["changed"] == 1
    assert 'tidegate_labels_total{outcome="accepted"} 2.0' in metrics
    assert read_window(url, name="flights").about["label"].tolist() == [None, "on_time"]


@pytest.mark.parametrize(
    ("label", "field"),
    [
        ({"label": "late"}, "request_id"),
        ({"request_id": "a b", "label": "late"}, "request_id"),
        ({"request_id": "a", "label": "secret"}, "label"),
        ({"request_id": "a", "label": None}, "label"),
        ({"request_id": "a", "label": ["secret"]}, "label"),
        ({"request_id": "a", "label": "late", "row": -1}, "row"),
        ({"request_id": "a", "label": "late", "row": True}, "row"),
        ({"request_id": "a", "label": "late", "row": 2**31}, "row"),
        ({"request_id": "a", "label": "late", "time": "secret"}, "time"),
        ({"request_id": "a", "label": "late", "time": 17}, "time"),
        ({"request_id": "a", "label": "late", "secret": 1}, None),
    ],
)
def test_a_bad_label_is_422(client: TestClient, label: dict[str, Any], field: str | None) -> None:
    """A label that breaks a rule is refused by field and place, and never echoed."""
    good = {"request_id": "g", "label": "late"}
    reply = client.post("/v1/labels", json={"labels": [good, label]})
    assert reply.status_code == 422
    (problem,) = reply.json()["detail"]
    assert problem["column"] == field
    assert "label 1" in problem["rule"]
    assert "secret" not in reply.text
    assert client.post("/v1/labels", json={"labels": [good]}).json()["accepted"] == 1


def test_labels_need_a_log(model: Pipeline, roles: Roles, table: pd.DataFrame) -> None:
    """A service that keeps no log says so by 409."""
    with TestClient(service(model, roles, table)) as client:
        sent = {"labels": [{"request_id": "a", "label": "late"}]}
        assert client.post("/v1/labels", json=sent).status_code == 409


def test_labels_of_a_database_that_is_away_are_503(
    model: Pipeline, roles: Roles, table: pd.DataFrame, url: str
) -> None:
    """While labels cannot be kept their sender is told to come again, and rows are scored."""
    with TestClient(service(model, roles, table, PredictionLog.open(url))) as client:
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            connection.execute("drop table labels")
        sent = {"labels": [{"request_id": "a", "label": "late"}]}
        reply = client.post("/v1/labels", json=sent)
        assert reply.status_code == 503
        assert reply.headers["retry-after"] == "1"
        assert client.post("/v1/predict", json=TYPED).status_code == 200


def test_a_key_is_asked_where_one_is_set(
    model: Pipeline, roles: Roles, table: pd.DataFrame
) -> None:
    """With a key everything but the probes asks for it, in either header."""
    models = Models.fixed(served(model, roles, table))
    app = create_app(models, settings=ServeSettings(), log=None, api_key="s3cret")
    with TestClient(app) as client:
        for path in ("/livez", "/readyz", "/ping"):
            assert client.get(path).status_code == 200
        for headers in ({}, {"x-api-key": "other"}, {"authorization": "Bearer s3cre"}):
            for path in ("/version", "/metrics", "/docs", "/openapi.json"):
                refused = client.get(path, headers=headers)
                assert refused.status_code == 401
                assert "s3cret" not in refused.text
            assert client.post("/v1/predict", json=TYPED, headers=headers).status_code == 401
        for headers in ({"x-api-key": "s3cret"}, {"authorization": "bearer s3cret"}):
            assert client.post("/v1/predict", json=TYPED, headers=headers).status_code == 200


class Gate:
    """A registry whose versions are let in by a test."""

    def __init__(self, made: dict[str, Served]) -> None:
        self.made = made
        self.aliases = {"champion": "1"}
        self.asked: list[str] = []

    def resolve(self) -> dict[str, str]:
        """Return the aliases of now."""
        return self.aliases

    def load(self, version: str, alias: str) -> Served:
        """Return a version, or fail."""
        self.asked.append(version)
        return self.made[version]


def test_readiness_follows_the_model(model: Pipeline, roles: Roles, table: pd.DataFrame) -> None:
    """Until a version is in memory /readyz is 503 and so is every answer; /livez is not."""
    registry = Gate({"1": served(model, roles, table, "1")})
    registry.aliases = {}
    models = Models(registry, alias="champion", seconds=0.02)
    with TestClient(create_app(models, settings=ServeSettings(), log=None)) as client:
        assert client.get("/livez").status_code == 200
        assert client.get("/readyz").status_code == 503
        waits = client.post("/v1/predict", json=TYPED)
        assert (waits.status_code, waits.headers["retry-after"]) == (503, "1")
        registry.aliases = {"champion": "1"}
        deadline = time.monotonic() + 30
        while client.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert client.post("/v1/predict", json=TYPED).json()["version"] == "1"
    assert client.get("/readyz").status_code == 503


def test_the_document_follows_the_version(
    model: Pipeline, roles: Roles, table: pd.DataFrame
) -> None:
    """/openapi.json names the columns of the version that answers now."""
    fewer = Roles(("delay",), ())
    small = Pipeline([("prepare", preprocessor(fewer)), ("classify", LogisticRegression())])
    small.fit(table[["delay"]], np.where(table["delay"] > 0, "late", "on_time"))
    registry = Gate(
        {"1": served(model, roles, table, "1"), "2": served(small, fewer, table[["delay"]], "2")}
    )
    models = Models(registry, alias="champion", seconds=3600)
    app = create_app(models, settings=ServeSettings(), log=None)

    def columns(client: TestClient) -> list[str]:
        found = client.get("/openapi.json").json()["paths"]["/v1/predict"]["post"]
        schema = found["requestBody"]["content"]["application/json"]["schema"]
        return list(schema["properties"]["records"]["items"]["properties"])

    with TestClient(app) as client:
        models.look()
        assert columns(client) == ["delay", "seats", "carrier"]
        registry.aliases = {"champion": "2"}
        models.look()
        assert columns(client) == ["delay"]
        assert client.post("/v1/predict", json={"records": [{"delay": 1.0}]}).status_code == 200
        assert client.post("/v1/predict", json=TYPED).status_code == 422


def test_unknown_categories_are_scored_and_counted(
    model: Pipeline, roles: Roles, table: pd.DataFrame, url: str
) -> None:
    """A level that training never saw is answered, flagged in the log and in the numbers."""
    with TestClient(service(model, roles, table, PredictionLog.open(url))) as client:
        client.post("/v1/predict", json=TYPED)
        client.app.state.service.log.flush()  # type: ignore[attr-defined]
        metrics = client.get("/metrics").text
    assert 'tidegate_unknown_categories_total{column="carrier"} 1.0' in metrics
    assert 'tidegate_predictions_total{class="late",version="3"} 1.0' in metrics
    assert 'tidegate_requests_total{endpoint="/v1/predict",status="200"} 1.0' in metrics
    assert 'tidegate_log_rows_total{outcome="written"} 2.0' in metrics
    assert 'tidegate_model_info{alias="champion",model="flights",version="3"} 1.0' in metrics
    assert read_window(url, name="flights").about["flags"].tolist() == [[], ["carrier"]]


def test_a_challenger_is_asked_and_not_heard(
    model: Pipeline, roles: Roles, table: pd.DataFrame, url: str
) -> None:
    """The challenger's answers are in the log and the numbers, and in no reply."""
    other = clone(model).fit(table, np.where(table["delay"] > 0, "on_time", "late"))
    log = PredictionLog.open(url)
    models = Models.fixed(served(model, roles, table), served(other, roles, table, "4"))
    shadow = Shadow(models, log)
    app = create_app(models, settings=ServeSettings(), log=log, shadow=shadow)
    with TestClient(app) as client:
        reply = client.post("/v1/predict", json=TYPED)
        assert shadow.flush()
        metrics = client.get("/metrics").text
    assert reply.json()["version"] == "3"
    assert "4" not in reply.headers["x-model-version"]
    assert 'tidegate_shadow_rows_total{outcome="disagreed"} 2.0' in metrics
    about = read_window(url, name="flights").about
    assert about["shadow_prediction"].tolist() == ["on_time", "late"]
    assert about["version"].tolist() == ["3", "3"]
