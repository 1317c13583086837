"""pipelines.sweep.cluster: the workers of a real Dask scheduler, on loopback."""

import asyncio
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from pipelines.errors import ProjectError, ServiceError
from pipelines.sweep import cluster as module
from pipelines.sweep.cluster import Cluster, scheduler_of
from pipelines.sweep.trial import Job, Outcome, load_data, run, save_data
from pipelines.sweep.workers import Lost

pytest.importorskip("distributed")
pytestmark = [pytest.mark.sweep, pytest.mark.slow]

WAIT = 60

MEETING = """
import os, time
from pathlib import Path
from pipelines.models.linear import Linear

start = getattr(Linear, "alone", Linear.start)

def meet(family, params, *, seed, rows):
    if "here" in params:
        Path(params["here"] + "~").write_text(str(os.getpid()))
        os.rename(params["here"] + "~", params["here"])
        while not Path(params["there"]).exists():
            time.sleep(0.01)
        if "raises" in params:
            raise LookupError("a mistake of the user's")
        params = {}
    return start(family, params, seed=seed, rows=rows)

Linear.alone, Linear.start = start, meet
"""
"""What the workers load: trials that say where they are, and begin when another is there."""


@dataclass
class Machines:
    """A scheduler and its workers, each a process that can be killed."""

    folder: Path
    address: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, role: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `dask scheduler` or `dask worker`."""
        with (self.folder / f"log-{len(self.processes)}").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{role}", *arguments],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        self.processes.append(process)
        return process

    def schedule(self) -> subprocess.Popen[bytes]:
        """Start the scheduler, and learn its address."""
        said = self.folder / f"scheduler-{len(self.processes)}.json"
        process = self.start(
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
            "--scheduler-file",
            str(said),
        )
        wait_for(said.exists)
        wait_for(lambda: said.read_text().endswith("}"))
        self.address = json.loads(said.read_text())["address"]
        return process

    def work(self) -> None:
        """Start one worker, and the nanny that starts it again."""
        preloaded = self.folder / "meeting.py"
        preloaded.write_text(MEETING)
        self.start(
            "worker",
            self.address,
            "--nthreads",
            "1",
            "--no-dashboard",
            "--local-directory",
            str(self.folder),
            "--preload",
            str(preloaded),
        )

    def close(self) -> None:
        """Kill what still runs; the workers end with their nannies."""
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            process.wait()


def wait_for(true: Callable[[], object]) -> None:
    """Look again until it is so."""
    until = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Two workers for all tests of this file; a test may kill them, for nannies."""
    started = Machines(tmp_path_factory.mktemp("dask"))
    try:
        started.schedule()
        started.work()
        started.work()
        yield started
    finally:
        started.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Machines]:
    """A scheduler of the test's own, to be started."""
    started = Machines(tmp_path)
    try:
        yield started
    finally:
        started.close()


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """The rows of a sweep: two classes, told apart by a column."""
    random = np.random.default_rng(0)
    X = random.normal(size=(400, 5)).astype(np.float32)
    y = np.where(X[:, 0] + random.normal(size=400) > 0, "late", "on_time")
    folder = tmp_path / "rows"
    folder.mkdir()
    save_data(folder, X_train=X[:300], y_train=y[:300], X_validation=X[300:], y_validation=y[300:])
    return folder


@pytest.fixture
def cluster(machines: Machines, rows: Path) -> Iterator[Cluster]:
    """Both workers, with the rows."""
    with Cluster(machines.address) as started:
        wait_for(lambda: started.wait(0) == [] and started.count == 2 * (1 + module.AHEAD))
        started.share(rows)
        yield started


def job(number: int, **params: str) -> Job:
    """A trial that is run to its end at once."""
    return Job(number, "linear", params, 3, 0, 300, True, "accuracy", patience=5, max_epochs=30)


def learned(outcome: Outcome) -> tuple[Outcome, str]:
    """Leave out how long it took, and how arrays lie in a checkpoint beside their values."""
    assert outcome.checkpoint is not None
    return replace(outcome, seconds=0, checkpoint=None), joblib.hash(
        pickle.loads(outcome.checkpoint)
    )


def ended(cluster: Cluster, count: int) -> list[Outcome | Lost]:
    """Wait for so many."""
    found: list[Outcome | Lost] = []
    wait_for(lambda: len(found) >= count or found.extend(cluster.wait(1)))
    return found


def meet(cluster: Cluster, folder: Path) -> None:
    """Two trials that wait for each other both end: they run at the same time."""
    here, there = str(folder / "here"), str(folder / "there")
    cluster.submit(job(0, here=here, there=there))
    cluster.submit(job(1, here=there, there=here))
    found = ended(cluster, 2)
    assert [outcome.error for outcome in found if isinstance(outcome, Outcome)] == ["", ""]


