"""The whole loop: validate, train, gate, deploy, each only if the one before passed."""

from collections.abc import Sequence

from prefect.client.schemas.objects import State

from flows.deploy import deploy
from flows.gate import gate
from flows.outcome import Outcome
from flows.session import Session
from flows.stages import call, conclude, verb
from flows.train import train
from flows.validate import validate


@verb("run")
def run(
    project: str = ".",
    overrides: Sequence[str] = (),
    session: Session | None = None,
    resume: bool = False,
) -> State[Outcome]:
    """Take the project's table to a champion, or say where it stopped and why.

    Parameters
    ----------
    project : str
        The project's folder.
    overrides : sequence of str
        Settings, each ``section.key=value``.
    session : Session, optional
        Of the command line.
    resume : bool
        Go on with the last sweep that was cut short.
    """
    session = session or Session.open(project, overrides)
    with session.run("run", resume=resume):
        for step in (validate, train, gate, deploy):
            outcome = call(step, session, overrides)
            if not outcome.passed:
                break
    return conclude(outcome)
