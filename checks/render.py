"""A report's three faces: markdown for a pull request, JUnit XML for a build, a page for people.

Pure: strings in, strings out. Whatever stands in a report (a class name, a column, a value of
the user's data) is escaped for where it goes.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any
from xml.etree import ElementTree

from checks.result import CheckResult, Report, Status

MAXIMUM_CHECKS = 300
"""Most checks that a page or a markdown table lists; the refusals come first then."""

MAXIMUM_CLASSES = 12
"""Most classes whose confusion matrix markdown shows; GitHub scrolls no table."""

_MARKS = {
    Status.PASSED: "✅",
    Status.FAILED: "❌",
    Status.ERROR: "⚠️",
    Status.NOT_APPLICABLE: "➖",
}
_RELATIONS = {"at least": "≥ ", "at most": "≤ ", "more than": "> "}
_LONGEST_NAME = 40
_LONGEST_FACTS = 20_000
_SHADES = 9


def to_markdown(report: Report) -> str:
    """Return a report as GitHub's markdown: the verdict, the reasons, every check.

    Parameters
    ----------
    report : Report
        Its facts ``labels`` and ``confusion``, where it has them, are shown as a table.
    """
    checks, more = _listed(report)
    lines = [
        f"## {_MARKS[report.verdict]} {_text(report.name)}: {report.verdict}",
        "",
        _text(_summary(report)),
        "",
    ]
    lines += [f"- {_code(check.id)}: {_text(check.reason)}" for check in checks if _refuses(check)]
    lines += [""] if report.refusals else []
    lines += ["| | check | observed | limit | |", "|:-:|---|--:|--:|---|"]
    for check in checks:
        cells = [
            _MARKS[check.status],
            _code(check.id),
            _text(_observed(check)),
            _text(_limit(check)),
            _text(check.reason or check.claim),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"… and {more:,} more that hold."] if more else []
    matrix = _matrix(report.facts)
    if matrix is not None and len(matrix[0]) <= MAXIMUM_CLASSES:
        names, counts = matrix
        head = [_code(name) for name in names]
        lines += ["", "Confusion matrix: a row for each true class, a column for each answer.", ""]
        lines += [f"| | {' | '.join(head)} | found |", f"|---|{'--:|' * (len(names) + 1)}"]
        for name, row, diagonal in zip(head, counts, range(len(names)), strict=True):
            cells = [f"{count:,}" for count in row]
            cells[diagonal] = f"**{cells[diagonal]}**"
            lines.append(f"| {name} | {' | '.join(cells)} | {_share(row[diagonal], sum(row))} |")
    return "\n".join(lines) + "\n"


def to_junit(report: Report) -> str:
    """Return a report as JUnit XML, which every build server reads.

    A check that failed is a ``failure``, one that could not be judged an ``error``, one that
    does not apply is ``skipped``. A report in which nothing was judged has an error of its
    own: an empty suite would be green.
    """
    cases = list(report.checks)
    if report.verdict is Status.ERROR and not report.refusals:
        reason = _summary(report)
        cases.append(CheckResult("verdict", "Something was judged", Status.ERROR, reason=reason))
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.status is Status.FAILED for case in cases)),
        "errors": str(sum(case.status is Status.ERROR for case in cases)),
        "skipped": str(sum(case.status is Status.NOT_APPLICABLE for case in cases)),
    }
    name = _legal(f"tidegate.{report.name}")
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {"name": name, **counts})
    outcomes = {
        Status.FAILED: "failure",
        Status.ERROR: "error",
        Status.NOT_APPLICABLE: "skipped",
    }
    for case in cases:
        attributes = {"classname": name, "name": _legal(case.id), "time": "0"}
        node = ElementTree.SubElement(suite, "testcase", attributes)
        if case.status is Status.PASSED:
            continue
        outcome = ElementTree.SubElement(
            node, outcomes[case.status], {"message": _legal(case.reason or case.claim)}
        )
        if case.status is not Status.NOT_APPLICABLE:
            outcome.set("type", str(case.status))
            outcome.text = _legal(
                f"{case.claim}\nobserved: {_observed(case)}\nlimit: {_limit(case)}\n"
            )
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def to_html(report: Report) -> str:
    """Return a report as one page that needs nothing else: below 1 MB, light and dark.

    Parameters
    ----------
    report : Report
        Its facts ``labels`` and ``confusion``, where it has them, are drawn as two matrices,
        of counts and of shares; the other facts are listed below.
    """
    checks, more = _listed(report)
    title = f"{report.name}: {report.verdict}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_html(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header class="{_css(report.verdict)}">
<div class="page">
<p class="kicker">tidegate · {_html(report.name)}</p>
<h1>{_icon(report.verdict)}{_headline(report)}</h1>
<p class="lead">{_html(_summary(report))}</p>
{_reasons(checks)}
</div>
</header>
<main class="page">
<section>
<h2>Every check</h2>
<div class="scroll">
<table class="checks">
<thead><tr><th>Status<th>Check<th class="n">Limit<th class="n">Observed<th>What was found</thead>
<tbody>
{"".join(map(_row, checks))}</tbody>
</table>
</div>
{f'<p class="quiet">… and {more:,} more that hold; the JSON report has them.</p>' if more else ""}
</section>
{_matrices(report.facts)}
{_facts(report.facts)}
</main>
</body>
</html>
"""


