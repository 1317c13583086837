"""A sweep as one page: who won, what mattered, where, and at what price.

The page makes no request and says so to the browser: it may load nothing, and run no script
but the one it was written with. So a class or a column with markup for a name stays a name.
"""

import math
from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256

from pipelines.explanation import Bin, Explanation, Slice, Spent, TurningPoint
from pipelines.models.families import FAMILIES
from pipelines.models.space import Value
from pipelines.parameters import Part
from pipelines.sweep.sweep import SweepResult
from pipelines.sweep.trial import Trial
from pipelines.sweep_report import chart
from pipelines.sweep_report.chart import number, seconds, short, text
from pipelines.sweep_report.script import SCRIPT
from pipelines.sweep_report.style import STYLE
from pipelines.sweep_wording import ended, findings

_LONGEST_REASON = 300
_LONGEST_CONFIGURATION = 2_000

_PRICE = ("family", "trials", "time", "time of all", "units", "units of all")


def to_html(result: SweepResult, told: Explanation, title: str) -> str:
    """Return a sweep as a page that needs nothing else.

    Parameters
    ----------
    result : SweepResult
    told : Explanation
        From `pipelines.explanation.explain`.
    title : str
        The model's name.

    Notes
    -----
    Pictures and the table of trials hold at most `chart.MOST_DRAWN` trials, and say so; five
    hundred trials are about half a megabyte.
    """
    name = text(short(title))
    best = result.best
    script = b64encode(sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{script}'"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{name}: the sweep</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<div class="page">
<p class="kicker">tidegate · {name} · sweep</p>
<h1>Trial {best.number}, {text(short(best.family))}, won with {text(_scoring(result))} \
<b>{_four(best.score)}</b></h1>
<p class="lead">{text(ended(result))}</p>
{_tiles(result, told)}
<ul class="said">
{"".join(f"<li>{text(each)}" for each in findings(result, told))}
</ul>
</div>
</header>
<main class="page">
{_mattered(result, told)}{_slices(result, told)}{_parallel(result)}{_curves(result, told)}\
{_learned(result, told)}{_trials(result)}</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _tiles(result: SweepResult, told: Explanation) -> str:
    states = [trial.state for trial in result.trials]
    worked = sum(each.seconds for each in told.spent)
    full = sum(each.full_seconds for each in told.spent)
    best = result.best
    gap = None if best.train_score is None or best.score is None else best.train_score - best.score
    tiles = [
        ("on validation rows", _four(best.score), _scoring(result)),
        ("on training rows", _four(best.train_score), f"gap {_signed(gap)}"),
        (
            "trials",
            f"{len(states):,}",
            f"{states.count('FINISHED'):,} finished, {states.count('KILLED'):,} stopped early, "
            f"{states.count('FAILED'):,} failed",
        ),
        ("time", seconds(result.seconds), f"{seconds(worked)} in the workers"),
    ]
    if full > worked > 0:
        tiles.append(
            ("saved", f"about {seconds(full - worked)}", f"{1 - worked / full:.0%} of the work")
        )
    return (
        '<dl class="tiles">'
        + "".join(
            f"<div><dt>{text(name)}<dd>{text(said)} <small>{text(more)}</small></div>"
            for name, said, more in tiles
        )
        + "</dl>"
    )


def _mattered(result: SweepResult, told: Explanation) -> str:
    bars = (
        chart.importance(result.importance)
        if result.importance
        else '<p class="quiet">Too few finished trials to tell.</p>'
    )
    fates = "".join(
        f'<li><i class="k-{key}"></i>{said}'
        for key, (fate, said) in zip(
            ("went", "done", "ended", "stopped", "failed"), chart.FATES, strict=True
        )
        if any(getattr(each, fate) for each in told.survival)
    )
    rows = [
        [each.family, each.rung, each.entered, *(getattr(each, fate) for fate, _ in chart.FATES)]
        for each in told.survival
    ]
    head = ["family", "rung", "entered", *(said for _, said in chart.FATES)]
    drawn = chart.survival(told.survival) if told.survival else ""
    return f"""<section>
<h2>What mattered, what it took, and who survived</h2>
<p class="quiet">Importance ranks the hyperparameters of the winner's family by how differently they
are distributed among its best trials: with tens of trials no more than a hint. A rung is a part of
the resource, and only the best of a rung go on. The pale bar is what all trials of a family would
have taken to go as far as the furthest: each one's own time a unit, times those units.</p>
<div class="two">
<div><figure>
<figcaption>Importance <span class="quiet">{text(short(told.family))}</span></figcaption>
{bars}</figure>
<figure><figcaption>Time in the workers</figcaption>{chart.spent(told.spent)}
{_as_table(_PRICE, [_price(each) for each in told.spent], 1)}</figure></div>
<figure><figcaption>Rung by rung</figcaption>{drawn}<ul class="key">{fates}</ul>
{_as_table(head, rows, 1)}</figure>
</div>
</section>
"""


def _price(each: Spent) -> list[Value | None]:
    return [
        each.family,
        each.trials,
        seconds(each.seconds),
        seconds(each.full_seconds),
        each.units,
        each.full_units,
    ]


def _slices(result: SweepResult, told: Explanation) -> str:
    shown = [told.neurons, *told.slices] if told.neurons else list(told.slices)
    standings = told.comparison.standings
    if not shown or not standings:
        return ""
    within = chart.limits(standings)
    figures = "".join(
        f"<figure><figcaption>{text(short(each.name))}"
        f"{' <span class=quiet>layers × width</span>' if each is told.neurons else ''}</figcaption>"
        f"{chart.slices(each, within, result.best.number, _turn(each, told))}"
        f"{_bins(each)}</figure>\n"
        for each in shown
    )
    units = told.comparison.units
    share = f" ({units:,} unit{'s' if units != 1 else ''})" if units else ""
    turn = (
        "" if told.turning is None else '<li><i class="k-orange"></i>shaded: past the turning point'
    )
    return f"""<section>
<h2>How each hyperparameter moved the score, and the gap</h2>
<p class="quiet">The {len(standings):,} {text(short(told.family))} trials that reached rung
{told.comparison.rung}{share}, or had got no better before it, compared there: one that was stopped
does not stand beside one that was finished. The gap is the score on training rows less that on
validation rows, where a trial stood then and not at its best: where it grows, models memorise.
Every picture has the same scale; what lies outside is drawn at its edge.</p>
<div class="three">
{figures}</div>
<ul class="key"><li><i class="k-blue"></i>score: median and middle half
<li><i class="k-orange"></i>gap: the same<li><i class="k-quiet"></i>a trial
<li><i class="k-best"></i>the winner{turn}</ul>
</section>
"""


def _turn(each: Slice, told: Explanation) -> TurningPoint | None:
    return told.turning if each is told.neurons else None


def _bins(each: Slice) -> str:
    def row(found: Bin) -> list[Value | None]:
        ends = (
            number(found.low)
            if found.low == found.high
            else (f"{number(found.low)} to {number(found.high)}")
        )
        score, gap = found.score, found.gap
        return [
            ends,
            found.trials,
            found.failed,
            None if score is None else f"{score.median:.4f}",
            None if score is None else f"{score.low:.4f} to {score.high:.4f}",
            None if gap is None else f"{gap.median:+.4f}",
        ]

    head = ["value", "trials", "failed", "median score", "middle half", "median gap"]
    return _as_table(head, [row(found) for found in each.bins], 1)


def _parallel(result: SweepResult) -> str:
    families = sorted(
        {trial.family for trial in result.trials},
        key=lambda name: (name != result.best.family, name),
    )
    boards: list[str] = []
    choices: list[str] = []
    for family in families:
        alike = [trial for trial in result.trials if trial.family == family]
        drawn = chart.parallel(alike, result.best.number, result.scoring)
        if not drawn:
            continue
        checked = " checked" if not choices else ""
        choices.append(
            f'<label><input type="radio" name="family" value="{text(family)}"{checked}>'
            f"{text(short(family))} <span class=quiet>{len(alike):,}</span></label>"
        )
        boards.append(
            f'<figure class="board wide" data-family="{text(family)}">'
            f"<figcaption>{text(short(family))}</figcaption>{drawn}</figure>\n"
        )
    return f"""<section>
<h2>Every trial, across its hyperparameters</h2>
<p class="quiet">The stronger a line, the better its score; the winner in red. Drag along an axis to
pick a range, click it to let go; point at a line to see its trial everywhere on the page.</p>
<div class="bar script">{"".join(choices)}
<label>hide the worst <input id="floor" type="range" min="0" max="99" value="0"
 aria-label="hide the worst percent of trials"></label>
<output id="shown" aria-live="polite"></output><button id="clear" type="button" hidden>Show
all</button></div>
{"".join(boards)}</section>
"""


def _curves(result: SweepResult, told: Explanation) -> str:
    alike = [trial for trial in result.trials if trial.family == told.family]
    if not any(len(trial.curve) > 1 for trial in alike):
        return ""
    rows: list[list[Value | None]] = [
        [unit, f"{spread.median:.4f}", f"{spread.low:.4f} to {spread.high:.4f}", stretch.trials]
        for stretch in told.typical
        for unit, spread in stretch.points
    ]
    drawn = chart.curves(alike, result.best, told.typical, result.scoring, _resource(told.family))
    return f"""<section>
<h2>Learning curves: the best and the typical</h2>
<p class="quiet">The typical trial is the median of those that entered a rung, and the band their
middle half; at a rung the poorer ones leave, so it may jump.</p>
<figure class="wide">{drawn}
<ul class="key"><li><i class="k-best l"></i>trial {result.best.number}, on validation rows
<li><i class="dash l"></i>the same, on training rows<li><i class="k-blue l"></i>typical trial
<li><i class="k-band"></i>middle half<li><i class="k-quiet l"></i>every other trial</ul>
{_as_table(["units", "median", "middle half", "trials in the rung"], rows, 0)}</figure>
</section>
"""


def _learned(result: SweepResult, told: Explanation) -> str:
    chosen = [[name, number(value)] for name, value in result.best.params.items()]
    total = sum(part.parameters for part in told.learned)
    most = max([part.high for part in told.learned if part.high is not None], default=0.0) or 1.0
    learned = (
        f"""<figure><figcaption>Learned: {total:,} parameters</figcaption>
<div class="scroll"><table>
<thead><tr><th>part<th>shape<th class=n>count<th class=n>median<th>5% to 95% of magnitudes<th>
</thead>
<tbody>
{"".join(_part(part, most) for part in told.learned)}</tbody></table></div></figure>"""
        if told.learned
        else ""
    )
    return f"""<section>
<h2>Chosen by the sweep, learned by the winner</h2>
<p class="quiet">Hyperparameters are set before a model sees a row; parameters are what it learns
from the rows. A silent neuron has been switched off by weight decay.</p>
<div class="uneven">
<figure><figcaption>Chosen: {len(chosen)} hyperparameters</figcaption>
{_table(["hyperparameter", "value"], chosen, (1,))}</figure>
{learned}
</div>
</section>
"""


def _part(part: Part, most: float) -> str:
    strip = (
        chart.magnitudes(part.low, part.median, part.high, most)
        if part.low is not None and part.median is not None and part.high is not None
        else ""
    )
    return (
        f"<tr><td>{text(short(part.name))}<td>{text(part.shape)}<td class=n>{part.parameters:,}"
        f"<td class=n>{number(part.median)}<td>{strip}"
        f"<td class=quiet>{text(short(part.note, _LONGEST_REASON))}\n"
    )


def _trials(result: SweepResult) -> str:
    listed = sorted(chart.drawn(result.trials), key=lambda t: _place(t, result.best.number))
    head = (
        ("trial", True),
        ("family", False),
        ("state", False),
        ("score", True),
        ("training", True),
        ("gap", True),
        ("rung", True),
        ("units", True),
        ("seconds", True),
        ("configuration", False),
    )
    heads = "".join(
        f"<th{' class=n' if numeric else ''}{' aria-sort=descending' if name == 'score' else ''}>"
        f"<button type=button>{name}</button>"
        for name, numeric in head
    )
    more = (
        f" The best half and every so-and-so-many-th of the rest: {len(listed):,} of "
        f"{len(result.trials):,}."
        if len(listed) < len(result.trials)
        else ""
    )
    rows = "\n".join(_row(trial, result.best.number) for trial in listed)
    return f"""<section>
<h2>Trials</h2>
<p class="quiet">Click a head to sort, a row to keep it lit; arrow keys go from row to row, Escape
lets go.{more}</p>
<div class="scroll tall" tabindex="0" role="region" aria-label="trials"><table class="trials">
<thead><tr>{heads}</thead>
<tbody>
{rows}
</tbody></table></div>
</section>
"""


def _place(trial: Trial, best: int) -> tuple[float, bool, int]:
    """Rank by score, and of equals the winner first."""
    score = -math.inf if trial.score is None else trial.score
    return -score, trial.number != best, trial.number


def _row(trial: Trial, best: int) -> str:
    score, learned = trial.score, trial.train_score
    gap = None if score is None or learned is None else learned - score
    said = ", ".join(f"{name}={number(value)}" for name, value in trial.params.items())
    why = (
        f'<br><span class="why">{text(short(trial.error, _LONGEST_REASON))}</span>'
        if trial.state == "FAILED" and trial.error
        else ""
    )
    cells = "".join(
        f'<td class=n data-v="{"" if value is None else f"{value:.6g}"}">{said_}'
        for value, said_ in (
            (score, _four(score)),
            (learned, _four(learned)),
            (gap, _signed(gap)),
            (trial.rung, str(trial.rung) if trial.rung >= 0 else "–"),
            (trial.units, f"{trial.units:,}"),
            (trial.seconds, f"{trial.seconds:.2f}"),
        )
    )
    return (
        f'<tr{" class=best" if trial.number == best else ""} data-t="{trial.number}" tabindex="0">'
        f'<td class=n data-v="{trial.number}">{trial.number}<td>{text(short(trial.family))}'
        f"<td>{trial.state.lower()}{cells}<td>{text(short(said, _LONGEST_CONFIGURATION))}{why}"
    )


def _as_table(head: Sequence[str], rows: Sequence[Sequence[Value | None]], first: int) -> str:
    """Write the numbers of a picture below it, closed; columns from ``first`` on are numbers."""
    return (
        "<details><summary>In numbers</summary>"
        f"{_table(head, rows, range(first, len(head)))}</details>"
    )


def _table(
    head: Sequence[str], rows: Sequence[Sequence[Value | None]], numeric: Iterable[int]
) -> str:
    right = set(numeric)

    def cell(place: int, value: Value | None) -> str:
        said = f"{value:,}" if isinstance(value, int) else number(value)
        return f"<td{' class=n' if place in right else ''}>{text(said)}"

    heads = "".join(
        f"<th{' class=n' if place in right else ''}>{text(name)}" for place, name in enumerate(head)
    )
    body = "\n".join(
        "<tr>" + "".join(cell(place, value) for place, value in enumerate(row)) for row in rows
    )
    return f"""<div class="scroll"><table>
<thead><tr>{heads}</thead>
<tbody>
{body}
</tbody></table></div>"""


def _resource(family: str) -> str:
    return FAMILIES[family].resource if family in FAMILIES else "units"


def _scoring(result: SweepResult) -> str:
    return short(result.scoring.replace("_", " "))


def _four(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}"
