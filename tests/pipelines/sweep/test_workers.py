"""pipelines.sweep.workers and its fork server: processes that come, die and go."""

import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import ServiceError
from pipelines.sweep.forkserver import ForkServer, serve
from pipelines.sweep.settings import TrainSettings
from pipelines.sweep.trial import Job, Outcome, save_data
from pipelines.sweep.workers import Lost, Workers, start_workers

WAIT = 60


def children(parent: int) -> list[int]:
    """List the living fork servers and workers that a process started."""
    table = subprocess.run(
        ["ps", "-eww", "-o", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True
    ).stdout
    return [
        int(pid)
        for pid, ppid, state, args in (line.split(maxsplit=3) for line in table.splitlines())
        if int(ppid) == parent and state[0] != "Z" and "sweep.forkserver" in args
    ]


def forked() -> list[int]:
    """List the workers of every fork server of this process."""
    return [worker for server in children(os.getpid()) for worker in children(server)]


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """The libraries are loaded once for all tests of this file."""
    with start_workers(TrainSettings(trials=9, workers=2, families=("mlp", "linear"))) as started:
        yield started


@pytest.fixture(autouse=True)
def _stopped(workers: Workers) -> Iterator[None]:
    yield
    workers.stop()


@pytest.fixture
def quick(tmp_path: Path) -> Job:
    """A trial of a few milliseconds."""
    X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    y = X[:, 0] > 0
    save_data(tmp_path, X_train=X, y_train=y, X_validation=X, y_validation=y)
    return Job(0, "linear", {"C": 1.0}, 0, tmp_path, "accuracy", max_epochs=1, patience=1)


@pytest.fixture
def endless(quick: Job) -> Job:
    """A trial that a test has to stop."""
    return replace(quick, number=1, family="mlp", params={}, max_epochs=10**9, patience=10**9)


def test_an_outcome_comes_back(workers: Workers, quick: Job) -> None:
    """What a worker makes of a job comes back, and the worker is idle again."""
    workers.submit(quick)
    assert workers.idle == 1
    (outcome,) = workers.wait(WAIT)
    assert isinstance(outcome, Outcome)
    assert outcome.trial.state == "FINISHED"
    assert workers.idle == 2


def test_a_worker_serves_again(workers: Workers, quick: Job) -> None:
    """One worker runs one job after another: none is started while one is idle."""
    for _ in range(3):
        workers.submit(quick)
        assert workers.wait(WAIT)
    assert len(forked()) == 1


def test_nothing_ended(workers: Workers, endless: Job) -> None:
    """Waiting ends at its time with nothing when no trial did."""
    workers.submit(endless)
    assert workers.wait(0.1) == []


def test_killed_in_the_middle(workers: Workers, endless: Job, quick: Job) -> None:
    """A worker that is killed gives its job back with the signal, and another takes its place."""
    workers.submit(endless)
    assert workers.wait(0.5) == []
    (pid,) = forked()
    os.kill(pid, signal.SIGKILL)
    assert workers.wait(WAIT) == [Lost(endless, -signal.SIGKILL)]
    assert workers.idle == 2
    workers.submit(quick)
    (outcome,) = workers.wait(WAIT)
    assert isinstance(outcome, Outcome)


def test_killed_while_idle(workers: Workers, quick: Job) -> None:
    """A worker that died between two jobs gives the second one back."""
    workers.submit(quick)
    workers.wait(WAIT)
    (pid,) = forked()
    os.kill(pid, signal.SIGKILL)
    workers.submit(quick)
    assert workers.wait(WAIT) == [Lost(quick, -signal.SIGKILL)]


def test_stop(workers: Workers, endless: Job, quick: Job) -> None:
    """Stopping kills workers in the middle of a trial at once; others can be started after."""
    workers.submit(endless)
    workers.submit(endless)
    assert len(forked()) == 2
    workers.stop()
    assert forked() == []
    assert workers.idle == 2
    workers.submit(quick)
    assert len(workers.wait(WAIT)) == 1


def test_interrupts_are_the_drivers(workers: Workers, endless: Job) -> None:
    """SIGINT, which a terminal sends to every process of its group, leaves a worker at work."""
    workers.submit(endless)
    workers.wait(0.5)
    (pid,) = forked()
    os.kill(pid, signal.SIGINT)
    assert workers.wait(0.5) == []
    assert forked() == [pid]


def test_one_thread_each(workers: Workers, quick: Job) -> None:
    """A worker at work has one thread, in a library that would take every core."""
    workers.submit(replace(quick, family="boosting", params={"max_iter": 10**7}))
    workers.wait(2)
    (pid,) = forked()
    threads = subprocess.run(
        ["ps", "-o", "nlwp=", "-p", str(pid)], capture_output=True, text=True, check=True
    )
    assert int(threads.stdout) == 1


def test_nothing_is_left() -> None:
    """The end of the block ends the fork server too, even one that is still loading."""
    before = set(children(os.getpid()))
    with start_workers(TrainSettings(workers=1)):
        assert len(set(children(os.getpid())) - before) == 1
    assert set(children(os.getpid())) == before


def test_a_server_that_cannot_load(capfd: pytest.CaptureFixture[str]) -> None:
    """A fork server that fails to load says so with its exit code, and its own error on stderr."""
    server = ForkServer("pipelines.sweep.workers:work", ["no_such_module"])
    with pytest.raises(ServiceError, match="exit code 1"):
        server.fork()
    assert "no_such_module" in capfd.readouterr().err


def test_a_driver_that_hangs_up_ends_the_server_quietly() -> None:
    """The server ends without an error: at its first answer, or with that one never read."""
    ours, theirs = socket.socketpair()
    ours.close()
    serve(theirs.detach(), "builtins:print", [])

    ours, theirs = socket.socketpair()

    def hang_up() -> None:
        select.select([ours], [], [])
        ours.close()

    driver = threading.Thread(target=hang_up)
    driver.start()
    serve(theirs.detach(), "builtins:print", [])
    driver.join()
