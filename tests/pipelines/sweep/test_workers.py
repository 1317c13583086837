"""pipelines.sweep.workers and its fork server: processes that come, die and go."""

import os
import platform
import resource
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
from pipelines.sweep.trial import Job, Outcome, Point, best_of, save_data
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
    discard(workers)


def discard(workers: Workers) -> None:
    """Leave no worker, not even an idle one."""
    workers.stop()
    for line in list(workers._pids):
        workers._discard(line)


@pytest.fixture
def quick(workers: Workers, tmp_path: Path) -> Job:
    """A trial of a few milliseconds, on rows that the workers have been told of."""
    X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    y = X[:, 0] > 0
    save_data(tmp_path, X_train=X, y_train=y, X_validation=X, y_validation=y)
    workers.share(tmp_path)
    return Job(
        number=0,
        family="linear",
        params={"C": 1.0},
        seed=0,
        rung=0,
        units=60,
        final=True,
        scoring="accuracy",
        patience=1,
        max_epochs=1,
    )


@pytest.fixture
def endless(quick: Job) -> Job:
    """A trial that a test has to stop."""
    return replace(quick, number=1, family="mlp", params={}, units=10**9, patience=10**9)


@pytest.fixture
def deaf(quick: Job) -> Job:
    """A trial that is deep in one call of a library, and hears of no limit."""
    return replace(quick, number=2, family="boosting", params={"max_iter": 10**7}, units=10**7)


def next_ended(workers: Workers) -> Outcome | Lost:
    """Wait for one job."""
    ended: list[Outcome | Lost] = []
    while not ended:
        ended = workers.wait(WAIT)
    (one,) = ended
    return one


def test_an_outcome_comes_back(workers: Workers, quick: Job) -> None:
    """What a worker makes of a job comes back, and the worker is idle again."""
    workers.submit(quick)
    assert workers.idle == 1
    outcome = next_ended(workers)
    assert isinstance(outcome, Outcome)
    assert outcome.state == "FINISHED"
    assert workers.idle == 2


def test_a_worker_serves_again(workers: Workers, quick: Job) -> None:
    """One worker runs one job after another: none is started while one is idle."""
    for _ in range(3):
        workers.submit(quick)
        next_ended(workers)
    assert len(forked()) == 1


def test_other_rows(workers: Workers, quick: Job, tmp_path: Path) -> None:
    """A worker that served one sweep serves the next one, on that one's rows."""
    workers.submit(quick)
    before = next_ended(workers)
    other = tmp_path / "other"
    other.mkdir()
    X = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)
    noise = X[:, 1] > X[:, 2]
    save_data(other, X_train=X, y_train=noise, X_validation=X, y_validation=~noise)
    workers.share(other)
    workers.submit(quick)
    after = next_ended(workers)
    assert isinstance(before, Outcome)
    assert isinstance(after, Outcome)
    assert before.points[0].score > 0.9
    assert after.points[0].score < 0.1
    assert len(forked()) == 1


