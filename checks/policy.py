"""What follows from what monitoring found: nothing, an alert, a challenger, a retraining?

A decision is a pure function of three reports, of where the model stands and of
``[monitor.policy]``, so it can be replayed, and it says why in codes that a machine reads. It is
cautious in one direction: whatever could not be judged never retrains, since a model that learns
from broken input is worse than an old one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from checks.monitor import PolicySettings
from checks.result import MAXIMUM_EXAMPLES, CheckResult, Report, Status

DAY = timedelta(hours=24)
"""Within which `PolicySettings.most_a_day` counts."""


class Action(StrEnum):
    """What a decision leads to, the mildest first."""

    NOTHING = "nothing"
    ALERT = "alert"
    CHALLENGE = "challenge"
    RETRAIN = "retrain"


class Code(StrEnum):
    """Why a decision was made; those that begin with ``hold`` say what kept one back."""

    QUALITY_BROKEN = "quality.broken"
    QUALITY_UNKNOWN = "quality.unknown"
    ROWS_FEW = "rows.few"
    PERFORMANCE_LOST = "performance.lost"
    PERFORMANCE_UNSURE = "performance.unsure"
    PERFORMANCE_UNJUDGED = "performance.unjudged"
    ESTIMATE_FELL = "estimate.fell"
    LABELS_FEW = "labels.few"
    LABELS_BIASED = "labels.biased"
    LABELS_BROKEN = "labels.broken"
    DRIFT_CONFIRMED = "drift.confirmed"
    DRIFT_HARMLESS = "drift.harmless"
    DRIFT_ONCE = "drift.once"
    DRIFT_UNINFORMATIVE = "drift.uninformative"
    DRIFT_UNJUDGED = "drift.unjudged"
    SILENCE = "silence"
    CHAMPION_OLD = "champion.old"
    ALL_WELL = "all.well"
    HOLD_QUALITY = "hold.quality"
    HOLD_POLICY = "hold.policy"
    HOLD_RUNNING = "hold.running"
    HOLD_COOLDOWN = "hold.cooldown"
    HOLD_DAY = "hold.day"
    HOLD_LABELS = "hold.labels"
    HOLD_BIASED = "hold.biased"
    HOLD_CLOCK = "hold.clock"


@dataclass(frozen=True)
class Reason:
    """One of the reasons of a decision.

    Parameters
    ----------
    code : str
        One of `Code`.
    text : str
        The same as a sentence.
    values : mapping
        JSON-able: the ids of the checks, the limits, what was counted.
    """

    code: str
    text: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the reason as JSON-able values."""
        return {"code": str(self.code), "text": self.text, "values": dict(self.values)}


@dataclass(frozen=True)
class Decision:
    """What is to be done, and every reason for it.

    Parameters
    ----------
    action : Action
    reasons : tuple of Reason
        Never empty: that nothing is done has its reasons too.
    """

    action: Action
    reasons: tuple[Reason, ...]

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the reasons, in their order."""
        return tuple(str(reason.code) for reason in self.reasons)

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as JSON-able values."""
        return {
            "action": str(self.action),
            "reasons": [reason.to_dict() for reason in self.reasons],
        }


@dataclass(frozen=True)
class Standing:
    """Where the model stands when a decision is made.

    Parameters
    ----------
    now, champion_since : datetime
        With their time zone, like every time here.
    last_training : datetime or None
        When the last retraining that monitoring asked for began.
    trainings : sequence of datetime
        When each of them began, or at least each of the last day.
    running : bool
        Whether one runs now.
    new_labels : int
        Labelled rows that came since the last training.

    Raises
    ------
    ValueError
        A time has no time zone: it could not be compared with the others.
    """

    now: datetime
    champion_since: datetime
    last_training: datetime | None = None
    trainings: Sequence[datetime] = ()
    running: bool = False
    new_labels: int = 0

    def __post_init__(self) -> None:
        for time in (self.now, self.champion_since, self.last_training, *self.trainings):
            if time is not None and time.tzinfo is None:
                raise ValueError(f"a time needs its time zone, which {time.isoformat()} has not")

    @property
    def began(self) -> tuple[datetime, ...]:
        """When each known training began, the last one among them."""
        last = () if self.last_training is None else (self.last_training,)
        return tuple(sorted({*self.trainings, *last}))


