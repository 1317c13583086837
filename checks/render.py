"""A report's faces: markdown, JUnit XML and HTML. Pure: nothing is read or written."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from xml.etree import ElementTree

from checks.result import CheckResult, Report, Status

_MARKS = {
    Status.PASSED: "✅",
    Status.FAILED: "❌",
    Status.ERROR: "💥",
    Status.NOT_APPLICABLE: "➖",
}

_MOST_CLASSES = 30
"""Above this a confusion matrix no longer fits a page; the JSON keeps it whole."""


def to_markdown(report: Report) -> str:
    """Return the report as GitHub's markdown: verdict first, then each check."""
    lines = [f"## {report.name}: {_MARKS[report.verdict]} {report.verdict}", ""]
    lines += [f"- {_md(reason)}" for reason in report.reasons]
    if report.reasons:
        lines.append("")
    lines += ["| check | status | observed | limit | reason |", "|---|---|---:|---:|---|"]
    for check in report.checks:
        lines.append(
            f"| {_md(check.id)} | {_MARKS[check.status]} {check.status} | "
            f"{_md(_value(check.observed))} | {_md(_value(check.limit))} | {_md(check.reason)} |"
        )
    matrix = report.facts.get("confusion")
    labels = report.facts.get("labels", [])
    if matrix and len(labels) <= _MOST_CLASSES:
        lines += ["", "Confusion matrix (rows: true class, columns: predicted):", ""]
        lines.append("| | " + " | ".join(_md(label) for label in labels) + " |")
        lines.append("|---" + "|---:" * len(labels) + "|")
        for label, counts in zip(labels, matrix, strict=True):
            lines.append(f"| **{_md(label)}** | " + " | ".join(f"{n:,}" for n in counts) + " |")
    return "\n".join(lines) + "\n"


def to_junit(report: Report) -> str:
    """Return the report as JUnit XML.

    A failed check is a ``failure``, one that could not be judged an ``error``, one that does
    not apply is ``skipped``. A report in which nothing was judged holds one ``error``, so
    that no reader takes it for a pass.
    """
    cases = list(report.checks)
    if report.verdict is Status.ERROR and not report.refusals:
        cases.append(CheckResult("judged", "", Status.ERROR, reason="; ".join(report.reasons)))
    suite = ElementTree.Element(
        "testsuite",
        name=f"tidegate.{report.name}",
        tests=str(len(cases)),
        failures=str(sum(case.status is Status.FAILED for case in cases)),
        errors=str(sum(case.status is Status.ERROR for case in cases)),
        skipped=str(sum(case.status is Status.NOT_APPLICABLE for case in cases)),
    )
    elements = {
        Status.FAILED: "failure",
        Status.ERROR: "error",
        Status.NOT_APPLICABLE: "skipped",
    }
    for case in cases:
        node = ElementTree.SubElement(
            suite, "testcase", classname=f"tidegate.{report.name}", name=_xml(case.id)
        )
        if case.status in elements:
            child = ElementTree.SubElement(node, elements[case.status], message=_xml(case.reason))
            child.text = _xml(
                f"{case.claim}\nobserved: {_value(case.observed)}\nlimit: {_value(case.limit)}"
            )
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def to_html(report: Report, *, title: str | None = None) -> str:
    """Return the report as one self-contained page, the verdict first.

    Parameters
    ----------
    report : Report
    title : str, optional
        The heading; the report's name by default.
    """
    heading = escape(title or report.name)
    verdict = escape(str(report.verdict))
    kind = _kind(report.verdict)
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in report.reasons)
    counts = " · ".join(
        f"{number} {status}"
        for status in Status
        if (number := sum(check.status is status for check in report.checks))
    )
    ordered = sorted(report.checks, key=lambda check: check not in report.refusals)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{heading}: {verdict}</title>