def _refuses(check: CheckResult) -> bool:
    return check.status in (Status.FAILED, Status.ERROR)


def _listed(report: Report) -> tuple[list[CheckResult], int]:
    """Return the checks to list, and how many are left out: those that hold, where many are."""
    if len(report.checks) <= MAXIMUM_CHECKS:
        return list(report.checks), 0
    ordered = sorted(report.checks, key=lambda check: not _refuses(check))
    return ordered[:MAXIMUM_CHECKS], len(ordered) - MAXIMUM_CHECKS


def _headline(report: Report) -> str:
    if report.passed:
        return "Passed"
    failed = any(check.status is Status.FAILED for check in report.checks)
    if report.verdict is Status.FAILED:
        return "Failed"
    return "Failed, and not judged in full" if failed else "Could not be judged"


def _summary(report: Report) -> str:
    counts = {status: sum(c.status is status for c in report.checks) for status in Status}
    judged = len(report.checks) - counts[Status.NOT_APPLICABLE]
    if not judged:
        return "No check was judged, so nothing is known."
    apart = counts[Status.NOT_APPLICABLE]
    rest = f" {apart} {'does' if apart == 1 else 'do'} not apply." if apart else ""
    if report.passed:
        return f"{f'All {judged} checks hold' if judged > 1 else 'The one check holds'}.{rest}"
    said = []
    if counts[Status.FAILED]:
        said.append(f"{counts[Status.FAILED]} failed")
    if counts[Status.ERROR]:
        said.append(f"{counts[Status.ERROR]} could not be judged, which refuses as well")
    return f"Of {judged} check{'s' if judged > 1 else ''}, {' and '.join(said)}.{rest}"


def _number(value: float | int | str | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, float | int):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.4g}"


def _observed(check: CheckResult) -> str:
    if check.interval is None:
        return _number(check.observed)
    low, high = check.interval
    return f"{_number(check.observed)} ({_number(low)} to {_number(high)})"


def _limit(check: CheckResult) -> str:
    if check.limit is None:
        return "–"
    return _RELATIONS.get(str(check.details.get("relation")), "") + _number(check.limit)


def _share(count: int, of: int) -> str:
    return f"{count / of:.3f}" if of else "–"


