"""How fast the service answers beside MLflow's own server: run by ``make bench-serve``.

Writes ``docs/serving-speed.md`` and ``tests/bench/serve_results.json``. A champion of the
flights sample is made in a temporary folder; then ``tidegate serve``, the same with the plain
pipeline, and ``mlflow models serve`` answer the same bytes in turn, in one run, from one store.
Who asks is a process of its own, of bare sockets, and it is told how busy it was.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "pipelines" / "samples" / "flights"
PAGE = ROOT / "docs" / "serving-speed.md"
RESULTS = Path(__file__).with_name("serve_results.json")

OURS, PLAIN, MLFLOW = "tidegate", "tidegate, plain pipeline", "mlflow models serve"
TRIALS = 4
STARTS = 2
ROUNDS = 4
SECONDS = 1.5
"""Of one case of one round."""

WARMING = 0.5
CONNECTIONS = 8
ROWS = 500
"""Sealed rows that are sent, one by one and over again."""

ASKED_P50, ASKED_THROUGHPUT, ASKED_READY = 10.0, 15.0, 5.0

TIDEGATE = (sys.executable, "-c", "from flows.cli import main; main()")
LIBRARIES = ("mlflow", "scikit-learn", "uvicorn", "uvloop", "httptools")
TEXTS = ("carrier", "origin", "dest", "weekday", "manufacturer", "plane_engine")
HOST = "127.0.0.1"
PATIENCE = 60.0
BUSY = 0.9
"""Share of a core beyond which whoever asks may be what is measured."""


@dataclass(frozen=True)
class Load:
    """What one process heard that asked for a while.

    Parameters
    ----------
    latencies : list of float
        Seconds from the last byte sent to the last byte received, by request.
    ids : list of str
        What the answers were called; empty where they bear no name.
    seconds : float
    busy : float
        Share of a core that asking took.
    """

    latencies: list[float]
    ids: list[str]
    seconds: float
    busy: float


@dataclass
class Case:
    """What was measured of one server.

    Parameters
    ----------
    ready : list of float
        Seconds from the start of the process to its first answer that it is ready.
    used : list of float
        CPU seconds that it took until then.
    p50, p95 : list of float
        Milliseconds of one row over one connection, by round.
    throughput : list of float
        Rows a second over all connections, by round.
    busy : list of float
        Share of a core that asking took meanwhile, by round.
    answered, logged, lost : int
        Rows answered, rows in the prediction log, and answered ones that are not there.
    otherwise : int
        Rows that the plain pipeline answers with another class.
    """

    ready: list[float] = field(default_factory=list)
    used: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p95: list[float] = field(default_factory=list)
    throughput: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    answered: int = 0
    logged: int = 0
    lost: int = 0
    otherwise: int = 0


class Client(asyncio.Protocol):
    """One connection kept alive: sends the next request when the last answer is whole."""

    def __init__(self, requests: Sequence[bytes], first: int, until: float) -> None:
        self.latencies: list[float] = []
        self.ids: list[str] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._next = first
        self._until = until
        self._held = b""

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer."""
        self._held += data
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._held[:end].lower()
        length = int(_header(head, b"content-length"))
        if len(self._held) < end + 4 + length:
            return
        now = time.perf_counter()
        self.latencies.append(now - self._began)
        if not head.startswith(b"http/1.1 200"):
            self.done.set_exception(RuntimeError(self._held.decode()))
            self._transport.close()
            return
        if name := _header(head, b"x-request-id"):
            self.ids.append(name.decode())
        self._held = b""
        if now < self._until:
            self._send()
        else:
            self.done.set_result(None)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Say so where the server hung up."""
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server hung up"))

    def _send(self) -> None:
        request = self._requests[self._next % len(self._requests)]
        self._next += 1
        self._began = time.perf_counter()
        self._transport.write(request)


def _header(head: bytes, name: bytes) -> bytes:
    start = head.find(b"\r\n" + name + b": ")
    if start < 0:
        return b""
    start += len(name) + 4
    end = head.find(b"\r\n", start)
    return head[start : None if end < 0 else end]


def ask(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Load:
    """Ask for a while; runs in the process of whoever asks."""

    async def run() -> tuple[list[Client], float]:
        began = time.perf_counter()
        loop = asyncio.get_running_loop()
        clients = []
        for number in range(connections):
            first = number * len(requests) // connections
            client = Client(requests, first, began + seconds)
            await loop.create_connection(lambda client=client: client, HOST, port)  # type: ignore[misc]
            clients.append(client)
        await asyncio.gather(*(client.done for client in clients))
        return clients, time.perf_counter() - began

    used = time.process_time()
    clients, took = asyncio.run(run())
    return Load(
        [seconds for client in clients for seconds in client.latencies],
        [name for client in clients for name in client.ids],
        took,
        (time.process_time() - used) / took,
    )


def bodies(folder: Path) -> list[bytes]:
    """Return the bodies of requests of one sealed row each, in the form MLflow's clients send."""
    import pandas as pd

    frame = pd.read_parquet(folder / "flights.parquet")
    sealed = frame[frame["scheduled_departure"] >= "2013-06-01"]
    rows = sealed.drop(columns=["flight_id", "scheduled_departure", "late"]).head(ROWS)
    split = json.loads(rows.to_json(orient="split", index=False))
    return [
        json.dumps({"dataframe_split": {"columns": split["columns"], "data": [row]}}).encode()
        for row in split["data"]
    ]