def decide(reports: Mapping[str, Report], standing: Standing, policy: PolicySettings) -> Decision:
    """Decide what follows from a window.

    Broken schema or quality alerts and never retrains, whatever else was found; nor does a
    window whose quality could not be judged. A confirmed loss of performance retrains, confirmed
    drift of which no label says that it is harmless trains a challenger, and an age above the
    maximum retrains without any other reason. What the policy's limits hold back is an alert.

    Parameters
    ----------
    reports : mapping of str to Report
        ``drift``, ``performance`` and ``liveness``, and ``estimate`` where that is a report of
        its own; one that was not made is left out.
    standing : Standing
    policy : PolicySettings

    Returns
    -------
    Decision
    """
    found = _Found.of(reports)
    reasons = [*_quality(found), *_performance(found), *_drift(found), *_silence(found)]
    codes = {reason.code for reason in reasons}
    wanted, holds = _asked(codes, standing, policy)
    old = _old(standing, policy)
    if old and (wanted is not Action.RETRAIN or holds):
        # An age that is reached needs no loss, and so none of what a loss waits for.
        wanted, holds = Action.RETRAIN, _unfit(codes, unseen=())
    if wanted is not Action.NOTHING:
        holds += _limits(standing, policy)
    reasons += old
    action = wanted
    if wanted is Action.NOTHING or holds:
        action = Action.ALERT if holds or codes - _QUIET else Action.NOTHING
    if not reasons:
        reasons.append(Reason(Code.ALL_WELL, "Nothing was found.", {"reports": sorted(reports)}))
    return Decision(action, (*reasons, *holds))


def _asked(
    codes: set[str], standing: Standing, policy: PolicySettings
) -> tuple[Action, list[Reason]]:
    """Return what the findings ask for, and what of the findings holds it back."""
    if Code.PERFORMANCE_LOST in codes:
        holds = [
            *_unfit(codes, unseen=(Code.ROWS_FEW,)),
            *_by_policy("performance", policy.performance),
            *_biased(codes),
            *_few_labels(standing, policy),
        ]
        return Action.RETRAIN, holds
    if Code.DRIFT_CONFIRMED in codes and Code.DRIFT_HARMLESS not in codes:
        return Action.CHALLENGE, [
            *_unfit(codes, unseen=(Code.ROWS_FEW,)),
            *_by_policy("drift", policy.drift),
        ]
    return Action.NOTHING, []


@dataclass(frozen=True)
class _Found:
    """The checks of the three reports, by what a decision asks of them."""

    drift: tuple[CheckResult, ...] | None
    performance: tuple[CheckResult, ...]
    liveness: tuple[CheckResult, ...]

    @classmethod
    def of(cls, reports: Mapping[str, Report]) -> "_Found":
        drift = reports.get("drift")

        def checks(*names: str) -> tuple[CheckResult, ...]:
            return tuple(c for name in names if name in reports for c in reports[name].checks)

        return cls(
            None if drift is None else drift.checks,
            checks("performance", "estimate"),
            checks("liveness"),
        )

    @property
    def rules(self) -> tuple[CheckResult, ...]:
        """What was judged of the labelled rows, but for what is about the labels themselves."""
        return tuple(
            check
            for check in self.performance
            if check.id not in _ABOUT_LABELS and check.id != "estimate"
        )

    def about(self, id: str) -> CheckResult | None:
        return next((check for check in self.performance if check.id == id), None)


_ABOUT_LABELS = ("labels", "labels.coverage", "labels.classes")
_QUALITY = ("broken", "missing", "levels", "unit")
_WHOLE = ("reference.missing", "version.gone")
_FEW = "rows"


def _is_quality(check: CheckResult) -> bool:
    # A column's own name may hold dots, so the last part tells.
    return check.id in _WHOLE or check.id.rpartition(".")[2] in _QUALITY