def _matrix(facts: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[Sequence[int]]] | None:
    names, counts = facts.get("labels"), facts.get("confusion")
    if not names or not counts:
        return None
    return [_short(str(name)) for name in names], counts


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _text(value: str) -> str:
    """Escape prose for a cell of GitHub's markdown: no markup, no link, no mention."""
    value = re.sub(r"\s+", " ", _legal(value))
    value = re.sub(r"([\\`*_\[\]<>|~&$])", r"\\\1", value)
    value = value.replace("://", ":\\//").replace("www.", "www\\.")
    # GitHub looks for names and issue numbers after it has rendered; a joiner stops it.
    return re.sub(r"([@#])(?=\w)", "\\1\N{WORD JOINER}", value)


def _code(value: str) -> str:
    """Quote a name as code in a cell of GitHub's markdown."""
    value = re.sub(r"\s+", " ", _legal(value)) or " "
    # A table is cut at its pipes before code is looked for, so a backslash counts here alone.
    value = re.sub(r"(\\*)\|", r"\1\1\\|", value)
    fence = "`" * (max((len(run) for run in re.findall("`+", value)), default=0) + 1)
    space = " " if value.startswith("`") or value.endswith("`") else ""
    return f"{fence}{space}{value}{space}{fence}"


def _legal(value: str) -> str:
    """Replace what XML 1.0 cannot hold, escaped or not, lone surrogates among it."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", value)


def _html(value: object) -> str:
    return escape(_legal(str(value)))


def _css(status: Status) -> str:
    return str(status).replace(" ", "-")


def _icon(status: Status) -> str:
    paths = {
        Status.PASSED: '<path d="M6.5 12.5l4 4 7-9"/>',
        Status.FAILED: '<path d="M7.5 7.5l9 9m0-9l-9 9"/>',
        Status.ERROR: '<path d="M12 6v7.5m0 3.6v.4"/>',
        Status.NOT_APPLICABLE: '<path d="M7 12h10"/>',
    }
    return (
        f'<svg class="icon {_css(status)}" viewBox="0 0 24 24" aria-hidden="true">'
        f'<circle cx="12" cy="12" r="11.5"/>{paths[status]}</svg>'
    )


def _reasons(checks: Iterable[CheckResult]) -> str:
    items = "\n".join(
        f"<li><code>{_html(check.id)}</code> {_html(check.reason or check.claim)}"
        for check in checks
        if _refuses(check)
    )
    return f'<ul class="reasons">\n{items}\n</ul>' if items else ""


def _row(check: CheckResult) -> str:
    return (
        f'<tr class="{_css(check.status)}">'
        f'<td class="status">{_icon(check.status)}<span>{_html(check.status)}</span>'
        f'<td><code>{_html(check.id)}</code><br><span class="quiet">{_html(check.claim)}</span>'
        f'<td class="n">{_html(_limit(check))}'
        f'<td class="n">{_html(_observed(check))}{_gauge(check)}'
        f"<td>{_html(check.reason)}\n"
    )


def _gauge(check: CheckResult) -> str:
    """Draw a share and its limit between 0 and 1, the part that is refused shaded."""
    observed, limit, relation = check.observed, check.limit, check.details.get("relation")
    if not (isinstance(observed, float) and isinstance(limit, float) and relation in _RELATIONS):
        return ""
    if not (0 <= observed <= 1 and 0 <= limit <= 1):
        return ""
    width = 100
    at, end = limit * width, observed * width
    start, length = (at, width - at) if relation == "at most" else (0.0, at)
    return (
        f'<svg class="gauge" viewBox="-3 0 {width + 6} 12" aria-hidden="true">'
        f'<rect class="track" y="4" width="{width}" height="4" rx="2"/>'
        f'<rect class="refused" x="{start:.1f}" y="4" width="{length:.1f}" height="4" rx="2"/>'
        f'<path class="limit" d="M{at:.1f} 1v10"/>'
        f'<circle cx="{end:.1f}" cy="6" r="3"/></svg>'
    )


def _matrices(facts: Mapping[str, Any]) -> str:
    matrix = _matrix(facts)
    if matrix is None:
        return ""
    names, counts = matrix
    size = "small" if len(names) > MAXIMUM_CLASSES else ""
    return f"""<section>
