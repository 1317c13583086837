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

import pandas as pd
import pytest

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
            _fetch(url)
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            return


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
    unserved = tidegate("monitor", "--project", folder)
    assert unserved.code == 2
    assert "tidegate serve" in unserved.err

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
    too_few = tidegate("monitor", "--project", folder, "--until", "2020-01-01", "--json")
    assert too_few.code == 2


@pytest.mark.slow
def test_ui_shows_both_pages_and_leaves_nothing(
    tidegate: Command, project: Callable[[str], Path]
) -> None:
    """`tidegate ui` prints two addresses that answer, and ends without a trace."""
    folder = project("flights")
    mlflow, prefect = _free_port(), _free_port()
    pages = _start(
        *("ui", "--project", str(folder)),
        *("--port", str(mlflow), "--prefect-port", str(prefect)),
    )
    for port in (mlflow, prefect):
        _wait_for(f"http://127.0.0.1:{port}/", pages)
        assert _fetch(f"http://127.0.0.1:{port}/")[0] == 200
    code, said = _stop(pages)
    assert "Traceback" not in said
    assert code in (0, 130)
    assert str(mlflow) in said
    assert str(prefect) in said
    for port in (mlflow, prefect):
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), timeout=5)
    assert not (folder / "mlruns").exists()
