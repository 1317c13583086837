"""Refuse a version that waits for a person's answer."""

from collections.abc import Sequence

from prefect.client.schemas.objects import State

from checks.result import Report
from flows.answer import Answer, reject_version, signed, wake
from flows.outcome import Model, Outcome
from flows.session import Session
from flows.stages import conclude, verb


@verb("reject")
def reject(
    project: str = ".",
    overrides: Sequence[str] = (),
    session: Session | None = None,
    version: str = "",
    by: str = "",
    reason: str = "",
) -> State[Outcome]:
    """Reject a version; the champion stays.

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
        Who rejects it, and why: kept for ever.
    """
    signed(by, reason)
    session = session or Session.open(project, overrides)
    name = session.project.model
    found = session.tracker.version(name, version)
    with session.run("reject", found.run_id), session.phase("reject"):
        late = reject_version(session, version, by, reason)
        wake(session, version, Answer(decision="reject", by=by, reason=reason))
        report = None if late is None else Report("reject", (late,))
        outcome = session.conclude(report, model=Model(name, version))
    return conclude(outcome)
