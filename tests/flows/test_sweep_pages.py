"""A sweep of 500 trials, opened in a browser: MLflow's pages and the sweep's own."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import urlopen

import pytest
from websockets.sync.client import connect

from flows.project import Project
from pipelines.tracking import TRIALS_TABLE, Tracker
from pipelines.trials import MAXIMUM_CHILDREN

TRIALS = 500
PROGRAM = shutil.which("chromium")
WAIT = 120


class Browser:
    """One page of a browser that nobody sees.

    Parameters
    ----------
    folder : Path
        Where it keeps its profile.
    """

    def __init__(self, folder: Path) -> None:
        assert PROGRAM is not None
        self._process = subprocess.Popen(
            [
                *(PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-dev-shm-usage", "--disable-background-networking"),
                *(f"--user-data-dir={folder}", "--remote-debugging-port=0"),
                *("--window-size=1400,1100", "about:blank"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            said = folder / "DevToolsActivePort"
            deadline = time.monotonic() + WAIT
            while not (said.exists() and said.read_text().count("\n")):
                assert self._process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            port = said.read_text().split()[0]
            with urlopen(f"http://127.0.0.1:{port}/json") as answer:
                (page,) = [each for each in json.load(answer) if each["type"] == "page"]
            self._socket = connect(page["webSocketDebuggerUrl"], max_size=None)
        except BaseException:
            self._process.kill()
            raise
        self._asked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait()

    def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        """Ask for one thing of the protocol, and return its answer."""
        self._asked += 1
        asked = {"id": self._asked, "method": method, "params": parameters}
        self._socket.send(json.dumps(asked))
        while True:
            answer = json.loads(self._socket.recv(timeout=WAIT))
            if answer.get("id") == self._asked:
                assert "error" not in answer, answer
                found: dict[str, Any] = answer["result"]
                return found

    @property
    def text(self) -> str:
        """What the page says."""
        read = "document.body ? document.body.innerText : ''"
        found: str = self.ask("Runtime.evaluate", expression=read)["result"]["value"]
        return found

    def open(self, address: str, *awaited: str) -> float:
        """Open a page; return after how many seconds it says what is awaited."""
        self.ask("Page.navigate", url="about:blank")
        began = time.monotonic()
        self.ask("Page.navigate", url=address)
        while True:
            text = self.text
            missing = [word for word in awaited if word not in text]
            took = time.monotonic() - began
            if not missing:
                return took
            assert took < WAIT, (missing, text)
            time.sleep(0.02)

    def picture(self, path: Path) -> None:
        """Keep what is seen."""
        shot = self.ask("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def scheme(self, name: str) -> None:
        """Prefer `light` or `dark`."""
        wanted = [{"name": "prefers-color-scheme", "value": name}]
        self.ask("Emulation.setEmulatedMedia", features=wanted)


def pages(tracker: Tracker, folder: Path) -> "tuple[subprocess.Popen[bytes], str]":
    """Start MLflow's pages; return their process and address once they answer."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = tracker.start_pages(host="127.0.0.1", port=port, folder=folder)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            with urlopen(f"{address}/health"):
                return process, address
        except OSError:
            time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    raise AssertionError("MLflow's pages do not answer")


@pytest.mark.sweep
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_trials(
    tidegate: Callable[..., Any],
    project: Callable[[str], Path],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """After 500 trials MLflow lists no more runs than it shows well, and each page has its content.

    The table holds every trial, the run's page and the sweep's name the winner.
    """
    folder = project("flights")
    budget = ("--set", f"train.trials={TRIALS}", "--set", "train.max_epochs=3")
    ended = tidegate("train", "--project", folder, "--json", *budget)
    assert ended.code == 0, ended.err
    run_id = ended.document["run_id"]
    loaded = Project.load(folder)
    tracker = Tracker.open(loaded.tracking, folder, experiment=loaded.model)
    children = tracker._client.search_runs(
        [tracker.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'", max_results=1000
    )
    best = f"{int(tracker.run(run_id).params['best_trial'])}"
    assert best in {run.data.tags["tidegate.trial"] for run in children}
    assert len(children) <= MAXIMUM_CHILDREN
    kept = tracker.read_file(run_id, TRIALS_TABLE)
    assert kept is not None
    assert len(json.loads(kept)["data"]) == TRIALS
    if PROGRAM is None:
        pytest.skip("what is above held; the pages are looked at with Chromium")
    run = tracker.run(run_id)
    winner = f"Trial {run.params['best_trial']}"
    name = tracker._client.get_run(run_id).info.run_name
    assert name is not None
    server, address = pages(tracker, tmp_path / "pages")
    try:
        with Browser(tmp_path / "profile") as browser:
            experiment = f"{address}/#/experiments/{tracker.experiment_id}"
            record_property("run_seconds", browser.open(f"{experiment}/runs/{run_id}", winner))
            record_property("list_seconds", browser.open(f"{experiment}/runs", name))
            for scheme in ("light", "dark"):
                browser.scheme(scheme)
                browser.open(Path(ended.document["reports"]["sweep"]).as_uri(), winner)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