def inside(machines: Machines, look: Callable[..., Any]) -> Any:
    """Ask the scheduler, as somebody else."""
    from distributed import Client

    with Client(machines.address, set_as_default=False) as client:
        return client.run_on_scheduler(look)


def scattered(machines: Machines) -> int:
    """How often rows were sent to the scheduler since it began."""
    from distributed import Client

    with Client(machines.address, set_as_default=False) as client:
        return sum(event["action"] == "scatter" for _, event in client.get_events("all"))


PARAMS = {
    "mlp": {"layers": 2, "width": 16, "learning_rate_init": 0.01, "batch_size": 32},
    "boosting": {"learning_rate": 0.1, "max_iter": 20, "max_leaf_nodes": 7},
    "linear": {"C": 1.0},
}
UNITS = {"mlp": (3, 9), "boosting": (5, 20), "linear": (100, 300)}


@pytest.mark.parametrize("family", PARAMS)
def test_bit_for_bit(cluster: Cluster, rows: Path, family: str) -> None:
    """An outcome and its checkpoint are what a local worker makes of the job, on both rungs."""
    first, second = UNITS[family]
    lower = Job(0, family, PARAMS[family], 3, 0, first, False, "accuracy", 5, 30)
    checkpoint = None
    for wanted in (lower, replace(lower, rung=1, units=second, final=True)):
        given = replace(wanted, checkpoint=checkpoint)
        cluster.submit(given)
        (there,) = ended(cluster, 1)
        with threadpool_limits(1):
            here = run(given, load_data(rows))
        assert isinstance(there, Outcome)
        assert learned(there) == learned(here)
        assert here.state == ("FINISHED" if wanted.final else "PAUSED")
        checkpoint = there.checkpoint


def test_at_the_same_time(cluster: Cluster, machines: Machines, tmp_path: Path) -> None:
    """Each worker runs one, and no job sends the rows again."""
    before = scattered(machines)
    meet(cluster, tmp_path)
    assert scattered(machines) == before


def test_a_job_behind_a_long_one_goes_elsewhere(cluster: Cluster, tmp_path: Path) -> None:
    """A worker that has nothing left takes what waits at the other, and it is run once."""
    endless, short, go = (str(tmp_path / name) for name in ("endless", "short", "go"))
    workers = [id(worker) for worker in cluster._workers.values()]
    cluster.submit(job(0, here=endless, there=go))
    cluster.submit(job(1, here=short, there=endless))
    waiting = [str(tmp_path / f"waiting-{number}") for number in (2, 3)]
    for number, place in enumerate(waiting, 2):
        cluster.submit(job(number, here=place, there=place))
    found = ended(cluster, 3)
    assert {outcome.number for outcome in found if isinstance(outcome, Outcome)} == {1, 2, 3}
    assert cluster.idle == 2
    Path(go).touch()
    (outcome,) = ended(cluster, 1)
    assert isinstance(outcome, Outcome)
    assert outcome.number == 0
    wait_for(lambda: cluster.wait(0.1) or cluster.idle == 4)
    assert cluster.wait(0.5) == []
    assert [id(worker) for worker in cluster._workers.values()] == workers
    # The other one would have written its own there.
    assert {Path(place).read_text() for place in waiting} == {Path(short).read_text()}


def test_a_worker_out_of_reach(cluster: Cluster) -> None:
    """Calls go through the scheduler as soon as the driver itself cannot reach every worker."""
    wait_for(lambda: cluster._client.direct_to_workers)
    cluster._workers["nobody"] = nobody = module._Worker("tcp://127.0.0.1:9", 1, leaving=True)
    cluster._begin(cluster._reach, nobody)
    wait_for(lambda: not cluster._client.direct_to_workers)
    cluster.submit(job(0))
    (outcome,) = ended(cluster, 1)
    assert isinstance(outcome, Outcome)


def test_a_worker_is_lost(cluster: Cluster, machines: Machines, tmp_path: Path) -> None:
    """Kill -9 loses the job that ran there; one not begun goes to the other, which is untouched.

    The nanny's new worker serves again, with the rows.
    """
    one, two, go = (str(tmp_path / name) for name in ("one", "two", "go"))
    cluster.submit(job(0, here=one, there=go))
    cluster.submit(job(1, here=two, there=go))
    cluster.submit(job(2))
    cluster.submit(job(3))
    assert cluster.idle == 0
    wait_for(Path(one).exists)
    wait_for(Path(two).exists)
    os.kill(int(Path(one).read_text()), signal.SIGKILL)
    (lost,) = ended(cluster, 1)
    assert isinstance(lost, Lost)
    assert lost.job.number == 0
    assert "was lost" in lost.reason
    Path(go).touch()
    found = ended(cluster, 3)
    assert {outcome.number for outcome in found if isinstance(outcome, Outcome)} == {1, 2, 3}
    wait_for(lambda: cluster.wait(0.1) or cluster.idle == 4)
    meet(cluster, tmp_path)


