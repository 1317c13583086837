"""Is anybody still there? Silence is the one fault that no window shows."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from checks.monitor import MonitorSettings
from checks.result import CheckResult, Report, Status

NAME = "liveness"
"""The name of the report made here."""

SKEW = timedelta(minutes=5)
"""How far two machines' clocks may be apart before a time in the future is a finding."""


def check_liveness(
    now: datetime,
    *,
    since: datetime,
    last_request: datetime | None,
    last_label: datetime | None,
    last_monitoring: datetime | None,
    settings: MonitorSettings,
) -> Report:
    """Judge whether traffic, labels and monitoring runs still come.

    Each is silent when nothing came for `MonitorSettings.silent_periods` periods. What never
    came at all is counted from the day on which the champion began to serve, but for labels:
    they are expected once one has come.

    Parameters
    ----------
    now : datetime
        With its time zone, like every time here.
    since : datetime
        When the champion began to serve.
    last_request, last_label, last_monitoring : datetime or None
        When the last one came; None where none ever did.
    settings : MonitorSettings

    Returns
    -------
    Report
        ``traffic``, ``labels`` and ``monitoring``, then ``clock``. A last time in the future is
        no sign of life: the check of its own fails, and the silence cannot be told.

    Raises
    ------
    ValueError
        A time has no time zone: it could not be compared with the others.
    """
    last = {"traffic": last_request, "labels": last_label, "monitoring": last_monitoring}
    for time in (now, since, *last.values()):
        if time is not None and time.tzinfo is None:
            raise ValueError(f"a time needs its time zone, which {time.isoformat()} has not")
    checks = [_check(what, now, since, came, settings) for what, came in last.items()]
    ahead = {what: came for what, came in {**last, "champion": since}.items() if came is not None}
    clock = _clock(now, {what: came for what, came in ahead.items() if came > now + SKEW})
    facts = {
        "now": now.isoformat(),
        "since": since.isoformat(),
        **{f"last_{what}": came and came.isoformat() for what, came in last.items()},
    }
    return Report(NAME, (*checks, clock), facts)


_WHAT = {"traffic": "request", "labels": "label", "monitoring": "monitoring run"}


def _check(
    what: str, now: datetime, since: datetime, came: datetime | None, settings: MonitorSettings
) -> CheckResult:
    limit = settings.period_hours * settings.silent_periods
    claim = f"A {_WHAT[what]} came within the last {limit:g} hours"

    def beside(reason: str) -> CheckResult:
        return CheckResult(what, claim, Status.NOT_APPLICABLE, limit=limit, reason=reason)

    if what == "labels" and not settings.expect_labels:
        return beside("monitor.expect_labels is off in tidegate.toml.")
    if what == "labels" and came is None:
        return beside("No label has come yet.")
    start = since if came is None else came
    if start > now + SKEW:
        return beside(f"The last time is in the future, {_when(start)}; see clock.")
    hours = max(now - start, timedelta()) / timedelta(hours=1)
    if came is None:
        said = f"None has come since the champion began to serve, {_when(since)}"
    else:
        said = f"The last one came {_when(came)}"
    failed = hours > limit
    said += f", {hours:.1f} hours ago" + (f"; {limit:g} are the most." if failed else ".")
    status = Status.FAILED if failed else Status.PASSED
    return CheckResult(what, claim, status, observed=hours, limit=limit, reason=said)


def _clock(now: datetime, ahead: dict[str, datetime]) -> CheckResult:
    claim = "No time is in the future"
    if not ahead:
        return CheckResult("clock", claim, Status.PASSED, observed=0, limit=0)
    said = f"It is {_when(now)}, but {_listed(ahead)}: a clock has jumped."
    details = {what: came.isoformat() for what, came in ahead.items()}
    return CheckResult(
        "clock", claim, Status.FAILED, observed=len(ahead), limit=0, reason=said, details=details
    )


def _listed(ahead: dict[str, datetime]) -> str:
    parts: Iterable[str] = (f"{what} last came {_when(came)}" for what, came in ahead.items())
    return ", ".join(parts).replace("champion last came", "the champion began to serve")


def _when(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")
