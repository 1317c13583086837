"""What the gate costs on 50,000 sealed rows of 20 columns: run by ``make bench-gate``.

Writes ``docs/gate-speed.md``. Each case is a project in a temporary folder, with a table, a
champion that serves and a candidate to judge; the gate's own stages run in a process that has
done nothing else, without Prefect's server, and every part of them is timed for itself.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import wraps
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias
from unittest.mock import patch

import numpy as np
import pandas as pd

LEARNED, SEALED = 150_000, 50_000
KNOWN_LIBRARY = 60.0
"""CPU seconds of a known library's suite for the evaluation of a model of this shape."""

TRIES = 2
CLASSES = (2,)
CANDIDATES = ("boosting", "network")
DOCS = Path(__file__).parents[2] / "docs"

Spent: TypeAlias = dict[str, tuple[float, float]]
"""Wall and CPU seconds by part."""

LOADING, TOTAL, WORK = "load the libraries", "**total**", "**total without the libraries**"
LOADING_COPY, COPY = (
    "load the libraries, in the fresh process",
    "evidence: fresh process (its own CPU)",
)
COPY_LIBRARIES = (
    *("pipelines.fresh", "pipelines.features", "pandas", "skops.io"),
    *("sklearn.ensemble", "sklearn.neural_network", "sklearn.compose"),
)
ONE = "for comparison, one pass of the model"
LIBRARIES = (
    "flows.gate",
    "mlflow.sklearn",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "skops.io",
    "sklearn.ensemble",
    "sklearn.neural_network",
    "scipy.stats",
    "matplotlib.figure",
)
"""What the gate imports late, so that none of it counts for the part that comes first."""

PROJECT = """
[data]
source = "table.parquet"
target = "outcome"
time = "happened"
{positive}
[data.split]
method = "time"
validation_from = 2024-02-01T00:00:00
sealed_from = 2024-03-01T00:00:00

[deploy]
model = "speed"

[gate]
minimum_rows = 1000
minimum_support = 100
overfit = 0.2
size_mb = 100
scoring = "balanced_accuracy"
baseline = {{majority = 0.01, yardstick = -0.5}}
champion = {{minimum_effect = -0.5, minimum_rows = 1000}}
cost = {{max = 2.0, matrix = {{"c0 -> c1" = 5.0}}}}
slices = {{minimum = 0.1, columns = ["category_3", "category_200"], behind = 0.5}}
calibration = {{brier = 1.0, ece = 0.5}}
latency = {{row_ms = 1000, batch_ms = 5000}}
invariance = {{columns = ["category_3", "number_0"], flips = 0.9}}
robustness = {{flips = 0.5, drop = 0.5}}
confusion = {{"c0 -> c1" = 0.9, "c1 -> c0" = 0.9}}

[gate.metrics]
accuracy = {{min = 0.1}}
balanced_accuracy = {{min = 0.1}}
f1_macro = {{min = 0.1}}
matthews_corrcoef = {{min = 0.01}}
neg_log_loss = {{min = -5.0}}
d2_brier_score = {{min = -1.0}}
average_precision = {{min = 0.1}}
{area} = {{min = 0.1}}

[gate.recall]
{each}

[gate.precision]
{each}
"""