<style>{_STYLE}</style>
</head>
<body>
<header class="{kind}">
<p class="name">{heading}</p>
<h1>{verdict}</h1>
<p>{escape(counts)}</p>
{f"<ul>{reasons}</ul>" if reasons else ""}
</header>
<main>
<h2>Checks</h2>
<div class="scroll"><table>
<thead><tr><th>check</th><th>status</th><th class="n">observed</th><th class="n">limit</th>
<th>what was found</th></tr></thead>
<tbody>
{"".join(_row(check) for check in ordered)}
</tbody>
</table></div>
{_matrices(report.facts)}
</main>
</body>
</html>
"""


def _row(check: CheckResult) -> str:
    return (
        f'<tr><td><code>{escape(check.id)}</code><br><span class="claim">{escape(check.claim)}'
        f'</span></td><td><span class="status {_kind(check.status)}">{escape(str(check.status))}'
        f'</span></td><td class="n">{escape(_value(check.observed))}</td>'
        f'<td class="n">{escape(_value(check.limit))}</td><td>{escape(check.reason)}</td></tr>\n'
    )


def _matrices(facts: Mapping[str, Any]) -> str:
    labels = facts.get("labels", [])
    if not labels or len(labels) > _MOST_CLASSES:
        return ""
    parts = []
    for key, who in (("confusion", "candidate"), ("champion_confusion", "champion")):
        matrix = facts.get(key)
        if matrix:
            parts.append(_matrix(labels, matrix, f"{who}: rows", normalised=False))
            parts.append(_matrix(labels, matrix, f"{who}: share of true class", normalised=True))
    if not parts:
        return ""
    return f'<h2>Confusion matrix</h2><div class="pair">{"".join(parts)}</div>'


def _matrix(
    labels: Sequence[str], matrix: Sequence[Sequence[int]], caption: str, *, normalised: bool
) -> str:
    largest = max((max(row) for row in matrix), default=0) or 1
    head = "".join(f"<th>{escape(label)}</th>" for label in labels)
    body = []
    for label, counts in zip(labels, matrix, strict=True):
        total = sum(counts)
        cells = []
        for count in counts:
            share = count / total if total else 0.0
            depth = share if normalised else count / largest
            said = f"{share:.3f}" if normalised else f"{count:,}"
            if normalised and not total:
                said = "–"
            # Text turns white where the cell is dark, in either colour scheme.
            ink = "#fff" if depth > 0.5 else "inherit"
            cells.append(
                f'<td class="n" style="background:rgba(43,108,176,{depth:.3f});color:{ink}">'
                f"{said}</td>"
            )
        body.append(f"<tr><th>{escape(label)}</th>{''.join(cells)}</tr>")
    return (
        f"<figure><figcaption>{escape(caption)}</figcaption>"
        f'<div class="scroll"><table class="matrix"><thead><tr><th>true \\ predicted</th>{head}'
        f"</tr></thead><tbody>{''.join(body)}</tbody></table></div></figure>"
    )


def _kind(status: Status) -> str:
    return str(status).replace(" ", "-")


def _value(value: float | int | str | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _md(text: str) -> str:
    text = escape(str(text), quote=False)
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("`", "'")


def _xml(text: str) -> str:
    # XML 1.0 has no place for control characters, escaped or not.
    return "".join(c if c in "\t\n" or c >= " " else "\N{REPLACEMENT CHARACTER}" for c in text)


_STYLE = """
:root{color-scheme:light dark;--ink:#1f2933;--soft:#52606d;--line:#d9e2ec;--page:#fff;
--good:#1e7b4a;--bad:#b42318;--none:#52606d}
@media(prefers-color-scheme:dark){:root{--ink:#e4e7eb;--soft:#9aa5b1;--line:#3e4c59;
--page:#1f2429;--good:#57c98a;--bad:#ff8a7a;--none:#9aa5b1}}
*{box-sizing:border-box}
body{margin:0;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page)}
header,main{max-width:64rem;margin:0 auto;padding:1.5rem}
header{border-left:.5rem solid var(--none);margin-top:1.5rem;padding:.5rem 1.5rem}
header.passed{border-color:var(--good)}header.failed,header.error{border-color:var(--bad)}
header h1{margin:0;font-size:2.5rem;line-height:1.2}
header.passed h1{color:var(--good)}header.failed h1,header.error h1{color:var(--bad)}
header p{margin:.2rem 0;color:var(--soft)}header .name{font-weight:600}
h2{margin:2rem 0 .5rem;font-size:1.25rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.95rem}
th,td{padding:.45rem .7rem;border-bottom:1px solid var(--line);text-align:left;
vertical-align:top}
thead th{color:var(--soft);font-weight:600}
.n{text-align:right;font-variant-numeric:tabular-nums}
.claim{color:var(--soft);font-size:.85rem}
code{font-size:.9em}
.status{font-weight:600;white-space:nowrap}
.status.passed{color:var(--good)}.status.failed,.status.error{color:var(--bad)}
.status.not-applicable{color:var(--none)}
.pair{display:flex;flex-wrap:wrap;gap:1.5rem}
figure{margin:0;flex:1 1 20rem;min-width:0}
figcaption{color:var(--soft);margin-bottom:.3rem}
.matrix th,.matrix td{border:1px solid var(--line)}
"""
