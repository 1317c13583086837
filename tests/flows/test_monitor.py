"""The monitor: every window once, every decision once, whatever dies in between."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd
import pytest

from checks.policy import Action, Decision, Reason
from flows.decision import open_tickets, record, settle
from flows.project import Project
from flows.session import Session
from pipelines.errors import ServiceError
from pipelines.ledger import Ledger
from pipelines.promotion import promote
from pipelines.serving.log import Answer, Label, PredictionLog, log_url
from pipelines.windows import WindowRecord, Windows

Command = Callable[..., Any]
TIDEGATE = [sys.executable, "-c", "from flows.cli import main; main()"]
ROWS = 400


def ask(
    folder: Path,
    name: str,
    seed: int = 0,
    *,
    version: str = "1",
    count: int = ROWS,
    **shift: float,
) -> None:
    """Log rows of the project's table as if they had been asked about just now."""
    project = Project.load(folder)
    rows = pd.read_csv(folder / "flights.csv").sample(count, random_state=seed)
    rows = rows.drop(columns=["flight_id", "scheduled_departure"])
    for column, factor in shift.items():
        rows[column] = rows[column] * factor
    truth = rows.pop("late")
    cells = rows.astype(object).where(rows.notna(), None)
    log = PredictionLog.open(log_url(project.serve, project.state))
    log.add(
        Answer(
            request_id=name,
            time=datetime.now(UTC),
            name=project.model,
            version=version,
            inputs={column: cells[column].tolist() for column in cells},
            predictions=truth.tolist(),
            probabilities=np.array([[0.9, 0.1] if t == "late" else [0.1, 0.9] for t in truth]),
            classes=["late", "on_time"],
            seconds=0.001,
        )
    )
    log.close()


def label(folder: Path, name: str, seed: int, *, wrong: float = 0.0) -> None:
    """Tell the truth of rows that were asked about, or that a share of them was wrong."""
    project = Project.load(folder)
    truth = pd.read_csv(folder / "flights.csv").sample(ROWS, random_state=seed)["late"].tolist()
    turned = {"late": "on_time", "on_time": "late"}
    told = [turned[t] if n < wrong * ROWS else t for n, t in enumerate(truth)]
    log = PredictionLog.open(log_url(project.serve, project.state))
    log.record_labels(project.model, [Label(name, n, t) for n, t in enumerate(told)])
    log.close()


def decisions(registry: Any) -> list[dict[str, Any]]:
    """Return the decisions of the ledger, oldest first."""
    entries = registry.tracker.ledger("flights").entries()
    return [dict(entry.details) for entry in entries if entry.event == "decision"]


@pytest.fixture
def serving(registry: Any) -> Any:
    """A project whose version 1 serves."""
    judged = registry.judged()
    tracker = registry.tracker
    promote(
        tracker,
        tracker.ledger("flights"),
        judged.version,
        expected=None,
        alias="champion",
        previous_alias="previous",
    )
    return registry


@pytest.mark.live
def test_windows_follow_each_other_and_late_labels_are_judged(
    tidegate: Command, serving: Any
) -> None:
    """Each window begins where the last ended; its late labels revise it and may retrain."""
    folder, received = serving.folder, []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    hook = HTTPServer(("127.0.0.1", 0), Hook)
    Thread(target=hook.serve_forever, daemon=True).start()
    told = ("--set", f'monitor.alerts.urls=["http://127.0.0.1:{hook.server_port}/x"]')
    ask(folder, "one")
    first = tidegate("monitor", "--project", folder, "--json", *told).document
    assert first["decision"]["action"] == "nothing"
    assert (first["window"]["rows"], first["window"]["labelled"]) == (ROWS, 0)
    assert received == []
    ask(folder, "two", 1, distance=1.609344)
    label(folder, "one", 0)
    second = tidegate("monitor", "--project", folder, "--json", *told)
    assert second.code == 1
    found = second.document
    assert found["window"]["since"] == first["window"]["until"]
    assert [each["labelled"] for each in found["window"]["revised"]] == [ROWS]
    assert found["decision"]["action"] == "alert"
    assert any("distance.unit" in reason for reason in found["reasons"])
    assert [each["decision"]["action"] for each in received] == ["alert"]
    ask(folder, "three", 2)
    label(folder, "three", 2, wrong=0.6)
    held = tidegate("monitor", "--project", folder, "--json", "--no-act", *told).document
    assert held["decision"]["action"] == "retrain"
    assert "performance.lost" in [reason["code"] for reason in held["decision"]["reasons"]]
    assert [each["action"] for each in decisions(serving)] == ["nothing", "alert", "retrain"]
    # It was told not to act.
    events = [entry.event for entry in serving.tracker.ledger("flights").entries()]
    assert "retraining" not in events
    status = tidegate("status", "--project", folder, "--json").document
    assert status["last_monitor"]["verdict"] == "failed"
    assert "tidegate_monitor_alarm" in (folder / ".tidegate/metrics/monitor.prom").read_text()
    assert "distance.unit" in (folder / ".tidegate/monitoring.html").read_text()
    hook.shutdown()


