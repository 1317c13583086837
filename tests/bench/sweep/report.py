"""The page: ``docs/sweep-speed.md``, from the results alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweep.contest import WORKERS
from sweep.entries import ENTRIES, OURS, Entry
from sweep.race import ROOT
from sweep.space import EPOCHS
from sweep.statistic import Runs, expected_seconds, points_behind, ratio, sealed

PAGE = ROOT / "docs" / "sweep-speed.md"

POINTS_ALLOWED = 0.2
"""Sealed accuracy, in points, that a faster winner may be behind."""

OVERHEAD_ASKED, SCALING_ASKED, DASK_ASKED = 1.05, 1.85, 0.85

Results = Mapping[str, Any]


def runs_of(results: Results, entry: Entry, phase: str) -> dict[str, Runs]:
    """Return an entry's runs by data set."""
    found: dict[str, list[Any]] = {}
    for run in results["runs"]:
        if run["contestant"] == entry.name:
            found.setdefault(run["table"], []).append(run[phase])
    return dict(found)


def write(results: Results, page: Path = PAGE) -> str:
    """Write the page, and return it."""
    text = "\n".join(
        [
            _head(results),
            "## Warm: libraries loaded, workers up",
            "",
            _race(results, "warm"),
            "",
            "## Cold: from the start of the process",
            "",
            _race(results, "cold"),
            "",
            "## The winners on the sealed rows",
            "",
            _winners(results),
            "",
            "## Cost and scaling",
            "",
            _costs(results["cost"]),
            "",
            "## How",
            "",
            _how(results),
        ]
    )
    page.write_text(text, encoding="utf-8")
    return text


def _head(results: Results) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return f"""# How fast the sweep is

Measured by `make bench-sweep` ([the program](../tests/bench/sweep/), [every
run](../tests/bench/sweep_results.json)) on {WORKERS} cores, with one thread each for BLAS, on a
machine on which {results["busy"]:.1f} processes were at work already. {versions}.

Each contestant searches the same networks, on the same rows, until one of them has a validation
accuracy that only one random configuration in twenty ends at
([targets](../tests/bench/sweep_targets.json)). What is compared is the expected running time:
the seconds of all {len(results["seeds"])} seeds over the number of those that reached the target.
Each logs its trials to an MLflow store of its own in SQLite.
"""


def _race(results: Results, phase: str) -> str:
    tables = list(results["tables"])
    ours = runs_of(results, OURS, phase)
    lines = [
        "| contestant |"
        + "".join(f" {name}, s |" for name in tables)
        + " times ours | 95% interval | asked | kept |",
        "|:--|" + "--:|" * len(tables) + "--:|:-:|--:|:-:|",
    ]
    for entry in ENTRIES:
        found = runs_of(results, entry, phase)
        if not found:
            continue
        cells = [_seconds(found[name]) for name in tables]
        lines.append(
            f"| {entry.contestant.sort} | {' | '.join(cells)} | {_ratio(entry, found, ours)} |"
        )
    return "\n".join(lines)


def _seconds(runs: Runs) -> str:
    reached = sum(run["reached"] for run in runs)
    said = f"{expected_seconds(runs):.2f}"
    if reached == len(runs):
        return said
    return f"{said} ({reached} of {len(runs)})" if reached else f"over {said} (0 of {len(runs)})"


def _ratio(entry: Entry, found: Mapping[str, Runs], ours: Mapping[str, Runs]) -> str:
    if entry == OURS:
        return "1 | | |"
    against = ratio(found, ours)
    more = "over " if against.bound else ""
    value = f"{more}{against.value:.1f} | {against.low:.1f} to {against.high:.1f}"
    if entry.asked is None:
        return f"{value} | |"
    kept = "yes" if against.value >= entry.asked else "**no**"
    behind = points_behind(found, ours)
    if kept == "yes" and behind is not None and behind.value > POINTS_ALLOWED:
        kept = f"**no**: our winner is {behind.value:.2f} points behind"
    return f"{value} | {entry.asked:g} | {kept}"


def _winners(results: Results) -> str:
    tables = list(results["tables"])
    ours = runs_of(results, OURS, "warm")
    lines = [
        f"Mean accuracy of the winners of {len(results['seeds'])} seeds. Where ours is behind by "
        f"more than {POINTS_ALLOWED} points, over all data sets, its speed does not count.",
        "",
        "| contestant |"
        + "".join(f" {name} |" for name in tables)
        + " ours behind by, points | 95% interval |",
        "|:--|" + "--:|" * len(tables) + "--:|:-:|",
    ]
    for entry in ENTRIES:
        found = runs_of(results, entry, "warm")
        if not found:
            continue
        scores = [sealed(found[name]) for name in tables]
        cells = ["none" if score is None else f"{score:.4f}" for score in scores]
        behind = None if entry == OURS else points_behind(found, ours)
        said = (
            " | "
            if behind is None
            else f"{behind.value:+.2f} | {behind.low:+.2f} to {behind.high:+.2f}"
        )
        lines.append(f"| {entry.contestant.sort} | {' | '.join(cells)} | {said} |")
    return "\n".join(lines)


