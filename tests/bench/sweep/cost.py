"""What a sweep costs beside its fits, and what more workers bring; one process, run by the bench.

All of it on the same trials of one data set, for a minute or more on two workers.
"""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sweep.contest import WORKERS
from sweep.rivals.tidegate import FAMILY, Frames, settings, workers

PILOT_TRIALS = 40
ROUNDS = 2
"""Of each measurement, by turns: a machine that is slow for a minute is slow for one of them."""

SEED = 77


def measure(table: Path, scratch: Path, store: str, seconds: float) -> dict[str, Any]:
    """Return walls of the same sweep: on two workers, on one, on Dask, and of its bare fits.

    Of each the least of `ROUNDS`; ``walls`` has them all.
    """
    frames = Frames(table)
    places = iter(range(100))

    def swept(trials: int, executor: Any, uri: str | None = None) -> tuple[float, Any]:
        with ExitStack() as stack:
            stack.callback(executor.stop)
            on_trial: Callable[..., None] = lambda trial, best: None  # noqa: E731
            if uri is not None:
                from pipelines.tracking import Tracker, TrackingSettings

                tracker = Tracker.open(
                    TrackingSettings(folder=".", uri=uri), scratch, experiment="cost"
                )
                run = tracker.start("cost", tags={})
                on_trial = lambda trial, best: tracker.log_trial(run, trial)  # noqa: E731
            began = time.monotonic()
            result = frames.sweep(
                settings(SEED, trials=trials),
                scratch / f"sweep-{next(places)}",
                executor,
                on_trial=on_trial,
            )
            wall = time.monotonic() - began
            if uri is not None:
                tracker.finish(run, "FINISHED")
            return wall, result

    with workers() as two, workers(1) as one:
        swept(4, two)
        swept(4, one)
        trials = PILOT_TRIALS
        # The first trials take longer than the later ones.
        while (pilot := swept(trials, two)[0]) < seconds:
            trials = round(1.1 * trials * seconds / pilot)
        walls: dict[str, list[float]] = defaultdict(list)
        logged, told = [], []
        dask: dict[str, Any] | str = ""
        for _ in range(ROUNDS):
            wall, result = swept(trials, two, store)
            logged.append((wall, sum(trial.seconds for trial in result.trials)))
            walls["bare"].append(_bare(frames, result, measured=False))
            walls["bare_scored"].append(_bare(frames, result, measured=True))
            again, same = swept(trials, two)
            walls["wall_unlogged"].append(again)
            longest, alone = swept(trials, one)
            walls["wall_one_worker"].append(longest)
            told += [_told(each) for each in (result, same, alone)]
            dask = _dask(swept, trials)
            if not isinstance(dask, str):
                walls["dask"].append(dask["wall"])
    walls["wall"] = [wall for wall, _ in logged]
    least = {name: min(each) for name, each in walls.items()}
    return {
        "table": table.name,
        "rows": len(frames.train),
        "trials": trials,
        "epochs": sum(len(trial.curve) for trial in result.trials),
        **least,
        "in_trials": min(logged)[1],
        "same_trials": all(each == told[0] for each in told),
        "dask": dask if isinstance(dask, str) else {"wall": least["dask"]},
        "rounds": ROUNDS,
        "walls": walls,
    }


def _told(result: Any) -> list[Any]:
    return [(trial.params, trial.score, trial.units) for trial in result.trials]


def _bare(frames: Frames, result: Any, *, measured: bool) -> float:
    """Return the wall of fitting every trial anew to where it came, by two processes.

    Nothing else is done: no proposal, no checkpoint, no journal; and no scoring unless it is
    ``measured``, after each epoch as the sweep has it.
    """
    from pipelines.features import conform, preprocessor
    from pipelines.sweep.proposals import seed_of

    X = conform(frames.train, frames.roles)
    preprocess = preprocessor(frames.roles).fit(X)
    validation = preprocess.transform(conform(frames.validation, frames.roles))
    given = (preprocess.transform(X), frames.y_train, validation, frames.y_validation)
    # The longest first, so that neither process is left alone with one.
    jobs = sorted(
        (
            (trial.params, seed_of(SEED, trial.number, 1), trial.units)
            for trial in result.trials
            if trial.units
        ),
        key=lambda job: -job[2] * int(job[0]["layers"]) * int(job[0]["width"]) ** 2,
    )
    context = get_context("spawn")
    tasks, done = context.Queue(), context.Queue()
    crew = [
        context.Process(target=_fit, args=(given, tasks, done, measured)) for _ in range(WORKERS)
    ]
    for process in crew:
        process.start()
    for _ in crew:
        done.get()
    began = time.monotonic()
    for job in jobs:
        tasks.put(job)
    for _ in jobs:
        done.get()
    wall = time.monotonic() - began
    for _ in crew:
        tasks.put(None)
    for process in crew:
        process.join()
    return wall


def _fit(given: Any, tasks: Any, done: Any, measured: bool) -> None:
    import warnings

    import numpy as np

    from pipelines.models.families import FAMILIES
    from pipelines.models.learner import Rows
    from pipelines.sweep.trial import Data, _measure

    X, y, X_validation, y_validation = given
    classes, codes = np.unique(y, return_inverse=True)
    rows = Rows(X, y, codes.astype(np.intp), classes)
    data = Data(rows, X_validation, np.searchsorted(classes, y_validation))
    warnings.simplefilter("ignore")
    family = FAMILIES[FAMILY]
    family.start(
        {"layers": 1, "width": 16, "solver": "adam", "batch_size": 64}, seed=0, rows=len(X)
    ).advance(rows, 1)
    done.put("up")
    while (job := tasks.get()) is not None:
        params, seed, units = job
        learner = family.start(params, seed=seed, rows=len(X))
        try:
            with np.errstate(all="ignore"):
                for unit in range(1, units + 1):
                    learner.advance(rows, unit)
                    if measured:
                        _measure(learner, data, "accuracy", unit)
        except (ValueError, FloatingPointError):
            pass
        done.put("fitted")


def _dask(swept: Callable[[int, Any], tuple[float, Any]], trials: int) -> dict[str, Any] | str:
    """Return the wall on two Dask worker processes, or why there is none."""
    try:
        from dask.distributed import LocalCluster

        from pipelines.sweep.cluster import Cluster
    except ImportError as err:
        return f"not measured: {err}"
    with (
        LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Cluster(cluster.scheduler_address) as executor,
    ):
        swept(4, executor)
        return {"wall": swept(trials, executor)[0]}


if __name__ == "__main__":
    table, scratch, store, seconds = sys.argv[1:]
    found = measure(Path(table), Path(scratch), store, float(seconds))
    (Path(scratch) / "cost.json").write_text(json.dumps(found))
