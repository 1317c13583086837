"""The pictures of the report, as SVG that stands in its HTML.

Every picture has a title, which a screen reader says, and takes its colours from the page's
style. What belongs to a trial bears its number as ``data-t``: the script lights all of them
up together. Without the script the pictures are whole, and only stay as they are.
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import ceil, floor, log, log10

import numpy as np

from pipelines.explanation import (
    DECADE,
    MOST_POINTS,
    MOST_VALUES,
    Slice,
    Spent,
    Standing,
    Stretch,
    Survival,
    TurningPoint,
    is_stepwise,
)
from pipelines.models.space import Value
from pipelines.sweep.trial import Point, Trial

MOST_DRAWN = 1_000
"""Trials that one picture draws; of more, the best and every so-and-so-many-th of the rest."""

FATES = (
    ("promoted", "went on"),
    ("finished", "reached the last rung"),
    ("ended", "no better for too long"),
    ("stopped", "others were given more"),
    ("failed", "failed"),
)
"""What became of a trial at a rung: the attribute of `Survival`, and in words."""

_LONGEST = 60
SHADES = 5
"""Strengths of the lines of parallel coordinates, from the worst fifth to the best."""


def text(value: object) -> str:
    """Escape text for HTML and for the SVG in it; what XML cannot hold is replaced."""
    return escape(
        "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
    )


def short(value: object, longest: int = _LONGEST) -> str:
    """Bound a name of the user's."""
    said = str(value)
    return said if len(said) <= longest else said[: longest - 1] + "…"


def number(value: Value | None) -> str:
    """Write a value with three digits."""
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else short(value)


def drawn(trials: Sequence[Trial]) -> list[Trial]:
    """Choose the trials that are drawn and listed, the best last so that they lie on top."""
    ranked = sorted(trials, key=lambda t: (_score(t), -t.number))
    if len(ranked) <= MOST_DRAWN:
        return ranked
    half = MOST_DRAWN // 2
    rest = np.linspace(0, len(ranked) - half - 1, half).astype(int)
    return [*(ranked[place] for place in rest), *ranked[-half:]]


def importance(shares: Mapping[str, float]) -> str:
    """Draw each hyperparameter's share as a bar."""
    rows = sorted(shares.items(), key=lambda pair: -pair[1])
    most = max(shares.values()) or 1.0
    body = "".join(
        f'<text class="axis" x="150" y="{y + 15}" text-anchor="end">{text(short(name, 22))}</text>'
        f'<rect class="blue" x="160" y="{y + 3}" width="{max(1.0, 290 * share / most):.1f}"'
        f' height="16" rx="2"/>'
        f'<text x="{167 + max(1.0, 290 * share / most):.1f}" y="{y + 15}">{share:.0%}</text>'
        for y, (name, share) in ((27 * place, row) for place, row in enumerate(rows))
    )
    return _svg(
        510, 27 * len(rows) + 2, "Share of each hyperparameter in what made trials good", body
    )


def survival(found: Sequence[Survival]) -> str:
    """Draw each family's trials from rung to rung: a bar a rung, parted by what became of them."""
    most = max(each.entered for each in found)
    body, y, family = [], 0.0, None
    for each in found:
        if each.family != family:
            family, y = each.family, y + (18 if y else 0)
            body.append(f'<text class="axis strong" x="0" y="{y + 11:.0f}">{text(family)}</text>')
            y += 18
        x = 56.0
        body.append(f'<text x="46" y="{y + 14:.0f}" text-anchor="end">rung {each.rung}</text>')
        for fate, said in FATES:
            count = getattr(each, fate)
            if not count:
                continue
            width = 330 * count / most
            body.append(
                f'<rect class="{fate}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 1.2):.1f}"'
                f' height="19"><title>{count:,} {said}</title></rect>'
            )
            if fate == "promoted":
                body.append(
                    f'<rect class="stream" x="56" y="{y + 19:.1f}" width="{width:.1f}" height="7"/>'
                )
            x += width
        body.append(f'<text class="axis" x="{x + 8:.1f}" y="{y + 14:.0f}">{each.entered:,}</text>')
        y += 26
    return _svg(440, y, "What became of the trials at each rung", "".join(body))


