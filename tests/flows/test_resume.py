"""A sweep that was cut short goes on, and ends as if it had not been."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.engine import Engine
from flows.project import Project
from pipelines.tracking import Run, Tracker

pytestmark = [pytest.mark.sweep, pytest.mark.slow]

BUDGET = ("--set", "train.trials=30", "--set", "train.max_epochs=9")


def start(engine: Engine, folder: Path, *more: str) -> subprocess.Popen[str]:
    """Train, in a process of its own."""
    command = ("train", "--project", str(folder), *BUDGET, *more)
    return subprocess.Popen(
        [sys.executable, "-c", "from flows.cli import main; main()", *command],
        env={**os.environ, "PREFECT_API_URL": engine.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_outcomes(folder: Path, count: int, process: subprocess.Popen[str]) -> str:
    """Wait until so many outcomes are written down; return the sweep's run."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        for journal in (folder / ".tidegate" / "sweeps").glob("*/journal.jsonl"):
            if journal.read_bytes().count(b"\n") > count:
                return journal.parent.name
        time.sleep(0.02)
    raise AssertionError("no outcome was written down")


def found(folder: Path, run_id: str) -> tuple[list[dict[str, Any]], Run]:
    """Return what is kept of a run's trials, but for their times, and the run."""
    project = Project.load(folder)
    tracker = Tracker.open(project.tracking, folder, experiment=project.model)
    kept = tracker.read_file(run_id, "sweep/trials.json")
    assert kept is not None
    trials = [{k: v for k, v in t.items() if k != "seconds"} for t in json.loads(kept)]
    return trials, tracker.run(run_id)


def children(folder: Path, run_id: str) -> list[tuple[str, str]]:
    """Return the number and the state of each trial that has a run."""
    project = Project.load(folder)
    tracker = Tracker.open(project.tracking, folder, experiment=project.model)
    runs = tracker._client.search_runs(
        [tracker.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'", max_results=500
    )
    return sorted((run.data.tags["tidegate.trial"], run.info.status) for run in runs)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_resumed(
    engine: Engine,
    tidegate: Callable[..., Any],
    project: Callable[[str], Path],
    tmp_path: Path,
    sent: signal.Signals,
) -> None:
    """Killed outright or by Ctrl-C, a sweep that goes on gives the trials of one left alone.

    The run is the same one, and each trial is in it once.
    """
    shaken = project("flights")
    calm = Path(shutil.copytree(shaken, tmp_path / "calm"))
    ended = tidegate("train", "--project", calm, "--json", *BUDGET)
    assert ended.code == 0, ended.err
    expected, alone = found(calm, ended.document["run_id"])
    process = start(engine, shaken)
    run_id = wait_for_outcomes(shaken, 12, process)
    process.send_signal(sent)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in out + err
    resumed = tidegate("train", "--project", shaken, "--json", "--resume", *BUDGET)
    assert resumed.code == 0, resumed.err
    assert resumed.document["run_id"] == run_id
    trials, run = found(shaken, run_id)
    assert trials == expected
    assert run.params["best_trial"] == alone.params["best_trial"]
    assert run.status == "FINISHED"
    assert {k: v for k, v in run.metrics.items() if k.startswith("validation_")} == {
        k: v for k, v in alone.metrics.items() if k.startswith("validation_")
    }
    assert children(shaken, run_id) == children(calm, ended.document["run_id"])
    assert not (shaken / ".tidegate" / "sweeps" / run_id).exists()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_keeps_the_best(
    engine: Engine, project: Callable[[str], Path], sent: signal.Signals
) -> None:
    """Ctrl-C, or a scheduler's SIGTERM, ends with 130, and the best so far is the candidate."""
    folder = project("flights")
    process = start(engine, folder)
    run_id = wait_for_outcomes(folder, 12, process)
    process.send_signal(sent)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "--resume" in err
    loaded = Project.load(folder)
    tracker = Tracker.open(loaded.tracking, folder, experiment=loaded.model)
    assert tracker.run(run_id).status == "KILLED"
    assert len(tracker.candidate(run_id).model.classes_) == 2


def test_another_one_wins_in_the_end(
    engine: Engine, tidegate: Callable[..., Any], project: Callable[[str], Path]
) -> None:
    """A sweep that was interrupted with one winner goes on, and ends with another."""
    folder = project("flights")
    seed = ("--set", "train.seed=1")
    process = start(engine, folder, *seed)
    run_id = wait_for_outcomes(folder, 2, process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    ended = tidegate("train", "--project", folder, "--json", "--resume", *BUDGET, *seed)
    assert ended.code == 0, ended.err
    _, run = found(folder, run_id)
    before = json.loads(run.tags["tidegate.so_far"])["best_trial"]
    assert run.params["best_trial"] != str(before)


def test_nothing_to_resume(tidegate: Callable[..., Any], project: Callable[[str], Path]) -> None:
    """Where no sweep was cut short --resume is a mistake that names the next move."""
    ended = tidegate("train", "--project", project("flights"), "--resume")
    assert ended.code == 2
    assert "tidegate train" in ended.err


def test_other_terms(
    engine: Engine, tidegate: Callable[..., Any], project: Callable[[str], Path]
) -> None:
    """A sweep does not go on under another seed, and says so; put back, it does."""
    folder = project("flights")
    process = start(engine, folder)
    wait_for_outcomes(folder, 5, process)
    process.kill()
    process.communicate()
    other = ("--set", "train.seed=7")
    ended = tidegate("train", "--project", folder, "--resume", *BUDGET, *other)
    assert ended.code == 2
    assert "train.seed was 0 and is 7" in ended.err
    assert tidegate("train", "--project", folder, "--resume", *BUDGET).code == 0