<h2>Confusion matrix</h2>
<p class="quiet">A row for each true class, a column for each answer. The darker a cell, the more
of its true class is there: <b class="right">right</b>, <b class="wrong">wrong</b>.</p>
<div class="matrices {size}">
{_table(names, counts, "Rows", shares=False)}
{_table(names, counts, "Share of the true class", shares=True)}
</div>
</section>"""


def _table(
    names: Sequence[str], counts: Sequence[Sequence[int]], caption: str, *, shares: bool
) -> str:
    # Closing tags are left out, as HTML allows: a hundred classes make 20,000 cells.
    head = "".join(f'<th class="n">{_html(name)}' for name in names)
    head += "" if shares else '<th class="n">all'
    rows = []
    for place, (name, row) in enumerate(zip(names, counts, strict=True)):
        of = sum(row)
        cells = "".join(
            _cell(count, of, right=place == column, share=shares)
            for column, count in enumerate(row)
        )
        rows.append(f"<tr><th>{_html(name)}{cells}" + ("" if shares else f"<td>{of:,}"))
    body = "\n".join(rows)
    return f"""<div class="scroll"><table class="matrix">
<caption>{caption}</caption>
<thead><tr><th class="corner">true ↓ answer →{head}</thead>
<tbody>
{body}
</tbody></table></div>"""


def _cell(count: int, of: int, *, right: bool, share: bool) -> str:
    if not count:
        return f"<td class=o>{'–' if share and not of else '0'}"
    shade = max(1, round(_SHADES * count / of))
    said = _share(count, of) if share else f"{count:,}"
    return f"<td class={'r' if right else 'w'}{shade}>{said}"


def _facts(facts: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in facts.items() if key not in ("labels", "confusion")}
    if not rest:
        return ""
    listed = json.dumps(rest, indent=2, ensure_ascii=False)
    if len(listed) > _LONGEST_FACTS:
        listed = listed[:_LONGEST_FACTS] + "\n…"
    return f"""<details>