def spent(found: Sequence[Spent]) -> str:
    """Draw the time of each family, before a pale bar: what all its trials would have taken."""
    most = max([each.full_seconds for each in found] + [each.seconds for each in found]) or 1.0
    body = []
    for place, each in enumerate(found):
        y = 50 * place
        width, full = 510 * each.seconds / most, 510 * each.full_seconds / most
        body.append(
            f'<text class="axis strong" x="0" y="{y + 12}">{text(short(each.family))}</text>'
            f'<text x="510" y="{y + 12}" text-anchor="end">{seconds(each.seconds)} of about '
            f"{seconds(each.full_seconds)} · {each.units:,} of {each.full_units:,} units</text>"
            f'<rect class="pale" x="0" y="{y + 19}" width="{full:.1f}" height="17" rx="2"/>'
            f'<rect class="blue" x="0" y="{y + 19}" width="{max(width, 1.0):.1f}" height="17"'
            f' rx="2"/>'
        )
    return _svg(
        510,
        50 * len(found) - 8,
        "Time by family, of what all trials would have taken",
        "".join(body),
    )


def magnitudes(low: float, median: float, high: float, most: float) -> str:
    """Draw where most magnitudes of a part lie, and their median, from zero on."""
    left, middle, right = (2 + 116 * each / most for each in (low, median, high))
    return (
        '<svg class="strip" viewBox="0 0 120 14" aria-hidden="true">'
        f'<path class="grid" d="M2 7H118"/><path class="middle c0" d="M{left:.1f} 7H{right:.1f}"/>'
        f'<circle class="blue" cx="{middle:.1f}" cy="7" r="3.5"/></svg>'
    )


def seconds(value: float) -> str:
    """Write a duration as a reader says it."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7_200 else f"{value / 3_600:.1f} h"


def limits(standings: Sequence[Standing]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the range of scores and of gaps that every slice is drawn in.

    What lies below the worst twentieth would press the rest together, and is drawn at the edge.
    """
    scores = [each.score for each in standings]
    gaps = [each.gap for each in standings if each.gap is not None] or [0.0]
    low, high = float(np.quantile(scores, 0.05)), max(scores)
    least, most = float(np.quantile(gaps, 0.03)), float(np.quantile(gaps, 0.95))
    return _roomy(low, high), _roomy(min(least, 0.0), max(most, 0.0))


