"""pipelines.replay: a log cut into spans, and a model fitted anew on what was known by then."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline

from pipelines.errors import DataError, InputError
from pipelines.features import Roles, conform, preprocessor
from pipelines.replay import Lesson, Span, answer_span, before, cut, refit

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
ROLES = Roles(("delay",), ("carrier",))

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def logged(rows: int, *, flipped: bool = False, seed: int = 0) -> tuple[pd.DataFrame, list[str]]:
    """Make rows an hour apart, late where the delay is positive; or just the other way round."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "delay": random.integers(-5, 6, rows).astype(float),
            "carrier": random.choice(["AA", "UA"], rows),
        },
        index=pd.DatetimeIndex([START + number * HOUR for number in range(rows)]),
    )
    return frame, np.where((frame["delay"] > 0) != flipped, "late", "on_time").tolist()


def spans(rows: int = 120, number: int = 3, delay: timedelta = HOUR, **more: Any) -> list[Span]:
    frame, labels = logged(rows, **more)
    known = [time + delay for time in frame.index]
    return cut(frame, labels, known, classes=["late", "on_time"], number=number)


def fitted(classifier: Any, seed: int = 1) -> Pipeline:
    frame, labels = logged(300, seed=seed)
    model = Pipeline([("preprocess", preprocessor(ROLES)), ("model", classifier)])
    return model.fit(conform(frame, ROLES), np.array(labels))


def accuracy(model: Any, span: Span) -> float:
    predictions, _ = answer_span(model, span, ROLES)
    return float((predictions == span.truth).mean())


def test_every_row_is_in_one_span() -> None:
    """The spans hold each row of the log once, in the order of time, and equally many."""
    frame, labels = logged(125)
    mixed = np.random.default_rng(3).permutation(125)
    shuffled = frame.iloc[mixed]
    found = cut(
        shuffled,
        [labels[place] for place in mixed],
        [None] * 125,
        classes=["late", "on_time"],
        number=4,
    )
    assert [len(span) for span in found] == [32, 31, 31, 31]
    together = pd.concat([span.frame for span in found], ignore_index=True)
    pd.testing.assert_frame_equal(together, frame.reset_index(drop=True))
    assert [label for span in found for label in span.truth] == labels
    assert found[0].since == START
    assert found[-1].until == START + 124 * HOUR


def test_a_clock_that_jumped_leaves_no_span_empty() -> None:
    """One row of the far future makes one long span, not many with next to no row."""
    frame, labels = logged(120)
    times = frame.index.to_list()
    times[7] = datetime(2126, 1, 1, tzinfo=UTC)
    frame.index = pd.DatetimeIndex(times)
    found = cut(frame, labels, [None] * 120, classes=["late", "on_time"], number=4)
    assert [len(span) for span in found] == [30, 30, 30, 30]


def test_a_label_is_known_once_it_has_come() -> None:
    """By a time there are the labels that had come by then, and no other."""
    (first, *_) = spans(delay=10 * HOUR)
    assert first.labelled.all()
    assert first.labelled_by(first.until).sum() == 30
    assert first.labelled_by(first.until + 10 * HOUR).sum() == 40
    assert first.labelled_by(START).sum() == 0


def test_a_label_without_a_time_is_known_at_once() -> None:
    """Where nobody said when a label came, it is taken for known with its row."""
    frame, labels = logged(60)
    (first, _) = cut(frame, labels, [pd.NaT] * 60, classes=["late", "on_time"], number=2)
    assert first.labelled_by(first.until).all()


def test_labels_are_classes_or_none() -> None:
    """Labels as a log wrote them become the model's classes; what is none of them is no label."""
    frame, _ = logged(60)
    written = ["true", True, "false", None, float("nan"), "maybe", np.True_, 1, *["true"] * 52]
    (first, _) = cut(frame, written, [None] * 60, classes=[False, True], number=2)
    assert first.truth[:8].tolist() == [True, True, False, None, None, None, True, None]


@pytest.mark.parametrize(("rows", "number"), [(60, 4), (100, 1), (0, 2)])
def test_too_few_rows_are_refused(rows: int, number: int) -> None:
    """A log too short for so many spans is an error that says the next move."""
    frame, labels = logged(rows)
    with pytest.raises(InputError, match="--windows"):
        cut(frame, labels, [None] * rows, classes=["late", "on_time"], number=number)


def test_a_lesson_holds_what_was_known() -> None:
    """A retraining learns the table and the labels that had come, and none of the rest."""
    first, second, third = spans(delay=10 * HOUR)
    table, y = logged(50, seed=9)
    lesson = Lesson(table.assign(unused=1), np.array(y))
    grown = lesson.with_known([first, second], second.until, ROLES)
    assert len(grown) == 50 + 40 + 30
    assert list(grown.frame) == ["delay", "carrier"]
    assert grown.y[50:90].tolist() == first.truth.tolist()
    assert len(lesson) == 50
    del third


