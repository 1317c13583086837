"""What the trials of a sweep say, as numbers: which values were better, where, and at what price.

Trials are compared **at an equal rung**. Left as they ended, a configuration that was stopped
after one epoch would stand beside one that had twenty-seven, and every hyperparameter that
makes a model learn slowly would look bad. Only survivors reach a high rung, so the rung is
the highest that still has enough trials; one that ended by patience had no more to show, and
stands at every later rung with its best.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.models.space import Value
from pipelines.parameters import Part, describe_learned
from pipelines.sweep.sweep import SweepResult
from pipelines.sweep.trial import Point, Trial

FEWEST = 20
"""Trials that a rung has to have for trials to be compared there."""

LEADING = ("layers", "width", "learning_rate_init", "momentum")
"""What is asked of a network first."""

MOST_VALUES = 8
"""Different numbers up to which each is a bin of its own."""

DECADE = 10.0
"""Largest over smallest value from which on a scale is logarithmic."""

MOST_POINTS = 60
"""Points that are kept of a long curve."""

_SMALLEST_SIDE = 8
_RESAMPLES = 2_000
_LEVEL = 0.9
_INDIFFERENT = 0.25

Scale = Literal["values", "linear", "log"]


class Spread(NamedTuple):
    """A middle and what lies around it: quartiles, or an interval; `of` gives quartiles."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float] | NDArray[np.float64]) -> "Spread":
        """Return the quartiles of at least one value."""
        low, median, high = np.quantile(np.asarray(values, dtype=np.float64), (0.25, 0.5, 0.75))
        return cls(float(low), float(median), float(high))


@dataclass(frozen=True)
class Standing:
    """A trial as it stood at the rung where it is compared.

    Parameters
    ----------
    trial : Trial
    score : float
        On the validation rows, at its best point up to that rung.
    gap : float or None
        The score on training rows less that on validation rows, where it stood then and not at
        its best: what as much training did to it. Up to the last point where both are known.
    """

    trial: Trial
    score: float
    gap: float | None


@dataclass(frozen=True)
class Comparison:
    """The trials of one family at an equal rung.

    Parameters
    ----------
    rung : int
        The highest that enough trials reached; -1 when none has a score.
    units : int or None
        Of the resource, where it is the same for all.
    standings : tuple of Standing
    """

    rung: int
    units: int | None
    standings: tuple[Standing, ...]


@dataclass(frozen=True)
class Bin:
    """Trials with like values of one hyperparameter.

    Parameters
    ----------
    low, high : value
        The ends; the same for a bin of one value.
    trials, failed : int
        Compared, and failed beside them.
    score, gap : Spread or None
        Quartiles; None where no trial has one.
    """

    low: Value
    high: Value
    trials: int
    failed: int
    score: Spread | None
    gap: Spread | None


@dataclass(frozen=True)
class Slice:
    """How the score and the gap moved along one hyperparameter.

    Parameters
    ----------
    name : str
    scale : "values", "linear" or "log"
    bins : tuple of Bin
        In the order of their values; none is empty.
    dots : tuple of (Value, Standing)
        The trials that are in the bins.
    """

    name: str
    scale: Scale
    bins: tuple[Bin, ...]
    dots: tuple[tuple[Value, Standing], ...]

    def place(self, value: Value) -> float:
        """Return where a value lies on the axis, from 0 to 1."""
        if self.scale == "values":
            values = [each.low for each in self.bins]
            return (values.index(value) + 0.5) / len(values)
        low, high = _on(self.scale, self.bins[0].low), _on(self.scale, self.bins[-1].high)
        return (_on(self.scale, value) - low) / (high - low)

    def middle(self, each: Bin) -> float:
        """Return where a bin's middle lies on the axis, from 0 to 1."""
        return (self.place(each.low) + self.place(each.high)) / 2


