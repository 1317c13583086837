"""The whole story on the bundled flights: served, watched, faulted, retrained, rolled back."""

import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
from rich.console import Console
from rich.markup import escape

from flows.engine import Engine
from flows.history import history
from flows.outcome import Outcome
from flows.project import FILE, Project
from flows.session import Session
from pipelines.errors import InputError, ServiceError
from pipelines.sample import FOLDER, traffic

MONTHS = ("2013-07", "2013-08", "2013-09", "2013-10", "2013-11", "2013-12")
"""What arrives, month by month; the labels of each come with the next."""

FAULTY_ROWS = 600
"""Rows of each injected fault."""

RECALL = 0.68
"""Share of late flights that the demo's gate asks for: a warning that misses more is not sent."""

_BATCH = 250
_READY_SECONDS = 60.0
_STOP_SECONDS = 20.0

_SETTINGS = """
# What the demo asks of monitoring: its months pass within two minutes.
[monitor.policy]
minimum_labels = 2000
cooldown_hours = 0
most_a_day = 2

# A fresh model is worth a change unless it is half a point worse, or may be.
[gate.champion]
minimum_effect = -0.005
"""

_REPLACED = {
    "trials = 40": "trials = 8",
    "late = 0.65 ": f"late = {RECALL} ",
    "[gate]\n": '[gate]\nscoring = "balanced_accuracy"\n',
}
"""What the demo changes of the sample's project file."""


@dataclass
class Load:
    """Requests without a pause, from the moment it starts until it is told to stop."""

    url: str
    records: Sequence[dict[str, Any]]
    answered: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator["Load"]:
        """Ask for the length of a block."""
        stop = threading.Event()
        thread = threading.Thread(target=self._ask, args=(stop,))
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()

    def _ask(self, stop: threading.Event) -> None:
        with httpx.Client(base_url=self.url, timeout=30) as client:
            place = 0
            while not stop.is_set():
                record = self.records[place % len(self.records)]
                place += 1
                try:
                    reply = client.post("/v1/predict", json={"records": [record]})
                    reply.raise_for_status()
                except httpx.HTTPError as err:
                    self.failed.append(repr(err)[:200])
                    continue
                version = reply.json()["version"]
                self.answered[version] = self.answered.get(version, 0) + 1
                time.sleep(0.005)


