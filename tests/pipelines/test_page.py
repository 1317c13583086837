"""The page that a reviewer reads first."""

import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from pipelines import page
from pipelines.explanation import (
    Comparison,
    Explanation,
    Spent,
    Spread,
    Survival,
    TurningPoint,
    explain,
)
from pipelines.parameters import Part
from pipelines.sweep.ensemble import Ensemble
from pipelines.sweep.sweep import SweepResult
from pipelines.sweep.trial import Trial
from pipelines.threshold import Aim, ThresholdSettings, Tuned

MODEL = Pipeline(
    [("preprocess", FunctionTransformer()), ("model", GaussianNB().fit([[0], [1]], [0, 1]))]
)


def _result(*trials: Trial, **changes: object) -> SweepResult:
    best = max((t for t in trials if t.state == "FINISHED"), key=lambda t: t.score or 0.0)
    values = {
        "trials": trials,
        "best": best,
        "model": MODEL,
        "ensemble": None,
        "rungs": (),
        "spent": {},
        "importance": {},
        "stopped": "trials",
        "seconds": 23.4,
        "scoring": "accuracy",
    }
    return SweepResult(**{**values, **changes})  # type: ignore[arg-type]


def _section(result: SweepResult) -> str:
    return page.sweep_section(result, explain(result))


WINNER = Trial(3, "mlp", {"layers": 4, "alpha": 0.00012345}, "FINISHED", 0.91, 0.95)
LINEAR = Trial(1, "linear", {"C": 1.0}, "FINISHED", 0.88, 0.89)
KILLED = Trial(2, "mlp", {"layers": 2}, "KILLED", 0.7, 0.7)
FAILED = Trial(0, "mlp", {}, "FAILED", error="it diverged")


def test_the_sweep_is_told_in_numbers() -> None:
    """What was tried, which one won, by how much, and why it ended."""
    text = _section(_result(WINNER, LINEAR, KILLED, FAILED))
    assert "4 trials of linear, mlp in 23 s: 2 finished, 1 stopped early, 1 failed" in text
    assert "all its trials were used" in text
    assert "**Trial 3 (mlp) won**" in text
    assert "0.9100" in text
    assert "best plain linear model has 0.8800" in text
    assert "| 3 | mlp | 0.9100 | 0.9500 | layers=4, alpha=0.000123 |" in text


def test_a_linear_winner_is_not_compared_with_itself() -> None:
    """The yardstick is only worth a word beside another family."""
    text = _section(_result(LINEAR, KILLED, stopped="seconds"))
    assert "plain linear" not in text
    assert "its time was up" in text


def test_importance_is_told_when_there_is_some() -> None:
    """Largest first."""
    text = _section(_result(WINNER, importance={"alpha": 0.25, "layers": 0.75}))
    assert "- What mattered most: layers 75%, alpha 25%." in text


@pytest.mark.parametrize(
    ("stopped", "said"),
    [
        ("trials", "all its trials were used"),
        ("seconds", "its time was up"),
        ("no improvement", "nothing better was found for too long"),
        ("target score", "a configuration was good enough"),
        ("interrupted", "it was interrupted"),
    ],
)
def test_it_is_told_why_the_sweep_ended(stopped: str, said: str) -> None:
    """Whichever budget ended first, in words."""
    assert f"The sweep ended because {said}." in _section(_result(WINNER, stopped=stopped))


def test_a_vote_is_told() -> None:
    """Whose models it is made of, and what it has."""
    text = _section(_result(WINNER, ensemble=Ensemble((3, 1), 0.92, None)))
    assert "- Trials 3, 1 vote: together they have 0.9200, more than the best one." in text


def test_what_the_trials_taught_is_told() -> None:
    """Who survived, where more neurons stopped helping, what was chosen as against learned."""
    told = Explanation(
        family="mlp",
        comparison=Comparison(-1, None, ()),
        slices=(),
        neurons=None,
        turning=TurningPoint(128, 9, Spread(-0.02, -0.01, 0.0), Spread(0.01, 0.02, 0.03)),
        survival=(Survival("mlp", 0, 9, 3, 0, 0, 5, 1), Survival("mlp", 1, 3, 0, 3, 0, 0, 0)),
        spent=(Spent("mlp", 9, 10.0, 40.0, 9, 36),),
        typical=(),
        learned=(Part("hidden layer 1: weights", "4 × 8", 32), Part("biases", "8", 8)),
    )
    text = page.sweep_section(_result(WINNER), told)
    assert "- Of mlp, 9 → 3 trials entered rung after rung; 1 failed." in text
    assert "- More than 128 neurons are not better: beyond, accuracy has a median -0.0100" in text
    assert "the gap between training and validation +0.0200 (+0.0100 to +0.0300)" in text
    assert "busy for 10 s; all trials, trained as far as the furthest, would have taken" in text
    assert "chose 2 hyperparameters; the winner learned 40 parameters: hidden layer 1" in text


def test_a_name_of_the_users_does_not_break_the_table() -> None:
    """A family or a value may hold a bar or a line's end."""
    trial = Trial(3, "a|b", {"x|y": "1\n2"}, "FINISHED", 0.91, 0.95)
    assert "| 3 | a\\|b | 0.9100 | 0.9500 | x\\|y=1 2 |" in _section(_result(trial))


def _tuned(settings: dict[str, object], before: dict[str, float], constant: object) -> Tuned:
    aim = Aim(ThresholdSettings.model_validate(settings), True, False)
    after = {name: value + 0.25 for name, value in before.items()}
    return Tuned(None, aim, 0.3125, np.array([]), {}, before, after, constant)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "before", "said"),
    [
        (
            {"objective": "cost", "costs": {"true -> false": 1, "false -> true": 2}},
            {"cost_per_row": 0.5},
            "the lowest cost: cost per row 0.5000 before, 0.7500 after.",
        ),
        (
            {"objective": "f_beta", "beta": 2},
            {"f_beta": 0.5},
            "the highest F-beta (beta 2): f beta 0.5000 before, 0.7500 after.",
        ),
        (
            {"objective": "recall_at_precision", "precision": 0.8},
            {"recall": 0.5, "precision": 0.6},
            "the highest recall at a precision of 0.8 or more: recall 0.5000 before, "
            "0.7500 after, precision 0.6000 before, 0.8500 after.",
        ),
    ],
)
def test_the_threshold_is_told_in_one_line(
    settings: dict[str, object], before: dict[str, float], said: str
) -> None:
    """Which class, from which probability on, what it was found for, and what that brought."""
    text = page.threshold_section(_tuned(settings, before, None))
    assert text.splitlines()[2] == (
        "The model answers true from a probability of 0.3125 on, found on the validation rows for "
        + said
    )


def test_a_threshold_that_brings_nothing_is_told() -> None:
    """Where one class for all rows would do as well, the reviewer reads which."""
    text = page.threshold_section(_tuned({"objective": "f_beta"}, {"f_beta": 0.5}, True))
    assert "To answer true always would do as well or better" in text


def test_facts_are_a_table() -> None:
    """Whatever the values are."""
    text = page.data_section({"source": "flights|2013", "rows": 12})
    assert "| source | flights\\|2013 |\n| rows | 12 |" in text


def test_a_page_has_a_title_and_its_sections() -> None:
    """In the order in which they are given."""
    assert page.compose("flights", ["## a\n", "## b\n"]).split("\n")[0] == "# flights"
    text = page.compose("flights", ["## a\n", "## b\n"])
    assert text.index("## a") < text.index("## b")
