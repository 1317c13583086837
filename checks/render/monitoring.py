"""The windows of a model over time, as one page: what moved, how well it did, what was decided."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from checks.render.chart import text
from checks.render.style import STYLE

MAXIMUM_WINDOWS = 60
"""Most windows that are drawn: the newest."""

MAXIMUM_COLUMNS = 60
"""Most checks that have a picture: those that moved most, beyond their floors, come first."""

_WIDTH, _HEIGHT = 300, 90
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 8, 8, 18

_OWN = """
.moves { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr));
  gap: 14px; } .moves figure { padding: 10px 12px; }
.line { stroke: var(--c0); stroke-width: 1.6; } .alarm { fill: var(--failed); }
.beyond { fill: var(--c1); } .plain tbody td { overflow-wrap: anywhere; }
.band { fill: var(--c0); opacity: .18; } .cut { stroke: var(--quiet); stroke-dasharray: 2 3; }
"""


@dataclass(frozen=True)
class Point:
    """One window of one check.

    Parameters
    ----------
    place : int
        Which window it is of.
    value : float
    status : str
        ``failed``, ``beyond`` (what counts, and not an alarm), or ``quiet``.
    low, high : float, optional
        Ends of an interval.
    """

    place: int
    value: float
    status: str = "quiet"
    low: float | None = None
    high: float | None = None


def monitoring_page(model: str, history: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of a model's windows, which needs nothing else.

    Parameters
    ----------
    model : str
    history : sequence of mapping
        By window, the oldest first: ``version``, ``since``, ``until``, ``rows``, ``labelled``,
        ``reports`` (by name, as `checks.result.Report.to_dict` gives them), ``decision`` and
        ``revisions``.
    """
    windows = list(history)[-MAXIMUM_WINDOWS:]
    left = len(history) - len(windows)
    older = f" The {left:,} before them are in the tracking store." if left else ""
    last = windows[-1] if windows else None
    verdict = _verdict(last) if last else "error"
    said = "Nothing was judged yet." if last is None else _said(last)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="content-security-policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{text(model)}: monitoring</title>
<style>{STYLE}{_OWN}</style>
</head>
<body>
<header class="{verdict}">
<div class="page">
<p class="kicker">tidegate · monitoring of {text(model)}</p>
<h1>{text(_headline(last))}</h1>
<p class="lead">{text(said)}</p>
</div>
</header>
<main class="page">
{_decisions(windows)}{_scores(windows)}{_moves(windows)}
<p class="quiet">{len(windows):,} windows, the oldest on the left.{older}</p>
</main>
</body>
</html>
"""


def moves(history: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, list[Point]]]:
    """Return by check of drift its floor and what each window showed, the furthest mover first."""
    found: dict[str, tuple[float, list[Point]]] = {}
    for place, window in enumerate(history):
        for check in window["reports"].get("drift", {}).get("checks", ()):
            effect, floor = check["details"].get("effect"), check["details"].get("threshold")
            if not isinstance(effect, float | int) or not isinstance(floor, float | int):
                continue
            status = "quiet"
            if check["details"].get("exceeded"):
                status = "failed" if check["status"] == "failed" else "beyond"
            points = found.setdefault(check["id"], (float(floor), []))[1]
            points.append(Point(place, float(effect), status))

    def furthest(item: tuple[str, tuple[float, list[Point]]]) -> float:
        floor, points = item[1]
        return -max(point.value - floor for point in points)

    return dict(sorted(found.items(), key=furthest))


def accuracies(history: Sequence[Mapping[str, Any]]) -> list[Point]:
    """Return the accuracy of each window whose labels have come, with its interval."""
    found = []
    for place, window in enumerate(history):
        report = window["reports"].get("performance", {})
        facts = report.get("facts", {})
        value = facts.get("accuracy")
        if isinstance(value, float | int):
            low, high = facts.get("interval") or (None, None)
            status = "failed" if report.get("verdict") == "failed" else "quiet"
            found.append(Point(place, float(value), status, low, high))
    return found


def _verdict(window: Mapping[str, Any]) -> str:
    found = {report.get("verdict") for report in window["reports"].values()}
    action = (window["decision"] or {}).get("action", "nothing")
    # What led to it may be a closed window, which late labels have shown to be bad.
    if "failed" in found or action != "nothing":
        return "failed"
    # Too few labels to judge performance by is no fault of the window.
    return "error" if window["reports"].get("drift", {}).get("verdict") == "error" else "passed"


def _headline(window: Mapping[str, Any] | None) -> str:
    if window is None or window["decision"] is None:
        return "no decision"
    return str(window["decision"]["action"])


def _said(window: Mapping[str, Any]) -> str:
    reasons = (window["decision"] or {}).get("reasons", ())
    return " ".join(reason["text"] for reason in reasons)


def _decisions(windows: Sequence[Mapping[str, Any]]) -> str:
    if not windows:
        return ""
    rows = "".join(
        f'<tr class="{_verdict(each)}"><td>{text(_time(each["since"]))}<br>'
        f'<span class="quiet">to {text(_time(each["until"]))}</span></td>'
        f'<td class="n">{text(each["version"])}</td><td class="n">{each["rows"]:,}</td>'
        f'<td class="n">{each["labelled"]:,}{_revised(each)}</td>'
        f'<td class="status">{text(_headline(each))}</td><td>{text(_said(each))}</td></tr>'
        for each in reversed(windows)
    )
    return f"""<section><h2>Windows and decisions</h2><div class="scroll"><table class="plain">
