"""Each rule of the gate is needed: without it, the fault that it names slips through."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from checks.model import gate
from checks.model.answers import Answers
from checks.model.evidence import Champion, Evidence
from checks.model.gate import judge
from checks.model.settings import GateSettings
from checks.result import Report, Status

Honest = Callable[..., Evidence]


def with_settings(settings: GateSettings, changes: dict[str, Any]) -> GateSettings:
    """Change some settings, each by its dotted name."""
    held = settings.model_dump(exclude_none=True)
    for key, value in changes.items():
        table = held
        *sections, name = key.split(".")
        for section in sections:
            table = table.setdefault(section, {})
        table[name] = value
    return GateSettings.model_validate(held)


def other_class(evidence: Evidence, rows: np.ndarray) -> np.ndarray:
    """Give the answers, turned into the other class on some rows."""
    given = answers_of(evidence).predictions
    return np.where(rows, np.where(given == "late", "on_time", "late"), given)


def answers_of(evidence: Evidence) -> Answers:
    """Give the answers of evidence that has some."""
    assert isinstance(evidence.answers, Answers)
    return evidence.answers


def first(evidence: Evidence, count: int) -> np.ndarray:
    """Mark the first rows."""
    return np.arange(len(evidence.frame)) < count


def champion_of(evidence: Evidence) -> Champion:
    """Give the champion of evidence that has one."""
    assert isinstance(evidence.champion, Champion)
    return evidence.champion


def unasked(honest: Honest) -> tuple[Evidence, dict[str, Any]]:
    """Ask nothing of the model."""
    sections = ("metrics", "recall", "precision", "confusion", "cost", "slices")
    return honest(), {section: {} for section in sections}


def too_few_rows(honest: Honest) -> tuple[Evidence, dict[str, Any]]:
    """Ask for more rows than there are."""
    return honest(), {"minimum_rows": 5_000, "champion.minimum_rows": 500}


def too_few_of_a_class(honest: Honest) -> tuple[Evidence, dict[str, Any]]:
    """Ask for more rows of each class than there are."""
    return honest(), {"minimum_support": 2_500}


def sums(honest: Honest) -> tuple[Evidence, dict[str, Any]]:
    """Give probabilities that add up to a little more than one."""
    answers = answers_of(honest())
    spoilt = replace(answers, probabilities=1.005 * np.asarray(answers.probabilities))
    return honest(answers=spoilt), {"calibration": {}}


def astray(honest: Honest) -> tuple[Evidence, dict[str, Any]]:
    """Answer five rows against their own probabilities."""
    sound = honest()
    flipped = other_class(sound, first(sound, 5))
    return honest(answers=replace(answers_of(sound), predictions=flipped)), {}


def read_the_answers(honest: Honest) -> tuple[Evidence, dict[str, Any]]:
    """Learn from three sealed rows."""
    return honest(learned=first(honest(), 3)), {}


def weak_in(key: str, limit: Any) -> Callable[[Honest], tuple[Evidence, dict[str, Any]]]:
    """Ask for more than the model does."""
    return lambda honest: (honest(), {key: limit})


def no_better_than_a_yardstick(honest: Honest) -> tuple[Evidence, dict[str, Any]]:
    """Answer like an untuned model."""
    return honest(yardstick=answers_of(honest()).predictions), {}


def equal_to_the_champion(honest: Honest) -> tuple[Evidence, dict[str, Any]]:
    """Answer like the champion."""
    sound = honest()
    same = replace(champion_of(sound), predictions=answers_of(sound).predictions)
    return honest(champion=same), {}


def worse_in_one_segment(honest: Honest) -> tuple[Evidence, dict[str, Any]]:
    """Be better all in all, and worse than the champion for one carrier at one airport."""
    sound = honest()
    answers, frame = answers_of(sound), sound.frame
    segment = ((frame["carrier"] == "A") & (frame["origin"] == "EWR")).to_numpy()
    truth = answers.y_true
    there = np.where(segment, truth, champion_of(sound).predictions)
    return honest(champion=replace(champion_of(sound), predictions=there)), {}


def memorised(honest: Honest) -> tuple[Evidence, dict[str, Any]]:
    """Be perfect on the training rows."""
    answers = answers_of(honest())
    return honest(train=replace(answers, predictions=answers.y_true)), {}


def blind_in_one_slice(honest: Honest) -> tuple[Evidence, dict[str, Any]]:
    """Know nothing of one carrier at one airport, as the champion does not either."""
    sound = honest()
    answers, frame = answers_of(sound), sound.frame
    blind = ((frame["carrier"] == "A") & (frame["origin"] == "EWR")).to_numpy()
    late = np.where(blind, 1 - answers.probabilities[:, 0], answers.probabilities[:, 0])
    other = honest(
        answers=Answers(
            answers.labels,
            answers.y_true,
            np.where(late > 0.5, "late", "on_time"),
            np.column_stack([late, 1 - late]),
            "late",
        )
    )
    blinded = np.where(blind, answers_of(other).predictions, champion_of(sound).predictions)
    champion = replace(champion_of(sound), predictions=blinded)
    lax = {"recall": {}, "precision": {}, "confusion": {}, "cost": {}, "calibration.ece": 0.2}
    metrics = {"accuracy": {"min": 0.7}}
    return replace(other, champion=champion), {**lax, "slices.columns": (), "metrics": metrics}


def overconfident(honest: Honest) -> tuple[Evidence, dict[str, Any]]:
    """Say the same labels with far too much certainty."""
    answers = answers_of(honest())
    late = np.asarray(answers.probabilities)[:, 0]
    odds = (late / (1 - late)) ** 6
    sure = odds / (1 + odds)
    sharp = replace(answers, probabilities=np.column_stack([sure, 1 - sure]))
    return honest(answers=sharp), {}


def copied_wrongly(honest: Honest) -> tuple[Evidence, dict[str, Any]]:
    """Answer otherwise when loaded elsewhere."""
    sound = honest()
    assert not isinstance(sound.fresh, str)
    return honest(fresh=replace(sound.fresh, predictions=other_class(sound, first(sound, 5)))), {}


def slow(honest: Honest) -> tuple[Evidence, dict[str, Any]]:
    """Take a second for a row."""
    sound = honest()
    assert not isinstance(sound.fresh, str)
    return honest(fresh=replace(sound.fresh, row_ms=1_000.0)), {}


def fat(honest: Honest) -> tuple[Evidence, dict[str, Any]]:
    """Take half a gigabyte."""
    sound = honest()
    assert not isinstance(sound.fresh, str)
    return honest(fresh=replace(sound.fresh, size=500_000_000)), {}


def random(honest: Honest) -> tuple[Evidence, dict[str, Any]]:
    """Draw anew for each answer."""
    probabilities = np.asarray(answers_of(honest()).probabilities)
    return honest(again=0.9 * probabilities + 0.05), {}


def of_its_neighbours(honest: Honest) -> tuple[Evidence, dict[str, Any]]:
    """Answer by the rows around."""
    sound = honest()
    return honest(reordered=other_class(sound, first(sound, 5))), {}


def by_carrier(honest: Honest) -> tuple[Evidence, dict[str, Any]]:
    """Decide by a column that must not decide."""
    sound = honest()
    return honest(shuffled={"carrier": other_class(sound, first(sound, 600))}), {}


def nervous(honest: Honest) -> tuple[Evidence, dict[str, Any]]:
    """Change its mind at the least noise."""
    sound = honest()
    return honest(noisy=other_class(sound, first(sound, 600))), {}


def leaking(honest: Honest) -> tuple[Evidence, dict[str, Any]]:
    """Read a column that knows the answer."""
    return honest(alone={"carrier": 0.55, "paid": 0.999}), {}


MUTANTS: dict[str, tuple[str, Callable[[Honest], tuple[Evidence, dict[str, Any]]]]] = {
    "limits": ("limits", unasked),
    "rows": ("rows", too_few_rows),
    "classes": ("classes", too_few_of_a_class),
    "probabilities": ("probabilities", sums),
    "agreement": ("agreement", astray),
    "sealed": ("sealed", read_the_answers),
    "metrics": ("accuracy", weak_in("metrics", {"accuracy": {"min": 0.99}})),
    "recall": ("recall[late]", weak_in("recall", {"late": 0.99})),
    "precision": ("precision[late]", weak_in("precision", {"late": 0.99})),
    "confusion": ("confusion[late -> on_time]", weak_in("confusion", {"late -> on_time": 0.01})),
    "cost": ("cost", weak_in("cost.max", 0.01)),
    "baseline": ("baseline[yardstick]", no_better_than_a_yardstick),
    "champion": ("champion", equal_to_the_champion),
    "segments": ("segments", worse_in_one_segment),
    "overfit": ("overfit", memorised),
    "slices": ("slices", blind_in_one_slice),
    "calibration": ("calibration[ece]", overconfident),
    "loadable": ("loadable", copied_wrongly),
    "latency": ("latency[row]", slow),
    "size": ("size", fat),
    "deterministic": ("deterministic", random),
    "row_order": ("row_order", of_its_neighbours),
    "invariance": ("invariance[carrier]", by_carrier),
    "robustness": ("robustness[noise]", nervous),
    "leakage": ("leakage[alone]", leaking),
}


def test_an_honest_better_model_passes(make_honest: Honest, every_limit: GateSettings) -> None:
    """The positive control: with a limit for every rule, each of them is judged and holds."""
    report = judge(every_limit, make_honest())
    assert report.passed, report.reasons
    assert {check.status for check in report.checks} == {Status.PASSED}
    assert report.facts["champion"]["verdict"] == "promote"


def test_every_family_of_rules_has_a_mutant() -> None:
    """A rule that is added needs a fault that it alone names."""
    assert {*MUTANTS, "schema"} == set(gate.RULES)


@pytest.mark.parametrize("family", MUTANTS)
def test_each_fault_is_refused_by_the_rule_that_names_it_and_by_no_other(
    family: str,
    make_honest: Honest,
    every_limit: GateSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With all rules the fault is refused by one; without that one it would be promoted."""
    rule, spoil = MUTANTS[family]
    evidence, changes = spoil(make_honest)
    settings = with_settings(every_limit, changes)
    assert {check.id for check in judge(settings, evidence).refusals} == {rule}
    rules = {name: found for name, found in gate.RULES.items() if name != family}
    monkeypatch.setattr(gate, "RULES", rules)
    assert judge(settings, evidence).passed