def wire(body: bytes) -> bytes:
    """Return a request as it goes over the wire."""
    head = (
        f"POST /invocations HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def classes(port: int, asked: Sequence[bytes]) -> list[Any]:
    """Return the class that each body is answered with."""
    connection = HTTPConnection(HOST, port, timeout=PATIENCE)
    said = []
    for body in asked:
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
        said += json.loads(connection.getresponse().read())["predictions"]
    connection.close()
    return said


class Server:
    """A server that can be started and stopped.

    Parameters
    ----------
    name : str
    folder : Path
        The project's.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.port = _free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._log = None if name == MLFLOW else name.replace(", plain pipeline", "-plain") + ".db"

    def start(self) -> float:
        """Start it, and return the seconds until it is ready."""
        began = time.perf_counter()
        with (self._folder / "servers.txt").open("ab") as output:
            # A group of its own: mlflow's command is the parent of the server.
            self._process = subprocess.Popen(
                self._command(),
                env=environment(self._folder),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        while not self._ready():
            if self._process.poll() is not None or time.perf_counter() - began > PATIENCE:
                raise RuntimeError((self._folder / "servers.txt").read_text()[-3000:])
            time.sleep(0.02)
        return time.perf_counter() - began

    def stop(self) -> None:
        """End it as a supervisor does, and wait."""
        if self._process is None:
            return
        # mlflow's command ends before the server that it started, which still has the port.
        inner = psutil.Process(self._process.pid).children(recursive=True)
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
            _, left = psutil.wait_procs(inner, timeout=PATIENCE)
        finally:
            self._process = None
        if left:
            raise RuntimeError(f"{self.name} does not end")

    def used(self) -> float:
        """Return the CPU seconds of its processes so far."""
        assert self._process is not None
        parent = psutil.Process(self._process.pid)
        spent = [each.cpu_times() for each in (parent, *parent.children(recursive=True))]
        return float(sum(times.user + times.system for times in spent))

    def logged(self) -> list[str]:
        """Return the request of each row of the prediction log."""
        if self._log is None:
            return []
        with sqlite3.connect(self._folder / ".tidegate" / self._log) as log:
            return [name for (name,) in log.execute("SELECT request_id FROM predictions")]

    def _command(self) -> list[str]:
        if self.name == MLFLOW:
            return [
                *(sys.executable, "-m", "mlflow", "models", "serve"),
                *("-m", "models:/flights@champion", "--env-manager", "local"),
                *("--workers", "1", "--host", HOST, "--port", str(self.port)),
            ]
        return [
            *(*TIDEGATE, "serve", "--project", str(self._folder), "--port", str(self.port)),
            *("--set", f'serve.log="sqlite:///{self._log}"'),
            *(("--set", "serve.fast=false") if self.name == PLAIN else ()),
        ]

    def _ready(self) -> bool:
        connection = HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", "/ping" if self.name == MLFLOW else "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of every process: one store, and the tools of this environment."""
    found = {key: value for key, value in os.environ.items() if not key.startswith("TIDEGATE_")}
    return found | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / '.tidegate' / 'mlflow.db'}",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        port: int = taken.getsockname()[1]
        return port


