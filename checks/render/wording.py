"""How every face says the same thing: numbers, limits, the verdict, the champion, the look."""

import re
from collections.abc import Callable, Iterable, Sequence

from checks.render.facts import Champion, Facts
from checks.result import CheckResult, Report, Status

MAXIMUM_CHECKS = 300
"""Most checks that a page or a markdown table lists; the refusals come first then."""

_RELATIONS = {"at least": "≥ ", "at most": "≤ ", "more than": "> "}
_ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh", "Eighth", "Ninth")


def refuses(check: CheckResult) -> bool:
    """Whether a check alone keeps a report from passing."""
    return check.status in (Status.FAILED, Status.ERROR)


def refusals_first(checks: Iterable[CheckResult]) -> list[CheckResult]:
    """Put what refuses before what holds, each in its order."""
    return sorted(checks, key=lambda check: not refuses(check))


def apart(report: Report) -> tuple[list[CheckResult], list[CheckResult]]:
    """Tell the checks that a reader must see from those that do not apply."""
    aside = Status.NOT_APPLICABLE
    return (
        [check for check in report.checks if check.status is not aside],
        [check for check in report.checks if check.status is aside],
    )


def listed(
    checks: Sequence[CheckResult], write: Callable[[CheckResult], str], budget: int
) -> tuple[list[str], str]:
    """Write a row for each check, as far as ``budget`` bytes and `MAXIMUM_CHECKS` go.

    Returns
    -------
    rows : list of str
        In the order of the checks; where not all have room, the refusals first.
    more : str
        A sentence on what had no room, or nothing.
    """
    rows = _within(map(write, checks[:MAXIMUM_CHECKS]), budget)
    if len(rows) == len(checks):
        return rows, ""
    ordered = refusals_first(checks)
    rows = _within(map(write, ordered[:MAXIMUM_CHECKS]), budget)
    left = ordered[len(rows) :]
    hold = "" if any(map(refuses, left)) else " that hold"
    return rows, f"… and {len(left):,} more{hold}; the JSON report has them."


def _within(rows: Iterable[str], budget: int) -> list[str]:
    kept = []
    for row in rows:
        budget -= len(row.encode()) + 1
        if budget < 0:
            break
        kept.append(row)
    return kept


def headline(report: Report) -> str:
    """Say the verdict in a few words."""
    if report.passed:
        return "Passed"
    if report.verdict is Status.FAILED:
        return "Failed"
    failed = any(check.status is Status.FAILED for check in report.checks)
    return "Failed, and not judged in full" if failed else "Could not be judged"


def summary(report: Report) -> str:
    """Say how many checks hold, fail, could not be judged and do not apply."""
    counts = {status: sum(c.status is status for c in report.checks) for status in Status}
    judged = counts[Status.PASSED] + counts[Status.FAILED] + counts[Status.ERROR]
    if not judged:
        return "No check was judged, so nothing is known."
    beside = counts[Status.NOT_APPLICABLE]
    rest = f" {beside} {'does' if beside == 1 else 'do'} not apply." if beside else ""
    if report.passed:
        return f"{f'All {judged} checks hold' if judged > 1 else 'The one check holds'}.{rest}"
    said = []
    if counts[Status.FAILED]:
        said.append(f"{counts[Status.FAILED]} failed")
    if counts[Status.ERROR]:
        said.append(f"{counts[Status.ERROR]} could not be judged, which refuses as well")
    return f"Of {judged} check{'s' if judged > 1 else ''}, {' and '.join(said)}.{rest}"


def look(facts: Facts) -> str:
    """Say how often these rows have been read, with a warning from the second time on."""
    if facts.look is None:
        return ""
    count = facts.look
    if count <= len(_ORDINALS):
        said = _ORDINALS[count - 1]
    else:
        tens = count % 100
        ending = "th" if 11 <= tens <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
        said = f"{count:,}{ending}"
    warning = ": each look makes a lucky pass likelier" if count > 1 else ""
    return f"{said} look at this test set{warning}."


