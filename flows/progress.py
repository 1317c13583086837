"""How far the work is: a bar on stderr for who waits, an artifact for who looks at Prefect."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext
from rich.console import Console
from rich.progress import (
    BarColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bar,
)

from pipelines.sweep.search import Progress

ARTIFACT_SECONDS = 2.0
"""Each look costs the driver a request; nobody reads faster."""

Show = Callable[[Progress], None]


def said(progress: Progress) -> str:
    """Say how far a sweep is: trials, jobs by the rung that they reached, the best score."""
    rungs = "/".join(str(done) for done in progress.rungs)
    best = progress.best
    return f"{progress.proposed}/{progress.trials} trials, rungs {rungs}" + (
        f", best {best.score:.4f} ({best.family} {best.number})" if best else ""
    )


@contextmanager
def sweep_bar(trials: int) -> Iterator[Show]:
    """Show trials, rungs, the best score so far and the time left, on stderr."""
    columns = (
        TextColumn("sweep"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(f"0/{trials} trials", total=1.0)

        def show(progress: Progress) -> None:
            bar.update(task, completed=progress.done, description=said(progress))

        yield show
        bar.update(task, completed=1.0)


@contextmanager
def rows_bar(total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of the rows are scored and the time left, on stderr."""
    columns = (
        TextColumn("predict"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} rows"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total)
        yield lambda rows: bar.advance(task, rows)


@contextmanager
def sweep_artifact() -> Iterator[Show]:
    """Keep a progress artifact of the task that runs, where one runs."""
    if TaskRunContext.get() is None:
        yield lambda progress: None
        return
    artifact = cast(
        "UUID", create_progress_artifact(0.0, key="sweep", description="The sweep begins.")
    )
    shown = time.monotonic()
    last: Progress | None = None

    def show(progress: Progress) -> None:
        nonlocal shown, last
        last = progress
        if time.monotonic() - shown > ARTIFACT_SECONDS:
            shown = time.monotonic()
            update_progress_artifact(artifact, 100 * progress.done, description=said(progress))

    yield show
    if last is not None:
        update_progress_artifact(artifact, 100.0, description=said(last))