<thead><tr><th>window (UTC)</th><th class="n">version</th><th class="n">rows</th>
<th class="n">labelled</th><th>decision</th><th>why</th></tr></thead>
<tbody>{rows}</tbody></table></div></section>
"""


def _revised(window: Mapping[str, Any]) -> str:
    count = len(window["revisions"])
    return f'<br><span class="quiet">judged anew {count}×</span>' if count else ""


def _scores(windows: Sequence[Mapping[str, Any]]) -> str:
    points = accuracies(windows)
    if not points:
        return ""
    ends = [end for p in points for end in (p.low, p.high, p.value) if end is not None]
    picture = _plot(points, windows, min(ends) - 0.01, max(ends) + 0.01, None, "accuracy")
    return f"""<section><h2>Accuracy on the rows whose labels have come</h2>
<p class="quiet">With 95% intervals; red where a loss is confirmed.</p>
<figure>{picture}</figure></section>
"""


def _moves(windows: Sequence[Mapping[str, Any]]) -> str:
    found = moves(windows)
    if not found:
        return ""
    shown = list(found.items())[:MAXIMUM_COLUMNS]
    more = len(found) - len(shown)
    left = f" {more} that moved less are left out." if more > 0 else ""
    figures = "".join(
        f"<figure><figcaption>{text(id)}</figcaption>"
        + _plot(points, windows, 0.0, 1.1 * max(floor, *(p.value for p in points)), floor, id)
        + "</figure>"
        for id, (floor, points) in shown
    )
    return f"""<section><h2>How far each column moved</h2>
<p class="quiet">The distance from the reference by window; the line is the least that counts.
Orange: beyond it. Red: an alarm. Dotted: another version began to answer.{left}</p>
<div class="moves">{figures}</div></section>
"""


def _plot(
    points: Sequence[Point],
    windows: Sequence[Mapping[str, Any]],
    low: float,
    high: float,
    floor: float | None,
    name: str,
) -> str:
    last = max(len(windows) - 1, 1)

    def x(place: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * place / last

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - (value - low) / ((high - low) or 1.0))

    drawn = [
        f'<path class="rule" d="M{_LEFT} {y(low):.1f}H{_WIDTH - _RIGHT}"/>',
        *_ticks(low, high, y),
    ]
    changes = [
        n for n in range(1, len(windows)) if windows[n]["version"] != windows[n - 1]["version"]
    ]
    drawn += [f'<path class="cut" d="M{x(n - 0.5):.1f} {_TOP}V{y(low):.1f}"/>' for n in changes]
    if floor is not None:
        drawn.append(f'<path class="limit" d="M{_LEFT} {y(floor):.1f}H{_WIDTH - _RIGHT}"/>')
    drawn += [
        f'<path class="whisker" d="M{x(p.place):.1f} {y(p.low):.1f}V{y(p.high):.1f}"/>'
        for p in points
        if p.low is not None and p.high is not None
    ]
    line = " ".join(
        f"{'M' if n == 0 else 'L'}{x(p.place):.1f} {y(p.value):.1f}" for n, p in enumerate(points)
    )
    drawn.append(f'<path class="line" d="{line}"/>')
    kinds = {"failed": "alarm", "beyond": "beyond", "quiet": "dot"}
    drawn += [
        f'<circle class="{kinds[p.status]}" cx="{x(p.place):.1f}" cy="{y(p.value):.1f}" r="3.2">'
        f"<title>{text(_time(windows[p.place]['until']))}: {p.value:.4f}</title></circle>"
        for p in points
    ]
    drawn.append(
        f'<text class="tiny" x="{_LEFT}" y="{_HEIGHT - 4}">{text(_day(windows[0]["since"]))}</text>'
        f'<text class="tiny" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">'
        f"{text(_day(windows[-1]['until']))}</text>"
    )
    return (
        f'<svg class="wide" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f"<title>{text(name)} over {len(windows)} windows</title>{''.join(drawn)}</svg>"
    )


def _ticks(low: float, high: float, y: Any) -> Iterable[str]:
    for value in (low, high):
        yield (
            f'<text class="tiny" x="{_LEFT - 4}" y="{y(value) + 3:.1f}" text-anchor="end">'
            f"{value:.2f}</text>"
        )


def _time(said: str) -> str:
    return said[:16].replace("T", " ")


def _day(said: str) -> str:
    return said[:10]
