"""Pictures of a sweep, as PNG bytes: each by itself, and all of them on one sheet."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullLocator

from pipelines.canvas import BEST, BLUE, DPI, INK, LINE, ORANGE, PALE, nothing, panel, png, short
from pipelines.explanation import (
    Explanation,
    Slice,
    Spent,
    Stretch,
    Survival,
    is_stepwise,
)
from pipelines.models.families import FAMILIES
from pipelines.sweep.sweep import SweepResult
from pipelines.sweep.trial import Trial
from pipelines.sweep_report.chart import (
    FATES,
    SHADES,
    Axis,
    across,
    drawn,
    limits,
    log_ticks,
    number,
    seconds,
    thinned,
)

_SHOWN = 4
_MOST_SHARES = 12
_TYPICAL = "typical: median and middle half"
_GREEN = "#00805c"
_FATE_COLOURS = {
    "promoted": BLUE,
    "finished": _GREEN,
    "ended": "#7fb0a0",
    "stopped": "#b4bdc9",
    "failed": "#c62a2f",
}


def importance(shares: Mapping[str, float]) -> bytes:
    """Draw how much of the score each hyperparameter of the winner's family decided."""
    title = "Which hyperparameters mattered"
    if not shares:
        return nothing(title, "too few finished trials to tell")
    figure, axes = panel(8.2, 1.3 + 0.36 * min(len(shares), _MOST_SHARES), title)
    _importance(axes, shares)
    return png(figure)


