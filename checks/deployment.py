"""Whether a candidate may be deployed at all."""

from checks.result import CheckResult, Status


def check_passed_gate(verdict: str | None) -> CheckResult:
    """The gate has judged the candidate, and passed it.

    Parameters
    ----------
    verdict : str or None
        The gate's, as kept with the candidate; None where it was never judged.
    """
    passed = verdict == str(Status.PASSED)
    found = "the gate has not judged it" if verdict is None else f"the gate's verdict is {verdict}"
    return CheckResult(
        "gate",
        "The candidate passed its gate",
        Status.PASSED if passed else Status.FAILED,
        observed=verdict,
        limit=str(Status.PASSED),
        reason=f"{found}." if passed else f"{found}; judge it with `tidegate gate`.",
    )
