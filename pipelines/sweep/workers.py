"""Worker processes: one trial at a time each."""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from pipelines.models.families import FAMILIES
from pipelines.sweep.forkserver import ForkServer, without_interrupts
from pipelines.sweep.settings import TrainSettings
from pipelines.sweep.trial import Job, Outcome, run


@dataclass(frozen=True)
class Lost:
    """A job whose worker died, and the exit code: minus the signal's number if one killed it."""

    job: Job
    exit_code: int | None


class Workers:
    """Up to ``count`` processes, started when there is work and replaced when they die.

    Not thread-safe; used by one sweep at a time, and by any number one after another. As a
    context manager it leaves no process behind.
    """

    def __init__(self, count: int, server: ForkServer) -> None:
        self.count = count
        self._server = server
        self._pids: dict[Connection, int] = {}
        self._busy: dict[Connection, Job] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self._server.close()

    @property
    def idle(self) -> int:
        """How many more jobs can be submitted now."""
        return self.count - len(self._busy)

    def submit(self, job: Job) -> None:
        """Give a job to an idle worker; only while `idle` is above 0."""
        line = next((line for line in self._pids if line not in self._busy), None)
        if line is None:
            with without_interrupts():
                line, pid = self._server.fork()
                self._pids[line] = pid
        self._busy[line] = job
        # A worker that died while it was idle shows in `wait`, as one that dies later does.
        with suppress(OSError):
            line.send(job)

    def wait(self, timeout: float | None) -> list[Outcome | Lost]:
        """Return what has ended; empty when nothing did within so many seconds."""
        ended: list[Outcome | Lost] = []
        for line in connection.wait(list(self._busy), timeout):
            assert isinstance(line, Connection)
            job = self._busy.pop(line)
            try:
                ended.append(line.recv())
            except (EOFError, OSError):
                ended.append(Lost(job, self._discard(line)))
        return ended

    def stop(self) -> None:
        """Kill every worker, whatever it is doing: none holds anything worth keeping."""
        with without_interrupts():
            for pid in self._pids.values():
                os.kill(pid, signal.SIGKILL)
            for line in list(self._pids):
                self._discard(line)
            self._busy.clear()

    def _discard(self, line: Connection) -> int | None:
        pid = self._pids.pop(line)
        line.close()
        # It hung up, so it is dead or about to be; make sure before waiting for it.
        os.kill(pid, signal.SIGKILL)
        return self._server.reap(pid)


def start_workers(settings: TrainSettings) -> Workers:
    """Begin to load the workers' libraries, on another core, and return at once."""
    modules = ["sklearn.metrics", *(FAMILIES[name].module for name in settings.families)]
    return Workers(settings.processes, ForkServer(f"{__name__}:work", modules))


def work(line: Connection) -> None:
    """Run jobs until the driver hangs up: the whole life of a worker."""
    with suppress(EOFError, OSError):
        while True:
            line.send(run(line.recv()))