def _costs(costs: Sequence[Mapping[str, Any]]) -> str:
    if not costs:
        return "Not measured in this run."
    scoring = " and ".join(f"{cost['bare_scored'] / cost['bare'] - 1:.0%}" for cost in costs)
    return "\n\n".join(
        [
            *map(_cost, costs),
            f"To know the best epoch each one has to be scored, and that alone costs {scoring} of "
            "the bare fits. The rest is the search itself, which shares these cores, and workers "
            "that wait for it or for each other.",
        ]
    )


def _cost(cost: Mapping[str, Any]) -> str:
    wall, one = cost["wall"], cost["wall_one_worker"]
    rows = [
        (
            "overhead: the sweep over the bare fits of the same epochs",
            f"{wall:.1f} s over {cost['bare']:.1f} s",
            wall / cost["bare"],
            f"at most {OVERHEAD_ASKED}",
            wall / cost["bare"] <= OVERHEAD_ASKED,
        ),
        (
            "the same, where each epoch is also scored",
            f"{wall:.1f} s over {cost['bare_scored']:.1f} s",
            wall / cost["bare_scored"],
            "",
            None,
        ),
        (
            "the sweep over what its trials took, shared between the workers",
            f"{wall:.1f} s over {cost['in_trials'] / WORKERS:.1f} s",
            wall / (cost["in_trials"] / WORKERS),
            "",
            None,
        ),
        (
            "scaling: one worker over two",
            f"{one:.1f} s over {cost['wall_unlogged']:.1f} s",
            one / cost["wall_unlogged"],
            f"at least {SCALING_ASKED}",
            one / cost["wall_unlogged"] >= SCALING_ASKED,
        ),
    ]
    dask = cost["dask"]
    if not isinstance(dask, str):
        share = cost["wall_unlogged"] / dask["wall"]
        rows.append(
            (
                "Dask: the local pool over two worker processes of Dask's",
                f"{cost['wall_unlogged']:.1f} s over {dask['wall']:.1f} s",
                share,
                f"at least {DASK_ASKED}",
                share >= DASK_ASKED,
            )
        )
    spread = max(max(walls) / min(walls) for walls in cost["walls"].values()) - 1
    lines = [
        f"A sweep of {cost['trials']:,} trials and {cost['epochs']:,} epochs on {cost['table']}, "
        f"{cost['rows']:,} rows to learn from; an epoch takes "
        f"{1000 * WORKERS * cost['bare'] / cost['epochs']:.0f} ms. The "
        f"trials are {'' if cost['same_trials'] else '**not** '}the same on one worker and on two. "
        f"Each figure is the least of {cost['rounds']}, taken by turns. The same was up to "
        f"{spread:.0%} slower in another round: a ratio is no surer than that.",
        "",
        "| | seconds | ratio | asked | kept |",
        "|:--|--:|--:|--:|:-:|",
    ]
    for what, seconds, value, asked, kept in rows:
        said = "" if kept is None else "yes" if kept else "**no**"
        lines.append(f"| {what} | {seconds} | {value:.2f} | {asked} | {said} |")
    if isinstance(dask, str):
        lines.append(f"| Dask | {dask} | | at least {DASK_ASKED} | |")
    return "\n".join(lines)


def _how(results: Results) -> str:
    shapes = "\n".join(
        f"- *{name}*: {shape['rows']['train']:,} rows to learn from, "
        f"{shape['rows']['validation']:,} to choose by and {shape['rows']['sealed']:,} sealed "
        f"ones, {shape['columns']} columns, {shape['classes']} classes; target "
        f"{results['targets'][name]:.4f}; given up after {results['seconds'][name]:g} s"
        for name, shape in results["tables"].items()
    )
    sorts = "\n".join(
        f"- *{entry.contestant.sort}*: {_first_paragraph(entry)}" for entry in _raced(results)
    )
    return f"""{shapes}

The matrices are float32, made once by tidegate's own preprocessing, and the same for all. A trial
is at its end after {EPOCHS} epochs. Each run is a process of its own, which searches twice: cold,
from its start, and again warm. The contestants take turns, seed by seed. Opening the MLflow
store, which is empty and migrated, is in the cold time and not in the warm one.

A score counts when it is known to any process of a contestant's, at whatever epoch, and of
tidegate when it has come back to the driver, with the model. What is done after the target was
reached is in no time.

{sorts}
"""


def _raced(results: Results) -> Sequence[Entry]:
    names = {run["contestant"] for run in results["runs"]}
    return [entry for entry in ENTRIES if entry.name in names]


def _first_paragraph(entry: Entry) -> str:
    text = " ".join((entry.contestant.__doc__ or "").split("\n\n")[0].split())
    rest = " ".join(" ".join((entry.contestant.__doc__ or "").split("\n\n")[1:]).split())
    return f"{text} {rest}".strip()
