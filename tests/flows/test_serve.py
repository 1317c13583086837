"""The champion as a service of its own, and the pages of `tidegate ui`."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.project import Project
from pipelines.data import read
from pipelines.features import conform, labels
from pipelines.split import learning_rows, sealed_rows
from pipelines.threshold import read_aim, tune
from pipelines.tracking import Tracker

Command = Callable[..., Any]
TIDEGATE = [sys.executable, "-c", "from flows.cli import main; main()"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _fetch(url: str, body: bytes | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as err:
        return err.code, err.read()


def _wait_for(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while True:
        assert process.poll() is None, process.communicate()
        try:
            # 503 until a version is in memory.
            if _fetch(url)[0] == 200:
                return
        except OSError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*TIDEGATE, *arguments],
        env={k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _stop(process: subprocess.Popen[str]) -> tuple[int, str]:
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    return process.returncode, out + err


@pytest.mark.slow
def test_champion_answers_and_its_log_is_watched(
    tidegate: Command, project: Callable[[str], Path]
) -> None:
    """What is asked over HTTP is answered by version, logged, and compared with the reference."""
    folder = project("flights")
    early = tidegate("serve", "--project", folder)
    assert early.code == 2
    assert "tidegate run" in early.err
    assert tidegate("run", "--project", folder).code == 0
    port = _free_port()
    at = f"http://127.0.0.1:{port}"
    service = _start("serve", "--project", str(folder), "--port", str(port))
    _wait_for(f"{at}/ping", service)
    version = json.loads(_fetch(f"{at}/version")[1])
    assert (version["model"], version["version"]) == ("flights", "1")
    rows = pd.read_csv(folder / "flights.csv").drop(
        columns=["flight_id", "scheduled_departure", "late"]
    )
    sent = {"dataframe_split": json.loads(rows.to_json(orient="split", index=False))}
    status, answer = _fetch(f"{at}/invocations", json.dumps(sent).encode())
    assert status == 200
    assert len(json.loads(answer)["predictions"]) == len(rows)
    status, answer = _fetch(
        f"{at}/invocations",
        json.dumps({"dataframe_records": [{"distance": "secret words"}]}).encode(),
    )
    assert status == 422
    assert b"distance" in answer
    assert b"secret words" not in answer
    taken = tidegate("serve", "--project", folder, "--port", str(port))
    assert taken.code == 2
    assert "--port" in taken.err
    code, said = _stop(service)
    assert "Traceback" not in said
    assert code in (0, 130, -signal.SIGTERM)

    watched = tidegate("monitor", "--project", folder, "--json")
    assert watched.code == 0, watched.err
    assert watched.document["window"]["rows"] == len(rows)
    too_few = tidegate("monitor", "--project", folder, "--until", "2020-01-01", "--json")
    assert too_few.code == 1
    assert too_few.document["window"]["rows"] == 0


@pytest.mark.slow
def test_what_was_tuned_is_what_is_judged_and_served(
    tidegate: Command, project: Callable[[str], Path]
) -> None:
    """The threshold is found on validation rows alone; gate, predict and serve answer by it."""
    folder = project("flights")
    with (folder / "tidegate.toml").open("a") as file:
        file.write(
            '\n[train.threshold]\nobjective = "cost"\n\n[train.threshold.costs]\n'
            '"late -> on_time" = 4.0\n"on_time -> late" = 1.0\n'
        )
    eased = ["gate.metrics.accuracy.min=0.5", "gate.recall.on_time=0.5", "train.trials=3"]
    flags = [part for flag in eased for part in ("--set", flag)]
    ended = tidegate("run", "--project", folder, *flags, "--json")
    assert ended.code == 0, ended.out + ended.err

    settings = Project.load(folder)
    tracker = Tracker.open(settings.tracking, settings.folder, experiment=settings.model)
    run = tracker.run(ended.document["run_id"])
    threshold = float(run.params["threshold"])
    assert run.params["threshold_class"] == "late"
    assert run.params["threshold_objective"] == "cost"
    before, after = (run.metrics[f"threshold_cost_per_row_{when}"] for when in ("before", "after"))
    assert after < before
    assert f"from a probability of {threshold:.4g} on" in run.tags["mlflow.note.content"]
    picture = tracker.read_file(run.run_id, "sweep/threshold.png")
    assert picture is not None
    assert picture.startswith(b"\x89PNG")

    champion = tracker.load_version("flights", "champion")
    assert champion.model.threshold == threshold
    dataset = read(settings.data, settings.folder)
    aim = read_aim(settings.train.threshold, np.array(["late", "on_time"]), "late")
    assert aim is not None
    inner = champion.model.estimator_.estimator

    def retuned(rows: pd.DataFrame) -> float:
        return tune(inner, conform(rows, champion.roles), labels(rows["late"]), aim).threshold

    split, sealed = learning_rows(dataset), sealed_rows(dataset)
    assert retuned(split.validation) == threshold
    assert threshold not in (retuned(split.train), retuned(sealed), retuned(dataset.frame))

    def by_threshold(rows: pd.DataFrame) -> np.ndarray:
        chance = inner.predict_proba(conform(rows, champion.roles))[:, 0]
        answers = np.where(chance >= threshold, "late", "on_time")
        assert (answers != np.where(chance >= 0.5, "late", "on_time")).any()
        return answers

    right = by_threshold(sealed) == labels(sealed["late"])
    assert ended.document["metrics"]["accuracy"] == pytest.approx(right.mean())
    reference = tracker.reference("flights", "champion")
    assert reference["prediction"].tolist() == by_threshold(reference).tolist()

    rows = pd.read_csv(folder / "flights.csv")
    scored = folder / "scored.csv"
    assert tidegate("predict", folder / "flights.csv", "-o", scored, "--project", folder).code == 0
    assert pd.read_csv(scored)["prediction"].tolist() == by_threshold(rows).tolist()

    port = _free_port()
    service = _start("serve", "--project", str(folder), "--port", str(port))
    _wait_for(f"http://127.0.0.1:{port}/ping", service)
    sent = rows.drop(columns=["flight_id", "scheduled_departure", "late"])
    body = {"dataframe_split": json.loads(sent.to_json(orient="split", index=False))}
    status, answer = _fetch(f"http://127.0.0.1:{port}/invocations", json.dumps(body).encode())
    _stop(service)
    assert status == 200
    assert json.loads(answer)["predictions"] == by_threshold(rows).tolist()


@pytest.mark.slow
def test_ui_shows_the_pages_and_leaves_nothing(
    tidegate: Command, project: Callable[[str], Path]
) -> None:
    """`tidegate ui` prints three addresses that answer, and ends without a trace."""
    folder = project("flights")
    mlflow, prefect, monitoring = _free_port(), _free_port(), _free_port()
    pages = _start(
        *("ui", "--project", str(folder), "--monitoring-port", str(monitoring)),
        *("--port", str(mlflow), "--prefect-port", str(prefect)),
    )
    for port in (mlflow, prefect, monitoring):
        _wait_for(f"http://127.0.0.1:{port}/", pages)
        assert _fetch(f"http://127.0.0.1:{port}/")[0] == 200
    code, said = _stop(pages)
    assert "Traceback" not in said
    assert code in (0, 130)
    assert str(mlflow) in said
    assert str(prefect) in said
    assert str(monitoring) in said
    for port in (mlflow, prefect, monitoring):
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), timeout=5)
    assert not (folder / "mlruns").exists()
