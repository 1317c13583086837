"""A report as one page that needs nothing else: below 1 MB, light and dark, on paper."""

import json
from collections.abc import Sequence

from checks.render import chart
from checks.render.chart import text
from checks.render.facts import (
    MAXIMUM_DRAWN_CLASSES,
    Champion,
    Curve,
    Facts,
    Matrix,
    Part,
    read,
    shorten,
)
from checks.render.style import STYLE
from checks.render.wording import (
    apart,
    basis,
    champion,
    headline,
    interval,
    limit,
    listed,
    look,
    number,
    p_value,
    refusals_first,
    refuses,
    share,
    summary,
)
from checks.result import CheckResult, Report, Status

MAXIMUM_BYTES = 1_000_000
"""Largest page."""

MAXIMUM_CLASSES = 12
"""Most classes whose confusion matrix is written in numbers at first sight."""

_AT_SIGHT = 40
_ROWS = 380_000
_BESIDE = 60_000
_REASONS = 60_000
_LONGEST_ID = 200
_LONGEST_CLAIM = 300
_LONGEST_VALUE = 80
_LONGEST_FACTS = 20_000
_MOST_CONFUSIONS = 15


def to_html(report: Report) -> str:
    """Return a report as a page: the verdict first, then each check, then what they rest on.

    Parameters
    ----------
    report : Report
        Which of its facts are drawn is said by `checks.render.facts.read`; the other ones are
        listed at the end.
    """
    page = _page(report, whole=True)
    return page if len(page.encode()) < MAXIMUM_BYTES else _page(report, whole=False)


def _page(report: Report, *, whole: bool) -> str:
    """Write the page; if it is not to be whole, without the numbers that have a picture."""
    facts = read(report.facts)
    checks, beside = apart(report)
    name = shorten(report.name, _LONGEST_VALUE)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{text(name)}: {text(report.verdict)}</title>
<style>{STYLE}</style>
</head>
<body>
<header class="{_css(report.verdict)}">
<div class="page">
<p class="kicker">tidegate · {text(name)}</p>
<h1>{_icon(report.verdict)}{headline(report)}</h1>
<p class="lead">{text(summary(report))}</p>
{_lead(facts)}{_reasons(checks)}</div>
</header>
<main class="page">
{_checks(checks)}{_beside(beside)}{_scores(facts)}{_matrices(facts, whole=whole)}{_against(facts)}\
{_slices(facts)}{_pictures(facts)}{_rest(facts)}</main>
</body>
</html>
"""


def _lead(facts: Facts) -> str:
    lines = []
    if facts.override is not None:
        by, reason = text(facts.override.by), text(facts.override.reason)
        lines.append(
            f'<p class="override"><b>Let through by {by}</b>, against the verdict: {reason}'
        )
    verdict, said = champion(facts)
    if verdict:
        lines.append(f'<p class="champion"><b>{text(verdict)}</b>: {text(said)}.')
    if facts.look is not None:
        lines.append(f'<p class="{"look" if facts.look > 1 else "quiet"}">{text(look(facts))}')
    if basis(facts):
        lines.append(f'<p class="quiet">{text(basis(facts))}')
    return "".join(f"{line}</p>\n" for line in lines)


def _reasons(checks: Sequence[CheckResult]) -> str:
    rows, more = listed([check for check in checks if refuses(check)], _reason, _REASONS)
    items = "\n".join([*rows, *([f"<li>{more}"] if more else [])])
    return f'<ul class="reasons">\n{items}\n</ul>\n' if rows else ""


def _reason(check: CheckResult) -> str:
    return f"<li>{_id(check)} {text(check.reason or shorten(check.claim, _LONGEST_CLAIM))}"


def _id(check: CheckResult) -> str:
    return f"<code>{text(shorten(check.id, _LONGEST_ID))}</code>"


def _checks(checks: Sequence[CheckResult]) -> str:
    if not checks:
        return ""
    many = len(checks) > _AT_SIGHT
    rows, more = listed(refusals_first(checks) if many else checks, _row, _ROWS)
    said = (
        "In each picture the limit is the line in the middle, the refused side is shaded, and "
        "the whisker is the interval; each has a scale of its own."
    )
    rest = ""
    if many:
        hold = "" if any(map(refuses, refusals_first(checks)[_AT_SIGHT:])) else " that hold"
        rest = f"""<details>
