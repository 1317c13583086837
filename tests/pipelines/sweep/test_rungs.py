"""pipelines.sweep.rungs: floors from the trials that are known."""

import pytest

from pipelines.sweep.rungs import MINIMUM_TRIALS, floors
from pipelines.sweep.trial import Point, State, Trial


def trial(*scores: float, state: State = "FINISHED") -> Trial:
    """Make a trial of these scores, one an epoch."""
    curve = tuple(Point(n, 0.5, score, score) for n, score in enumerate(scores, start=1))
    return Trial(0, "mlp", {}, state, curve=curve)


def test_the_median_of_the_best_so_far() -> None:
    """A floor is the median, over the trials that reached its rung, of their best by then."""
    known = [trial(s, s + 0.1, s) for s in (0.1, 0.2, 0.3, 0.4, 0.5)]
    assert floors(known) == pytest.approx({1: 0.3, 3: 0.4})


def test_too_few_say_nothing() -> None:
    """There is no floor before enough trials have reached the rung."""
    assert floors([trial(0.5)] * (MINIMUM_TRIALS - 1)) == {}
    assert floors([trial(0.5)] * MINIMUM_TRIALS) == {1: 0.5}


def test_killed_trials_count() -> None:
    """A killed trial counts at the rungs that it reached: leaving it out would raise floors."""
    known = [trial(0.9)] * 3 + [trial(0.1, state="KILLED")] * 4
    assert floors(known) == {1: 0.1}


def test_failed_trials_do_not() -> None:
    """A trial that diverged tells nothing about the others."""
    assert floors([trial(0.9)] * 4 + [trial(0.0, state="FAILED")] * 9) == {1: 0.9}


def test_the_best_so_far_is_never_below() -> None:
    """The best of the known trials would pass every floor."""
    known = [trial(s, s, s) for s in (0.2, 0.9, 0.4, 0.3)]
    assert all(floor <= 0.9 for floor in floors(known).values())
