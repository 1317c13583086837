"""Are the probabilities what happens?"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from checks.model.answers import Answers, NotJudgedError
from checks.model.interval import (
    brier_losses,
    draw_sums,
    mean_interval,
    percentiles,
    share_interval,
)
from checks.model.rule import Finding, On, Rule, at_most
from checks.model.settings import CalibrationSettings
from checks.model.wording import counted
from checks.result import CheckResult


def check_brier(
    answers: Answers,
    settings: CalibrationSettings,
    *,
    on: On = "estimate",
    confidence: float = 0.95,
) -> CheckResult:
    """Judge the Brier score: the mean squared distance of the probabilities from what happened.

    Summed over the classes (Brier 1950, Mon. Weather Rev. 78, 1-3), 0 to 2; with two classes
    the half of it, 0 to 1, as scikit-learn's ``brier_score_loss`` has it.

    Parameters
    ----------
    answers : Answers
    settings : CalibrationSettings
    on : {"estimate", "bound"}
    confidence : float
        Of the interval, that of a bootstrap of the rows.
    """
    maximum = settings.brier
    if maximum is None:
        claim = "The probabilities are close to what happens"
        return Rule("calibration[brier]", claim, "at most").unasked("gate.calibration.brier")

    def find() -> Finding:
        given_probabilities(answers)
        losses = brier_losses(answers)
        said = f"The Brier score of {counted(len(losses), 'row')}"
        interval = mean_interval(losses, confidence)
        return at_most(float(losses.mean()), maximum, said, interval=interval, on=on)

    claim = f"The Brier score is at most {maximum:g}"
    return Rule("calibration[brier]", claim, "at most", maximum).judge(find)


def check_ece(
    answers: Answers,
    settings: CalibrationSettings,
    *,
    on: On = "estimate",
    confidence: float = 0.95,
) -> CheckResult:
    """Judge the expected calibration error: how far the confidence is from the share of right.

    The confidence is the probability of the answered class, whether that is the likeliest one
    or a threshold decided. The error is the mean over bins of equal width of the distance
    between mean confidence and share of right answers, each bin counted by its rows (Naeini,
    Cooper and Hauskrecht 2015, AAAI; Guo, Pleiss, Sun and Weinberger 2017, ICML).

    Parameters
    ----------
    answers : Answers
    settings : CalibrationSettings
    on : {"estimate", "bound"}
    confidence : float
        Of the interval, that of a bootstrap of the rows. Distances have no sign, so draws are
        on average further off than the rows (Kumar, Liang and Ma 2019, NeurIPS): judged on the
        bound, the rule is the stricter for it.
    """
    maximum = settings.ece
    if maximum is None:
        claim = "The confidence of the answers is the share that is right"
        return Rule("calibration[ece]", claim, "at most").unasked("gate.calibration.ece")

    def find() -> Finding:
        sure, right = _answered(answers)
        places = _bins(sure, settings.bins)
        off = right - sure
        sums = np.bincount(places, weights=off, minlength=settings.bins)
        value = float(np.abs(sums).sum() / len(off))
        # Sorted, since the order in which rows come may not decide what is drawn.
        order = np.lexsort([off, places])
        drawn, _ = draw_sums(off[order], places[order], settings.bins)
        errors = np.abs(drawn).sum(axis=1) / len(off)
        interval = percentiles(errors, errors, value, confidence)
        side = "sure" if sums.sum() < 0 else "unsure"
        details = {"confidence": float(sure.mean()), "accuracy": float(right.mean())}
        said = (
            f"The answers are {sure.mean():.4f} sure and {right.mean():.4f} right"
            f"{f', so too {side}' if value > maximum else ''}; their calibration error"
        )
        return at_most(value, maximum, said, interval=interval, on=on, details=details)

    claim = f"The expected calibration error is at most {maximum:g}"
    return Rule("calibration[ece]", claim, "at most", maximum).judge(find)


def reliability(answers: Answers, bins: int = 15, confidence: float = 0.95) -> dict[str, Any]:
    """Return what a reliability diagram shows (DeGroot and Fienberg 1983, Statistician 32).

    Parameters
    ----------
    answers : Answers
    bins : int
        Of equal width, from 0 to 1.
    confidence : float
        Of the intervals, Wilson's.

    Returns
    -------
    dict
        ``ece``, ``brier`` and ``bins``, of which each that has rows says its ``low`` and
        ``high`` end, ``rows``, mean ``confidence``, ``accuracy`` and the ``interval`` of that.
        Empty where the probabilities are none: the rule that judges them says so.
    """
    try:
        sure, right = _answered(answers)
    except NotJudgedError:
        return {}
    places = _bins(sure, bins)
    rows = np.bincount(places, minlength=bins)
    hits = np.bincount(places, weights=right, minlength=bins)
    confident = np.bincount(places, weights=sure, minlength=bins)
    edges = np.linspace(0, 1, bins + 1)
    return {
        "bins": [
            {
                "low": float(edges[place]),
                "high": float(edges[place + 1]),
                "rows": int(rows[place]),
                "confidence": float(confident[place] / rows[place]),
                "accuracy": float(hits[place] / rows[place]),
                "interval": list(share_interval(int(hits[place]), int(rows[place]), confidence)),
            }
            for place in np.flatnonzero(rows)
        ],
        "ece": float(np.abs(hits - confident).sum() / len(sure)),
        "brier": float(brier_losses(answers).mean()),
    }


def given_probabilities(answers: Answers) -> NDArray[np.float64]:
    """Return the probabilities, of shape (n_rows, k).

    Raises
    ------
    NotJudgedError
        There are none, or others than one for each row and class, or they are not 0 to 1.
    """
    rows, k = len(answers.truth), len(answers.names)
    if answers.probabilities is None:
        raise NotJudgedError("the model gives no probabilities")
    given = np.asarray(answers.probabilities, dtype=np.float64)
    if given.shape != (rows, k):
        raise NotJudgedError(f"the probabilities have shape {given.shape}, not ({rows}, {k})")
    # Not so much as a comparison holds for NaN.
    broken = np.flatnonzero(~((given >= 0) & (given <= 1)).all(axis=1))
    if len(broken):
        raise NotJudgedError(
            f"{counted(len(broken), 'row')} of probabilities hold a NaN or leave the range 0 to 1; "
            f"the first is row {broken[0]}"
        )
    return given


def _answered(answers: Answers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each row's probability of the answered class, and whether that was right."""
    given = given_probabilities(answers)
    sure = given[np.arange(len(given)), answers.predicted]
    return sure, (answers.truth == answers.predicted).astype(np.float64)


def _bins(sure: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Return the bin of each confidence; one at an edge belongs to the lower bin."""
    places = np.searchsorted(np.linspace(0, 1, bins + 1), sure, side="left") - 1
    return np.maximum(places, 0)