def test_what_cannot_be_scored_is_refused_by_every_rule_that_needs_answers(
    make_honest: Honest, every_limit: GateSettings
) -> None:
    """The first reason says why, and nothing that reads the answers passes."""
    why = "DataError: The model reads 3 columns. found: 1 missing: carrier"
    report = judge(every_limit, make_honest(answers=why))
    assert report.verdict is Status.ERROR
    assert report.refusals[0].id == "schema"
    assert why in report.refusals[0].reason
    passed = {check.id for check in report.checks if check.status is Status.PASSED}
    assert passed <= {
        *("limits", "rows", "sealed", "size", "latency[row]", "latency[batch]"),
        *("leakage[alone]", "leakage[duplicates]", "leakage[names]"),
    }


@pytest.mark.parametrize(
    "part",
    [
        *("train", "learned", "majority", "yardstick", "champion", "fresh", "again"),
        *("reordered", "noisy", "emptied", "alone", "copied", "telling"),
    ],
)
def test_a_part_that_is_missing_refuses(
    part: str, make_honest: Honest, every_limit: GateSettings
) -> None:
    """Evidence that could not be gathered is an error of each rule that needs it."""
    report = judge(every_limit, make_honest(**{part: "the disk is gone"}))
    assert report.verdict is Status.ERROR
    assert any("the disk is gone" in reason for reason in report.reasons)


