"""The drift scores of Evidently's preset, which say how far and not whether it is chance.

They are there to be compared with: same methods, same values, faster by far.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from checks.drift.cells import counts_of, known_numbers

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

FEW_VALUES = 5
"""Different numbers up to which Evidently's preset takes a column for categories."""

_LEAST_SPREAD = 0.001


def drift_scores(
    reference: "pd.DataFrame",
    current: "pd.DataFrame",
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
) -> dict[str, float]:
    """Return what Evidently's ``DataDriftPreset`` scores by default, with over 1,000 rows.

    Parameters
    ----------
    reference, current : DataFrame of shape (n_rows, n_columns)
    numeric, categorical : sequence of str
        Columns with a value on either side.

    Returns
    -------
    dict
        For numbers the Wasserstein distance over the reference's standard deviation, for
        categories, and numbers of at most `FEW_VALUES` different values, the Jensen-Shannon
        distance.
    """
    scores = {}
    for column in numeric:
        before, after = (np.sort(known_numbers(side[column])) for side in (reference, current))
        if 1 + np.count_nonzero(np.diff(before)) > FEW_VALUES:
            scores[column] = wasserstein(before, after) / max(float(before.std()), _LEAST_SPREAD)
        else:
            scores[column] = jensen_shannon(_rows(before), _rows(after))
    for column in categorical:
        scores[column] = jensen_shannon(counts_of(reference[column]), counts_of(current[column]))
    return scores


def wasserstein(before: "NDArray[np.float64]", after: "NDArray[np.float64]") -> float:
    """Return the first Wasserstein distance of two sorted samples.

    It is the area between their quantile functions, which are flat between the steps of either
    (Vallender, "Calculation of the Wasserstein distance between probability distributions on
    the line", Theory of Probability and its Applications 18, 1974).
    """
    if len(before) == len(after):
        return float(np.abs(before - after).mean())
    # Steps in units of 1 / (len(before) · len(after)): whole numbers, so none is lost. Two rising
    # runs are merged by a stable sort; a step that both make counts twice, with no width.
    own = np.arange(1, len(before) + 1, dtype=np.int64) * len(after)
    other = np.arange(1, len(after) + 1, dtype=np.int64) * len(before)
    steps = np.sort(np.concatenate([own, other]), kind="stable")
    apart = np.abs(before[(steps - 1) // len(after)] - after[(steps - 1) // len(before)])
    return float(apart @ np.diff(steps, prepend=0)) / len(before) / len(after)


def jensen_shannon(before: "dict[str, int]", after: "dict[str, int]") -> float:
    """Return the Jensen-Shannon distance of two samples of categories, by natural logarithms."""
    from scipy.spatial.distance import jensenshannon

    levels = [*before, *(level for level in after if level not in before)]
    sides = [[side.get(level, 0) for level in levels] for side in (before, after)]
    return float(jensenshannon(*sides))


def _rows(values: "NDArray[np.float64]") -> dict[str, int]:
    found, rows = np.unique(values, return_counts=True)
    return dict(zip(map(str, found), rows.tolist(), strict=True))
