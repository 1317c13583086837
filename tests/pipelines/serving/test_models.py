"""pipelines.serving.models, served, shadow: which version answers, and which is asked unheard."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from pipelines.features import Roles
from pipelines.modelfile import Candidate
from pipelines.serving.log import PredictionLog
from pipelines.serving.models import Models, NotReadyError
from pipelines.serving.rowmodel import as_columns
from pipelines.serving.schema import RequestError
from pipelines.serving.served import NotServedError, Served
from pipelines.serving.shadow import Shadow
from pipelines.serving.window import read_window

Make = Callable[..., Served]


@pytest.fixture
def candidate(model: Pipeline, roles: Roles, table: pd.DataFrame) -> Candidate:
    """Give the model as it is loaded, with what it answered when it was logged."""
    example = table.head(20)
    return Candidate(model, roles, example, model.predict(example))


@pytest.fixture
def make(candidate: Candidate) -> Make:
    """Make a version ready, from the candidate or another."""

    def ready(version: str, alias: str = "champion", **more: Any) -> Served:
        found = more.pop("candidate", candidate)
        return Served.of(found, name="flights", version=version, alias=alias, **more)

    return ready


class Shelf:
    """A registry in memory, whose versions can be broken."""

    def __init__(self, make: Make) -> None:
        self.named = {"champion": "1"}
        self.broken: dict[str, Exception] = {}
        self.away: Exception | None = None
        self.loaded: list[tuple[str, str]] = []
        self._make = make

    def resolve(self) -> dict[str, str]:
        """Return the aliases, where the registry answers."""
        if self.away is not None:
            raise self.away
        return self.named

    def load(self, version: str, alias: str) -> Served:
        """Return a version ready, where it is whole."""
        self.loaded.append((alias, version))
        if version in self.broken:
            raise self.broken[version]
        return self._make(version, alias)


@pytest.fixture
def shelf(make: Make) -> Shelf:
    """Where version 1 is the champion."""
    return Shelf(make)


@pytest.fixture
def models(shelf: Shelf) -> Models:
    """Give the models of the shelf; a test looks the aliases up by itself, and no thread does."""
    found = Models(shelf, alias="champion", challenger_alias="challenger", seconds=1.0)
    found.look()
    return found


def test_a_moved_alias_is_followed(models: Models, shelf: Shelf) -> None:
    """Once the alias has moved the new version answers, and the old one is kept."""
    shelf.named = {"champion": "2"}
    models.look()
    models.look()
    assert models.current.version == "2"
    assert models.previous is not None
    assert models.previous.version == "1"
    assert (models.reloads, models.failures) == (1, 0)
    assert shelf.loaded == [("champion", "1"), ("champion", "2")]


def test_a_rollback_loads_nothing(models: Models, shelf: Shelf) -> None:
    """The version that answered before answers again without being loaded, back and forth."""
    first = models.current
    shelf.named = {"champion": "2"}
    models.look()
    second = models.current
    shelf.loaded.clear()
    for expected, version in ((first, "1"), (second, "2"), (first, "1")):
        shelf.named = {"champion": version}
        models.look()
        assert models.current is expected
    assert shelf.loaded == []


def test_a_rollback_goes_past_a_version_that_never_answered(models: Models, shelf: Shelf) -> None:
    """A version that was not taken does not push the one before out of memory."""
    shelf.named = {"champion": "2"}
    models.look()
    shelf.broken["3"] = OSError("the file is cut short")
    shelf.named = {"champion": "3"}
    models.look()
    shelf.loaded.clear()
    shelf.named = {"champion": "1"}
    models.look()
    assert models.current.version == "1"
    assert shelf.loaded == []


def test_a_version_that_fails_leaves_the_old_one(models: Models, shelf: Shelf) -> None:
    """A version that cannot be loaded is counted and named, and the old one answers on."""
    shelf.broken["2"] = OSError("the file is cut short")
    shelf.named = {"champion": "2"}
    models.look()
    assert models.current.version == "1"
    assert (models.reloads, models.failures) == (0, 1)
    assert models.last_failure == "version 2 was not taken: the file is cut short"


def test_a_version_that_fails_is_tried_again_ever_later(models: Models, shelf: Shelf) -> None:
    """The times between two tries double, and what was mended meanwhile is taken."""
    shelf.broken["2"] = OSError("the file is cut short")
    shelf.named = {"champion": "2"}
    tries = []
    for _ in range(16):
        before = len(shelf.loaded)
        models.look()
        tries.append(len(shelf.loaded) - before)
    at = [place for place, tried in enumerate(tries) if tried]
    assert at == [0, 2, 5, 10]
    assert models.failures == len(at)
    assert models.last_failure is not None
    shelf.broken.clear()
    for _ in range(16):
        models.look()
    assert models.current.version == "2"
    assert models.last_failure is None


def test_an_alias_that_comes_back_is_tried_at_once(models: Models, shelf: Shelf) -> None:
    """Pointing the alias away and back again is an order that waits for nothing."""
    shelf.broken["2"] = OSError("the file is cut short")
    shelf.named = {"champion": "2"}
    for _ in range(4):
        models.look()
    shelf.named = {"champion": "1"}
    models.look()
    shelf.broken.clear()
    shelf.named = {"champion": "2"}
    models.look()
    assert models.current.version == "2"


def test_an_alias_that_is_gone_stops_nothing(models: Models, shelf: Shelf) -> None:
    """Without its alias the last version answers on."""
    shelf.named = {}
    models.look()
    assert models.current.version == "1"
    assert models.failures == 0


def test_a_registry_that_is_away_stops_nothing(models: Models, shelf: Shelf) -> None:
    """While the registry cannot be asked the version answers on, and the failure is told."""
    shelf.away = OSError("no route")
    models.look()
    assert models.current.version == "1"
    assert models.failures == 1
    assert models.last_failure == "the registry could not be asked: no route"
    shelf.away = None
    models.look()
    assert models.last_failure is None


def test_before_the_first_version_there_is_none(shelf: Shelf) -> None:
    """Where nothing was taken yet there is no version to ask, whatever went wrong."""
    shelf.broken["1"] = OSError("the file is cut short")
    models = Models(shelf, alias="champion")
    models.look()
    assert not models.ready
    with pytest.raises(NotReadyError):
        _ = models.current


def test_the_challenger_comes_and_goes_by_its_alias(models: Models, shelf: Shelf) -> None:
    """The challenger is whichever version its alias names, and none without the alias."""
    shelf.named = {"champion": "1", "challenger": "2"}
    models.look()
    assert models.challenger is not None
    assert (models.challenger.version, models.challenger.alias) == ("2", "challenger")
    shelf.named = {"champion": "1"}
    models.look()
    assert models.challenger is None
    assert (models.current.version, models.reloads) == ("1", 0)


def test_a_challenger_that_fails_is_told(models: Models, shelf: Shelf) -> None:
    """A challenger that cannot be loaded is named as long as it is wanted, and stops nothing."""
    shelf.broken["2"] = OSError("the file is cut short")
    shelf.named = {"champion": "1", "challenger": "2"}
    for _ in range(2):
        models.look()
        assert models.challenger is None
        assert models.last_failure == "version 2 was not taken: the file is cut short"
    shelf.named = {"champion": "1"}
    models.look()
    assert models.last_failure is None


def test_one_who_asks_while_it_changes_holds_one_version(models: Models, shelf: Shelf) -> None:
    """What a request took hold of stays whole while the alias moves on twice."""
    held = models.current
    for version in ("2", "3"):
        shelf.named = {"champion": version}
        models.look()
    assert held.version == "1"
    given, _ = held.answer(as_columns(held.example, held.roles))
    assert given == held.model.predict(held.example).tolist()


def test_the_thread_follows_the_alias_and_ends(shelf: Shelf) -> None:
    """Started, the models follow the alias by themselves until they are closed."""
    arrived = threading.Event()
    ready = shelf.load

    def load(version: str, alias: str) -> Served:
        if version == "2":
            arrived.set()
        return ready(version, alias)

    shelf.load = load  # type: ignore[method-assign]
    models = Models(shelf, alias="champion", seconds=0.01)
    models.start()
    models.start()
    shelf.named = {"champion": "2"}
    assert arrived.wait(60)
    models.close()
    assert models.current.version == "2"
    assert not [each for each in threading.enumerate() if each.name == "models"]


def test_a_version_answers_its_example_first(make: Make, candidate: Candidate) -> None:
    """A version that answers one row of its example otherwise than when logged is not served."""
    other = np.where(candidate.answers == "late", "on_time", "late")
    other[1:] = candidate.answers[1:]
    with pytest.raises(NotServedError, match=r"version 7 answers 1 of 20 rows"):
        make("7", candidate=replace(candidate, answers=other))
    with pytest.raises(NotServedError, match=r"0 of 19 rows"):
        make("7", candidate=replace(candidate, answers=candidate.answers[:19]))


@pytest.mark.parametrize(
    ("told", "path", "compiled"),
    [
        ({"tag": "agrees: 1200 rows"}, "agrees: 1200 rows", True),
        ({"tag": "no: 1200 rows, 1 flipped"}, "no: 1200 rows, 1 flipped", False),
        ({}, "off: the gate has not compared it", False),
        ({"tag": "agrees: 1200 rows", "fast": False}, "off: serve.fast is false", False),
    ],
)
def test_only_what_the_gate_compared_is_compiled(
    make: Make, told: dict[str, Any], path: str, compiled: bool
) -> None:
    """A version is compiled where its tag says that it agrees and it is wanted, and says why."""
    served = make("1", **told)
    assert served.path == path
    assert (served.rows is not None) == compiled


def test_a_compiled_version_that_answers_otherwise_is_not_served(
    make: Make, candidate: Candidate, model: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiled form is what is asked the example, since it is what will answer."""
    from pipelines.serving import served as module

    flipped = clone(model).fit(
        candidate.example, np.where(candidate.answers == "late", "on_time", "late")
    )
    compiled = module.compile_model(flipped, candidate.roles)
    monkeypatch.setattr(module, "compile_model", lambda *_: compiled)
    with pytest.raises(NotServedError):
        make("1", tag="agrees: 1200 rows")


