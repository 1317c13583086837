"""Two processes that a rival shares its search between, forked once its libraries are loaded."""

from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from sweep.contest import WORKERS, Task

Steps = Callable[[int], tuple[Callable[[Task], None], Callable[[Task], None]]]
"""Given a worker's place, returns its own prepare and search."""


class Pair:
    """Workers that all prepare, then all search, when told to."""

    def __init__(self, steps: Steps) -> None:
        context = get_context("fork")
        self._lines: list[Connection] = []
        for place in range(WORKERS):
            ours, theirs = context.Pipe()
            context.Process(target=_live, args=(theirs, steps, place), daemon=True).start()
            self._lines.append(ours)

    def tell(self, step: str, task: Task) -> None:
        """Let every worker do a step, and return when the last has done it."""
        for line in self._lines:
            line.send((step, task))
        for line in self._lines:
            said = line.recv()
            if said is not None:
                raise RuntimeError(said)

    def close(self) -> None:
        """End the workers."""
        for line in self._lines:
            line.send(None)


def _live(line: Connection, steps: Steps, place: int) -> None:
    import traceback

    prepare, search = steps(place)
    while (told := line.recv()) is not None:
        step, task = told
        said: Any = None
        try:
            (prepare if step == "prepare" else search)(task)
        except Exception:
            said = traceback.format_exc()
        line.send(said)
