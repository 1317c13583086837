"""Which trials are worth another pass: floors that most others had reached by then.

A trial is compared at a few rungs, each three times as many epochs as the one before, with
the trials of its family that were known when it began: asynchronous successive halving [1]_
with the floors fixed beforehand, so that a worker decides alone and the outcome does not
depend on how many workers there are.

References
----------
.. [1] L. Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020,
   https://arxiv.org/abs/1810.05934
"""

from collections.abc import Iterable

import numpy as np

from pipelines.sweep.trial import Trial

RUNGS = (1, 3, 9, 27, 81, 243)
"""Epochs after which a trial is compared."""

KEPT = 0.5
"""Share of the trials at a rung that would be let through."""

MINIMUM_TRIALS = 4
"""Fewer trials at a rung say too little."""


def floors(known: Iterable[Trial]) -> dict[int, float]:
    """Return the score to have reached by each rung, from trials of the same family."""
    curves = [trial.curve for trial in known if trial.state != "FAILED"]
    found: dict[int, float] = {}
    for rung in RUNGS:
        reached = [
            max(point.score for point in curve[:rung]) for curve in curves if len(curve) >= rung
        ]
        if len(reached) < MINIMUM_TRIALS:
            break
        found[rung] = float(np.quantile(reached, 1 - KEPT))
    return found
