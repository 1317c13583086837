"""pipelines.threshold: the threshold found is the best there is; what has none is refused."""

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import (
    confusion_matrix,
    fbeta_score,
    make_scorer,
    precision_score,
    recall_score,
)
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.utils.validation import check_is_fitted

from pipelines.errors import ProjectError, SweepError
from pipelines.sweep.settings import TrainSettings
from pipelines.threshold import Aim, ThresholdSettings, Tuned, read_aim, tune

DOCS = Path(__file__).parents[2] / "docs"
COSTS = {"late -> on_time": 5.0, "on_time -> late": 1.0}


class Recorded(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted model that gives the probability of its first class as it stands in ``p``."""

    def __init__(self, classes: tuple[Any, ...] = ("late", "on_time")) -> None:
        self.classes = classes

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @property
    def classes_(self) -> np.ndarray:  # noqa: D102
        return np.array(self.classes)

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> "Recorded":  # noqa: D102
        raise AssertionError("a winner is never fitted again")

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:  # noqa: D102
        first = X["p"].to_numpy()
        return np.stack([first, 1 - first], axis=1)

    def predict(self, X: pd.DataFrame) -> np.ndarray:  # noqa: D102
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def late(objective: str, **given: Any) -> Aim:
    """Aim at the class ``late``."""
    costs = {"costs": COSTS} if objective == "cost" and "costs" not in given else {}
    read = ThresholdSettings.model_validate({"objective": objective, **costs, **given})
    found = read_aim(read, np.array(["late", "on_time"]), "late")
    assert found is not None
    return found


def found(aim: Aim, p: list[float], truth: list[bool]) -> tuple[Tuned, pd.DataFrame, np.ndarray]:
    """Tune on rows of these probabilities of ``late``, truly late where ``truth`` says so."""
    X, y = pd.DataFrame({"p": p}), np.where(truth, "late", "on_time")
    return tune(Recorded(), X, y, aim), X, y


def worth(aim: Aim, y: np.ndarray, predictions: np.ndarray) -> tuple[float, float]:
    """Work out the objective by scikit-learn, higher being better; then the precision."""
    precision = precision_score(y, predictions, pos_label="late", zero_division=0)
    if aim.settings.objective == "cost":
        (_, missed), (alarm, _) = confusion_matrix(y, predictions, labels=["late", "on_time"])
        return -(5.0 * missed + alarm) / len(y), 0.0
    if aim.settings.objective == "f_beta":
        beta = aim.settings.beta or 1.0
        return fbeta_score(y, predictions, beta=beta, pos_label="late", zero_division=0), 0.0
    if precision < aim.settings.precision:
        return -np.inf, 0.0
    return recall_score(y, predictions, pos_label="late"), precision


AIMS = [
    late("cost"),
    late("f_beta"),
    late("f_beta", beta=2.0),
    late("f_beta", beta=0.3),
    late("recall_at_precision", precision=0.5),
    late("recall_at_precision", precision=0.8),
]
NAMES = ["cost", "f1", "f2", "f0.3", "precision 0.5", "precision 0.8"]

# Few different probabilities, so that rows share them and thresholds tie.
ROWS = st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=4, max_size=40).filter(
    lambda rows: len({p for p, _ in rows}) > 1 and len({truth for _, truth in rows}) > 1
)


# -- the threshold ------------------------------------------------------------------------


@pytest.mark.parametrize("aim", AIMS, ids=NAMES)
@settings(max_examples=25, deadline=None)
@given(rows=ROWS)
def test_no_threshold_is_better(aim: Aim, rows: list[tuple[int, bool]]) -> None:
    """Of all thresholds that leave both answers possible, the one found serves the aim best."""
    p, truth = [q / 12 for q, _ in rows], [t for _, t in rows]
    y = np.where(truth, "late", "on_time")
    every = [np.where(np.array(p) >= q / 24, "late", "on_time") for q in range(25)]
    all_worth = [worth(aim, y, answers) for answers in every if len(set(answers)) == 2]
    if max(all_worth)[0] == -np.inf:
        with pytest.raises(ProjectError, match="reaches the precision"):
            found(aim, p, truth)
        return
    tuned, X, y = found(aim, p, truth)
    answers = tuned.model.predict(X)
    assert set(answers) == {"late", "on_time"}
    assert worth(aim, y, answers) == pytest.approx(max(all_worth))
    constant = {c: worth(aim, y, np.full(len(y), c))[0] for c in ("late", "on_time")}
    if tuned.constant is None:
        assert max(constant.values()) < max(all_worth)[0]
    else:
        assert constant[tuned.constant] >= max(all_worth)[0]


@pytest.mark.parametrize("aim", AIMS, ids=NAMES)
def test_scikit_learns_own_search_finds_the_same(aim: Aim) -> None:
    """`TunedThresholdClassifierCV`, given the same thresholds, has none that is better."""
    random = np.random.default_rng(3)
    p = random.beta(2, 3, 300).astype(np.float32)
    tuned, X, y = found(aim, p.tolist(), (random.random(300) < p).tolist())
    rising = np.sort(tuned.thresholds)

    def of(y: np.ndarray, answers: np.ndarray, pos_label: str) -> float:
        # It interpolates between thresholds, which minus infinity does not survive.
        return max(worth(aim, y, answers)[0], -9.0)

    scorer = make_scorer(of, pos_label="late")
    other = TunedThresholdClassifierCV(
        FrozenEstimator(Recorded()), cv="prefit", refit=False, scoring=scorer, thresholds=rising
    ).fit(X, y)
    assert worth(aim, y, tuned.model.predict(X))[0] == pytest.approx(other.best_score_)


def test_what_it_was_and_became_is_measured() -> None:
    """Before is by the model's own answers, after by the threshold, each as scikit-learn has it."""
    random = np.random.default_rng(0)
    p = random.random(200)
    for aim, name in zip(AIMS, NAMES, strict=True):
        tuned, X, y = found(aim, p.tolist(), (random.random(200) < p).tolist())
        for measures, answers in (
            (tuned.before, Recorded().predict(X)),
            (tuned.after, tuned.model.predict(X)),
        ):
            if aim.settings.objective == "recall_at_precision":
                precision = precision_score(y, answers, pos_label="late")
                recall = recall_score(y, answers, pos_label="late")
                assert measures == {"recall": recall, "precision": precision}, name
                continue
            (value,) = measures.values()
            sign = -1 if aim.settings.objective == "cost" else 1
            assert sign * value == pytest.approx(worth(aim, y, answers)[0]), name


def test_of_equals_the_nearest_to_one_half() -> None:
    """Where several thresholds cost the same, the model's own answers change least."""
    aim = late("cost", costs={"late -> on_time": 1.0, "on_time -> late": 1.0})
    tuned, _, _ = found(aim, [0.1, 0.2, 0.7, 0.9], [False, True, False, True])
    # One mistake at 0.15 and at 0.8, two at 0.45.
    assert tuned.threshold == pytest.approx(0.8)
    assert tuned.after == {"cost_per_row": 0.25}


def test_of_equal_recalls_the_higher_precision() -> None:
    """A late flight that is found anyway is not found with more false alarms."""
    tuned, _, _ = found(
        late("recall_at_precision", precision=0.4), [0.9, 0.8, 0.6, 0.2], [True, True, False, False]
    )
    assert tuned.threshold == pytest.approx(0.7)
    assert tuned.after == {"recall": 1.0, "precision": 1.0}


def test_one_answer_for_all_is_no_threshold() -> None:
    """Where never to warn is cheapest, both answers stay possible, and that is told."""
    aim = late("cost", costs={"late -> on_time": 1.0, "on_time -> late": 1000.0})
    tuned, X, _ = found(aim, [0.1, 0.2, 0.7, 0.9], [True, True, False, False])
    assert set(tuned.model.predict(X)) == {"late", "on_time"}
    assert tuned.constant == "on_time"


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("steps", [0, 1])
def test_neighbours_of_the_machine_are_parted(kind: type[np.floating[Any]], steps: int) -> None:
    """Between two numbers with none between them, the threshold is the upper one."""
    lower = kind(0.3)
    for _ in range(steps):  # half-way is rounded up from one, and down from the next
        lower = np.nextafter(lower, kind(1))
    X = pd.DataFrame({"p": np.array([lower, np.nextafter(lower, kind(1))], dtype=kind)})
    tuned = tune(Recorded(), X, np.array(["on_time", "late"]), late("f_beta"))
    assert tuned.model.predict(X).tolist() == ["on_time", "late"]


def test_rows_that_are_served_again_are_answered_alike() -> None:
    """No threshold lies on a probability, whose last digit another batch may move."""
    random = np.random.default_rng(1)
    p = random.random(50)
    tuned, _, _ = found(late("f_beta"), p.tolist(), (random.random(50) < p).tolist())
    assert len(tuned.thresholds) == 49
    assert not set(tuned.thresholds) & set(p)
    assert type(tuned.threshold) is float


def test_the_winner_is_wrapped_and_not_learned_again() -> None:
    """The model handed out is fitted to whoever asks, and gives the winner's probabilities."""
    tuned, X, _ = found(late("cost"), [0.1, 0.4, 0.3, 0.9], [False, True, False, True])
    np.testing.assert_array_equal(tuned.model.predict_proba(X), Recorded().predict_proba(X))
    assert tuned.model.classes_.tolist() == ["late", "on_time"]
    check_is_fitted(tuned.model)


def test_a_precision_out_of_reach_is_refused() -> None:
    """The message names the highest that can be reached, and where it was set."""
    aim = late("recall_at_precision", precision=0.9)
    with pytest.raises(ProjectError) as caught:
        found(aim, [0.9, 0.8, 0.7, 0.1], [False, True, True, False])
    assert "0.9 is asked for; the highest is 0.6667, with a recall of 1.0000" in caught.value.found
    assert "train.threshold.precision" in caught.value.next_move


def test_a_model_that_tells_nothing_apart_has_no_threshold() -> None:
    """One probability for every row is a winner that no threshold can mend."""
    with pytest.raises(SweepError, match=r"all 3 validation rows 0\.5 of late"):
        found(late("f_beta"), [0.5, 0.5, 0.5], [True, False, True])


# -- the target's classes -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "positive", "expected"),
    [
        ([False, True], None, True),
        ([False, True], False, False),
        ([0, 1], None, 1),
        ([3, 7], 3, 3),
        (["a", "b"], "b", "b"),
    ],
)
def test_labels_of_every_kind(classes: list[Any], positive: object, expected: object) -> None:
    """Booleans, whole numbers and text are parted, whichever class is the positive one."""
    aim = read_aim(ThresholdSettings(objective="f_beta"), np.array(classes), positive)
    assert aim is not None
    assert (aim.positive, type(aim.positive)) == (expected, type(expected))
    p = np.array([0.1, 0.2, 0.3, 0.9])
    y = np.array(classes)[[1, 1, 0, 0]]
    tuned = tune(Recorded(tuple(classes)), pd.DataFrame({"p": p}), y, aim)
    np.testing.assert_array_equal(tuned.model.predict(pd.DataFrame({"p": p})), y)