def slices(
    each: Slice,
    within: tuple[tuple[float, float], tuple[float, float]],
    best: int,
    turning: TurningPoint | None = None,
) -> str:
    """Draw the score over a hyperparameter, and the gap below it on the same axis."""
    left, right, top, height, below, gap_height = 44, 336, 16, 128, 164, 56

    def x(place: float) -> float:
        return left + 12 + (right - left - 24) * place

    score_y = _scale(within[0], top + height, top)
    gap_y = _scale(within[1], below + gap_height, below)
    body = [
        _grid(within[0], score_y, left, right),
        _grid(within[1], gap_y, left, right, most=3),
        '<text x="0" y="8">score</text>',
        f'<text x="0" y="{below - 8}">gap</text>',
    ]
    if turning is not None:
        # Bins of single values end halfway to the next value.
        at = x(_boundary(each, turning.neurons))
        body.append(
            f'<rect class="beyond" x="{at:.1f}" y="{top}" width="{right - at:.1f}"'
            f' height="{below + gap_height - top}"/>'
            f'<path class="turn" d="M{at:.1f} {top}V{below + gap_height}"/>'
        )
    band = 0.5 / len(each.bins)
    for value, standing in each.dots:
        place = each.place(value)
        if each.scale == "values":
            # Equal values would hide each other: a shift that depends on the trial alone.
            place += ((standing.trial.number * 0.618034) % 1 - 0.5) * band
        body += [
            _dot(x(place), y(_within(measured, ends)), standing, best)
            for measured, ends, y in (
                (standing.score, within[0], score_y),
                (standing.gap, within[1], gap_y),
            )
            if measured is not None
        ]
    half = max(5.0, (x(band) - x(0)) * 0.8)
    for spreads, ends, y, kind in (
        ([(b, b.score) for b in each.bins], within[0], score_y, "c0"),
        ([(b, b.gap) for b in each.bins], within[1], gap_y, "c1"),
    ):
        line = [
            (x(each.middle(b)), y(_within(spread.median, ends)), b, spread)
            for b, spread in spreads
            if spread is not None
        ]
        if kind == "c1":
            body.append(f'<path class="zero" d="M{left} {y(0.0):.1f}H{right}"/>')
        body.append(f'<path class="trend {kind}" d="{_path([(px, py) for px, py, *_ in line])}"/>')
        for px, py, b, spread in line:
            low, high = y(_within(spread.low, ends)), y(_within(spread.high, ends))
            body.append(
                f"<g><title>{_said(b.low, b.high)}: {b.trials} trials, median "
                f"{spread.median:.4f}, middle half {spread.low:.4f} to {spread.high:.4f}</title>"
                f'<path class="middle {kind}" d="M{px:.1f} {low:.1f}V{high:.1f}"/>'
                f'<path class="median {kind}" d="M{px - half:.1f} {py:.1f}h{2 * half:.1f}"/></g>'
            )
    body.append(_ticks(each, x, below + gap_height + 15))
    title = f"{short(each.name)}: score and gap, by value; the table below has the numbers"
    return _svg(right + 4, below + gap_height + 34, title, "".join(body))


def parallel(trials: Sequence[Trial], best: int, scoring: str) -> str:
    """Draw each scored trial of a family as a line across its hyperparameters to its score."""
    scored, axes, last = across(trials, best, scoring)
    if not axes or last is None:
        return ""
    width, top, height = 1092, 34, 250
    step = (width - 130) / len(axes)
    xs = [40 + step * place for place in range(len(axes) + 1)]
    missing = top + height + 22
    body, absent = [], [False] * len(axes)
    for place, trial in enumerate(scored):
        points = []
        for k, (x, axis) in enumerate(zip(xs, axes, strict=False)):
            value = trial.params.get(axis.name)
            absent[k] |= value is None
            y = missing if value is None else top + height * (1 - axis.place(value))
            # Trials of equal values would lie in one line: how many there are would be lost.
            room = 0 if trial.number == best else 5 if value is None else axis.room(height)
            points.append((x, y + ((trial.number * 0.618034) % 1 - 0.5) * room))
        points.append(
            (
                xs[-1],
                top + height * (1 - last.place(max(trial.score or 0.0, float(last.values[0])))),
            )
        )
        shade = "best" if trial.number == best else f"s{SHADES * place // len(scored)}"
        body.append(f'<path class="line {shade}" data-t="{trial.number}" d="{_path(points)}"/>')
    for k, (x, axis) in enumerate(zip(xs, [*axes, last], strict=True)):
        name = text(short(axis.name, max(10, int(step / 7))))
        body.append(
            f'<path class="rule" d="M{x:.1f} {top}V{top + height}"/>'
            f'<text class="axis strong" x="{x:.1f}" y="14" text-anchor="middle">{name}</text>'
            + "".join(
                f'<text class="halo" x="{x + 6:.1f}" y="{top + height * (1 - at) + 4:.1f}">'
                f"{text(said)}</text>"
                for at, said in axis.marks("≤ " if axis is last else "")
            )
            + (
                f'<text x="{x:.1f}" y="{missing + 16}" text-anchor="middle">none</text>'
                if k < len(absent) and absent[k]
                else ""
            )
            + f'<rect class="brush" data-k="{k}" x="{x - 9:.1f}" y="0" width="18" height="0"/>'
            f'<rect class="grip" data-k="{k}" x="{x - 14:.1f}" y="{top - 6}" width="28"'
            f' height="{height + 34}"/>'
        )
    title = f"{len(scored):,} trials, each a line across its hyperparameters to its {scoring}"
    return _svg(width, missing + 22, title, "".join(body), "many" if len(scored) > 100 else "")


