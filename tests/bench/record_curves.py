"""Record learning curves for the simulator of the sweep: run by hand, some six minutes of a core.

From this folder, with the tables and the space of ``make bench-sweep``:
``OPENBLAS_NUM_THREADS=1 PYTHONPATH=../..:. python record_curves.py [table ...]``.
Writes ``tests/pipelines/sweep/curves/<table>.npz``.

Three sorts of networks are trained to their end on each table, and measured at each epoch:
random ones, of which the target is made; the family's starting points; and neighbours of the
best random ones, since a search that learns spends its time there, where random ones are few.
The seeds are others than those of the bench's targets.
"""

import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sweep.space import ALPHA, BATCHES, EPOCHS, LAYERS, MOMENTUM, RATE, WIDTHS, Params, draw
from sweep.tables import RACED, Matrices, write

from pipelines.models.families import FAMILIES
from pipelines.models.learner import Rows
from pipelines.sweep.scoring import log_loss

CURVES = Path(__file__).parents[1] / "pipelines" / "sweep" / "curves"
RANDOM, NEIGHBOURS, BEST = 200, 80, 20
MOST_ROWS = 6_000
"""Rows to learn from, spread over the table, so that recording it takes a few minutes."""

SEED = 70_000
STEP = 0.15
"""How far a neighbour lies, as a share of each range."""


def neighbour(rng: np.random.Generator, params: Params) -> Params:
    """Move a little in everything that is a number, and keep the rest."""

    def log(value: float, low: float, high: float) -> float:
        step = rng.normal() * STEP * np.log(high / low)
        return float(np.clip(value * np.exp(step), low, high))

    def among(value: int, values: tuple[int, ...]) -> int:
        place = values.index(value) + rng.integers(-1, 1, endpoint=True)
        return values[int(np.clip(place, 0, len(values) - 1))]

    near = {
        **params,
        "layers": int(np.clip(params["layers"] + rng.integers(-1, 1, endpoint=True), *LAYERS)),
        "width": among(params["width"], WIDTHS),
        "learning_rate_init": log(params["learning_rate_init"], *RATE),
        "alpha": log(params["alpha"], *ALPHA),
        "batch_size": among(params["batch_size"], BATCHES),
    }
    if "momentum" in params:
        step = rng.normal() * STEP * (MOMENTUM[1] - MOMENTUM[0])
        near["momentum"] = float(np.clip(params["momentum"] + step, *MOMENTUM))
    return near


def train(table: Matrices, params: Params, seed: int) -> Iterator[tuple[int, float]]:
    """Yield how many validation rows are right, and the loss, after each epoch."""
    classes, codes = np.unique(table.y_train, return_inverse=True)
    rows = Rows(table.X_train, table.y_train, codes, classes)
    true = np.searchsorted(classes, table.y_validation)
    learner = FAMILIES["mlp"].start(params, seed=seed, rows=len(table.X_train))
    for epoch in range(1, EPOCHS + 1):
        try:
            learner.advance(rows, epoch)
            probabilities = learner.predict_proba(table.X_validation)
        except (FloatingPointError, ValueError):
            return
        if not np.isfinite(probabilities).all():
            return
        right = int(np.sum(probabilities.argmax(axis=1) == true))
        yield right, log_loss(true, probabilities)


def fewer(table: Matrices) -> Matrices:
    """Return the table with no more than `MOST_ROWS` rows to learn from."""
    last = len(table.y_train) - 1
    places = np.unique(np.linspace(0, last, MOST_ROWS).astype(np.intp))
    return replace(table, X_train=table.X_train[places], y_train=table.y_train[places])


def record(table: Matrices) -> dict[str, np.ndarray]:
    """Train every network and return the table of them, one a row.

    ``right`` is -1, and ``loss`` not a number, at the epochs after one has diverged.
    """
    rng = np.random.default_rng(SEED)
    kinds: list[str] = []
    told: list[Params] = []
    right = np.full((0, EPOCHS), -1, np.int16)
    loss = np.full((0, EPOCHS), np.nan, np.float16)

    def add(kind: str, params: Params) -> None:
        nonlocal right, loss
        curve = list(train(table, params, SEED + len(told)))
        kinds.append(kind)
        told.append(params)
        rest = EPOCHS - len(curve)
        right = np.vstack([right, np.int16([x for x, _ in curve] + [-1] * rest)])
        loss = np.vstack([loss, np.float16([x for _, x in curve] + [np.nan] * rest)])

    for _ in range(RANDOM):
        add("random", draw(rng))
    best = np.argsort(-right[:, -1], kind="stable")[:BEST]
    for start in FAMILIES["mlp"].starts():
        add("start", dict(start))
    for place in range(NEIGHBOURS):
        add("neighbour", neighbour(rng, told[best[place % BEST]]))
    numbers = ("layers", "width", "learning_rate_init", "momentum", "alpha", "batch_size")
    return {
        "kind": np.array(kinds),
        "solver": np.array([params["solver"] for params in told]),
        **{
            name: np.array([params.get(name, np.nan) for params in told], np.float64)
            for name in numbers
        },
        "right": right,
        "loss": loss,
        "rows": np.array([*table.X_train.shape, len(np.unique(table.y_train))]),
        "validation_rows": np.array(len(table.y_validation)),
    }


def main(names: list[str]) -> None:
    """Record the named tables, or all of them."""
    CURVES.mkdir(exist_ok=True)
    for name in names or RACED:
        with TemporaryDirectory() as folder:
            write(name, Path(folder))
            table = fewer(Matrices.load(Path(folder)))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            np.savez_compressed(CURVES / f"{name}.npz", **record(table))
        print(name, (CURVES / f"{name}.npz").stat().st_size, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
