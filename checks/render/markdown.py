"""A report as GitHub's markdown, for a pull request."""

import re
from html import escape

from checks.render.facts import Facts, read, shorten
from checks.render.wording import (
    apart,
    basis,
    champion,
    legal,
    limit,
    listed,
    look,
    observed,
    refuses,
    share,
    summary,
)
from checks.result import CheckResult, Report, Status

MAXIMUM_BYTES = 60_000
"""Largest text; GitHub takes no comment above 65,536 characters."""

MAXIMUM_CLASSES = 12
"""Most classes whose confusion matrix is shown; GitHub scrolls no table."""

_MARKS = {
    Status.PASSED: "✅",
    Status.FAILED: "❌",
    Status.ERROR: "⚠️",
    Status.FIRST_MODEL: "🆕",
    Status.NOT_APPLICABLE: "➖",
}
_REASONS = 14_000
_ROWS = 28_000
_BESIDE = 6_000
_LONGEST_ID = 200
_LONGEST_VALUE = 80


def to_markdown(report: Report) -> str:
    """Return a report as markdown: the verdict, the reasons, the checks, the confusion matrix.

    Parameters
    ----------
    report : Report
        Which of its facts are shown is said by `checks.render.facts.read`.
    """
    facts = read(report.facts)
    checks, beside = apart(report)
    name = shorten(report.name, _LONGEST_VALUE)
    lines = [f"## {_MARKS[report.verdict]} {_text(name)}: {report.verdict}", ""]
    lines += [*_lead(report, facts)]
    reasons, more = listed([check for check in checks if refuses(check)], _reason, _REASONS)
    lines += [*reasons, *([f"- {more}"] if more else []), ""] if reasons else []
    if checks:
        rows, more = listed(checks, _row, _ROWS)
        lines += ["| | check | observed | limit | |", "|:-:|---|--:|--:|---|", *rows, ""]
        lines += [more, ""] if more else []
    if beside:
        rows, more = listed(beside, _aside, _BESIDE)
        # One block of HTML, without an empty line: read alike where markdown inside is not.
        noun = "check does" if len(beside) == 1 else "checks do"
        lines += [f"<details><summary>{len(beside):,} {noun} not apply</summary>", "<ul>", *rows]
        lines += [f"<li>{more}</li>"] if more else []
        lines += ["</ul>", "</details>", ""]
    lines += _matrix(facts)
    return "\n".join(lines).rstrip("\n") + "\n"


def _lead(report: Report, facts: Facts) -> list[str]:
    verdict, said = champion(facts)
    lines = [_text(summary(report)), ""]
    if facts.override is not None:
        by, reason = _text(facts.override.by), _text(facts.override.reason)
        lines += [f"**Let through by {by}**, against the verdict: {reason}", ""]
    lines += [f"**{_text(verdict)}**: {_text(said)}.", ""] if verdict else []
    rest = [look(facts), basis(facts)]
    lines += [_text(" ".join(each for each in rest if each)), ""] if any(rest) else []
    return lines


def _reason(check: CheckResult) -> str:
    return f"- {_code(shorten(check.id, _LONGEST_ID))}: {_text(check.reason)}"


def _row(check: CheckResult) -> str:
    cells = [
        _MARKS[check.status],
        _code(shorten(check.id, _LONGEST_ID)),
        _text(shorten(observed(check), _LONGEST_VALUE)),
        _text(shorten(limit(check), _LONGEST_VALUE)),
        _text(shorten(check.reason or check.claim, 500)),
    ]
    return f"| {' | '.join(cells)} |"


def _aside(check: CheckResult) -> str:
    said = _html(shorten(check.reason or check.claim, 500))
    return f"<li><code>{_html(shorten(check.id, _LONGEST_ID))}</code> {said}</li>"


def _matrix(facts: Facts) -> list[str]:
    matrix = facts.matrix
    if matrix is None or len(matrix.rows) > MAXIMUM_CLASSES:
        return []
    lines = ["Confusion matrix: a row for each true class, a column for each answer.", ""]
    head = " | ".join(map(_code, matrix.columns))
    lines += [f"| | {head} | found |", f"|---|{'--:|' * (len(matrix.columns) + 1)}"]
    for place, (name, row) in enumerate(zip(matrix.rows, matrix.counts, strict=True)):
        cells = [f"{count:,}" for count in row]
        cells[place] = f"**{cells[place]}**"
        lines.append(f"| {_code(name)} | {' | '.join(cells)} | {share(row[place], sum(row))} |")
    return lines


def _text(value: str) -> str:
    """Escape prose for a cell of GitHub's markdown: no markup, no link, no mention."""
    value = re.sub(r"\s+", " ", legal(value))
    value = re.sub(r"([\\`*_\[\]<>|~&$])", r"\\\1", value)
    value = value.replace("://", ":\\//").replace("www.", "www\\.")
    return _unlinked(value)


def _html(value: str) -> str:
    """Escape text for a block of HTML in GitHub's markdown."""
    value = _unlinked(re.sub(r"\s+", " ", legal(value)))
    value = value.replace("://", ":\N{WORD JOINER}//").replace("www.", "www\N{WORD JOINER}.")
    return escape(value).replace("$", "&#36;")


def _unlinked(value: str) -> str:
    # GitHub looks for names and issue numbers after it has rendered; a joiner stops it.
    return re.sub(r"([@#])(?=\w)", "\\1\N{WORD JOINER}", value)


def _code(value: str) -> str:
    """Quote a name as code in a cell of GitHub's markdown."""
    value = re.sub(r"\s+", " ", legal(value)) or " "
    # A table is cut at its pipes before code is looked for, so a backslash counts here alone.
    value = re.sub(r"(\\*)\|", r"\1\1\\|", value)
    fence = "`" * (max((len(run) for run in re.findall("`+", value)), default=0) + 1)
    space = " " if value.startswith("`") or value.endswith("`") else ""
    return f"{fence}{space}{value}{space}{fence}"
