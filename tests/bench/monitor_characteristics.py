"""How often monitoring errs, and how fast it is: run by ``make bench-monitor``, seeds fixed.

Writes ``docs/monitoring.md`` and, beside this file, ``monitor_results.json``.
Windows are drawn from known distributions, or from the bundled sample at random, so what should
have been said of them is known. Evidently's preset, with its defaults, judges a part of the very
same windows.
"""

import json
import os
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from checks.drift import check_drift
from checks.drift.scores import drift_scores
from checks.model.settings import GateSettings
from checks.monitor import MonitorSettings
from checks.performance import Labelled, check_performance
from checks.result import Report, Status

REFERENCES, WINDOWS = 25, 40
"""Reference samples, and windows against each."""

BESIDE = 2
"""Windows of each reference that Evidently judges as well, at a second each."""

REFERENCE_ROWS = 5_000
SIZES = (200, 1_000, 5_000)
MOVES = (0.2, 0.3, 0.5)
LARGE = 1_000_000
CORES = 2
HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
SAMPLE = HERE.parents[1] / "pipelines" / "samples" / "flights" / "flights.parquet"

LEVELS = (2, 3, 5, 10, 20, 50, 100, 150, 200, 200)
NORMAL = tuple(f"normal {place}" for place in range(5))
SHAPES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "lognormal": lambda rng, rows: rng.lognormal(size=rows),
    "uniform": lambda rng, rows: rng.random(rows),
    "heavy tails": lambda rng, rows: rng.standard_t(4, rows),
    "whole numbers": lambda rng, rows: rng.binomial(9, 0.4, rows).astype(float),
    "half zeros": lambda rng, rows: rng.exponential(size=rows) * (rng.random(rows) < 0.5),
}
NUMERIC = (*NORMAL, *SHAPES)
CATEGORICAL = tuple(f"levels {place}" for place in range(len(LEVELS)))
MOVED = NORMAL[:3]
SPREAD = {
    name: float(np.std(shape(np.random.default_rng(0), 1_000_000)))
    for name, shape in SHAPES.items()
}


@dataclass(frozen=True)
class Task:
    """A reference and its windows, for one process.

    Parameters
    ----------
    source : str
        Where rows come from.
    seed, rows, windows : int
    move : float
        In standard deviations.
    columns : tuple of str
        That are moved.
    """

    source: str
    seed: int
    rows: int
    windows: int = WINDOWS
    move: float = 0.0
    columns: tuple[str, ...] = ()
    beside: int = 0


