"""The pictures of a page, as SVG that stands in its HTML: no file, no script, no address.

Every picture has a title, which a screen reader says, and takes its colours from the page's
style, so that it is right on light and on dark. Blue and orange carry what differs: they are
told apart by every eye, and on paper.
"""

from collections.abc import Iterable, Sequence
from html import escape

from checks.render.facts import Curve, Matrix, Pair, Part, Reliability
from checks.render.wording import legal
from checks.result import CheckResult

SHADES = 9
"""Steps of colour between no row of a true class and all of them."""

_WIDTH, _HEIGHT = 310, 300
_LEFT, _TOP, _SIDE = 52, 12, 240
_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
_MOST_NAMES = 30
_STRIP = 150


def text(value: object) -> str:
    """Escape text for HTML and for the SVG in it."""
    return escape(legal(str(value)))


def shade(count: int, of: int, *, right: bool) -> str:
    """Name the colour of a cell: ``r1`` to ``r9`` where the answer is right, else ``w1`` up."""
    return f"{'r' if right else 'w'}{max(1, round(SHADES * count / of))}"


def gauge(check: CheckResult) -> str:
    """Draw what was measured against its limit, which is in the middle of the picture.

    The side that is refused is shaded, the interval a whisker. The scale is the check's own:
    a share of ten thousand rows differs from its limit by less than a share of ten could.
    """
    observed, limit = check.observed, _finite(check.limit)
    relation = check.details.get("relation")
    if not isinstance(observed, float) or limit is None or not isinstance(relation, str):
        return ""
    value = _finite(observed)
    if value is None or relation not in ("at least", "at most", "more than"):
        return ""
    ends = [_finite(end) for end in check.interval or ()]
    low, high = ends if len(ends) == 2 else (None, None)
    known = [each for each in (value, low, high) if each is not None]
    is_share = 0 < limit <= 1 and all(0 <= each <= 1 for each in known)
    least = min(0.05, limit, 1 - limit or 1.0) if is_share else abs(limit) * 0.1
    reach = max(least, 1.15 * max(abs(each - limit) for each in known)) or 1.0

    def x(each: float) -> float:
        return 50 + 50 * (each - limit) / reach

    start, stop = (max(0.0, x(0)), min(100.0, x(1))) if is_share else (0.0, 100.0)
    refused = (50, stop - 50) if relation == "at most" else (start, 50 - start)
    drawn = [
        f'<path class="track" d="M{start:.1f} 8H{stop:.1f}"/>',
        f'<path class="refused" d="M{refused[0]:.1f} 8h{refused[1]:.1f}"/>',
        '<path class="limit" d="M50 1v14"/>',
    ]
    if low is not None and high is not None:
        drawn.append(f'<path class="whisker" d="{_whisker(x(low), x(high), 8)}"/>')
    drawn.append(f'<circle cx="{x(value):.1f}" cy="8" r="4"/>')
    return f'<svg class="gauge" viewBox="-5 0 110 16" aria-hidden="true">{"".join(drawn)}</svg>'


def heat(matrix: Matrix, whose: str) -> str:
    """Draw a confusion matrix of many classes as shares of each true class."""
    k, width = len(matrix.rows), len(matrix.columns)
    cells: dict[str, list[str]] = {}
    for row, counts in enumerate(matrix.counts):
        of = sum(counts)
        for column, count in enumerate(counts):
            if count:
                name = shade(count, of, right=row == column)
                cells.setdefault(name, []).append(f"M{column} {row}h1")
    drawn = "".join(f'<path class="{name}" d="{"".join(d)}"/>' for name, d in cells.items())
    unit = _SIDE * 1.25 / k
    side, across = unit * k, unit * width
    if k <= _MOST_NAMES:
        size = min(11.0, unit * 0.9)
        left = 8 + size * 0.62 * max(len(name) for name in matrix.rows)
        names = "".join(
            f'<text x="{left - 5:.1f}" y="{16 + unit * (n + 0.5) + size * 0.36:.1f}"'
            f' text-anchor="end" style="font-size:{size:.1f}px">{text(name)}</text>'
            for n, name in enumerate(matrix.rows)
        )
        below, said = 8, "true classes from above, answers from the left in the same order"
    else:
        left = 44.0
        names = "".join(
            f'<text x="{left - 5}" y="{20 + unit * (n + 0.5):.1f}" text-anchor="end">'
            f"{n + 1}</text>"
            f'<text x="{left + unit * (n + 0.5):.1f}" y="{side + 30:.1f}"'
            f' text-anchor="middle">{n + 1}</text>'
            for n in range(9, k, 10)
        )
        below, said = 20, "classes are numbered in the order of the report"
    body = (
        f'<rect class="plane" x="{left:.1f}" y="16" width="{across:.2f}" height="{side:.2f}"/>'
        f'<g class="heat" transform="translate({left:.2f} {16 + unit / 2:.2f})'
        f' scale({unit:.4f})">{drawn}</g>{names}'
        f'<text class="axis" x="{left:.1f}" y="10">true ↓ answer →</text>'
    )
    found = sum(row[n] for n, row in enumerate(matrix.counts))
    total = sum(map(sum, matrix.counts))
    title = f"{whose}: {found:,} of {total:,} rows are right; {said}"
    return _svg(left + across + 8, 16 + side + below, title, body, "wide")


