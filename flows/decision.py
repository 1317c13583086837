"""What a window leads to: decided once, written down, and done."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from prefect.events import emit_event

from checks.policy import Action, Decision, Standing, decide
from checks.result import Report
from flows.retraining import retrain
from flows.session import Session
from flows.stages import network_stage, stage
from pipelines.alerts import Sent, send
from pipelines.ledger import Entry
from pipelines.promotion import reigns
from pipelines.serving.log import log_url
from pipelines.serving.window import labels_since
from pipelines.tracking import Version
from pipelines.windows import WindowRecord, Windows

_TRAINS = (Action.RETRAIN, Action.CHALLENGE)


@network_stage("settle what was cut short")
def settle(session: Session, store: Windows) -> None:
    """Bring to its end what a monitor that was killed had begun; the lease says that it is dead.

    A decision that was kept is in the ledger too. A retraining that was begun is not begun
    again: the next window decides anew.
    """
    ledger = session.tracker.ledger(session.project.model)
    entries = ledger.entries()
    told = _told(entries)
    # Older ones were seen by every monitor since.
    for record in store.records(session.project.model, limit=10):
        if record.decision is not None and record.id not in told:
            _enter(session, record)
    for ticket in open_tickets(entries):
        ledger.append(
            "retrained",
            version=ticket.version,
            reason="cut short; the next window decides anew",
            details={"ticket": ticket.id, "window": ticket.details.get("window"), "verdict": None},
        )


def open_tickets(entries: Sequence[Entry]) -> list[Entry]:
    """Return the retrainings that were begun and not ended."""
    ended = {e.details.get("ticket") for e in entries if e.event == "retrained"}
    return [e for e in entries if e.event == "retraining" and e.id not in ended]


@network_stage("see where the model stands")
def stand(session: Session, champion: Version) -> Standing:
    """Gather what a decision knows beside the findings."""
    project = session.project
    entries = session.tracker.ledger(project.model).entries()
    began = [entry.time for entry in entries if entry.event == "retraining"]
    learned = max([champion.created or datetime.now(UTC), *began])
    return Standing(
        now=datetime.now(UTC),
        champion_since=serving_since(session, champion),
        last_training=max(began, default=None),
        trainings=began,
        running=session.sweeping,
        new_labels=labels_since(
            log_url(project.serve, project.state), name=project.model, since=learned
        ),
    )


def serving_since(session: Session, champion: Version) -> datetime:
    """Return when the champion began to serve."""
    entries = session.tracker.ledger(session.project.model).entries()
    own = [
        r for r in reigns(entries, session.project.deploy.alias) if r.version == champion.version
    ]
    return own[-1].since if own else champion.created or datetime.now(UTC)


@stage("decide")
def decide_on(session: Session, reports: Mapping[str, Report], standing: Standing) -> Decision:
    """Hand the reports and the standing to the policy."""
    return decide(reports, standing, session.project.monitor.policy)


@network_stage("record the window")
def record(session: Session, store: Windows, found: WindowRecord) -> bool:
    """Keep a window and its decision; say whether it was new, so that nothing is done twice."""
    is_new = store.add(found)
    if not is_new and not _own(store, found):
        return False
    ledger = session.tracker.ledger(session.project.model)
    if found.decision is not None and (is_new or found.id not in _told(ledger.entries())):
        _enter(session, found)
    return True


def _own(store: Windows, found: WindowRecord) -> bool:
    """Say whether this run kept the window, in a try that failed before the ledger had it."""
    kept = {each.id: each.run_id for each in store.records(found.model, found.version)}
    return found.run_id is not None and kept.get(found.id) == found.run_id


def _told(entries: Sequence[Entry]) -> set[Any]:
    """Return the windows whose decision is in the ledger."""
    return {entry.details.get("window") for entry in entries if entry.event == "decision"}


def _enter(session: Session, found: WindowRecord) -> None:
    assert found.decision is not None
    reasons = found.decision["reasons"]
    session.tracker.ledger(session.project.model).append(
        "decision",
        version=found.version,
        reason=" ".join(reason["text"] for reason in reasons),
        details={
            "window": found.id,
            "since": found.since.isoformat(timespec="seconds"),
            "until": found.until.isoformat(timespec="seconds"),
            "rows": found.rows,
            "action": found.decision["action"],
            "codes": [reason["code"] for reason in reasons],
            "run_id": found.run_id,
        },
    )


@stage("tell")
def tell(
    session: Session, store: Windows, found: WindowRecord, reports: Sequence[Report]
) -> list[Sent]:
    """Tell whoever is to be told: Prefect always, the addresses of `[monitor.alerts]` once."""
    assert found.decision is not None
    project, action = session.project, found.decision["action"]
    findings = [check.id for report in reports for check in report.refusals]
    lines = [reason["text"] for reason in found.decision["reasons"]]
    payload = {
        "model": project.model,
        "version": found.version,
        "window": {
            "id": found.id,
            "since": found.since.isoformat(),
            "until": found.until.isoformat(),
            "rows": found.rows,
            "labelled": found.labelled,
        },
        "decision": dict(found.decision),
        "findings": findings,
        "run_id": found.run_id,
    }
    # A decision that nobody hears of by this way is in the ledger all the same.
    with suppress(Exception):
        emit_event(
            event=f"tidegate.decision.{action}",
            resource={
                "prefect.resource.id": f"tidegate.model.{project.model}",
                "prefect.resource.name": project.model,
            },
            payload=payload,
        )
    if action == Action.NOTHING:
        return []
    alerts = project.monitor.alerts
    return send(
        store,
        urls=alerts.urls,
        title=f"{project.model} version {found.version}: {action}",
        text="\n".join(lines),
        link=_link(session, found),
        key=f"{project.model}|{found.version}|{action}|{','.join(sorted(findings))}",
        payload=payload,
        repeat_hours=alerts.repeat_hours,
    )


def _link(session: Session, found: WindowRecord) -> str | None:
    base = session.project.monitor.alerts.link
    if base is None or found.run_id is None:
        return None
    return f"{base.rstrip('/')}/#/experiments/{session.tracker.experiment_id}/runs/{found.run_id}"


def follow(
    session: Session, overrides: Sequence[str], found: WindowRecord
) -> Mapping[str, object] | None:
    """Train anew where that was decided; return what came of it."""
    assert found.decision is not None
    action = Action(found.decision["action"])
    if action not in _TRAINS:
        return None
    return retrain(session, overrides, found, promotes=action is Action.RETRAIN)
