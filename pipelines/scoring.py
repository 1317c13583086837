"""Scoring a table: the rows as they came, with what the model says beside them."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pipelines.errors import InputError, ServiceError
from pipelines.features import Roles, conform

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

PREDICTION = "prediction"
PROBABILITY = "probability_"


def score(model: "Pipeline", frame: pd.DataFrame, roles: Roles) -> pd.DataFrame:
    """Predict every row.

    Parameters
    ----------
    model : Pipeline
        A fitted classifier over conformed frames.
    frame : DataFrame of shape (n_rows, n_columns)
        With at least the columns of ``roles``.
    roles : Roles

    Returns
    -------
    DataFrame of shape (n_rows, n_columns + 1 + n_classes)
        The frame, then ``prediction`` and a ``probability_<class>`` for each class.

    Raises
    ------
    DataError
        A column that the model reads is missing, or holds words where it reads numbers.
    """
    rows = conform(frame, roles)
    probabilities = model.predict_proba(rows)
    answers = {PREDICTION: model.classes_[probabilities.argmax(axis=1)]} | {
        f"{PROBABILITY}{label}": probabilities[:, place]
        for place, label in enumerate(model.classes_)
    }
    return pd.concat([frame, pd.DataFrame(answers, index=frame.index)], axis=1)


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as .csv or .parquet: whole, or not at all.

    Raises
    ------
    InputError
        The ending names no format.
    ServiceError
        The folder cannot be written, or the disk is full.
    """
    if path.suffix not in {".csv", ".parquet"}:
        raise InputError(
            "Predictions are written as .csv or .parquet.",
            found=str(path),
            next_move="give the output one of these endings",
        )
    partial = path.with_name(f".{path.name}.partial")
    try:
        if path.suffix == ".csv":
            frame.to_csv(partial, index=False)
        else:
            frame.to_parquet(partial, index=False)
        partial.replace(path)
    except OSError as err:
        partial.unlink(missing_ok=True)
        raise ServiceError(
            "Predictions are written to the file that -o names.",
            found=f"{path}: {err.strerror or err}",
            next_move="free some space, or name a folder that can be written",
        ) from err
