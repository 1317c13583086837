"""How far one sample is from another, and whether that is chance.

Both samples are random here: the reference is no exact distribution.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from checks.drift.cells import Counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_EXPECTED = 5.0
"""Fewest expected rows of a cell for which chi-square's approximation holds (Cochran 1954)."""

_MIRACLE = math.log(1e-12)


@dataclass(frozen=True, eq=False)
class Shift:
    """How far one sample is from another.

    Parameters
    ----------
    p_value : float
        Of the two samples coming from one distribution.
    effect : float
        The distance, from 0 to 1.
    seen_from : callable
        Takes a level of significance and returns the smallest effect that samples of these
        sizes are sure to show at it.
    testable : bool
        False where no outcome could have been significant, given how many rows there are of
        each kind on both sides together: such a test cannot err, so others need not pay for it
        (Tarone, "A modified Bonferroni method for discrete data", Biometrics 46, 1990).
    """

    p_value: float
    effect: float
    seen_from: Callable[[float], float]
    testable: bool = True


def ks_shift(reference: "NDArray[np.float64]", current: "NDArray[np.float64]") -> Shift:
    """Compare two samples of numbers by the two-sample Kolmogorov-Smirnov test.

    The distance is the one that `scipy.stats.ks_2samp` finds, and so is its asymptotic p-value:
    with ties it is conservative, never too small. What surely is seen follows from Massart's
    constant ("The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality", Annals of
    Probability 18, 1990).

    Parameters
    ----------
    reference, current : ndarray of shape (n_values,)
        Without missing values, in any order.
    """
    from scipy.stats import kstwo

    few, many = sorted((reference, current), key=len)
    many = np.sort(many)
    # Between two neighbours of the smaller sample its own distribution stands still, so the
    # two are furthest apart at one of its values or right before it.
    values, ties = np.unique(few, return_counts=True)
    own = np.cumsum(ties)
    at = np.searchsorted(many, values, side="right") / len(many) - own / len(few)
    before = np.searchsorted(many, values, side="left") / len(many) - (own - ties) / len(few)
    distance = float(max(np.abs(at).max(), np.abs(before).max()))
    size = len(few) * len(many) / (len(few) + len(many))
    return Shift(
        float(np.clip(kstwo.sf(distance, np.round(size)), 0.0, 1.0)),
        distance,
        lambda alpha: min(1.0, math.sqrt(math.log(2.0 / alpha) / 2.0 / size)),
    )


def homogeneity_shift(reference: Counts, current: Counts) -> Shift | None:
    """Compare two samples of categories by chi-square's test of homogeneity.

    Levels whose expected count is below `LEAST_EXPECTED` on either side are pooled (Cochran,
    "Some methods for strengthening the common chi-square tests", Biometrics 10, 1954). The
    effect is the total variation distance between the shares. None where no two cells remain to
    compare, since nearly every row has a level of its own.
    """
    from scipy.stats import chi2, chi2_contingency

    # (n_levels, 2), the commonest level first.
    table = _table(reference, current)
    table = table[np.argsort(-table.sum(axis=1), kind="stable")]
    if len(table) == 1:
        return Shift(1.0, 0.0, lambda alpha: 1.0, testable=False)
    sides = table.sum(axis=0)
    smaller = sides.min() / sides.sum()
    rare = table.sum(axis=1) * smaller < LEAST_EXPECTED
    kept, pooled = table[~rare], table[rare].sum(axis=0)
    if pooled.sum() * smaller >= LEAST_EXPECTED:
        kept = np.vstack([kept, pooled])
    elif len(kept):
        # Too few even together: they join the rarest level that is kept.
        kept[-1] += pooled
    if len(kept) < 2:
        return None
    before, after = (kept / kept.sum(axis=0)).T
    size = float(sides.prod() / sides.sum())
    freedom = len(kept) - 1

    def seen_from(alpha: float) -> float:
        # Chi-square is size · sum((after - before)² / pooled), and by Cauchy-Schwarz no less
        # than size · (2 · effect)², wherever the shift lies.
        return min(1.0, 0.5 * math.sqrt(float(chi2.isf(alpha, freedom)) / size))

    p_value = chi2_contingency(kept, correction=False).pvalue
    return Shift(float(p_value), float(np.abs(before - after).sum() / 2), seen_from)