def crown(folder: Path) -> str:
    """Make a champion of the sample, by the whole of ``tidegate run``, and say what it is."""
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns(".tidegate"))
    command = [*TIDEGATE, "run", "--project", str(folder), "--set", f"train.trials={TRIALS}"]
    done = subprocess.run([*command, "--json"], env=environment(folder), capture_output=True)
    if done.returncode:
        raise RuntimeError(done.stderr.decode()[-3000:])

    from flows.project import Project
    from pipelines.tracking import Tracker

    project = Project.load(folder)
    tracker = Tracker.open(project.tracking, folder, experiment=project.model)
    model = tracker.candidate(json.loads(done.stdout)["run_id"]).model
    while hasattr(model, "estimator") or hasattr(model, "steps"):
        model = model.estimator if hasattr(model, "estimator") else model.steps[-1][1]
    return type(model).__name__


@contextmanager
def running(servers: Sequence[Server]) -> Iterator[None]:
    """Stop the servers at the end, whatever happens."""
    try:
        yield
    finally:
        for server in servers:
            server.stop()


def measure(folder: Path) -> dict[str, Case]:
    """Start every server, ask them in turn, and look for what they were asked in their logs."""
    servers = [Server(name, folder) for name in (OURS, PLAIN, MLFLOW)]
    found = {server.name: Case() for server in servers}
    ids: dict[str, list[str]] = {server.name: [] for server in servers}
    asked = bodies(folder)
    requests = [wire(body) for body in asked]
    with (
        running(servers),
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
    ):
        for attempt in range(STARTS):
            for server in servers:
                server.stop()
                found[server.name].ready.append(server.start())
                found[server.name].used.append(server.used())
            show(f"start {attempt + 1}: " + said(found, "ready", "s"))

        def load(server: Server, connections: int, seconds: float = SECONDS) -> Load:
            heard = pool.submit(ask, server.port, requests, connections, seconds).result()
            found[server.name].answered += len(heard.latencies)
            ids[server.name] += heard.ids
            return heard

        for server in servers:
            load(server, CONNECTIONS, WARMING)
        for number in range(ROUNDS):
            for server in servers:
                case = found[server.name]
                alone = np.array(load(server, 1).latencies) * 1000
                case.p50.append(float(np.percentile(alone, 50)))
                case.p95.append(float(np.percentile(alone, 95)))
                together = load(server, CONNECTIONS)
                case.throughput.append(len(together.latencies) / together.seconds)
                case.busy.append(together.busy)
            show(f"round {number + 1}: {said(found, 'p50', 'ms')}; {said(found, 'throughput')}")
        answers = {server.name: classes(server.port, asked) for server in servers}
        for name, answer in answers.items():
            found[name].otherwise = differing(asked, answers[PLAIN], answer)
        for server in servers:
            server.stop()
            logged = server.logged()
            case = found[server.name]
            case.answered += len(asked)
            case.logged = len(logged)
            case.lost = len(set(ids[server.name]) - set(logged))
            if server.name != MLFLOW and (case.lost or case.logged != case.answered):
                show(f"{server.name}: {case.answered} answered, {case.logged} logged")
    return found


def differing(asked: Sequence[bytes], ours: Sequence[Any], theirs: Sequence[Any]) -> int:
    """Count the rows that are answered otherwise; each must lack a category.

    MLflow's server hands a null of a text column to the model as None, where a training table
    has NaN, and the encoder of the categories takes the two for different levels.
    """
    rows = [n for n, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]
    for row in rows:
        split = json.loads(asked[row])["dataframe_split"]
        cells = dict(zip(split["columns"], split["data"][0], strict=True))
        if all(cells[name] is not None for name in TEXTS):
            raise RuntimeError(f"row {row} is answered otherwise")
    return len(rows)


def said(found: dict[str, Case], what: str, unit: str = "") -> str:
    """Return the last figure of each server."""
    return ", ".join(f"{name} {getattr(case, what)[-1]:.2f} {unit}" for name, case in found.items())