def simulated(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    """Draw 10 columns of numbers, 10 of 2 to 200 levels, and what a model said of each row."""
    columns: dict[str, Any] = {name: rng.normal(size=rows) for name in NORMAL}
    columns |= {name: shape(rng, rows) for name, shape in SHAPES.items()}
    for name, levels in zip(CATEGORICAL, LEVELS, strict=True):
        # The second level is half as frequent as the first, and so on (Zipf).
        shares = 1.0 / np.arange(1, levels + 1)
        names = np.array([f"level {level}" for level in range(levels)], dtype=object)
        columns[name] = names[rng.choice(levels, rows, p=shares / shares.sum())]
    frame = pd.DataFrame(columns)
    for name in (NORMAL[4], "half zeros", CATEGORICAL[3]):
        frame.loc[rng.random(rows) < 0.1, name] = np.nan
    late = 1 / (1 + np.exp(-frame["normal 3"] - rng.normal(size=rows)))
    frame["probability_on time"], frame["probability_late"] = 1 - late, late
    frame["prediction"] = np.where(late > 0.5, "late", "on time")
    return frame


def related(rng: np.random.Generator, rows: int, sign: float = 1.0) -> pd.DataFrame:
    """Draw rows of which two columns go together; by the sign, the other way round."""
    frame = simulated(rng, rows)
    frame["normal 1"] = sign * 0.7 * frame["normal 0"] + 0.51**0.5 * frame["normal 1"]
    return frame


def drawn(task: Task) -> Iterator[pd.DataFrame]:
    """Give the reference, and then the windows."""
    rng = np.random.default_rng([task.seed, task.rows])
    if task.source == "flights":
        table = pd.read_parquet(SAMPLE).drop(columns=["flight_id", "scheduled_departure", "late"])
        order = rng.permutation(len(table))
        yield table.iloc[order[:REFERENCE_ROWS]]
        rest = order[REFERENCE_ROWS:]
        for _ in range(task.windows):
            yield table.iloc[rng.choice(rest, task.rows, replace=False)]
        return
    if task.source == "related":
        yield related(rng, REFERENCE_ROWS)
        for _ in range(task.windows):
            yield related(rng, task.rows, -1.0)
        return
    yield simulated(rng, REFERENCE_ROWS)
    for _ in range(task.windows):
        window = simulated(rng, task.rows)
        if task.source == "new level":
            window.loc[rng.random(task.rows) < task.move, CATEGORICAL[4]] = "never seen"
        elif task.source == "missing":
            window.loc[rng.random(task.rows) < task.move, NORMAL[0]] = np.nan
        else:
            for column in task.columns:
                window[column] += task.move * SPREAD.get(column, 1.0)
        yield window


def judged(task: Task) -> dict[str, list[Any]]:
    """Judge each window of a task; two in a row are neighbours of one reference."""
    frames = drawn(task)
    reference = next(frames)
    numeric, categorical = columns_of(reference)
    past: list[Report] = []
    found: dict[str, list[Any]] = defaultdict(list)
    for place, window in enumerate(frames):
        report = check_drift(
            reference,
            window,
            MonitorSettings(),
            numeric=numeric,
            categorical=categorical,
            scores=[c for c in reference if str(c).startswith("probability_")],
            prediction="prediction" if "prediction" in reference else None,
            past=past[-5:],
        )
        past.append(report)
        tested = [check for check in report.checks if "exceeded" in check.details]
        found["tests"].append(len(tested))
        found["sure"].append([c.id for c in tested if c.details["adjusted_p_value"] < 0.01])
        found["moved"].append([c.id for c in tested if c.details["exceeded"]])
        found["alarmed"].append([c.id for c in report.checks if c.status is Status.FAILED])
        if place < task.beside:
            found["evidently"].append(evidently(reference, window, numeric, categorical))
    return found


def columns_of(frame: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Tell the columns of numbers from those of levels, what a model said left out."""
    inputs = [c for c in frame if c != "prediction" and not str(c).startswith("probability_")]
    numeric = [c for c in inputs if pd.api.types.is_numeric_dtype(frame[c])]
    return numeric, [c for c in inputs if c not in numeric]


def evidently(
    reference: pd.DataFrame,
    window: pd.DataFrame,
    numeric: Sequence[str],
    categorical: Sequence[str],
) -> list[str]:
    """Name the columns that drifted by Evidently's preset."""
    scores, limits = preset(reference, window, numeric, categorical)
    # Distances alarm above their limit; with so large a reference, all methods are distances.
    return [column for column, score in scores.items() if score >= limits[column]]


def preset(
    reference: pd.DataFrame,
    window: pd.DataFrame,
    numeric: Sequence[str],
    categorical: Sequence[str],
) -> tuple[dict[str, float], dict[str, float]]:
    """Run Evidently's preset with its defaults, and return scores and limits by column."""
    os.environ.setdefault("DO_NOT_TRACK", "true")
    with warnings.catch_warnings():
        # What it imports has been renamed by scipy and pydantic; nothing to do with the data.
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset
        from evidently import Report as EvidentlyReport
        from evidently.presets import DataDriftPreset

        columns = [*numeric, *categorical]
        definition = DataDefinition(
            numerical_columns=list(numeric), categorical_columns=list(categorical)
        )
        sides = (
            Dataset.from_pandas(side[columns], data_definition=definition)
            for side in (window, reference)
        )
        snapshot = EvidentlyReport([DataDriftPreset()]).run(*sides)
        metrics = [m for m in snapshot.dict()["metrics"] if "column" in m["config"]]
    named = {metric["config"]["column"]: metric for metric in metrics}
    assert not any("p_value" in metric["config"]["method"] for metric in metrics)
    return (
        {column: float(metric["value"]) for column, metric in named.items()},
        {column: float(metric["config"]["threshold"]) for column, metric in named.items()},
    )


def false_alarms(pool: ProcessPoolExecutor, scale: float) -> pd.DataFrame:
    """Judge windows of the reference's own distribution."""
    windows = max(4, int(WINDOWS * scale))
    cases = [(source, rows) for source in ("simulated", "flights") for rows in SIZES]
    lines = []
    for source, rows in shown("equal windows", cases):
        tasks = [
            Task(source, 100 + seed, rows, windows, beside=BESIDE) for seed in range(REFERENCES)
        ]
        found = gathered(pool, tasks)
        lines.append(
            {
                "rows from": source,
                "rows": rows,
                "windows": len(found["moved"]),
                "tests in each": found["tests"][0],
                "tests alone": share(found["sure"]),
                "moved": share(found["moved"]),
                "alarmed": share(found["alarmed"]),
                "Evidently": share(found["evidently"]),
            }
        )
    return pd.DataFrame(lines)


def power(pool: ProcessPoolExecutor, scale: float) -> pd.DataFrame:
    """Move 3 of 20 columns, and count the windows in which all three are named."""
    windows = 2 * max(1, int(WINDOWS * scale / 13))
    ids = [f"{column}.values" for column in MOVED]
    lines = []
    for move, rows in shown("moved windows", [(m, r) for m in MOVES for r in SIZES]):
        tasks = [
            Task("simulated", 200 + seed, rows, windows, move, MOVED, beside=int(seed < 10))
            for seed in range(REFERENCES)
        ]
        found = gathered(pool, tasks)
        second = [names for place, names in enumerate(found["alarmed"]) if place % windows == 1]
        lines.append(
            {
                "moved by (sd)": move,
                "rows": rows,
                "any, one window": share([set(ids) & set(names) for names in found["moved"]]),
                "all three, one window": share(
                    [set(ids) <= set(names) for names in found["moved"]]
                ),
                "any alarmed by the second": share([set(ids) & set(names) for names in second]),
                "all alarmed by the second": share([set(ids) <= set(names) for names in second]),
                "Evidently, any": share([set(MOVED) & set(n) for n in found["evidently"]]),
                "Evidently, all three": share(
                    [set(MOVED) <= set(names) for names in found["evidently"]]
                ),
            }
        )
    return pd.DataFrame(lines)


def delay(pool: ProcessPoolExecutor, scale: float) -> pd.DataFrame:
    """Count the windows from a move of one column to its alarm."""
    references = max(5, int(50 * scale))
    lines = []
    for rows in shown("delay", SIZES):
        tasks = [
            Task("simulated", 300 + seed, rows, 4, 0.5, MOVED[:1]) for seed in range(references)
        ]
        waits = []
        for each in pool.map(judged, tasks):
            named = [f"{MOVED[0]}.values" in names for names in each["alarmed"]]
            waits.append(named.index(True) + 1 if any(named) else 5)
        waited = np.array(waits)
        lines.append(
            {"rows": rows, "moves": len(waits)}
            | {f"within {most}": float((waited <= most).mean()) for most in (2, 3, 4)}
        )
    return pd.DataFrame(lines)


def other_faults(pool: ProcessPoolExecutor, scale: float) -> pd.DataFrame:
    """Move what is not a mean: shapes, missing cells, new levels, and columns' relation."""
    windows = 2 * max(2, int(WINDOWS * scale / 10))
    cases: dict[str, tuple[str, float, tuple[str, ...], str]] = {
        f"{shape.removesuffix(' 0')}, moved by 0.3 sd": (
            "simulated",
            0.3,
            (shape,),
            f"{shape}.values",
        )
        for shape in ("normal 0", *SHAPES)
    }
    cases |= {
        f"{share:.0%} of a column's cells gone missing": (
            "missing",
            share,
            (),
            f"{NORMAL[0]}.missing",
        )
        for share in (0.05, 0.1)
    }
    cases |= {
        f"{share:.0%} of the rows with a level never seen": (
            "new level",
            share,
            (),
            f"{CATEGORICAL[4]}.levels",
        )
        for share in (0.02, 0.05)
    }
    cases["two columns related the other way round (0.7)"] = ("related", 0, (), "rows.together")
    lines = []
    for name, (source, move, columns, id) in shown("other faults", list(cases.items())):
        line: dict[str, Any] = {"what changed": name, "named by": id.replace("normal 0", "column")}
        for rows in SIZES:
            tasks = [Task(source, 400 + seed, rows, windows, move, columns) for seed in range(10)]
            line[f"{rows:,} rows"] = share([id in n for n in gathered(pool, tasks)["moved"]])
        lines.append(line)
    return pd.DataFrame(lines)


def concept(pool: ProcessPoolExecutor, scale: float) -> pd.DataFrame:
    """Leave the inputs as they are, and change what follows from them."""
    count = max(20, int(100 * scale))
    lines = []
    for changed in (0.0, 0.1, 0.2):
        for rows in SIZES:
            tasks = [(changed, rows, 500 + seed) for seed in range(count)]
            found = list(pool.map(changed_concept, tasks))
            drift, performance = (float(np.mean(side)) for side in zip(*found, strict=True))
            lines.append(
                {
                    "rows that became the other class": f"{changed:.0%}",
                    "rows": rows,
                    "drift moved": drift,
                    "performance alarmed": performance,
                }
            )
    return pd.DataFrame(lines)


def changed_concept(task: tuple[float, int, int]) -> tuple[bool, bool]:
    """Tell whether drift, and whether performance, notices that the labels changed."""
    changed, rows, seed = task
    rng = np.random.default_rng([seed, rows])
    sides = []
    for size in (REFERENCE_ROWS, rows):
        X = pd.DataFrame({f"x{place}": rng.normal(size=size) for place in range(5)})
        late = 1 / (1 + np.exp(-3 * X["x0"] - 3 * X["x1"]))
        X["prediction"] = np.where(late > 0.5, "late", "on time")
        X["probability_late"], X["probability_on time"] = late, 1 - late
        sides.append(X)
    reference, window = sides
    inputs = [f"x{place}" for place in range(5)]
    drift = check_drift(
        reference,
        window,
        MonitorSettings(),
        numeric=inputs,
        categorical=(),
        scores=["probability_late", "probability_on time"],
        prediction="prediction",
    )
    probabilities = window[["probability_late", "probability_on time"]].to_numpy()
    late_now = rng.random(rows) < probabilities[:, 0]
    truth = np.where(late_now ^ (rng.random(rows) < changed), "late", "on time")
    labelled = Labelled(
        classes=["late", "on time"],
        y_true=truth,
        predictions=window["prediction"].to_numpy(),
        probabilities=probabilities,
        frame=window[inputs],
        delays=np.zeros(rows),
        rows=rows,
    )
    # The model is right of 0.87 of the rows, and its gate asked for 0.85.
    gate = GateSettings.model_validate({"metrics": {"accuracy": {"min": 0.85}}})
    performance = check_performance(labelled, gate, MonitorSettings())
    moved = any(check.details.get("exceeded") for check in drift.checks)
    return moved, any(check.status is Status.FAILED for check in performance.checks)


def speed(rows: int) -> dict[str, float]:
    """Score 20 columns of many rows, beside Evidently's preset on the same ones."""
    sides = [simulated(np.random.default_rng(seed), rows) for seed in (1, 2)]
    columns = {"numeric": list(NUMERIC), "categorical": list(CATEGORICAL)}
    preset(*(side.head(2_000) for side in sides), *columns.values())
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        made = work()
        seconds[name] = min(time.perf_counter() - start, seconds.get(name, np.inf))
        return made

    theirs, _ = timed("evidently", lambda: preset(*sides, *columns.values()))
    for _ in range(3):
        ours = timed("scores", lambda: drift_scores(*sides, **columns))
    timed("check", lambda: check_drift(*sides, MonitorSettings(), **columns))
    small = sides[0].head(REFERENCE_ROWS)
    timed("check_reference", lambda: check_drift(small, sides[1], MonitorSettings(), **columns))
    apart = max(abs(ours[column] - theirs[column]) for column in theirs)
    return seconds | {
        "rows": rows,
        "apart": apart,
        "times": seconds["evidently"] / seconds["scores"],
    }


def gathered(pool: ProcessPoolExecutor, tasks: Sequence[Task]) -> dict[str, list[Any]]:
    """Judge all tasks, and lay what was found end to end."""
    found: dict[str, list[Any]] = defaultdict(list)
    for each in pool.map(judged, tasks):
        for name, values in each.items():
            found[name] += values
    return found


def share(found: Sequence[Any]) -> float:
    """Return the share of windows of which anything was found."""
    return float(np.mean([bool(each) for each in found])) if found else float("nan")


def shown(name: str, cases: Sequence[Any]) -> Iterator[Any]:
    """Show progress on stderr."""
    from rich.console import Console
    from rich.progress import track

    yield from track(cases, description=name, console=Console(file=sys.stderr))


def markdown(table: pd.DataFrame) -> str:
    """Write a table as markdown."""
    lines = [f"| {' | '.join(map(str, table.columns))} |"]
    lines.append("|" + "--:|" * len(table.columns))
    for row in table.itertuples(index=False):
        cells = [
            f"{cell:g}"
            if name == "moved by (sd)"
            else f"{cell:.3f}"
            if isinstance(cell, float)
            else f"{cell:,}"
            if isinstance(cell, int | np.integer)
            else str(cell)
            for name, cell in zip(table.columns, row, strict=True)
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def page(tables: dict[str, pd.DataFrame], fast: dict[str, float]) -> str:
    """Write what was measured as a page."""
    equal, moves, waits = tables["false_alarms"], tables["power"], tables["delay"]
    asked = moves[(moves["moved by (sd)"] == 0.3) & (moves["rows"] == 1_000)].iloc[0]
    settings = MonitorSettings()
    return f"""# How often monitoring errs

Measured by `make bench-monitor` ([the program](../tests/bench/monitor_characteristics.py),
[all numbers](../tests/bench/monitor_results.json)), seeds fixed, with the defaults of
`[monitor]`. A reference has {REFERENCE_ROWS:,} rows. Simulated rows have 20 columns: 10 of
numbers (normal ones, skewed, with heavy tails, with ties, with many zeros) and 10 of 2 to 200
levels, three of the 20 with missing cells, and a model's answers. Flights are the bundled
sample's rows, reference and windows drawn from it at random without their time.
*Evidently* is its `DataDriftPreset` with its defaults, on some of the same windows, since it
takes about a second for each: {REFERENCES * BESIDE} windows a line where nothing changed, 10
where columns moved. A window counts for it where any column drifted.

## Nothing changed

Each of {REFERENCES} references is compared with windows of its own distribution. *Tests alone*
is the share of windows with any adjusted p-value below {settings.alpha:g}; *moved* are those
with a shift beyond its floor as well, and *alarmed* those in which the window before showed the
same. At most 0.01 of the windows may alarm; the worst line has {equal["alarmed"].max():.3f}, and
{equal["moved"].max():.3f} moved.

{markdown(equal)}

## Three of 20 columns moved

Three normal columns are moved by a part of their standard deviation. By 0.3 at 1,000 rows, all
three are named in {asked["all three, one window"]:.3f} of the windows, and have alarmed by the
second in {asked["all alarmed by the second"]:.3f}. At 200 rows a move of 0.3 is not seen for
sure, which is what `smallest` in each result says.

{markdown(moves)}

## How long it takes

Windows until one column that moved by 0.5 sd alarms. Two in a row are asked for, so two is the
least; the worst line alarms within two windows in {waits["within 2"].min():.3f} of the moves.

{markdown(waits)}

## Other changes

The share of windows in which the change is named as such. Of a change as large as its floor
(0.05 of the cells missing, 0.02 of the rows with a new level) about half the windows exceed it.

{markdown(tables["other_faults"])}

## A changed concept

The inputs stay as they were, and some rows become the other class. That is no drift, and drift
does not see it; the gate's own rule (accuracy of at least 0.85, of a model that reaches 0.87)
judged on the labels does.

{markdown(tables["concept"])}

## Speed

{fast["rows"]:,.0f} rows by 20 columns on both sides, one process: Evidently's preset takes
{fast["evidently"]:.1f} s, its scores by `checks.drift.scores` {fast["scores"]:.2f} s, which is
{fast["times"]:.0f} times faster; the largest difference of any score is {fast["apart"]:.0e}. All
of `check_drift` takes {fast["check"]:.1f} s on the same rows, and {fast["check_reference"]:.2f} s
with a reference of {REFERENCE_ROWS:,} rows, which is what is kept beside a model.
"""


def main() -> None:
    """Measure, and write the page; an argument below one measures that part of it, unwritten."""
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    start = time.perf_counter()
    fast = speed(LARGE if scale >= 1 else LARGE // 10)
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool:
        tables = {
            work.__name__: work(pool, scale)
            for work in (false_alarms, power, delay, other_faults, concept)
        }
    written = page(tables, fast)
    print(written)
    print(f"{time.perf_counter() - start:.0f} s", file=sys.stderr)
    if scale < 1:
        return
    (DOCS / "monitoring.md").write_text(written, encoding="utf-8")
    results = {name: table.to_dict("records") for name, table in tables.items()}
    (HERE / "monitor_results.json").write_text(
        json.dumps(results | {"speed": fast}, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
