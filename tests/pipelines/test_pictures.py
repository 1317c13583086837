"""Every picture is drawn, also from the least that a sweep or a table can give."""

import struct
import warnings
from typing import Any

import numpy as np
import pytest

from pipelines import pictures
from pipelines.evaluation import Evaluation
from pipelines.sweep.trial import Point, Trial
from pipelines.threshold import Aim, ThresholdSettings, Tuned


@pytest.fixture(autouse=True)
def _no_warnings() -> Any:
    """A picture that matplotlib warns of is one that nobody looked at."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def _size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def _evaluation(k: int, counts: np.ndarray | None = None) -> Evaluation:
    labels = tuple(f"class {i}" for i in range(k))
    confusion = np.arange(k * k).reshape(k, k) if counts is None else counts
    empty = np.array([])
    return Evaluation(labels, empty, empty, np.empty((0, k)), confusion, {}, {}, 0.0)


def _trial(number: int, epochs: int = 8, **changes: Any) -> Trial:
    curve = tuple(
        Point(e, 1 / e, 0.9, 0.8 + 0.01 * min(e, 5) - number / 100) for e in range(1, epochs + 1)
    )
    score = max((point.score for point in curve), default=None)
    values = {
        "number": number,
        "family": "mlp",
        "params": {"layers": number % 3, "alpha": 10.0**-number, "solver": "as"[number % 2]},
        "state": "FINISHED",
        "score": score,
        "train_score": 0.9,
        "curve": curve,
    }
    return Trial(**{**values, **changes})


@pytest.mark.parametrize("k", [1, 2, 12, 13, 100])
@pytest.mark.parametrize("normalised", [True, False])
def test_a_confusion_matrix_of_any_size_fits_a_screen(k: int, normalised: bool) -> None:
    """A hundred classes are as readable as they get, and no wider than a page."""
    width, height = _size(pictures.confusion(_evaluation(k), normalised=normalised))
    assert 400 < width < 1300
    assert 350 < height < 1300


def test_the_normalised_matrix_is_another_picture() -> None:
    """Rows without any true row divide by nothing."""
    evaluation = _evaluation(2, np.array([[0, 0], [3, 7]]))
    raw = pictures.confusion(evaluation, normalised=False)
    assert raw != pictures.confusion(evaluation, normalised=True)


def test_a_matrix_of_nothing_is_drawn() -> None:
    """No rows at all give a picture of zeros."""
    _size(pictures.confusion(_evaluation(3, np.zeros((3, 3), dtype=int)), normalised=True))
    _size(pictures.confusion(_evaluation(3, np.zeros((3, 3), dtype=int)), normalised=False))


@pytest.mark.parametrize(
    "trials",
    [
        (),
        (_trial(0, epochs=1),),
        (_trial(0, epochs=2),),
        (_trial(0, state="KILLED"), _trial(1, state="FAILED", score=None, curve=())),
        tuple(_trial(n) for n in range(5)),
        tuple(_trial(n, params={}) for n in range(5)),
        tuple(_trial(n, params={"one": True}) for n in range(2)),
        (_trial(0), _trial(1, params={"solver": "sgd", "momentum": 0.5}), _trial(2)),
        tuple(_trial(0, score=0.5) for _ in range(3)),
    ],
    ids=["none", "one-fit", "two", "killed", "five", "no-params", "bool", "conditional", "equal"],
)
def test_any_list_of_trials_is_drawn(trials: tuple[Trial, ...]) -> None:
    """Killed and failed ones, single fits, parameters that only some have."""
    for draw in (pictures.learning_curves, pictures.parallel_coordinates):
        width, height = _size(draw(trials, "accuracy"))
        assert width >= 900
        assert height > 150


def test_the_best_trial_decides_the_family_that_is_compared() -> None:
    """Parameters of other families are not on the axes."""
    mine = [_trial(n) for n in range(4)]
    others = [_trial(n + 9, family="linear", params={f"p{n}": n}) for n in range(4)]
    alone = pictures.parallel_coordinates(mine, "accuracy")
    assert alone == pictures.parallel_coordinates([*mine, *others], "accuracy")


@pytest.mark.parametrize("shares", [{}, {"a": 1.0}, {f"p{i}": 0.1 for i in range(10)}])
def test_importance_is_drawn_for_any_number_of_parameters(shares: dict[str, float]) -> None:
    """Also for none, when too few trials finished."""
    assert _size(pictures.importance(shares))[0] >= 900


@pytest.mark.parametrize("rows", [0, 1, 40])
def test_slices_are_drawn_for_any_number(rows: int) -> None:
    """Only the worst are shown, and long names are cut."""
    found = [
        {"slice": f"carrier = {n} {'x' * 200}", "rows": 1_000, "share": 0.5 + n / 100}
        for n in range(rows)
    ]
    width, height = _size(pictures.slices(found, 0.9))
    assert 900 <= width < 1000
    assert height < 800


@pytest.mark.parametrize("thresholds", [1, 2, 5_000])
@pytest.mark.parametrize("objective", ["cost", "f_beta", "recall_at_precision"])
def test_the_threshold_is_drawn_for_each_objective(objective: str, thresholds: int) -> None:
    """Also where only one was compared, and where the class has a name full of formulas."""
    given: dict[str, Any] = {
        "cost": {"costs": {"a -> b": 1.0, "b -> a": 9.0}},
        "f_beta": {},
        "recall_at_precision": {"precision": 0.7},
    }
    settings = ThresholdSettings.model_validate({"objective": objective, **given[objective]})
    falling = np.linspace(0.9, 0.1, thresholds)
    names = {
        "cost": ("cost_per_row",),
        "f_beta": ("f_beta",),
        "recall_at_precision": ("recall", "precision"),
    }[objective]
    measures = {name: np.sqrt(falling) for name in names}
    values = {name: float(at[0]) for name, at in measures.items()}
    aim = Aim(settings, "$\\late_{$", "on_time")
    tuned: Any = Tuned(None, aim, 0.9, falling, measures, values, values, None)  # type: ignore[arg-type]
    width, height = _size(pictures.threshold(tuned))
    assert width >= 900
    assert height > 400


def test_names_are_drawn_as_they_are() -> None:
    """A dollar sign or an underscore in a name is no formula."""
    found = [{"slice": "$x_1$^ = \\frac $", "rows": 60, "share": 0.5}]
    _size(pictures.slices(found, 0.9))
    _size(pictures.importance({"$\\bad{$": 1.0}))
