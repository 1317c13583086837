"""Does the model know its own training rows better than new ones?"""

import math

import numpy as np
from numpy.typing import NDArray

from checks.model.answers import Answers, NotJudgedError
from checks.model.interval import Interval, share_interval
from checks.model.paired import DRAWS
from checks.model.rule import Finding, On, Rule, at_most
from checks.model.scorers import score
from checks.result import CheckResult


def check_overfit(
    answers: Answers,
    train: Answers | str,
    maximum: float | None,
    *,
    scoring: str = "accuracy",
    on: On = "estimate",
    confidence: float = 0.95,
) -> CheckResult:
    """Judge the score on rows that were learned from, less that on the sealed ones.

    Parameters
    ----------
    answers : Answers
        On the sealed rows.
    train : Answers or str
        On rows that the model learned from; why there are none.
    maximum : float or None
    scoring : {"accuracy", "balanced_accuracy"}
    on : {"estimate", "bound"}
    confidence : float
    """

    def find() -> Finding:
        if maximum is None:
            raise NotJudgedError("no limit is set")
        if isinstance(train, str):
            raise NotJudgedError(f"the training rows are not scored ({train})")
        learned, new = score(scoring, train), score(scoring, answers)
        interval = gap_interval(train, answers, scoring, confidence)
        said = f"{scoring} is {learned:.4f} on {len(train.truth):,} training rows and {new:.4f} "
        said += "on the sealed ones, a gap"
        return at_most(learned - new, maximum, said, interval=interval, on=on)

    claim = f"{scoring} on the training rows is little above that on the sealed ones"
    rule = Rule("overfit", claim, "at most", maximum)
    return rule.unasked("gate.overfit") if maximum is None else rule.judge(find)


def gap_interval(first: Answers, second: Answers, scoring: str, confidence: float) -> Interval:
    """Return the confidence interval of the difference of two scores on different rows.

    In accuracy Newcombe's, from the two Wilson intervals (Newcombe 1998, Statistics in
    Medicine 17, 873-890, method 10); in balanced accuracy the percentiles of seeded draws of
    both sets of rows.
    """
    if scoring == "accuracy":
        shares = [(int((a.truth == a.predicted).sum()), len(a.truth)) for a in (first, second)]
        (p, (low, high)), (q, (below, above)) = (
            (count / of, share_interval(count, of, confidence)) for count, of in shares
        )
        return (
            p - q - math.hypot(p - low, above - q),
            p - q + math.hypot(high - p, q - below),
        )
    rng = np.random.default_rng(0)
    drawn = [_drawn_balanced(answers, rng) for answers in (first, second)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn[0] - drawn[1], [tail, 1 - tail])
    return float(low), float(high)


def _drawn_balanced(answers: Answers, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the mean recall of rows drawn with replacement, shape (draws,)."""
    support, right = answers.confusion.sum(axis=1), np.diagonal(answers.confusion)
    # In an order of their own: the names of classes may not decide what is drawn.
    held = sorted(zip(support.tolist(), right.tolist(), strict=True))
    cells = np.array([(of - hit, hit) for of, hit in held if of], dtype=np.int64)
    total = int(cells.sum())
    drawn = rng.multinomial(total, cells.ravel() / total, size=DRAWS).reshape(DRAWS, -1, 2)
    of = drawn.sum(axis=2)
    return np.asarray((drawn[:, :, 1] / np.maximum(of, 1)).sum(axis=1) / (of > 0).sum(axis=1))
