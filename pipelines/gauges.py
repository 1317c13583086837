"""The last window as gauges, in Prometheus' text format.

A monitor lives for seconds, too short to be scraped, so it writes a file: for the textfile
collector of the node exporter, and for ``/metrics`` of the service, which appends it
(https://prometheus.io/docs/instrumenting/exposition_formats/).
"""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.errors import ServiceError

_VERDICTS = ("passed", "failed", "error")
_ACTIONS = ("nothing", "alert", "challenge", "retrain")
_HELP = {
    "tidegate_monitor_verdict": "1 for the verdict of the report on the last window.",
    "tidegate_monitor_decision": "1 for what the last window led to.",
    "tidegate_monitor_effect": "How far a check of the last window is from the reference.",
    "tidegate_monitor_threshold": "The least effect that counts.",
    "tidegate_monitor_alarm": "Whether a check of the last window failed.",
    "tidegate_monitor_rows": "Rows of the last window.",
    "tidegate_monitor_labelled": "Rows of the last window that have a label.",
    "tidegate_monitor_accuracy": "Accuracy of the newest window that has labels.",
    "tidegate_monitor_until_seconds": "End of the last window, in seconds since 1970.",
}


def monitoring_gauges(model: str, history: Sequence[Mapping[str, Any]]) -> str:
    """Return the gauges of a model's last window.

    Parameters
    ----------
    model : str
    history : sequence of mapping
        By window, the oldest first: ``version``, ``until``, ``rows``, ``labelled``, ``reports``
        and ``decision``.
    """
    if not history:
        return ""
    last = history[-1]
    named = {"model": model, "version": str(last["version"])}
    found: dict[str, list[tuple[dict[str, str], float]]] = {name: [] for name in _HELP}
    for name, report in last["reports"].items():
        for verdict in _VERDICTS:
            labels = {**named, "report": name, "verdict": verdict}
            found["tidegate_monitor_verdict"].append((labels, float(report["verdict"] == verdict)))
    decided = (last["decision"] or {}).get("action")
    for action in _ACTIONS:
        labels = {**named, "action": action}
        found["tidegate_monitor_decision"].append((labels, float(decided == action)))
    for check in last["reports"].get("drift", {}).get("checks", ()):
        labels = {**named, "check": check["id"]}
        found["tidegate_monitor_alarm"].append((labels, float(check["status"] == "failed")))
        for key, gauge in (("effect", "effect"), ("threshold", "threshold")):
            if isinstance(check["details"].get(key), float | int):
                value = float(check["details"][key])
                found[f"tidegate_monitor_{gauge}"].append((labels, value))
    found["tidegate_monitor_rows"].append((named, float(last["rows"])))
    found["tidegate_monitor_labelled"].append((named, float(last["labelled"])))
    end = datetime.fromisoformat(last["until"]).timestamp()
    found["tidegate_monitor_until_seconds"].append((named, end))
    for window in reversed(history):
        value = window["reports"].get("performance", {}).get("facts", {}).get("accuracy")
        if isinstance(value, float | int):
            labels = {"model": model, "version": str(window["version"])}
            found["tidegate_monitor_accuracy"].append((labels, float(value)))
            break
    lines = []
    for name, samples in found.items():
        if samples:
            lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} gauge"]
            lines += [f"{name}{{{_labels(labels)}}} {value!r}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def write_gauges(path: Path, model: str, history: Sequence[Mapping[str, Any]]) -> None:
    """Write the gauges; a reader sees the old file or the new one, whole.

    Raises
    ------
    ServiceError
        The file cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(monitoring_gauges(model, history), encoding="utf-8")
        part.replace(path)
    except OSError as err:
        raise ServiceError(
            "Gauges are kept in the project's state folder.",
            found=f"{path}: {err.strerror}",
            next_move="free some space or make it writable, or set tracking.folder elsewhere",
        ) from err


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
