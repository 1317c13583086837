"""Confidence intervals of shares, means and scores."""

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from checks.model.answers import Answers, NotJudgedError, class_name
from checks.model.scorers import METRICS, OF_ONE_CLASS, class_order, score

RESAMPLES = 1_000
"""Draws of the bootstrap: the ends of a 95% interval then lie among its 25 outermost."""

Interval: TypeAlias = tuple[float, float]

Draws: TypeAlias = NDArray[np.float64]
"""Shape (n_draws,): a score of each draw of the rows."""

# Scores that are the share of all rows that were answered well.
_SHARES = {
    "accuracy",
    "f1_micro",
    "precision_micro",
    "recall_micro",
    "recall_weighted",
    "top_k_accuracy",
}
# Rows times classes times draws of a score that ranks them: less than a second.
_RANKED = 50_000_000
_FEWEST_RESAMPLES = 200


def share_interval(count: int, of: int, confidence: float) -> Interval:
    """Return the confidence interval of a share.

    Wilson's score interval (Wilson 1927, J. Am. Stat. Assoc. 22, 209-212), as scipy has it: it
    holds for small counts and for shares near 0 and 1, where the normal one does not.
    """
    from scipy.stats import binomtest

    found = binomtest(count, of).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


def mean_interval(values: NDArray[Any], confidence: float) -> Interval:
    """Return the confidence interval of the mean of a value per row.

    The percentiles of the means of `RESAMPLES` draws of the rows, seeded.

    Parameters
    ----------
    values : ndarray of shape (n_rows,)
    confidence : float

    Raises
    ------
    NotJudgedError
        There is no row, or a value that is no finite number.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise NotJudgedError("a mean needs rows, and a finite number in each")
    # Sorted, since the order in which rows come may not decide what is drawn.
    sums, _ = draw_sums(np.sort(values), np.zeros(len(values), dtype=np.int64), 1)
    means = sums[:, 0] / len(values)
    return percentiles(means, means, float(values.mean()), confidence)


def score_interval(name: str, answers: Answers, confidence: float) -> Interval:
    """Return the confidence interval of a score; the score itself lies within.

    Wilson's for scores that are shares, such as accuracy and the recall of one class; for the
    rest the percentiles of scores of rows drawn with replacement (Efron and Tibshirani 1993,
    chapter 13), seeded: `RESAMPLES` of them, and for areas under a curve fewer, but 200 or
    more, where rows times classes exceed 50,000.

    A ratio that a draw leaves undefined, such as the recall of a class of which no row was
    drawn, counts as its worst: as 0 at the low end, as 1 at the high end. Ten rows of a class
    are missing from one draw in 20,000, which moves neither; a single row is missing from a
    third of them, and says nothing.

    Raises
    ------
    NotJudgedError
        The score is not defined for these rows, or an end would have to be infinite.
    ValueError
        scikit-learn refuses the rows.
    """
    value = score(name, answers)
    of = _share(name, answers)
    if of is not None:
        return share_interval(round(value * of), of, confidence)
    low, high = _drawn(name, _ordered(answers))
    ends = percentiles(low, high, value, confidence)
    if not all(math.isfinite(end) for end in ends):
        raise NotJudgedError(
            f"{name} is not defined for so many draws of these rows that its interval has no end"
        )
    return ends


def percentiles(low: Draws, high: Draws, value: float, confidence: float) -> Interval:
    """Return the ends of a bootstrap's interval, and never one that leaves the value out.

    Parameters
    ----------
    low, high : ndarray of shape (n_draws,)
        The score of each draw, for the low end and for the high one; they differ where a draw
        leaves it undefined.
    value : float
        The score of the rows themselves.
    confidence : float
    """
    tail = (1 - confidence) / 2
    # No mean of two draws: one of them may be infinite.
    lowest = float(np.quantile(low, tail, method="lower"))
    highest = float(np.quantile(high, 1 - tail, method="higher"))
    return min(lowest, value), max(highest, value)


def draw_matrices(
    confusion: NDArray[np.int64], draws: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the confusion matrices of draws of the rows with replacement.

    To draw rows is to draw cells, each as often as it has rows: a multinomial draw, exactly.

    Parameters
    ----------
    confusion : ndarray of shape (k, k)
    draws : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (draws, k, k)
    """
    order = _class_order(confusion)
    cells = confusion[np.ix_(order, order)].ravel()
    filled = np.flatnonzero(cells)
    total = int(cells.sum())
    drawn = np.zeros((draws, cells.size), dtype=np.int64)
    drawn[:, filled] = rng.multinomial(total, cells[filled] / total, size=draws)
    back = np.argsort(order)
    return drawn.reshape(draws, *confusion.shape)[:, back][:, :, back]


