"""Does the answer depend on what it must not depend on?"""

import numpy as np
from numpy.typing import NDArray

from checks.model.agreement import TOLERANCE, changed, undecided
from checks.model.answers import Answers, Labels, NotJudgedError, class_name
from checks.model.evidence import Threshold
from checks.model.paired import Pair
from checks.model.rule import Finding, On, Rule, at_most, judge_ceiling
from checks.model.wording import counted
from checks.result import MAXIMUM_EXAMPLES, CheckResult, Status


def check_agreement(answers: Answers, threshold: Threshold | None = None) -> CheckResult:
    """Judge whether the labels follow from the probabilities.

    The label is the likeliest class, or, where a threshold is set for one of two classes, that
    class from the threshold upwards. Probabilities of another order than the labels mislead
    whoever ranks by them.
    """

    def find() -> Finding:
        given = np.asarray(answers.probabilities, dtype=np.float64)
        if given.shape != (len(answers.truth), len(answers.names)):
            raise NotJudgedError(f"the probabilities have shape {given.shape}")
        if not np.isfinite(given).all():
            raise NotJudgedError("some probabilities are no finite numbers")
        own = given[np.arange(len(given)), answers.predicted]
        if threshold is None:
            astray = given.max(axis=1) - own > TOLERANCE
        else:
            positive = answers.named(class_name(threshold.label))
            reached = given[:, positive] >= threshold.value
            astray = (answers.predicted == positive) != reached
            astray &= ~undecided(answers, threshold)
        count = int(astray.sum())
        if not count:
            how = "the likeliest class"
            if threshold is not None:
                how = f"the threshold {threshold.value:.4g}"
            said = f"{counted(len(given), 'label')}, each by {how}."
            return Finding(Status.PASSED, 0, said)
        row = int(np.flatnonzero(astray)[0])
        said = (
            f"{count:,} of {counted(len(given), 'label')} do not follow from their probabilities; "
            f"the first, row {row}: {answers.names[answers.predicted[row]]} with {own[row]:.4g}."
        )
        details = {"examples": np.flatnonzero(astray)[:MAXIMUM_EXAMPLES]}
        return Finding(Status.FAILED, count, said, details=details)

    return Rule("agreement", "The labels follow from the probabilities", "at most", 0).judge(find)


def check_deterministic(answers: Answers, again: NDArray[np.float64] | str) -> CheckResult:
    """Judge whether the same rows, asked for twice, get the same probabilities."""

    def find() -> Finding:
        if isinstance(again, str):
            raise NotJudgedError(f"there is no second answer ({again})")
        own = np.asarray(answers.probabilities, dtype=np.float64)
        if again.ndim != 2 or again.shape[1] != own.shape[1] or not 0 < len(again) <= len(own):
            raise NotJudgedError(f"the second answer has shape {again.shape}, not {own.shape}")
        own = own[: len(again)]
        # Not `>`: a NaN is no agreement either.
        differ = ~(np.abs(again - own) <= TOLERANCE).all(axis=1)
        count = int(differ.sum())
        if not count:
            return Finding(Status.PASSED, 0, f"{counted(len(own), 'row')}, the same twice.")
        said = f"{count:,} of {counted(len(own), 'row')} get other probabilities the second time."
        return Finding(Status.FAILED, count, said)

    claim = "The same rows get the same answer twice"
    return Rule("deterministic", claim, "at most", 0).judge(find)


def check_row_order(
    answers: Answers, reordered: Labels | str, threshold: Threshold | None = None
) -> CheckResult:
    """Judge whether a row's answer depends on that row alone."""

    def find() -> Finding:
        differ = changed(answers, reordered, "the answers in another order")
        differ &= ~undecided(answers, threshold)
        count = int(differ.sum())
        if not count:
            said = f"{counted(len(differ), 'row')}, the same in another order and in parts."
            return Finding(Status.PASSED, 0, said)
        said = f"{count:,} of {counted(len(differ), 'row')} are answered otherwise when they come "
        said += "in another order or in parts."
        details = {"examples": np.flatnonzero(differ)[:MAXIMUM_EXAMPLES]}
        return Finding(Status.FAILED, count, said, details=details)

    claim = "A row's answer depends on that row alone"
    return Rule("row_order", claim, "at most", 0).judge(find)


def check_invariance(
    answers: Answers,
    shuffled: Labels | str | None,
    column: str,
    maximum: float,
    *,
    on: On = "estimate",
    confidence: float = 0.95,
) -> CheckResult:
    """Judge the share of answers that change when a column's values are shuffled.

    Parameters
    ----------
    answers : Answers
    shuffled : ndarray of shape (n_rows,), str or None
        The answers then; why there are none; None where the model does not read the column.
    column : str
    maximum : float
        At zero no answer may change: the count is judged, and not the end of its interval.
    on : {"estimate", "bound"}
    confidence : float
    """
    rule = Rule(f"invariance[{column}]", f"{column} does not change the answer", "at most", maximum)
    if shuffled is None:
        return rule.beside(f"The model does not read {column}.")

    def find() -> Finding:
        differ = changed(answers, shuffled, f"the answers with {column} shuffled")
        said = f"Of {counted(len(differ), 'row')}, {int(differ.sum()):,} answered otherwise when "
        said += f"{column} is shuffled"
        judged = on if maximum else "estimate"
        return judge_ceiling(int(differ.sum()), len(differ), maximum, said, judged, confidence)

    return rule.judge(find)


def check_noise(
    answers: Answers,
    noisy: Labels | str,
    noise: float,
    maximum: float | None,
    *,
    on: On = "estimate",
    confidence: float = 0.95,
) -> CheckResult:
    """Judge the share of answers that change when each number has a little noise."""
    claim = f"Noise of {noise:g} standard deviations changes few answers"
    rule = Rule("robustness[noise]", claim, "at most", maximum)

    def find() -> Finding:
        if maximum is None:
            raise NotJudgedError("no limit is set")
        differ = changed(answers, noisy, "the answers under noise")
        said = f"Of {counted(len(differ), 'row')}, {int(differ.sum()):,} answered otherwise under "
        said += f"noise of {noise:g} standard deviations"
        return judge_ceiling(int(differ.sum()), len(differ), maximum, said, on, confidence)

    return rule.unasked("gate.robustness.flips") if maximum is None else rule.judge(find)


def check_missing(
    answers: Answers,
    emptied: Labels | str,
    missing: float,
    maximum: float | None,
    *,
    on: On = "estimate",
    confidence: float = 0.95,
) -> CheckResult:
    """Judge how much accuracy is lost when some cells are empty."""
    claim = f"With {missing:.0%} of the cells empty little accuracy is lost"
    rule = Rule("robustness[missing]", claim, "at most", maximum)

    def find() -> Finding:
        if maximum is None:
            raise NotJudgedError("no limit is set")
        if isinstance(emptied, str):
            raise NotJudgedError(f"there are no answers with cells emptied ({emptied})")
        pair = Pair.of(answers, emptied, "the answers with cells emptied")
        whole, holed = pair.scores("accuracy")
        said = f"accuracy is {whole:.4f}, and {holed:.4f} with {missing:.0%} of the cells empty, "
        interval = pair.interval("accuracy", confidence)
        return at_most(whole - holed, maximum, said + "a loss", interval=interval, on=on)

    return rule.unasked("gate.robustness.drop") if maximum is None else rule.judge(find)
