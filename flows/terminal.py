"""What a person at the terminal reads."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from checks.render.facts import read
from checks.render.wording import (
    apart,
    champion,
    interval,
    legal,
    limit,
    look,
    number,
    refusals_first,
    refuses,
)
from checks.result import Report, Status
from flows.outcome import Outcome

if TYPE_CHECKING:
    from flows.project import Setting
    from pipelines.proposal import Proposal

_COLOURS = {
    Status.PASSED: "green",
    Status.FAILED: "red",
    Status.ERROR: "red",
    Status.FIRST_MODEL: "blue",
    Status.NOT_APPLICABLE: "dim",
}

_MAXIMUM_ROWS = 40
_WIDE = 110
"""Columns from which on a table has room for what was found; the refusals' reasons follow it."""


def show_outcome(verb: str, outcome: Outcome) -> None:
    """Print the verdict, the checks behind it and where the evidence is."""
    console = Console()
    for report in outcome.judged:
        if report.passed and len(report.checks) > _MAXIMUM_ROWS:
            console.print(f"{_plain(report.name)}: [green]{len(report.checks)} checks passed[/]")
        else:
            console.print(_checks(report, wide=console.width >= _WIDE))
        for line in _below(report):
            console.print(line)
    colour = _COLOURS[outcome.verdict]
    console.print(f"[bold {colour}]{verb}: {outcome.verdict}[/]")
    for reason in outcome.reasons[:_MAXIMUM_ROWS]:
        console.print(f"  {_plain(reason)}")
    facts: list[tuple[str, str]] = []
    if outcome.model is not None:
        model = outcome.model
        parts = [model.name, f"version {model.version}" if model.version else "", model.alias or ""]
        facts.append(("model", " · ".join(part for part in parts if part)))
    if outcome.metrics:
        scores = [f"{name} {value:.4f}" for name, value in outcome.metrics.items()]
        facts.append(("metrics", " · ".join(scores)))
    facts += [(name.replace("_", " "), _short(path)) for name, path in outcome.reports.items()]
    if outcome.run_id:
        facts.append(("run", outcome.run_id))
    if outcome.seconds:
        spent = [f"{name} {value:.1f}" for name, value in outcome.seconds.items()]
        facts.append(("seconds", " · ".join(spent)))
    for name, said in facts:
        # A path is copied by its reader: never cut or wrapped.
        console.print(f"{name:<16}{said}", markup=False, highlight=False, soft_wrap=True)


def show_proposal(proposal: "Proposal", folder: Path) -> None:
    """Print what `init` guessed, what deserves a look, and the next command."""
    console = Console()
    console.print("[bold]Guessed from the data[/]")
    for guess in proposal.guesses:
        console.print(f"  {escape(guess)}")
    if proposal.warnings:
        console.print("[bold yellow]Deserves a look[/]")
        for warning in proposal.warnings:
            console.print(f"  {escape(warning)}")
    where = "" if folder.resolve() == Path.cwd() else f" --project {folder}"
    console.print(
        f"Wrote {folder / 'tidegate.toml'} and the contract beside it. Next: tidegate run{where}"
    )


def show_settings(folder: Path, settings: "Iterable[Setting]") -> None:
    """Print every setting with its value and its origin."""
    console = Console()
    table = Table("setting", "value", "from", title=str(folder), title_justify="left", box=None)
    for setting in settings:
        table.add_row(setting.key, escape(repr(setting.value)), setting.origin)
    console.print(table)


def show_status(found: Mapping[str, Any]) -> None:
    """Print the state of a project on one screen."""
    console = Console()
    table = Table.grid(padding=(0, 2))
    for name, value in found.items():
        if isinstance(value, Mapping):
            said = " · ".join(f"{k} {v}" for k, v in value.items() if v not in (None, "", []))
        else:
            said = "none yet" if value is None else str(value)
        table.add_row(f"[bold]{name.replace('_', ' ')}[/]", escape(said))
    console.print(table)


def show_simulation(found: Mapping[str, Any]) -> None:
    """Print what a replayed policy did, window by window, and what came of it."""
    console = Console()
    table = Table("until", "rows", "labelled", "never", "policy", "always", "decision", box=None)
    for window in found["windows"]:
        shares = [window["accuracy"][course] for course in ("never", "policy", "always")]
        codes = ", ".join(reason["code"] for reason in window["reasons"])
        table.add_row(
            window["until"][:16],
            f"{window['rows']:,}",
            f"{window['labelled']:,}",
            *("–" if share is None else f"{share:.4f}" for share in shares),
            escape(f"{window['action']} ({codes})"),
        )
    console.print(table)
    for name, course in found["courses"].items():
        trainings = course["trainings"]
        plural = "" if trainings == 1 else "s"
        score = f"{found['scoring']} {course['score']:.4f}"
        console.print(f"{name}: {score}, {trainings} retraining{plural}")
    for comparison in found["comparisons"]:
        console.print(escape(comparison["said"]))


