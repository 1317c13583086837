"""The processes of one contestant: all that its first one has started, however far down."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def processes(session: int) -> Iterator[tuple[int, float]]:
    """Yield id and CPU seconds, reaped children's included, of each process of a session."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name, in brackets, may hold anything.
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                yield int(stat.parent.name), sum(map(int, fields[11:15])) / _TICKS


def cpu_seconds() -> float:
    """Return the CPU seconds of this process's session."""
    return sum(seconds for _, seconds in processes(os.getsid(0)))


def end(session: int) -> None:
    """Kill every process of a session."""
    for pid, _ in processes(session):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
