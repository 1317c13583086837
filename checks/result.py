"""The words that every check speaks: a result, and a report of results."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

MAXIMUM_TEXT = 500
"""Longest reason kept, in characters: a report is read by people."""

MAXIMUM_EXAMPLES = 5
"""Most offending values quoted in one result."""


class Status(StrEnum):
    """What a check found.

    The last two count neither way: `FIRST_MODEL` is a comparison with a champion where none
    serves yet, `NOT_APPLICABLE` whatever else has nothing to judge.
    """

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    FIRST_MODEL = "first model"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class CheckResult:
    """One claim and what was found.

    Parameters
    ----------
    id : str
        Stable name that reports, tags and tests cite, such as ``recall[late]``.
    claim : str
        The sentence that holds when the check passes.
    status : Status
        `Status.ERROR` when the check could not be judged; a report with one does not pass.
    observed, limit : float, int, str or None
        What was measured and what was asked.
    reason : str
        One plain sentence; cut at `MAXIMUM_TEXT` characters.
    details : mapping
        JSON-able facts for a machine: counts, shares, examples.
    interval : tuple of two floats, optional
        Confidence interval of ``observed``, low end first.

    Raises
    ------
    ValueError
        The status is none of `Status`: a misspelt one would count as neither pass nor refusal.

    Notes
    -----
    Values are kept as JSON has them: arrays and tuples as lists, a NaN or an infinity as its
    name, whatever else JSON does not know as text.
    """

    id: str
    claim: str
    status: Status
    observed: float | int | str | None = None
    limit: float | int | str | None = None
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", Status(self.status))
        object.__setattr__(self, "observed", _plain(self.observed))
        object.__setattr__(self, "limit", _plain(self.limit))
        if self.interval is not None:
            low, high = self.interval
            object.__setattr__(self, "interval", (_plain(low), _plain(high)))
        object.__setattr__(self, "details", _plain(self.details))
        if len(self.reason) > MAXIMUM_TEXT:
            object.__setattr__(self, "reason", self.reason[: MAXIMUM_TEXT - 1] + "…")

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-able values."""
        return {
            "id": self.id,
            "claim": self.claim,
            "status": str(self.status),
            "observed": self.observed,
            "limit": self.limit,
            "reason": self.reason,
            "interval": None if self.interval is None else list(self.interval),
            "details": dict(self.details),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild a result from `to_dict`."""
        return cls(**values)


@dataclass(frozen=True)
class Report:
    """What a list of checks found, and the verdict that follows.

    Parameters
    ----------
    name : str
        What was judged, such as ``gate`` or ``data``.
    checks : tuple of CheckResult
        In the order in which a reader should see them.
    facts : mapping
        JSON-able values that the checks were read from (a confusion matrix, row counts).
    """

    name: str
    checks: tuple[CheckResult, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "checks", tuple(self.checks))
        object.__setattr__(self, "facts", _plain(self.facts))

    @property
    def verdict(self) -> Status:
        """The worst status; `Status.ERROR` when nothing was judged at all.

        A check that does not apply or meets its first model counts neither way, so a report of
        nothing but those has judged nothing.
        """
        found = {check.status for check in self.checks}
        for status in (Status.ERROR, Status.FAILED, Status.PASSED):
            if status in found:
                return status
        return Status.ERROR

    @property
    def passed(self) -> bool:
        """Whether the verdict is `Status.PASSED`."""
        return self.verdict is Status.PASSED

    @property
    def refusals(self) -> tuple[CheckResult, ...]:
        """The checks that failed or could not be judged."""
        return tuple(c for c in self.checks if c.status in (Status.FAILED, Status.ERROR))

    @property
    def reasons(self) -> tuple[str, ...]:
        """One line for each refusal, or why nothing was judged."""
        if self.verdict is Status.ERROR and not self.refusals:
            return (f"{self.name}: no check was judged, so nothing is known",)
        return tuple(f"{check.id}: {check.reason}" for check in self.refusals)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return {
            "name": self.name,
            "verdict": str(self.verdict),
            "reasons": list(self.reasons),
            "checks": [check.to_dict() for check in self.checks],
            "facts": dict(self.facts),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild a report from `to_dict`; the verdict is worked out anew."""
        checks = tuple(CheckResult.from_dict(check) for check in values["checks"])
        return cls(values["name"], checks, values.get("facts", {}))


def report_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of what `Report.to_dict` gives.

    It is closed: whoever reads a report may count on there being no other key, except in
    ``details`` and ``facts``, which hold what the checks of the day have to say.
    """
    check = {
        "id": _text("Stable name that the reasons and the tags cite, such as recall[late]."),
        "claim": _text("The sentence that holds when the check passes."),
        "status": {
            "enum": [str(status) for status in Status],
            "description": "failed and error refuse; first model and not applicable count "
            "neither way.",
        },
        "observed": _value("What was measured."),
        "limit": _value("What was asked."),
        "reason": {
            **_text("What was found, in one plain sentence."),
            "maxLength": MAXIMUM_TEXT,
        },
        "interval": {
            "description": "Confidence interval of what was measured, low end first.",
            "type": ["array", "null"],
            "items": {"anyOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}]},
            "minItems": 2,
            "maxItems": 2,
        },
        "details": {"type": "object", "description": "Facts of this check, for a machine."},
    }
    verdicts = [str(each) for each in (Status.PASSED, Status.FAILED, Status.ERROR)]
    report = {
        "name": _text("What was judged, such as gate or data."),
        "verdict": {"enum": verdicts, "description": "The worst status; error when none judged."},
        "reasons": {
            "type": "array",
            "items": {"type": "string"},
            "description": "One line for each refusal; empty exactly when the verdict is passed.",
        },
        "checks": {"type": "array", "items": {"$ref": "#/$defs/check"}},
        "facts": {"type": "object", "description": "What the checks were read from."},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tidegate report",
        "description": "What a list of checks found, and the verdict that follows.",
        **_closed(report),
        "$defs": {"check": _closed(check)},
    }


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _value(description: str) -> dict[str, Any]:
    return {"type": ["number", "string", "boolean", "null"], "description": description}


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, so that a report is the same after a round trip."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "tolist"):  # numpy's arrays and scalars
        unpacked = value.tolist()
        return str(value) if type(unpacked) is type(value) else _plain(unpacked)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)[:MAXIMUM_TEXT]