def show(text: str) -> None:
    """Show progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def ratios(case: Case, other: Case) -> tuple[list[float], list[float]]:
    """Return by round how many times lower p50 is, and how many times higher the throughput."""
    lower = [theirs / ours for ours, theirs in zip(case.p50, other.p50, strict=True)]
    higher = [ours / theirs for ours, theirs in zip(case.throughput, other.throughput, strict=True)]
    return lower, higher


def measures(found: dict[str, Case]) -> str:
    """Write the table of what was measured."""
    heads = ("p50, ms", "p95, ms", "rows a second", "start to ready, s", "CPU, s", "answered")
    lines = [f"| server | {' | '.join(heads)} | logged |", "|:--|" + "--:|" * (len(heads) + 1)]
    for name, case in found.items():
        kept = "keeps none" if name == MLFLOW else f"{case.logged:,}"
        lines.append(
            f"| {name} | {median(case.p50):.2f} | {median(case.p95):.2f} "
            f"| {median(case.throughput):,.0f} | {median(case.ready):.1f} "
            f"({min(case.ready):.1f} to {max(case.ready):.1f}) | {median(case.used):.1f} "
            f"| {case.answered:,} | {kept} |"
        )
    return "\n".join(lines)


def verdicts(found: dict[str, Case]) -> str:
    """Write the table of what is asked, and whether it is kept."""
    lines = ["| what | server | measured | by round | asked | kept |", "|:--|:--|--:|:-:|--:|:-:|"]

    def add(what: str, name: str, value: str, spread: str, asked: str, kept: bool) -> None:
        word = "yes" if kept else "**no**"
        lines.append(f"| {what} | {name} | {value} | {spread} | {asked} | {word} |")

    for name in (OURS, PLAIN):
        case = found[name]
        lower, higher = ratios(case, found[MLFLOW])
        for what, by_round, asked in (
            ("p50, times lower", lower, ASKED_P50),
            ("throughput, times higher", higher, ASKED_THROUGHPUT),
        ):
            value, spread = median(by_round), f"{min(by_round):.1f} to {max(by_round):.1f}"
            add(what, name, f"{value:.1f}", spread, f"{asked:.0f}", value >= asked)
        ready = median(case.ready)
        spread = f"{min(case.ready):.1f} to {max(case.ready):.1f}"
        add("start to ready, s", name, f"{ready:.1f}", spread, "5.0", ready <= ASKED_READY)
        whole = not case.lost and case.logged == case.answered
        add("answered rows not in the log", name, f"{case.lost:,}", "", "0", whole)
    return "\n".join(lines)


def page(found: dict[str, Case], champion: str, busy: float) -> str:
    """Write the page."""
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    ours, theirs = found[OURS].otherwise, found[MLFLOW].otherwise
    most = max(found[OURS].busy)
    caution = f" At its busiest that took {most:.0%} of a core" + (
        ": our figure may be that of whoever asks." if most > BUSY else "."
    )
    return f"""# How fast the service is

Measured by `make bench-serve` ([the program](../tests/bench/serve.py), [every
figure](../tests/bench/serve_results.json)) on {os.cpu_count()} cores, on a machine on which
{busy:.1f} processes were at work already. {versions}.

One champion of the flights sample, `{champion}` of scikit-learn, in one store, behind three
servers of one worker each: `tidegate serve` as it comes; the same with `serve.fast=false`, where
the pipeline itself answers; and `mlflow models serve --env-manager local`. All three run at once
and are asked in turn, {ROUNDS} rounds of {SECONDS} s a case, the same {ROWS} sealed rows, one row
a request, as `dataframe_split` to `/invocations`. Ours check each request, count it and write it
to their prediction log; MLflow's keeps none.

Latency is over one connection that is kept alive, throughput over {CONNECTIONS}. Who asks is a
process of its own that sends bytes made before over bare sockets.{caution} Figures are medians of
the rounds; a ratio is taken within each round. Start to ready is the median of {STARTS} starts,
with the shortest and the longest; CPU is what the server's processes used until then, in seconds.

Of the {ROWS} rows, {ours} are answered with another class by `tidegate serve` than by the pipeline,
and {theirs} by MLflow's server: only where a category is missing, which it hands to the
model as None where the training table had NaN.

{measures(found)}

## What is asked

{verdicts(found)}
"""


def main() -> None:
    """Measure, and write the page and the figures."""
    busy = os.getloadavg()[0]
    with TemporaryDirectory() as work:
        folder = Path(work) / "flights"
        show("make a champion")
        champion = crown(folder)
        found = measure(folder)
    figures = {
        "cores": os.cpu_count(),
        "busy": round(busy, 2),
        "libraries": {name: version(name) for name in LIBRARIES},
        "champion": champion,
        "cases": {name: asdict(case) for name, case in found.items()},
    }
    RESULTS.write_text(json.dumps(rounded(figures), indent=1) + "\n", encoding="utf-8")
    written = page(found, champion, busy)
    PAGE.write_text(written, encoding="utf-8")
    print(written)


def rounded(value: Any) -> Any:
    """Return figures without the digits that no clock gives."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