def test_gone_on_with_elsewhere(workers: Workers, quick: Job) -> None:
    """A trial taken from rung to rung by one process after another is the one of a single job."""
    whole = replace(quick, family="mlp", params={"width": 16}, units=9, patience=99, max_epochs=9)
    workers.submit(whole)
    at_once = next_ended(workers)
    points: list[Point] = []
    checkpoint = None
    seen: set[int] = set()
    for rung, units in enumerate((1, 3, 9)):
        step = replace(whole, rung=rung, units=units, final=units == 9, checkpoint=checkpoint)
        workers.submit(step)
        outcome = next_ended(workers)
        assert isinstance(outcome, Outcome)
        points += outcome.points
        checkpoint = outcome.checkpoint
        seen.update(forked())
        discard(workers)
    assert len(seen) == 3
    assert isinstance(at_once, Outcome)
    assert [p[:3] for p in points] == [p[:3] for p in at_once.points]
    assert checkpoint is not None
    assert at_once.checkpoint is not None
    X = np.random.default_rng(2).normal(size=(20, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        best_of(checkpoint).predict_proba(X), best_of(at_once.checkpoint).predict_proba(X)
    )


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
    lost = next_ended(workers)
    assert isinstance(lost, Lost)
    assert lost.job == endless
    assert not lost.overtime
    assert "killed (signal 9), by a person or for want of memory" in lost.reason
    assert workers.idle == 2
    workers.submit(quick)
    assert isinstance(next_ended(workers), Outcome)


@pytest.mark.parametrize(
    ("end", "said"), [(signal.SIGSEGV, "killed by signal 11"), (signal.SIGABRT, "by signal 6")]
)
def test_other_deaths(workers: Workers, endless: Job, end: int, said: str) -> None:
    """A worker that crashes in a library gives its job back, and says by which signal."""
    workers.submit(endless)
    workers.wait(0.5)
    (pid,) = forked()
    os.kill(pid, end)
    lost = next_ended(workers)
    assert isinstance(lost, Lost)
    assert said in lost.reason


def test_killed_while_idle(workers: Workers, quick: Job) -> None:
    """A worker that died between two jobs gives the second one back."""
    workers.submit(quick)
    next_ended(workers)
    (pid,) = forked()
    os.kill(pid, signal.SIGKILL)
    workers.submit(quick)
    lost = next_ended(workers)
    assert isinstance(lost, Lost)
    assert lost.job == quick


def test_stops_by_itself(workers: Workers, endless: Job) -> None:
    """A trial that can hear of its limit stops by itself, with its points, in a living worker."""
    workers.submit(replace(endless, seconds=0.2))
    outcome = next_ended(workers)
    assert isinstance(outcome, Outcome)
    assert outcome.error == "stopped: longer than 0.2 s"
    assert outcome.points
    assert len(forked()) == 1


def test_stopped_after_grace(
    workers: Workers, deaf: Job, quick: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial deep in one call of a library is killed a little after its time, and its worker."""
    monkeypatch.setattr("pipelines.sweep.workers.GRACE_SECONDS", 0.3)
    late = replace(deaf, seconds=0.2)
    workers.submit(late)
    assert next_ended(workers) == Lost(late, "stopped: longer than 0.2 s", overtime=True)
    assert forked() == []
    assert workers.idle == 2
    workers.submit(quick)
    assert isinstance(next_ended(workers), Outcome)


def test_a_limit_of_memory(workers: Workers, quick: Job) -> None:
    """A trial that wants more memory than it may have fails and says so; its worker lives on.

    The limit is the trial's: the next one, without, is not held to it.
    """
    wide = replace(quick, family="mlp", params={"width": 4_000, "layers": 2}, max_epochs=1, units=1)
    workers.submit(replace(wide, memory_mb=50))
    outcome = next_ended(workers)
    assert isinstance(outcome, Outcome)
    assert outcome.state == "FAILED"
    assert outcome.error.startswith("stopped: more than 50 MiB")
    assert outcome.traceback == ""
    (pid,) = forked()
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert "Max address space         unlimited" in limits
    workers.submit(replace(quick, memory_mb=500))
    fine = next_ended(workers)
    assert isinstance(fine, Outcome)
    assert fine.state == "FINISHED"
    assert forked() == [pid]


def test_stop(workers: Workers, endless: Job, quick: Job) -> None:
    """Stopping kills workers in the middle of a trial at once; others can be started after."""
    workers.submit(endless)
    workers.submit(endless)
    assert len(forked()) == 2
    workers.stop()
    assert forked() == []
    assert workers.idle == 2
    workers.submit(quick)
    assert isinstance(next_ended(workers), Outcome)


def test_idle_ones_stay(workers: Workers, endless: Job, quick: Job, tmp_path: Path) -> None:
    """Who has nothing to do is there for the next sweep, without the files of the last."""
    workers.submit(endless)
    workers.submit(quick)
    assert isinstance(next_ended(workers), Outcome)
    assert len(forked()) == 2
    workers.stop()
    (pid,) = forked()
    assert str(tmp_path) not in Path(f"/proc/{pid}/maps").read_text()
    workers.submit(quick)
    assert isinstance(next_ended(workers), Outcome)
    assert forked() == [pid]
    assert str(tmp_path) in Path(f"/proc/{pid}/maps").read_text()


def test_an_idle_one_that_died_is_replaced(workers: Workers, quick: Job) -> None:
    """The end of a sweep finds it, so that the next one has no loss by it."""
    workers.submit(quick)
    assert isinstance(next_ended(workers), Outcome)
    (pid,) = forked()
    os.kill(pid, signal.SIGKILL)
    workers.stop()
    workers.submit(quick)
    assert isinstance(next_ended(workers), Outcome)
    assert forked() != [pid]


def test_interrupts_are_the_drivers(workers: Workers, endless: Job) -> None:
    """SIGINT, which a terminal sends to every process of its group, leaves a worker at work."""
    workers.submit(endless)
    workers.wait(0.5)
    (pid,) = forked()
    os.kill(pid, signal.SIGINT)
    assert workers.wait(0.5) == []
    assert forked() == [pid]


def test_one_thread_each(workers: Workers, deaf: Job) -> None:
    """A worker at work has one thread, in a library that would take every core."""
    workers.submit(deaf)
    workers.wait(2)
    (pid,) = forked()
    threads = subprocess.run(
        ["ps", "-o", "nlwp=", "-p", str(pid)], capture_output=True, text=True, check=True
    )
    assert int(threads.stdout) == 1


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")
def test_memory_is_used_again(workers: Workers, quick: Job) -> None:
    """A trial of tens of megabytes leaves them to the next, which need not fault them in anew."""
    wide = replace(quick, family="mlp", params={"layers": 2, "width": 1_000}, units=2)
    faults = []
    for number in range(4):
        workers.submit(replace(wide, number=number))
        assert isinstance(next_ended(workers), Outcome)
        (worker,) = workers._pids.values()
        fields = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()
        faults.append(int(fields[7]) * resource.getpagesize() / 2**20)
    assert faults[0] > 30
    assert faults[3] - faults[2] < 5


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