def across(
    trials: Sequence[Trial], best: int, scoring: str
) -> tuple[list[Trial], "list[Axis]", "Axis | None"]:
    """Return the scored trials, the best last, the axes of what varied, and the score's.

    The score's axis begins at the lower quartile: hopeless trials would press all others
    together at the top. What lies below is drawn at its foot.
    """
    scored = [trial for trial in drawn(trials) if trial.score is not None]
    scored.sort(key=lambda trial: trial.number == best)
    names = list({name: None for trial in scored for name in trial.params})
    axes = [
        axis
        for name in names
        if (axis := Axis.of(name, [t.params[name] for t in scored if name in t.params]))
    ]
    scores = [trial.score for trial in scored if trial.score is not None]
    foot = float(np.quantile(scores, 0.25)) if scores else 0.0
    return scored, axes, Axis.of(scoring, [max(score, foot) for score in scores])


class Axis:
    """An axis of the parallel coordinates: where a value lies on it, from 0 to 1.

    Names and a few whole numbers have places of their own, other numbers lie on a line,
    logarithmic where they span a decade.
    """

    def __init__(self, name: str, values: Sequence[Value]) -> None:
        self.name = name
        self.numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
        self.values = sorted(set(values), key=None if self.numeric else str)
        self.log = bool(
            self.numeric
            and float(self.values[0]) > 0
            and float(self.values[-1]) / float(self.values[0]) >= DECADE
        )

    @classmethod
    def of(cls, name: str, values: Sequence[Value]) -> "Axis | None":
        """Return the axis of these values; None when they are all alike."""
        return cls(name, values) if len(set(values)) > 1 else None

    @property
    def by_place(self) -> bool:
        """Whether each value has a place of its own."""
        return not self.numeric or (
            len(self.values) <= MOST_VALUES and all(isinstance(v, int) for v in self.values)
        )

    def place(self, value: Value) -> float:
        """Return where a value lies."""
        if self.by_place:
            return self.values.index(value) / (len(self.values) - 1)
        on: Callable[[float], float] = log if self.log else float
        low, high = on(float(self.values[0])), on(float(self.values[-1]))
        return (on(float(value)) - low) / (high - low)

    def room(self, height: float) -> float:
        """Return how far apart lines through one value may be drawn."""
        return min(16.0, 0.4 * height / (len(self.values) - 1)) if self.by_place else 0.0

    def marks(self, foot: str = "") -> list[tuple[float, str]]:
        """Return places and what is written there; ``foot`` is put before the lowest."""
        if self.by_place and len(self.values) <= MOST_VALUES:
            return [(self.place(value), short(number(value), 16)) for value in self.values]
        ends = [self.values[0], self.values[-1]]
        between: list[float] = []
        low, high = float(ends[0]), float(ends[1]) if self.numeric else 0.0
        if self.log:
            between = log_ticks(low, high)
        elif self.numeric:
            between = nice(low, high, 4)
        kept = [v for v in between if 0.08 < self.place(v) < 0.92]
        return [
            (0.0, foot + short(number(ends[0]), 16)),
            (1.0, short(number(ends[1]), 16)),
            *((self.place(value), number(value)) for value in kept),
        ]


