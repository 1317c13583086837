"""Can a classifier tell the window from the reference?

It finds what no single column shows: two columns that still look as they did, but no longer go
together.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from checks.drift.cells import coded, numbers_of
from checks.drift.shift import Shift

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

TOGETHER_ROWS = 2_000
"""Most rows of either side that the classifier sees: half to learn from, half to be judged by."""

_LEARNER = {
    "max_iter": 30,
    "learning_rate": 0.2,
    "max_leaf_nodes": 8,
    "early_stopping": False,
    "random_state": 0,
}


def together_shift(
    reference: "pd.DataFrame",
    current: "pd.DataFrame",
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
    seed: int = 0,
) -> tuple[Shift, tuple[int, int]]:
    """Train a classifier to tell the samples apart, and test it on rows that it has not seen.

    Given the classifier, the scores of unseen rows are two samples of one distribution when the
    rows are, so the rank-sum test of Mann and Whitney holds its level exactly as it does
    anywhere (Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017). The
    effect is the area under the ROC curve on those rows: 0.5 when nothing is told apart.

    Parameters
    ----------
    reference, current : DataFrame of shape (n_rows, n_columns)
        At most `TOGETHER_ROWS` of either are drawn.
    numeric, categorical : sequence of str
        Columns that both have.
    seed : int
        Of the draw.

    Returns
    -------
    Shift, tuple of two int
        And the unseen rows of either that it was tested on.
    """
    from scipy.stats import mannwhitneyu, norm
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(seed)
    drawn = [side.iloc[rng.permutation(len(side))[:TOGETHER_ROWS]] for side in (reference, current)]
    X = _encoded(drawn, numeric, categorical)
    sides = np.repeat([0, 1], [len(side) for side in drawn])
    # Both are in a random order already.
    learned = np.concatenate([np.arange(len(side)) % 2 == 0 for side in drawn])
    model = HistGradientBoostingClassifier(**_LEARNER)
    # The rows are few: threads would wait for each other.
    with threadpool_limits(1):
        model.fit(X[learned], sides[learned])
        scores = model.decision_function(X[~learned])
    held = sides[~learned]
    after, before = scores[held == 1], scores[held == 0]
    found = mannwhitneyu(after, before, alternative="greater", method="asymptotic")
    spread = math.sqrt((len(held) + 1) / 12 / len(after) / len(before))
    p_value = float(found.pvalue)
    shift = Shift(
        1.0 if math.isnan(p_value) else p_value,
        float(found.statistic) / len(after) / len(before),
        lambda alpha: min(1.0, 0.5 + float(norm.isf(alpha)) * spread),
    )
    return shift, (len(before), len(after))


def _encoded(
    sides: "Sequence[pd.DataFrame]", numeric: Sequence[str], categorical: Sequence[str]
) -> "NDArray[np.float64]":
    """Return both sides, one under the other; a level is its rank by frequency in the two."""
    import pandas as pd

    columns: list[NDArray[np.float64]] = [
        np.concatenate([numbers_of(side[column]) for side in sides]) for column in numeric
    ]
    for column in categorical:
        cells: pd.Series[Any] = pd.concat([side[column].astype(object) for side in sides])
        codes, names = coded(cells)
        same = pd.factorize(np.array(names, dtype=object))[0]
        levels = same[codes] if len(same) else codes
        known = codes >= 0
        counts = np.bincount(levels[known], minlength=1)
        ranks = np.empty(len(counts))
        ranks[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
        columns.append(np.where(known, ranks[np.where(known, levels, 0)], np.nan))
    return np.column_stack(columns)
