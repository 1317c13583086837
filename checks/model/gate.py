"""The gate: every rule, over the evidence."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from checks.model.answers import Answers
from checks.model.baseline import check_baseline
from checks.model.behaviour import (
    check_agreement,
    check_deterministic,
    check_invariance,
    check_missing,
    check_noise,
    check_row_order,
)
from checks.model.calibration import check_brier, check_ece, reliability
from checks.model.champion import check_champion
from checks.model.confusion import check_confusion, check_cost, check_precision, check_recall
from checks.model.curves import curves
from checks.model.evidence import Champion, Evidence
from checks.model.fresh import check_latency, check_loadable, check_size
from checks.model.leakage import (
    check_columns_alone,
    check_duplicates,
    check_sealed,
    check_telling_columns,
)
from checks.model.limits import (
    check_enough_rows,
    check_limits,
    check_metric,
    check_probabilities,
    check_schema,
    check_support,
)
from checks.model.overfit import check_overfit
from checks.model.settings import GateSettings
from checks.model.slices import check_segments, check_slices, find_slices
from checks.result import CheckResult, Report, Status

NAME = "gate"
"""The name of every report made here."""

_SLICES = 10

Family: TypeAlias = Callable[[GateSettings, Evidence, Answers], Iterable[CheckResult]]


def _limits(settings: GateSettings, evidence: Evidence, answers: Answers) -> Iterable[CheckResult]:
    yield check_limits(settings)


def _schema(settings: GateSettings, evidence: Evidence, answers: Answers) -> Iterable[CheckResult]:
    yield check_schema(evidence)


def _rows(settings: GateSettings, evidence: Evidence, answers: Answers) -> Iterable[CheckResult]:
    yield check_enough_rows(answers, settings.minimum_rows)


def _classes(settings: GateSettings, evidence: Evidence, answers: Answers) -> Iterable[CheckResult]:
    yield check_support(answers, settings.minimum_support)


def _probabilities(
    settings: GateSettings, evidence: Evidence, answers: Answers
) -> Iterable[CheckResult]:
    yield check_probabilities(answers)


def _agreement(
    settings: GateSettings, evidence: Evidence, answers: Answers
) -> Iterable[CheckResult]:
    yield check_agreement(answers, evidence.threshold)


def _sealed(settings: GateSettings, evidence: Evidence, answers: Answers) -> Iterable[CheckResult]:
    yield check_sealed(evidence.learned)


def _metrics(settings: GateSettings, evidence: Evidence, answers: Answers) -> Iterable[CheckResult]:
    for name, limit in settings.metrics.items():
        yield check_metric(answers, name, limit, **_held(settings))


def _recall(settings: GateSettings, evidence: Evidence, answers: Answers) -> Iterable[CheckResult]:
    for name, share in settings.recall.items():
        yield check_recall(answers, name, share, **_held(settings))


def _precision(
    settings: GateSettings, evidence: Evidence, answers: Answers
) -> Iterable[CheckResult]:
    for name, share in settings.precision.items():
        yield check_precision(answers, name, share, **_held(settings))


def _confusion(
    settings: GateSettings, evidence: Evidence, answers: Answers
) -> Iterable[CheckResult]:
    for cell, share in settings.confusion.items():
        yield check_confusion(answers, cell, share, **_held(settings))


def _cost(settings: GateSettings, evidence: Evidence, answers: Answers) -> Iterable[CheckResult]:
    yield check_cost(answers, settings.cost, **_held(settings))


def _baselines(
    settings: GateSettings, evidence: Evidence, answers: Answers
) -> Iterable[CheckResult]:
    how = {"scoring": settings.scoring, **_held(settings)}
    margins = settings.baseline
    yield check_baseline(answers, evidence.majority, "majority", margin=margins.majority, **how)
    yield check_baseline(answers, evidence.yardstick, "yardstick", margin=margins.yardstick, **how)


def _champion(
    settings: GateSettings, evidence: Evidence, answers: Answers
) -> Iterable[CheckResult]:
    yield check_champion(
        answers,
        evidence.champion,
        evidence.learned,
        minimum_effect=settings.champion.minimum_effect,
        minimum_rows=settings.champion.minimum_rows or settings.minimum_rows,
        scoring=settings.scoring,
        confidence=settings.confidence,
        rows=evidence.rows,
    )


def _segments(
    settings: GateSettings, evidence: Evidence, answers: Answers
) -> Iterable[CheckResult]:
    champion, compared = evidence.champion, None
    if isinstance(champion, Champion) and not isinstance(evidence.learned, str):
        compared = ~(champion.learned | evidence.learned)
    yield check_segments(
        answers,
        champion,
        evidence.frame,
        settings.slices,
        confidence=settings.confidence,
        compared=compared,
    )


def _overfit(settings: GateSettings, evidence: Evidence, answers: Answers) -> Iterable[CheckResult]:
    yield check_overfit(
        answers,
        evidence.train,
        settings.overfit,
        scoring=settings.scoring,
        **_held(settings),
    )


def _slices(settings: GateSettings, evidence: Evidence, answers: Answers) -> Iterable[CheckResult]:
    yield from check_slices(
        answers, evidence.frame, settings.slices, confidence=settings.confidence
    )


def _calibration(
    settings: GateSettings, evidence: Evidence, answers: Answers
) -> Iterable[CheckResult]:
    yield check_brier(answers, settings.calibration, **_held(settings))
    yield check_ece(answers, settings.calibration, **_held(settings))


def _loadable(
    settings: GateSettings, evidence: Evidence, answers: Answers
) -> Iterable[CheckResult]:
    yield check_loadable(answers, evidence.fresh, evidence.threshold)


def _latency(settings: GateSettings, evidence: Evidence, answers: Answers) -> Iterable[CheckResult]:
    yield check_latency(evidence.fresh, "row", settings.latency.row_ms)
    yield check_latency(evidence.fresh, "batch", settings.latency.batch_ms)


def _size(settings: GateSettings, evidence: Evidence, answers: Answers) -> Iterable[CheckResult]:
    yield check_size(evidence.fresh, settings.size_mb)


def _deterministic(
    settings: GateSettings, evidence: Evidence, answers: Answers
) -> Iterable[CheckResult]:
    yield check_deterministic(answers, evidence.again)


def _row_order(
    settings: GateSettings, evidence: Evidence, answers: Answers
) -> Iterable[CheckResult]:
    yield check_row_order(answers, evidence.reordered, evidence.threshold)


def _invariance(
    settings: GateSettings, evidence: Evidence, answers: Answers
) -> Iterable[CheckResult]:
    for column in settings.invariance.columns:
        shuffled = evidence.shuffled.get(column, "it was not shuffled")
        flips = settings.invariance.flips
        yield check_invariance(answers, shuffled, column, flips, **_held(settings))


def _robustness(
    settings: GateSettings, evidence: Evidence, answers: Answers
) -> Iterable[CheckResult]:
    asked = settings.robustness
    yield check_noise(answers, evidence.noisy, asked.noise, asked.flips, **_held(settings))
    yield check_missing(answers, evidence.emptied, asked.missing, asked.drop, **_held(settings))


def _leakage(settings: GateSettings, evidence: Evidence, answers: Answers) -> Iterable[CheckResult]:
    asked = settings.leakage
    yield check_columns_alone(evidence.alone, asked.alone, asked.known)
    yield check_duplicates(evidence.copied, asked.duplicates)
    yield check_telling_columns(evidence.telling, asked.known)


RULES: Mapping[str, Family] = {
    "limits": _limits,
    "schema": _schema,
    "rows": _rows,
    "classes": _classes,
    "probabilities": _probabilities,
    "agreement": _agreement,
    "sealed": _sealed,
    "metrics": _metrics,
    "recall": _recall,
    "precision": _precision,
    "confusion": _confusion,
    "cost": _cost,
    "baseline": _baselines,
    "champion": _champion,
    "segments": _segments,
    "overfit": _overfit,
    "slices": _slices,
    "calibration": _calibration,
    "loadable": _loadable,
    "latency": _latency,
    "size": _size,
    "deterministic": _deterministic,
    "row_order": _row_order,
    "invariance": _invariance,
    "robustness": _robustness,
    "leakage": _leakage,
}
"""Every family of rules, in the order in which a reader should see them."""


def judge(settings: GateSettings, evidence: Evidence) -> Report:
    """Judge a candidate by every rule of the gate.

    Parameters
    ----------
    settings : GateSettings
    evidence : Evidence

    Returns
    -------
    Report
        One result or more for each of `RULES`, whatever happens. Its facts are those that the
        report draws: ``docs/gate-report.schema.json`` describes them.
    """
    answers = evidence.answers
    if isinstance(answers, str):
        answers = Answers.unscored(len(evidence.frame))
    checks: list[CheckResult] = []
    for name, family in RULES.items():
        try:
            checks.extend(family(settings, evidence, answers))
        except Exception as err:  # the gate fails closed on whatever a rule meets
            why = f"Could not be judged: the rule broke off with {type(err).__name__}: {err}"
            checks.append(CheckResult(name, "The rule can be judged", Status.ERROR, reason=why))
    return Report(NAME, tuple(checks), _facts(settings, evidence, answers, checks))


def _held(settings: GateSettings) -> dict[str, Any]:
    return {"on": settings.on, "confidence": settings.confidence}


def _facts(
    settings: GateSettings, evidence: Evidence, answers: Answers, checks: Iterable[CheckResult]
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "look": evidence.look,
        "scoring": settings.scoring,
        "on": settings.on,
        "confidence": settings.confidence,
        "metrics": {
            check.id: check.observed
            for check in checks
            if check.id in settings.metrics and check.observed is not None
        },
        "champion": _champion_facts(evidence, answers, checks),
    }
    # A picture that cannot be drawn is left out; the rule that needs its numbers says why.
    for draw in (_matrix, _other_matrix, _reliability, _curves, _worst):
        try:
            facts |= draw(settings, evidence, answers)
        except Exception as err:  # whatever a model's answers do to it
            facts.setdefault("not_drawn", []).append(f"{type(err).__name__}: {err}"[:200])
    if "champion_confusion" in facts:
        facts["champion"]["confusion"] = facts.pop("champion_confusion")
    return facts


def _matrix(settings: GateSettings, evidence: Evidence, answers: Answers) -> dict[str, Any]:
    return {"rows": len(answers.truth), "labels": answers.names, "confusion": answers.confusion}


def _reliability(settings: GateSettings, evidence: Evidence, answers: Answers) -> dict[str, Any]:
    bins = settings.calibration.bins
    return {"reliability": reliability(answers, bins, settings.confidence)}


def _curves(settings: GateSettings, evidence: Evidence, answers: Answers) -> dict[str, Any]:
    return {"curves": curves(answers)}


def _worst(settings: GateSettings, evidence: Evidence, answers: Answers) -> dict[str, Any]:
    found = find_slices(
        evidence.frame,
        answers.predicted == answers.truth,
        minimum_rows=settings.slices.minimum_rows,
        confidence=settings.confidence,
        most=_SLICES,
    )
    return {"slices": [each.to_dict() for each in found]}


def _champion_facts(
    evidence: Evidence, answers: Answers, checks: Iterable[CheckResult]
) -> dict[str, Any]:
    judged = {check.id: check for check in checks}
    if "champion" not in judged:
        return {}
    found = judged["champion"]
    facts: dict[str, Any] = {"difference": found.observed, "interval": found.interval}
    facts |= {key: value for key, value in found.details.items() if key != "relation"}
    facts["p"] = facts.pop("mcnemar_p", None)
    if "segments" in judged:
        facts["segments"] = judged["segments"].details.get("segments", [])
    return facts


def _other_matrix(settings: GateSettings, evidence: Evidence, answers: Answers) -> dict[str, Any]:
    """Count the champion's answers; one column more where it answers classes not known here."""
    champion = evidence.champion
    if not isinstance(champion, Champion):
        return {}
    codes = answers.codes(
        champion.predictions, "the champion's answers", like=answers.truth, others=True
    )
    k = len(answers.names)
    columns = k + 1 if (codes < 0).any() else k
    place = answers.truth * columns + np.where(codes < 0, k, codes)
    counts = np.bincount(place, minlength=k * columns).reshape(k, columns)
    return {"champion_confusion": counts}