def missing_shift(missing: tuple[int, int], rows: tuple[int, int]) -> Shift:
    """Compare two shares of missing cells by Fisher's exact test.

    Parameters
    ----------
    missing, rows : tuple of two int
        Missing cells and all of them, in the reference and in the window.
    """
    from scipy.stats import fisher_exact, norm

    if not sum(missing):
        return Shift(1.0, 0.0, lambda alpha: _new_share(alpha, rows), testable=False)
    shares = missing[0] / rows[0], missing[1] / rows[1]
    counts = [[empty, every - empty] for empty, every in zip(missing, rows, strict=True)]
    pooled = sum(missing) / sum(rows)
    spread = math.sqrt(max(pooled * (1 - pooled), 0.0) * (1 / rows[0] + 1 / rows[1]))
    p_value = 1.0 if shares[0] == shares[1] else float(fisher_exact(counts).pvalue)
    return Shift(
        min(p_value, 1.0),
        abs(shares[0] - shares[1]),
        lambda alpha: max(_new_share(alpha, rows), float(norm.isf(alpha / 2)) * spread),
    )


def new_levels_shift(reference: Counts, current: Counts) -> Shift:
    """Ask whether so many rows of the window may have levels that the reference has not.

    A level that is rare is easily missed by the reference, so some new ones are to be expected.
    Were both one sample, cut in two at random, a level of ``c`` rows would lie in the window as
    a whole with a hypergeometric chance; such events are negatively associated (Joag-Dev and
    Proschan, Annals of Statistics 11, 1983), hence Chernoff's bound of their sum holds as it
    would for independent ones. The p-value is that bound: never too small. The effect is the
    share of the window's rows with a new level.
    """
    from scipy.special import gammaln

    table = _table(reference, current)
    before, after = (int(side) for side in table.sum(axis=0))
    rows = before + after
    new = float(table[table[:, 0] == 0, 1].sum())
    if not new:
        return Shift(1.0, 0.0, lambda alpha: _new_share(alpha, (before, after)))
    sizes, levels = np.unique(table.sum(axis=1), return_counts=True)
    fits = sizes <= after
    sizes, levels = sizes[fits], levels[fits]
    # Logarithm of C(after, size) / C(rows, size).
    chance = gammaln(after + 1) - gammaln(after - sizes + 1)
    chance = np.minimum(chance - gammaln(rows + 1) + gammaln(rows - sizes + 1), 0.0)
    # A common level would have to lie there by a miracle. That is a chance of its own, since in
    # the sum its many rows would loosen the bound.
    common = chance < _MIRACLE
    miracle = float((levels * np.exp(chance))[common].sum())
    sizes, levels, chance = sizes[~common], levels[~common], chance[~common]
    other = np.log1p(-np.exp(np.minimum(chance, -1e-12)))
    tilts = np.concatenate([[0.0], np.geomspace(1e-7, 60.0, 240)])[:, None]
    bounds = (levels * np.logaddexp(other, chance + tilts * sizes)).sum(axis=1) - tilts[:, 0] * new
    bound = float(np.exp(min(0.0, bounds.min())))
    return Shift(
        min(1.0, bound + miracle),
        new / after,
        lambda alpha: _new_share(alpha, (before, after)),
    )


def _table(reference: Counts, current: Counts) -> "NDArray[np.float64]":
    """Return the rows of each level on either side, of shape (n_levels, 2)."""
    levels = [*reference, *(level for level in current if level not in reference)]
    sides = [[side.get(level, 0) for level in levels] for side in (reference, current)]
    return np.array(sides, dtype=np.float64).T


def _new_share(alpha: float, rows: tuple[int, int]) -> float:
    """Return the share of the window that must be of a new kind not to be there by chance.

    All ``c`` rows of a kind are in the window with a chance of at most its share of all rows to
    the power of ``c``.
    """
    before, after = rows
    if not before or not after:
        return 1.0
    return min(1.0, math.ceil(math.log(alpha) / math.log(after / (before + after))) / after)
