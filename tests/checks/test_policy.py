"""What follows from a window, for every combination that matters."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.monitor import PolicySettings
from checks.policy import Action, Code, Decision, Standing, decide
from checks.result import CheckResult, Report, Status

NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
DAYS = timedelta(days=1)
HOURS = timedelta(hours=1)

PASSED, FAILED, ERROR, BESIDE = Status.PASSED, Status.FAILED, Status.ERROR, Status.NOT_APPLICABLE

READY = Standing(NOW, NOW - 90 * DAYS, new_labels=10_000)


def check(id: str, status: Status = PASSED, **details: Any) -> CheckResult:
    return CheckResult(id, f"{id} is well", status, reason="so it is", details=details)


def drift(*more: CheckResult) -> Report:
    quiet = [check("rows"), check("distance.values"), check("distance.missing")]
    return Report("drift", (*[c for c in quiet if c.id not in {m.id for m in more}], *more))


def performance(*rules: CheckResult, labels: Status = PASSED) -> Report:
    return Report("performance", (check("labels", labels), *rules))


GOOD = performance(check("accuracy"))
LOST = performance(check("accuracy", FAILED))
UNLABELLED = performance(labels=BESIDE)
ALIVE = Report("liveness", (check("traffic"), check("labels"), check("monitoring")))
MOVED = drift(check("distance.values", FAILED, exceeded=True))


def decided(
    drift: Report | None = None,
    performance: Report | None = None,
    liveness: Report | None = ALIVE,
    standing: Standing = READY,
    policy: Mapping[str, Any] | None = None,
) -> Decision:
    made = {"drift": drift, "performance": performance, "liveness": liveness}
    reports = {name: report for name, report in made.items() if report is not None}
    return decide(reports, standing, PolicySettings(**(policy or {})))


TABLE: dict[str, tuple[dict[str, Any], Action, set[str]]] = {
    "all is well": (
        {"drift": drift(), "performance": GOOD},
        Action.NOTHING,
        {Code.ALL_WELL},
    ),
    "a confirmed loss retrains": (
        {"drift": drift(), "performance": LOST},
        Action.RETRAIN,
        {Code.PERFORMANCE_LOST},
    ),
    "a loss under drift retrains": (
        {"drift": MOVED, "performance": LOST},
        Action.RETRAIN,
        {Code.PERFORMANCE_LOST, Code.DRIFT_CONFIRMED},
    ),
    "a loss beyond the limit that is not certain waits": (
        {"drift": drift(), "performance": performance(check("accuracy", beyond=True))},
        Action.NOTHING,
        {Code.PERFORMANCE_UNSURE},
    ),
    "drift without labels trains a challenger": (
        {"drift": MOVED, "performance": UNLABELLED},
        Action.CHALLENGE,
        {Code.DRIFT_CONFIRMED, Code.LABELS_FEW},
    ),
    "drift without a report on performance trains a challenger": (
        {"drift": MOVED},
        Action.CHALLENGE,
        {Code.DRIFT_CONFIRMED},
    ),
    "drift that the labels show to be harmless alerts": (
        {"drift": MOVED, "performance": GOOD},
        Action.ALERT,
        {Code.DRIFT_CONFIRMED, Code.DRIFT_HARMLESS},
    ),
    "drift with labels of a biased sample trains a challenger": (
        {
            "drift": MOVED,
            "performance": performance(
                check("labels.coverage", BESIDE, biased=True), check("accuracy")
            ),
        },
        Action.CHALLENGE,
        {Code.DRIFT_CONFIRMED, Code.LABELS_BIASED},
    ),
    "a move of the answers is drift": (
        {"drift": drift(check("score[late].values", FAILED)), "performance": UNLABELLED},
        Action.CHALLENGE,
        {Code.DRIFT_CONFIRMED, Code.LABELS_FEW},
    ),
    "a move in one window waits": (
        {
            "drift": drift(check("distance.values", PASSED, exceeded=True)),
            "performance": UNLABELLED,
        },
        Action.NOTHING,
        {Code.DRIFT_ONCE, Code.LABELS_FEW},
    ),
    "a move that tells nothing waits": (
        {"drift": drift(check("month.values", BESIDE, exceeded=True)), "performance": GOOD},
        Action.NOTHING,
        {Code.DRIFT_UNINFORMATIVE},
    ),
    "a broken column alerts": (
        {"drift": drift(check("distance.broken", FAILED)), "performance": GOOD},
        Action.ALERT,
        {Code.QUALITY_BROKEN},
    ),
    "a broken column alerts, whatever the loss": (
        {"drift": drift(check("distance.broken", FAILED)), "performance": LOST},
        Action.ALERT,
        {Code.QUALITY_BROKEN, Code.PERFORMANCE_LOST, Code.HOLD_QUALITY},
    ),
    "missing cells alert, whatever the drift": (
        {
            "drift": drift(check("distance.missing", FAILED), check("distance.values", FAILED)),
            "performance": UNLABELLED,
        },
        Action.ALERT,
        {Code.QUALITY_BROKEN, Code.DRIFT_CONFIRMED, Code.LABELS_FEW, Code.HOLD_QUALITY},
    ),
    "new categories alert": (
        {"drift": drift(check("my.carrier.levels", FAILED)), "performance": LOST},
        Action.ALERT,
        {Code.QUALITY_BROKEN, Code.PERFORMANCE_LOST, Code.HOLD_QUALITY},
    ),
    "a missing reference alerts and holds a loss back": (
        {
            "drift": Report("drift", (check("reference.missing", ERROR),)),
            "performance": LOST,
        },
        Action.ALERT,
        {Code.QUALITY_UNKNOWN, Code.PERFORMANCE_LOST, Code.HOLD_QUALITY},
    ),
    "too few rows hold a loss back": (
        {"drift": Report("drift", (check("rows", ERROR),)), "performance": LOST},
        Action.ALERT,
        {Code.ROWS_FEW, Code.PERFORMANCE_LOST, Code.HOLD_QUALITY},
    ),
    "too few rows are no alert": (
        {"drift": Report("drift", (check("rows", ERROR),)), "performance": UNLABELLED},
        Action.NOTHING,
        {Code.ROWS_FEW, Code.LABELS_FEW},
    ),
    "a loss on a biased sample is held back": (
        {
            "drift": drift(),
            "performance": performance(
                check("labels.coverage", BESIDE, biased=True), check("accuracy", FAILED)
            ),
        },
        Action.ALERT,
        {Code.LABELS_BIASED, Code.PERFORMANCE_LOST, Code.HOLD_BIASED},
    ),
    "labels that are no classes hold a loss back": (
        {
            "drift": drift(),
            "performance": performance(check("labels.classes", FAILED), check("accuracy", FAILED)),
        },
        Action.ALERT,
        {Code.LABELS_BROKEN, Code.PERFORMANCE_LOST, Code.HOLD_QUALITY},
    ),
    "a rule that could not be judged alerts": (
        {"drift": drift(), "performance": performance(check("accuracy", ERROR))},
        Action.ALERT,
        {Code.PERFORMANCE_UNJUDGED},
    ),
    "an estimate that fell alerts": (
        {"drift": drift(), "performance": performance(check("estimate", FAILED), labels=BESIDE)},
        Action.ALERT,
        {Code.ESTIMATE_FELL, Code.LABELS_FEW},
    ),
    "silence alerts": (
        {
            "drift": drift(),
            "performance": GOOD,
            "liveness": Report("liveness", (check("traffic", FAILED),)),
        },
        Action.ALERT,
        {Code.SILENCE},
    ),
    "nothing at all retrains nothing": (
        {"liveness": None},
        Action.NOTHING,
        {Code.ROWS_FEW},
    ),
    "too few new labels hold a loss back": (
        {
            "drift": drift(),
            "performance": LOST,
            "standing": Standing(NOW, NOW - 90 * DAYS, new_labels=499),
        },
        Action.ALERT,
        {Code.PERFORMANCE_LOST, Code.HOLD_LABELS},
    ),
    "as many new labels as are asked for do not": (
        {
            "drift": drift(),
            "performance": LOST,
            "standing": Standing(NOW, NOW - 90 * DAYS, new_labels=500),
        },
        Action.RETRAIN,
        {Code.PERFORMANCE_LOST},
    ),
    "a running retraining holds a loss back": (
        {
            "drift": drift(),
            "performance": LOST,
            "standing": Standing(NOW, NOW - 90 * DAYS, running=True, new_labels=10_000),
        },
        Action.ALERT,
        {Code.PERFORMANCE_LOST, Code.HOLD_RUNNING},
    ),
    "the cool-down holds a loss back": (
        {
            "drift": drift(),
            "performance": LOST,
            "standing": Standing(NOW, NOW - 90 * DAYS, NOW - 23 * HOURS, new_labels=10_000),
        },
        Action.ALERT,
        {Code.PERFORMANCE_LOST, Code.HOLD_COOLDOWN},
    ),
    "the cool-down ends": (
        {
            "drift": drift(),
            "performance": LOST,
            "standing": Standing(NOW, NOW - 90 * DAYS, NOW - 24 * HOURS, new_labels=10_000),
        },
        Action.RETRAIN,
        {Code.PERFORMANCE_LOST},
    ),
    "the cool-down holds a challenger back": (
        {"drift": MOVED, "standing": Standing(NOW, NOW - 90 * DAYS, NOW - HOURS)},
        Action.ALERT,
        {Code.DRIFT_CONFIRMED, Code.HOLD_COOLDOWN},
    ),
    "the day's number holds a loss back": (
        {
            "drift": drift(),
            "performance": LOST,
            "policy": {"cooldown_hours": 1.0},
            "standing": Standing(
                NOW,
                NOW - 90 * DAYS,
                NOW - 5 * HOURS,
                trainings=[NOW - 9 * HOURS, NOW - 5 * HOURS, NOW - 30 * HOURS],
                new_labels=10_000,
            ),
        },
        Action.ALERT,
        {Code.PERFORMANCE_LOST, Code.HOLD_DAY},
    ),
    "a training in the future holds a loss back": (
        {
            "drift": drift(),
            "performance": LOST,
            "standing": Standing(NOW, NOW - 90 * DAYS, NOW + 300 * DAYS, new_labels=10_000),
        },
        Action.ALERT,
        {Code.PERFORMANCE_LOST, Code.HOLD_CLOCK},
    ),
    "a policy of alerts retrains on no loss": (
        {"drift": drift(), "performance": LOST, "policy": {"performance": "alert"}},
        Action.ALERT,
        {Code.PERFORMANCE_LOST, Code.HOLD_POLICY},
    ),
    "a policy of alerts trains no challenger": (
        {"drift": MOVED, "policy": {"drift": "alert"}},
        Action.ALERT,
        {Code.DRIFT_CONFIRMED, Code.HOLD_POLICY},
    ),
    "a champion that is too old is retrained": (
        {"drift": drift(), "performance": GOOD, "policy": {"maximum_age_days": 90.0}},
        Action.RETRAIN,
        {Code.CHAMPION_OLD},
    ),
    "a champion that is too old needs no new labels": (
        {
            "drift": drift(),
            "performance": UNLABELLED,
            "policy": {"maximum_age_days": 30.0},
            "standing": Standing(NOW, NOW - 90 * DAYS),
        },
        Action.RETRAIN,
        {Code.CHAMPION_OLD, Code.LABELS_FEW},
    ),
    "an age that is reached needs not wait for what a loss waits for": (
        {
            "drift": drift(),
            "performance": LOST,
            "policy": {"maximum_age_days": 30.0},
            "standing": Standing(NOW, NOW - 90 * DAYS, new_labels=3),
        },
        Action.RETRAIN,
        {Code.PERFORMANCE_LOST, Code.CHAMPION_OLD},
    ),
    "a champion that was tried to replace is old again later": (
        {
            "drift": drift(),
            "performance": GOOD,
            "policy": {"maximum_age_days": 30.0},
            "standing": Standing(NOW, NOW - 90 * DAYS, NOW - 29 * DAYS),
        },
        Action.NOTHING,
        {Code.ALL_WELL},
    ),
    "a broken column holds back what age asks for": (
        {"drift": drift(check("distance.broken", FAILED)), "policy": {"maximum_age_days": 30.0}},
        Action.ALERT,
        {Code.QUALITY_BROKEN, Code.CHAMPION_OLD, Code.HOLD_QUALITY},
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_table(case: str) -> None:
    """Each finding leads to the one action that the policy gives, and says exactly why."""
    found, action, codes = TABLE[case]
    decision = decided(**found)
    assert (decision.action, set(decision.codes)) == (action, codes)


def test_a_column_named_like_a_finding_is_a_column() -> None:
    """Drift of a column is never taken for broken quality, whatever the column is called."""
    for name in ("broken", "rows", "levels", "a.missing"):
        decision = decided(drift(check(f"{name}.values", FAILED)))
        assert decision.action is Action.CHALLENGE, name


def test_a_decision_is_plain() -> None:
    """A decision is a document that JSON holds, with the ids that it was made by."""
    decision = decided(drift(check("distance.broken", FAILED)), LOST)
    document = json.loads(json.dumps(decision.to_dict()))
    assert document["action"] == "alert"
    assert [reason["code"] for reason in document["reasons"]] == [
        "quality.broken",
        "performance.lost",
        "hold.quality",
    ]
    assert document["reasons"][0]["values"] == {"checks": ["distance.broken"]}
    assert document["reasons"][1]["text"] == "Confirmed loss of performance: accuracy."


def test_an_estimate_may_be_a_report_of_its_own() -> None:
    """An estimate that fell alerts, whichever report holds it, and never retrains."""
    reports = {
        "drift": drift(),
        "performance": UNLABELLED,
        "estimate": Report("estimate", (check("estimate", FAILED),)),
    }
    decision = decide(reports, READY, PolicySettings())
    assert decision.action is Action.ALERT
    assert Code.ESTIMATE_FELL in decision.codes


def test_times_need_their_zone() -> None:
    """A standing refuses a time that could not be compared with the others."""
    with pytest.raises(ValueError, match="time zone"):
        Standing(NOW, NOW.replace(tzinfo=None))
    with pytest.raises(ValueError, match="time zone"):
        Standing(NOW, NOW, trainings=[NOW, NOW.replace(tzinfo=None)])


statuses = st.sampled_from([PASSED, FAILED, ERROR, BESIDE])
flags = st.fixed_dictionaries(
    {}, optional={name: st.booleans() for name in ("exceeded", "beyond", "biased")}
)


def reports_of(name: str, *ids: str) -> st.SearchStrategy[Report]:
    checks = st.builds(
        lambda id, status, details: check(id, status, **details),
        st.sampled_from(ids),
        statuses,
        flags,
    )
    return st.lists(checks, max_size=5, unique_by=lambda each: each.id).map(
        lambda found: Report(name, tuple(found))
    )


anything = st.fixed_dictionaries(
    {},
    optional={
        "drift": reports_of(
            "drift",
            *(f"{c}.{k}" for c, k in product("ab", ("broken", "missing", "levels", "values"))),
            *("rows", "rows.together", "reference.missing", "version.gone", "prediction.values"),
        ),
        "performance": reports_of(
            "performance",
            *("labels", "labels.coverage", "labels.classes", "accuracy", "recall[late]"),
            *("slices[c]", "estimate"),
        ),
        "liveness": reports_of("liveness", "traffic", "labels", "monitoring", "clock"),
    },
)
times = st.integers(-3_000, 400).map(lambda hours: NOW + hours * HOURS)
standings = st.builds(
    Standing,
    st.just(NOW),
    times,
    st.none() | times,
    st.lists(times, max_size=4),
    st.booleans(),
    st.integers(0, 2_000),
)
policies = st.builds(
    PolicySettings,
    performance=st.sampled_from(["alert", "retrain"]),
    drift=st.sampled_from(["alert", "challenger"]),
    minimum_labels=st.integers(1, 1_000),
    cooldown_hours=st.floats(0, 100),
    most_a_day=st.integers(1, 4),
    maximum_age_days=st.none() | st.floats(0.5, 200),
)


@settings(max_examples=1_000, deadline=None)
@given(anything, standings, policies)
def test_what_no_finding_can_lead_to(
    reports: dict[str, Report], standing: Standing, policy: PolicySettings
) -> None:
    """Broken input never trains, nor does anything that the limits hold back."""
    decision = decide(reports, standing, policy)
    assert decision.reasons
    assert decide(reports, standing, policy) == decision
    failed = {check.id: check.status for report in reports.values() for check in report.refusals}
    trains = decision.action in (Action.RETRAIN, Action.CHALLENGE)
    held = [code for code in decision.codes if code.startswith("hold.")]
    assert not (trains and held)
    if held:
        assert decision.action is Action.ALERT
    if any(id.endswith((".broken", ".missing", ".levels", ".gone")) for id in failed):
        assert not trains
        assert decision.action is Action.ALERT
    if not trains:
        return
    assert not standing.running
    assert all(began <= NOW for began in standing.began)
    assert all(NOW - began >= policy.cooldown_hours * HOURS for began in standing.began)
    assert sum(NOW - began < DAYS for began in standing.began) < policy.most_a_day
    if Code.CHAMPION_OLD in decision.codes:
        assert policy.maximum_age_days is not None
        assert NOW - standing.champion_since >= policy.maximum_age_days * DAYS
    elif decision.action is Action.RETRAIN:
        assert policy.performance == "retrain"
        assert standing.new_labels >= policy.minimum_labels
        lost = {"accuracy", "recall[late]", "slices[c]"} & failed.keys()
        assert any(failed[id] is FAILED for id in lost)
    else:
        assert policy.drift == "challenger"
        assert {"a.values", "b.values", "rows.together", "prediction.values"} & failed.keys()


@settings(max_examples=300, deadline=None)
@given(anything, standings, policies)
def test_a_failed_check_is_never_passed_over(
    reports: dict[str, Report], standing: Standing, policy: PolicySettings
) -> None:
    """Where a check failed, something is done or somebody told, and its id is a reason."""
    decision = decide(reports, standing, policy)
    named = {id for reason in decision.reasons for id in reason.values.get("checks", ())}
    for report in reports.values():
        for each in report.checks:
            # Too few rows or labels are told by the codes, and alarm nobody.
            if each.status is FAILED and each.id not in ("rows", "labels", "labels.coverage"):
                assert decision.action is not Action.NOTHING
                assert each.id in named