def test_no_answer_without_probabilities(candidate: Candidate, make: Make) -> None:
    """Where a model makes no number of a row the row is refused, and not answered by a class."""

    class Lost(Pipeline):  # type: ignore[misc]
        def predict_proba(self, rows: pd.DataFrame) -> Any:
            return super().predict_proba(rows) * np.nan

    lost = replace(make("1"), model=Lost(candidate.model.steps), rows=None)
    with pytest.raises(RequestError, match="of a size"):
        lost.answer(as_columns(candidate.example, candidate.roles))


@pytest.fixture
def opposite(candidate: Candidate) -> Candidate:
    """Make a model that says the other class of each row."""
    swapped = np.where(candidate.answers == "late", "on_time", "late")
    model = clone(candidate.model).fit(candidate.example, swapped)
    return replace(candidate, model=model, answers=model.predict(candidate.example))


def test_disagreements_are_counted_and_logged(
    make: Make, opposite: Candidate, tmp_path: Any
) -> None:
    """What the challenger says otherwise is counted, and stands in the log beside the answer."""
    url = f"sqlite:///{tmp_path / 'predictions.db'}"
    log = PredictionLog.open(url)
    champion, challenger = make("1"), make("2", "challenger", candidate=opposite)
    shadow = Shadow(Models.fixed(champion, challenger), log)
    columns = as_columns(champion.example, champion.roles)
    said, _ = champion.answer(columns)
    other, _ = challenger.answer(columns)
    shadow.offer("a", columns, said)
    assert shadow.flush(60)
    shadow.close()
    log.close()
    assert (shadow.scored, shadow.dropped) == (20, 0)
    assert shadow.disagreed == sum(a != b for a, b in zip(said, other, strict=True)) > 0
    assert log.written == 20
    assert len(read_window(url, name="flights").frame) == 0