def test_dask_never_runs_a_job_again(cluster: Cluster, machines: Machines, tmp_path: Path) -> None:
    """No job is a task of Dask's; what is, may run on one worker, be that one lost or not."""
    cluster.submit(job(0, here=str(tmp_path / "here"), there=str(tmp_path / "there")))
    bound = inside(
        machines,
        lambda dask_scheduler: [
            (len(task.worker_restrictions or ()), task.loose_restrictions, task.retries)
            for key, task in dask_scheduler.tasks.items()
            if not key.startswith("tidegate-rows")
        ],
    )
    (tmp_path / "there").touch()
    assert bound == [(1, False, 0)] * 2
    ended(cluster, 1)


def test_no_worker_is_retired(cluster: Cluster, machines: Machines, tmp_path: Path) -> None:
    """A cluster that shrinks by itself takes no worker from under a sweep."""
    from distributed import Client

    with Client(machines.address, set_as_default=False) as client:
        workers = list(client.scheduler_info()["workers"])
        assert client.retire_workers(workers) == {}
        assert list(client.scheduler_info()["workers"]) == workers
    meet(cluster, tmp_path)


def test_every_worker_is_lost(cluster: Cluster, machines: Machines, tmp_path: Path) -> None:
    """When all who had the rows are gone, new workers are sent them again."""
    before = scattered(machines)
    here, there = (str(tmp_path / name) for name in ("a", "b"))
    cluster.submit(job(0, here=here, there="/nowhere"))
    cluster.submit(job(1, here=there, there="/nowhere"))
    wait_for(Path(here).exists)
    wait_for(Path(there).exists)
    for place in (here, there):
        os.kill(int(Path(place).read_text()), signal.SIGKILL)
    assert {lost.job.number for lost in ended(cluster, 2) if isinstance(lost, Lost)} == {0, 1}
    wait_for(lambda: cluster.wait(0.1) or cluster.idle)
    cluster.submit(job(2))
    (outcome,) = ended(cluster, 1)
    assert isinstance(outcome, Outcome)
    assert scattered(machines) == before + 1


def test_a_mistake_fails_the_trial(cluster: Cluster, tmp_path: Path) -> None:
    """What a family of the user's raises is an outcome, with its traceback, and no loss."""
    here = str(tmp_path / "here")
    cluster.submit(job(0, here=here, there=here, raises="yes"))
    (outcome,) = ended(cluster, 1)
    assert isinstance(outcome, Outcome)
    assert outcome.state == "FAILED"
    assert "a mistake of the user's" in outcome.error
    assert "meeting.py" in outcome.traceback