def curves(
    trials: Sequence[Trial],
    best: Trial,
    stretches: Sequence[Stretch],
    scoring: str,
    resource: str,
) -> str:
    """Draw every trial of a family as it learned, the typical one and the best on top."""
    curved = [trial for trial in drawn(trials) if trial.curve]
    stepwise = is_stepwise(curved)
    lines = {
        trial.number: [
            (point.epoch if stepwise else place, point.score)
            for place, point in (
                enumerate(trial.curve) if trial.number == best.number else thinned(trial.curve)
            )
        ]
        for trial in curved
    }
    scores = [score for line in lines.values() for _, score in line]
    learned = [
        (point.epoch if stepwise else place, point.train_score)
        for place, point in enumerate(best.curve)
        if point.train_score is not None
    ]
    within = _roomy(
        float(np.quantile(scores, 0.08)), max([*scores, *(score for _, score in learned)])
    )
    last = max(unit for line in lines.values() for unit, _ in line)
    left, right, top, bottom = 50, 1080, 12, 300
    low = 1.0 if stepwise else 0.0

    def x(unit: float) -> float:
        on: Callable[[float], float] = log if stepwise else float
        return left + (right - left) * (on(unit) - on(low)) / ((on(last) - on(low)) or 1.0)

    y = _scale(within, bottom, top)

    def placed(line: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x(unit), y(_within(score, within))) for unit, score in line]

    body = [
        _grid(within, y, left, right, most=6),
        f'<text x="0" y="8">{text(short(scoring))}</text>',
    ]
    for trial in curved:
        if trial.number != best.number:
            line = placed(lines[trial.number])
            kind = "faint" if len(line) > 1 else "faint point"
            path = _path(line) if len(line) > 1 else f"M{line[0][0] - 3:.1f} {line[0][1]:.1f}h6"
            body.append(f'<path class="{kind}" data-t="{trial.number}" d="{path}"/>')
    for stretch in stretches:
        points = stretch.points
        if len(points) == 1:
            (unit, spread), *_ = points
            low_y, middle_y, high_y = (y(_within(each, within)) for each in spread)
            body.append(
                f'<rect class="band" x="{x(unit) - 6:.1f}" y="{high_y:.1f}" width="12"'
                f' height="{low_y - high_y:.1f}"/>'
                f'<path class="typical" d="M{x(unit) - 9:.1f} {middle_y:.1f}h18"/>'
            )
            continue
        upper = placed([(unit, spread.high) for unit, spread in points])
        lower = placed([(unit, spread.low) for unit, spread in points])
        body.append(f'<path class="band" d="{_path([*upper, *reversed(lower)])}Z"/>')
        middle = placed([(unit, spread.median) for unit, spread in points])
        body.append(f'<path class="typical" d="{_path(middle)}"/>')
    ends = sorted({stretch.points[-1][0] for stretch in stretches})
    for place, (unit, stretch) in enumerate(zip(ends, stretches, strict=False)):
        said = f"rung {place}: {stretch.trials:,} trials"
        anchor = "start" if x(unit) < 120 else "end"
        body.append(
            f'<path class="rung" d="M{x(unit):.1f} {top}V{bottom}"/>'
            f'<text class="halo" x="{x(unit) + (5 if anchor == "start" else -5):.1f}"'
            f' y="{bottom - 6}" text-anchor="{anchor}">{said}</text>'
            f'<text x="{x(unit):.1f}" y="{bottom + 16}" text-anchor="middle">{unit:,}</text>'
        )
    if best.curve:
        mine = placed(lines.get(best.number, []))
        body.append(f'<path class="best halved" d="{_path(placed(learned))}"/>')
        body.append(f'<path class="best" data-t="{best.number}" d="{_path(mine)}"/>')
        highest = max(range(len(best.curve)), key=lambda k: best.curve[k].rank)
        px, py = mine[highest]
        body.append(
            f'<circle class="best" data-t="{best.number}" cx="{px:.1f}" cy="{py:.1f}" r="4.5"/>'
            f'<text class="best halo" x="{px:.1f}" y="{py - 9:.1f}" text-anchor="middle">'
            f"{best.curve[highest].score:.4f}</text>"
        )
    axis = f"{text(resource)}, on a logarithmic scale" if stepwise else "rung"
    body.append(f'<text class="axis" x="{right}" y="{bottom + 33}" text-anchor="end">{axis}</text>')
    return _svg(1092, bottom + 40, "Validation score as the trials learned", "".join(body))