@dataclass(frozen=True)
class TurningPoint:
    """Where more neurons stopped helping.

    Parameters
    ----------
    neurons : int
        Layers times width, beyond which the score does not rise while the gap grows.
    beyond : int
        Trials with more.
    score, gap : Spread
        What the medians beyond have over those just below, with the bootstrap interval.
    """

    neurons: int
    beyond: int
    score: Spread
    gap: Spread


@dataclass(frozen=True)
class Survival:
    """What became of the trials of a family at one rung; the last five add up to ``entered``.

    Parameters
    ----------
    family : str
    rung : int
    entered : int
        Trials that were given the rung's units.
    promoted, finished, ended, stopped, failed : int
        Went on; were at the highest rung; no better for too long; others were given more
        in their place; failed on the way to this rung.
    """

    family: str
    rung: int
    entered: int
    promoted: int
    finished: int
    ended: int
    stopped: int
    failed: int


@dataclass(frozen=True)
class Spent:
    """What a family cost, and what it would have cost to train all of its trials as far as one.

    As far as the one that went furthest: where none of the family reached the last rung, to
    train all to the end would have cost still more.

    Parameters
    ----------
    family : str
    trials : int
    seconds, full_seconds : float
        In the workers. The second is each trial's time a unit, times all units: an estimate.
    units, full_units : int
        Of the family's resource.
    """

    family: str
    trials: int
    seconds: float
    full_seconds: float
    units: int
    full_units: int


@dataclass(frozen=True)
class Stretch:
    """The typical trial between two rungs: the same trials all along it.

    Parameters
    ----------
    trials : int
        That entered the rung.
    points : tuple of (units, Spread)
        Quartiles of their scores.
    """

    trials: int
    points: tuple[tuple[int, Spread], ...]


@dataclass(frozen=True)
class Explanation:
    """What one sweep says.

    Parameters
    ----------
    family : str
        The winner's, which the rest is about where it is about one family.
    comparison : Comparison
    slices : tuple of Slice
        Layers, width, learning rate and momentum first, then by importance.
    neurons : Slice or None
        The same along layers times width, for networks.
    turning : TurningPoint or None
        None when the trials cannot tell.
    survival : tuple of Survival
    spent : tuple of Spent
    typical : tuple of Stretch
    learned : tuple of Part
        Of the winner.
    """

    family: str
    comparison: Comparison
    slices: tuple[Slice, ...]
    neurons: Slice | None
    turning: TurningPoint | None
    survival: tuple[Survival, ...]
    spent: tuple[Spent, ...]
    typical: tuple[Stretch, ...]
    learned: tuple[Part, ...]


def explain(result: SweepResult) -> Explanation:
    """Say what a sweep's trials say."""
    trials, family = result.trials, result.best.family
    alike = [trial for trial in trials if trial.family == family]
    last_rungs = {rung.family: rung.rung for rung in result.rungs if rung.share >= 1.0}
    comparison = compare(alike)
    failed = [trial for trial in alike if trial.state == "FAILED"]
    sized = [each for each in comparison.standings if _neurons(each.trial) is not None]
    return Explanation(
        family=family,
        comparison=comparison,
        slices=slices(comparison.standings, failed, list(result.importance)),
        neurons=_along(
            "neurons", [(_neurons(each.trial) or 0, each) for each in sized], _sizes(failed)
        ),
        turning=turning_point(comparison.standings),
        survival=survival(trials, last_rungs),
        spent=spent(trials),
        typical=typical(alike),
        learned=describe_learned(result.model),
    )


def compare(trials: Sequence[Trial], fewest: int = FEWEST) -> Comparison:
    """Put trials of one family beside each other at the highest rung that enough have reached.

    With fewer than ``fewest`` trials in all, that is the first rung.
    """
    curved = [trial for trial in trials if trial.curve and trial.rung >= 0]
    if not curved:
        return Comparison(-1, None, ())
    rung = max(
        (k for k in range(max(t.rung for t in curved) + 1) if len(_at(curved, k)) >= fewest),
        default=0,
    )
    units = _units(curved).get(rung) if is_stepwise(curved) else None
    standings = [
        Standing(trial, max(points, key=lambda point: point.rank).score, _gap(points))
        for trial in _at(curved, rung)
        if (points := _up_to(trial, rung, units))
    ]
    return Comparison(rung, units, tuple(standings))


