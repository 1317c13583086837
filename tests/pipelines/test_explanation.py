"""What a sweep's trials say, from trials that fit on a few lines."""

from typing import Any

import numpy as np
import pytest

from pipelines.explanation import (
    MOST_POINTS,
    Comparison,
    Spread,
    Standing,
    compare,
    slices,
    spent,
    survival,
    turning_point,
    typical,
)
from pipelines.sweep.trial import Point, Trial


def _trial(
    number: int, scores: list[float], rung: int, state: str = "KILLED", **more: Any
) -> Trial:
    """Return a network measured at each epoch, 0.1 better on what it learned from."""
    curve = tuple(Point(epoch, -score, score, score + 0.1) for epoch, score in enumerate(scores, 1))
    values = {
        "params": {"layers": 1 + number % 2, "width": 16},
        "score": max(scores, default=None),
        "curve": curve,
        "seconds": float(len(scores)),
        "units": len(scores),
        "rung": rung,
    }
    return Trial(number=number, family="mlp", state=state, **{**values, **more})  # type: ignore[arg-type]


def _standing(score: float, gap: float | None = 0.0, **params: Any) -> Standing:
    return Standing(Trial(0, "mlp", params, "FINISHED"), score, gap)


def test_trials_are_compared_at_the_highest_rung_that_enough_reached() -> None:
    """What one that went further became later does not count."""
    stopped, further = _trial(0, [0.3], 0), _trial(1, [0.2, 0.5, 0.9], 1)
    found = compare([stopped, further], fewest=2)
    assert (found.rung, found.units) == (0, 1)
    assert [each.score for each in found.standings] == [0.3, 0.2]


def test_a_trial_that_ended_by_patience_stands_at_every_later_rung() -> None:
    """It had no more to show, so it is compared by its best."""
    patient = _trial(0, [0.7, 0.6], 0, "FINISHED")
    found = compare([patient, _trial(1, [0.2, 0.5, 0.6], 1), _trial(2, [0.1], 0)], fewest=2)
    assert found.rung == 1
    assert [each.score for each in found.standings] == [0.7, 0.6]


def test_a_family_measured_once_a_rung_is_compared_by_its_rungs() -> None:
    """Trees differ from trial to trial; their rungs do not."""
    trees = [
        Trial(0, "boosting", {}, "KILLED", curve=(Point(10, 0, 0.4), Point(30, 0, 0.5)), rung=1),
        Trial(1, "boosting", {}, "KILLED", curve=(Point(50, 0, 0.6),), rung=0),
    ]
    found = compare(trees, fewest=2)
    assert (found.rung, found.units) == (0, None)
    assert [each.score for each in found.standings] == [0.4, 0.6]


def test_the_gap_is_the_last_known_one_up_to_the_rung() -> None:
    """At its best point a network has not begun to memorise yet."""
    curve = (Point(1, 0, 0.8, 0.8), Point(2, 0, 0.7), Point(3, 0, 0.6, 0.9))
    trial = _trial(0, [], 1, units=3, score=0.8, curve=curve)
    (only,) = compare([trial], fewest=1).standings
    assert only.score == 0.8
    assert only.gap == pytest.approx(0.3)


def test_nothing_measured_is_nothing_to_compare() -> None:
    """Failed trials alone give an empty explanation, and no error."""
    failed = _trial(0, [], -1, "FAILED")
    assert compare([failed]) == Comparison(-1, None, ())
    assert slices(()) == typical([failed]) == ()


def test_choices_are_a_bin_each_in_their_order() -> None:
    """With the quartiles of the score and of the gap, and how many failed."""
    standings = [_standing(s, s - 0.5, width=w) for w, s in [(64, 0.6), (16, 0.5), (64, 0.8)]]
    (found,) = slices(standings, failed=[Trial(9, "mlp", {"width": 16}, "FAILED")])
    assert [(b.low, b.high, b.trials, b.failed) for b in found.bins] == [
        (16, 16, 1, 1),
        (64, 64, 2, 0),
    ]
    assert found.bins[1].score == pytest.approx(Spread(0.65, 0.7, 0.75))
    assert found.bins[1].gap == pytest.approx(Spread(0.15, 0.2, 0.25))
    assert [found.place(w) for w in (16, 64)] == [0.25, 0.75]


def test_a_rate_is_binned_on_its_logarithm() -> None:
    """Nine trials make three bins, each a third of the decades."""
    rates = [10.0**-power for power in (4, 4, 4, 2.5, 2.5, 2.5, 1, 1, 1)]
    rates = [rate * (1 + place / 1000) for place, rate in enumerate(rates)]
    (found,) = slices([_standing(0.5, learning_rate_init=rate) for rate in rates])
    assert found.scale == "log"
    assert [each.trials for each in found.bins] == [3, 3, 3]
    assert found.place(10**-2.5) == pytest.approx(0.5, abs=0.01)


def test_every_trial_is_in_one_bin() -> None:
    """Also those at the ends, whatever the scale; a missing parameter is in none."""
    random = np.random.default_rng(0)
    for scale in (1.0, 8.0):
        values = np.exp(scale * random.random(50))
        standings = [*(_standing(0.5, x=float(v)) for v in values), _standing(0.5)]
        (found,) = slices(standings)
        assert sum(each.trials for each in found.bins) == len(found.dots) == 50
        assert found.place(float(values.min())) == 0.0
        assert found.place(float(values.max())) == pytest.approx(1.0)


