"""Which rows are held out in turn, when the search chooses by cross-validation."""

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import DataError


def assign_folds(y: NDArray[np.generic], count: int, seed: int) -> NDArray[np.intp]:
    """Return the fold of each row, the classes in proportion.

    Parameters
    ----------
    y : ndarray, shape (n_rows,)
    count, seed : int

    Returns
    -------
    ndarray of intp, shape (n_rows,)

    Raises
    ------
    DataError
        A class has fewer rows than there are folds.
    """
    from sklearn.model_selection import StratifiedKFold

    classes, rows = np.unique(y, return_counts=True)
    if rows.min() < count:
        raise DataError(
            "Each fold holds every class.",
            found=f"{count} folds, and {rows.min()} training rows of {classes[rows.argmin()]}",
            next_move="lower train.folds, or leave the class out",
        )
    folds = np.empty(len(y), dtype=np.intp)
    splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(np.zeros(len(y)), y)):
        folds[held_out] = fold
    return folds