def _quality(found: _Found) -> Iterable[Reason]:
    if found.drift is None:
        yield Reason(Code.ROWS_FEW, "No columns were judged.")
        return
    quality = [check for check in found.drift if _is_quality(check)]
    few = [c for c in found.drift if c.id == _FEW and c.status is not Status.PASSED]
    if few:
        yield _named(Code.ROWS_FEW, "Too few rows to tell", few)
    broken = _with(quality, Status.FAILED)
    if broken:
        yield _named(Code.QUALITY_BROKEN, "Broken schema or quality", broken)
    unknown = _with(quality, Status.ERROR)
    if unknown or not found.drift:
        yield _named(Code.QUALITY_UNKNOWN, "The quality could not be judged", unknown)


def _performance(found: _Found) -> Iterable[Reason]:
    lost = _with(found.rules, Status.FAILED)
    if lost:
        yield _named(Code.PERFORMANCE_LOST, "Confirmed loss of performance", lost)
    unjudged = _with(found.rules, Status.ERROR)
    if unjudged:
        yield _named(Code.PERFORMANCE_UNJUDGED, "Performance could not be judged", unjudged)
    unsure = [c for c in _with(found.rules, Status.PASSED) if c.details.get("beyond")]
    if unsure:
        text = "Beyond the limit, but not so far that it is certain"
        yield _named(Code.PERFORMANCE_UNSURE, text, unsure)
    few, biased, classes = (found.about(id) for id in _ABOUT_LABELS)
    if few is not None and few.status is not Status.PASSED:
        yield _named(Code.LABELS_FEW, "Too few labels to tell", [few])
    if biased is not None and biased.details.get("biased"):
        yield _named(Code.LABELS_BIASED, "The labelled rows are not like the others", [biased])
    if classes is not None and classes.status in (Status.FAILED, Status.ERROR):
        yield _named(Code.LABELS_BROKEN, "Labels that are no class of the model", [classes])
    estimate = found.about("estimate")
    if estimate is not None and estimate.status is Status.FAILED:
        yield _named(Code.ESTIMATE_FELL, "The estimate without labels fell", [estimate])


def _drift(found: _Found) -> Iterable[Reason]:
    moved = [c for c in found.drift or () if c.id != _FEW and not _is_quality(c)]
    confirmed = _with(moved, Status.FAILED)
    if confirmed:
        yield _named(Code.DRIFT_CONFIRMED, "Confirmed drift", confirmed)
        judged = {check.status for check in found.rules} - {Status.NOT_APPLICABLE}
        coverage = found.about("labels.coverage")
        biased = coverage is not None and bool(coverage.details.get("biased"))
        if judged == {Status.PASSED} and not biased:
            text = "The labelled rows show no confirmed loss under this drift."
            ids = [check.id for check in _with(found.rules, Status.PASSED)]
            yield Reason(Code.DRIFT_HARMLESS, text, {"checks": ids})
    unjudged = _with(moved, Status.ERROR)
    if unjudged:
        yield _named(Code.DRIFT_UNJUDGED, "Drift could not be judged", unjudged)
    exceeded = [check for check in found.drift or () if check.details.get("exceeded")]
    once = _with(exceeded, Status.PASSED)
    if once:
        yield _named(Code.DRIFT_ONCE, "Moved, but not in windows enough in a row", once)
    uninformative = _with(exceeded, Status.NOT_APPLICABLE)
    if uninformative:
        text = "Moved, as it so often does that it tells nothing"
        yield _named(Code.DRIFT_UNINFORMATIVE, text, uninformative)


def _silence(found: _Found) -> Iterable[Reason]:
    silent = [c for c in found.liveness if c.status in (Status.FAILED, Status.ERROR)]
    if silent:
        yield _named(Code.SILENCE, "Silence, or a clock that is wrong", silent)


def _unfit(codes: set[str], unseen: Iterable[str]) -> list[Reason]:
    """Say that the window may not be learned: it is broken, or whether it is was not seen."""
    if codes & _BROKEN:
        text = "What is broken may not be learned, and may be why the rest was found."
        return [Reason(Code.HOLD_QUALITY, text)]
    if codes & {Code.QUALITY_UNKNOWN, *unseen}:
        text = "Whether the input is broken is unknown, and broken input may not be learned."
        return [Reason(Code.HOLD_QUALITY, text)]
    return []