@pytest.mark.parametrize(
    "part",
    [
        *("answers", "train", "learned", "majority", "yardstick", "champion", "fresh"),
        *("again", "reordered", "noisy", "emptied", "alone", "copied", "telling", "frame"),
    ],
)
def test_rubbish_refuses(part: str, make_honest: Honest, every_limit: GateSettings) -> None:
    """Rubbish in place of a part never passes and never raises, and each rule answers once."""
    rubbish: Any = object()
    if part == "answers":
        rubbish = Answers(rubbish, rubbish, rubbish, rubbish)
    report = judge(every_limit, replace(make_honest(), **{part: rubbish}))
    assert report.verdict is Status.ERROR
    ids = [check.id for check in report.checks]
    assert len(ids) == len(set(ids))


def test_a_rule_that_breaks_off_refuses(
    make_honest: Honest, every_limit: GateSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash in a rule is an error under its own name; the others are still judged."""

    def crash(*_: Any) -> Any:
        raise ZeroDivisionError("a rule of the house")

    monkeypatch.setattr(gate, "RULES", {**gate.RULES, "overfit": crash})
    report = judge(every_limit, make_honest())
    assert [check.id for check in report.refusals] == ["overfit"]
    assert "ZeroDivisionError: a rule of the house" in report.reasons[0]


def test_a_report_is_the_same_after_json(make_honest: Honest, every_limit: GateSettings) -> None:
    """What is read back from the document is the report, with its verdict."""
    import json

    report = judge(every_limit, make_honest())
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def turned(evidence: Evidence, order: np.ndarray, names: dict[str, str]) -> Evidence:
    """Give the same evidence with its rows in another order and its classes renamed."""

    def named(values: Any) -> np.ndarray:
        return np.array([names[value] for value in np.asarray(values)[order].tolist()])

    answers = answers_of(evidence)
    labels = sorted(names[str(label)] for label in answers.labels)
    columns = [[names[str(label)] for label in answers.labels].index(name) for name in labels]

    def rearranged(values: Any) -> np.ndarray:
        return np.asarray(values)[order][:, columns]

    def answered(old: Answers) -> Answers:
        return Answers(
            labels,
            named(old.y_true),
            named(old.predictions),
            rearranged(old.probabilities),
            names["late"],
        )

    assert isinstance(evidence.train, Answers)
    assert not isinstance(evidence.fresh, str)
    champion = champion_of(evidence)
    return replace(
        evidence,
        answers=answered(answers),
        frame=evidence.frame.iloc[order].reset_index(drop=True),
        train=answered(evidence.train),
        majority=named(evidence.majority),
        yardstick=named(evidence.yardstick),
        champion=replace(champion, predictions=named(champion.predictions)),
        fresh=replace(
            evidence.fresh,
            predictions=named(evidence.fresh.predictions),
            probabilities=rearranged(evidence.fresh.probabilities),
        ),
        again=rearranged(evidence.again),
        reordered=named(evidence.reordered),
        noisy=named(evidence.noisy),
        emptied=named(evidence.emptied),
        shuffled={column: named(values) for column, values in evidence.shuffled.items()},
    )


@pytest.mark.parametrize("scoring", ["accuracy", "balanced_accuracy"])
def test_neither_the_order_of_rows_nor_the_names_of_classes_move_an_interval(
    scoring: str, make_honest: Honest, every_limit: GateSettings
) -> None:
    """Rule by rule the same status, value and interval: nothing is drawn by position."""
    metrics = ("accuracy", "roc_auc", "neg_log_loss", "f1", "f1_macro", "d2_brier_score")
    limits = {name: {"min": -1.0 if name.startswith("neg") else 0.1} for name in metrics}
    settings = with_settings(every_limit, {"metrics": limits, "scoring": scoring})
    sound = make_honest()
    names = {"late": "a delay", "on_time": "Zero"}
    order = np.random.default_rng(1).permutation(len(sound.frame))
    held = settings.model_dump(exclude_none=True)
    for section in ("recall", "precision"):
        held[section] = {names[name]: share for name, share in held[section].items()}
    held["confusion"] = {f"{names['late']} -> {names['on_time']}": 0.35}
    held["cost"]["matrix"] = {f"{names['late']} -> {names['on_time']}": 2.0}
    first = judge(settings, sound)
    second = judge(GateSettings.model_validate(held), turned(sound, order, names))
    assert first.passed
    for one, other in zip(first.checks, second.checks, strict=True):
        assert one.status is other.status, one.id
        assert one.observed == pytest.approx(other.observed), one.id
        if one.interval is not None:
            assert one.interval == pytest.approx(other.interval), one.id
