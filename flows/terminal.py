"""What a person at the terminal reads."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from checks.result import Report, Status
from flows.outcome import Outcome
from flows.project import Setting

if TYPE_CHECKING:
    from pipelines.proposal import Proposal

_COLOURS = {
    Status.PASSED: "green",
    Status.FAILED: "red",
    Status.ERROR: "red",
    Status.NOT_APPLICABLE: "dim",
}

_MAXIMUM_ROWS = 20


def show_outcome(verb: str, outcome: Outcome) -> None:
    """Print the verdict, the checks behind it and where the evidence is."""
    console = Console()
    for report in outcome.judged:
        if report.passed and len(report.checks) > _MAXIMUM_ROWS:
            console.print(f"{report.name}: [green]{len(report.checks)} checks passed[/]")
        else:
            console.print(_checks(report))
    colour = _COLOURS[outcome.verdict]
    console.print(f"[bold {colour}]{verb}: {outcome.verdict}[/]")
    for reason in outcome.reasons[:_MAXIMUM_ROWS]:
        console.print(f"  {escape(reason)}")
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


def show_settings(folder: Path, settings: Iterable[Setting]) -> None:
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


def _checks(report: Report) -> Table:
    table = Table("check", "status", "observed", "limit", "reason", box=None, title=report.name)
    # Refusals first: a contract may have a hundred rules that hold.
    ordered = sorted(report.checks, key=lambda c: c not in report.refusals)
    for check in ordered[:_MAXIMUM_ROWS]:
        table.add_row(
            escape(check.id),
            f"[{_COLOURS[check.status]}]{check.status}[/]",
            _value(check.observed),
            _value(check.limit),
            escape(check.reason),
        )
    if len(ordered) > _MAXIMUM_ROWS:
        table.add_row(f"… and {len(ordered) - _MAXIMUM_ROWS} more", "", "", "", "")
    return table


def _value(value: float | int | str | None) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def _short(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path
