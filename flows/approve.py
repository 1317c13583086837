"""Let a version serve that waits for a person's answer, or that the gate refused."""

from collections.abc import Sequence

from prefect.client.schemas.objects import State

from checks.result import Report
from flows.answer import Answer, approve_version, signed, wake
from flows.outcome import Model, Outcome
from flows.promotion import sealed_metrics
from flows.session import Session
from flows.stages import conclude, verb


@verb("approve")
def approve(
    project: str = ".",
    overrides: Sequence[str] = (),
    session: Session | None = None,
    version: str = "",
    by: str = "",
    reason: str = "",
) -> State[Outcome]:
    """Approve a version and make it the champion.

    Parameters
    ----------
    project : str
        The project's folder.
    overrides : sequence of str
        Settings, each ``section.key=value``.
    session : Session, optional
        Of the command line.
    version : str
    by, reason : str
        Who approves it, and why: kept for ever.
    """
    signed(by, reason)
    session = session or Session.open(project, overrides)
    name, alias = session.project.model, session.project.deploy.alias
    found = session.tracker.version(name, version)
    with session.run("approve", found.run_id), session.phase("approve"):
        report = Report("approve", tuple(approve_version(session, overrides, version, by, reason)))
        if report.passed:
            session.tracker.set_tags(found.run_id, {"tidegate.deployed": f"{name}/{version}"})
        wake(session, version, Answer(decision="approve", by=by, reason=reason))
        outcome = session.conclude(
            report,
            model=Model(name, version, alias if report.passed else None),
            metrics=sealed_metrics(session, found.run_id),
        )
    return conclude(outcome)