def test_rows_held_back_are_not_learned() -> None:
    """Each row is on one side, with its own label, and the same seed parts alike."""
    frame, labels = logged(100)
    lesson = Lesson(frame.assign(number=range(100)), np.array(labels))
    left, held = lesson.parted(0.2)
    assert (len(left), len(held)) == (80, 20)
    assert sorted([*left.frame["number"], *held.frame["number"]]) == list(range(100))
    for side in (left, held):
        assert side.y.tolist() == [labels[number] for number in side.frame["number"]]
    assert held.frame["number"].tolist() == lesson.parted(0.2)[1].frame["number"].tolist()
    assert held.frame["number"].tolist() != list(range(20))


@pytest.mark.parametrize(
    "classifier",
    [
        LogisticRegression(),
        MLPClassifier(
            (16,), max_iter=80, n_iter_no_change=80, learning_rate_init=0.05, random_state=0
        ),
        HistGradientBoostingClassifier(max_iter=20, random_state=0),
    ],
    ids=lambda classifier: type(classifier).__name__,
)
def test_refitting_learns_what_is_new(classifier: Any) -> None:
    """A model fitted anew answers as its new rows do, by its own parameters; the old one stays."""
    model = fitted(classifier)
    (span, *_) = spans(400, number=2, flipped=True)
    assert accuracy(model, span) < 0.2
    again = refit(model, Lesson(span.frame, span.truth.astype(str)), ROLES)
    assert accuracy(again, span) > 0.9
    assert accuracy(model, span) < 0.2
    assert again["model"].get_params() == model["model"].get_params()


def test_refitting_is_repeatable() -> None:
    """The same rows give the same model."""
    model = fitted(MLPClassifier((8,), max_iter=5, random_state=3))
    (span, *_) = spans(200, number=2)
    lesson = Lesson(span.frame, span.truth.astype(str))
    one, other = (refit(model, lesson, ROLES) for _ in range(2))
    rows = conform(span.frame, ROLES)
    assert np.array_equal(one.predict_proba(rows), other.predict_proba(rows))


def test_the_members_of_a_vote_are_fitted_anew() -> None:
    """A vote's members were frozen when the sweep made it, and learn all the same."""
    frame, labels = logged(300, seed=1)
    prepared = preprocessor(ROLES).fit(conform(frame, ROLES))
    X = prepared.transform(conform(frame, ROLES))
    members = [
        (f"trial_{number}", FrozenEstimator(LogisticRegression(C=C).fit(X, labels)))
        for number, C in enumerate((1.0, 10.0))
    ]
    vote = VotingClassifier(members, voting="soft").fit(X, labels)
    model = Pipeline([("preprocess", prepared), ("model", vote)])
    (span, *_) = spans(400, number=2, flipped=True)
    again = refit(model, Lesson(span.frame, span.truth.astype(str)), ROLES)
    assert (accuracy(model, span), accuracy(again, span)) == (0.0, 1.0)
    assert [each.C for each in again["model"].estimators_] == [1.0, 10.0]


def test_the_threshold_stays() -> None:
    """A model with a threshold keeps it, and the class that it is about."""
    inner = fitted(LogisticRegression())
    frame, labels = logged(300, seed=1)
    model = FixedThresholdClassifier(
        FrozenEstimator(inner), threshold=0.999, pos_label="late", response_method="predict_proba"
    ).fit(conform(frame, ROLES), labels)
    (span, *_) = spans(400, number=2, flipped=True)
    again = refit(model, Lesson(span.frame, span.truth.astype(str)), ROLES)
    assert (again.threshold, again.pos_label) == (0.999, "late")
    probabilities = again.predict_proba(conform(span.frame, ROLES))[:, 0]
    predictions, _ = answer_span(again, span, ROLES)
    assert ((predictions == "late") == (probabilities >= 0.999)).all()
    assert 0 < (predictions == "late").mean() < (probabilities > 0.5).mean()


def test_balanced_classes_count_alike() -> None:
    """With balanced weights a rare class is answered more often than without."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"delay": random.normal(size=2_000), "carrier": "AA"})
    y = np.where(frame["delay"] + 2 * random.normal(size=2_000) > 3, "late", "on_time")
    model = fitted(LogisticRegression())
    shares = [
        (refit(model, Lesson(frame, y), ROLES, balanced=balanced).predict(frame) == "late").mean()
        for balanced in (False, True)
    ]
    assert shares[1] > shares[0] + 0.2


def test_one_class_alone_teaches_nothing() -> None:
    """Rows of one class are refused, with a sentence."""
    frame, _ = logged(50)
    with pytest.raises(DataError, match="two classes"):
        refit(fitted(LogisticRegression()), Lesson(frame, np.array(["late"] * 50)), ROLES)


def test_a_column_that_the_log_has_not_is_named() -> None:
    """A log without a column that the model reads, as where it is redacted, is an error."""
    (span, *_) = spans()
    less = Span(span.frame[["delay"]], span.truth, span.known, span.since, span.until)
    with pytest.raises(DataError, match="carrier"):
        answer_span(fitted(LogisticRegression()), less, ROLES)


def test_a_table_is_cut_at_a_time() -> None:
    """A replay learns no row of the table that had not happened by then."""
    frame = pd.DataFrame({"day": ["2025-12-31", "2026-01-01", "2026-01-02"]})
    assert before(frame, "day", START).tolist() == [True, True, False]
    assert before(frame, None, START).all()
