"""A rule of the gate: what it claims, and how it fails closed."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from checks.model.answers import NotJudgedError
from checks.model.interval import Interval, share_interval
from checks.model.wording import apart
from checks.result import CheckResult, Status

# Two ways to work out one share differ in the last digits; no limit is meant that finely.
ROUNDING = 1e-12


On: TypeAlias = Literal["estimate", "bound"]


@dataclass(frozen=True)
class Finding:
    """What a check came to."""

    status: Status
    observed: float | int
    reason: str
    limit: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    interval: Interval | None = None


@dataclass(frozen=True)
class Rule:
    """What a check claims, known before anything is looked at."""

    id: str
    claim: str
    relation: str = ""
    limit: float | int | str | None = None

    def unasked(self, where: str) -> CheckResult:
        """Say that no limit is set for the rule: it counts neither way, and is seen."""
        return self.beside(f"No limit is set: {where} in tidegate.toml sets one.")

    def beside(self, reason: str) -> CheckResult:
        """Say why the rule does not apply here."""
        return CheckResult(self.id, self.claim, Status.NOT_APPLICABLE, reason=reason)

    def judge(self, find: Callable[[], Finding]) -> CheckResult:
        """Make the check; whatever it raises is an error of its own, and refuses."""
        details: dict[str, Any] = {"relation": self.relation} if self.relation else {}
        try:
            found = find()
        except NotJudgedError as err:
            said = str(err)
        except Exception as err:  # the gate fails closed on whatever a check meets
            said = f"the check broke off with {type(err).__name__}: {err}"
        else:
            return CheckResult(
                self.id,
                self.claim,
                found.status,
                observed=found.observed,
                limit=self.limit if found.limit is None else found.limit,
                reason=found.reason,
                interval=found.interval,
                details={**details, **found.details},
            )
        return CheckResult(
            self.id,
            self.claim,
            Status.ERROR,
            limit=self.limit,
            reason=f"Could not be judged: {said.rstrip('.')}" + ("" if said.endswith("?") else "."),
            details=details,
        )


def judge_floor(
    count: int, of: int, minimum: float, said: str, on: On, confidence: float
) -> Finding:
    """Hold a share, with Wilson's interval, against a lowest value."""
    interval = share_interval(count, of, confidence)
    details = {"count": count, "of": of}
    return at_least(count / of, minimum, said, interval=interval, on=on, details=details)


def judge_ceiling(
    count: int, of: int, maximum: float, said: str, on: On, confidence: float
) -> Finding:
    """Hold a share, with Wilson's interval, against a highest value."""
    interval = share_interval(count, of, confidence)
    details = {"count": count, "of": of}
    return at_most(count / of, maximum, said, interval=interval, on=on, details=details)


def at_least(
    value: float,
    minimum: float,
    said: str,
    *,
    interval: Interval | None = None,
    on: On = "estimate",
    details: Mapping[str, Any] | None = None,
) -> Finding:
    """Hold a value, or the low end of its interval, against a lowest value.

    Raises
    ------
    NotJudgedError
        The value or the end is no finite number.
    """
    return _held("low", value, minimum, said, interval, on, details)


def at_most(
    value: float,
    maximum: float,
    said: str,
    *,
    interval: Interval | None = None,
    on: On = "estimate",
    details: Mapping[str, Any] | None = None,
) -> Finding:
    """Hold a value, or the high end of its interval, against a highest value.

    Raises
    ------
    NotJudgedError
        The value or the end is no finite number.
    """
    return _held("high", value, maximum, said, interval, on, details)


def _held(
    end: Literal["low", "high"],
    value: float,
    limit: float,
    said: str,
    interval: Interval | None,
    on: On,
    details: Mapping[str, Any] | None,
) -> Finding:
    low = end == "low"
    judged = value if on == "estimate" or interval is None else interval[0 if low else 1]
    # A comparison with NaN is false, whichever way it is written.
    if not (math.isfinite(value) and math.isfinite(judged)):
        raise NotJudgedError(f"{said}: {value}, which is no finite number")
    details = {"judged": on, **(details or {})}
    if judged >= limit - ROUNDING if low else judged <= limit + ROUNDING:
        return Finding(Status.PASSED, value, f"{said}: {value:.4f}.", limit, details, interval)
    observed, reached, asked = apart(value, judged, limit)
    beyond = f"below the {asked} that is asked for" if low else f"above the {asked} that is allowed"
    said += f": {observed}{perhaps(on, end, reached)}, {beyond}."
    return Finding(Status.FAILED, value, said, limit, details, interval)


def perhaps(on: On, end: str, value: str) -> str:
    """Name the end of the interval that was judged, where it was."""
    if on == "estimate":
        return ""
    return f" and may be as {end} as {value}"