<summary>What the checks were read from</summary>
<pre>{_html(listed)}</pre>
</details>"""


_STYLE = """
:root { color-scheme: light dark; --bg: #f6f7f9; --card: #fff; --ink: #1b2430; --quiet: #5c6776;
  --line: #e2e6ec; --passed: #18794e; --failed: #c62a2f; --error: #ad5700; --none: #6b7685;
  --right: 24 121 78; --wrong: 198 42 47; --strong: #fff; }
@media (prefers-color-scheme: dark) { :root { --bg: #11151b; --card: #191f28; --ink: #e6eaf0;
  --quiet: #98a3b3; --line: #2b3440; --passed: #4cc38a; --failed: #ff6369; --error: #ffa057;
  --none: #98a3b3; --right: 76 195 138; --wrong: 255 99 105; --strong: #0b0e12; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
.page { max-width: 1180px; margin: 0 auto; padding: 0 28px; }
header { background: var(--card); border-bottom: 1px solid var(--line);
  border-top: 6px solid var(--verdict); padding: 26px 0 24px; }
header.passed { --verdict: var(--passed); } header.failed { --verdict: var(--failed); }
header.error { --verdict: var(--error); }
.kicker { margin: 0; color: var(--quiet); letter-spacing: .04em; }
h1 { display: flex; align-items: center; gap: 14px; margin: 4px 0 6px; color: var(--verdict);
  font-size: 38px; line-height: 1.15; letter-spacing: -.02em; }
h1 .icon { width: 36px; height: 36px; flex: none; }
h2 { margin: 34px 0 12px; font-size: 18px; letter-spacing: -.01em; }
.lead { margin: 0; font-size: 17px; }
.reasons { margin: 14px 0 0; padding: 0; list-style: none; }
.reasons li { margin: 6px 0; padding: 8px 12px; border-left: 3px solid var(--verdict);
  background: var(--bg); border-radius: 0 6px 6px 0; overflow-wrap: anywhere; }
code { font: 600 13px/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.reasons code { margin-right: 6px; }
.quiet { color: var(--quiet); }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 10px 14px; text-align: left; vertical-align: top; }
.checks thead th { color: var(--quiet); font-weight: 600; font-size: 13px; white-space: nowrap; }
.checks tbody tr { border-top: 1px solid var(--line); }
.checks td:nth-child(2) { min-width: 250px; overflow-wrap: anywhere; }
.checks td:nth-child(5) { min-width: 260px; overflow-wrap: anywhere; }
.checks .quiet { font-size: 13px; }
.checks .n { text-align: right; white-space: nowrap; }
.checks tr.failed { background: color-mix(in srgb, var(--failed) 7%, transparent); }
.checks tr.error { background: color-mix(in srgb, var(--error) 9%, transparent); }
.checks tr.not-applicable { color: var(--quiet); }
.status { white-space: nowrap; font-weight: 600; }
.status .icon { width: 18px; height: 18px; margin: -3px 8px 0 0; vertical-align: middle; }
tr.passed .status { color: var(--passed); } tr.failed .status { color: var(--failed); }
tr.error .status { color: var(--error); } tr.not-applicable .status { color: var(--none); }
.icon circle { fill: currentColor; }
.icon path { fill: none; stroke: var(--card); stroke-width: 2.4; stroke-linecap: round;
  stroke-linejoin: round; }
.gauge { display: block; width: 106px; height: 12px; margin: 5px 0 0 auto; }
.gauge .track { fill: var(--line); }
.gauge .refused { fill: color-mix(in srgb, var(--ink) 24%, var(--card)); }
tr.failed .gauge .refused { fill: color-mix(in srgb, var(--failed) 40%, var(--card)); }
.gauge .limit { stroke: var(--ink); stroke-width: 1.5; }
.gauge circle { fill: var(--passed); stroke: var(--card); stroke-width: 1.5; r: 4px; }
tr.failed .gauge circle { fill: var(--failed); }
.matrices { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 20px; }
.matrices.small { grid-template-columns: minmax(0, 1fr); font-size: 11px; }
.matrices.small th, .matrices.small td { padding: 3px 5px; }
.matrix caption { padding: 12px 14px 2px; text-align: left; font-weight: 600; }
.matrix th { font-weight: 600; font-size: .92em; white-space: nowrap; }
.matrix td, .matrix th.n { text-align: right; }
.matrix th:first-child { position: sticky; left: 0; background: var(--card); }
.matrix .corner { color: var(--quiet); font-weight: 400; }
.matrix td { border: 1px solid var(--line); }
.matrix .o { color: var(--quiet); }
.matrix tr > :last-child { border-right: 0; } .matrix tr:last-child > td { border-bottom: 0; }
b.right { color: rgb(var(--right)); } b.wrong { color: rgb(var(--wrong)); }
details { margin: 30px 0; }
summary { cursor: pointer; color: var(--quiet); }
pre { overflow: auto; max-height: 420px; padding: 14px; background: var(--card);
  border: 1px solid var(--line); border-radius: 10px; font-size: 12.5px; }
main { padding-bottom: 50px; }
@media print { .scroll { overflow: visible; } body { background: #fff; } }
""" + "".join(
    f".{kind}{shade} {{ background: rgb(var(--{name}) / {shade / _SHADES:.2f});"
    f"{' color: var(--strong); font-weight: 600;' if shade > 5 else ''} }}\n"
    for kind, name in (("r", "right"), ("w", "wrong"))
    for shade in range(1, _SHADES + 1)
)
