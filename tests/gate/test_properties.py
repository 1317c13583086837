"""What must hold for every gate, whatever its limits."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.model.answers import Answers
from checks.model.evidence import Champion, Evidence
from checks.model.gate import judge
from checks.model.settings import GateSettings
from checks.result import CheckResult, Report, Status

Honest = Callable[..., Evidence]
PROPERTY = settings(deadline=None, max_examples=25)

SHARE = st.floats(0.02, 0.98)
LIMITS: dict[str, tuple[Callable[[float], Any], int]] = {
    "minimum_rows": (lambda share: int(8_000 * share), 1),
    "minimum_support": (lambda share: int(4_000 * share), 1),
    "metrics": (lambda share: {"accuracy": {"min": share}}, 1),
    "recall": (lambda share: {"late": share}, 1),
    "precision": (lambda share: {"on_time": share}, 1),
    "confusion": (lambda share: {"late -> on_time": share}, -1),
    "cost": (lambda share: {"max": share}, -1),
    "overfit": (lambda share: share / 5, -1),
    "size_mb": (lambda share: 2 * share, -1),
    "baseline": (lambda share: {"yardstick": share / 5}, 1),
    "champion": (lambda share: {"minimum_effect": share / 5}, 1),
    "slices": (lambda share: {"minimum": share, "search": False, "columns": ["carrier"]}, 1),
    "calibration": (lambda share: {"brier": share / 2, "ece": share / 5}, -1),
    "latency": (lambda share: {"row_ms": 10 * share}, -1),
    "robustness": (lambda share: {"flips": share / 10, "drop": share / 10}, -1),
    "invariance": (lambda share: {"columns": ["carrier"], "flips": share / 10}, -1),
    "leakage": (lambda share: {"alone": 0.5 + share / 2, "duplicates": share / 10}, -1),
}
"""Of each limit, how a share sets it, and whether a higher share asks for more."""


@pytest.fixture(scope="module")
def candidate(make_honest: Honest) -> Evidence:
    """Give evidence with a little of every fault, so that each limit may fall either way."""
    sound = make_honest()
    assert isinstance(sound.answers, Answers)
    rows = np.arange(len(sound.frame))
    other = np.where(sound.answers.predictions == "late", "on_time", "late")
    little = np.where(rows < 100, other, sound.answers.predictions)
    return replace(
        sound, noisy=little, emptied=little, shuffled={"carrier": little}, copied=rows < 60
    )


@PROPERTY
@given(limit=st.sampled_from(sorted(LIMITS)), shares=st.tuples(SHARE, SHARE))
def test_asking_for_more_never_lets_more_through(
    candidate: Evidence, limit: str, shares: tuple[float, float]
) -> None:
    """Of two gates the stricter passes no candidate that the laxer refuses."""
    make, sign = LIMITS[limit]
    lax, strict = sorted(shares, key=lambda share: sign * share)
    base = {"metrics": {"accuracy": {"min": 0.5}}, "slices": {"search": False}}
    passes = [
        judge(GateSettings.model_validate({**base, limit: make(share)}), candidate).passed
        for share in (lax, strict)
    ]
    assert passes[0] or not passes[1]


@PROPERTY
@given(limit=st.sampled_from(sorted(LIMITS)), share=SHARE)
def test_a_limit_more_never_helps(candidate: Evidence, limit: str, share: float) -> None:
    """A gate that asks for one thing more passes no candidate that it refused before."""
    few = {"metrics": {"accuracy": {"min": 0.8}}, "slices": {"search": False}}
    make, _ = LIMITS[limit]
    more = {**few, limit: make(share)}
    if limit == "metrics":
        more[limit] = {**few["metrics"], "balanced_accuracy": {"min": share}}
    before = judge(GateSettings.model_validate(few), candidate)
    after = judge(GateSettings.model_validate(more), candidate)
    assert before.passed or not after.passed


STATUSES = st.sampled_from(list(Status))
TEXT = st.text(max_size=20)
VALUES = st.none() | st.integers() | st.floats() | TEXT


@st.composite
def results(draw: st.DrawFn) -> CheckResult:
    """Draw a result of any kind."""
    return CheckResult(
        draw(TEXT),
        draw(TEXT),
        draw(STATUSES),
        observed=draw(VALUES),
        limit=draw(VALUES),
        reason=draw(st.text(max_size=600)),
        interval=draw(st.none() | st.tuples(st.floats(), st.floats())),
        details=draw(st.dictionaries(TEXT, VALUES | st.lists(VALUES, max_size=3), max_size=3)),
    )


@settings(deadline=None, max_examples=100)
@given(st.lists(results(), max_size=4), st.dictionaries(TEXT, VALUES, max_size=3))
def test_a_report_is_the_same_after_json(checks: list[CheckResult], facts: dict[str, Any]) -> None:
    """What is read back from the document is the report, with its verdict."""
    report = Report("gate", tuple(checks), facts)
    again = Report.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
    assert again == report
    assert again.verdict is report.verdict


@settings(deadline=None, max_examples=100)
@given(st.lists(results(), max_size=4), results())
def test_a_check_that_refuses_is_never_outvoted(
    checks: list[CheckResult], refusal: CheckResult
) -> None:
    """However many checks hold, one that failed or broke off refuses."""
    refused = replace(refusal, status=Status.FAILED)
    assert not Report("gate", (*checks, refused)).passed
    assert not Report("gate", (refused, *checks)).passed


def test_a_gate_in_which_nothing_was_judged_refuses() -> None:
    """Neither no check at all nor checks that do not apply are a pass."""
    apart = [
        CheckResult("champion", "", Status.FIRST_MODEL),
        CheckResult("size", "", Status.NOT_APPLICABLE),
    ]
    assert Report("gate", ()).verdict is Status.ERROR
    assert Report("gate", tuple(apart)).verdict is Status.ERROR


@pytest.mark.parametrize("k", [3, 11, 100])
def test_a_model_that_never_finds_the_rare_class_is_refused(k: int, make_honest: Honest) -> None:
    """Also beyond ten classes of integers, where text would sort 10 before 2."""
    rng = np.random.default_rng(k)
    rows = 60 * k
    truth = np.concatenate([np.repeat(np.arange(k), 12), rng.integers(0, k - 1, rows - 12 * k)])
    said = np.where(truth == k - 1, 0, truth)
    probabilities = np.full((rows, k), 0.1 / (k - 1))
    probabilities[np.arange(rows), said] = 0.9
    answers = Answers(tuple(range(k)), truth, said, probabilities)
    sound = make_honest()
    frame = sound.frame.iloc[np.arange(rows) % len(sound.frame)].reset_index(drop=True)
    evidence = replace(
        sound,
        answers=answers,
        train=answers,
        frame=frame,
        learned=np.zeros(rows, dtype=bool),
        majority=np.zeros(rows, dtype=int),
        yardstick=np.zeros(rows, dtype=int),
        champion=Champion("1", np.zeros(rows, dtype=int), np.zeros(rows, dtype=bool)),
        again=probabilities,
        reordered=said,
        noisy=said,
        emptied=said,
        fresh=replace(sound.fresh, predictions=said, probabilities=probabilities),  # type: ignore[type-var]
        copied=np.zeros(rows, dtype=bool),
    )
    asked = {"minimum_support": 12, "metrics": {"accuracy": {"min": 0.3}}}
    blind = GateSettings.model_validate({**asked, "recall": {str(k - 1): 0.1}})
    honest = judge(GateSettings.model_validate(asked), evidence)
    assert honest.passed, honest.reasons
    report = judge(blind, evidence)
    assert [check.id for check in report.refusals] == [f"recall[{k - 1}]"]
    assert report.facts["labels"] == [str(label) for label in range(k)]
    assert report.facts["confusion"][k - 1][0] == int((truth == k - 1).sum())
