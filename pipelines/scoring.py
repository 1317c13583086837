"""Scoring a table: the rows as they came, with what the model says beside them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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

HELD_OUT = "tidegate_held_out"
"""Column of a reference sample: whether the row chose the model, and taught it nothing."""


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
    taken = answer_columns(model.classes_, roles)
    if frame.empty:
        raise DataError(
            "A table to score has at least one row.",
            found="no rows",
            next_move="check the file, or the query",
        )
    predictions, probabilities = answer(model, conform(frame, roles))
    return beside(frame, taken, predictions, probabilities)


def answer_columns(classes: Sequence[Any], roles: Roles) -> list[str]:
    """Return what the columns of an answer are called.

    Raises
    ------
    DataError
        The model reads a column that bears such a name.
    """
    taken = [PREDICTION, *(f"{PROBABILITY}{label}" for label in classes)]
    clash = sorted(set(taken) & set(roles.columns))
    if clash:
        raise DataError(
            "Predictions are written beside the columns that they come from.",
            found=f"the model reads a column named {clash[0]}",
            next_move="rename it at the source and train again",
        )
    return taken


def beside(
    frame: pd.DataFrame,
    taken: Sequence[str],
    predictions: NDArray[Any],
    probabilities: NDArray[np.floating[Any]],
) -> pd.DataFrame:
    """Return the frame with its answers as the last columns, in place of earlier ones.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
    taken : sequence of 1 + n_classes str
        See `answer_columns`.
    predictions : ndarray of shape (n_rows,)
    probabilities : ndarray of shape (n_rows, n_classes)
    """
    shares = {name: probabilities[:, place] for place, name in enumerate(taken[1:])}
    answers = pd.DataFrame({taken[0]: predictions} | shares, index=frame.index)
    return pd.concat([frame.drop(columns=list(taken), errors="ignore"), answers], axis=1)


def check_output(path: Path) -> None:
    """Refuse a place where no table can be written.

    Raises
    ------
    InputError
        The ending names no format, or the folder is not there.
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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file to write, which takes the place of ``path`` once it is whole.

    Raises
    ------
    InputError
        Parquet cannot hold a column.
    ServiceError
        The folder cannot be written, or the disk is full.
    """
    # Beside the target, so that the last step is a rename on one disk; named by process, so
    # that two of them cannot mix.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
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


def write_table(frame: pd.DataFrame, path: Path, *, header: bool = True) -> None:
    """Write a table as .csv or .parquet: whole, or not at all.

    Parameters
    ----------
    frame : DataFrame
    path : Path
    header : bool
        Whether a CSV file begins with the names of its columns.

    Raises
    ------
    InputError
        The ending names no format, the folder is not there, or Parquet cannot hold a column.
    ServiceError
        The folder cannot be written, or the disk is full.
    """
    check_output(path)
    with replacing(path) as partial:
        if path.suffix.lower() == ".csv":
            frame.to_csv(partial, index=False, header=header)
        else:
            frame.to_parquet(partial, index=False)