def table(classes: int, seed: int = 0) -> pd.DataFrame:
    """Draw rows of 12 columns of numbers and 8 of categories, some cells missing."""
    rng = np.random.default_rng(seed)
    rows = LEARNED + SEALED
    numbers = rng.normal(size=(rows, 8))
    columns: dict[str, Any] = {f"number_{n}": numbers[:, n] for n in range(8)}
    columns |= {f"whole_{n}": rng.poisson(4 * (n + 1), rows).astype(np.float64) for n in range(4)}
    signal = np.column_stack([np.roll(numbers, n, axis=1)[:, :3].sum(axis=1) for n in range(5)])
    signal[:, 1] += numbers[:, 4] * numbers[:, 5]
    for levels in (2, 3, 5, 10, 20, 50, 100, 200):
        # As in real tables a few levels hold most of the rows.
        share = 1 / np.arange(1, levels + 1)
        drawn = rng.choice(levels, rows, p=share / share.sum())
        signal += rng.normal(size=(levels, 5))[drawn] * 0.4
        names = np.array([f"level {n} of {levels}" for n in range(levels)], dtype=object)
        columns[f"category_{levels}"] = names[drawn]
    frame = pd.DataFrame(columns)
    for column in ("number_1", "number_6", "whole_2", "category_10", "category_100"):
        frame.loc[rng.random(rows) < 0.05, column] = None
    noisy = signal[:, :classes] + rng.gumbel(size=(rows, classes))
    frame["outcome"] = np.array([f"c{n}" for n in range(classes)])[noisy.argmax(axis=1)]
    # Learned in January and February, sealed in March.
    month = np.repeat(["2024-01-01", "2024-02-01", "2024-03-01"], [110_000, 40_000, SEALED])
    frame["happened"] = pd.to_datetime(month) + pd.to_timedelta(rng.integers(0, 86_400, rows), "s")
    return frame


def settings(classes: int) -> str:
    """Return a project file that sets every limit of the gate, each one easy to keep."""
    two = classes == 2
    return PROJECT.format(
        positive='positive = "c1"\n' if two else "",
        area="roc_auc" if two else "roc_auc_ovr",
        each="\n".join(f"c{n} = 0.01" for n in range(classes)),
    )


def prepare(folder: Path, classes: int) -> dict[str, str]:
    """Make a project, fit two models, and return the run that logged each."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import Pipeline

    from flows.project import Project
    from pipelines.data import read
    from pipelines.evaluation import one_thread
    from pipelines.features import conform, labels, preprocessor, roles_of
    from pipelines.learned import learned_of
    from pipelines.split import learning_rows
    from pipelines.tracking import Tracker

    folder.mkdir()
    table(classes).to_parquet(folder / "table.parquet")
    (folder / "tidegate.toml").write_text(settings(classes))
    project = Project.load(folder)
    tracker = Tracker.open(project.tracking, folder, experiment=project.model)
    split = learning_rows(read(project.data, folder))
    roles = roles_of(split.train, project.data)
    X, y = conform(split.train, roles), labels(split.train[project.data.target])
    estimators = {
        "boosting": HistGradientBoostingClassifier(random_state=0),
        "network": MLPClassifier((64, 32), max_iter=5, batch_size=512, random_state=0),
    }
    runs = {}
    for name, estimator in estimators.items():
        show(f"fit {name} on {len(X):,} rows of {classes} classes")
        model = Pipeline([("preprocess", preprocessor(roles)), ("model", estimator)])
        with one_thread():
            model.fit(X, y)
        run_id = tracker.start(name, tags={"tidegate.stage": "trained"})
        tracker.log_candidate(
            run_id,
            model,
            example=X.head(20),
            predictions=model.predict(X.head(20)),
            reference=split.train.head(100),
            learned=learned_of(split.both, project.data, roles),
        )
        tracker.finish(run_id, "FINISHED")
        runs[name] = run_id
    return runs


def crown(folder: Path, run_id: str) -> None:
    """Let a run's model serve."""
    from flows.project import Project
    from pipelines.promotion import promote
    from pipelines.tracking import Tracker

    project = Project.load(folder)
    tracker = Tracker.open(project.tracking, folder, experiment=project.model)
    version = tracker.register(run_id, project.model, {})
    promote(
        tracker,
        tracker.ledger(project.model),
        version,
        expected=tracker.aliases(project.model).get(project.deploy.alias),
        alias=project.deploy.alias,
        previous_alias=project.deploy.previous_alias,
    )