def _class_order(confusion: NDArray[np.int64], *more: NDArray[Any]) -> NDArray[np.int64]:
    """Return the classes in an order of their own.

    The same rows must give the same interval whatever their classes are called, and so in
    whatever order these come.
    """
    keys = (
        np.sort(confusion, axis=1).T,
        np.sort(confusion, axis=0),
        confusion.sum(axis=0)[None],
        confusion.sum(axis=1)[None],
        np.diagonal(confusion)[None],
    )
    return np.lexsort([*more, *np.concatenate(keys)])


def _ordered(answers: Answers) -> Answers:
    """Return the same answers, rows and classes in an order of their own."""
    confusion, given = answers.confusion, answers.probabilities
    if given is None or np.shape(given) != (len(answers.truth), len(answers.names)):
        return answers
    given = np.asarray(given)
    if given.dtype.kind not in "fiub":
        return answers
    order = _class_order(confusion, given.sum(axis=0))
    place = np.argsort(order)
    truth, predicted, given = place[answers.truth], place[answers.predicted], given[:, order]
    rows = np.lexsort([*given.T, predicted, truth])
    positive = None
    if answers.positive is not None:
        positive = int(place[answers.named(class_name(answers.positive))])
    elif answers.kind != "strings" and set(answers.names) in ({"false", "true"}, {"0", "1"}):
        # scikit-learn's own choice of a positive class, which the order must not change.
        positive = int(place[answers.named("true" if answers.kind == "booleans" else "1")])
    return Answers(range(len(order)), truth[rows], predicted[rows], given[rows], positive)