def test_what_is_asked_of_networks_comes_first() -> None:
    """Layers, width, learning rate and momentum, then by importance; what is alike is left out."""
    params = {"alpha": 1.0, "same": 1, "batch": 1, "momentum": 0.5, "layers": 1}
    standings = [_standing(0.5, **params), _standing(0.5, **{k: v * 2 for k, v in params.items()})]
    standings = [
        Standing(Trial(0, "mlp", {**e.trial.params, "same": 1}, "FINISHED"), 0.5, 0.0)
        for e in standings
    ]
    names = [each.name for each in slices(standings, importance=["batch", "alpha"])]
    assert names == ["layers", "momentum", "batch", "alpha"]


def _networks(score: Any, gap: Any, count: int = 120) -> list[Standing]:
    random = np.random.default_rng(0)
    found = []
    for _ in range(count):
        layers, width = int(random.integers(1, 7)), int(random.choice([16, 32, 64, 128]))
        size = np.log2(layers * width)
        noise = 0.01 * random.normal(size=2)
        found.append(
            _standing(
                0.8 + score(size) + noise[0], gap(size) + noise[1], layers=layers, width=width
            )
        )
    return found


def test_where_more_neurons_stop_helping_is_found() -> None:
    """The score rises up to 128 neurons and falls beyond, while the gap grows."""
    found = turning_point(
        _networks(lambda size: -0.02 * abs(size - 7), lambda size: 0.03 * max(size - 7, 0))
    )
    assert found is not None
    assert 64 <= found.neurons <= 192
    assert found.score.high < 0.01
    assert found.gap.low > 0


@pytest.mark.parametrize(
    ("score", "gap"),
    [(0.02, 0.02), (0.0, 0.0), (-0.02, 0.0)],
    ids=["rises", "flat", "no gap"],
)
def test_no_turning_point_is_claimed_without_one(score: float, gap: float) -> None:
    """Where more is better, size does not matter, or the score falls for another reason."""
    assert turning_point(_networks(lambda size: score * size, lambda size: gap * size)) is None


def test_few_trials_cannot_tell() -> None:
    """However clear they look."""
    few = _networks(lambda size: -0.1 * size, lambda size: 0.1 * size, count=12)
    assert turning_point(few) is None
    assert turning_point([_standing(0.5, C=1.0)] * 40) is None


def test_what_became_of_the_trials_adds_up() -> None:
    """At each rung those that entered went on, ended, were stopped or failed."""
    trials = [
        _trial(0, [0.1], 0),
        _trial(1, [0.2, 0.3, 0.4], 1, "FINISHED"),
        _trial(2, [0.2, 0.1], 0, "FAILED"),
        _trial(3, [], -1, "FAILED"),
        _trial(4, [0.5, 0.4], 1, "FINISHED"),
    ]
    first, second = survival(trials)
    assert (first.entered, first.promoted, first.stopped, first.failed) == (5, 3, 1, 1)
    assert (second.entered, second.finished, second.ended, second.failed) == (3, 1, 1, 1)


def test_a_known_last_rung_tells_patience_from_the_top() -> None:
    """Where none reached it, all that finished had got no better."""
    trials = [_trial(0, [0.1, 0.2, 0.3], 1, "FINISHED")]
    assert survival(trials)[-1].finished == 1
    assert survival(trials, {"mlp": 2})[-1].ended == 1


def test_what_all_would_have_taken_is_each_ones_own_time_a_unit() -> None:
    """One of a second a unit and one of two, of three units each."""
    short = _trial(0, [0.1], 0, seconds=2.0)
    whole = _trial(1, [0.1, 0.2, 0.3], 1, "FINISHED", seconds=3.0)
    (found,) = spent([short, whole])
    assert (found.units, found.full_units) == (4, 6)
    assert (found.seconds, found.full_seconds) == (5.0, 9.0)


def test_trees_are_counted_against_each_trials_own_ensemble() -> None:
    """A rung is the same part of each: ten trees of thirty, twenty of sixty."""
    curve = (Point(10, 0, 0.4), Point(30, 0, 0.5))
    whole = Trial(0, "b", {}, "FINISHED", curve=curve, rung=1, units=30, seconds=3.0)
    part = Trial(1, "b", {}, "KILLED", curve=(Point(20, 0, 0.4),), rung=0, units=20, seconds=4.0)
    failed = Trial(2, "b", {}, "FAILED")
    (found,) = spent([whole, part, failed])
    assert found.full_units == 30 + 60 + 45
    assert found.full_seconds == pytest.approx(3.0 + 12.0 + 0.15 * 45)


def test_the_typical_trial_is_that_of_those_in_the_rung() -> None:
    """From one rung to the next it is the median of the same trials."""
    trials = [
        _trial(0, [0.1, 0.1], 0),
        _trial(1, [0.3, 0.4, 0.5], 1),
        _trial(2, [0.2, 0.6, 0.7], 1),
    ]
    first, second = typical(trials)
    assert (first.trials, [unit for unit, _ in first.points]) == (3, [1, 2])
    assert [spread.median for _, spread in first.points] == pytest.approx([0.2, 0.4])
    assert (second.trials, [unit for unit, _ in second.points]) == (2, [2, 3])
    assert [spread.median for _, spread in second.points] == pytest.approx([0.5, 0.6])


def test_a_long_curve_keeps_some_of_its_points() -> None:
    """Its ends among them."""
    (stretch,) = typical([_trial(0, [0.5] * 5_000, 0)])
    assert len(stretch.points) <= MOST_POINTS
    assert (stretch.points[0][0], stretch.points[-1][0]) == (1, 5_000)