@pytest.mark.live
def test_a_confirmed_loss_trains_again_through_the_gate(tidegate: Command, serving: Any) -> None:
    """A confirmed loss runs the whole way on the wider table; the ticket is handed back."""
    folder = serving.folder
    ask(folder, "one")
    label(folder, "one", 0, wrong=0.6)
    ended = tidegate(
        *("monitor", "--project", folder, "--json"),
        *("--set", "monitor.policy.minimum_labels=100"),
    )
    decision = ended.document["decision"]
    assert decision["action"] == "retrain"
    retrained = decision["retrained"]
    assert retrained["version"] == "2"
    # Most of the new labels are wrong, and the gate does not let that serve.
    assert retrained["verdict"] == "failed"
    assert serving.aliases == {"champion": "1"}
    events = [entry.event for entry in serving.tracker.ledger("flights").entries()]
    assert events[-5:] == ["decision", "retraining", "look", "verdict", "retrained"]
    table = pd.read_parquet(folder / ".tidegate/retraining/table.parquet")
    assert len(table) == len(pd.read_csv(folder / "flights.csv")) + ROWS
    # The policy's cool-down holds the next one back.
    ask(folder, "two", 1)
    label(folder, "two", 1, wrong=0.6)
    again = tidegate(
        *("monitor", "--project", folder, "--json"),
        *("--set", "monitor.policy.minimum_labels=100"),
    ).document["decision"]
    assert again["action"] == "alert"
    assert "hold.cooldown" in [reason["code"] for reason in again["reasons"]]


