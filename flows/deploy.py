"""Make the candidate that passed its gate the champion."""

from collections.abc import Sequence

import numpy as np
from prefect.client.schemas.objects import State
from prefect.transactions import Transaction, transaction

from checks.deployment import check_passed_gate
from checks.model import check_answers
from checks.result import CheckResult, Report
from flows.gate import run_to_judge
from flows.outcome import Model, Outcome
from flows.session import Session
from flows.stages import conclude, network_stage, stage, verb
from pipelines.tracking import Promotion


@stage("look up the verdict")
def judge_verdict(session: Session) -> CheckResult:
    """Refuse a candidate whose gate did not pass, or was never asked."""
    return check_passed_gate(session.tracker.run(session.open_run).tags.get("tidegate.verdict"))


@network_stage("register")
def register(session: Session) -> str:
    """Give the candidate a version; the alias still names the old champion."""
    tags = session.tracker.run(session.open_run).tags
    kept = {name: value for name, value in tags.items() if name.startswith("tidegate.")}
    return session.tracker.register(session.open_run, session.project.model, kept)


@network_stage("smoke check")
def smoke(session: Session, reference: str) -> CheckResult:
    """Ask a freshly loaded copy for the answers that the candidate gave when it was logged.

    Parameters
    ----------
    session : Session
    reference : str
        A version or an alias.
    """
    logged = session.tracker.load_version(session.project.model, reference)
    rows = logged.example.head(session.project.deploy.smoke_rows)
    return check_answers(np.asarray(logged.model.predict(rows)), logged.answers[: len(rows)])


@stage("promote")
def promote(session: Session, version: str) -> Promotion:
    """Let the alias name the version."""
    project = session.project
    return session.tracker.promote(
        project.model, version, project.deploy.alias, project.deploy.previous_alias
    )


@promote.on_rollback
def restore(undone: Transaction) -> None:
    """Let the alias name the old champion again."""
    # A transaction copies what it keeps, so the store is opened anew.
    session = Session.open(undone.get("project"), undone.get("overrides"))
    session.tracker.undo(undone.get("promotion"))


class SmokeError(Exception):
    """Raised inside the transaction, so that Prefect rolls the promotion back."""

    def __init__(self, result: CheckResult) -> None:
        super().__init__(result.reason)
        self.result = result


@verb("deploy")
def deploy(
    project: str = ".",
    overrides: Sequence[str] = (),
    session: Session | None = None,
    run_id: str | None = None,
) -> State[Outcome]:
    """Register a candidate, try a fresh copy of it, and make it the champion.

    Parameters
    ----------
    project : str
        The project's folder.
    overrides : sequence of str
        Settings, each ``section.key=value``.
    session : Session, optional
        Of the flow that calls this one.
    run_id : str, optional
        The run that logged the candidate; by default the last one that did.
    """
    session = session or Session.open(project, overrides)
    name, alias = session.project.model, session.project.deploy.alias
    with session.run("deploy", run_to_judge(session, run_id)), session.phase("deploy"):
        checks = [judge_verdict(session)]
        version: str | None = None
        if Report("deploy", tuple(checks)).passed:
            version = register(session)
            checks.append(smoke(session, version))
        if version is not None and Report("deploy", tuple(checks)).passed:
            try:
                with transaction() as moved:
                    moved.set("project", str(session.project.folder))
                    moved.set("overrides", list(overrides))
                    moved.set("promotion", promote(session, version))
                    served = smoke(session, alias)
                    if not Report("deploy", (served,)).passed:
                        raise SmokeError(served)
                checks.append(served)
            except SmokeError as err:
                checks.append(err.result)
        report = Report("deploy", tuple(checks))
        session.tracker.set_tags(
            session.open_run,
            {"tidegate.deployed": f"{name}/{version}" if report.passed else "no"},
        )
        metrics = {}
        for key, value in session.tracker.run(session.open_run).metrics.items():
            if key.startswith("sealed_"):
                metrics[key.removeprefix("sealed_")] = value
        outcome = session.conclude(
            report,
            model=Model(name, version, alias if report.passed else None),
            metrics=metrics,
        )
    return conclude(outcome)