def test_without_a_challenger_nothing_is_queued(make: Make) -> None:
    """Where there is no challenger a request is neither queued nor counted."""
    shadow = Shadow(Models.fixed(make("1")), None)
    shadow.offer("a", {}, ["late"])
    assert shadow.flush(0.0)
    shadow.close()
    assert (shadow.scored, shadow.dropped, shadow.failed) == (0, 0, 0)


def test_a_slow_challenger_keeps_nobody_waiting(make: Make, candidate: Candidate) -> None:
    """While the challenger is stuck requests are taken up to the bound, then dropped."""
    begun, release = threading.Event(), threading.Event()

    class Stuck(Pipeline):  # type: ignore[misc]
        def predict_proba(self, rows: pd.DataFrame) -> Any:
            begun.set()
            assert release.wait(60)
            return super().predict_proba(rows)

    champion = make("1")
    challenger = replace(champion, model=Stuck(candidate.model.steps), version="2", rows=None)
    shadow = Shadow(Models.fixed(champion, challenger), None, capacity=50)
    columns = as_columns(champion.example, champion.roles)
    said, _ = champion.answer(columns)
    shadow.offer("first", columns, said)
    assert begun.wait(60)
    # Nothing below would return if an offer waited for the challenger.
    for _ in range(5):
        shadow.offer("next", columns, said)
    assert shadow.dropped == 80
    release.set()
    assert shadow.flush(60)
    assert (shadow.scored, shadow.dropped) == (40, 80)
    shadow.close()
    shadow.offer("late", columns, said)
    assert shadow.dropped == 100