def basis(facts: Facts) -> str:
    """Say on what was judged: the rows, the score, which end of which interval."""
    said = []
    if facts.rows is not None:
        said.append(f"{facts.rows:,} {'row' if facts.rows == 1 else 'rows'}")
    if facts.scoring:
        said.append(f"compared by {facts.scoring}")
    if facts.on in ("estimate", "bound"):
        against = "the estimate" if facts.on == "estimate" else "the interval's end"
        said.append(f"limits held against {against}")
    if facts.confidence is not None:
        said.append(f"intervals of {facts.confidence * 100:g}%")
    return " · ".join(said)


def champion(facts: Facts) -> tuple[str, str]:
    """Say the verdict of the comparison with the champion, and what it rests on.

    Returns
    -------
    tuple of two str
        Such as ``promote`` and ``better than version 4 by 0.021 (0.009 to 0.034); 61 flips
        help, 20 harm, p = 0.000006``; two empty ones where nothing was compared.
    """
    found = facts.champion
    if found is None:
        return "", ""
    who = f"version {found.version}" if found.version is not None else "the champion"
    if found.verdict == "first model":
        return found.verdict, "no champion serves yet, so the other rules decide"
    if found.verdict == "error":
        return found.verdict, f"{who} could not be compared with, which refuses"
    said = []
    if found.verdict == "too few rows":
        left = "" if found.rows is None else f"{found.rows:,} are left "
        said.append(f"{left}that {who} has not learned" if left else f"{who} has learned the rest")
    elif found.difference is None:
        said.append(f"compared with {who}")
    elif found.verdict == "promote":
        said.append(f"better than {who} by {_margin(found, signed=False)}")
    else:
        relation = "cannot be told from" if found.verdict == "inconclusive" else "no better than"
        said.append(f"{relation} {who}: a difference of {_margin(found, signed=True)}")
    if facts.scoring and found.difference is not None and found.verdict != "too few rows":
        said[0] += f" in {facts.scoring}"
    flips = _flips(found)
    said += [", ".join(flips)] if flips else []
    if found.dropped:
        rows = "1 row" if found.dropped == 1 else f"{found.dropped:,} rows"
        said.append(f"{rows} that it had learned left out")
    return found.verdict, "; ".join(said)


def _margin(found: Champion, *, signed: bool) -> str:
    assert found.difference is not None
    # As many digits as show that a small difference is one.
    values = (found.difference, *(found.interval or ()))
    least = min((abs(value) for value in values if value), default=1.0)
    digits = next((d for d in (3, 4, 5, 6) if least >= 10**-d), 6)

    def say(value: float) -> str:
        text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
        return text.replace("-", "−")

    said = say(found.difference)
    if found.interval is not None:
        said += f" ({say(found.interval[0])} to {say(found.interval[1])})"
    return said


def _flips(found: Champion) -> list[str]:
    said = []
    if found.helpful is not None and found.harmful is not None:
        noun = "flip helps" if found.helpful == 1 else "flips help"
        said += [f"{found.helpful:,} {noun}", f"{found.harmful:,} harm"]
    if found.p is not None:
        said.append(f"p {p_value(found.p)}")
    return said


def p_value(p: float) -> str:
    """Write a p-value with its sign of equality, such as ``= 0.032``."""
    if p < 1e-6:
        return "< 0.000001"
    return f"= {p:.6f}".rstrip("0") if p < 0.001 else f"= {p:.3f}"


def number(value: float | int | str | None) -> str:
    """Write a value: four digits for a share, separators for a count, a dash for nothing."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, float | int):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.4g}"


def interval(check: CheckResult) -> str:
    """Write a check's interval, or nothing where it has none."""
    if check.interval is None:
        return ""
    low, high = check.interval
    return f"{number(low)} to {number(high)}"


def observed(check: CheckResult) -> str:
    """Write what was measured, with its interval."""
    said = interval(check)
    return f"{number(check.observed)} ({said})" if said else number(check.observed)


def limit(check: CheckResult) -> str:
    """Write what was asked, with its relation."""
    if check.limit is None:
        return "–"
    return _RELATIONS.get(str(check.details.get("relation")), "") + number(check.limit)


def share(count: int, of: int, digits: int = 3) -> str:
    """Write a share; a share of nothing is a dash."""
    return f"{count / of:.{digits}f}" if of else "–"


def legal(value: str) -> str:
    """Replace what XML 1.0 cannot hold, escaped or not, lone surrogates among it."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", value)