@pytest.mark.parametrize(
    ("classes", "first", "second"),
    [
        ([False, True], "true -> false", "false->true"),
        ([3, 7], "7 -> 3", "3  ->  7"),
        (["a -> b", "c"], "c -> a->b", "a -> b -> c"),
    ],
)
def test_costs_name_classes_of_every_kind(classes: list[Any], first: str, second: str) -> None:
    """As `[gate.confusion]` does: also with an arrow in a name, and any space beside it."""
    read = ThresholdSettings(objective="cost", costs={first: 5.0, second: 2.0})
    aim = read_aim(read, np.array(classes), None)
    assert aim is not None
    assert aim.positive == classes[1]
    assert (aim.missed, aim.false_alarm) == (5.0, 2.0)
    turned = read_aim(read, np.array(classes), classes[0])
    assert turned is not None
    assert (turned.missed, turned.false_alarm) == (2.0, 5.0)


@pytest.mark.parametrize(
    ("given", "classes", "positive", "said"),
    [
        ({"objective": "f_beta"}, ["a", "b", "c"], "a", "3 in the training rows: a, b, c"),
        ({"objective": "f_beta"}, list(range(9)), 1, "9 in the training rows: 0, 1, 2, 3, 4, ..."),
        ({"objective": "f_beta"}, ["a", "b"], None, "a and b, and no data.positive"),
        (
            {"objective": "recall_at_precision", "precision": 0.5},
            [3, 7],
            None,
            "3 and 7, and no data.positive",
        ),
        ({"objective": "f_beta"}, ["a", "b"], "c", "data.positive = 'c', and a and b"),
        ({"objective": "cost", "costs": COSTS}, ["late", "early"], None, '"late -> on_time"'),
        (
            {"objective": "cost", "costs": {"a -> b": 1, "a -> c": 1}},
            ["a", "b"],
            None,
            'name "b -> a" and "a -> b"',
        ),
    ],
)
def test_an_aim_that_the_target_has_no_use_for(
    given: dict[str, Any], classes: list[Any], positive: object, said: str
) -> None:
    """Other classes than two, an unknown positive one, and costs of others are refused."""
    with pytest.raises(ProjectError, match=re.escape(said)):
        read_aim(ThresholdSettings.model_validate(given), np.array(classes), positive)


