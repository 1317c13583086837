"""Training anew, on what was learned from before and what was labelled since."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from flows.answer import wait_for_answer
from flows.deploy import deploy
from flows.gate import gate
from flows.outcome import Outcome
from flows.project import Project
from flows.session import Session
from flows.stages import call, network_stage, stage
from flows.train import train
from flows.validate import validate
from pipelines.contract import narrowed, read_contract, write_contract
from pipelines.errors import TidegateError
from pipelines.retraining import write_table
from pipelines.serving.log import archive_folder, log_url
from pipelines.serving.window import read_window
from pipelines.windows import WindowRecord


@stage("make the table")
def widen(session: Session, columns: Sequence[str]) -> Project:
    """Return the project with the labelled rows of its log below its table."""
    project = session.project
    window = read_window(
        log_url(project.serve, project.state),
        name=project.model,
        archive=archive_folder(project.serve, project.state),
    )
    if not window.labelled.any():
        return project
    folder = project.state / "retraining"
    data = write_table(session.dataset, window, folder / "table.parquet", columns=columns)
    kept = [*columns, data.target, *(c for c in (data.time, data.id, data.group) if c)]
    contract = folder / "contract.json"
    write_contract(contract, narrowed(read_contract(project.contract), kept))
    return replace(
        project,
        data=data,
        validate=project.validate.model_copy(update={"contract": str(contract)}),
    )


@network_stage("take the ticket")
def take_ticket(session: Session, found: WindowRecord, *, promotes: bool) -> str:
    """Write down that it is trained anew, and for which window."""
    entry = session.tracker.ledger(session.project.model).append(
        "retraining",
        version=found.version,
        reason="" if promotes else "as a challenger: nothing is promoted",
        details={"window": found.id, "promotes": promotes},
    )
    return entry.id


@network_stage("hand the ticket back")
def return_ticket(
    session: Session,
    ticket: str,
    found: WindowRecord,
    version: str | None,
    said: Mapping[str, object],
) -> None:
    """Write down what came of it."""
    session.tracker.ledger(session.project.model).append(
        "retrained",
        version=version,
        reason=str(said["reason"]),
        details={"ticket": ticket, "window": found.id, **said},
    )


def retrain(
    session: Session, overrides: Sequence[str], found: WindowRecord, *, promotes: bool
) -> dict[str, object]:
    """Validate, train and gate on the wider table; deploy, or let the new version wait.

    Parameters
    ----------
    session : Session
        Of the monitor.
    overrides : sequence of str
        Settings of the command.
    found : WindowRecord
        That led to it.
    promotes : bool
        Whether a version that passes its gate is deployed. Else it waits as the challenger, for
        a person's answer.

    Returns
    -------
    dict
        ``verdict``, ``reason``, ``version``, ``run_id``, ``promoted``.
    """
    ticket = take_ticket(session, found, promotes=promotes)
    version: str | None = None
    said: dict[str, object] = {"verdict": "error", "reason": "", "run_id": None, "promoted": False}
    try:
        columns = session.tracker.load_version(session.project.model, found.version).roles.columns
        with session.phase("retrain"):
            outcome, version = _run(Session(widen(session, columns)), overrides, promotes=promotes)
        said |= {
            "verdict": str(outcome.verdict),
            "reason": "; ".join(outcome.reasons),
            "run_id": outcome.run_id,
            "promoted": promotes and outcome.passed,
        }
    except TidegateError as err:
        said["reason"] = f"{err.rule} {err.found}"
        raise
    finally:
        return_ticket(session, ticket, found, version, said)
    return {**said, "version": version}


def _run(
    session: Session, overrides: Sequence[str], *, promotes: bool
) -> tuple[Outcome, str | None]:
    version: str | None = None
    with session.run("run"):
        for step in (validate, train, gate, *((deploy,) if promotes else ())):
            outcome = call(step, session, overrides)
            if outcome.model is not None and outcome.model.version is not None:
                version = outcome.model.version
            if not outcome.passed:
                break
        if outcome.passed and not promotes and version is not None:
            wait_for_answer(session, version)
    return outcome, version