def cpu() -> float:
    """Return the CPU seconds of this process and of those that it has waited for."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, kinds))


class Stopwatch:
    """The time of parts, one within another: each second counts for the innermost alone."""

    def __init__(self) -> None:
        self.spent: Spent = {}
        self._open: list[str] = []
        self._since = (0.0, 0.0)

    def _turn(self) -> None:
        now = time.perf_counter(), cpu()
        if self._open:
            wall, used = self.spent.get(self._open[-1], (0.0, 0.0))
            self.spent[self._open[-1]] = (
                wall + now[0] - self._since[0],
                used + now[1] - self._since[1],
            )
        self._since = now

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block for a part."""
        self._turn()
        self._open.append(name)
        try:
            yield
        finally:
            self._turn()
            self._open.pop()

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Count each call for a part."""

        @wraps(call)
        def within(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return list(made) if isinstance(made := call(*args, **kwargs), Iterator) else made

        return within


def parts() -> list[tuple[Any, str, str]]:
    """Name the functions that the gate's stages call, and the part that each is."""
    from flows import gate
    from pipelines import fresh, pictures, probes, screening
    from pipelines.tracking import Tracker

    return [
        (gate, "fit_yardstick", "evidence: fit the yardstick"),
        (gate, "_train_answers", "evidence: score training rows"),
        (gate, "_learned", "evidence: look for learned rows"),
        *[
            (probes, name, f"evidence: probe, {name}")
            for name in ("again", "reordered", "noisy", "emptied", "shuffled")
        ],
        *[
            (screening, name, f"evidence: screen, {name}")
            for name in ("alone", "copied", "telling")
        ],
        (fresh, "start", "evidence: start the fresh process"),
        (fresh.FreshProcess, "result", COPY),
        (Tracker, "candidate", "evidence: load the candidate"),
        *[(gate, f"to_{face}", "report: its faces") for face in ("html", "markdown", "junit")],
        *[(pictures, name, "report: pictures") for name in ("confusion", "slices")],
    ]


def measure(folder: Path, run_id: str) -> Spent:
    """Run the gate's stages, as its flow does, and return wall and CPU seconds by part."""
    watch = Stopwatch()
    with watch.part(LOADING):
        for library in LIBRARIES:
            import_module(library)
    from checks.model import gate as rules
    from flows import gate
    from flows.session import Session
    from pipelines.evaluation import one_thread
    from pipelines.features import conform
    from pipelines.split import sealed_fingerprint

    families = {name: watch.timed(f"judge: {name}", family) for name, family in rules.RULES.items()}
    with ExitStack() as stack:
        for owner, name, part in parts():
            stack.enter_context(patch.object(owner, name, watch.timed(part, getattr(owner, name))))
        stack.enter_context(patch.object(rules, "RULES", families))
        stack.enter_context(
            patch.object(rules, "_facts", watch.timed("judge: what the report draws", rules._facts))
        )
        # The one call in a stage that needs Prefect's server.
        stack.enter_context(patch.object(gate, "create_markdown_artifact"))
        with watch.part("read: settings and store"):
            session = Session.open(str(folder), ())
            session.run_id = run_id
            against = gate.name_champion.fn(session)
            assert against is not None
        with watch.part("read: the table"):
            assert len(session.dataset.frame) == LEARNED + SEALED
        with watch.part("split: the sealed rows and their fingerprint"):
            fingerprint = sealed_fingerprint(session.dataset)
            sealed = gate.open_sealed.fn(session)
            assert len(sealed) == SEALED
        with watch.part("keep: ledger, registry, files"):
            look = gate.record_look.fn(session, fingerprint)
        with watch.part("champion"):
            champion = gate.evaluate_champion.fn(session, sealed, against)
        with watch.part("evidence: score the candidate, and the rest"):
            scored = gate.evaluate_candidate.fn(session, sealed, champion)
        with watch.part("judge: the rest"):
            report = gate.judge_candidate.fn(session, scored, look)
        with watch.part("keep: ledger, registry, files"):
            gate.keep_report.fn(session, report, scored)
            version = gate.register.fn(session, against)
            gate.record_verdict.fn(session, report, version, against, fingerprint, look)
    unsaid = [check for check in report.checks if check.status not in ("passed", "failed")]
    if unsaid:
        raise RuntimeError(f"not every rule was judged: {unsaid}")
    kept = session.tracker.candidate(run_id)
    X = conform(sealed, kept.roles)
    with watch.part(ONE), one_thread():
        kept.model.predict_proba(X)
    return watch.spent