def _by_policy(setting: str, value: str) -> Iterable[Reason]:
    if value == "alert":
        named = f"monitor.policy.{setting}"
        yield Reason(Code.HOLD_POLICY, f"{named} is alert.", {"setting": named})


def _biased(codes: set[str]) -> Iterable[Reason]:
    if Code.LABELS_BIASED in codes:
        text = "The labels so far are a biased sample; the window is judged again with the rest."
        yield Reason(Code.HOLD_BIASED, text)


def _few_labels(standing: Standing, policy: PolicySettings) -> Iterable[Reason]:
    if standing.new_labels < policy.minimum_labels:
        values = {"new_labels": standing.new_labels, "minimum_labels": policy.minimum_labels}
        text = (
            f"{standing.new_labels:,} labelled rows are new; fewer than "
            f"{policy.minimum_labels:,} teach too little."
        )
        yield Reason(Code.HOLD_LABELS, text, values)


def _old(standing: Standing, policy: PolicySettings) -> list[Reason]:
    """Say that the champion is too old, unless it was tried lately to replace it.

    Nothing may come of a retraining, and the champion's age then stays; so the age counts from
    the last of them.
    """
    if policy.maximum_age_days is None:
        return []
    since = max(standing.champion_since, *standing.began, standing.champion_since)
    age = standing.now - since
    if age < timedelta(days=policy.maximum_age_days):
        return []
    days = age / DAY
    values = {"age_days": round(days, 3), "maximum_age_days": policy.maximum_age_days}
    text = (
        f"The champion is {days:.1f} days old and nothing was trained since; "
        f"{policy.maximum_age_days:g} are the most."
    )
    return [Reason(Code.CHAMPION_OLD, text, values)]


def _limits(standing: Standing, policy: PolicySettings) -> Iterable[Reason]:
    """Say what keeps any training back now: another one, the cool-down, the day's number."""
    if standing.running:
        yield Reason(Code.HOLD_RUNNING, "A retraining runs; there is one at a time.")
    ahead = [began for began in standing.began if began > standing.now]
    if ahead:
        text = (
            f"A training is said to have begun at {ahead[-1].isoformat(timespec='seconds')}, "
            "which is yet to come: the clock jumped."
        )
        yield Reason(Code.HOLD_CLOCK, text, {"time": ahead[-1].isoformat()})
    past = [began for began in standing.began if began <= standing.now]
    cooldown = timedelta(hours=policy.cooldown_hours)
    if past and standing.now - past[-1] < cooldown:
        until = past[-1] + cooldown
        values = {"until": until.isoformat(), "cooldown_hours": policy.cooldown_hours}
        text = f"The cool-down lasts until {until.isoformat(timespec='seconds')}."
        yield Reason(Code.HOLD_COOLDOWN, text, values)
    today = sum(standing.now - began < DAY for began in past)
    if today >= policy.most_a_day:
        values = {"within_24_hours": today, "most_a_day": policy.most_a_day}
        text = f"{today} within 24 hours; {policy.most_a_day} are the most."
        yield Reason(Code.HOLD_DAY, text, values)


_BROKEN = frozenset({Code.QUALITY_BROKEN, Code.LABELS_BROKEN})
_QUIET = frozenset(
    {
        Code.ROWS_FEW,
        Code.PERFORMANCE_UNSURE,
        Code.LABELS_FEW,
        Code.LABELS_BIASED,
        Code.DRIFT_ONCE,
        Code.DRIFT_UNINFORMATIVE,
    }
)
"""What nobody is told of by itself: too few rows, or too little certainty."""


def _with(checks: Iterable[CheckResult], status: Status) -> list[CheckResult]:
    return [check for check in checks if check.status is status]


def _named(code: Code, text: str, checks: Sequence[CheckResult]) -> Reason:
    ids = [check.id for check in checks]
    shown = ", ".join(ids[:MAXIMUM_EXAMPLES])
    more = len(ids) - MAXIMUM_EXAMPLES
    said = f"{text}: {shown}" + (f" and {more} more" if more > 0 else "") if ids else text
    return Reason(code, f"{said}.", {"checks": ids})
