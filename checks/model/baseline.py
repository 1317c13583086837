"""Is the model worth more than one that is easily had?"""

from checks.model.answers import Answers, Labels, NotJudgedError
from checks.model.paired import Pair
from checks.model.rule import ROUNDING, Finding, On, Rule, perhaps
from checks.model.wording import apart
from checks.result import CheckResult, Status

_SAID = {
    "majority": "always answering the commonest class",
    "yardstick": "an untuned logistic regression",
}


def check_baseline(
    answers: Answers,
    baseline: Labels | str,
    which: str,
    *,
    margin: float = 0.0,
    scoring: str = "accuracy",
    on: On = "estimate",
    confidence: float = 0.95,
) -> CheckResult:
    """Judge whether the model beats a baseline by more than a margin, on the same rows.

    Parameters
    ----------
    answers : Answers
    baseline : ndarray of shape (n_rows,), or str
        The baseline's answers; why there are none.
    which : {"majority", "yardstick"}
    margin : float
        The difference must be more than this.
    scoring : {"accuracy", "balanced_accuracy"}
    on : {"estimate", "bound"}
        With ``bound`` the low end of the difference's paired interval is judged.
    confidence : float
    """

    def find() -> Finding:
        if isinstance(baseline, str):
            raise NotJudgedError(f"there is no baseline to beat ({baseline})")
        pair = Pair.of(answers, baseline, "the baseline's answers")
        model, other = pair.scores(scoring)
        interval = pair.interval(scoring, confidence)
        difference = model - other
        judged = interval[0] if on == "bound" else difference
        observed, beaten = apart(model, other)
        better, end, asked = apart(difference, judged, margin)
        said = f"{scoring} is {observed}; {_SAID[which]} gives {beaten}: better by {better}"
        details = {"scoring": scoring, "model": model, "baseline": other, "judged": on}
        if judged - margin > ROUNDING:
            return Finding(Status.PASSED, difference, f"{said}.", margin, details, interval)
        said += f"{perhaps(on, 'little', end)}, and more than {asked} is asked for."
        return Finding(Status.FAILED, difference, said, margin, details, interval)

    claim = f"Better than {_SAID[which]}, in {scoring}"
    claim += f" and by more than {margin:g}" if margin else ""
    return Rule(f"baseline[{which}]", claim, "more than", margin).judge(find)
