"""pipelines.serving.app: the service as its clients meet it."""

import json
import re
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline

from pipelines.features import Roles
from pipelines.serving.app import MAXIMUM_BYTES, create_app
from pipelines.serving.log import PredictionLog, read_window

ROW = {"delay": 2.0, "seats": None, "carrier": "AA"}


def service(
    model: Pipeline, roles: Roles, table: pd.DataFrame, log: PredictionLog | None = None
) -> FastAPI:
    """Make the service of version 3."""
    return create_app(
        model,
        roles,
        name="flights",
        version="3",
        alias="champion",
        example=table.head(5),
        log=log,
        maximum_rows=100,
    )


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
    logged = read_window(url, name="flights", version="3")
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
    from sklearn.base import clone

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
    large = client.post("/invocations", content=b" " * (MAXIMUM_BYTES + 1), headers=kind)
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
    window = read_window(url, name="flights", version="3")
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
    model: Pipeline, roles: Roles, table: pd.DataFrame
) -> None:
    """When scoring itself fails the answer is a bare 500, and the next request is served."""

    class Faulty(Pipeline):  # type: ignore[misc]
        def predict_proba(self, rows: pd.DataFrame) -> Any:
            if (rows["delay"] == 99.5).any():
                raise RuntimeError(f"cannot score {rows}")
            return super().predict_proba(rows)

    faulty = Faulty(model.steps)
    with TestClient(service(faulty, roles, table), raise_server_exceptions=False) as client:
        reply = client.post("/invocations", json={"inputs": ROW | {"delay": 99.5}})
        assert reply.status_code == 500
        assert "99.5" not in reply.text
        assert client.post("/invocations", json={"inputs": ROW}).status_code == 200


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
    window = read_window(url, name="flights", version="3")
    assert sorted(window["delay"]) == [float(number - 100) for number in range(200)]
