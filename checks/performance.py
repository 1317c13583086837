"""Does the model still do what its gate asked, on the rows whose labels have come?

The gate refuses a model unless it is sure that it is good. Monitoring turns that round: it
alarms only where it is sure that the model is bad, which is where the far end of an interval
breaks the limit. All of the intervals of a window hold together with a probability of 1 less
``monitor.alpha``, so that a model which does no more than what is asked raises an alarm, in any
of its rules, with no more than that.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from checks.model.answers import Answers, Labels, NotJudgedError, class_name
from checks.model.calibration import check_brier, check_ece
from checks.model.confusion import check_confusion, check_cost, check_precision, check_recall
from checks.model.interval import Interval, share_interval
from checks.model.limits import check_metric
from checks.model.rule import ROUNDING, Rule
from checks.model.settings import GateSettings
from checks.model.slices import check_slices
from checks.model.wording import counted, quoted
from checks.monitor import MonitorSettings
from checks.result import CheckResult, Report, Status

NAME = "performance"
"""The name of the report made here."""

TRIED = 3
"""Fewest closed windows by which an estimate without labels may alarm."""

_SHOWN = 0.95
_DRAWS = 200


@dataclass(frozen=True, eq=False)
class Labelled:
    """A window of answered rows, as far as their labels have come.

    Parameters
    ----------
    classes : sequence of k labels
        The model's, in the order of the columns of ``probabilities``.
    y_true, predictions : ndarray of shape (n_labelled,)
        Matched with the classes by `checks.model.answers.class_name`, however a log wrote them.
    probabilities : ndarray of shape (n_labelled, k) or None
    frame : DataFrame of n_labelled rows
        The inputs, as far as they were logged.
    delays : ndarray of shape (n_labelled,)
        Seconds from answer to label; NaN where the label's time is unknown.
    rows : int
        All rows of the window, labelled or not.
    positive : label, optional
        The class that scores of one class are about.
    unlabelled_predictions : ndarray of shape (n_unlabelled,), optional
        What the other rows were answered. Without it nobody can say whether the labelled rows
        are like the others.
    unlabelled_probabilities : ndarray of shape (n_unlabelled, k), optional
    """

    classes: Sequence[Any]
    y_true: Labels
    predictions: Labels
    probabilities: NDArray[Any] | None
    frame: pd.DataFrame
    delays: NDArray[np.float64]
    rows: int
    positive: Any = None
    unlabelled_predictions: Labels | None = None
    unlabelled_probabilities: NDArray[Any] | None = None


def check_performance(window: Labelled, gate: GateSettings, settings: MonitorSettings) -> Report:
    """Judge the labelled rows by the gate's rules, as far as these need no other model.

    Those are the limits of ``[gate.metrics]``, ``[gate.recall]``, ``[gate.precision]``,
    ``[gate.confusion]``, ``[gate.cost]`` and ``[gate.calibration]``, and the declared slices.
    A rule fails where a loss is confirmed. One whose estimate is beyond its limit, but not its
    interval, passes, with ``beyond`` in its details.

    Parameters
    ----------
    window : Labelled
    gate : GateSettings
    settings : MonitorSettings

    Returns
    -------
    Report
        ``labels`` (enough of them), ``labels.coverage`` (whether they are a biased sample),
        ``labels.classes`` (whether the model knows them), then the rules, by the gate's ids.
        With too few labels there are no rules and ``labels`` does not apply, so that the report
        passes for none. Its facts say coverage, delay and accuracy.
    """
    try:
        held, unknown = _held(window)
    except NotJudgedError as err:
        said = f"Could not be judged: {err}."
        broken = CheckResult("labels", "Labels can be judged", Status.ERROR, reason=said)
        return Report(NAME, (broken,), _coverage_facts(window))
    enough = _enough(len(held.y_true), settings.minimum_labels)
    coverage = _coverage(window, settings)
    known = _known(window, unknown, settings.level_effect)
    facts = _coverage_facts(window)
    if enough.status is not Status.PASSED:
        # What cannot be told may not pass for it, either.
        told = (c for c in (coverage, known) if c.status is not Status.PASSED)
        return Report(NAME, (enough, *told), facts)
    answers = Answers(
        window.classes, held.y_true, held.predictions, held.probabilities, window.positive
    )
    rules = _rules(answers, held.frame.reset_index(drop=True), gate, settings.alpha)
    try:
        facts |= _answer_facts(answers)
    except NotJudgedError as err:
        facts["not_drawn"] = str(err)
    return Report(NAME, (enough, coverage, known, *rules), facts)


def estimate_performance(
    reference_confidence: NDArray[np.float64],
    reference_correct: NDArray[np.bool_],
    window_confidence: NDArray[np.float64],
    past: Sequence[tuple[float, float]] = (),
    baseline: float | None = None,
) -> CheckResult:
    """Estimate the accuracy of a window without labels from how sure its answers are.

    How often an answer of that confidence was right on the reference, by isotonic regression
    (Zadrozny and Elkan 2002, KDD), is averaged over the window: the average confidence of
    Garg et al. 2022 (ICLR), calibrated. It follows shifts of the inputs alone. A concept that
    has changed leaves the inputs as they were, and the estimate with them.

    Parameters
    ----------
    reference_confidence : ndarray of shape (n_reference,)
        The probability of the answered class (`answered_confidence`), of rows that the model
        has not learned from: on those that it has, it is too often right.
    reference_correct : ndarray of bool, shape (n_reference,)
        Whether that answer was right.
    window_confidence : ndarray of shape (n_rows,)
    past : sequence of (estimated, realised)
        Of the closed windows, whose labels have come.
    baseline : float, optional
        The accuracy that "nothing changed" says; by default that of the reference.

    Returns
    -------
    CheckResult
        ``estimate``. It does not apply ("muted") where the estimates of the closed windows
        were further off than the baseline. It fails where the estimate is below the baseline by
        more than its interval and by more than it was ever off in `TRIED` closed windows or
        more. The interval is that of the accuracy the window will turn out to have.
    """
    confident = np.asarray(reference_confidence, dtype=np.float64)
    correct = np.asarray(reference_correct, dtype=np.float64)
    seen = np.asarray(window_confidence, dtype=np.float64)
    expected = float(correct.mean()) if baseline is None and len(correct) else baseline
    claim = "Estimated without labels, the accuracy has not fallen"
    rule = Rule("estimate", claim, "at least", expected)

    def beside(reason: str, details: dict[str, Any]) -> CheckResult:
        return replace(rule.beside(reason), details=details)

    finite = np.isfinite(confident)
    confident, correct = confident[finite], correct[finite]
    seen = seen[np.isfinite(seen)]
    if expected is None or not len(confident) or not len(seen):
        return beside("There is no row to estimate from.", {})
    value, deviation = _calibrated(confident, correct, seen)
    # Both sides at once: how far the realised accuracy may be.
    reach = 1.959964 * deviation
    interval = (max(0.0, value - reach), min(1.0, value + reach))
    tried = np.array(past, dtype=np.float64).reshape(-1, 2)
    tried = tried[np.isfinite(tried).all(axis=1)]
    errors = np.abs(tried[:, 0] - tried[:, 1])
    details: dict[str, Any] = {
        "method": "confidence of the answers, calibrated on the reference",
        "reference_rows": len(confident),
        "rows": len(seen),
        "baseline": expected,
        "windows": len(tried),
        "estimate": value,
        "interval": interval,
    }
    said = f"Estimated accuracy {value:.4f}, from {interval[0]:.4f} to {interval[1]:.4f}"
    found = CheckResult(
        rule.id, claim, Status.PASSED, value, expected, details=details, interval=interval
    )
    if not len(tried):
        return replace(found, reason=f"{said}; no closed window has shown yet how far off it is.")
    error, idle = float(errors.mean()), float(np.abs(tried[:, 1] - expected).mean())
    details |= {"error": error, "error_of_nothing_changed": idle, "largest_error": errors.max()}
    if error > idle:
        reason = (
            f"Muted: on {counted(len(tried), 'closed window')} the estimate was off by "
            f'{error:.4f}, and "nothing changed" by {idle:.4f}.'
        )
        return beside(reason, details)
    fell = expected - value
    failed = len(tried) >= TRIED and interval[1] < expected and fell > float(errors.max())
    said += f"; it was off by {error:.4f} on {counted(len(tried), 'closed window')}"
    if failed:
        said += f", and is {fell:.4f} below the {expected:.4f} of before"
    status = Status.FAILED if failed else Status.PASSED
    return replace(found, status=status, reason=f"{said}.", details=details)


def answered_confidence(
    classes: Sequence[Any], predictions: Labels, probabilities: NDArray[Any]
) -> NDArray[np.float64]:
    """Return the probability of the class that was answered, shape (n_rows,).

    Not the highest one: where a threshold decides, the less likely class may be answered.

    Raises
    ------
    NotJudgedError
        An answer is none of the classes.
    """
    place = _places(classes, predictions)
    if (place < 0).any():
        raise NotJudgedError("an answer is none of the model's classes")
    given = np.asarray(probabilities, dtype=np.float64)
    return given[np.arange(len(given)), place]


def _places(classes: Sequence[Any], values: Labels) -> NDArray[np.int64]:
    """Return labels as positions of classes, -1 where one is none of them."""
    place = {class_name(label): number for number, label in enumerate(classes)}
    known: dict[Any, int] = {}

    def find(value: Any) -> int:
        key = (type(value), value)
        if key not in known:
            try:
                known[key] = place.get(class_name(value), -1)
            except NotJudgedError:
                known[key] = -1
        return known[key]

    return np.fromiter((find(value) for value in np.asarray(values).tolist()), dtype=np.int64)


def _taken(classes: Sequence[Any], places: NDArray[np.int64]) -> Labels:
    held = list(classes)
    kind = np.array(held).dtype
    return np.array([held[place] for place in places.tolist()], dtype=kind)


def _held(window: Labelled) -> tuple[Labelled, list[Any]]:
    """Return the rows whose label is a class of the model, and the labels of the others."""
    n = len(window.y_true)
    if not (len(window.predictions) == n == len(window.frame) == len(window.delays)):
        raise NotJudgedError("labels, answers, inputs and delays are not of one length")
    truth, answered = (_places(window.classes, v) for v in (window.y_true, window.predictions))
    if (answered < 0).any():
        raise NotJudgedError("the log holds answers that are none of the model's classes")
    known = truth >= 0
    unknown = [value for value, is_known in zip(window.y_true, known, strict=True) if not is_known]
    given = window.probabilities
    kept = replace(
        window,
        y_true=_taken(window.classes, truth[known]),
        predictions=_taken(window.classes, answered[known]),
        probabilities=None if given is None else np.asarray(given)[known],
        frame=window.frame.loc[known],
        delays=np.asarray(window.delays, dtype=np.float64)[known],
    )
    return kept, unknown


def _enough(rows: int, minimum: int) -> CheckResult:
    claim = f"{minimum:,} labelled rows or more"
    said = f"{counted(rows, 'labelled row')}"
    if rows >= minimum:
        return CheckResult("labels", claim, Status.PASSED, rows, minimum, f"{said}.")
    said += f"; fewer than {minimum:,} are too few to tell."
    return CheckResult("labels", claim, Status.NOT_APPLICABLE, rows, minimum, said)


def _known(window: Labelled, unknown: Sequence[Any], floor: float) -> CheckResult:
    claim = "The labels are classes of the model"
    n = len(window.y_true)
    share = len(unknown) / n if n else 0.0
    details = {"count": len(unknown), "of": n}
    if not unknown:
        status, said = Status.PASSED, f"All of {counted(n, 'label')} are."
    else:
        shown = quoted(sorted({str(value)[:60] for value in unknown}))
        said = f"{len(unknown):,} of {counted(n, 'label')} are not, such as {shown}; left out here."
        status = Status.FAILED if share > floor else Status.PASSED
    return CheckResult("labels.classes", claim, status, share, floor, said, details)


def _coverage_facts(window: Labelled) -> dict[str, Any]:
    delays = np.asarray(window.delays, dtype=np.float64)
    delays = delays[np.isfinite(delays)]
    spread: dict[str, float] | None = None
    if len(delays):
        middle, late = np.quantile(delays, [0.5, 0.9])
        spread = {"median": middle, "p90": late, "longest": delays.max()}
    labelled = len(window.y_true)
    return {
        "rows": window.rows,
        "labelled": labelled,
        "coverage": labelled / window.rows if window.rows else 0.0,
        "delay_seconds": spread,
        "before_their_answer": int((delays < 0).sum()),
    }


def _coverage(window: Labelled, settings: MonitorSettings) -> CheckResult:
    """Judge whether the labelled rows are like all of the window, by what they were answered.

    The effect is the distance of the labelled rows from the whole window, which is smaller than
    that from the unlabelled ones by their share: a few odd rows without a label bias nothing.
    """
    claim = "The labelled rows are like the whole window"
    facts = _coverage_facts(window)
    share = facts["coverage"]
    said = f"{len(window.y_true):,} of {counted(window.rows, 'row')} have a label ({share:.1%})"
    if facts["delay_seconds"] is not None:
        said += f", the middle one {_span(facts['delay_seconds']['median'])} after its answer"
    if facts["before_their_answer"]:
        said += f", {facts['before_their_answer']:,} before it, so a clock jumped"

    def result(status: Status, more: str, **details: Any) -> CheckResult:
        found = {**facts, "biased": False, **details}
        return CheckResult("labels.coverage", claim, status, share, None, f"{said}. {more}", found)

    if len(window.y_true) >= window.rows and window.rows:
        return result(Status.PASSED, "All labels are here.")
    early = "Labels that come early may be a biased sample"
    other = window.unlabelled_predictions
    if other is None or not len(other) or not len(window.y_true):
        return result(Status.NOT_APPLICABLE, f"{early}; nothing was there to compare them with.")
    try:
        tests = list(_compared(window, other, 1 - share))
    except (NotJudgedError, ValueError) as err:
        return result(Status.NOT_APPLICABLE, f"{early}; they could not be compared: {err}.")
    alpha = settings.alpha / len(tests)
    floors = {"prediction": settings.categorical_effect}
    biased = [
        each
        for each in tests
        if each["p_value"] <= alpha
        and each["effect"] > floors.get(each["of"], settings.score_effect)
    ]
    if not biased:
        return result(Status.PASSED, f"{early}; so far they are like the others.", tests=tests)
    worst = max(biased, key=lambda each: each["effect"])
    more = (
        f"{early}, and these are one: their {worst['of']} is {worst['effect']:.3f} away from that "
        "of the whole window. What is judged here holds for them alone."
    )
    return result(Status.NOT_APPLICABLE, more, biased=True, tests=tests)


def _compared(window: Labelled, other: Labels, missing: float) -> Iterable[dict[str, Any]]:
    """Compare answers and probabilities of labelled and unlabelled rows."""
    from scipy.stats import chi2_contingency, ks_2samp

    k = len(window.classes)
    sides = [_places(window.classes, values) for values in (window.predictions, other)]
    counts = np.array([np.bincount(side[side >= 0], minlength=k) for side in sides])
    counts = counts[:, counts.sum(axis=0) > 0]
    distance = 0.0
    p_value = 1.0
    if counts.shape[1] > 1 and counts.sum(axis=1).all():
        p_value = float(chi2_contingency(counts, correction=False).pvalue)
        shares = counts / counts.sum(axis=1, keepdims=True)
        distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    yield {"of": "prediction", "p_value": p_value, "effect": distance * missing}
    if window.probabilities is None or window.unlabelled_probabilities is None:
        return
    ours, theirs = np.asarray(window.probabilities), np.asarray(window.unlabelled_probabilities)
    for place in range(1 if k == 2 else 0, k):
        found = ks_2samp(ours[:, place], theirs[:, place], method="asymp")
        yield {
            "of": f"score[{class_name(window.classes[place])}]",
            "p_value": float(found.pvalue),
            "effect": float(found.statistic) * missing,
        }


def _span(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} seconds"


def _rules(
    answers: Answers, frame: pd.DataFrame, gate: GateSettings, alpha: float
) -> tuple[CheckResult, ...]:
    columns = [column for column in gate.slices.columns if column in frame]
    limits = (gate.metrics, gate.recall, gate.precision, gate.confusion)
    asked = (gate.cost.max, gate.calibration.brier, gate.calibration.ece)
    number = sum(len(table) for table in limits) + len(columns)
    number += sum(limit is not None for limit in asked)
    # Bonferroni: an interval says with which probability it holds, which no step-down does.
    each = alpha / max(number, 1)
    confidence = 1 - 2 * each

    def rule(check: Callable[..., CheckResult], *asks: Any) -> CheckResult:
        return _confirm(partial(check, answers, *asks, confidence=confidence), answers, confidence)

    results = [
        *(rule(check_metric, name, limit) for name, limit in gate.metrics.items()),
        *(rule(check_recall, name, share) for name, share in gate.recall.items()),
        *(rule(check_precision, name, share) for name, share in gate.precision.items()),
        *(rule(check_confusion, cell, share) for cell, share in gate.confusion.items()),
    ]
    if gate.cost.max is not None:
        results.append(rule(check_cost, gate.cost))
    if gate.calibration.brier is not None:
        results.append(rule(check_brier, gate.calibration))
    if gate.calibration.ece is not None:
        results.append(rule(check_ece, gate.calibration))
    return (*results, *_slices(answers, frame, gate, columns, 1 - each))


def _slices(
    answers: Answers, frame: pd.DataFrame, gate: GateSettings, columns: list[str], confidence: float
) -> list[CheckResult]:
    """Judge the declared slices, whose test is of a confirmed loss as it is."""
    settings = gate.slices.model_copy(update={"columns": tuple(columns), "search": False})
    judged = check_slices(answers, frame, settings, confidence=confidence) if columns else ()
    found = [check for check in judged if check.id != "slices"]
    for column in gate.slices.columns:
        if column not in columns:
            rule = Rule(f"slices[{column}]", "Each value of the column does well enough")
            found.append(rule.beside(f"The log has no column {column}."))
    return found


def _confirm(check: Callable[..., CheckResult], answers: Answers, confidence: float) -> CheckResult:
    """Judge a rule the other way round: it fails where the whole interval is beyond the limit."""
    seen = check(on="estimate")
    if seen.status is Status.ERROR and _lacks_class(answers):
        said = seen.reason.replace("sealed row", "labelled row")
        return replace(seen, status=Status.NOT_APPLICABLE, reason=said)
    if seen.status not in (Status.PASSED, Status.FAILED) or not isinstance(seen.observed, float):
        return seen
    interval = _interval(seen, check(on="bound"), len(answers.truth), confidence)
    details = {**seen.details, "judged": "far end", "confidence": confidence}
    if seen.status is Status.PASSED:
        return replace(seen, interval=interval, details=details)
    if interval is None:
        said = f"{seen.reason} Its interval has no end, so no loss is confirmed."
        details["beyond"] = True
        return replace(seen, status=Status.PASSED, reason=said, details=details)
    lowest, highest = _limits(seen)
    low, high = interval
    if high < lowest - ROUNDING or low > highest + ROUNDING:
        said = f"{seen.reason} So is all of its interval, {low:.4f} to {high:.4f}."
        return replace(seen, reason=said, interval=interval, details=details)
    said = f"{seen.reason} Its interval, {low:.4f} to {high:.4f}, reaches it: no confirmed loss."
    details["beyond"] = True
    return replace(seen, status=Status.PASSED, reason=said, interval=interval, details=details)


def _lacks_class(answers: Answers) -> bool:
    """Whether a class of the model has no true row or no answer, which leaves scores undefined."""
    confusion = answers.confusion
    return not (confusion.sum(axis=0).all() and confusion.sum(axis=1).all())


def _interval(
    seen: CheckResult, sure: CheckResult, rows: int, confidence: float
) -> Interval | None:
    """Return the interval that a loss is confirmed by.

    Of shares the exact one (Clopper and Pearson 1934, Biometrika 26, 404-413): so far out,
    Wilson's leaves out several times as much as it says. Draws of a calibration error are
    further off than the rows are, so its low end is that of the basic bootstrap, which takes
    as much off (Davison and Hinkley 1997, section 5.2).
    """
    count, of = seen.details.get("count"), seen.details.get("of")
    observed = float(seen.observed or 0.0)
    if seen.id == "accuracy":
        count, of = round(observed * rows), rows
    if count is not None and of:
        from scipy.stats import binomtest

        exact = binomtest(int(count), int(of)).proportion_ci(confidence, method="exact")
        return float(exact.low), float(exact.high)
    if sure.interval is None:
        return None
    low, high = (float(end) for end in sure.interval)
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    if seen.id == "calibration[ece]":
        low = max(0.0, 2 * observed - high)
    return low, high


def _limits(seen: CheckResult) -> tuple[float, float]:
    """Return the lowest and the highest value that the rule allows."""
    details = seen.details
    if "min" in details or "max" in details:
        low, high = details.get("min"), details.get("max")
    elif details.get("relation") == "at least":
        low, high = seen.limit, None
    else:
        low, high = None, seen.limit
    return (
        -math.inf if low is None else float(low),
        math.inf if high is None else float(high),
    )


def _answer_facts(answers: Answers) -> dict[str, Any]:
    right = int((answers.truth == answers.predicted).sum())
    rows = len(answers.truth)
    return {
        "accuracy": right / rows,
        "interval": list(share_interval(right, rows, _SHOWN)),
        "confidence": _SHOWN,
        "labels": answers.names,
        "confusion": answers.confusion,
    }


def _calibrated(
    confident: NDArray[np.float64], correct: NDArray[np.float64], seen: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the estimated accuracy, and the standard deviation of the one that will be found.

    That of the calibration, by a bootstrap of the reference, and that of the labels that the
    window will turn out to have.
    """
    from sklearn.isotonic import IsotonicRegression

    # As good as the values themselves, and not slower for a million rows.
    points, times = np.unique(np.round(seen, 4), return_counts=True)
    shares = times / times.sum()

    def chances(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        line = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        fitted: NDArray[np.float64] = line.fit(confident[rows], correct[rows]).predict(points)
        return fitted

    everything = np.arange(len(confident))
    right = chances(everything)
    rng = np.random.default_rng(0)
    drawn = [
        float(shares @ chances(rng.integers(0, len(confident), len(confident))))
        for _ in range(_DRAWS)
    ]
    chance = float(shares @ (right * (1 - right))) / len(seen)
    return float(shares @ right), math.sqrt(float(np.var(drawn)) + chance)