def test_the_end_drops_what_waits_for_the_challenger(make: Make, candidate: Candidate) -> None:
    """At the end nobody waits for the challenger's queue: it is dropped and counted."""
    begun, release = threading.Event(), threading.Event()

    class Stuck(Pipeline):  # type: ignore[misc]
        def predict_proba(self, rows: pd.DataFrame) -> Any:
            begun.set()
            assert release.wait(60)
            return super().predict_proba(rows)

    champion = make("1")
    challenger = replace(champion, model=Stuck(candidate.model.steps), version="2", rows=None)
    shadow = Shadow(Models.fixed(champion, challenger), None)
    columns = as_columns(champion.example, champion.roles)
    said, _ = champion.answer(columns)
    shadow.offer("first", columns, said)
    assert begun.wait(60)
    shadow.offer("second", columns, said)
    closing = threading.Thread(target=shadow.close)
    closing.start()
    release.set()
    closing.join()
    # The second was dropped, unless it was asked between the two lines above.
    assert shadow.scored + shadow.dropped == 40


def test_a_challenger_that_fails_is_counted_and_quotes_nothing(
    make: Make, candidate: Candidate, caplog: pytest.LogCaptureFixture
) -> None:
    """A challenger that raises, or reads a column that was not sent, is counted and asked on."""

    class Faulty(Pipeline):  # type: ignore[misc]
        def predict_proba(self, rows: pd.DataFrame) -> Any:
            raise RuntimeError(f"cannot score {rows}")

    champion = make("1")
    columns = as_columns(champion.example, champion.roles)
    said, _ = champion.answer(columns)
    faulty = replace(champion, model=Faulty(candidate.model.steps), version="2", rows=None)
    models = Models.fixed(champion, faulty)
    shadow = Shadow(models, None)
    shadow.offer("a", columns, said)
    assert shadow.flush(60)
    models.challenger = replace(
        champion, version="3", roles=replace(champion.roles, numeric=("delay", "gate"))
    )
    shadow.offer("b", columns, said)
    assert shadow.flush(60)
    models.challenger = champion
    shadow.offer("c", columns, said)
    assert shadow.flush(60)
    shadow.close()
    assert (shadow.failed, shadow.scored, shadow.disagreed) == (40, 20, 0)
    assert "RuntimeError" in caplog.text
    assert "cannot score" not in caplog.text