def alone(call: Callable[..., Any], *args: Any) -> Any:
    """Call a function in a process that has done nothing else."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(call, *args).result()


def show(text: str) -> None:
    """Show progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def case(folder: Path, runs: dict[str, str], candidate: str) -> Spent:
    """Judge one of two models against the other, and return the try that took least CPU."""
    other = next(name for name in runs if name != candidate)
    alone(crown, folder, runs[other])
    tries: list[Spent] = []
    for number in range(TRIES):
        spent: Spent = alone(measure, folder, runs[candidate])
        # How much of the fresh process was loading shows in one that does nothing else.
        loaded = min(alone(load_copy_libraries), spent[COPY][1])
        spent |= {COPY: (spent[COPY][0], spent[COPY][1] - loaded), LOADING_COPY: (0.0, loaded)}
        tries.append(spent)
        show(f"{folder.name}, {candidate}, try {number + 1}: {total(spent)[1]:.1f} CPU s")
    best = min(tries, key=lambda spent: total(spent)[1])
    return best | {WORK: total(best, LOADING, LOADING_COPY), TOTAL: total(best)}


def load_copy_libraries() -> float:
    """Return the CPU seconds that a process takes to load what a fresh copy needs."""
    before = cpu()
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    code = f"import {', '.join(COPY_LIBRARIES)}"
    subprocess.run([sys.executable, "-P", "-c", code], env={**os.environ, **one}, check=True)
    return cpu() - before


def total(spent: Spent, *without: str) -> tuple[float, float]:
    """Add up the wall and CPU seconds of parts."""
    counted = [each for part, each in spent.items() if part not in (ONE, *without)]
    return sum(wall for wall, _ in counted), sum(used for _, used in counted)


def markdown(cases: dict[str, Spent]) -> str:
    """Write a row for each part, and for each case its wall and CPU seconds."""
    parts = list(dict.fromkeys(part for spent in cases.values() for part in spent))
    last = [WORK, TOTAL, ONE]
    lines = ["| part |" + "".join(f" {name}, wall | CPU |" for name in cases)]
    lines.append("|:--|" + "--:|" * (2 * len(cases)))
    for part in [*(part for part in parts if part not in last), *last]:
        cells = [f"{seconds:.2f}" for spent in cases.values() for seconds in spent[part]]
        lines.append(f"| {part} | {' | '.join(cells)} |")
    for part in (WORK, TOTAL):
        shares = [KNOWN_LIBRARY / spent[part][1] for spent in cases.values()]
        said = " | ".join(f"| {share:.1f} times" for share in shares)
        lines.append(f"| {KNOWN_LIBRARY:.0f} CPU seconds to the {part.strip('*')} | {said} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and write the page."""
    busy = os.getloadavg()[0]
    found: dict[int, dict[str, Spent]] = {}
    with TemporaryDirectory() as work:
        for classes in CLASSES:
            folder = Path(work) / f"{classes}-classes"
            runs = alone(prepare, folder, classes)
            found[classes] = {name: case(folder, runs, name) for name in CANDIDATES}
    tables = "\n\n".join(
        f"## {classes} classes\n\n{markdown(cases)}" for classes, cases in found.items()
    )
    page = f"""# What the gate costs

Measured by `make bench-gate` ([the program](../tests/bench/gate_speed.py)) on a machine of
{os.cpu_count()} cores, on which {busy:.1f} processes were at work already; of {TRIES} tries the one
that took least CPU time.

The table has {LEARNED:,} rows to learn from and {SEALED:,} sealed ones, of 20 columns: 12 of
numbers and 8 of categories with 2 to 200 levels, with missing values in five of them. It has no
id, so that rows are told apart by their content. One model is judged, the other is the champion:
*boosting* is scikit-learn's `HistGradientBoostingClassifier` as it comes, up to 100 trees a
class; *network* an `MLPClassifier` of 64 and 32 units. Every limit of `[gate]` is set, eight
metrics among them, and each is held against the end of its interval.

Seconds of wall clock and of CPU, the latter of this process, its threads and the fresh process,
which runs beside it. A part that is called by another counts for itself alone. Not measured:
Prefect's server, which the gate's stages do without. A suite of a known library for the
evaluation of a model takes {KNOWN_LIBRARY:.0f} CPU seconds on this shape.

{tables}
"""
    (DOCS / "gate-speed.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
