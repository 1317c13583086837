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


def check_same_terms(judged: str | None, now: str) -> CheckResult:
    """The settings are those by which the candidate was judged.

    Parameters
    ----------
    judged : str or None
        Fingerprint of the settings of the table and of the gate, as they were then; None where
        none was kept, which cannot be judged.
    now : str
        The same of the project as it is.
    """
    if judged is None:
        status, reason = Status.ERROR, "By which settings it was judged is unknown"
    elif judged == now:
        status, reason = Status.PASSED, "The settings are those by which it was judged."
    else:
        status = Status.FAILED
        reason = "It was judged by other settings of [data] or [gate] than the project has now"
    return CheckResult(
        "settings",
        "The settings are those by which the candidate was judged",
        status,
        observed=judged,
        limit=now,
        reason=reason if status is Status.PASSED else f"{reason}; judge it with `tidegate gate`.",
    )


def check_checksum(found: str, recorded: str | None) -> CheckResult:
    """The model's file has the bytes that were judged.

    Parameters
    ----------
    found : str
        SHA-256 of the file as it is now.
    recorded : str or None
        What the ledger says of it; None where it says nothing, which cannot be judged.
    """
    if recorded is None:
        status, reason = Status.ERROR, "No checksum was kept when it was judged."
    elif found == recorded:
        status, reason = Status.PASSED, "The bytes are those that were judged."
    else:
        status, reason = Status.FAILED, "The model's file is not the one that was judged."
    return CheckResult(
        "checksum",
        "The model's file has the bytes that were judged",
        status,
        observed=found,
        limit=recorded,
        reason=reason,
    )


def check_champion_unchanged(
    version: str, expected: str | None, found: str | None, rival: str = ""
) -> CheckResult:
    """The version replaces the champion that it was judged against.

    Parameters
    ----------
    version : str
        The one to promote.
    expected, found : str or None
        The champion that it was judged against, and the one there is; None for none.
    rival : str
        Who was promoting all the while; empty when nobody was.
    """
    if rival:
        status = Status.FAILED
        reason = f"Another promotion is going on, by {rival}; run the command again."
    elif found in (expected, version):
        status, reason = Status.PASSED, f"The champion is {_version(found)}, as it was."
    elif found is None:
        status = Status.FAILED
        reason = f"Version {expected} is the champion no more; judge again with `tidegate gate`."
    else:
        status = Status.FAILED
        reason = f"Version {found} was promoted meanwhile; judge again with `tidegate gate`."
    return CheckResult(
        "champion_unchanged",
        "The champion is the one that the candidate was judged against",
        status,
        observed=_version(found),
        limit=_version(expected),
        reason=reason,
    )


def check_answer(
    version: str, state: str, *, who: str = "", why: str = "", deadline: str = ""
) -> CheckResult:
    """A person has approved the version, in time.

    Parameters
    ----------
    version : str
    state : str
        ``waiting``, ``approved``, ``rejected`` or ``expired``.
    who, why : str
        Of the answer.
    deadline : str
        Until when it may be given.
    """
    status, reason = {
        "waiting": (
            Status.NOT_APPLICABLE,
            f"Version {version} waits until {deadline}: `tidegate approve {version} --by NAME "
            "--reason TEXT`, or `tidegate reject`.",
        ),
        "approved": (Status.PASSED, f"{who}: {why}"),
        "rejected": (Status.FAILED, f"{who} rejected version {version}: {why}"),
        "expired": (
            Status.FAILED,
            f"Nobody answered for version {version} until {deadline}, which is a refusal; "
            "judge it again with `tidegate gate`.",
        ),
    }[state]
    return CheckResult(
        "approval",
        "A person has approved the version, in time",
        status,
        observed=state,
        limit="approved",
        reason=reason,
    )


def _version(version: str | None) -> str:
    return "none" if version is None else f"version {version}"