def flips(helpful: int, harmful: int, version: str) -> str:
    """Draw the rows that only one of the two models has right, to either side of a line."""
    most = max(helpful, harmful, 1)
    harm, help_ = 150 * harmful / most, 150 * helpful / most
    body = (
        f'<rect class="orange" x="{180 - harm:.1f}" y="24" width="{harm:.1f}" height="26"/>'
        f'<rect class="blue" x="180" y="24" width="{help_:.1f}" height="26"/>'
        '<path class="limit" d="M180 18v38"/>'
        f'<text class="axis" x="174" y="13" text-anchor="end">harmful {harmful:,}</text>'
        f'<text class="axis" x="186" y="13">helpful {helpful:,}</text>'
    )
    title = f"{helpful:,} rows only the candidate has right, {harmful:,} only {version}"
    return _svg(360, 62, title, body, "flips")


def curves(drawn: Sequence[Curve], kind: str, across: str, up: str) -> str:
    """Draw curves between 0 and 1, one colour and one pattern of dashes for each class."""
    body = [_frame(across, up)]
    if kind == "ROC":
        body.append(f'<path class="chance" d="{_line([(0, 0), (1, 1)])}"/>')
    for place, curve in enumerate(drawn):
        # A recall axis runs backwards in the data; a line is a line either way.
        body.append(f'<path class="curve c{place}" d="{_line(curve.points)}"/>')
    said = ", ".join(
        f"{curve.name} {'' if curve.area is None else f'area {curve.area:.3f}'}".strip()
        for curve in drawn
    )
    return _svg(_WIDTH, _HEIGHT, f"{kind}: {said}", "".join(body), "plot")


def reliability(found: Reliability) -> str:
    """Draw how often the model is right against how sure it is, and the rows of each bin."""
    height, most = 62, max(each.rows for each in found.bins)
    floor = _TOP + _SIDE + 44 + height
    body = [
        _frame("", "share that is right"),
        f'<path class="chance" d="{_line([(0, 0), (1, 1)])}"/>',
    ]
    points = []
    for each in found.bins:
        tall = height * each.rows / most
        left, right = _x(each.low) + 1, _x(each.high) - 1
        body.append(
            f'<rect class="bar" x="{left:.1f}" y="{floor - tall:.1f}"'
            f' width="{max(right - left, 0.5):.1f}" height="{tall:.1f}">'
            f"<title>{each.rows:,} rows between {each.low:.2f} and {each.high:.2f}</title></rect>"
        )
        if each.rows:
            body.append(
                f'<text class="tiny" x="{(left + right) / 2:.1f}" y="{floor - tall - 3:.1f}"'
                f' text-anchor="middle">{_brief(each.rows)}</text>'
            )
        if each.rows and each.accuracy is not None:
            middle = (each.low + each.high) / 2
            at = each.confidence if each.confidence is not None else middle
            points.append((at, each.accuracy))
            if each.interval is not None:
                low, high = (_y(min(max(end, 0.0), 1.0)) for end in each.interval)
                body.append(f'<path class="whisker" d="{_whisker(low, high, _x(at), tall=True)}"/>')
    body.append(f'<path class="curve c0" d="{_line(points)}"/>' if points else "")
    body += [f'<circle class="dot" cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="4"/>' for x, y in points]
    body.append(
        f'<path class="rule" d="M{_LEFT} {floor}h{_SIDE}"/>'
        f'<text class="axis" transform="translate(13 {floor - height / 2:.0f}) rotate(-90)"'
        ' text-anchor="middle">rows</text>'
        f'<text class="axis" x="{_x(0.5):.0f}" y="{floor + 18}" text-anchor="middle">'
        "confidence of the answer</text>"
    )
    said = "; ".join(f"confidence {x:.2f}: {y:.2f} right" for x, y in points)
    return _svg(_WIDTH, floor + 26, f"Reliability: {said}", "".join(body), "plot")


