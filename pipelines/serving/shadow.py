"""A second version that is asked the same, and that nobody hears.

Off the response path: a bounded queue of its own and one thread. Under pressure it is what is
dropped first, and nothing waits for it.
"""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

from pipelines.serving.log import PredictionLog, ShadowAnswer
from pipelines.serving.models import Models
from pipelines.serving.schema import Columns, check_columns

CAPACITY = 1_000
"""Most rows that wait."""

_logger = logging.getLogger(__name__)


class Shadow:
    """The challenger's queue and the thread that asks it.

    Parameters
    ----------
    models : Models
        Whose challenger is asked; while there is none nothing is queued.
    log : PredictionLog or None
        Where its answers go.
    capacity : int
        Most rows that wait.

    Attributes
    ----------
    scored, dropped, disagreed : int
        Rows that it was asked, was not asked for want of time, and answered otherwise.
    failed : int
        Rows at which it failed.
    """

    def __init__(
        self, models: Models, log: PredictionLog | None, *, capacity: int = CAPACITY
    ) -> None:
        self.scored = 0
        self.dropped = 0
        self.disagreed = 0
        self.failed = 0
        self._models = models
        self._log = log
        self._capacity = capacity
        self._queue: deque[tuple[str, Columns, Sequence[Any]]] = deque()
        self._waiting = 0
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
        self._thread.start()

    def offer(self, request_id: str, columns: Columns, predictions: Sequence[Any]) -> None:
        """Queue a request that was answered, or count it as dropped; never waits."""
        if self._models.challenger is None:
            return
        rows = len(predictions)
        with self._changed:
            if self._closing or self._waiting + rows > self._capacity:
                self.dropped += rows
                return
            self._queue.append((request_id, columns, predictions))
            self._waiting += rows
            self._changed.notify()

    def flush(self, seconds: float = 10.0) -> bool:
        """Wait until nothing waits; say whether it came to that."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout=seconds)

    def close(self) -> None:
        """End at once: what waits is dropped and counted."""
        with self._changed:
            self._closing = True
            self.dropped += sum(len(predictions) for _, _, predictions in self._queue)
            self._queue.clear()
            self._changed.notify_all()
        self._thread.join(timeout=10.0)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if self._closing:
                    return
                request_id, columns, predictions = self._queue.popleft()
            self._ask(request_id, columns, predictions)
            with self._changed:
                self._waiting -= len(predictions)
                self._changed.notify_all()

    def _ask(self, request_id: str, columns: Columns, predictions: Sequence[Any]) -> None:
        served = self._models.challenger
        if served is None:
            # It was taken away meanwhile.
            self.dropped += len(predictions)
            return
        try:
            # It may read other columns than the version that answered.
            known = {name: columns[name] for name in served.roles.columns}
            given, shares = served.answer(check_columns(known, served.roles))
        except Exception as err:
            self.failed += len(predictions)
            # Its message may quote the row.
            _logger.warning("the challenger failed at a request: %s", type(err).__name__)
            return
        self.scored += len(given)
        self.disagreed += sum(a != b for a, b in zip(given, predictions, strict=True))
        if self._log is not None:
            self._log.add(
                ShadowAnswer(request_id, served.name, served.version, given, shares, served.classes)
            )
