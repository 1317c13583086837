"""Which version served when, why, and who had a hand in it?"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from datetime import time as clock
from typing import Any

from flows.project import Project
from pipelines.approval import question
from pipelines.errors import InputError
from pipelines.ledger import Entry
from pipelines.promotion import Reign, reigns, settle
from pipelines.tracking import Tracker


def history(project: Project, at: str | None = None) -> dict[str, Any]:
    """Return the ledger, or what served at a time.

    Parameters
    ----------
    project : Project
    at : str, optional
        An ISO date, which means the end of that day, or a date and time; UTC unless it says
        otherwise.

    Returns
    -------
    dict
        JSON-able: ``model``, ``intact``, and either ``entries``, newest first, or ``at`` and
        ``served``, which is None where nothing served then.

    Raises
    ------
    InputError
        ``at`` is no date.
    """
    when = None if at is None else _instant(at)
    tracker = Tracker.open(project.tracking, project.folder, experiment=project.model)
    ledger = tracker.ledger(project.model)
    settle(tracker, ledger)
    entries = ledger.entries()
    found: dict[str, Any] = {"model": project.model, "intact": ledger.intact()}
    if when is None:
        return found | {"entries": [_line(entry) for entry in reversed(entries)]}
    served = [r for r in reigns(entries, project.deploy.alias) if r.since <= when]
    answer = _served(served[-1], entries) if served and served[-1].version else None
    return found | {"at": when.isoformat(), "served": answer}


def _served(reign: Reign, entries: Sequence[Entry]) -> dict[str, Any]:
    """Say why a version served: what the gate found, who answered, which data and code."""
    # In the ledger's order: a clock may be set back.
    earlier = entries[: list(entries).index(reign.entry)]
    asked = question(earlier, reign.version or "")
    verdict, answer = asked.verdict, asked.answer
    said = {} if verdict is None else verdict.details
    return {
        "version": reign.version,
        "since": reign.since.isoformat(timespec="seconds"),
        "event": reign.entry.event,
        "who": reign.entry.who,
        "reason": reign.entry.reason,
        "replaced": reign.entry.details.get("from"),
        "verdict": said.get("verdict"),
        "rules": said.get("rules"),
        "refused_by": said.get("refused_by"),
        "answer": None if answer is None else _line(answer),
        "data": said.get("data"),
        "sealed": said.get("sealed"),
        "commit": said.get("commit"),
        "tidegate": said.get("tidegate"),
        "run_id": said.get("run_id"),
    }


def _line(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "time": entry.time.isoformat(timespec="seconds"),
        "event": entry.event,
        "version": entry.version,
        "who": entry.who,
        "reason": entry.reason,
        "details": dict(entry.details),
        "digest": entry.digest,
    }


def _instant(said: str) -> datetime:
    try:
        if len(said) == len("2026-01-31"):
            return datetime.combine(date.fromisoformat(said), clock.max, UTC)
        instant = datetime.fromisoformat(said)
    except ValueError as err:
        raise InputError(
            "--at takes a date or a date and time.",
            found=repr(said[:40]),
            next_move="write it as 2026-01-31 or 2026-01-31T14:00",
        ) from err
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