<summary>{len(rows) - _AT_SIGHT:,} more checks{hold}</summary>
{_list_of(rows[_AT_SIGHT:])}
</details>
"""
    return f"""<section>
<h2>Every check</h2>
{f'<p class="quiet">{said}</p>' if any(map(chart.gauge, checks)) else ""}
{_list_of(rows[:_AT_SIGHT])}
{rest}{f'<p class="quiet">{more}</p>' if more else ""}
</section>
"""


def _list_of(rows: Sequence[str]) -> str:
    return f"""<div class="scroll"><table class="checks">
<thead><tr><th>Status<th>Check<th class="n">Limit<th class="n">Observed<th>What was found</thead>
<tbody>
{"".join(rows)}</tbody>
</table></div>"""


def _row(check: CheckResult) -> str:
    said = interval(check)
    between = (
        f'<br><span class="quiet">{text(shorten(said, _LONGEST_VALUE))}</span>' if said else ""
    )
    claim = text(shorten(check.claim, _LONGEST_CLAIM))
    return (
        f'<tr class="{_css(check.status)}">'
        f'<td class="status">{_icon(check.status)}<span>{text(check.status)}</span>'
        f'<td>{_id(check)}<br><span class="quiet">{claim}</span>'
        f'<td class="n">{text(shorten(limit(check)))}'
        f'<td class="n">{text(shorten(number(check.observed), _LONGEST_VALUE))}{between}'
        f"{chart.gauge(check)}<td>{text(check.reason)}\n"
    )


def _beside(checks: Sequence[CheckResult]) -> str:
    if not checks:
        return ""
    rows, more = listed(checks, _reason, _BESIDE)
    items = "\n".join([*rows, *([f"<li>{more}"] if more else [])])
    noun = "check does" if len(checks) == 1 else "checks do"
    return f"""<details>
<summary>{len(checks):,} {noun} not apply</summary>
<ul class="beside">
{items}
</ul>
</details>
"""


def _scores(facts: Facts) -> str:
    if not facts.metrics:
        return ""
    items = "".join(
        f"<div><dt>{text(name)}<dd>{text(number(value))}</div>" for name, value in facts.metrics
    )
    return f'<section>\n<h2>Scores</h2>\n<dl class="scores">{items}</dl>\n</section>\n'


def _matrices(facts: Facts, *, whole: bool) -> str:
    mine, other = facts.matrix, facts.champion.matrix if facts.champion else None
    shown = [("Candidate", mine)] if mine is not None else []
    if other is not None and facts.champion is not None:
        shown.append((_who(facts.champion), other))
    if not shown:
        return ""
    k = len(shown[0][1].rows)
    if k <= MAXIMUM_CLASSES:
        inner = f'<div class="matrices">\n{_numbers(shown)}</div>'
    else:
        drawn = "".join(
            f"<figure><figcaption>{text(whose)}: share of the true class</figcaption>"
            f"{chart.heat(matrix, whose)}</figure>\n"
            for whose, matrix in (shown if k <= MAXIMUM_DRAWN_CLASSES else [])
        )
        inner = f'<div class="figures">\n{drawn}</div>\n{_confusions(mine, other)}'
        if whole and k <= MAXIMUM_DRAWN_CLASSES:
            inner += f"""<details>
<summary>Every cell in numbers</summary>
<div class="matrices small">
{_numbers(shown)}</div>
</details>"""
        else:
            inner += '<p class="quiet">The JSON report has every cell.</p>'
    return f"""<section>
<h2>Confusion matrix</h2>
<p class="quiet">A row for each true class, a column for each answer. The stronger a cell's colour,
the more of its true class is there: <b class="right">right</b>, <b class="wrong">wrong</b>.</p>
{inner}
</section>
"""


def _numbers(shown: Sequence[tuple[str, Matrix]]) -> str:
    return "".join(
        _table(matrix, f"{whose}: {'share of the true class' if shares else 'rows'}", shares=shares)
        for shares in (False, True)
        for whose, matrix in shown
    )


def _who(found: Champion) -> str:
    return "Champion" if found.version is None else f"Champion, version {found.version}"


def _table(matrix: Matrix, caption: str, *, shares: bool) -> str:
    # Closing tags are left out, as HTML allows: a hundred classes make 20,000 cells.
    many = len(matrix.rows) > MAXIMUM_CLASSES
    upright = len(matrix.columns) > 4 and max(map(len, matrix.columns)) > 5
    head = "".join(f'<th class="n"><span>{text(name)}</span>' for name in matrix.columns)
    head += "" if shares else '<th class="n"><span>all</span>'
    rows = []
    for place, (name, row) in enumerate(zip(matrix.rows, matrix.counts, strict=True)):
        of = sum(row)
        cells = "".join(
            _cell(count, of, right=place == column, shares=shares, plain=many)
            for column, count in enumerate(row)
        )
        rows.append(f"<tr><th>{text(name)}{cells}" + ("" if shares else f"<td>{of:,}"))
    body = "\n".join(rows)
    return f"""<div class="scroll"><table class="matrix{" many" if upright else ""}">