@pytest.mark.live
def test_a_monitor_that_is_killed_decides_nothing_twice(tidegate: Command, serving: Any) -> None:
    """Kill -9 at many moments: each window has one decision, in its record and the ledger."""
    folder = serving.folder
    ask(folder, "one")
    for seconds in (4.0, 5.5, 6.5, 7.5):
        child = subprocess.Popen(
            [*TIDEGATE, "monitor", "--project", str(folder), "--json"],
            env={k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
        child.wait()
    ended = tidegate("monitor", "--project", folder, "--json")
    assert ended.code in (0, 1), ended.err
    project = Project.load(folder)
    with Windows.open(log_url(project.serve, project.state)) as store:
        kept = store.records("flights")
    assert sum(each.rows for each in kept if each.rows >= 200) >= ROWS
    spans = sorted((each.since, each.until) for each in kept if each.rows >= 200)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    told = [each["window"] for each in decisions(serving)]
    assert sorted(told) == sorted(each.id for each in kept)


@pytest.mark.live
def test_what_is_gone_is_a_finding(tidegate: Command, serving: Any) -> None:
    """Traffic of a version that no longer exists is named, and stops nothing."""
    folder = serving.folder
    ask(folder, "one")
    ask(folder, "lost", 1, version="7")
    ended = tidegate("monitor", "--project", folder, "--json")
    assert ended.code == 0, ended.document
    project = Project.load(folder)
    with Windows.open(log_url(project.serve, project.state)) as store:
        (lost,) = store.records("flights", "7")
    assert lost.rows == ROWS
    assert lost.decision is None
    assert [check["id"] for check in lost.reports["drift"]["checks"]] == ["version.gone"]


@pytest.mark.live
def test_a_window_of_one_row_stays_open(tidegate: Command, serving: Any) -> None:
    """One row is too few to tell, which is no pass; the next window begins where it did."""
    folder = serving.folder
    ask(folder, "one", count=1)
    first = tidegate("monitor", "--project", folder, "--json")
    assert first.code == 1
    assert any("Too few to tell" in reason for reason in first.document["reasons"])
    assert first.document["decision"]["action"] in ("nothing", "alert")
    ask(folder, "more", 1)
    second = tidegate("monitor", "--project", folder, "--json").document
    assert second["window"]["rows"] == ROWS + 1
    assert second["window"]["since"] == first.document["window"]["since"]


@pytest.mark.live
def test_a_reference_that_is_gone_is_a_finding(tidegate: Command, serving: Any) -> None:
    """Without the sample beside the version nothing can be compared, and that is said."""
    folder = serving.folder
    ask(folder, "one")
    (sample,) = (folder / ".tidegate").rglob("reference.parquet")
    sample.unlink()
    ended = tidegate("monitor", "--project", folder, "--json")
    assert ended.code == 1
    assert any(reason.startswith("reference.missing:") for reason in ended.document["reasons"])
    assert ended.document["decision"]["action"] == "alert"


def window(**more: Any) -> WindowRecord:
    """Return a window that was decided on."""
    since = datetime(2026, 7, 1, tzinfo=UTC)
    decision = Decision(Action.ALERT, (Reason("all.well", "Nothing was found."),)).to_dict()
    values: dict[str, Any] = {
        "model": "flights",
        "version": "1",
        "since": since,
        "until": since + timedelta(days=1),
        "rows": ROWS,
        "labelled": 0,
        "reports": {},
        "decision": decision,
    }
    return WindowRecord(**{**values, **more})


def test_a_window_is_decided_once(serving: Any) -> None:
    """The second time a window is recorded nothing is written, here or in the ledger."""
    session = Session(Project.load(serving.folder))
    with Windows.open(log_url(session.project.serve, session.project.state)) as store:
        assert record.fn(session, store, window())
        assert not record.fn(session, store, replace(window(), rows=1))
    assert [each["action"] for each in decisions(serving)] == ["alert"]


def test_a_window_whose_line_failed_is_told_by_the_next_try(
    serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that kept a window goes on with it, whether the ledger took its line or not."""
    session = Session(Project.load(serving.folder))
    own = window(run_id="a" * 32)
    append = Ledger.append

    def lost(self: Ledger, *given: Any, **more: Any) -> Any:
        raise ServiceError("It answers.", found="nothing", next_move="try again")

    def unheard(self: Ledger, *given: Any, **more: Any) -> Any:
        append(self, *given, **more)
        lost(self)

    with Windows.open(log_url(session.project.serve, session.project.state)) as store:
        for failing in (lost, unheard):
            monkeypatch.setattr(Ledger, "append", failing)
            with pytest.raises(ServiceError):
                record.fn(session, store, own)
        monkeypatch.setattr(Ledger, "append", append)
        assert record.fn(session, store, own)
        assert not record.fn(session, store, replace(own, run_id="b" * 32))
    assert [each["window"] for each in decisions(serving)] == [own.id]


def test_what_was_cut_short_is_settled(serving: Any) -> None:
    """A kept window without its line gets it; a retraining without an end gets one, once."""
    session = Session(Project.load(serving.folder))
    ledger = session.tracker.ledger("flights")
    ledger.append("retraining", version="1", details={"window": window().id})
    with Windows.open(log_url(session.project.serve, session.project.state)) as store:
        store.add(window())
        assert len(open_tickets(ledger.entries())) == 1
        for _ in range(2):
            settle.fn(session, store)
    assert open_tickets(ledger.entries()) == []
    assert [each["window"] for each in decisions(serving)] == [window().id]
    ended = [entry for entry in ledger.entries() if entry.event == "retrained"]
    assert [entry.reason for entry in ended] == ["cut short; the next window decides anew"]