class Story:
    """One telling of it.

    Parameters
    ----------
    folder : Path
        Of the demo's own project.
    tell : callable
        Takes a line for the reader.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self.folder = folder
        self.tell = tell
        self.events: list[dict[str, Any]] = []
        self.port = _free_port()
        self.project = Project.load(folder)
        self._began = time.perf_counter()

    @property
    def url(self) -> str:
        """The service's address."""
        return f"http://127.0.0.1:{self.port}"

    def chapter(self, title: str) -> None:
        """Begin a part."""
        self.tell(f"\n[bold]{title}[/]  [dim]{time.perf_counter() - self._began:.0f} s[/]")

    def note(self, what: str, **facts: Any) -> None:
        """Keep what happened, for whoever reads the document."""
        self.events.append({"what": what, **facts})

    def call(self, verb: str, *overrides: str, **parameters: Any) -> Outcome:
        """Run a verb's flow as the command line would."""
        from importlib import import_module

        from flows.stages import call

        session = Session(Project.load(self.folder, overrides))
        flow = getattr(import_module(f"flows.{verb}"), verb)
        return call(flow, session, overrides, **parameters)

    @contextmanager
    def service(self) -> Iterator[None]:
        """Serve the champion for the length of a block, as a process of its own."""
        log = self.project.state / "server.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-c", "from flows.cli import main; main()", "serve"),
                    *("--project", str(self.folder), "--port", str(self.port)),
                    *("--set", "serve.reload_seconds=0.5"),
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait(process, log)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _wait(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                if httpx.get(f"{self.url}/readyz", timeout=5).status_code == httpx.codes.OK:
                    return
            except httpx.HTTPError:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServiceError(
                    "The service comes up.",
                    found=f"it did not answer on port {self.port}",
                    next_move=f"see {log}",
                )
            time.sleep(0.1)

    def version(self) -> str:
        """Return which version the service answers with now."""
        return str(httpx.get(f"{self.url}/version", timeout=30).json()["version"])

    def await_version(self, version: str) -> float:
        """Wait until the service answers with a version; return how long that took."""
        began = time.monotonic()
        while self.version() != version:
            if time.monotonic() - began > _READY_SECONDS:
                raise ServiceError(
                    "The service takes the version that the alias names.",
                    found=f"it answers with {self.version()}, and the alias names {version}",
                    next_move=f"see {self.project.state / 'server.log'}",
                )
            time.sleep(0.05)
        return time.monotonic() - began

    def send(self, rows: pd.DataFrame, name: str) -> None:
        """Ask the service about rows, by ids that the labels will name."""
        records = _records(rows, self.project.data.target)
        with httpx.Client(base_url=self.url, timeout=60) as client:
            for first in range(0, len(records), _BATCH):
                client.post(
                    "/v1/predict",
                    json={"records": records[first : first + _BATCH]},
                    headers={"x-request-id": f"{name}-{first}"},
                ).raise_for_status()

    def label(self, rows: pd.DataFrame, name: str) -> None:
        """Tell the truth of rows that were asked about."""
        labels = [
            {"request_id": f"{name}-{n - n % _BATCH}", "row": n % _BATCH, "label": label}
            for n, label in enumerate(rows[self.project.data.target])
        ]
        reply = httpx.post(f"{self.url}/v1/labels", json={"labels": labels}, timeout=60)
        reply.raise_for_status()

    def watch(self, what: str, *overrides: str) -> Outcome:
        """Monitor what came since the last time, and say what it led to."""
        # The log's writer is a moment behind the answers.
        self._await_log()
        outcome = self.call("monitor", *overrides)
        decision = dict(outcome.decision or {})
        self.note(what, decision=decision, window=outcome.window, reasons=outcome.reasons)
        window = dict(outcome.window or {})
        for revised in window.get("revised", ()):
            found = "; ".join(revised["reasons"]) or "as the gate asks"
            self.tell(f"  labels came: {revised['labelled']:,}, performance {escape(found)}")
        self.tell(f"  {window.get('rows', 0):,} rows → [bold]{decision.get('action')}[/]")
        for reason in decision.get("reasons", ()):
            self.tell(f"    {escape(reason['text'])}")
        return outcome

    def _await_log(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        before = -1.0
        while time.monotonic() < deadline:
            text = httpx.get(f"{self.url}/metrics", timeout=30).text
            written = sum(
                float(line.rpartition(" ")[2])
                for line in text.splitlines()
                if line.startswith("tidegate_log_rows_total{")
            )
            if written == before:
                return
            before = written
            time.sleep(0.2)


def demo(folder: Path, *, force: bool = False, quiet: bool = False) -> dict[str, Any]:
    """Tell the story in a folder of its own; everything in it is the real part.

    Parameters
    ----------
    folder : Path
        Made here.
    force : bool
        Whether a folder that an earlier demo made is made anew.
    quiet : bool
        Whether nothing is told on the way.

    Returns
    -------
    dict
        JSON-able: ``folder``, ``seconds``, ``events``, ``history`` and ``pages``.

    Raises
    ------
    InputError
        The folder is there already.
    """
    console = Console(quiet=quiet)
    _prepare(folder, force=force)
    story = Story(folder, lambda line: console.print(line, highlight=False))
    began = time.perf_counter()
    with ExitStack() as stack:
        engine = stack.enter_context(Engine(story.project.state / "prefect"))
        engine.wait()
        _champion(story)
        stack.enter_context(story.service())
        months = {month: traffic(month) for month in MONTHS}
        for place, month in enumerate(MONTHS):
            _month(story, months, place)
            if month == "2013-09":
                _faults(story, months[month])
        _candidates(story, months[MONTHS[-1]])
    story.chapter("The ledger tells the whole of it")
    told = history(story.project)
    for entry in reversed(told["entries"]):
        said = f"{entry['event']:<12} {entry['version'] or '':<3} {entry['reason'][:90]}"
        console.print(f"  {said}", markup=False, highlight=False, soft_wrap=True)
    pages = {
        "monitoring": str(story.project.state / "monitoring.html"),
        "everything": f"tidegate ui --project {folder}",
        "history": f"tidegate history --project {folder}",
    }
    story.chapter("Worth opening")
    for name, page in pages.items():
        console.print(f"  {name:<12} {page}", markup=False, highlight=False, soft_wrap=True)
    return {
        "folder": str(folder),
        "seconds": round(time.perf_counter() - began, 1),
        "events": story.events,
        "history": told["entries"],
        "pages": pages,
    }


def _prepare(folder: Path, *, force: bool) -> None:
    if folder.exists():
        if not (force and (folder / FILE).is_file()):
            raise InputError(
                "The demo makes a folder of its own.",
                found=f"{folder} is there already",
                next_move="name another with --dir"
                + (", or make it anew with --force" if (folder / FILE).is_file() else ""),
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for name in ("flights.parquet", "contract.json"):
        shutil.copy(FOLDER / name, folder / name)
    text = (FOLDER / FILE).read_text(encoding="utf-8")
    for old, new in _REPLACED.items():
        text = text.replace(old, new, 1)
    (folder / FILE).write_text(text + _SETTINGS, encoding="utf-8")


def _champion(story: Story) -> None:
    story.chapter("January to June: a champion")
    outcome = story.call("run")
    story.note("champion", verdict=str(outcome.verdict), reasons=outcome.reasons)
    if not outcome.passed:
        raise ServiceError("The demo's first model passes its gate.", found=str(outcome.reasons))
    assert outcome.model is not None
    story.tell(f"  version {outcome.model.version}: accuracy {outcome.metrics['accuracy']:.3f}")


def _month(story: Story, months: dict[str, pd.DataFrame], place: int) -> None:
    month = MONTHS[place]
    story.chapter(f"{month}: {len(months[month]):,} flights are asked about")
    story.send(months[month], month)
    if place:
        last = MONTHS[place - 1]
        story.label(months[last], last)
    outcome = story.watch(month)
    retrained = (outcome.decision or {}).get("retrained")
    if retrained:
        story.tell(f"  retrained: version {retrained['version']}, {retrained['verdict']}")
        if retrained["reason"]:
            story.tell(f"    {escape(retrained['reason'])}")
        if retrained["promoted"]:
            story.await_version(str(retrained["version"]))


def _faults(story: Story, rows: pd.DataFrame) -> None:
    sent = rows.tail(FAULTY_ROWS)
    story.chapter("A fault: the distance comes in kilometres")
    story.send(sent.assign(distance=sent["distance"] * 1.609344), "kilometres")
    story.watch("kilometres")
    story.chapter("Another: the wind speed does not come at all")
    story.send(sent.assign(wind_speed=float("nan")), "windless")
    story.watch("windless")


def _candidates(story: Story, rows: pd.DataFrame) -> None:
    story.chapter("A careless candidate: one linear model, held down until it says nothing")
    held_down = "train.space.linear.C={log=[1e-6, 2e-6]}"
    careless = ('train.families=["linear"]', "train.trials=1", held_down)
    refused = story.call("run", *careless)
    story.note("careless", verdict=str(refused.verdict), reasons=refused.reasons)
    story.tell(f"  gate: [bold]{refused.verdict}[/]")
    for reason in refused.reasons[:3]:
        story.tell(f"    {escape(reason)}")
    records = _records(rows.head(200), story.project.data.target)
    before = story.version()
    story.chapter("A better one is promoted, while requests come without a pause")
    load = Load(story.url, records)
    with load.running():
        better = story.call("run", 'train.threshold.objective="f_beta"', "train.threshold.beta=1.5")
        promoted = better.model.version if better.model and better.passed else None
        took = story.await_version(str(promoted)) if promoted else None
        time.sleep(0.5)
    story.note(
        "promoted under load",
        verdict=str(better.verdict),
        reasons=better.reasons,
        version=promoted,
        seconds_to_answer=took,
        answered=load.answered,
        failed=load.failed,
    )
    _told(story, better, load)
    story.chapter("It is rolled back, and nobody notices that either")
    load = Load(story.url, records)
    with load.running():
        back = story.call("rollback", reason="the demo wants its old champion")
        assert back.model is not None
        took = story.await_version(str(back.model.version))
        time.sleep(0.5)
    story.note(
        "rolled back",
        verdict=str(back.verdict),
        reasons=back.reasons,
        version=back.model.version,
        seconds_to_answer=took,
        answered=load.answered,
        failed=load.failed,
        before=before,
    )
    _told(story, back, load)


def _told(story: Story, outcome: Outcome, load: Load) -> None:
    said = ", ".join(f"{rows:,} by version {version}" for version, rows in load.answered.items())
    story.tell(f"  [bold]{outcome.verdict}[/]; answered {said}; failed {len(load.failed)}")
    for reason in outcome.reasons[:3]:
        story.tell(f"    {escape(reason)}")


def _records(rows: pd.DataFrame, target: str) -> list[dict[str, Any]]:
    asked = rows.drop(columns=[target, "flight_id", "scheduled_departure"], errors="ignore")
    cells = asked.astype(object).where(asked.notna(), None)
    return [{str(name): cell for name, cell in row.items()} for row in cells.to_dict("records")]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
