"""Where does the project stand?"""

from datetime import datetime
from typing import Any

from flows.project import Project
from pipelines.tracking import Run, Tracker


def status(project: Project) -> dict[str, Any]:
    """Return the champion, the last run with its verdict, and the last monitoring.

    Returns
    -------
    dict
        JSON-able; a part that does not exist yet is None.
    """
    tracker = Tracker.open(project.tracking, project.folder, experiment=project.model)
    champion = tracker.champion(project.model, project.deploy.alias)
    found: dict[str, Any] = {
        "project": str(project.folder),
        "tracking_uri": tracker.uri,
        "champion": None,
        "last_run": _last(tracker.latest({"tidegate.verb": "run"})),
        "last_verdict": None,
        "last_monitor": _last(tracker.latest({"tidegate.verb": "monitor"})),
    }
    if champion is not None:
        metrics = tracker.run(champion.run_id).metrics
        found["champion"] = {
            "name": champion.name,
            "version": champion.version,
            "alias": project.deploy.alias,
            "since": _when(champion.created),
            "run_id": champion.run_id,
            "accuracy": metrics.get("sealed_accuracy"),
        }
    judged = tracker.latest({"tidegate.stage": "trained"})
    if judged is not None:
        found["last_verdict"] = {
            "verdict": judged.tags.get("tidegate.verdict", "not judged"),
            "refused_by": judged.tags.get("tidegate.refused_by", ""),
            "run_id": judged.run_id,
        }
    return found


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