def thinned(curve: Sequence[Point]) -> list[tuple[int, Point]]:
    """Keep of a long curve as many points as can be told apart, with their places."""
    if len(curve) <= MOST_POINTS:
        return list(enumerate(curve))
    places = np.geomspace(1, len(curve), MOST_POINTS).round().astype(int)
    return [(int(place) - 1, curve[place - 1]) for place in np.unique(places)]


def _boundary(each: Slice, value: float) -> float:
    if each.scale != "values":
        return each.place(value)
    values = [float(b.low) for b in each.bins]
    return sum(v <= value for v in values) / len(values)


def _dot(x: float, y: float, standing: Standing, best: int) -> str:
    kind = "d best" if standing.trial.number == best else "d"
    radius = 4 if standing.trial.number == best else 2.4
    return (
        f'<circle class="{kind}" data-t="{standing.trial.number}" cx="{x:.1f}" cy="{y:.1f}"'
        f' r="{radius}"/>'
    )


def _ticks(each: Slice, x: Callable[[float], float], y: float) -> str:
    if each.scale == "values":
        marks = [(each.middle(b), number(b.low)) for b in each.bins]
    else:
        ends = (each.bins[0].low, each.bins[-1].high)
        low, high = float(ends[0]), float(ends[1])
        between = log_ticks(low, high) if each.scale == "log" else nice(low, high, 5)
        marks = [(each.place(v), number(v)) for v in between]
        if len(marks) < 2:
            marks = [(each.place(end), number(end)) for end in ends]
    longest = max(3, int(44 / len(marks)) + 2) if len(marks) > 3 else 14
    return "".join(
        f'<text x="{x(place):.1f}" y="{y}" text-anchor="middle">{text(short(said, longest))}</text>'
        for place, said in marks
    ) + "".join(
        f'<text class="tiny" x="{x(each.middle(b)):.1f}" y="{y + 14}" text-anchor="middle">'
        f"{'n=' if not k else ''}{b.trials}</text>"
        for k, b in enumerate(each.bins)
        if b.trials or each.scale == "values"
    )


def _said(low: Value, high: Value) -> str:
    return text(number(low) if low == high else f"{number(low)} to {number(high)}")


def nice(low: float, high: float, most: int) -> list[float]:
    """Return at most so many round numbers between two numbers, and one at least if there is."""
    span = (high - low) or 1.0
    size = 10.0 ** floor(log10(span / most))
    step = next((s * size for s in (1, 2, 5) if span / (s * size) <= most), 10 * size)
    # Rounded, since a third of a tenth is no number that is read.
    first = ceil(low / step - 1e-9)
    return [round(k * step, 12) + 0.0 for k in range(first, floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers between two positive ones: powers of ten, and more if these are few."""
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5)):
        found = [s * 10.0**k for k in decades for s in steps if low <= s * 10.0**k <= high]
        if len(found) >= 3:
            break
    return found[:: ceil(len(found) / most)]


def _grid(
    within: tuple[float, float], y: Callable[[float], float], left: int, right: int, most: int = 5
) -> str:
    ticks = nice(*within, most)
    digits = max((len(f"{tick:.6g}".partition(".")[2]) for tick in ticks), default=0)
    return "".join(
        f'<path class="grid" d="M{left} {y(tick):.1f}H{right}"/>'
        f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.{digits}f}</text>'
        for tick in ticks
    )


def _scale(within: tuple[float, float], low: float, high: float) -> Callable[[float], float]:
    start, end = within
    return lambda value: low + (high - low) * (value - start) / (end - start)


def _within(value: float, ends: tuple[float, float]) -> float:
    return min(max(value, ends[0]), ends[1])


def _roomy(low: float, high: float) -> tuple[float, float]:
    room = 0.06 * (high - low) or 0.01
    return low - room, high + room


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""


def _score(trial: Trial) -> float:
    return -np.inf if trial.score is None else trial.score


def _svg(width: float, height: float, title: str, body: str, kind: str = "") -> str:
    return (
        f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" role="img"'
        f' aria-label="{text(title)}">{body}</svg>'
    )
