"""Every picture of a sweep is drawn, also from the least that a sweep can give."""

import struct
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from pipelines import sweep_pictures
from pipelines.explanation import explain
from pipelines.sweep.sweep import SweepResult
from pipelines.sweep.trial import Point, Trial

MODEL = Pipeline(
    [("preprocess", FunctionTransformer()), ("model", GaussianNB().fit([[0], [1]], [0, 1]))]
)


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    """A picture that matplotlib warns of is one that nobody looked at."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def _size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def _trial(number: int, epochs: int = 8, **changes: Any) -> Trial:
    curve = tuple(
        Point(e, 1 / e, 0.8 + 0.01 * min(e, 5) - number / 100, 0.9 if e % 3 == 0 else None)
        for e in range(1, epochs + 1)
    )
    score = max((point.score for point in curve), default=None)
    values = {
        "number": number,
        "family": "mlp",
        "params": {
            "layers": 1 + number % 3,
            "width": 16,
            "alpha": 10.0**-number,
            "solver": "as"[number % 2],
        },
        "state": "FINISHED",
        "score": score,
        "train_score": 0.9,
        "curve": curve,
        "rung": 1,
        "units": epochs,
        "seconds": 1.0,
    }
    return Trial(**{**values, **changes})


SWEEPS = {
    "one-fit": (_trial(0, epochs=1, rung=0),),
    "two": (_trial(0, epochs=2), _trial(1, epochs=1, state="KILLED", rung=0)),
    "failed": (_trial(0), _trial(1, state="FAILED", score=None, curve=(), rung=-1, units=0)),
    "five": tuple(_trial(n) for n in range(5)),
    "no-params": tuple(_trial(n, params={}) for n in range(5)),
    "bool": tuple(_trial(n, params={"one": bool(n)}) for n in range(2)),
    "conditional": (_trial(0), _trial(1, params={"solver": "sgd", "momentum": 0.5}), _trial(2)),
    "equal": tuple(_trial(0, score=0.5) for _ in range(3)),
    "no-training-score": tuple(
        _trial(n, train_score=None, curve=(Point(1, 1.0, 0.5),)) for n in range(3)
    ),
    "rungs": tuple(
        _trial(n, curve=tuple(Point(9 * k, 0.1, 0.5 + n / 9, 0.6) for k in (1, 3, 9)), rung=2)
        for n in range(4)
    ),
    "many": tuple(_trial(n, params={"C": 1.0 + n}) for n in range(120)),
    "formulas": tuple(
        _trial(n, family="$\\late_{$", params={"$x_1$^": "\\frac $" + str(n)}) for n in range(3)
    ),
}


def _result(trials: tuple[Trial, ...], **changes: Any) -> SweepResult:
    values = {
        "trials": trials,
        "best": trials[0],
        "model": MODEL,
        "ensemble": None,
        "rungs": (),
        "spent": {},
        "importance": {},
        "stopped": "trials",
        "seconds": 12.0,
        "scoring": "accuracy",
    }
    return SweepResult(**{**values, **changes})


@pytest.mark.parametrize("trials", SWEEPS.values(), ids=SWEEPS)
def test_any_sweep_is_drawn(trials: tuple[Trial, ...]) -> None:
    """Killed and failed trials, single fits, parameters that only some have, names of any kind."""
    told = explain(_result(trials))
    for png in (
        sweep_pictures.slices(told, 0),
        sweep_pictures.parallel_coordinates(trials, trials[0], "accuracy"),
        sweep_pictures.learning_curves(trials, trials[0], told.typical, "accuracy"),
        sweep_pictures.survival(told.survival),
        sweep_pictures.spent(told.spent),
    ):
        width, height = _size(png)
        assert width >= 900
        assert height > 150


@pytest.mark.parametrize("name", ["one-fit", "five", "rungs", "formulas"])
def test_the_sheet_is_as_wide_as_a_readme(name: str) -> None:
    """1,200 pixels, whatever is on it."""
    trials = SWEEPS[name]
    result = _result(trials, importance={"layers": 1.0} if name == "five" else {})
    assert _size(sweep_pictures.overview(result, explain(result)))[0] == 1200


def test_the_best_trial_decides_the_family_that_is_compared() -> None:
    """Parameters of other families are not on the axes."""
    mine = [_trial(n) for n in range(4)]
    others = [_trial(n + 9, family="linear", params={f"p{n}": n}) for n in range(4)]
    alone = sweep_pictures.parallel_coordinates(mine, mine[0], "accuracy")
    assert alone == sweep_pictures.parallel_coordinates([*mine, *others], mine[0], "accuracy")


@pytest.mark.parametrize(
    "shares", [{}, {"a": 1.0}, {f"p{i}": 0.1 for i in range(40)}, {"$\\b{$": 1}]
)
def test_importance_is_drawn_for_any_number_of_parameters(shares: dict[str, float]) -> None:
    """Also for none, when too few trials finished."""
    assert _size(sweep_pictures.importance(shares))[0] >= 900


def test_no_rung_and_no_family_are_said() -> None:
    """A picture of nothing says that it is one."""
    assert _size(sweep_pictures.survival(()))[1] < 200
    assert _size(sweep_pictures.spent(()))[1] < 200
