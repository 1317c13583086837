"""infra/prefect.yaml on a real Prefect server with a real worker, both on loopback."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.checkout, pytest.mark.timeout(600)]

PREFECT_FILE = Path(__file__).parent.parent.parent / "infra" / "prefect.yaml"
STARTUP_SECONDS = 180.0

PROJECT = """
[data]
source = "table.csv"
target = "label"
positive = "yes"

[train]
trials = 3
workers = 1
max_epochs = 3

[gate]
minimum_rows = 50
metrics = { accuracy = { min = 0.6 } }
baseline = { yardstick = -0.2 }
leakage = { known = ["known"] }
"""

Prefect = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose label follows from one column."""
    folder = tmp_path_factory.mktemp("projects") / "tiny"
    folder.mkdir()
    generator = np.random.default_rng(0)
    known = generator.normal(size=600)
    label = np.where(known + generator.normal(scale=0.2, size=600) > 0, "yes", "no")
    frame = pd.DataFrame({"known": known, "noise": generator.normal(size=600), "label": label})
    frame.to_csv(folder / "table.csv", index=False)
    (folder / "tidegate.toml").write_text(PROJECT, encoding="utf-8")
    rows = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 100}}
    contract = {"name": "tiny", "expectations": [rows], "meta": {}}
    (folder / "contract.json").write_text(json.dumps(contract), encoding="utf-8")
    return folder


def _environment(home: Path, **variables: str) -> dict[str, str]:
    """Give this process's environment without what another server would have left in it."""
    inherited = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("PREFECT_", "TIDEGATE_", "MLFLOW_"))
    }
    home.mkdir(exist_ok=True)
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "true"}
    return inherited | quiet | {"PREFECT_HOME": str(home)} | variables


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a Prefect server, as an operator would, and give its address."""
    home = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    command = ["server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", *command],
            env=_environment(home),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _await(lambda: _answers(url), lambda: (home / "log").read_text())
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory, api: str, folder: Path) -> Prefect:
    """Run Prefect's own command from an empty folder, as on a worker's machine."""
    home = tmp_path_factory.mktemp("worker")
    environment = _environment(home, PREFECT_API_URL=api, TIDEGATE_PROJECT=str(folder))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "prefect", "--no-prompt", *arguments],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def deployed(api: str, prefect: Prefect) -> dict[str, Any]:
    """Create the pool, deploy the file, and give each deployment by its name."""
    prefect("work-pool", "create", "tidegate", "--type", "process")
    prefect("deploy", "--all", "--prefect-file", str(PREFECT_FILE))
    return {d["name"]: d for d in _post(f"{api}/deployments/filter")}


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/health", timeout=5).close()
    except (OSError, http.client.HTTPException):
        return False
    return True


def _await(condition: Callable[[], Any], explain: Callable[[], str]) -> Any:
    deadline = time.monotonic() + STARTUP_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, explain()
        time.sleep(0.2)
    return found


def _post(url: str, **body: Any) -> list[dict[str, Any]]:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def _runs(api: str, deployment: str, **state: Any) -> list[dict[str, Any]]:
    return _post(
        f"{api}/flow_runs/filter",
        deployments={"id": {"any_": [deployment]}},
        flow_runs={"state": state} if state else {},
    )


def test_deployments_name_modules(deployed: dict[str, Any], folder: Path) -> None:
    """Both deployments import tidegate by module, pull nothing, and know their project."""
    assert {name: d["entrypoint"] for name, d in deployed.items()} == {
        "nightly": "flows.run.run",
        "hourly": "flows.monitor.monitor",
    }
    for deployment in deployed.values():
        assert deployment["pull_steps"] == []
        assert deployment["work_pool_name"] == "tidegate"
        assert deployment["parameters"] == {"project": str(folder), "overrides": []}


def test_cron_schedules_runs(api: str, deployed: dict[str, Any]) -> None:
    """The server turns each cron line into runs to come, without anybody asking."""
    for deployment in deployed.values():
        runs = _await(
            lambda wanted=deployment["id"]: _runs(api, wanted, type={"any_": ["SCHEDULED"]}),
            lambda: "the scheduler inserted nothing",
        )
        assert all(run["auto_scheduled"] for run in runs)


def test_scheduled_run_completes(
    api: str, prefect: Prefect, deployed: dict[str, Any], folder: Path
) -> None:
    """A worker takes the run that is due, and the project has its first champion."""
    prefect("deployment", "run", "run/nightly")

    worker = prefect("worker", "start", "--pool", "tidegate", "--run-once")

    (run,) = _runs(api, deployed["nightly"]["id"], type={"not_any_": ["SCHEDULED"]})
    logs = _post(f"{api}/logs/filter", logs={"flow_run_id": {"any_": [run["id"]]}})
    said = "\n".join([worker.stderr, *(entry["message"] for entry in logs)])
    assert run["state"]["type"] == "COMPLETED", f"{run['state']['message']}\n{said}"

    from pipelines.tracking import Tracker

    project = Project.load(folder)
    tracker = Tracker.open(project.tracking, project.folder, experiment=project.model)
    champion = tracker.champion(project.model, project.deploy.alias)
    assert champion is not None
    assert champion.version == "1"