def slices(
    standings: Sequence[Standing], failed: Sequence[Trial] = (), importance: Sequence[str] = ()
) -> tuple[Slice, ...]:
    """Return how the score and the gap moved along each hyperparameter that varied."""
    names = {name: None for each in standings for name in each.trial.params}
    order = [*LEADING, *importance, *names]
    found = []
    for name in sorted(names, key=order.index):
        dots = [(e.trial.params[name], e) for e in standings if name in e.trial.params]
        beside = [trial.params[name] for trial in failed if name in trial.params]
        along = _along(name, dots, beside)
        found += [along] if along is not None else []
    return tuple(found)


def turning_point(standings: Sequence[Standing]) -> TurningPoint | None:
    """Find the number of neurons beyond which there is nothing to gain, and something to lose.

    Trials are put into up to six bins of like numbers of neurons, equally full. The turning
    point is the end of the first bin such that, of all trials beyond it as against those in
    it, the median score is not higher by more than a quarter of the interquartile range of
    all scores, and the median gap is larger, both by the ends of percentile bootstrap
    intervals [1]_. No shape of the curve is assumed: the score may rise, stay and fall.
    Looking in several places is paid for by wider intervals (Bonferroni), so that all of them
    hold together with 90 percent confidence.

    Other hyperparameters differ too, and are not held fixed: they are the noise.

    Returns
    -------
    TurningPoint or None
        None when there is no such place, or the trials are too few to tell.

    References
    ----------
    .. [1] B. Efron and R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    known = [
        (size, each.score, each.gap)
        for each in standings
        if each.gap is not None and (size := _neurons(each.trial)) is not None
    ]
    if len(known) < 2 * _SMALLEST_SIDE:
        return None
    size, score, gap = np.array(known, dtype=np.float64).T
    ends = np.unique(np.quantile(size, np.linspace(0, 1, 7)[1:], method="lower"))
    starts = np.array([-np.inf, *ends[:-1]])
    sides = [
        (end, (size > start) & (size <= end), size > end)
        for start, end in zip(starts, ends, strict=True)
    ]
    sides = [side for side in sides if min(side[1].sum(), side[2].sum()) >= _SMALLEST_SIDE]
    quartiles = Spread.of(score)
    indifferent = _INDIFFERENT * (quartiles.high - quartiles.low)
    random = np.random.default_rng(0)
    tail = (1 - _LEVEL) / 2 / max(len(sides), 1)
    for end, below, beyond in sides:
        risen = _difference(score, below, beyond, tail, random)
        grown = _difference(gap, below, beyond, tail, random)
        if risen.high <= indifferent and grown.low > 0:
            return TurningPoint(int(end), int(beyond.sum()), risen, grown)
    return None


def survival(
    trials: Sequence[Trial], last_rungs: Mapping[str, int] | None = None
) -> tuple[Survival, ...]:
    """Count, by family and rung, what became of the trials.

    Parameters
    ----------
    trials : sequence of Trial
    last_rungs : mapping of str to int, optional
        Each family's top rung. Of a family without one it is taken to be the highest that a
        trial reached, and one that ended there with fewer units to have ended by patience.
    """
    found = []
    for family in _families(trials):
        alike = [trial for trial in trials if trial.family == family]
        # A trial that failed had reached one rung less than the one it failed on.
        reached = [trial.rung + (trial.state == "FAILED") for trial in alike]
        highest = max(reached)
        most = max(trial.units for trial in alike) if is_stepwise(alike) else 0
        for rung in range(highest + 1):
            last = [t for t, k in zip(alike, reached, strict=True) if k == rung]
            through = [trial for trial in last if trial.state == "FINISHED"]
            if last_rungs and family in last_rungs:
                finished = len(through) if rung == last_rungs[family] else 0
            else:
                finished = sum(rung == highest and trial.units >= most for trial in through)
            found.append(
                Survival(
                    family,
                    rung,
                    entered=sum(k >= rung for k in reached),
                    promoted=sum(k > rung for k in reached),
                    finished=finished,
                    ended=len(through) - finished,
                    stopped=sum(trial.state == "KILLED" for trial in last),
                    failed=sum(trial.state == "FAILED" for trial in last),
                )
            )
    return tuple(found)


def spent(trials: Sequence[Trial]) -> tuple[Spent, ...]:
    """Add up, by family, what trials cost and what all of them would have to the end."""
    found = []
    for family in _families(trials):
        alike = [trial for trial in trials if trial.family == family]
        most = _most(alike)
        rates = [trial.seconds / trial.units for trial in alike if trial.units > 0]
        usual = float(np.median(rates)) if rates else 0.0
        found.append(
            Spent(
                family,
                trials=len(alike),
                seconds=sum(trial.seconds for trial in alike),
                full_seconds=sum(
                    all_units * (trial.seconds / trial.units if trial.units else usual)
                    for trial, all_units in zip(alike, most, strict=True)
                ),
                units=sum(trial.units for trial in alike),
                full_units=round(sum(most)),
            )
        )
    return tuple(found)


def typical(trials: Sequence[Trial]) -> tuple[Stretch, ...]:
    """Return the quartiles of the scores from rung to rung, of the trials that entered each.

    Of a family that is measured once a rung, the units are the rungs, from 0.
    """
    curved = [trial for trial in trials if trial.curve and trial.rung >= 0]
    if not curved:
        return ()
    stretches = []
    if not is_stepwise(curved):
        last = max(trial.rung for trial in curved)
        for rung in range(last + 1):
            scores = [t.curve[rung].score for t in curved if len(t.curve) > rung]
            if scores:
                stretches.append(Stretch(len(scores), ((rung, Spread.of(scores)),)))
        return tuple(stretches)
    start = 1
    for rung, end in sorted(_units(curved).items()):
        entered = [trial for trial in curved if trial.rung >= rung]
        # Of thousands of epochs some are enough, closer together where most is learned.
        units = np.unique(np.geomspace(start, max(end, start), MOST_POINTS).round().astype(int))
        by_unit: dict[int, list[float]] = {int(unit): [] for unit in units}
        for trial in entered:
            for point in trial.curve:
                if point.epoch in by_unit:
                    by_unit[point.epoch].append(point.score)
        points = tuple((unit, Spread.of(found)) for unit, found in by_unit.items() if found)
        if points:
            stretches.append(Stretch(len(entered), points))
        start = end
    return tuple(stretches)


def is_stepwise(trials: Sequence[Trial]) -> bool:
    """Tell whether trials of a family are measured at each unit, and not once a rung."""
    return any(len(t.curve) > t.rung + 1 for t in trials if t.state != "FAILED")


def _at(trials: Sequence[Trial], rung: int) -> list[Trial]:
    return [trial for trial in trials if trial.rung >= rung or trial.state == "FINISHED"]


def _up_to(trial: Trial, rung: int, units: int | None) -> Sequence[Point]:
    if units is None:
        return trial.curve[: rung + 1]
    return [point for point in trial.curve if point.epoch <= units]


def _gap(points: Sequence[Point]) -> float | None:
    gaps = [p.train_score - p.score for p in points if p.train_score is not None]
    return gaps[-1] if gaps else None


def _units(trials: Sequence[Trial]) -> dict[int, int]:
    """Return the units at each rung, from the trials that were stopped there."""
    found: dict[int, int] = {}
    for rung in sorted({trial.rung for trial in trials if trial.rung >= 0}):
        there = [t for t in trials if t.rung == rung and t.state != "FAILED"]
        # One that ended by patience did so before the rung.
        exact = [t.units for t in there if t.state == "KILLED"] or [t.units for t in there]
        if exact:
            found[rung] = max(exact)
    return found


def _most(trials: Sequence[Trial]) -> list[float]:
    """Return, for each trial of a family, the units of all its resource."""
    highest = max(trial.rung for trial in trials)
    if is_stepwise(trials) or highest < 0:
        return [float(max(trial.units for trial in trials))] * len(trials)
    # Trees differ from trial to trial; what a rung is of the whole, hardly.
    tops = [trial for trial in trials if trial.rung == highest and len(trial.curve) > highest]
    part = [
        float(np.median([t.curve[k].epoch / t.curve[highest].epoch for t in tops])) if tops else 1.0
        for k in range(highest + 1)
    ]
    known = [t.units / part[t.rung] for t in trials if t.rung >= 0 and t.units]
    usual = float(np.median(known)) if known else 0.0
    return [t.units / part[t.rung] if t.rung >= 0 and t.units else usual for t in trials]


def _families(trials: Sequence[Trial]) -> list[str]:
    return sorted({trial.family for trial in trials})


def _neurons(trial: Trial) -> int | None:
    layers, width = trial.params.get("layers"), trial.params.get("width")
    return layers * width if isinstance(layers, int) and isinstance(width, int) else None


def _sizes(trials: Sequence[Trial]) -> list[Value]:
    return [size for trial in trials if (size := _neurons(trial)) is not None]


def _along(
    name: str, dots: Sequence[tuple[Value, Standing]], failed: Sequence[Value]
) -> Slice | None:
    values = [value for value, _ in dots]
    distinct = set(values)
    if len(distinct) < 2:
        return None
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in distinct)
    if not numeric or len(distinct) <= MOST_VALUES:
        ordered = sorted(distinct) if numeric else sorted(distinct, key=str)
        bins = [_bin(v, v, [e for o, e in dots if o == v], failed.count(v)) for v in ordered]
        return Slice(name, "values", tuple(bins), tuple(dots))
    low, high = min(values), max(values)
    scale: Scale = "log" if float(low) > 0 and float(high) / float(low) >= DECADE else "linear"
    count = int(np.clip(round(len(values) ** 0.5), 3, 7))
    ends = np.linspace(_on(scale, low), _on(scale, high), count + 1)
    edges = [low, *(np.exp(ends[1:-1]) if scale == "log" else ends[1:-1]).tolist(), high]

    def bin_of(value: Value) -> int:
        return int(np.clip(np.searchsorted(edges, float(value), side="right") - 1, 0, count - 1))

    places = [bin_of(value) for value in values]
    lost = [bin_of(value) for value in failed]
    bins = [
        _bin(
            edges[k],
            edges[k + 1],
            [each for (_, each), place in zip(dots, places, strict=True) if place == k],
            lost.count(k),
        )
        for k in range(count)
    ]
    return Slice(name, scale, tuple(bins), tuple(dots))


def _bin(low: Value, high: Value, standings: Sequence[Standing], failed: int) -> Bin:
    gaps = [each.gap for each in standings if each.gap is not None]
    return Bin(
        low,
        high,
        trials=len(standings),
        failed=failed,
        score=Spread.of([each.score for each in standings]) if standings else None,
        gap=Spread.of(gaps) if gaps else None,
    )


def _on(scale: Scale, value: Value) -> float:
    return log(float(value)) if scale == "log" else float(value)


def _difference(
    values: NDArray[np.float64],
    below: NDArray[np.bool_],
    beyond: NDArray[np.bool_],
    tail: float,
    random: np.random.Generator,
) -> Spread:
    """Return what the median beyond has over the one below, between its bootstrap bounds."""

    def medians(side: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.median(
            random.choice(side, size=(_RESAMPLES, len(side))), axis=1
        )
        return found

    drawn = medians(values[beyond]) - medians(values[below])
    low, high = np.quantile(drawn, (tail, 1 - tail))
    return Spread(
        float(low), float(np.median(values[beyond]) - np.median(values[below])), float(high)
    )
