"""Does a copy that another process loads from the file do what the model did, and how fast?"""

from typing import Any

import numpy as np

from checks.model.agreement import TOLERANCE, changed, undecided
from checks.model.answers import Answers, Labels, NotJudgedError, class_name, common_kind
from checks.model.evidence import FreshCopy, Threshold
from checks.model.rule import Finding, Rule, at_most
from checks.model.wording import counted, quoted
from checks.result import MAXIMUM_EXAMPLES, CheckResult, Status

_MEGABYTE = 1_000_000


def check_loadable(
    answers: Answers, fresh: FreshCopy | str, threshold: Threshold | None = None
) -> CheckResult:
    """Judge whether the stored file loads elsewhere and gives the same answers."""

    def find() -> Finding:
        copy = _copy(fresh)
        differ = changed(answers, copy.predictions, "the copy's answers")
        differ &= ~undecided(answers, threshold)
        own = np.asarray(answers.probabilities, dtype=np.float64)
        given = np.asarray(copy.probabilities, dtype=np.float64)
        if given.shape != own.shape:
            raise NotJudgedError(f"the copy's probabilities have shape {given.shape}")
        # Not `>`: a NaN is no agreement either.
        differ |= ~(np.abs(given - own) <= TOLERANCE).all(axis=1)
        count = int(differ.sum())
        if not count:
            said = f"A process of its own loads it and gives {counted(len(own), 'answer')}, "
            return Finding(Status.PASSED, 0, said + "all the same.")
        said = f"A copy in a process of its own answers {count:,} of {len(own):,} rows otherwise."
        examples = np.flatnonzero(differ)[:MAXIMUM_EXAMPLES]
        return Finding(Status.FAILED, count, said, details={"examples": examples})

    claim = "Loaded in a process of its own, the model gives the same answers"
    return Rule("loadable", claim, "at most", 0).judge(find)


def check_latency(fresh: FreshCopy | str, which: str, maximum: float | None) -> CheckResult:
    """Judge the median wall clock of a fresh copy, in milliseconds.

    Parameters
    ----------
    fresh : FreshCopy or str
    which : {"row", "batch"}
        One row, or 1,000.
    maximum : float or None
    """
    what = "one row" if which == "row" else "1,000 rows"
    rule = Rule(f"latency[{which}]", f"A fresh copy answers {what} in time", "at most", maximum)

    def find() -> Finding:
        copy = _copy(fresh)
        if maximum is None:
            raise NotJudgedError("no limit is set")
        value = copy.row_ms if which == "row" else copy.batch_ms
        return at_most(value, maximum, f"Milliseconds for {what}, the median")

    return rule.unasked(f"gate.latency.{which}_ms") if maximum is None else rule.judge(find)


def check_size(fresh: FreshCopy | str, maximum: float | None) -> CheckResult:
    """Judge the size of the model file, in megabytes of 1,000,000 bytes."""
    rule = Rule("size", "The model file is small", "at most", maximum)

    def find() -> Finding:
        if maximum is None:
            raise NotJudgedError("no limit is set")
        return at_most(_copy(fresh).size / _MEGABYTE, maximum, "Megabytes of the model file")

    return rule.unasked("gate.size_mb") if maximum is None else rule.judge(find)


def check_answers(given: Labels, expected: Labels) -> CheckResult:
    """Judge whether a freshly loaded copy gives the answers that were logged with the model.

    Parameters
    ----------
    given, expected : ndarray of shape (n_rows,)
        Predicted labels, now and when the model was logged.
    """

    def find() -> Finding:
        then = [class_name(label) for label in np.asarray(expected).tolist()]
        now = [class_name(label) for label in np.asarray(given).tolist()]
        if not then:
            raise NotJudgedError("there is no answer to compare with")
        if len(now) != len(then):
            raise NotJudgedError(f"{len(now)} answers, where {len(then)} are expected")
        kinds = [common_kind(np.asarray(labels).tolist()) for labels in (given, expected)]
        if kinds[0] != kinds[1]:
            raise NotJudgedError(f"the answers are {kinds[0]}, where {kinds[1]} are expected")
        other = [row for row, (a, b) in enumerate(zip(now, then, strict=True)) if a != b]
        if not other:
            return Finding(Status.PASSED, 0, f"{counted(len(now), 'answer')}, all the same.")
        examples: list[dict[str, Any]] = [
            {"row": row, "given": now[row], "expected": then[row]}
            for row in other[:MAXIMUM_EXAMPLES]
        ]
        said = (
            f"{len(other):,} of {counted(len(now), 'answer')} differ; the first, of row "
            f"{other[0]}, is {quoted([now[other[0]]])} and was {quoted([then[other[0]]])}."
        )
        return Finding(Status.FAILED, len(other), said, details={"examples": examples})

    claim = "A freshly loaded copy gives the answers that the candidate gave"
    return Rule("smoke", claim, "at most", 0).judge(find)


def _copy(fresh: FreshCopy | str) -> FreshCopy:
    if isinstance(fresh, str):
        raise NotJudgedError(f"no copy could be made ({fresh})")
    return fresh
