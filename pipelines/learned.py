"""Which rows a model has learned from, kept beside it as fingerprints."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.errors import DataError
from pipelines.split import hash_rows

if TYPE_CHECKING:
    from pipelines.data import DataSettings
    from pipelines.features import Roles

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Learned:
    """The rows that a model was fitted on or chosen by.

    A row is known again by its id, or without one by what the model can see of it and the
    time: other columns may come, widen or go, and rows may be added, in any order.

    Parameters
    ----------
    columns : tuple of str
        What names a row.
    hashes : ndarray of uint64, shape (n_different_rows,)
        Sorted, each once. Two different rows share one with a chance of 2 ** -64.
    """

    columns: tuple[str, ...]
    hashes: NDArray[np.uint64]

    def marks(self, frame: pd.DataFrame) -> NDArray[np.bool_]:
        """Say which rows of a table are among the learned ones.

        Returns
        -------
        ndarray of bool, shape (n_rows,)

        Raises
        ------
        DataError
            A column that names the rows is gone, or holds nothing in some row.
        """
        missing = [column for column in self.columns if column not in frame.columns]
        if missing:
            raise DataError(
                "The columns that name the rows which a model learned from are in the table.",
                found=f"{len(missing)} missing: {', '.join(missing[:_SHOWN])}",
                next_move="bring them back, or train the model again on the table as it is now",
            )
        return np.isin(_hashes(frame, self.columns), self.hashes)

    def save(self, path: Path) -> None:
        """Write one .npz file."""
        np.savez(path, columns=np.array(self.columns, dtype=np.str_), hashes=self.hashes)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as kept:
            return cls(tuple(kept["columns"].tolist()), kept["hashes"])


def learned_of(frame: pd.DataFrame, settings: "DataSettings", roles: "Roles") -> Learned:
    """Take the fingerprints of the rows that a model learns from.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        The rows that it is fitted on, and those that choose its configuration.
    settings : DataSettings
    roles : Roles
        The columns that it reads.

    Raises
    ------
    DataError
        There is an id column, and a row without an id.
    """
    columns: tuple[str, ...]
    if settings.id is not None:
        columns = (settings.id,)
    else:
        time = () if settings.time is None else (settings.time,)
        columns = tuple(sorted({*roles.columns, settings.target, *time}))
    return Learned(columns, np.unique(_hashes(frame, columns)))


def _hashes(frame: pd.DataFrame, columns: tuple[str, ...]) -> NDArray[np.uint64]:
    if len(columns) == 1 and frame[columns[0]].isna().any():
        absent = int(frame[columns[0]].isna().sum())
        raise DataError(
            "Each row has an id, which tells whether a model has learned from it.",
            found=f"{absent} of {len(frame)} rows of {columns[0]!r} have none",
            next_move="fill them at the source, or take data.id out of tidegate.toml",
        )
    return hash_rows(frame[list(columns)])
