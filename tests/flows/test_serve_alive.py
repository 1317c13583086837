"""flows.serve while its alias moves, its processes die, and more is asked than it can answer."""

import contextlib
import http.client
import json
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from pipelines.promotion import promote

pytestmark = pytest.mark.live

TIDEGATE = [sys.executable, "-c", "from flows.cli import main; main()"]
KIND = {"content-type": "application/json"}
REQUESTS = 10_000
CONNECTIONS = 8
PATIENCE = 120.0
PAGE = Path(__file__).parents[2] / "docs" / "serve.md"
ADDRESS = "localhost:5001"


@dataclass
class Serving:
    """A `tidegate serve` that runs, and what it was asked."""

    process: subprocess.Popen[str]
    port: int
    log: Path
    row: dict[str, Any]
    said: list[tuple[int, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def connect(self) -> http.client.HTTPConnection:
        """Open a connection of its own."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def get(self, path: str) -> tuple[int, str]:
        """Ask one thing on a connection of its own."""
        with contextlib.closing(self.connect()) as connection:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()

    def ask(self, connection: http.client.HTTPConnection, records: int = 1) -> int:
        """Have rows scored, and keep the answer; return its status."""
        body = json.dumps({"records": [self.row] * records})
        connection.request("POST", "/v1/predict", body, KIND)
        reply = connection.getresponse()
        document = json.loads(reply.read())
        headers = {name.lower(): value for name, value in reply.getheaders()}
        self.said.append((reply.status, headers, document))
        return reply.status

    def keep_asking(self, enough: threading.Event) -> None:
        """Ask on one connection until it is enough, on another where the server closed it."""
        connection = self.connect()
        while not enough.is_set():
            try:
                self.ask(connection)
            except (OSError, http.client.HTTPException) as err:
                self.broken.append(type(err).__name__)
                connection.close()
                time.sleep(0.05)
        connection.close()

    def until(self, found: Callable[[], bool]) -> None:
        """Wait for something, with patience."""
        deadline = time.monotonic() + PATIENCE
        while not found():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def ready(self) -> bool:
        """Say whether it answers."""
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def workers(self) -> set[int]:
        """Return the processes that answer, where there are several."""
        found = set()
        for each in psutil.Process(self.process.pid).children():
            # One that was killed is there until its parent looks.
            with contextlib.suppress(psutil.NoSuchProcess):
                if "spawn_main" in " ".join(each.cmdline()):
                    found.add(each.pid)
        return found

    def end(self) -> str:
        """Tell it to end, and return what it said."""
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=PATIENCE)
        return out + err

    def logged(self) -> set[str]:
        """Return the request ids in the log."""
        with contextlib.closing(sqlite3.connect(self.log)) as database:
            return {found for (found,) in database.execute("SELECT request_id FROM predictions")}


@contextlib.contextmanager
def asking(serving: Serving, connections: int = CONNECTIONS) -> Iterator[None]:
    """Ask on several connections throughout a block."""
    enough = threading.Event()
    clients = [
        threading.Thread(target=serving.keep_asking, args=(enough,)) for _ in range(connections)
    ]
    for client in clients:
        client.start()
    try:
        yield
    finally:
        enough.set()
        for client in clients:
            client.join()


@pytest.fixture
def move(registry: Any) -> Callable[[str], None]:
    """Let the champion's alias name a version, as a deploy does."""

    def to(version: str) -> None:
        tracker = registry.tracker
        done = promote(
            tracker,
            tracker.ledger("flights"),
            version,
            expected=registry.aliases.get("champion"),
            alias="champion",
            previous_alias="previous",
        )
        assert done.moved

    return to


@pytest.fixture
def serve(registry: Any, move: Callable[[str], None]) -> Iterator[Callable[..., Serving]]:
    """Serve version 1 of two that answer the same row by opposite classes."""
    started: list[subprocess.Popen[str]] = []
    for contrary in (False, True):
        version = registry.judged(contrary=contrary).version
        registry.tracker.set_version_tags(
            "flights", version, {"tidegate.fast_path": "agrees: by the test's word"}
        )
    move("1")

    def start(*flags: str) -> Serving:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        process = subprocess.Popen(
            [*TIDEGATE, "serve", "--project", str(registry.folder), "--port", str(port)]
            + [part for flag in ("serve.reload_seconds=0.2", *flags) for part in ("--set", flag)],
            env={k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        rows = pd.read_csv(registry.folder / "flights.csv").head(1)
        rows = rows.drop(columns=["flight_id", "scheduled_departure", "late"])
        (row,) = json.loads(rows.to_json(orient="records"))
        log = registry.folder / ".tidegate" / "predictions.db"
        serving = Serving(process, port, log, row)
        serving.until(serving.ready)
        return serving

    yield start
    for process in started:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
        process.wait()


def test_the_alias_moves_and_no_request_notices(
    serve: Callable[..., Serving], move: Callable[[str], None]
) -> None:
    """10,000 requests while the alias moves to and fro: none fails, none mixes two versions."""
    serving = serve()
    with contextlib.closing(serving.connect()) as connection:
        serving.ask(connection)
        move("2")
        serving.until(lambda: json.loads(serving.get("/version")[1])["version"] == "2")
        serving.ask(connection)
    (_, _, first), (_, _, second) = serving.said
    expected = {found["version"]: found["predictions"] for found in (first, second)}
    assert expected["1"][0]["class"] != expected["2"][0]["class"]
    moves = 0
    with asking(serving):
        while moves < 4 or len(serving.said) < REQUESTS:
            version = "12"[moves % 2]
            move(version)
            serving.until(lambda v=version: json.loads(serving.get("/version")[1])["version"] == v)
            moves += 1
    assert serving.broken == []
    assert {status for status, _, _ in serving.said} == {200}
    for _, headers, document in serving.said:
        version = document["version"]
        assert headers["x-model-version"] == version
        assert document["predictions"] == expected[version]
    answered = [document["version"] for _, _, document in serving.said]
    assert min(answered.count("1"), answered.count("2")) > 100
    assert json.loads(serving.get("/version")[1])["failures"] == 0
    assert "Traceback" not in serving.end()
    assert serving.logged() == {document["request_id"] for _, _, document in serving.said}


def test_the_documented_requests_work(serve: Callable[..., Serving]) -> None:
    """Each curl of docs/serve.md is answered, in the order in which they stand there."""
    if not PAGE.is_file():
        pytest.skip("the documentation is not part of the wheel")
    serving = serve()
    asked = 0
    for block in re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line)
            if words[0] != "curl":
                continue
            flags = list(pairwise(words))
            headers = dict(word.split(": ", 1) for flag, word in flags if flag == "-H")
            body = next((word for flag, word in flags if flag == "-d"), None)
            (path,) = (w.removeprefix(ADDRESS) for w in words if w.startswith(ADDRESS))
            with contextlib.closing(serving.connect()) as connection:
                connection.request("POST" if body else "GET", path, body, headers)
                reply = connection.getresponse()
                assert reply.status == 200, (line, reply.read())
            asked += 1
    assert asked == 6
    metrics = serving.get("/metrics")[1]
    for name in re.findall(r"^\| `(tidegate_\w+)` \|", PAGE.read_text(), re.M):
        assert f"# HELP {name}" in metrics or f"# HELP {name.removesuffix('_total')}" in metrics
    serving.end()


def test_a_version_that_cannot_be_loaded_leaves_the_old_one(
    serve: Callable[..., Serving], move: Callable[[str], None], registry: Any
) -> None:
    """A version whose file is broken is named in /version and counted; the old one answers."""
    serving = serve()
    broken = registry.judged()
    registry.model_file(broken).write_bytes(b"no model")
    move(broken.version)
    serving.until(lambda: json.loads(serving.get("/version")[1])["failures"] > 0)
    found = json.loads(serving.get("/version")[1])
    assert found["version"] == "1"
    assert f"version {broken.version} was not taken" in found["last_failure"]
    assert 'tidegate_reloads_total{outcome="failed"}' in serving.get("/metrics")[1]
    with contextlib.closing(serving.connect()) as connection:
        assert serving.ask(connection) == 200
    serving.end()


def test_a_killed_process_is_replaced(serve: Callable[..., Serving]) -> None:
    """A kill -9 of one of two processes costs its connections; another is started in its place."""
    serving = serve("serve.workers=2")
    before = serving.workers()
    assert len(before) == 2
    with asking(serving):
        serving.until(lambda: len(serving.said) > 200)
        killed = min(before)
        os.kill(killed, signal.SIGKILL)
        serving.until(lambda: len(serving.workers() - {killed}) == 2)
        asked = len(serving.said)
        serving.until(lambda: len(serving.said) > asked + 200)
    # A connection that the killed process held is closed once, and is taken up elsewhere.
    assert len(serving.broken) <= CONNECTIONS
    assert {status for status, _, _ in serving.said} == {200}

    def living() -> float:
        found = re.search(r"^tidegate_model_info\{.*\} (\S+)$", serving.get("/metrics")[1], re.M)
        return float(found[1]) if found else 0.0

    # The numbers are those of the living: each process has to be asked once.
    serving.until(lambda: living() == 2.0)
    assert "Traceback" not in serving.end()


def test_the_processes_end_with_their_parent(serve: Callable[..., Serving]) -> None:
    """A kill -9 of the parent leaves no process behind that would hold the port."""
    serving = serve("serve.workers=2")
    workers = [psutil.Process(pid) for pid in serving.workers()]
    serving.process.kill()
    gone, alive = psutil.wait_procs(workers, timeout=PATIENCE)
    assert (len(gone), alive) == (2, [])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", serving.port))


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_drains(serve: Callable[..., Serving], workers: int) -> None:
    """What was begun before SIGTERM is answered, and every row that was answered is in the log."""
    serving = serve(f"serve.workers={workers}", "serve.maximum_rows=100000")
    with contextlib.closing(serving.connect()) as connection:
        body = json.dumps({"records": [serving.row]}).encode()
        # Half of a request is there when the signal comes; the other half comes after it.
        connection.putrequest("POST", "/v1/predict")
        connection.putheader("content-type", "application/json")
        connection.putheader("content-length", str(len(body)))
        connection.putheader("x-request-id", "last")
        connection.endheaders(body[:10])
        with contextlib.closing(serving.connect()) as other:
            for _ in range(50):
                assert serving.ask(other) == 200
        serving.process.send_signal(signal.SIGTERM)

        def refuses() -> bool:
            try:
                serving.get("/livez")
            except OSError:
                return True
            return False

        # The signal has arrived: nobody listens any more, or the other process has ended.
        serving.until(refuses if workers == 1 else lambda: len(serving.workers()) == 1)
        connection.send(body[10:])
        reply = connection.getresponse()
        assert reply.status == 200
        reply.read()
    out, err = serving.process.communicate(timeout=PATIENCE)
    assert "Traceback" not in out + err
    assert serving.process.returncode in (0, 130, -signal.SIGTERM)
    asked = {document["request_id"] for _, _, document in serving.said}
    assert serving.logged() == asked | {"last"}


def overload(serving: Serving, seconds: float) -> None:
    """Ask four times as much as there is room for, and see what the service does with it."""
    process = psutil.Process(serving.process.pid)
    before = process.memory_info().rss
    enough = threading.Event()
    largest: list[int] = [before]
    counted: dict[int, int] = {}
    hints: set[str | None] = set()
    broken: list[str] = []
    lock = threading.Lock()
    body = json.dumps({"records": [serving.row] * ROWS})

    def press() -> None:
        connection = serving.connect()
        while not enough.is_set():
            try:
                connection.request("POST", "/v1/predict", body, KIND)
                reply = connection.getresponse()
                reply.read()
            except (OSError, http.client.HTTPException) as err:
                broken.append(f"{type(err).__name__}: {err}")
                connection.close()
                continue
            with lock:
                counted[reply.status] = counted.get(reply.status, 0) + 1
                if reply.status == 503:
                    hints.add(reply.headers["retry-after"])
        connection.close()

    clients = [threading.Thread(target=press) for _ in range(4 * ROOM)]
    for client in clients:
        client.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end or not counted.get(503) or not counted.get(200):
        assert serving.process.poll() is None, serving.process.communicate()
        assert time.monotonic() < end + PATIENCE
        largest.append(process.memory_info().rss)
        time.sleep(0.1)
    enough.set()
    for client in clients:
        client.join()
    # At once, and on the first try: what was refused has left nothing behind.
    with contextlib.closing(serving.connect()) as connection:
        for _ in range(20):
            assert serving.ask(connection, ROWS) == 200
    assert broken == []
    assert counted.keys() == {200, 503}, counted
    assert hints == {"1"}
    refused = serving.get("/metrics")[1]
    assert re.search(r'tidegate_refused_total\{reason="queue"\} [1-9]', refused)
    assert max(largest) - before < 200_000_000
    said = serving.end()
    assert "Traceback" not in said


ROOM = 8
ROWS = 20
"""More than are answered in the event loop, so that requests have to wait for a thread."""


@pytest.mark.parametrize("seconds", [5.0, pytest.param(60.0, marks=pytest.mark.timeout(600))])
def test_four_times_too_much(serve: Callable[..., Serving], seconds: float) -> None:
    """Four times its capacity: it lives, in bounded memory, refuses with 503, and recovers."""
    overload(serve(f"serve.queue={ROOM}"), seconds)