def test_no_objective_is_no_aim() -> None:
    """Whatever the target is."""
    assert read_aim(ThresholdSettings(), np.array(["a", "b", "c"]), None) is None


# -- the settings -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('objective = "f1"', "'none', 'cost', 'f_beta' or 'recall_at_precision'"),
        ("goal = 1", "Extra inputs"),
        ("beta = 2", 'beta goes with objective = "f_beta"'),
        ('objective = "cost"\nbeta = 1', 'beta goes with objective = "f_beta"'),
        ('objective = "f_beta"\nprecision = 0.5', 'precision goes with objective = "recall_at'),
        ('objective = "f_beta"\ncosts = {"a -> b" = 1}', 'costs goes with objective = "cost"'),
        ('objective = "f_beta"\nbeta = 0', "greater than 0"),
        ('objective = "f_beta"\nbeta = inf', "finite number"),
        ('objective = "f_beta"\nbeta = true', "valid number"),
        ('objective = "recall_at_precision"', "needs precision"),
        ('objective = "recall_at_precision"\nprecision = 0', "greater than 0"),
        ('objective = "recall_at_precision"\nprecision = 1.1', "less than or equal to 1"),
        ('objective = "cost"', "costs of both mistakes, and 0 given"),
        ('objective = "cost"\ncosts = {"a -> b" = 1}', "costs of both mistakes, and 1 given"),
        ('objective = "cost"\ncosts = {"a -> b" = 1, "b -> a" = 0}', "greater than 0"),
        ('objective = "cost"\ncosts = {"a -> b" = 1, "b" = 1}', "'b': a mistake is written"),
        ('objective = "cost"\ncosts = {"a -> b" = 1, "b -> " = 1}', "'b -> ': a mistake is writ"),
        ('objective = "cost"\ncosts = {"a -> b" = 1, "b -> b" = 1}', "is no mistake"),
    ],
)
def test_bad_settings(toml: str, said: str) -> None:
    """What is unknown, not needed, absent or out of range is refused when the file is read."""
    with pytest.raises(ValidationError, match=re.escape(said)):
        TrainSettings.model_validate({"threshold": tomllib.loads(toml)})


# -- the documentation --------------------------------------------------------------------


@pytest.mark.skipif(not DOCS.is_dir(), reason="the documentation is not part of the wheel")
def test_the_worked_example_is_so() -> None:
    """Each threshold and number of the example in docs/train.md is what tuning its rows gives."""
    text = (DOCS / "train.md").read_text()
    rows = re.findall(r"^\| \d+ \| (\w+) \| ([\d.]+) \|$", text, re.M)
    assert len(rows) == 10
    toml = next(b for b in re.findall(r"```toml\n(.*?)```", text, re.S) if "objective" in b)
    read = tomllib.loads(toml)["train"]["threshold"]
    given = {
        "`cost`, as above": read,
        "`f_beta`, `beta = 2`": {"objective": "f_beta", "beta": 2},
        "`recall_at_precision`, `precision = 0.75`": {
            "objective": "recall_at_precision",
            "precision": 0.75,
        },
    }
    for shown, declared in given.items():
        aim = late(**declared)
        tuned, _, _ = found(aim, [float(p) for _, p in rows], [c == "late" for c, _ in rows])
        before, after = (
            ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in measures.items())
            for measures in (tuned.before, tuned.after)
        )
        assert f"| {shown} | {tuned.threshold:.4f} | {before} | {after} |" in text