def draw_sums(
    values: NDArray[np.float64], groups: NDArray[np.int64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the sums of a value per row, and the rows, by group, of `RESAMPLES` seeded draws.

    Parameters
    ----------
    values : ndarray of shape (n_rows,)
    groups : ndarray of shape (n_rows,)
        Positions of groups, from 0 to ``count`` less 1.
    count : int

    Returns
    -------
    sums, rows : ndarrays of shape (RESAMPLES, count)
    """
    order = np.argsort(groups, kind="stable")
    values = values[order]
    held, starts = np.unique(groups[order], return_index=True)
    sums = np.zeros((RESAMPLES, count))
    rows = np.zeros((RESAMPLES, count), dtype=np.int64)
    for draw, times in enumerate(_times(len(values), RESAMPLES)):
        sums[draw, held] = np.add.reduceat(times * values, starts)
        rows[draw, held] = np.add.reduceat(times, starts)
    return sums, rows


def _times(n_rows: int, draws: int) -> Iterator[NDArray[np.int64]]:
    """Give how often each row is drawn, draw after draw."""
    rng = np.random.default_rng(0)
    for _ in range(draws):
        yield np.bincount(rng.integers(0, n_rows, n_rows), minlength=n_rows)


def _share(name: str, answers: Answers) -> int | None:
    """Return how many rows a score is a share of; None where it is no share."""
    if name in _SHARES:
        return len(answers.truth)
    if name not in ("precision", "recall"):
        return None
    counts = answers.confusion.sum(axis=0 if name == "precision" else 1)
    return int(counts[_positive(name, answers)])


def _positive(name: str, answers: Answers) -> int:
    """Return the position of the class that scikit-learn takes for the positive one."""
    return int(np.flatnonzero(class_order(name, answers) == 1)[0])


def _drawn(name: str, answers: Answers) -> tuple[Draws, Draws]:
    """Return the scores of the draws, for the low end and for the high one."""
    if name.startswith("roc_auc"):
        return _drawn_areas(name, answers)
    if name == "average_precision":
        return _drawn_precisions(answers)
    if "brier" in name or "log_loss" in name:
        return _drawn_losses(name, answers)
    one_class = len(answers.names) == 2 and name in OF_ONE_CLASS
    positive = _positive(name, answers) if one_class else -1
    drawn = draw_matrices(answers.confusion, RESAMPLES, np.random.default_rng(0))
    low, high = (
        _of_matrices(name, drawn, answers.confusion, positive, worst) for worst in METRICS[name]
    )
    return low, high


def _ratio(over: NDArray[Any], under: NDArray[Any], worst: float) -> NDArray[np.float64]:
    ratio = np.full(np.broadcast_shapes(over.shape, under.shape), worst, dtype=np.float64)
    np.divide(over, under, out=ratio, where=under > 0)
    return ratio


def _of_matrices(
    name: str,
    drawn: NDArray[np.int64],
    confusion: NDArray[np.int64],
    positive: int,
    worst: float,
) -> Draws:
    """Return a score of many confusion matrices, as scikit-learn works it out of one."""
    hits = np.diagonal(drawn, axis1=1, axis2=2)
    true, said = drawn.sum(axis=2), drawn.sum(axis=1)
    rows = int(confusion.sum())
    if name == "balanced_accuracy":
        held = confusion.sum(axis=1) > 0
        balanced: Draws = _ratio(hits, true, worst)[:, held].mean(axis=1)
        return balanced
    if name == "matthews_corrcoef":
        # Gorodkin 2004 (Comput. Biol. Chem. 28, 367-374).
        over = hits.sum(axis=1) * float(rows) - (true * said).sum(axis=1)
        spread = [float(rows) ** 2 - (side.astype(np.float64) ** 2).sum(1) for side in (true, said)]
        return _ratio(over, np.sqrt(spread[0] * spread[1]), worst)
    if name.endswith("likelihood_ratio"):
        other = 1 - positive
        found = _ratio(hits[:, positive], true[:, positive], np.nan)
        alarms = _ratio(drawn[:, other, positive], true[:, other], np.nan)
        if name == "positive_likelihood_ratio":
            ratio = _ratio(found, alarms, np.nan)
        else:
            ratio = -_ratio(1 - found, 1 - alarms, np.nan)
        return np.where(np.isnan(ratio), worst, ratio)
    measure, _, average = name.partition("_")
    under = {"recall": true, "precision": said, "f1": true + said, "jaccard": true + said - hits}
    over, under_it = hits * (2 if measure == "f1" else 1), under[measure]
    if average == "micro":
        return _ratio(over.sum(axis=1), under_it.sum(axis=1), worst)
    each = _ratio(over, under_it, worst)
    if average == "macro":
        held = (confusion.sum(axis=0) + confusion.sum(axis=1)) > 0
        macro: Draws = each[:, held].mean(axis=1)
        return macro
    if average == "weighted":
        weighted: Draws = (each * true).sum(axis=1) / rows
        return weighted
    return each[:, positive]


def _drawn_losses(name: str, answers: Answers) -> tuple[Draws, Draws]:
    """Return drawn scores that come of a mean loss, and of the classes' shares for the d2 ones."""
    given = np.asarray(answers.probabilities)
    truth, k = answers.truth, len(answers.names)
    if "brier" in name:
        losses = brier_losses(answers)
    else:
        # As scikit-learn does, lest a single certain error be infinitely bad.
        tiny = np.finfo(given.dtype).eps if given.dtype.kind == "f" else np.finfo(np.float64).eps
        losses = -np.log(np.clip(given[np.arange(len(truth)), truth], tiny, 1 - tiny))
    sums, rows = draw_sums(losses.astype(np.float64), truth, k)
    mean = sums.sum(axis=1) / len(truth)
    if name.startswith("neg_"):
        return -mean, -mean
    shares = rows / len(truth)
    if "brier" in name:
        null = (shares * (1 - shares)).sum(axis=1) / (2 if k == 2 else 1)
    else:
        null = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=1)
    return (1 - _ratio(mean, null, np.inf), 1 - _ratio(mean, null, 0.0))


def brier_losses(answers: Answers) -> NDArray[np.float64]:
    """Return each row's squared distance of the probabilities from what happened.

    Summed over the classes (Brier 1950, Mon. Weather Rev. 78, 1-3), so 0 to 2; with two
    classes the half of it, 0 to 1, as scikit-learn's ``brier_score_loss`` has it.
    """
    distance = np.array(answers.probabilities, dtype=np.float64)
    distance[np.arange(len(distance)), answers.truth] -= 1
    losses: NDArray[np.float64] = (distance**2).sum(axis=1)
    return losses / 2 if len(answers.names) == 2 else losses


def _ranked(scores: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows from the highest score down, and where each row's equals begin and end."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    changes = np.flatnonzero(ranked[1:] != ranked[:-1]) + 1
    edges = np.concatenate([[0], changes, [len(ranked)]])
    sizes = np.diff(edges)
    return order, np.repeat(edges[:-1], sizes), np.repeat(edges[1:], sizes)


def _resamples(work: int) -> int:
    return int(np.clip(_RANKED // work, _FEWEST_RESAMPLES, RESAMPLES))


def _drawn_areas(name: str, answers: Answers) -> tuple[Draws, Draws]:
    """Return drawn areas under the ROC curve, from one sort for each class.

    An area is the share of pairs of a row of the class and another row in which the first
    has the higher score, a tie counting half (Hanley and McNeil 1982, Radiology 143, 29-36);
    the averages over more than two classes are those of scikit-learn.
    """
    given, truth, k = np.asarray(answers.probabilities), answers.truth, len(answers.names)
    classes = [1] if k == 2 else list(range(k))
    ranks = [_ranks(given[:, each], truth, each) for each in classes]
    low: list[float] = []
    high: list[float] = []
    for times in _times(len(truth), _resamples(len(truth) * len(classes))):
        rows = np.bincount(truth, weights=times, minlength=k).astype(np.float64)
        pairs = np.zeros((k, k))
        for each, (own, others, before, upto, held, starts) in zip(classes, ranks, strict=True):
            above = np.concatenate([[0], np.cumsum(times[own])])
            beaten = times[others] * (above[before] + above[upto])
            pairs[each, held] = np.add.reduceat(beaten, starts) / 2
        for values, worst in ((low, 0.0), (high, 1.0)):
            values.append(_mean_area(name, pairs, rows, worst))
    return np.array(low), np.array(high)


def _ranks(
    scores: NDArray[Any], truth: NDArray[np.int64], each: int
) -> tuple[NDArray[np.int64], ...]:
    """Rank the rows of one class against the others.

    Returns
    -------
    own : ndarray of shape (n_own,)
        The rows of the class, from the highest score down.
    others : ndarray of shape (n_others,)
        The other rows, class by class.
    before, upto : ndarrays of shape (n_others,)
        How many of ``own`` lie above each of ``others``, and how many above or beside it.
    held, starts : ndarrays of shape (n_other_classes,)
        The classes of ``others``, and where in it each begins.
    """
    mine = truth == each
    own = np.flatnonzero(mine)
    own = own[np.argsort(-scores[own], kind="stable")]
    others = np.flatnonzero(~mine)
    others = others[np.argsort(truth[others], kind="stable")]
    held, starts = np.unique(truth[others], return_index=True)
    before, upto = (
        np.searchsorted(-scores[own], -scores[others], side=side) for side in ("left", "right")
    )
    return own, others, before, upto, held, starts


def _mean_area(
    name: str, pairs: NDArray[np.float64], rows: NDArray[np.float64], worst: float
) -> float:
    """Return the area, or the mean of areas, that counts of rightly ordered pairs give."""
    k = len(rows)
    if k == 2:
        return float(_ratio(pairs[1, 0], rows[1] * rows[0], worst))
    if "ovr" in name:
        others = pairs.sum(axis=1) - np.diagonal(pairs)
        areas = _ratio(others, rows * (rows.sum() - rows), worst)
        weights = rows if "weighted" in name else np.ones(k)
    else:
        one, other = np.triu_indices(k, 1)
        both = pairs[one, other] + pairs[other, one]
        areas = _ratio(both, 2 * rows[one] * rows[other], worst)
        weights = rows[one] + rows[other] if "weighted" in name else np.ones(len(one))
    return float(np.average(areas, weights=weights))


def _drawn_precisions(answers: Answers) -> tuple[Draws, Draws]:
    """Return drawn average precisions, from one sort for each class."""
    given, truth, k = np.asarray(answers.probabilities), answers.truth, len(answers.names)
    classes = [_positive("average_precision", answers)] if k == 2 else list(range(k))
    ranks = [_ranked(given[:, each]) for each in classes]
    sides = [truth[order] == each for each, (order, _, _) in zip(classes, ranks, strict=True)]
    low: list[float] = []
    high: list[float] = []
    for times in _times(len(truth), _resamples(len(truth) * len(classes))):
        areas = []
        for (order, _, last), side in zip(ranks, sides, strict=True):
            drawn = times[order]
            mine = np.where(side, drawn, 0)
            found, said = np.cumsum(mine)[last - 1], np.cumsum(drawn)[last - 1]
            precision = found / np.maximum(said, 1)
            total = mine.sum()
            areas.append((mine * precision).sum() / total if total else math.nan)
        for values, worst in ((low, 0.0), (high, 1.0)):
            values.append(float(np.mean(np.where(np.isnan(areas), worst, areas))))
    return np.array(low), np.array(high)
