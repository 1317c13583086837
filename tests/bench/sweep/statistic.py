"""Expected running time to a target, and how many times one contestant's is another's."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
LEVEL = 0.95

Runs = Sequence[Mapping[str, Any]]
"""One a seed, of one contestant on one data set: ``seconds``, and whether it ``reached``."""


class Ratio(NamedTuple):
    """A geometric mean over data sets, with the ends of its interval."""

    value: float
    low: float
    high: float
    bound: bool
    """Whether it is no more than a bound from below: a rival never reached a target."""


def expected_seconds(runs: Runs) -> float:
    """Return the expected running time to the target [1]_: total time over successes.

    Without any success it is a bound from below: as if the next second had brought one.

    References
    ----------
    .. [1] N. Hansen et al., "Real-parameter black-box optimization benchmarking 2009:
       experimental setup", 2009, https://inria.hal.science/inria-00362649
    """
    total = math.fsum(run["seconds"] for run in runs)
    return total / max(1, sum(run["reached"] for run in runs))


def ratio(rival: Mapping[str, Runs], ours: Mapping[str, Runs], *, seed: int = 0) -> Ratio:
    """Return how many times our expected running time the rival's is.

    The interval is a bootstrap's over seeds [1]_: on each data set as many seeds are drawn, with
    replacement, for either.

    References
    ----------
    .. [1] B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", 1993
    """
    rng = np.random.default_rng(seed)
    logs = np.mean(
        [np.log(_drawn(runs, rng) / _drawn(ours[name], rng)) for name, runs in rival.items()],
        axis=0,
    )
    drawn = np.exp(logs)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    bound = any(not any(run["reached"] for run in runs) for runs in rival.values())
    return Ratio(_mean(rival, ours), float(low), float(high), bound)


def sealed(runs: Runs) -> float | None:
    """Return the mean sealed accuracy of the winners; None without one."""
    found = [run["sealed"] for run in runs if run["sealed"] is not None]
    return float(np.mean(found)) if found else None


def points_behind(rival: Mapping[str, Runs], ours: Mapping[str, Runs]) -> Ratio | None:
    """Return how many points of sealed accuracy our winners are behind, over all data sets.

    Data sets on which either has no winner are left out; None when that is all of them.
    """
    names = [name for name in rival if sealed(rival[name]) and sealed(ours[name])]
    if not names:
        return None
    rng = np.random.default_rng(0)

    def behind(draw: bool) -> float:
        each = []
        for name in names:
            theirs, own = (
                [run["sealed"] for run in runs[name] if run["sealed"] is not None]
                for runs in (rival, ours)
            )
            if draw:
                theirs, own = rng.choice(theirs, len(theirs)), rng.choice(own, len(own))
            each.append(np.mean(theirs) - np.mean(own))
        return 100 * float(np.mean(each))

    drawn = [behind(True) for _ in range(RESAMPLES // 10)]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Ratio(behind(False), float(low), float(high), False)


def _mean(rival: Mapping[str, Runs], ours: Mapping[str, Runs]) -> float:
    logs = [
        math.log(expected_seconds(runs) / expected_seconds(ours[name]))
        for name, runs in rival.items()
    ]
    return math.exp(math.fsum(logs) / len(logs))


def _drawn(runs: Runs, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the expected running time of each resample."""
    places = rng.integers(0, len(runs), (RESAMPLES, len(runs)))
    seconds, reached = (np.array([run[name] for run in runs]) for name in ("seconds", "reached"))
    drawn: NDArray[np.float64] = seconds[places].sum(axis=1)
    return drawn / np.maximum(1, reached[places].sum(axis=1))
