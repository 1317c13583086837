"""A policy replayed over traffic: it retrains where a loss is confirmed, and says what is noise."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from checks.model.settings import GateSettings
from checks.monitor import MonitorSettings
from flows.simulate_policy import COURSES, History, Rehearsal
from pipelines.features import Roles, conform, preprocessor
from pipelines.replay import Lesson, cut
from pipelines.scoring import score

Command = Callable[..., Any]
START = datetime(2026, 1, 1, tzinfo=UTC)
ROLES = Roles(("delay", "distance"), ("carrier",))
CLASSES = ["late", "on_time"]


def rows(
    number: int, seed: int, turned: np.ndarray | None = None, shift: float = 0.0
) -> tuple[pd.DataFrame, np.ndarray]:
    """Make flights that are late after a delay, or, where turned, just the other way round."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "delay": random.normal(size=number) + shift,
            "distance": random.normal(size=number),
            "carrier": random.choice(["AA", "UA"], number),
        }
    )
    late = frame["delay"] + 0.5 * random.normal(size=number) > shift
    late = late ^ (np.zeros(number, bool) if turned is None else turned)
    return frame, np.where(late, "late", "on_time")


def rehearsed(
    frame: pd.DataFrame,
    truth: np.ndarray,
    *,
    lag: timedelta = timedelta(0),
    policy: dict[str, Any] | None = None,
    broken: bool = False,
) -> dict[str, Any]:
    """Replay six windows of a day each."""
    table, y = rows(300, seed=1)
    model = Pipeline([("preprocess", preprocessor(ROLES)), ("model", LogisticRegression())])
    model.fit(conform(table, ROLES), y)
    times = [START + timedelta(days=6) * number / len(frame) for number in range(len(frame))]
    if broken:
        frame = frame.assign(distance=np.nan)
    indexed = frame.set_index(pd.DatetimeIndex(times))
    spans = cut(indexed, truth.tolist(), [t + lag for t in times], classes=CLASSES, number=6)
    settings = {"cooldown_hours": 1.0, **(policy or {})}
    rehearsal = Rehearsal(
        spans,
        ROLES,
        History(Lesson(table, y), lambda time: np.ones(len(table), bool)),
        GateSettings.model_validate({"metrics": {"accuracy": {"min": 0.7}}}),
        MonitorSettings.model_validate({"policy": settings, "together": False}),
    )
    reference = score(model, table, ROLES)
    return rehearsal.told({name: rehearsal.replay(name, model, reference) for name in COURSES})


def actions(told: dict[str, Any]) -> list[str]:
    return [window["action"] for window in told["windows"]]


TURNED = np.arange(3_600) >= 600


@pytest.fixture(scope="module")
def turned() -> dict[str, Any]:
    """Traffic whose concept turns round at the second window, its inputs as they were."""
    return rehearsed(*rows(3_600, 2, TURNED))


def test_a_loss_retrains_and_that_is_told(turned: dict[str, Any]) -> None:
    """The policy waits while all is well, retrains at the loss, and wins again by it."""
    assert actions(turned)[:2] == ["nothing", "retrain"]
    assert "performance.lost" in [reason["code"] for reason in turned["windows"][1]["reasons"]]
    last = turned["windows"][-1]["accuracy"]
    assert last["policy"] > last["never"] + 0.2


def test_what_retraining_won_is_no_noise(turned: dict[str, Any]) -> None:
    """Against never retraining the interval is above zero, and the sentence says better."""
    against = {each["against"]: each for each in turned["comparisons"]}
    assert against["never"]["noise"] is False
    assert against["never"]["interval"][0] > 0
    assert against["never"]["said"].endswith("That is no noise: the policy did better.")


def test_the_courses_are_what_they_are_called(turned: dict[str, Any]) -> None:
    """Never retrains never, always after every window but the last, the policy between."""
    trainings = {name: course["trainings"] for name, course in turned["courses"].items()}
    assert trainings["never"] == 0
    assert trainings["always"] == 5
    assert 1 <= trainings["policy"] <= 4


def test_without_a_loss_the_difference_is_noise() -> None:
    """Where nothing changed the policy does nothing, and is not said to be better or worse."""
    told = rehearsed(*rows(3_600, 3))
    assert actions(told) == ["nothing"] * 6
    never, always = told["comparisons"]
    assert (never["difference"], never["noise"]) == (0.0, True)
    assert always["noise"] is True
    assert "5 retrainings fewer" in always["said"]
    assert always["said"].endswith("That is noise.")


def test_labels_that_come_late_are_not_known_before() -> None:
    """With labels a day and a half late the loss is acted on a window later, and no sooner."""
    told = rehearsed(*rows(3_600, 2, TURNED), lag=timedelta(days=1.5))
    assert actions(told).index("retrain") == 2


def test_broken_input_retrains_nothing_however_much_is_lost() -> None:
    """A column that went missing alerts in every window, and is never learned."""
    told = rehearsed(*rows(3_600, 2, TURNED), broken=True)
    assert set(actions(told)) == {"alert"}
    assert told["courses"]["policy"]["trainings"] == 0


def test_the_policys_limits_hold_in_a_replay() -> None:
    """A cool-down that is longer than the log lets one retraining through."""
    policy = {"cooldown_hours": 900.0}
    told = rehearsed(*rows(3_600, 2, np.arange(3_600) // 600 % 2 == 1), policy=policy)
    assert actions(told).count("retrain") == 1


def test_drift_without_labels_trains_a_challenger_that_answers_nothing() -> None:
    """Where no label has come, drift trains a challenger, and the champion goes on answering."""
    frame, truth = rows(3_600, 4, shift=1.5)
    told = rehearsed(frame, truth, lag=timedelta(days=100))
    assert "challenge" in actions(told)
    assert "retrain" not in actions(told)
    assert told["comparisons"][0]["difference"] == 0.0


def test_a_replay_learns_nothing_from_the_future() -> None:
    """The table's rows that had not happened by then are not learned."""
    table, y = rows(10, seed=1)
    history = History(Lesson(table, y), lambda time: np.arange(10) < time.day)
    assert len(history.by(START + timedelta(days=3))) == 4


def test_a_span_is_judged_by_the_model_that_answered_it(turned: dict[str, Any]) -> None:
    """A retrained model is not blamed for what the one before it answered."""
    after = [window["accuracy"]["policy"] > 0.7 for window in turned["windows"]]
    assert actions(turned)[after.index(True, 1)] == "nothing"


@pytest.mark.slow
def test_the_verb(tidegate: Command, registry: Any) -> None:
    """`tidegate simulate-policy` replays a table over the champion, as a document or a page."""
    registry.judged()
    assert tidegate("deploy", "--project", registry.folder).code == 0
    verb = ("simulate-policy", "--project", registry.folder, "--data")
    table = registry.folder / "flights.csv"
    ended = tidegate(*verb, table, "--windows", "3", "--json")
    assert ended.code == 0, ended.err
    assert (ended.document["version"], ended.document["rows"]) == ("1", 1200)
    assert [window["rows"] for window in ended.document["windows"]] == [400, 400, 400]
    assert set(ended.document["courses"]) == set(COURSES)
    shown = tidegate(*verb, table, "--windows", "3")
    assert "Against never retraining the policy makes" in shown.out
    assert tidegate(*verb, table, "--windows", "300").code == 2
    unlabelled = registry.folder / "unlabelled.csv"
    pd.read_csv(table).drop(columns="late").to_csv(unlabelled, index=False)
    assert tidegate(*verb, unlabelled).code == 2
