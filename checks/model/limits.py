"""What is asked of every model: limits that are set, rows, probabilities, scores."""

from collections.abc import Collection

import numpy as np

from checks.model.answers import Answers, NotJudgedError
from checks.model.evidence import Evidence
from checks.model.interval import score_interval
from checks.model.rule import ROUNDING, Finding, On, Rule, perhaps
from checks.model.scorers import score
from checks.model.settings import GateSettings, Limit
from checks.model.wording import apart, counted, quoted
from checks.result import MAXIMUM_EXAMPLES, CheckResult, Status

# Probabilities in single precision add up to 1 no better than this.
_SUM_TOLERANCE = 1e-3


def check_limits(settings: GateSettings) -> CheckResult:
    """Judge whether anything is asked of the model at all."""

    def find() -> Finding:
        count = sum(
            len(table)
            for table in (
                settings.metrics,
                settings.recall,
                settings.precision,
                settings.confusion,
            )
        )
        if not count:
            raise NotJudgedError(
                "[gate] has no limit, and a gate that asks nothing would let every model "
                "through; set some in [gate.metrics], [gate.recall], [gate.precision] or "
                "[gate.confusion]"
            )
        return Finding(Status.PASSED, count, f"{counted(count, 'limit')} set.")

    return Rule("limits", "The gate has a limit", "at least", 1).judge(find)


def check_schema(evidence: Evidence) -> CheckResult:
    """Judge whether the candidate could answer the sealed rows at all."""

    def find() -> Finding:
        if isinstance(evidence.answers, str):
            raise NotJudgedError(evidence.answers)
        read = evidence.frame.shape[1]
        return Finding(Status.PASSED, read, f"It reads {counted(read, 'column')} of the table.")

    return Rule("schema", "The candidate reads the sealed rows as they are").judge(find)


def check_enough_rows(answers: Answers, minimum: int) -> CheckResult:
    """Judge whether there are rows enough to say anything."""

    def find() -> Finding:
        rows = len(answers.y_true)
        if rows >= minimum:
            return Finding(Status.PASSED, rows, f"{rows:,} sealed rows.")
        said = f"{counted(rows, 'sealed row')}; fewer than {minimum:,} say too little to judge by."
        return Finding(Status.ERROR, rows, said)

    return Rule("rows", f"{minimum:,} sealed rows or more", "at least", minimum).judge(find)


def check_support(
    answers: Answers, minimum: int = 1, *, names: Collection[str] | None = None
) -> CheckResult:
    """Judge whether there are classes to tell apart, and true rows enough of each.

    Parameters
    ----------
    answers : Answers
    minimum : int
        Fewest rows of a class.
    names : collection of str, optional
        The classes that must have them, by `class_name`; by default all.
    """

    def find() -> Finding:
        held = answers.names
        rows = dict(
            zip(held, np.bincount(answers.truth, minlength=len(held)).tolist(), strict=True)
        )
        judged = held if names is None else tuple(names)
        for name in judged:
            answers.named(name)
        details = {"support": rows}
        if len(judged) < 2:
            said = f"{quoted(judged)} is the only class, so there is nothing to tell apart."
            return Finding(Status.ERROR, min(rows.values()), said, details=details)
        rarest = min(judged, key=lambda name: rows[name])
        fewest = rows[rarest]
        if not fewest:
            empty = [name for name in judged if not rows[name]]
            said = f"No sealed row is truly {quoted(empty)}; how the model does there is unknown."
            return Finding(Status.ERROR, fewest, said, details=details)
        if fewest < minimum:
            few = [name for name in judged if rows[name] < minimum]
            said = (
                f"Fewer than {counted(minimum, 'sealed row')} are truly {quoted(few)}, "
                f"of {quoted([rarest])} {fewest:,}; they say too little to judge by."
            )
            return Finding(Status.ERROR, fewest, said, details=details)
        said = (
            f"{len(judged)} classes; the rarest, {quoted([rarest])}, has {counted(fewest, 'row')}."
        )
        return Finding(Status.PASSED, fewest, said, details=details)

    claim = f"{counted(minimum, 'sealed row')} or more of every class"
    return Rule("classes", claim, "at least", minimum).judge(find)


def check_probabilities(answers: Answers) -> CheckResult:
    """Judge whether the probabilities are probabilities: finite, 0 to 1, adding up to 1."""

    def find() -> Finding:
        rows, k = len(answers.truth), len(answers.names)
        given = np.asarray(answers.probabilities, dtype=np.float64)
        if given.shape != (rows, k):
            raise NotJudgedError(
                f"the probabilities have shape {given.shape}, not ({rows}, {k}): "
                "a row for each row, a column for each class"
            )
        with np.errstate(invalid="ignore"):
            usable = ((given >= 0) & (given <= 1)).all(axis=1)
            usable &= np.abs(given.sum(axis=1) - 1) <= _SUM_TOLERANCE
        broken = np.flatnonzero(~usable)
        if not len(broken):
            return Finding(Status.PASSED, 0, f"{rows:,} rows of {k} probabilities.")
        example = ", ".join(f"{value:.4g}" for value in given[broken[0]][:MAXIMUM_EXAMPLES])
        said = f"{len(broken):,} of {rows:,} rows hold none; the first, row {broken[0]}: {example}."
        details = {"examples": broken[:MAXIMUM_EXAMPLES]}
        return Finding(Status.ERROR, len(broken), said, details=details)

    claim = "Probabilities lie between 0 and 1 and add up to 1"
    return Rule("probabilities", claim, "at most", 0).judge(find)


def check_metric(
    answers: Answers,
    name: str,
    limit: Limit,
    *,
    on: On = "estimate",
    confidence: float = 0.95,
) -> CheckResult:
    """Judge one of scikit-learn's scores (`METRICS`) by its limit.

    Parameters
    ----------
    answers : Answers
    name : str
    limit : Limit
    on : {"estimate", "bound"}
        With ``bound`` the low end of the interval keeps ``min``, the high end ``max``.
    confidence : float
    """

    def find() -> Finding:
        value = score(name, answers)
        # A bootstrap takes a thousand scores: where no limit asks for it, it is left out.
        wanted = on == "bound" or name == "accuracy"
        interval = score_interval(name, answers, confidence) if wanted else None
        low, high = interval if on == "bound" and interval is not None else (value, value)
        details = {"min": limit.min, "max": limit.max, "judged": on}
        if limit.min is not None and not low >= limit.min - ROUNDING:
            observed, judged, asked = apart(value, low, limit.min)
            said = f"{name} is {observed}{perhaps(on, 'low', judged)}"
            said += f", below the {asked} that is asked for."
            return Finding(Status.FAILED, value, said, details=details, interval=interval)
        if limit.max is not None and not high <= limit.max + ROUNDING:
            observed, judged, allowed = apart(value, high, limit.max)
            said = f"{name} is {observed}{perhaps(on, 'high', judged)}"
            said += f", above the {allowed} that is allowed."
            return Finding(Status.FAILED, value, said, details=details, interval=interval)
        said = f"{name} is {value:.4f}."
        return Finding(Status.PASSED, value, said, details=details, interval=interval)

    if limit.max is None:
        rule = Rule(name, f"{name} is at least {limit.min:g}", "at least", limit.min)
    elif limit.min is None:
        rule = Rule(name, f"{name} is at most {limit.max:g}", "at most", limit.max)
    else:
        span = f"{limit.min:g} to {limit.max:g}"
        rule = Rule(name, f"{name} is {span}", "between", span)
    return rule.judge(find)