<caption>{text(caption)}</caption>
<thead><tr><th class="corner">true ↓ answer →{head}</thead>
<tbody>
{body}
</tbody></table></div>
"""


def _cell(count: int, of: int, *, right: bool, shares: bool, plain: bool) -> str:
    if plain:
        said = share(count, of, 2).lstrip("0") if shares else str(count)
        return f"<td>{said}" if count else "<td>"
    if not count:
        return f"<td class=o>{'–' if shares and not of else '0'}"
    said = share(count, of) if shares else f"{count:,}"
    return f"<td class={chart.shade(count, of, right=right)}>{said}"


def _confusions(mine: Matrix | None, other: Matrix | None) -> str:
    """Write the cells that hold most wrong answers, since no eye finds them in a hundred rows."""
    shown = mine or other
    assert shown is not None
    wrong = [
        (count, row, column)
        for row, counts in enumerate(shown.counts)
        for column, count in enumerate(counts)
        if count and row != column
    ]
    if not wrong:
        return '<p class="quiet">No answer is wrong.</p>\n'
    rows = []
    for count, row, column in sorted(wrong, key=lambda cell: -cell[0])[:_MOST_CONFUSIONS]:
        cells = f"<td class=n>{count:,}<td class=n>{share(count, sum(shown.counts[row]))}"
        if mine is not None and other is not None:
            theirs = other.counts[row]
            # The champion may know a class fewer beside these: the column of the others.
            known = theirs[column] if column < len(theirs) else 0
            cells += f"<td class=n>{known:,}<td class=n>{share(known, sum(theirs))}"
        rows.append(f"<tr><td>{text(shown.rows[row])}<td>{text(shown.columns[column])}{cells}")
    both = mine is not None and other is not None
    more = '<th class="n">champion<th class="n">share' if both else ""
    body = "\n".join(rows)
    return f"""<div class="scroll"><table class="plain">
<caption>The largest confusions</caption>
<thead><tr><th>True class<th>Answer<th class="n">rows<th class="n">share{more}</thead>
<tbody>
{body}
</tbody></table></div>
"""


def _against(facts: Facts) -> str:
    found = facts.champion
    if found is None or (found.helpful is None and not found.segments):
        return ""
    who = "the champion" if found.version is None else f"version {found.version}"
    parts = []
    if found.helpful is not None and found.harmful is not None:
        same = ""
        if found.rows is not None and found.rows >= found.helpful + found.harmful:
            kept = found.rows - found.helpful - found.harmful
            same = f" On the other {kept:,} of {found.rows:,} rows both are right or both wrong."
        parts.append(
            f'<p class="quiet">A flip is a row that only one of the two has right.{same}</p>\n'
            f"{chart.flips(found.helpful, found.harmful, who)}\n"
        )
        for rows, said in (
            (found.helpful_rows, "Only the candidate has right"),
            (found.harmful_rows, f"Only {who} has right"),
        ):
            names = ", ".join(f"<code>{text(name)}</code>" for name in rows)
            parts.append(f'<p class="examples">{text(said)}: {names}</p>\n' if rows else "")
    if found.segments:
        parts.append("<h3>Segments where the candidate is worse</h3>\n")
        parts.append(_segments(found.segments))
    return f"<section>\n<h2>Against {text(who)}</h2>\n{''.join(parts)}</section>\n"


def _segments(segments: Sequence[Part]) -> str:
    rows = "\n".join(
        f"<tr><td>{text(part.name)}<td class=n>{_rows(part)}<td class=n>{part.share:.3f}"
        f"<td class=n>{number(part.against)}<td class=n>{_p(part)}<td>{strip}"
        for part, strip in zip(segments, chart.strips(segments), strict=True)
    )
    return f"""<div class="scroll"><table class="plain">
