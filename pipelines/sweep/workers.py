"""Who fits: the executor's contract, and worker processes on this machine that keep it."""

import os
import resource
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from pipelines.models.families import FAMILIES
from pipelines.models.family import Family
from pipelines.sweep.forkserver import ForkServer, without_interrupts
from pipelines.sweep.settings import TrainSettings
from pipelines.sweep.trial import Data, Job, Outcome, load_data, run

GRACE_SECONDS = 2.0
"""How much longer than it may a trial is left alone, to stop by itself."""


@dataclass(frozen=True)
class Lost:
    """A job that nothing came of, and why; ``overtime`` where it was stopped for its length."""

    job: Job
    reason: str
    overtime: bool = False


class Executor(Protocol):
    """Where trials are fitted. Used by one sweep at a time, and by any number after another.

    As a context manager it leaves nothing behind.
    """

    count: int

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    @property
    def idle(self) -> int:
        """How many more jobs can be submitted now."""

    def share(self, folder: Path) -> None:
        """Hand out the rows of a sweep, which `save_data` wrote; before its first job."""

    def submit(self, job: Job) -> None:
        """Give a job to an idle worker; only while `idle` is above 0."""

    def wait(self, timeout: float | None) -> list[Outcome | Lost]:
        """Return what has ended; empty when nothing did within so many seconds."""

    def stop(self) -> None:
        """Stop every job, and forget it; no worker has the sweep's files open any more."""


class Workers:
    """Up to ``count`` processes, started when there is work and replaced when they die.

    Not thread-safe. As a context manager it leaves no process behind.
    """

    def __init__(self, count: int, server: ForkServer) -> None:
        self.count = count
        self._server = server
        self._pids: dict[Connection, int] = {}
        self._busy: dict[Connection, Job] = {}
        self._until: dict[Connection, float] = {}
        self._folder = Path()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with without_interrupts():
            for line in list(self._pids):
                self._discard(line)
        self._server.close()

    @property
    def idle(self) -> int:
        """How many more jobs can be submitted now."""
        return self.count - len(self._busy)

    def share(self, folder: Path) -> None:
        """Name the folder that every worker maps."""
        self._folder = folder

    def submit(self, job: Job) -> None:
        """Give a job to an idle worker; only while `idle` is above 0."""
        line = next((line for line in self._pids if line not in self._busy), None)
        if line is None:
            with without_interrupts():
                line, pid = self._server.fork()
                self._pids[line] = pid
        self._busy[line] = job
        if job.seconds is not None:
            self._until[line] = time.monotonic() + job.seconds + GRACE_SECONDS
        # A worker that died while it was idle shows in `wait`, as one that dies later does.
        with suppress(OSError):
            line.send((self._folder, job))

    def wait(self, timeout: float | None) -> list[Outcome | Lost]:
        """Return what has ended; empty when nothing did within so many seconds."""
        ended: list[Outcome | Lost] = []
        for line in connection.wait(list(self._busy), self._patience(timeout)):
            assert isinstance(line, Connection)
            job = self._busy.pop(line)
            self._until.pop(line, None)
            try:
                ended.append(line.recv())
            except (EOFError, OSError):
                ended.append(Lost(job, _death(self._discard(line))))
        return ended or self._stop_overdue()

    def stop(self) -> None:
        """Kill whoever is at work, which holds nothing worth keeping; the idle ones stay."""
        with without_interrupts():
            for line in list(self._pids):
                if line in self._busy or not _forgets(line):
                    self._discard(line)
            self._busy.clear()
            self._until.clear()

    def _patience(self, timeout: float | None) -> float | None:
        if not self._until:
            return timeout
        left = max(0.0, min(self._until.values()) - time.monotonic())
        return left if timeout is None else min(timeout, left)

    def _stop_overdue(self) -> list[Outcome | Lost]:
        """Kill the workers that did not stop by themselves: deep in a library they cannot."""
        now = time.monotonic()
        stopped: list[Outcome | Lost] = []
        for line in [line for line, until in self._until.items() if until <= now]:
            job = self._busy.pop(line)
            del self._until[line]
            self._discard(line)
            stopped.append(Lost(job, f"stopped: longer than {job.seconds:g} s", overtime=True))
        return stopped

    def _discard(self, line: Connection) -> int | None:
        pid = self._pids.pop(line)
        line.close()
        # It hung up, so it is dead or about to be; make sure before waiting for it.
        os.kill(pid, signal.SIGKILL)
        return self._server.reap(pid)


def start_workers(settings: TrainSettings, families: Mapping[str, Family] = FAMILIES) -> Workers:
    """Begin to load the workers' libraries, on another core, and return at once."""
    modules = ["sklearn.metrics", *(family.module for family in families.values())]
    return Workers(settings.processes, ForkServer(f"{__name__}:work", modules))


def work(line: Connection) -> None:
    """Run jobs until the driver hangs up: the whole life of a worker."""
    load = lru_cache(1)(load_data)
    with suppress(EOFError, OSError):
        while True:
            match line.recv():
                case folder, job:
                    line.send(_run_within(job, load(folder)))
                case None:
                    load.cache_clear()
                    line.send(None)


def _forgets(line: Connection) -> bool:
    """Have an idle worker close the files of a sweep; say whether it is there to do so."""
    with suppress(EOFError, OSError):
        line.send(None)
        return line.poll(GRACE_SECONDS) and line.recv() is None
    return False


def _run_within(job: Job, data: Data) -> Outcome:
    with _memory_limit(job.memory_mb):
        return run(job, data)


@contextmanager
def _memory_limit(memory_mb: int | None) -> Iterator[None]:
    """Make memory beyond so many MiB more than the process has now a MemoryError."""
    if memory_mb is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _death(exit_code: int | None) -> str:
    if exit_code == -signal.SIGKILL:
        return "its worker was killed (signal 9), by a person or for want of memory"
    if exit_code is not None and exit_code < 0:
        return f"its worker was killed by signal {-exit_code}"
    return f"its worker ended with exit code {exit_code}"
