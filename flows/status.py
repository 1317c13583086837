"""Where does the project stand?"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from flows.project import Project
from pipelines.approval import question
from pipelines.ledger import Entry
from pipelines.promotion import reigns
from pipelines.tracking import Run, Tracker


def status(project: Project) -> dict[str, Any]:
    """Return the champion, who waits, the last run with its verdict, and the last monitoring.

    Returns
    -------
    dict
        JSON-able; a part that does not exist yet is None.
    """
    tracker = Tracker.open(project.tracking, project.folder, experiment=project.model)
    champion = tracker.champion(project.model, project.deploy.alias)
    entries = tracker.ledger(project.model).entries()
    found: dict[str, Any] = {
        "project": str(project.folder),
        "tracking_uri": tracker.uri,
        "champion": None,
        "challenger": _challenger(tracker, project, entries),
        "last_run": _last(tracker.latest({"tidegate.verb": "run"})),
        "last_verdict": None,
        "last_monitor": _last(tracker.latest({"tidegate.verb": "monitor"})),
    }
    if champion is not None:
        metrics = tracker.run(champion.run_id).metrics
        served = [r for r in reigns(entries, project.deploy.alias) if r.version == champion.version]
        found["champion"] = {
            "name": champion.name,
            "version": champion.version,
            "alias": project.deploy.alias,
            "since": _when(served[-1].since if served else champion.created),
            "run_id": champion.run_id,
            "accuracy": metrics.get("sealed_accuracy"),
            "override": champion.tags.get("tidegate.override"),
            "override_by": champion.tags.get("tidegate.override_by"),
        }
    judged = tracker.latest({"tidegate.stage": "trained"})
    if judged is not None:
        found["last_verdict"] = {
            "verdict": judged.tags.get("tidegate.verdict", "not judged"),
            "refused_by": judged.tags.get("tidegate.refused_by", ""),
            "run_id": judged.run_id,
        }
    return found


def _challenger(
    tracker: Tracker, project: Project, entries: Sequence[Entry]
) -> dict[str, Any] | None:
    version = tracker.aliases(project.model).get(project.deploy.challenger_alias)
    if version is None:
        return None
    asked = question(entries, version)
    late = asked.late(datetime.now(UTC))
    return {
        "name": project.model,
        "version": version,
        "alias": project.deploy.challenger_alias,
        "state": "expired" if late else asked.state,
        "deadline": _when(asked.deadline),
    }


def _last(run: Run | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "name": run.name,
        "status": run.status,
        "verdict": run.tags.get("tidegate.verdict", ""),
        "started": _when(run.start_time),
        "run_id": run.run_id,
    }


def _when(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="seconds")
