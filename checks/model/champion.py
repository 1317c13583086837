"""Shall the candidate take the champion's place?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checks.model.answers import Answers, NotJudgedError
from checks.model.evidence import Champion
from checks.model.paired import Pair
from checks.model.rule import ROUNDING, Finding, Rule
from checks.model.wording import apart, counted
from checks.result import MAXIMUM_EXAMPLES, CheckResult, Status

FIRST, PROMOTE, KEEP, INCONCLUSIVE, TOO_FEW = (
    "first model",
    "promote",
    "keep",
    "inconclusive",
    "too few rows",
)
"""The verdicts of the comparison; one more, ``error``, where it cannot be made."""


def check_champion(
    answers: Answers,
    champion: Champion | str | None,
    learned: NDArray[np.bool_] | str,
    *,
    minimum_effect: float = 0.0,
    minimum_rows: int = 1,
    scoring: str = "accuracy",
    confidence: float = 0.95,
    rows: Sequence[Any] = (),
) -> CheckResult:
    """Judge whether the candidate is better than the model that serves now.

    Parameters
    ----------
    answers : Answers
        The candidate's.
    champion : Champion, str or None
        Why the one that the alias names cannot be scored; None where no alias names one.
    learned : ndarray of bool, shape (n_rows,), or str
        Which sealed rows the candidate was trained or chosen on.
    minimum_effect : float
        Smallest improvement that is worth a change; below zero, how much worse the candidate
        may be.
    minimum_rows : int
        Fewest rows that neither has learned from.
    scoring : {"accuracy", "balanced_accuracy"}
    confidence : float
    rows : sequence
        What names each row, for examples.

    Returns
    -------
    CheckResult
        Its ``details["verdict"]`` is one of

        - ``promote``: the improvement is ``minimum_effect`` or more, its paired interval lies
          above zero (above ``minimum_effect`` where that is negative) and, in accuracy, the
          exact McNemar test agrees. The rule passes; otherwise it fails or is an error.
        - ``keep``: the interval lies below ``minimum_effect``, or no answer differs, or the
          champion is the candidate itself.
        - ``inconclusive``: neither can be told from these rows.
        - ``too few rows``, ``error``: not judged.
        - ``first model``: there is no champion; the other rules decide.
    """
    claim = f"Better than the champion, in {scoring}"
    if minimum_effect > 0:
        claim += f" and by {minimum_effect:g} or more"
    elif minimum_effect < 0:
        claim = f"Not worse than the champion by more than {-minimum_effect:g}, in {scoring}"
    rule = Rule("champion", claim, "at least", minimum_effect)
    if champion is None:
        said = "There is no champion yet; the other rules decide."
        details = {"verdict": FIRST}
        return CheckResult(rule.id, claim, Status.FIRST_MODEL, reason=said, details=details)
    refused: dict[str, Any] = {"verdict": "error"}

    def find() -> Finding:
        if isinstance(champion, str):
            raise NotJudgedError(f"there is a champion that cannot be scored ({champion})")
        if champion.is_candidate:
            said = f"Version {champion.version} is this very model, which serves already."
            details = {"verdict": KEEP, "version": champion.version}
            return Finding(Status.FAILED, 0.0, said, details=details)
        if isinstance(learned, str):
            raise NotJudgedError(f"which rows the candidate has learned is unknown ({learned})")
        unseen = ~(champion.learned | learned)
        kept, dropped = int(unseen.sum()), int((~unseen).sum())
        if kept < minimum_rows:
            refused["verdict"] = TOO_FEW
            raise NotJudgedError(
                f"{counted(kept, 'sealed row')} that neither model has learned from "
                f"({dropped:,} dropped); fewer than {minimum_rows:,} say too little"
            )
        pair = Pair.of(answers, champion.predictions, "the champion's answers", unseen)
        return _compare(pair, champion, unseen, dropped)

    def _compare(
        pair: Pair, champion: Champion, unseen: NDArray[np.bool_], dropped: int
    ) -> Finding:
        model, other = pair.scores(scoring)
        difference, interval = model - other, pair.interval(scoring, confidence)
        low, high = interval
        helpful, harmful = int(pair.helpful.sum()), int(pair.harmful.sum())
        p = pair.mcnemar_p
        certain = low > min(minimum_effect, 0.0) + ROUNDING
        if scoring == "accuracy" and minimum_effect >= 0:
            certain = certain and p <= 1 - confidence
        if certain and difference >= minimum_effect - ROUNDING:
            found = PROMOTE
        elif high < minimum_effect - ROUNDING or (not helpful + harmful and minimum_effect >= 0):
            found = KEEP
        else:
            found = INCONCLUSIVE
        names = np.arange(len(unseen)) if not len(rows) else np.asarray(rows, dtype=object)
        details = {
            "verdict": found,
            "version": champion.version,
            "scoring": scoring,
            "model": model,
            "champion": other,
            "rows": len(pair.truth),
            "dropped": dropped,
            "unknown": pair.unknown,
            "helpful": helpful,
            "harmful": harmful,
            "mcnemar_p": p,
            "examples": {
                "helpful": names[unseen][pair.helpful][:MAXIMUM_EXAMPLES],
                "harmful": names[unseen][pair.harmful][:MAXIMUM_EXAMPLES],
            },
        }
        status = Status.PASSED if found == PROMOTE else Status.FAILED
        said = _sentence(details, difference, interval, minimum_effect)
        return Finding(status, difference, said, details=details, interval=interval)

    result = rule.judge(find)
    if result.status is Status.ERROR:
        version = champion.version if isinstance(champion, Champion) else None
        return replace(result, details={**result.details, **refused, "version": version})
    return result


def _sentence(
    details: Mapping[str, Any],
    difference: float,
    interval: tuple[float, float],
    minimum_effect: float,
) -> str:
    observed, beaten = apart(details["model"], details["champion"])
    low, high = interval
    said = (
        f"{details['verdict']}: {details['scoring']} is {observed}; champion "
        f"{details['version']} has {beaten} on the same {counted(details['rows'], 'row')}"
    )
    if not details["helpful"] + details["harmful"]:
        return f"{said}, and has the same rows right."
    said += f"; difference {difference:+.4f} ({low:+.4f} to {high:+.4f})"
    if minimum_effect:
        said += f", where {minimum_effect:+g} is asked for"
    return (
        f"{said}; {counted(details['helpful'], 'flip')} for the better, {details['harmful']:,} "
        f"for the worse, p = {details['mcnemar_p']:.2g}."
    )
