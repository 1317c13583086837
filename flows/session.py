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
from pipelines.errors import ProjectError, ServiceError

if TYPE_CHECKING:
    from checks.result import Report
    from pipelines.data import Dataset
    from pipelines.models.families import Families
    from pipelines.sweep.workers import Executor
    from pipelines.tracking import Tracker


PAGE = "monitoring.html"
"""The page of a project's windows, in its state folder."""


class Session:
    """The shared part of one command.

    The data is read once, so what was validated is what is trained on; the run is opened
    by the first flow that needs one and closed by the same flow.

    Parameters
    ----------
    project : Project
    executor : Executor, optional
        Started early by the command line, so that they get ready beside the imports.
    """

    # With slots Prefect leaves it whole when it looks through a flow's parameters.
    __slots__ = (
        "_dataset",
        "_families",
        "_tracker",
        "executor",
        "judged",
        "project",
        "reports",
        "run_id",
        "seconds",
    )

    def __init__(self, project: Project, *, executor: "Executor | None" = None) -> None:
        self.project = project
        self.executor = executor
        self.run_id: str | None = None
        self.seconds: dict[str, float] = {}
        self.reports: dict[str, str] = {}
        self.judged: list[Report] = []
        self._dataset: Dataset | None = None
        self._families: Families | None = None
        self._tracker: Tracker | None = None

    @classmethod
    def open(cls, project: str, overrides: Iterable[str]) -> Self:
        """Load the project and start a session on it."""
        return cls(Project.load(project, overrides))

    @property
    def families(self) -> "Families":
        """The families of models that the project may try; its file is read at the first use."""
        if self._families is None:
            from pipelines.models.families import Families

            train = self.project.train
            file = train.families_file and self.project.folder / train.families_file
            self._families = Families.of(train.models, file or None)
        return self._families

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
    def run(self, verb: str, run_id: str | None = None, *, resume: bool = False) -> Iterator[str]:
        """Give the block an MLflow run: the session's own, a named one, or a new one.

        A run that this block opened is closed by it: FINISHED, FAILED on an exception,
        KILLED on Ctrl-C. A named one keeps the state that it had. With ``resume`` the run of
        the last sweep that was cut short is opened again.

        Raises
        ------
        ProjectError
            There is no sweep to go on with.
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
        if resume:
            self.run_id = self._unfinished_sweep()
            self.tracker.reopen(self.run_id)
        else:
            self.run_id = self._start(verb)
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

    def _start(self, verb: str) -> str:
        name = f"{verb} {self.project.data_name} {time.strftime('%Y-%m-%d %H:%M:%S')}"
        return self.tracker.start(name, tags={"tidegate.verb": verb})

    @property
    def sweep_folder(self) -> Path:
        """Where the sweep of the open run is written down, to go on from there."""
        return self._sweeps / self.open_run

    @property
    def _sweeps(self) -> Path:
        return self.project.state / "sweeps"

    @property
    def sweeping(self) -> bool:
        """Whether a process of this machine is at a sweep of the project right now."""
        from pipelines.sweep.journal import in_use

        return any(in_use(file.parent) for file in self._sweeps.glob("*/journal.jsonl"))

    def _unfinished_sweep(self) -> str:
        """Return the run of the sweep that was written to last, but for those that go on now."""
        from pipelines.sweep.journal import in_use

        journals = sorted(self._sweeps.glob("*/journal.jsonl"), key=lambda f: f.stat().st_mtime)
        cut_short = [file for file in journals if not in_use(file.parent)]
        if not cut_short:
            going = f", and {len(journals)} that another process is at" if journals else ""
            raise ProjectError(
                "A sweep that was cut short can be gone on with.",
                found=f"none in {self._sweeps}{going}",
                next_move="wait until it has ended" if going else "start one with `tidegate train`",
            )
        return cut_short[-1].parent.name

    def _close(self, run_id: str, status: Literal["FAILED", "KILLED"]) -> None:
        try:
            self.tracker.finish(run_id, status)
        except ServiceError as err:
            # The first error is the one to show; this one says why the run stays open.
            current = sys.exception()
            if current is not None:
                current.add_note(f"the MLflow run {run_id} could not be closed whole: {err}")

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

    def keep_here(self, name: str, content: str | bytes) -> str:
        """Keep what is of all runs in the state folder; return its path."""
        path = self.project.state / name
        _write(path, content)
        return str(path)

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
