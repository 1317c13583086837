"""Every picture is drawn, also from the least that a table can give."""

import struct
import warnings
from typing import Any

import numpy as np
import pytest

from pipelines import pictures
from pipelines.evaluation import Evaluation
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