def strips(parts: Sequence[Part], reference: float | None = None) -> list[str]:
    """Draw the share of each part on one scale, with its interval or the champion's share."""
    known = [value for part in parts for value in _values(part)]
    known += [] if reference is None else [reference]
    low, high = max(0.0, min(known) - 0.02), min(1.0, max(known) + 0.02)
    return [_strip(part, (low, high), reference) for part in parts]


def _strip(part: Part, scale: Pair, reference: float | None) -> str:
    low, high = scale
    reach = (high - low) or 1.0

    def x(value: float) -> float:
        return _STRIP * (min(max(value, low), high) - low) / reach

    drawn = [f'<path class="track" d="M0 9h{_STRIP}"/>']
    if reference is not None:
        drawn.append(f'<path class="limit" d="M{x(reference):.1f} 2v14"/>')
    if part.interval is not None:
        ends = x(part.interval[0]), x(part.interval[1])
        drawn.append(f'<path class="whisker" d="{_whisker(*ends, 9)}"/>')
    if part.against is not None:
        drawn.append(
            f'<path class="between" d="M{x(part.share):.1f} 9H{x(part.against):.1f}"/>'
            f'<rect class="orange" x="{x(part.against) - 4:.1f}" y="5" width="8" height="8"/>'
        )
    drawn.append(f'<circle class="blue" cx="{x(part.share):.1f}" cy="9" r="4.5"/>')
    return (
        f'<svg class="strip" viewBox="-6 0 {_STRIP + 12} 18" aria-hidden="true">'
        f"{''.join(drawn)}</svg>"
    )


def _values(part: Part) -> Iterable[float]:
    yield part.share
    if part.against is not None:
        yield part.against
    if part.interval is not None:
        yield from part.interval


def _svg(width: float, height: float, title: str, body: str, kind: str) -> str:
    return (
        f'<svg class="{kind}" viewBox="0 0 {width:.0f} {height:.0f}" role="img">'
        f"<title>{text(title)}</title>{body}</svg>"
    )


def _frame(across: str, up: str) -> str:
    """Draw the axes of a square whose sides run from 0 to 1."""
    drawn = [f'<rect class="plane" x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}"/>']
    for value in _QUARTERS:
        drawn.append(
            f'<path class="grid" d="M{_x(value):.0f} {_TOP}v{_SIDE}M{_LEFT} {_y(value):.0f}'
            f'h{_SIDE}"/><text x="{_x(value):.0f}" y="{_TOP + _SIDE + 15}"'
            f' text-anchor="middle">{value:g}</text>'
            f'<text x="{_LEFT - 6}" y="{_y(value) + 4:.0f}" text-anchor="end">{value:g}</text>'
        )
    middle = _TOP + _SIDE / 2
    drawn.append(
        f'<text class="axis" x="{_x(0.5):.0f}" y="{_TOP + _SIDE + 34}" text-anchor="middle">'
        f'{text(across)}</text><text class="axis" transform="translate(13 {middle:.0f})'
        f' rotate(-90)" text-anchor="middle">{text(up)}</text>'
    )
    return "".join(drawn)


def _x(value: float) -> float:
    return _LEFT + _SIDE * value


def _y(value: float) -> float:
    return _TOP + _SIDE * (1 - value)


def _line(points: Sequence[Pair]) -> str:
    return "M" + "L".join(f"{_x(x):.1f} {_y(y):.1f}" for x, y in points)


def _whisker(start: float, stop: float, at: float, *, tall: bool = False) -> str:
    if tall:
        return (
            f"M{at:.1f} {start:.1f}V{stop:.1f}M{at - 3:.1f} {start:.1f}h6M{at - 3:.1f} {stop:.1f}h6"
        )
    return f"M{start:.1f} {at}H{stop:.1f}M{start:.1f} {at - 4}v8M{stop:.1f} {at - 4}v8"


def _brief(count: int) -> str:
    if count < 10_000:
        return f"{count}"
    return f"{count / 1e3:.0f}k" if count < 1_000_000 else f"{count / 1e6:.1f}M"


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        return None
    return float(value)
