"""Scoring a table: the rows as they came, with what the model says beside them."""

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import FixedThresholdClassifier

from pipelines.errors import DataError, InputError, ServiceError
from pipelines.features import Roles, conform

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

PREDICTION = "prediction"
PROBABILITY = "probability_"


def answer(
    model: "Pipeline | FixedThresholdClassifier", rows: pd.DataFrame
) -> tuple[NDArray[Any], NDArray[np.floating[Any]]]:
    """Return what ``predict`` and ``predict_proba`` do, for the price of one.

    Nearly all of an answer's time goes into preparing the rows, which each would do anew.

    Parameters
    ----------
    model : Pipeline, or FixedThresholdClassifier around one
        A fitted classifier.
    rows : DataFrame of shape (n_rows, n_columns)
        Conformed.

    Returns
    -------
    predictions : ndarray of shape (n_rows,)
    probabilities : ndarray of shape (n_rows, n_classes)
        In the order of the model's ``classes_``.
    """
    probabilities = model.predict_proba(rows)
    if not isinstance(model, FixedThresholdClassifier):
        return model.classes_[probabilities.argmax(axis=1)], probabilities
    positive = int(np.flatnonzero(model.classes_ == model.pos_label)[0])
    reached = probabilities[:, positive] >= model.threshold
    return model.classes_[np.where(reached, positive, 1 - positive)], probabilities


def score(
    model: "Pipeline | FixedThresholdClassifier", frame: pd.DataFrame, roles: Roles
) -> pd.DataFrame:
    """Predict every row.

    Parameters
    ----------
    model : Pipeline, or FixedThresholdClassifier around one
        A fitted classifier over conformed frames.
    frame : DataFrame of shape (n_rows, n_columns)
        With at least the columns of ``roles``.
    roles : Roles

    Returns
    -------
    DataFrame of shape (n_rows, n_columns + 1 + n_classes)
        The frame, then ``prediction`` and a ``probability_<class>`` for each class, in place
        of columns so named from an earlier scoring.

    Raises
    ------
    DataError
        There is no row; a column that the model reads is missing, holds words where it reads
        numbers, or bears a name that the answers take.
    """
    taken = [PREDICTION, *(f"{PROBABILITY}{label}" for label in model.classes_)]
    clash = sorted(set(taken) & set(roles.columns))
    if clash:
        raise DataError(
            "Predictions are written beside the columns that they come from.",
            found=f"the model reads a column named {clash[0]}",
            next_move="rename it at the source and train again",
        )
    if frame.empty:
        raise DataError(
            "A table to score has at least one row.",
            found="no rows",
            next_move="check the file, or the query",
        )
    rows = conform(frame, roles)
    frame = frame.drop(columns=taken, errors="ignore")
    predictions, probabilities = answer(model, rows)
    answers = {PREDICTION: predictions} | {
        f"{PROBABILITY}{label}": probabilities[:, place]
        for place, label in enumerate(model.classes_)
    }
    return pd.concat([frame, pd.DataFrame(answers, index=frame.index)], axis=1)


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as .csv or .parquet: whole, or not at all.

    Raises
    ------
    InputError
        The ending names no format, the folder is not there, or Parquet cannot hold a column.
    ServiceError
        The folder cannot be written, or the disk is full.
    """
    if path.suffix.lower() not in {".csv", ".parquet"}:
        raise InputError(
            "Predictions are written as .csv or .parquet.",
            found=str(path),
            next_move="give the output one of these endings",
        )
    if not path.parent.is_dir():
        raise InputError(
            "Predictions are written to a folder that is there.",
            found=f"no folder {path.parent}",
            next_move="make it first, or name another with -o",
        )
    # Beside the target, so that the last step is a rename on one disk; named by process, so
    # that two of them cannot mix.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        if path.suffix.lower() == ".csv":
            frame.to_csv(partial, index=False)
        else:
            frame.to_parquet(partial, index=False)
        partial.replace(path)
    except OSError as err:
        raise ServiceError(
            "Predictions are written to the file that -o names.",
            found=f"{path}: {err.strerror or err}",
            next_move="free some space, or name a folder that can be written",
        ) from err
    except (ValueError, TypeError) as err:
        raise InputError(
            "A Parquet column holds values of one type.",
            found=str(err).splitlines()[0][:200],
            next_move="write .csv, or mend that column at the source",
        ) from err
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
