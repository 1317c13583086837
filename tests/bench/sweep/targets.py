"""What a contestant has to reach: a score that one random configuration in twenty ends at."""

import json
import math
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from sweep.space import EPOCHS, declared, draw, network
from sweep.tables import Matrices

FILE = Path(__file__).parents[1] / "sweep_targets.json"
CONFIGURATIONS = 300
PERCENTILE = 95.0
SEED = 20_000
"""Of the first configuration; no contestant is given one of these seeds."""


def targets() -> dict[str, float]:
    """Return the committed target of each data set.

    Raises
    ------
    ValueError
        They were computed for another space.
    """
    kept = json.loads(FILE.read_text())
    if kept["space"] != json.loads(json.dumps(declared())) or kept["epochs"] != EPOCHS:
        raise ValueError(f"{FILE.name} is of another space: run with --targets")
    return {name: table["target"] for name, table in kept["tables"].items()}


def compute(folders: dict[str, Path], workers: int, show: Callable[[str], None]) -> None:
    """Train random configurations to their end on each data set, and keep where they ended.

    Kept after each data set, so that those before it survive what happens to one.
    """
    tables: dict[str, Any] = {}
    for name, folder in folders.items():
        began, scores = time.monotonic(), []
        for score in _ends(folder, workers):
            scores.append(score)
            if len(scores) % 20 == 0:
                took = time.monotonic() - began
                show(f"target of {name}: {len(scores)} of {CONFIGURATIONS}, {took:.0f} s")
        # Rounded down: one that scores just so has reached it.
        target = math.floor(1e6 * np.percentile(scores, PERCENTILE)) / 1e6
        tables[name] = {
            "target": target,
            "best": max(scores),
            "median": float(np.median(scores)),
            "reached_by": sum(score >= target for score in scores),
            "scores": [round(score, 6) for score in scores],
        }
        kept = {
            "configurations": CONFIGURATIONS,
            "percentile": PERCENTILE,
            "seed": SEED,
            "epochs": EPOCHS,
            "space": declared(),
            "tables": tables,
        }
        FILE.write_text(json.dumps(kept, indent=1) + "\n")


def _ends(folder: Path, workers: int) -> Iterator[float]:
    # Spawned: a worker reads the number of BLAS threads as it loads numpy.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_end, [folder] * CONFIGURATIONS, range(SEED, SEED + CONFIGURATIONS))


def _end(folder: Path, seed: int) -> float:
    """Return the accuracy after the last epoch; 0 of one that diverged."""
    table = _loaded(folder)
    estimator = network(draw(np.random.default_rng(seed)), seed)
    classes = np.unique(table.y_train)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            for _ in range(EPOCHS):
                estimator.partial_fit(table.X_train, table.y_train, classes=classes)
            score = estimator.score(table.X_validation, table.y_validation)
        except ValueError:
            score = 0.0
    return float(score)


@cache
def _loaded(folder: Path) -> Matrices:
    return Matrices.load(folder)
