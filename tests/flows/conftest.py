"""A registry with judged candidates, without a sweep."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.project import Project
from pipelines.tracking import Tracker


@dataclass(frozen=True)
class Judged:
    """A candidate with a version and a verdict."""

    run_id: str
    version: str


@dataclass(frozen=True)
class Registry:
    """A small project and what its registry holds."""

    folder: Path

    def judged(
        self, verdict: str = "passed", settings: Sequence[str] = (), *, contrary: bool = False
    ) -> Judged:
        """Register a candidate of this verdict by these settings, without a sweep.

        A contrary one has learned to say the other class of each row.

        What the gate does after its judgement is done by the gate's own functions.
        """
        import numpy as np
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import Pipeline

        from checks.result import CheckResult, Report, Status
        from flows.gate import name_champion, record_verdict, register
        from flows.session import Session
        from pipelines.features import conform, labels, preprocessor, roles_of
        from pipelines.learned import learned_of

        session = Session(Project.load(self.folder, settings))
        data = session.project.data
        rows = session.dataset.frame.head(200)
        roles = roles_of(rows, data)
        frame = conform(rows, roles)
        model = Pipeline([("preprocess", preprocessor(roles)), ("model", LogisticRegression())])
        target = labels(rows[data.target])
        if contrary:
            first, second = sorted(set(target))
            target = np.where(target == first, second, first)
        model.fit(frame, target)
        with session.run("train") as run_id:
            session.tracker.log_candidate(
                run_id,
                model,
                example=frame.head(20),
                predictions=model.predict(frame.head(20)),
                reference=rows,
                learned=learned_of(rows, data, roles),
            )
            check = CheckResult("accuracy", "It is good", Status(verdict), reason="measured.")
            report = Report("gate", (check,))
            session.tracker.set_tags(
                run_id, {"tidegate.stage": "trained", "tidegate.verdict": str(report.verdict)}
            )
            champion = name_champion.fn(session)
            version = register.fn(session, champion)
            record_verdict.fn(session, report, version, champion, "f" * 64, 1)
        return Judged(run_id, version)

    @property
    def tracker(self) -> Tracker:
        """The project's store."""
        project = Project.load(self.folder)
        return Tracker.open(project.tracking, project.folder, experiment=project.model)

    @property
    def aliases(self) -> dict[str, str]:
        """Which version each alias names."""
        return self.tracker.aliases("flights")

    def events(self, version: str) -> list[str]:
        """Return what happened to a version, oldest first."""
        entries = self.tracker.ledger("flights").entries()
        return [entry.event for entry in entries if entry.version == version]

    def model_file(self, judged: Judged) -> Path:
        """Return the file that a version's checksum is of."""
        model_id = self.tracker.run(judged.run_id).tags["tidegate.candidate"]
        (file,) = (self.folder / ".tidegate").rglob(f"{model_id}/**/model.skops")
        return file


@dataclass(frozen=True)
class Served:
    """A project whose first champion serves, and the document of the run that made it."""

    folder: Path
    document: dict[str, Any]


@pytest.fixture(scope="session")
def once() -> list[Served]:
    """Hold what `served` made, so that it is made once."""
    return []


@pytest.fixture
def served(
    once: list[Served], tidegate: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Served:
    """Run the small project once for all tests that need a champion; they leave it in place."""
    if not once:
        source = Path(__file__).parents[1] / "projects" / "flights"
        folder = Path(shutil.copytree(source, tmp_path_factory.mktemp("served") / "flights"))
        ended = tidegate("run", "--project", folder, "--json")
        assert ended.code == 0, ended.document["reasons"]
        once.append(Served(folder, ended.document))
    return once[0]


@pytest.fixture
def registry(project: Callable[[str], Path]) -> Registry:
    """The project of tests/projects, where nothing was trained yet."""
    return Registry(project("flights"))