def test_overtime(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that does not stop by itself is ended with its worker, which comes back."""
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.1)
    here = tmp_path / "here"
    endless = job(0, here=str(here), there="/nowhere")
    cluster.submit(replace(endless, seconds=0.1))
    (lost,) = ended(cluster, 1)
    assert isinstance(lost, Lost)
    assert lost.overtime
    wait_for(here.exists)
    wait_for(lambda: not Path(f"/proc/{here.read_text()}").exists())
    wait_for(lambda: cluster.wait(0.1) or cluster.idle == 4)


def test_stopped(cluster: Cluster, tmp_path: Path) -> None:
    """A job that was stopped is never heard of again, and others are run."""
    go = tmp_path / "go"
    here = tmp_path / "here"
    cluster.submit(job(0, here=str(here), there=str(go)))
    wait_for(here.exists)
    cluster.stop()
    assert cluster.idle == cluster.count
    cluster.submit(job(1))
    go.touch()
    (outcome,) = ended(cluster, 1)
    assert isinstance(outcome, Outcome)
    assert outcome.number == 1
    assert cluster.wait(0.5) == []


def test_a_job_that_is_overtaken_comes_first() -> None:
    """A worker takes its jobs in the order in which they were sent, and none that was stopped."""
    crew = object.__new__(module.Crew)
    crew._turn, crew._forgotten = 0, set()
    crew._rows = None
    begun: list[int] = []

    async def arrive() -> list[Any]:
        later = asyncio.create_task(crew.run(job(1), 1))
        await asyncio.sleep(0.05)
        assert begun == []
        outcomes = [await crew.run(job(0), 0), await later]
        await crew.forget([2, 4])
        later = asyncio.create_task(crew.run(job(5), 5))
        return [*outcomes, await crew.run(job(2), 2), await crew.run(job(3), 3), await later]

    def fit(given: Job, rows: object) -> str:
        begun.append(given.number)
        return f"trial {given.number}"

    with ThreadPoolExecutor(1) as crew._threads, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "run", fit)
        assert asyncio.run(arrive()) == ["trial 0", "trial 1", None, "trial 3", "trial 5"]
    assert begun == [0, 1, 3, 5]


def test_a_large_checkpoint(cluster: Cluster) -> None:
    """Twenty megabytes are sent without a word of Dask's."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cluster.submit(replace(job(0), checkpoint=bytes(20_000_000)))
        (outcome,) = ended(cluster, 1)
    assert isinstance(outcome, Outcome)
    assert outcome.state == "FAILED"


def test_the_rows_are_sent_once(machines: Machines, rows: Path) -> None:
    """Two workers cost the driver one sending; the second has them from the first."""
    before = scattered(machines)
    with Cluster(machines.address) as cluster:
        cluster.share(rows)
    assert scattered(machines) == before + 1


def test_nothing_is_left(machines: Machines, rows: Path) -> None:
    """Once closed, the scheduler knows no task, no rows and no client; the log is as before."""
    level = logging.getLogger("distributed").level
    with Cluster(machines.address) as cluster:
        cluster.share(rows)
        for number in range(cluster.idle):
            cluster.submit(job(number))
    wait_for(lambda: inside(machines, lambda dask_scheduler: not dask_scheduler.tasks))
    found = inside(machines, lambda dask_scheduler: list(dask_scheduler.clients))
    assert not [name for name in found if "tidegate" in name]
    assert logging.getLogger("distributed").level == level


def test_another_library(machines: Machines, rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker with another scikit-learn than the driver's ends the sweep before its first job."""
    wanted = {**module.versions(), "scikit-learn": "0.1"}
    monkeypatch.setattr(module, "versions", lambda: wanted)
    with Cluster(machines.address) as cluster, pytest.raises(ServiceError) as refused:
        cluster.share(rows)
    assert "scikit-learn" in refused.value.found
    assert "not 0.1" in refused.value.found


def test_a_prefect_task_runner(machines: Machines, rows: Path) -> None:
    """A DaskTaskRunner names the scheduler that it has, and a sweep can use it; others none."""
    from prefect.task_runners import ThreadPoolTaskRunner
    from prefect_dask import DaskTaskRunner

    assert scheduler_of(ThreadPoolTaskRunner()) is None
    with DaskTaskRunner(address=machines.address) as runner:
        address = scheduler_of(runner)
        assert address == machines.address
        with Cluster(address) as cluster:
            cluster.share(rows)
            cluster.submit(job(0))
            assert [type(outcome) for outcome in ended(cluster, 1)] == [Outcome]


def test_no_workers(own: Machines) -> None:
    """A scheduler without workers is not waited for without end."""
    own.schedule()
    with pytest.raises(ServiceError, match="dask worker tcp://"):
        Cluster(own.address, no_workers_seconds=0.5)


GONE = """
import os, signal, sys, time
from pathlib import Path
from pipelines.errors import ServiceError
from pipelines.sweep.cluster import Cluster, scheduler_of
from pipelines.sweep.trial import Job

address, folder, scheduler = sys.argv[1:]
try:
    with Cluster(address) as cluster:
        cluster.share(Path(folder))
        cluster.submit(Job(0, "mlp", {}, 3, 0, 10**9, True, "accuracy", 10**9, 10**9))
        os.kill(int(scheduler), signal.SIGKILL)
        while True:
            cluster.wait(None)
except ServiceError as err:
    print(err)
"""


def test_the_scheduler_is_gone(own: Machines, rows: Path) -> None:
    """A scheduler that dies is one error with a next move, and nothing else on the terminal."""
    process = own.schedule()
    own.work()
    ended = subprocess.run(
        [sys.executable, "-c", GONE, own.address, str(rows), str(process.pid)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT,
    )
    assert ended.stderr == ""
    assert "the connection to tcp://" in ended.stdout
    assert "tidegate train --resume" in ended.stdout
    assert ended.returncode == 0


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where nothing listens is a service that is not there, with a next move."""
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.5)
    with pytest.raises(ServiceError, match="dask scheduler"):
        Cluster("tcp://127.0.0.1:9")


def test_no_address() -> None:
    """What is no address is the user's to mend."""
    with pytest.raises(ProjectError, match="tcp://127"):
        Cluster("nonsense://127.0.0.1:8786")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Dask, the error says what to install."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ProjectError, match=r"pip install 'tidegate\[dask\]'"):
        Cluster("tcp://127.0.0.1:8786")
