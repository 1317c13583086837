"""A sweep on a Dask cluster, as a user starts one: a scheduler, workers and `tidegate train`."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flows.engine import Engine
from flows.project import Project
from pipelines.tracking import Tracker

distributed = pytest.importorskip("distributed")
pytestmark = [pytest.mark.sweep, pytest.mark.slow, pytest.mark.timeout(600)]

PROJECTS = Path(__file__).parents[1] / "projects"
BUDGET = ("train.trials=24", "train.max_epochs=9")
WAIT = 240
MIDWAY = 12

CONSOLE = "from flows.cli import main; main()"
"""What the console script does."""

ON_RUNNER = """
import sys
from prefect_dask import DaskTaskRunner
from flows.train import train

folder, address, *budget = sys.argv[1:]
on_dask = train.with_options(task_runner=DaskTaskRunner(address=address))
on_dask(folder, budget)
"""

OWN = """
from pipelines.models.linear import Linear


class Mine(Linear):
    name = "mine"
"""


def wait_for(true: Callable[[], object], process: subprocess.Popen[Any]) -> None:
    """Look again until it is so; the process must not end before."""
    deadline = time.monotonic() + WAIT
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


COUNTING = """
from pipelines.sweep import cluster

def counted(job, rows, run=cluster.run):
    outcome = run(job, rows)
    with open({file!r}, "a") as file:
        file.write(".")
    return outcome

cluster.run = counted
"""
"""What the workers load: a mark for each job."""


@dataclass
class Machines:
    """A scheduler and workers on loopback, each a process group that can be killed."""

    folder: Path
    port: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The scheduler's address, which outlives it."""
        return f"tcp://127.0.0.1:{self.port}"

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `dask` with these arguments."""
        with (self.folder / f"log-{len(self.processes)}").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments, "--no-dashboard"],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def schedule(self) -> subprocess.Popen[bytes]:
        """Start the scheduler."""
        return self.start("scheduler", "--host", "127.0.0.1", "--port", str(self.port))

    def work(self) -> subprocess.Popen[bytes]:
        """Start one worker, and the nanny above it."""
        counting = self.folder / "counting.py"
        counting.write_text(COUNTING.format(file=str(self.folder / "fitted")))
        return self.start(
            *("worker", self.address, "--nworkers", "1", "--nthreads", "1"),
            *("--preload", str(counting)),
        )

    def wait_for_workers(self, count: int) -> None:
        """Return once so many workers have joined."""
        with distributed.Client(self.address, timeout=WAIT) as client:
            client.wait_for_workers(count, timeout=WAIT)

    def fitted(self) -> int:
        """Return how many jobs the workers have run."""
        return (self.folder / "fitted").stat().st_size

    def close(self) -> None:
        """Kill what still runs."""
        for process in self.processes:
            kill(process)


def kill(process: subprocess.Popen[Any]) -> None:
    """Kill -9 a process, and a worker with its nanny."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    """A scheduler at a port of its own, without workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path / "machines"
    folder.mkdir()
    found = Machines(folder, port)
    try:
        found.schedule()
        yield found
    finally:
        found.close()


@pytest.fixture
def cluster(machines: Machines) -> Machines:
    """The scheduler with two workers."""
    machines.work()
    machines.work()
    machines.wait_for_workers(2)
    return machines


@dataclass(frozen=True)
class Chosen:
    """What a sweep tried and chose; no times."""

    trials: list[dict[str, Any]]
    winner: dict[str, str]
    validation: dict[str, float]


def chosen(folder: Path) -> Chosen:
    """Read the project's one sweep."""
    loaded = Project.load(folder)
    tracker = Tracker.open(loaded.tracking, folder, experiment=loaded.model)
    (kept,) = (folder / ".tidegate" / "reports").glob("*/sweep/trials.json")
    trials = [{k: v for k, v in t.items() if k != "seconds"} for t in json.loads(kept.read_text())]
    run = tracker.run(kept.parents[1].name)
    assert run.status == "FINISHED"
    best = {k: v for k, v in run.params.items() if k == "family" or k.startswith("best_")}
    measured = {k: v for k, v in run.metrics.items() if k.startswith("validation_")}
    return Chosen(trials, best, measured)


