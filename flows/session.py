"""What the flows of one command share: the project, its data, its MLflow run."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from checks.result import Status
from flows.outcome import Model, Outcome
from flows.project import Project
from pipelines.errors import ServiceError

if TYPE_CHECKING:
    from checks.result import Report
    from pipelines.data import Dataset
    from pipelines.sweep.workers import Workers
    from pipelines.tracking import Tracker


class Session:
    """The shared part of one command.

    The data is read once, so what was validated is what is trained on; the run is opened
    by the first flow that needs one and closed by the same flow.

    Parameters
    ----------
    project : Project
    workers : Workers, optional
        Started early by the command line, so that they get ready beside the imports.
    """

    # With slots Prefect leaves it whole when it looks through a flow's parameters.
    __slots__ = (
        "_dataset",
        "_tracker",
        "judged",
        "project",
        "reports",
        "run_id",
        "seconds",
        "workers",
    )

    def __init__(self, project: Project, *, workers: "Workers | None" = None) -> None:
        self.project = project
        self.workers = workers
        self.run_id: str | None = None
        self.seconds: dict[str, float] = {}
        self.reports: dict[str, str] = {}
        self.judged: list[Report] = []
        self._dataset: Dataset | None = None
        self._tracker: Tracker | None = None

    @classmethod
    def open(cls, project: str, overrides: Iterable[str]) -> Self:
        """Load the project and start a session on it."""
        return cls(Project.load(project, overrides))

    @property
    def dataset(self) -> "Dataset":
        """The project's table, read at the first use."""
        if self._dataset is None:
            from pipelines.data import read

            self._dataset = read(self.project.data, self.project.folder)
        return self._dataset

    @property
    def tracker(self) -> "Tracker":
        """The MLflow store, opened at the first use."""
        if self._tracker is None:
            from pipelines.tracking import Tracker

            self._tracker = Tracker.open(
                self.project.tracking, self.project.folder, experiment=self.project.model
            )
        return self._tracker

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's wall clock to ``seconds[name]``."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    @contextmanager
    def run(self, verb: str, run_id: str | None = None) -> Iterator[str]:
        """Give the block an MLflow run: the session's own, a named one, or a new one.

        A run that this block opened is closed by it: FINISHED, FAILED on an exception,
        KILLED on Ctrl-C. A named one keeps the state that it had.
        """
        if self.run_id is not None:
            yield self.run_id
            return
        if run_id is not None:
            self.run_id = run_id
            try:
                yield run_id
            finally:
                self.run_id = None
            return
        name = f"{verb} {self.project.data_name} {time.strftime('%Y-%m-%d %H:%M:%S')}"
        self.run_id = self.tracker.start(name, tags={"tidegate.verb": verb})
        try:
            yield self.run_id
        except Exception:
            self._close(self.run_id, "FAILED")
            raise
        except BaseException:
            # Ctrl-C, or the signal that Prefect makes of SIGTERM.
            self._close(self.run_id, "KILLED")
            raise
        else:
            self.tracker.finish(self.run_id, "FINISHED")
        finally:
            self.run_id = None

    def _close(self, run_id: str, status: Literal["FAILED", "KILLED"]) -> None:
        try:
            self.tracker.finish(run_id, status)
        except ServiceError as err:
            # The first error is the one to show; this one says why the run stays open.
            current = sys.exception()
            if current is not None:
                current.add_note(f"the MLflow run {run_id} could not be closed: {err}")

    @property
    def open_run(self) -> str:
        """The id of the run that this session has open."""
        if self.run_id is None:
            raise RuntimeError("no run is open: use the session's run()")
        return self.run_id

    def keep(self, pages: Mapping[str, str | bytes], *, under: str) -> dict[str, str]:
        """Keep reports with the run and on this machine; return their paths here.

        Parameters
        ----------
        pages : mapping
            File name to content.
        under : str
            The folder, in the run's artifacts and below the state folder.
        """
        folder = self.project.state / "reports" / self.open_run / under
        paths: dict[str, str] = {}
        for name, content in pages.items():
            path = folder / name
            _write(path, content)
            paths[name] = str(path)
        self.tracker.log_files(self.open_run, {f"{under}/{n}": c for n, c in pages.items()})
        return paths

    def conclude(
        self,
        report: "Report | None",
        *,
        model: Model | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> Outcome:
        """Make the outcome of a flow that ended here; without a report it passed."""
        if report is not None:
            self.judged.append(report)
        return Outcome(
            verdict=report.verdict if report is not None else Status.PASSED,
            reasons=report.reasons if report is not None else (),
            run_id=self.run_id,
            tracking_uri=self.tracker.uri,
            model=model,
            metrics=dict(metrics or {}),
            seconds=dict(self.seconds),
            reports=dict(self.reports),
            judged=tuple(self.judged),
        )


def _write(path: Path, content: str | bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as err:
        raise ServiceError(
            "Reports are kept in the project's state folder.",
            found=f"{path}: {err.strerror}",
            next_move="free some space or make it writable, or set tracking.folder elsewhere",
        ) from err
