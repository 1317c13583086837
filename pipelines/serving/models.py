"""The versions in memory: which one answers, which did before, and which is asked unheard.

One thread looks up the aliases. A new version is loaded and asked its own example aside, and
only then one reference is swapped; whatever goes wrong before leaves the old one answering.
"""

import logging
import threading
from datetime import UTC, datetime
from typing import Protocol, Self

from pipelines.serving.served import Served

_LONGEST_WAIT = 300.0

_logger = logging.getLogger(__name__)


class NotReadyError(Exception):
    """No version is in memory yet."""


class Registry(Protocol):
    """Where the versions are. Called by one thread at a time."""

    def resolve(self) -> dict[str, str]:
        """Return the version that each alias names now."""

    def load(self, version: str, alias: str) -> Served:
        """Load a version and make it ready; raise where it does not answer."""


class Models:
    """The versions in memory, kept as the aliases say. Safe to share between threads.

    Parameters
    ----------
    registry : Registry
    alias : str
        Of the version that answers.
    challenger_alias : str or None
        Of the version that is asked too, unheard.
    seconds : float
        How often the aliases are looked up.

    Attributes
    ----------
    reloads : int
        Versions that were taken after the first.
    failures : int
        Versions that were not taken, and look-ups that failed.
    last_failure : str or None
        Why, of the last one; None again once a look-up went well.
    """

    def __init__(
        self,
        registry: Registry | None,
        *,
        alias: str,
        challenger_alias: str | None = None,
        seconds: float = 2.0,
    ) -> None:
        self.reloads = 0
        self.failures = 0
        self.last_failure: str | None = None
        self.changed: datetime | None = None
        self.previous: Served | None = None
        self.challenger: Served | None = None
        self._current: Served | None = None
        self._registry = registry
        self._alias = alias
        self._challenger_alias = challenger_alias
        self._seconds = seconds
        self._closing = threading.Event()
        self._waits: dict[tuple[str, str], tuple[int, float]] = {}
        self._thread: threading.Thread | None = None

    @classmethod
    def fixed(cls, served: Served, challenger: Served | None = None) -> Self:
        """Return models that nobody changes: for a notebook, and for tests."""
        found = cls(None, alias=served.alias)
        found._current, found.challenger = served, challenger
        return found

    @property
    def ready(self) -> bool:
        """Whether a version is in memory and has answered its example."""
        return self._current is not None

    @property
    def current(self) -> Served:
        """The version that answers.

        Raises
        ------
        NotReadyError
            There is none yet.
        """
        served = self._current
        if served is None:
            raise NotReadyError
        return served

    def start(self) -> None:
        """Load the first version, and look the aliases up from then on, in a thread."""
        if self._registry is None or self._thread is not None:
            return
        self._thread = threading.Thread(target=self._watch, name="models", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; what is in memory stays there."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout=10.0)

    def look(self) -> None:
        """Look the aliases up once, and take what they name."""
        assert self._registry is not None
        try:
            named = self._registry.resolve()
        except Exception as err:
            self._fail(f"the registry could not be asked: {_said(err)}")
            return
        orders = set(named.items())
        # An alias that went away and comes back is a new order: someone may have mended it.
        self._waits = {key: wait for key, wait in self._waits.items() if key in orders}
        taken = self._take(named.get(self._alias))
        self._take_challenger(named.get(self._challenger_alias or ""))
        if taken and not self._waits:
            self.last_failure = None

    def _watch(self) -> None:
        while not self._closing.is_set():
            self.look()
            self._closing.wait(self._seconds)

    def _take(self, version: str | None) -> bool:
        current, previous = self._current, self.previous
        if version is None:
            # An alias that is gone is no order to stop: the last version goes on.
            return current is not None
        if current is not None and version == current.version:
            return True
        if previous is not None and version == previous.version:
            served: Served | None = previous
        else:
            served = self._load(version, self._alias)
        if served is None:
            return False
        self.previous, self._current = current, served
        self.changed = datetime.now(UTC)
        self.reloads += current is not None
        _logger.info("version %s answers", served.version)
        return True

    def _take_challenger(self, version: str | None) -> None:
        if version is None:
            self.challenger = None
        elif self.challenger is None or self.challenger.version != version:
            assert self._challenger_alias is not None
            self.challenger = self._load(version, self._challenger_alias) or self.challenger

    def _load(self, version: str, alias: str) -> Served | None:
        """Load a version; one that failed is tried again, each time after twice as long."""
        assert self._registry is not None
        key = (alias, version)
        tries, left = self._waits.get(key, (0, 0.0))
        if left > 0:
            self._waits[key] = (tries, left - self._seconds)
            return None
        try:
            served = self._registry.load(version, alias)
        except Exception as err:
            wait = min(self._seconds * 2**tries, _LONGEST_WAIT)
            self._waits[key] = (tries + 1, wait)
            self._fail(f"version {version} was not taken: {_said(err)}")
            return None
        self._waits.pop(key, None)
        return served

    def _fail(self, why: str) -> None:
        self.failures += 1
        self.last_failure = why
        _logger.warning("%s", why)


def _said(err: Exception) -> str:
    lines = str(err).splitlines() or [type(err).__name__]
    return " ".join(lines[:2])[:300]
