"""The data sets: matrices for every contestant, and the frames that tidegate makes them of."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FLIGHTS = Path(__file__).parents[3] / "pipelines" / "samples" / "flights"
SIDES = ("train", "validation", "sealed")


@dataclass(frozen=True)
class Matrices:
    """What is fitted, chosen and judged on; float32 features and whole numbers as labels."""

    X_train: np.ndarray
    y_train: np.ndarray
    X_validation: np.ndarray
    y_validation: np.ndarray
    X_sealed: np.ndarray
    y_sealed: np.ndarray

    @classmethod
    def load(cls, folder: Path) -> "Matrices":
        """Read what `write` wrote."""
        return cls(**{name: np.load(folder / f"{name}.npy") for name in cls.__annotations__})


def digits() -> dict[str, Any]:
    """Return scikit-learn's digits: ten classes, 64 grey values."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return _random_sides(X, y, 400, 400)


def synthetic(rows: int = 10_000) -> dict[str, Any]:
    """Return five classes of so many rows of 40 columns, half of them telling."""
    from sklearn.datasets import make_classification

    X, y = make_classification(
        rows,
        40,
        n_informative=20,
        n_redundant=5,
        n_classes=5,
        n_clusters_per_class=3,
        class_sep=0.8,
        flip_y=0.05,
        random_state=0,
    )
    return _random_sides(X, y, rows // 5, rows // 5)


def flights() -> dict[str, Any]:
    """Return the bundled sample, cut by time as its project file says."""
    from flows.project import Project
    from pipelines.data import read
    from pipelines.features import conform, roles_of
    from pipelines.split import learning_rows, sealed_rows

    project = Project.load(FLIGHTS)
    dataset = read(project.data, FLIGHTS)
    learning = learning_rows(dataset)
    frames = {
        "train": learning.train,
        "validation": learning.validation,
        "sealed": sealed_rows(dataset),
    }
    roles = roles_of(learning.train, project.data)
    target, positive = project.data.target, project.data.positive
    return {
        "roles": roles,
        "frames": {side: conform(frame, roles) for side, frame in frames.items()},
        "labels": {
            side: (frame[target] == positive).to_numpy(np.int64) for side, frame in frames.items()
        },
    }


RACED: dict[str, Callable[[], dict[str, Any]]] = {
    "digits": digits,
    "flights": flights,
    "synthetic": synthetic,
}
TABLES = {**RACED, "synthetic-long": lambda: synthetic(100_000)}
"""With one on which only the cost of a sweep is measured: its trials take ten times as long."""


def write(name: str, folder: Path) -> dict[str, Any]:
    """Write a data set's matrices and frames; return its shape.

    The matrices are those of tidegate's own preprocessing, fitted on the training rows.
    """
    from pipelines.features import conform, preprocessor

    table = TABLES[name]()
    folder.mkdir(parents=True, exist_ok=True)
    preprocess = preprocessor(table["roles"])
    preprocess.fit(conform(table["frames"]["train"], table["roles"]))
    rows, columns = {}, 0
    for side in SIDES:
        frame, labels = table["frames"][side], table["labels"][side]
        matrix = preprocess.transform(conform(frame, table["roles"]))
        assert matrix.dtype == np.float32
        np.save(folder / f"X_{side}.npy", np.ascontiguousarray(matrix))
        np.save(folder / f"y_{side}.npy", labels)
        frame.reset_index(drop=True).to_parquet(folder / f"{side}.parquet")
        rows[side], columns = len(matrix), matrix.shape[1]
    roles = {"numeric": table["roles"].numeric, "categorical": table["roles"].categorical}
    (folder / "roles.json").write_text(json.dumps(roles))
    return {"rows": rows, "columns": columns, "classes": len(np.unique(table["labels"]["train"]))}


def _random_sides(X: np.ndarray, y: np.ndarray, validation: int, sealed: int) -> dict[str, Any]:
    import pandas as pd
    from sklearn.model_selection import train_test_split

    from pipelines.features import Roles

    columns = tuple(f"x{n}" for n in range(X.shape[1]))
    frame, places = pd.DataFrame(X, columns=list(columns)), np.arange(len(X))
    rest, last = train_test_split(places, test_size=sealed, stratify=y, random_state=0)
    first, middle = train_test_split(rest, test_size=validation, stratify=y[rest], random_state=0)
    sides = dict(zip(SIDES, (first, middle, last), strict=True))
    return {
        "roles": Roles(columns, ()),
        "frames": {side: frame.iloc[rows] for side, rows in sides.items()},
        "labels": {side: y[rows].astype(np.int64) for side, rows in sides.items()},
    }
