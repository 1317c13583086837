"""What the service counts, in Prometheus' text format.

One process keeps its numbers in its memory. Several, each with its own, write them to files of
one folder (`share_metrics`), and whichever is asked adds up what all of them wrote.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.serving.log import PredictionLog
    from pipelines.serving.models import Models
    from pipelines.serving.shadow import Shadow

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (
    *(0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)


class Metrics:
    """The numbers of one process.

    Counting is safe between threads. Names and labels:

    - ``tidegate_requests_total`` by ``endpoint`` and ``status``, ``tidegate_request_seconds`` by
      ``endpoint``, ``tidegate_errors_total`` by ``endpoint`` (answers of 500 and the like);
    - ``tidegate_refused_total`` by ``reason``: beyond the queue, or past the deadline;
    - ``tidegate_predictions_total`` by ``version`` and ``class``;
    - ``tidegate_unknown_categories_total`` by ``column``: cells with a level that training
      never saw;
    - ``tidegate_labels_total`` by ``outcome``: accepted, repeated, changed, unknown;
    - ``tidegate_log_rows_total`` by ``outcome``: written, dropped;
    - ``tidegate_shadow_rows_total`` by ``outcome``: scored, failed, dropped,
      disagreed;
    - ``tidegate_reloads_total`` by ``outcome``: loaded, failed;
    - ``tidegate_model_info`` by ``model``, ``version`` and ``alias``: the processes that answer
      with this version.
    """

    def __init__(self) -> None:
        # Prometheus' client chooses between memory and files when it is imported.
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        registry = CollectorRegistry()
        self._registry = registry
        self._requests = Counter(
            *("tidegate_requests", "Requests answered.", ("endpoint", "status")),
            registry=registry,
        )
        self._seconds = Histogram(
            *("tidegate_request_seconds", "From a request's first byte to its answer."),
            labelnames=("endpoint",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._errors = Counter(
            *("tidegate_errors", "Requests that the service failed at.", ("endpoint",)),
            registry=registry,
        )
        self._refused = Counter(
            *("tidegate_refused", "Requests refused under pressure.", ("reason",)),
            registry=registry,
        )
        self._predictions = Counter(
            *("tidegate_predictions", "Rows scored.", ("version", "class")), registry=registry
        )
        self._unknown = Counter(
            *("tidegate_unknown_categories", "Cells whose level training never saw."),
            labelnames=("column",),
            registry=registry,
        )
        self._labels = Counter(
            *("tidegate_labels", "Labels sent.", ("outcome",)), registry=registry
        )
        self._log = Counter(
            *("tidegate_log_rows", "Rows of the prediction log.", ("outcome",)),
            registry=registry,
        )
        self._shadow = Counter(
            *("tidegate_shadow_rows", "Rows that the challenger was asked.", ("outcome",)),
            registry=registry,
        )
        self._reloads = Counter(
            *("tidegate_reloads", "New versions taken, or not.", ("outcome",)),
            registry=registry,
        )
        self._model = Gauge(
            *("tidegate_model_info", "Processes that answer with this version."),
            labelnames=("model", "version", "alias"),
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._seen: dict[tuple[str, str], int] = {}
        self._answering: tuple[str, str, str] | None = None
        # Looking up a counter by its labels costs more than counting.
        self._children: dict[tuple[Any, ...], Any] = {}

    def count_request(self, endpoint: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._child(self._requests, endpoint, str(status)).inc()
        self._child(self._seconds, endpoint).observe(seconds)
        if status >= 500 and status != 503:
            self._child(self._errors, endpoint).inc()

    def count_refusal(self, reason: str) -> None:
        """Count a request that pressure refused."""
        self._child(self._refused, reason).inc()

    def count_predictions(self, version: str, predictions: Sequence[Any]) -> None:
        """Count scored rows by class."""
        if len(predictions) == 1:
            self._child(self._predictions, version, str(predictions[0])).inc()
            return
        counts: dict[Any, int] = {}
        for label in predictions:
            counts[label] = counts.get(label, 0) + 1
        for label, rows in counts.items():
            self._child(self._predictions, version, str(label)).inc(rows)

    def count_unknown(self, flags: Sequence[Sequence[str]]) -> None:
        """Count the cells that rows are flagged for, by column."""
        for columns in flags:
            for column in columns:
                self._child(self._unknown, column).inc()

    def count_labels(self, outcomes: Mapping[str, int]) -> None:
        """Count labels by what became of them."""
        for outcome, rows in outcomes.items():
            self._child(self._labels, outcome).inc(rows)

    def observe(
        self, models: "Models", log: "PredictionLog | None", shadow: "Shadow | None"
    ) -> None:
        """Take over what the other parts have counted since the last time."""
        if log is not None:
            self._grow(self._log, "written", log.written)
            self._grow(self._log, "dropped", log.dropped)
        if shadow is not None:
            self._grow(self._shadow, "scored", shadow.scored)
            self._grow(self._shadow, "failed", shadow.failed)
            self._grow(self._shadow, "dropped", shadow.dropped)
            self._grow(self._shadow, "disagreed", shadow.disagreed)
        self._grow(self._reloads, "loaded", models.reloads)
        self._grow(self._reloads, "failed", models.failures)
        if models.ready:
            served = models.current
            answering = (served.name, served.version, served.alias)
            if self._answering not in (None, answering):
                self._child(self._model, *self._answering).set(0)
            self._child(self._model, *answering).set(1)
            self._answering = answering

    def render(self) -> bytes:
        """Return the numbers of this process, or of all that share a folder."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        if _FOLDER not in os.environ:
            return generate_latest(self._registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)

    def _child(self, metric: Any, *labels: str) -> Any:
        key = (id(metric), *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child

    def _grow(self, metric: Any, outcome: str, total: int) -> None:
        key = (str(id(metric)), outcome)
        child = self._child(metric, outcome)
        new = total - self._seen.get(key, 0)
        if new > 0:
            child.inc(new)
            self._seen[key] = total


def share_metrics(folder: Path) -> None:
    """Let this process, and those that it starts, keep their numbers in one folder.

    Called before anything is counted. Numbers that an earlier service left there are deleted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob("*.db"):
        left.unlink()
    os.environ[_FOLDER] = str(folder)


def forget_process(pid: int) -> None:
    """Take a process that has ended out of the numbers that are of living ones."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid)  # type: ignore[no-untyped-call]