def slices(told: Explanation, best: int) -> bytes:
    """Draw how layers, width, learning rate and momentum moved the score and the gap.

    Of a family without them, its first four hyperparameters.

    Parameters
    ----------
    told : Explanation
    best : int
        The winner's number.
    """
    title = f"{short(told.family)}: score and gap at rung {told.comparison.rung}"
    if not told.slices:
        return nothing(title, "too few different trials to compare")
    figure = Figure(figsize=(10.0, 7.6), dpi=DPI, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left")
    _slices(figure, told, best, 2)
    return png(figure)


def parallel_coordinates(trials: Sequence[Trial], best: Trial, scoring: str) -> bytes:
    """Draw each scored trial of the winner's family as a line across its hyperparameters."""
    alike = [trial for trial in trials if trial.family == best.family]
    scored, between, last = across(alike, best.number, scoring)
    if not between or last is None:
        return nothing("Trials", "too few different trials to compare")
    title = f"{short(best.family)}: {len(scored):,} trials, the best in red"
    figure, axes = panel(max(8.2, 1.35 * (len(between) + 1)), 4.8, title)
    _parallel(axes, scored, [*between, last], best.number)
    return png(figure)


def learning_curves(
    trials: Sequence[Trial], best: Trial, typical: Sequence[Stretch], scoring: str
) -> bytes:
    """Draw how the trials of the winner's family learned, the best and the typical on top."""
    alike = [trial for trial in trials if trial.family == best.family]
    if not any(len(trial.curve) > 1 for trial in alike):
        return nothing("Learning curves", "no trial went beyond its first measurement")
    figure, axes = panel(9.2, 4.8, "Learning curves: the best and the typical")
    _curves(axes, alike, best, typical, scoring)
    return png(figure)


def survival(found: Sequence[Survival]) -> bytes:
    """Draw what became of each family's trials at each rung."""
    title = "What became of the trials, rung by rung"
    if not found:
        return nothing(title, "there was no trial")
    figure, axes = panel(8.2, 1.5 + 0.3 * len(found), title)
    _survival(axes, found)
    return png(figure)


def spent(found: Sequence[Spent]) -> bytes:
    """Draw the time of each family, and what all of its trials would have taken."""
    title = "Time in the workers, of what all trials would have taken"
    if not found:
        return nothing(title, "there was no trial")
    figure, axes = panel(8.2, 1.3 + 0.55 * len(found), title)
    _spent(axes, found)
    return png(figure)


def overview(result: SweepResult, told: Explanation) -> bytes:
    """Draw a whole sweep on one sheet, 1,200 pixels wide."""
    best = result.best
    alike = [trial for trial in result.trials if trial.family == best.family]
    figure = Figure(figsize=(12.0, 11.8), dpi=100, layout="constrained")
    top, middle, bottom = figure.subfigures(
        3, 1, squeeze=False, height_ratios=(2.4, 3.5, 5.4), hspace=0.02
    )[:, 0]
    worked = sum(each.seconds for each in told.spent)
    full = sum(each.full_seconds for each in told.spent)
    saved = f", {1 - worked / full:.0%} of the work saved" if full > worked > 0 else ""
    figure.suptitle(
        f"Trial {best.number}, {short(best.family)}, won: {short(result.scoring)} "
        f"{best.score or 0.0:.4f}\n",
        x=0.012,
        ha="left",
        fontsize=16,
        fontweight="bold",
        color=INK,
    )
    figure.text(
        0.012,
        0.967,
        f"{len(result.trials):,} trials in {seconds(result.seconds)}{saved}",
        color=INK,
        fontsize=11,
        va="top",
    )
    mattered, lived, cost = top.subplots(1, 3, width_ratios=(1, 1.1, 1.1))
    for axes, title in (
        (mattered, "What mattered"),
        (lived, "Rung by rung"),
        (cost, "Time, of what all would have taken"),
    ):
        _titled(axes, title)
    if result.importance:
        _importance(mattered, dict(list(result.importance.items())[:8]))
    else:
        _say(mattered, "too few finished trials to tell")
    _survival(lived, [each for each in told.survival if each.family == told.family])
    _spent(cost, told.spent)
    if told.slices:
        _slices(middle, told, best.number, 4)
    learned, crossed = bottom.subplots(2, 1, height_ratios=(1, 1.1))
    _titled(learned, "Learning curves: the best and the typical")
    _curves(learned, alike, best, told.typical, result.scoring)
    scored, between, last = across(alike, best.number, result.scoring)
    _titled(crossed, f"Every {short(told.family)} trial, across its hyperparameters")
    if between and last is not None:
        _parallel(crossed, scored, [*between, last], best.number)
    else:
        _say(crossed, "too few different trials to compare")
    return png(figure)


def _titled(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", pad=10, fontsize=11, fontweight="bold", color=INK)
    axes.spines[["top", "right"]].set_visible(False)


def _say(axes: Axes, why: str) -> None:
    axes.text(0.0, 0.5, why, va="center", transform=axes.transAxes, color=INK)
    axes.set_axis_off()


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)


def _importance(axes: Axes, shares: Mapping[str, float]) -> None:
    ranked = sorted(shares.items(), key=lambda pair: pair[1])[-_MOST_SHARES:]
    bars = axes.barh(
        [short(name, 24) for name, _ in ranked], [share for _, share in ranked], color=BLUE
    )
    axes.bar_label(bars, [f"{share:.0%}" for _, share in ranked], padding=4, color=INK)
    axes.margins(x=0.14)
    _bare(axes)


def _survival(axes: Axes, found: Sequence[Survival]) -> None:
    places, names, y, family = [], [], 0.0, None
    several = len({each.family for each in found}) > 1
    most = max((each.entered for each in found), default=1)
    for each in found:
        y -= 1.0 if each.family == family or family is None else 1.6
        family = each.family
        left = 0
        for fate, _ in FATES:
            count = getattr(each, fate)
            axes.barh(y, count, left=left, height=0.66, color=_FATE_COLOURS[fate])
            left += count
        # What goes on falls to the next rung.
        axes.barh(y - 0.5, each.promoted, height=0.34, color=BLUE, alpha=0.2)
        axes.annotate(
            f"{each.entered:,}",
            (left, y),
            textcoords="offset points",
            xytext=(5, 0),
            va="center",
            color=INK,
            fontsize=9,
        )
        places.append(y)
        names.append(
            f"{short(each.family, 20)}, rung {each.rung}" if several else f"rung {each.rung}"
        )
    axes.set_yticks(places, names)
    axes.set_xlim(0, 1.12 * most)
    shown = [(fate, said) for fate, said in FATES if any(getattr(each, fate) for each in found)]
    axes.legend(
        handles=[Patch(color=_FATE_COLOURS[fate], label=said) for fate, said in shown],
        frameon=False,
        fontsize=8.5,
        loc="lower right",
    )
    _bare(axes)


def _spent(axes: Axes, found: Sequence[Spent]) -> None:
    ordered = list(reversed(found))
    places = np.arange(len(ordered))
    axes.barh(places, [each.full_seconds for each in ordered], height=0.42, color="#d3e0ef")
    axes.barh(places, [each.seconds for each in ordered], height=0.42, color=BLUE)
    for place, each in zip(places, ordered, strict=True):
        axes.annotate(
            f"{short(each.family, 20)}: {seconds(each.seconds)} of about "
            f"{seconds(each.full_seconds)}",
            (0, place + 0.25),
            textcoords="offset points",
            xytext=(0, 2),
            color=INK,
            fontsize=9,
        )
    axes.set_ylim(-0.4, len(ordered) - 0.3)
    axes.set_yticks([])
    _bare(axes)


def _slices(figure: Figure | SubFigure, told: Explanation, best: int, columns: int) -> None:
    shown = told.slices[:_SHOWN]
    rows = -(-len(shown) // columns)
    boards = np.atleast_2d(
        figure.subplots(
            2 * rows, columns, height_ratios=(1.7, 1) * rows, sharey="row", squeeze=False
        )
    )
    within = limits(told.comparison.standings)
    for place in range(rows * columns):
        row, column = divmod(place, columns)
        score, gap = boards[2 * row, column], boards[2 * row + 1, column]
        if place >= len(shown):
            score.set_axis_off()
            gap.set_axis_off()
            continue
        _slice(score, gap, shown[place], within, best)
        _titled(score, short(shown[place].name, 28))
        if column == 0:
            score.set_ylabel("score")
            gap.set_ylabel("gap")


def _slice(
    score: Axes,
    gap: Axes,
    each: Slice,
    within: tuple[tuple[float, float], tuple[float, float]],
    best: int,
) -> None:
    band = 0.5 / len(each.bins)
    for axes, ends, colour in ((score, within[0], BLUE), (gap, within[1], ORANGE)):
        dots = [
            (
                each.place(value) + (_shift(standing.trial.number) * band if _steps(each) else 0.0),
                measured,
                standing.trial.number == best,
            )
            for value, standing in each.dots
            if (measured := standing.score if axes is score else standing.gap) is not None
        ]
        for tops, size, dot in ((False, 9, PALE), (True, 36, BEST)):
            axes.scatter(
                [x for x, _, top in dots if top == tops],
                np.clip([y for _, y, top in dots if top == tops], *ends),
                s=size,
                color=dot,
                alpha=1.0 if tops else 0.45,
                lw=0,
                zorder=3 if tops else 2,
                clip_on=False,
            )
        found = [
            (each.middle(b), spread)
            for b in each.bins
            if (spread := b.score if axes is score else b.gap) is not None
        ]
        xs = [x for x, _ in found]
        middles = np.clip([spread.median for _, spread in found], *ends)
        axes.plot(xs, middles, color=colour, lw=1, alpha=0.5, zorder=1)
        axes.vlines(
            xs,
            np.clip([spread.low for _, spread in found], *ends),
            np.clip([spread.high for _, spread in found], *ends),
            color=colour,
            lw=3,
            alpha=0.5,
        )
        axes.hlines(middles, np.array(xs) - 0.7 * band, np.array(xs) + 0.7 * band, colour, lw=2.5)
        axes.set_ylim(*ends)
        axes.set_xlim(-0.04, 1.04)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="y", color=LINE, lw=0.6, alpha=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, labelsize=8.5, colors=INK)
        axes.spines[:].set_visible(False)
    gap.axhline(0.0, color=PALE, lw=1, ls=":")
    score.set_xticks([])
    gap.set_xticks(*_marks(each))


def _steps(each: Slice) -> bool:
    return each.scale == "values"


def _shift(trial: int) -> float:
    return (trial * 0.618034) % 1 - 0.5


def _marks(each: Slice) -> tuple[list[float], list[str]]:
    if _steps(each):
        names = [short(number(b.low), 9) for b in each.bins]
        return [each.middle(b) for b in each.bins], names
    low, high = float(each.bins[0].low), float(each.bins[-1].high)
    ticks = (
        log_ticks(low, high, 4)
        if each.scale == "log"
        else [tick for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]
    )
    return [each.place(tick) for tick in ticks], [number(float(tick)) for tick in ticks]


def _parallel(axes: Axes, scored: Sequence[Trial], along: Sequence[Axis], best: int) -> None:
    missing, last = -0.09, len(along) - 1
    faint = 0.2 if len(scored) > 100 else 0.5
    absent = set()
    for place, trial in enumerate(scored):
        top = trial.number == best
        heights = []
        for k, axis in enumerate(along[:-1]):
            value = trial.params.get(axis.name)
            if value is None:
                absent.add(k)
                heights.append(missing)
                continue
            room = 0.0 if top else min(axis.room(1.0), 0.06)
            heights.append(axis.place(value) + _shift(trial.number) * room)
        foot = float(along[last].values[0])
        heights.append(along[last].place(max(trial.score or 0.0, foot)))
        share = (1 + SHADES * place // len(scored)) / SHADES
        axes.plot(
            range(len(along)),
            heights,
            color=BEST if top else BLUE,
            lw=2.4 if top else 0.9,
            alpha=1.0 if top else faint * share**1.5,
            zorder=4 if top else 2,
            solid_joinstyle="round",
        )
    for k, axis in enumerate(along):
        axes.vlines(k, 0, 1, color=PALE, lw=0.8, zorder=1, alpha=0.7)
        for height, said in axis.marks("≤ " if k == last else ""):
            axes.annotate(
                short(said, 14),
                (k, height),
                textcoords="offset points",
                xytext=(5, 0),
                va="center",
                fontsize=8,
                color=INK,
                zorder=5,
                bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75},
            )
        if k in absent:
            axes.annotate(
                "none",
                (k, missing),
                textcoords="offset points",
                xytext=(0, -11),
                ha="center",
                fontsize=8,
                color=PALE,
            )
    axes.set_xticks(range(len(along)), [_wrapped(short(axis.name, 26)) for axis in along])
    axes.tick_params(axis="x", pad=6, length=0, labelsize=9)
    axes.xaxis.tick_top()
    axes.set_yticks([])
    axes.set_ylim(-0.2 if absent else -0.06, 1.06)
    axes.set_xlim(-0.1, last + 0.45)
    axes.spines[:].set_visible(False)


def _wrapped(name: str) -> str:
    return name.replace("_", "\n", 1) if len(name) > 14 else name


def _curves(
    axes: Axes, alike: Sequence[Trial], best: Trial, typical: Sequence[Stretch], scoring: str
) -> None:
    curved = [trial for trial in drawn(alike) if trial.curve]
    stepwise = is_stepwise(curved)
    scores = [point.score for trial in curved for point in trial.curve]
    if not scores:
        _say(axes, "no trial was measured")
        return
    for trial in curved:
        if trial.number != best.number and len(trial.curve) > 1:
            kept = thinned(trial.curve)
            axes.plot(
                [point.epoch if stepwise else place for place, point in kept],
                [point.score for _, point in kept],
                color=PALE,
                alpha=0.3,
                lw=0.7,
            )
    for place, stretch in enumerate(typical):
        units = [unit for unit, _ in stretch.points]
        if len(units) == 1:
            ((unit, spread),) = stretch.points
            axes.vlines(unit, spread.low, spread.high, color=BLUE, alpha=0.25, lw=9)
            axes.plot(
                [unit],
                [spread.median],
                color=BLUE,
                marker="_",
                ls="",
                ms=14,
                mew=2,
                label=_TYPICAL if place == len(typical) - 1 else None,
            )
        else:
            lows, highs = ([getattr(s, end) for _, s in stretch.points] for end in ("low", "high"))
            axes.fill_between(units, lows, highs, color=BLUE, alpha=0.18, lw=0)
            axes.plot(
                units,
                [s.median for _, s in stretch.points],
                color=BLUE,
                lw=2,
                label=_TYPICAL if place == len(typical) - 1 else None,
            )
        axes.axvline(units[-1], color=PALE, lw=0.8, ls=":", zorder=1)
        axes.annotate(
            f"rung {place}: {stretch.trials:,}",
            (units[-1], 0.0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            xytext=(4 if units[-1] <= stepwise else -4, 4),
            ha="left" if units[-1] <= stepwise else "right",
            fontsize=8.5,
            color=INK,
        )
    units = [point.epoch if stepwise else place for place, point in enumerate(best.curve)]
    axes.plot(
        units,
        [point.score for point in best.curve],
        color=BEST,
        lw=2.2,
        label=f"trial {best.number}, on validation rows",
    )
    learned = [
        (unit, point.train_score)
        for unit, point in zip(units, best.curve, strict=True)
        if point.train_score is not None
    ]
    if learned:
        axes.plot(
            *zip(*learned, strict=True),
            color=BEST,
            lw=1.3,
            ls="--",
            label="the same, on training rows",
        )
    if best.top is not None:
        at = units[best.curve.index(best.top)]
        axes.plot(at, best.top.score, color=BEST, marker="o", ms=6)
        axes.annotate(
            f"{best.top.score:.4f}",
            (at, best.top.score),
            textcoords="offset points",
            xytext=(0, 7),
            ha="center",
            color=BEST,
            bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8},
        )
    # The first units of a poor trial lie far below everything that matters.
    highest = max([*scores, *(score for _, score in learned)])
    lowest = float(np.quantile(scores, 0.08))
    room = 0.07 * (highest - lowest) + 1e-6
    axes.set_ylim(lowest - room, highest + 1.6 * room)
    axes.set_ylabel(short(scoring))
    if stepwise:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        resource = FAMILIES[best.family].resource if best.family in FAMILIES else "units"
        axes.set_xlabel(f"{resource}, on a logarithmic scale", loc="right")
    else:
        axes.set_xlabel("rung", loc="right")
    ends = sorted({stretch.points[-1][0] for stretch in typical})
    axes.set_xticks(ends, [f"{unit:,}" for unit in ends])
    axes.grid(axis="y", color=LINE, lw=0.6, alpha=0.7)
    axes.tick_params(length=0, labelsize=9)
    axes.spines[:].set_visible(False)
    axes.legend(frameon=False, fontsize=8.5, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3)
