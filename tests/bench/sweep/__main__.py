"""The sweep beside others': run by ``make bench-sweep``.

Writes ``docs/sweep-speed.md`` and ``tests/bench/sweep_results.json``.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sweep import report, tables, targets
from sweep.contest import WORKERS
from sweep.entries import ENTRIES, VARIANTS, Entry
from sweep.race import (
    BENCH_PYTHON,
    PHASES,
    ROOT,
    environment,
    migrated,
    packages,
    race,
    two_cores,
)

RESULTS = ROOT / "tests" / "bench" / "sweep_results.json"

SEEDS = 5
SECONDS = {"digits": 60.0, "flights": 120.0, "synthetic": 120.0}
"""After these a search is given up."""

QUICK = ("digits",)
COST_TABLES, COST_SECONDS = ("synthetic", "synthetic-long"), 60.0
LIBRARIES = ("scikit-learn", "numpy", "mlflow", "optuna")
RIVALS = ("optuna-integration", "ray", "flaml")


def show(text: str) -> None:
    """Show progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, and write the page."""
    given = _arguments()
    two_cores()
    with TemporaryDirectory(prefix="sweep-tables-") as made:
        work = Path(made)
        names = given.tables or (QUICK if given.quick else tuple(tables.RACED))
        if given.targets:
            names = tuple(tables.RACED)
        results: dict[str, Any]
        shapes = {name: tables.write(name, work / name) for name in names}
        if given.targets:
            # Workers that are spawned read their environment anew.
            os.environ.update(environment())
            targets.compute({name: work / name for name in names}, WORKERS, show)
            return
        if not BENCH_PYTHON.exists():
            sys.exit(f"{BENCH_PYTHON.relative_to(ROOT)} is missing: make build/bench-venv/.done")
        entries = VARIANTS if given.variants else ENTRIES
        if given.only:
            entries = tuple(entry for entry in (*ENTRIES, *VARIANTS) if entry.name in given.only)
        seeds = range(1 if given.quick else given.seeds)
        store = migrated(work)
        if given.cost:
            # What was raced is another measurement, and stays as it is.
            results = json.loads(RESULTS.read_text())
            results["cost"] = _costs(work, store)
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            print(report.write(results, report.PAGE))
            return
        results = {
            "busy": os.getloadavg()[0],
            "versions": packages(LIBRARIES, True) | packages(RIVALS, False),
            "seeds": [],
            "tables": shapes,
            "targets": {name: targets.targets()[name] for name in names},
            "seconds": {name: SECONDS[name] for name in names},
            "runs": [],
            "cost": [],
        }
        whole = not (given.quick or given.only or given.variants or given.tables)
        page = report.PAGE if whole else work / "page.md"
        keep = RESULTS if whole else given.keep
        if whole:
            results["cost"] = _costs(work, store)
        for seed, runs in _race_all(entries, seeds, work, names, store):
            # A bench that is stopped keeps the seeds that all have raced with.
            results["seeds"].append(seed)
            results["runs"] += runs
            if keep:
                keep.write_text(json.dumps(results, indent=1) + "\n")
            text = report.write(results, page)
        print(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-sweep", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, the digits alone")
    parser.add_argument("--targets", action="store_true", help="compute the targets anew")
    parser.add_argument("--cost", action="store_true", help="cost and scaling alone, anew")
    parser.add_argument("--variants", action="store_true", help="race other ways to set rivals up")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="contestants, as module:Class")
    parser.add_argument("--tables", nargs="+", choices=tuple(tables.RACED), help="data sets")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--keep", type=Path, help="where to keep the runs of a part of the bench")
    return parser.parse_args()


def _race_all(
    entries: Sequence[Entry], seeds: Sequence[int], work: Path, names: Sequence[str], store: Path
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Race by turns: a machine that gets slower gets slower for all. Yield seed by seed."""
    aims, runs = targets.targets(), []
    turns = [(seed, name, entry) for seed in seeds for name in names for entry in entries]
    began = time.monotonic()
    for place, (seed, name, entry) in enumerate(turns):
        try:
            run = race(
                entry.name,
                product=entry.contestant.product,
                table=work / name,
                seed=seed,
                target=aims[name],
                seconds=SECONDS[name],
                store=store,
            )
        except RuntimeError as err:
            # A rival that breaks has not reached the target; the row shows it.
            show(str(err))
            failed = {"reached": False, "seconds": SECONDS[name], "sealed": None, "failed": True}
            run = {"ready": None, **dict.fromkeys(PHASES, failed)}
        runs.append({"contestant": entry.name, "table": name, "seed": seed, **run})
        took = time.monotonic() - began
        left = took / (place + 1) * (len(turns) - place - 1)
        said = ", ".join(
            f"{phase} {run[phase]['seconds']:.2f} s" + ("" if run[phase]["reached"] else " (not)")
            for phase in PHASES
        )
        show(
            f"{place + 1} of {len(turns)}, about {left / 60:.0f} min left | "
            f"{name}, seed {seed}, {entry.contestant.sort}: {said}"
        )
        if len(runs) == len(names) * len(entries):
            yield seed, runs
            runs = []


def _costs(work: Path, store: Path) -> list[dict[str, Any]]:
    found = []
    for name in COST_TABLES:
        if not (work / name).exists():
            tables.write(name, work / name)
        found.append(_cost(work / name, store))
    return found


def _cost(table: Path, store: Path) -> dict[str, Any]:
    scratch = table / "cost"
    scratch.mkdir()
    show(f"{table.name}: what a sweep costs beside its fits, and what more workers bring")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "sweep.cost",
            str(table),
            str(scratch),
            f"sqlite:///{store}",
            str(COST_SECONDS),
        ],
        check=True,
        env=environment(),
        cwd=scratch,
        stdin=subprocess.DEVNULL,
    )
    found: dict[str, Any] = json.loads((scratch / "cost.json").read_text())
    return found


if __name__ == "__main__":
    main()
