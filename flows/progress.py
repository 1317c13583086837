"""The sweep's progress bar, on stderr."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipelines.sweep.trial import Trial


@contextmanager
def sweep_bar(trials: int) -> Iterator[Callable[[Trial, Trial | None], None]]:
    """Show trials done, the best score so far and the time left.

    Yields
    ------
    callable
        Takes the trial that ended and the best one so far.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("sweep"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=trials)

        def show(trial: Trial, best: Trial | None) -> None:
            said = "" if best is None else f"best {best.score:.4f} ({best.family} {best.number})"
            bar.update(task, advance=1, description=said)

        yield show