<thead><tr><th>Segment<th class="n">rows<th class="n"><i class="key blue round"></i>candidate
<th class="n"><i class="key orange"></i>champion<th class="n">p<th>share that is right</thead>
<tbody>
{rows}
</tbody></table></div>
"""


def _slices(facts: Facts) -> str:
    if not facts.slices:
        return ""
    overall = next((v for n, v in facts.metrics if n == "accuracy" and isinstance(v, float)), None)
    overall = overall if overall is not None and 0 <= overall <= 1 else None
    rows = "\n".join(
        f"<tr><td>{text(part.name)}<td class=n>{_rows(part)}<td class=n>{part.share:.3f}"
        f"{_between(part)}<td class=n>{_p(part)}<td>{strip}"
        for part, strip in zip(facts.slices, chart.strips(facts.slices, overall), strict=True)
    )
    line = f" The line is the accuracy of all rows, {overall:.3f}." if overall is not None else ""
    return f"""<section>
<h2>Worst slices</h2>
<p class="quiet">The parts of the rows that are answered worst, with their interval.{line}</p>
<div class="scroll"><table class="plain">
<thead><tr><th>Slice<th class="n">rows<th class="n">right<th class="n">p
<th>share that is right</thead>
<tbody>
{rows}
</tbody></table></div>
</section>
"""


def _rows(part: Part) -> str:
    return "–" if part.rows is None else f"{part.rows:,}"


def _between(part: Part) -> str:
    if part.interval is None:
        return ""
    low, high = part.interval
    return f'<br><span class="quiet">{low:.3f} to {high:.3f}</span>'


def _p(part: Part) -> str:
    return "–" if part.p is None else text(p_value(part.p).removeprefix("= "))


def _pictures(facts: Facts) -> str:
    figures = []
    if facts.reliability is not None:
        found = facts.reliability
        scores = [
            f"{name} {number(value)}"
            for name, value in (("expected calibration error", found.ece), ("Brier", found.brier))
            if value is not None
        ]
        said = f'<p class="quiet">{text(", ".join(scores))}</p>' if scores else ""
        figures.append(
            "<figure><figcaption>Reliability</figcaption>"
            f"{chart.reliability(found)}{said}</figure>\n"
        )
    for kind, drawn, across, up in (
        ("ROC", facts.roc, "false positive rate", "true positive rate"),
        ("Precision and recall", facts.precision_recall, "recall", "precision"),
    ):
        if drawn:
            figures.append(
                f"<figure><figcaption>{kind}</figcaption>"
                f"{chart.curves(drawn, kind, across, up)}{_legend(drawn)}</figure>\n"
            )
    if not figures:
        return ""
    return (
        f'<section>\n<h2>Probabilities</h2>\n<div class="figures">\n{"".join(figures)}</div>\n'
        "</section>\n"
    )


def _legend(drawn: Sequence[Curve]) -> str:
    items = "".join(
        f'<li><svg class="sample" viewBox="0 0 30 10" aria-hidden="true">'
        f'<path class="curve c{place}" d="M0 5h30"/></svg>{text(curve.name)}'
        + ("" if curve.area is None else f" · area {curve.area:.3f}")
        for place, curve in enumerate(drawn)
    )
    return f'<ul class="legend">{items}</ul>'


def _rest(facts: Facts) -> str:
    if not facts.rest:
        return ""
    known = json.dumps(facts.rest, indent=2, ensure_ascii=False)
    if len(known) > _LONGEST_FACTS:
        known = known[:_LONGEST_FACTS] + "\n…"
    return f"""<details>
<summary>What else the checks were read from</summary>
<pre>{text(known)}</pre>
</details>
"""


def _css(status: Status) -> str:
    return str(status).replace(" ", "-")


def _icon(status: Status) -> str:
    paths = {
        Status.PASSED: '<path d="M6.5 12.5l4 4 7-9"/>',
        Status.FAILED: '<path d="M7.5 7.5l9 9m0-9l-9 9"/>',
        Status.ERROR: '<path d="M12 6v7.5m0 3.6v.4"/>',
        Status.FIRST_MODEL: '<path d="M9.5 9l3-2.2v10.7"/>',
        Status.NOT_APPLICABLE: '<path d="M7 12h10"/>',
    }
    return (
        f'<svg class="icon {_css(status)}" viewBox="0 0 24 24" aria-hidden="true">'
        f'<circle cx="12" cy="12" r="11.5"/>{paths[status]}</svg>'
    )