def start(engine: Engine, *arguments: str | Path) -> subprocess.Popen[str]:
    """Start Python with these arguments, where a user's Prefect server is named."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PREFECT_API_URL": engine.url, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def train(
    engine: Engine, folder: Path, *settings: str, resume: bool = False
) -> subprocess.Popen[str]:
    """Start `tidegate train --json`."""
    given = [word for each in (*BUDGET, *settings) for word in ("--set", each)]
    going_on = ["--resume"] if resume else []
    command = ("-c", CONSOLE, "train", "--project", folder, "--json")
    return start(engine, *command, *given, *going_on)


def end(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait until it has ended well; return its document."""
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == 0, out + err
    found: dict[str, Any] = json.loads(out)
    return found


def outcomes(folder: Path) -> int:
    """Return how many outcomes the journal of the sweep that runs holds."""
    journals = (folder / ".tidegate" / "sweeps").glob("*/journal.jsonl")
    return sum(journal.read_bytes().count(b"\n") - 1 for journal in journals)


def fresh(folder: Path) -> Path:
    """Copy the small project."""
    return Path(shutil.copytree(PROJECTS / "flights", folder))


@pytest.fixture(scope="module")
def local(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Chosen:
    """What the sweep tries and chooses on this machine's own workers."""
    folder = fresh(tmp_path_factory.mktemp("local") / "flights")
    end(train(engine, folder))
    return chosen(folder)


def test_worker_killed(engine: Engine, cluster: Machines, local: Chosen, tmp_path: Path) -> None:
    """With one of two workers killed -9 midway, the trials and the winner are the local ones."""
    folder = fresh(tmp_path / "flights")
    process = train(engine, folder, f'train.dask="{cluster.address}"')
    wait_for(lambda: outcomes(folder) >= MIDWAY, process)
    assert process.poll() is None
    kill(cluster.processes[-1])
    end(process)
    assert chosen(folder) == local
    assert cluster.fitted() >= len(local.trials)


def test_scheduler_killed(engine: Engine, cluster: Machines, local: Chosen, tmp_path: Path) -> None:
    """A scheduler killed midway is exit code 3 and one message, and --resume on a new one goes on.

    The trials and the winner are the local ones.
    """
    folder = fresh(tmp_path / "flights")
    dask = f'train.dask="{cluster.address}"'
    process = train(engine, folder, dask)
    wait_for(lambda: outcomes(folder) >= MIDWAY, process)
    kill(cluster.processes[0])
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == 3, out + err
    assert "Traceback" not in out + err
    assert "tidegate train --resume" in out + err
    assert len(json.loads(out)) > 0
    kept = outcomes(folder)
    assert kept >= MIDWAY
    for worker in cluster.processes[1:]:
        kill(worker)
    cluster.schedule()
    cluster.work()
    cluster.work()
    cluster.wait_for_workers(2)
    end(train(engine, folder, dask, resume=True))
    assert chosen(folder) == local


def test_prefect_runner(engine: Engine, cluster: Machines, local: Chosen, tmp_path: Path) -> None:
    """Under a DaskTaskRunner the sweep runs on the runner's workers, with the same winner."""
    pytest.importorskip("prefect_dask")
    folder = fresh(tmp_path / "flights")
    process = start(engine, "-c", ON_RUNNER, folder, cluster.address, *BUDGET)
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == 0, out + err
    assert chosen(folder) == local
    assert cluster.fitted() >= len(local.trials)


def test_own_families(engine: Engine, cluster: Machines, tmp_path: Path) -> None:
    """Families of a Python file that only the driver has are fitted on the workers as locally."""
    settings = ('train.families_file="families.py"', 'train.families=["mine", "mlp"]')
    found = []
    for name, more in (("local", ()), ("away", (f'train.dask="{cluster.address}"',))):
        folder = fresh(tmp_path / name)
        (folder / "families.py").write_text(OWN)
        end(train(engine, folder, *settings, *more))
        found.append(chosen(folder))
    assert found[0] == found[1]
    assert "mine" in {trial["family"] for trial in found[1].trials}
    assert cluster.fitted() >= len(found[1].trials)
