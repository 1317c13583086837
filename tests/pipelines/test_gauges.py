"""pipelines.gauges: what a scraper reads of the last window."""

from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from pipelines.gauges import monitoring_gauges, write_gauges


def window(**more: Any) -> dict[str, Any]:
    """Return a window in which a column with an awkward name moved."""
    moved = {
        "id": 'a "b\\c\nd.values',
        "status": "failed",
        "details": {"effect": 0.4, "threshold": 0.2},
    }
    untold = {"id": "e.values", "status": "not applicable", "details": {"effect": "nan"}}
    values: dict[str, Any] = {
        "version": "3",
        "until": "2013-08-01T00:00:00+00:00",
        "rows": 300,
        "labelled": 0,
        "reports": {"drift": {"verdict": "failed", "checks": [moved, untold]}},
        "decision": {"action": "challenge"},
    }
    return {**values, **more}


def read(text: str) -> dict[str, list[Any]]:
    """Return the samples by name, as Prometheus' own parser reads them."""
    return {each.name: each.samples for each in text_string_to_metric_families(text)}


def test_prometheus_reads_the_last_window() -> None:
    """Prometheus' parser reads each gauge, whatever a column is called; a NaN is left out."""
    found = read(monitoring_gauges("flights", [window(version="2"), window()]))
    (effect,) = found["tidegate_monitor_effect"]
    assert (effect.labels["check"], effect.value) == ('a "b\\c\nd.values', 0.4)
    assert {s.labels["version"] for s in found["tidegate_monitor_rows"]} == {"3"}
    decided = {s.labels["action"]: s.value for s in found["tidegate_monitor_decision"]}
    assert decided == {"nothing": 0.0, "alert": 0.0, "challenge": 1.0, "retrain": 0.0}


def test_accuracy_is_of_the_newest_labelled_window() -> None:
    """Where the last window has no labels yet, the accuracy is that of the one before."""
    told = {"performance": {"verdict": "passed", "facts": {"accuracy": 0.9}, "checks": []}}
    found = read(monitoring_gauges("flights", [window(version="2", reports=told), window()]))
    (sample,) = found["tidegate_monitor_accuracy"]
    assert (sample.labels["version"], sample.value) == ("2", 0.9)


def test_the_file_is_replaced_whole(tmp_path: Path) -> None:
    """The file holds the gauges and nothing else lies beside it; no window gives no gauge."""
    path = tmp_path / "metrics" / "monitor.prom"
    for history in ([window()], []):
        write_gauges(path, "flights", history)
        assert path.read_text() == monitoring_gauges("flights", history)
    assert list(path.parent.iterdir()) == [path]