def show_history(found: Mapping[str, Any]) -> None:
    """Print the ledger, or what served at a time and why."""
    console = Console()
    if not found["intact"]:
        console.print("[bold red]The ledger was changed: its digests do not fit its lines.[/]")
    if "served" in found:
        _show_served(console, found)
        return
    if not found["entries"]:
        console.print(f"{escape(found['model'])}: nothing has happened yet")
        return
    table = Table("time", "event", "version", "who", "why", box=None)
    for entry in found["entries"]:
        loud = entry["event"] == "override"
        table.add_row(
            entry["time"].replace("+00:00", "Z"),
            f"[bold red]{entry['event']}[/]" if loud else entry["event"],
            entry["version"] or "",
            escape(entry["who"]),
            escape(_why(entry)),
        )
    console.print(table)


def _why(entry: Mapping[str, Any]) -> str:
    details = entry["details"]
    said = {
        "verdict": details.get("verdict"),
        "waiting": f"until {details.get('deadline')}",
        "promoted": f"in the place of {details.get('from') or 'none'}",
        "rolled back": f"in the place of {details.get('from') or 'none'}",
        "restored": f"in the place of {details.get('from') or 'none'}",
        "look": f"sealed rows {str(details.get('sealed'))[:8]}",
        "decision": details.get("action"),
        "revised": f"{_count(details.get('labelled'))} labels, performance "
        f"{(details.get('performance') or ['?'])[-1]}",
        "retrained": details.get("verdict"),
    }.get(entry["event"])
    return " · ".join(part for part in (said, entry["reason"]) if part)


def _count(labelled: list[int] | None) -> int:
    before, now = labelled or (0, 0)
    return now - before


def _show_served(console: Console, found: Mapping[str, Any]) -> None:
    served = found["served"]
    if served is None:
        console.print(f"{escape(found['model'])}: no model served then ({found['at']})")
        return
    answer = served["answer"]
    for name, said in (
        ("model", f"{found['model']} version {served['version']}"),
        ("since", f"{served['since']}, {served['event']} by {served['who']}"),
        ("in the place of", served["replaced"] or "none"),
        ("reason", served["reason"]),
        ("verdict", served["verdict"] or "not judged"),
        ("refused by", ", ".join(served["refused_by"] or ())),
        ("rules", ", ".join(f"{id}: {status}" for id, status in (served["rules"] or {}).items())),
        ("answer", answer and f"{answer['event']} by {answer['who']}: {answer['reason']}"),
        ("data", served["data"]),
        ("sealed rows", served["sealed"]),
        ("commit", served["commit"]),
        ("tidegate", served["tidegate"]),
        ("run", served["run_id"]),
    ):
        if said:
            # A fingerprint is copied by its reader: never cut or wrapped.
            console.print(f"{name:<17}{said}", markup=False, highlight=False, soft_wrap=True)


def _checks(report: Report, *, wide: bool) -> Table:
    table = Table(box=None, title=_plain(report.name), title_justify="left", padding=(0, 2, 0, 0))
    table.add_column("status", no_wrap=True)
    # An id is copied by its reader, into a project file or a search: folded, never cut.
    table.add_column("check", overflow="fold", min_width=20)
    table.add_column("observed", justify="right", overflow="fold")
    table.add_column("limit", justify="right", overflow="fold")
    if wide:
        table.add_column("what was found", ratio=1, overflow="fold")
    # Refusals first: a contract may have a hundred rules that hold.
    shown = refusals_first(apart(report)[0])
    for check in shown[:_MAXIMUM_ROWS]:
        between = interval(check)
        cells = [
            f"[{_COLOURS[check.status]}]{check.status}[/]",
            _plain(check.id),
            _plain(number(check.observed)) + (f"\n[dim]{_plain(between)}[/]" if between else ""),
            _plain(limit(check)),
        ]
        table.add_row(*cells, *([_plain(check.reason)] if wide else []))
    return table


def _below(report: Report) -> list[str]:
    """Say what stands under a table: what it leaves out, the champion, the look."""
    checks, beside = apart(report)
    lines = []
    if not (report.passed and len(report.checks) > _MAXIMUM_ROWS):
        left = refusals_first(checks)[_MAXIMUM_ROWS:]
        hold = "" if any(map(refuses, left)) else " that hold"
        lines += [f"[dim]… and {len(left):,} more{hold}[/]"] if left else []
    if beside:
        noun = "check does" if len(beside) == 1 else "checks do"
        lines.append(f"[dim]{len(beside):,} {noun} not apply; the report says why[/]")
    facts = read(report.facts)
    verdict, said = champion(facts)
    lines += [f"[bold]{_plain(verdict)}[/]: {_plain(said)}"] if verdict else []
    if facts.look is not None:
        colour = "yellow" if facts.look > 1 else "dim"
        lines.append(f"[{colour}]{look(facts)}[/]")
    if facts.override is not None:
        by, reason = _plain(facts.override.by), _plain(facts.override.reason)
        lines.append(f"[yellow]Let through by {by}, against the verdict: {reason}[/]")
    return lines


def _plain(value: str) -> str:
    """Keep a value of the user's data from colouring, moving or ringing the terminal."""
    return escape(legal(value))


def _short(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path
