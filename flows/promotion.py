"""What deploy, approve and rollback share: try a copy, move the alias, try what serves."""

from collections.abc import Sequence

import numpy as np
from prefect.transactions import Transaction, transaction

from checks.deployment import check_champion_unchanged, check_checksum
from checks.model.fresh import check_answers
from checks.result import CheckResult, Report
from flows.session import Session
from flows.stages import network_stage, stage
from pipelines.promotion import MoveEvent, Promotion, promised, undo
from pipelines.promotion import promote as move


@network_stage("checksum")
def judge_checksum(session: Session, version: str) -> CheckResult:
    """Compare the model's file with what was judged, by the ledger: a tag can be set by hand."""
    tracker, project = session.tracker, session.project
    entries = tracker.ledger(project.model).entries()
    recorded = promised(entries, project.deploy.alias, version)
    return check_checksum(tracker.checksum(project.model, version), recorded)


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
def promote(
    session: Session,
    version: str,
    expected: str | None,
    event: MoveEvent,
    who: str | None,
    reason: str,
) -> Promotion:
    """Let the alias name the version, if it still names the one expected."""
    project = session.project
    return move(
        session.tracker,
        session.tracker.ledger(project.model),
        version,
        expected=expected,
        alias=project.deploy.alias,
        previous_alias=project.deploy.previous_alias,
        event=event,
        who=who,
        reason=reason,
    )


@promote.on_rollback
def restore(undone: Transaction) -> None:
    """Let the alias name the old champion again."""
    promotion = undone.get("promotion")
    if promotion.moved:
        # A transaction copies what it keeps, so the store is opened anew.
        session = Session.open(undone.get("project"), undone.get("overrides"))
        ledger = session.tracker.ledger(session.project.model)
        undo(session.tracker, ledger, promotion, reason="the served copy answered otherwise")


class SmokeError(Exception):
    """Raised inside the transaction, so that Prefect rolls the promotion back."""

    def __init__(self, result: CheckResult) -> None:
        super().__init__(result.reason)
        self.result = result


def judge_copy(session: Session, version: str) -> list[CheckResult]:
    """Judge the registered bytes, and a copy loaded from them, before anything moves."""
    checks = [judge_checksum(session, version)]
    if passed(checks):
        # What is not what was registered is not loaded.
        checks.append(smoke(session, version))
    return checks


def install(
    session: Session,
    overrides: Sequence[str],
    version: str,
    expected: str | None,
    *,
    event: MoveEvent = "promoted",
    who: str | None = None,
    reason: str = "",
) -> list[CheckResult]:
    """Make a version the champion and try what is served; undone when it answers otherwise.

    Parameters
    ----------
    session : Session
    overrides : sequence of str
        Settings of the command.
    version : str
    expected : str or None
        The champion that it may replace; None for none.
    event : str
        What to call the move in the ledger.
    who, reason : str
        Of the person who wanted it.
    """
    checks: list[CheckResult] = []
    try:
        with transaction() as moved:
            moved.set("project", str(session.project.folder))
            moved.set("overrides", list(overrides))
            promotion = promote(session, version, expected, event, who, reason)
            moved.set("promotion", promotion)
            checks.append(
                check_champion_unchanged(version, expected, promotion.found, promotion.rival)
            )
            if passed(checks):
                served = smoke(session, session.project.deploy.alias)
                if not passed([served]):
                    raise SmokeError(served)
                checks.append(served)
    except SmokeError as err:
        checks.append(err.result)
    return checks


def passed(checks: Sequence[CheckResult]) -> bool:
    """Whether what was judged so far lets the flow go on."""
    return Report("deploy", tuple(checks)).passed


def sealed_metrics(session: Session, run_id: str) -> dict[str, float]:
    """Return what the gate measured, by the scorers' names."""
    return {
        key.removeprefix("sealed_"): value
        for key, value in session.tracker.run(run_id).metrics.items()
        if key.startswith("sealed_")
    }
