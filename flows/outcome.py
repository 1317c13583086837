"""What a flow came to: one frozen value for the terminal, for ``--json`` and for the caller."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from checks.result import Report, Status, report_schema

_RULE = ("id", "status", "observed", "limit", "interval", "reason")


@dataclass(frozen=True)
class Model:
    """A registered model, or the candidate that may become one."""

    name: str
    version: str | None = None
    alias: str | None = None


@dataclass(frozen=True)
class Outcome:
    """The end of a flow.

    Parameters
    ----------
    verdict : Status
        `Status.PASSED` or why not.
    reasons : tuple of str
        One line for each refusal.
    run_id, tracking_uri : str
        Where MLflow keeps the evidence.
    model : Model, optional
    metrics : mapping of str to float
        By sklearn's scorer names.
    seconds : mapping of str to float
        Wall clock of each phase.
    reports : mapping of str to str
        Paths of the reports on this machine, by what they are.
    judged : tuple of Report
        The judgements themselves, for the terminal's tables.
    window, decision : mapping, optional
        Of `monitor`: what was looked at, and what it led to, with reasons for a machine.
    """

    verdict: Status
    reasons: tuple[str, ...] = ()
    run_id: str | None = None
    tracking_uri: str | None = None
    model: Model | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    reports: Mapping[str, str] = field(default_factory=dict)
    judged: tuple[Report, ...] = ()
    window: Mapping[str, Any] | None = None
    decision: Mapping[str, Any] | None = None

    @property
    def passed(self) -> bool:
        """Whether the flow may be followed by the next."""
        return self.verdict is Status.PASSED

    @property
    def rules(self) -> list[dict[str, Any]]:
        """The gate's rules and what each came to; none where no candidate was judged."""
        return [
            {key: check.to_dict()[key] for key in _RULE}
            for report in self.judged
            if report.name == "gate"
            for check in report.checks
        ]

    @property
    def exit_code(self) -> int:
        """0 for a pass; 1 for a refusal, also when a check could not be judged."""
        return 0 if self.passed else 1

    def to_dict(self) -> dict[str, Any]:
        """Return the document that ``--json`` prints."""
        return {
            "verdict": str(self.verdict),
            "reasons": list(self.reasons),
            "rules": self.rules,
            "run_id": self.run_id,
            "tracking_uri": self.tracking_uri,
            "model": None
            if self.model is None
            else {
                "name": self.model.name,
                "version": self.model.version,
                "alias": self.model.alias,
            },
            # JSON has no NaN.
            "metrics": {k: v if math.isfinite(v) else None for k, v in self.metrics.items()},
            "seconds": {phase: round(value, 3) for phase, value in self.seconds.items()},
            "reports": dict(self.reports),
            **({} if self.window is None else {"window": dict(self.window)}),
            **({} if self.decision is None else {"decision": dict(self.decision)}),
        }


def rules_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of the ``rules`` in the document of ``--json``.

    Each row is a check of the gate's report without what only the report has, and is closed.
    """
    whole = report_schema()
    check = whole["$defs"]["check"]
    return {
        "$schema": whole["$schema"],
        "title": "tidegate rules",
        "description": "The gate's rules and what each came to.",
        "type": "array",
        "items": {
            **check,
            "properties": {key: check["properties"][key] for key in _RULE},
            "required": list(_RULE),
        },
    }
