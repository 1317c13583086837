"""The page that a reviewer reads first."""

import numpy as np
import pytest

from pipelines import page
from pipelines.sweep.search import SweepResult
from pipelines.sweep.trial import Trial
from pipelines.threshold import Aim, ThresholdSettings, Tuned


def _result(*trials: Trial, **changes: object) -> SweepResult:
    best = max((t for t in trials if t.state == "FINISHED"), key=lambda t: t.score or 0.0)
    values = {
        "trials": trials,
        "best": best,
        "model": None,
        "yardstick": None,
        "importance": {},
        "stopped": "budget",
        "seconds": 23.4,
        "scoring": "accuracy",
    }
    return SweepResult(**{**values, **changes})  # type: ignore[arg-type]


WINNER = Trial(3, "mlp", {"layers": 4, "alpha": 0.00012345}, "FINISHED", 0.91, 0.95)
LINEAR = Trial(1, "linear", {"C": 1.0}, "FINISHED", 0.88, 0.89)
KILLED = Trial(2, "mlp", {"layers": 2}, "KILLED", 0.7, 0.7)
FAILED = Trial(0, "mlp", {}, "FAILED", error="it diverged")


def test_the_sweep_is_told_in_numbers() -> None:
    """What was tried, which one won, by how much, and why it ended."""
    text = page.sweep_section(_result(WINNER, LINEAR, KILLED, FAILED))
    assert "4 trials of linear, mlp in 23 s: 2 finished, 1 stopped early, 1 failed" in text
    assert "all its trials were used" in text
    assert "**Trial 3 (mlp) won**" in text
    assert "0.9100" in text
    assert "best plain linear model has 0.8800" in text
    assert "| 3 | mlp | 0.9100 | 0.9500 | layers=4, alpha=0.000123 |" in text


def test_a_linear_winner_is_not_compared_with_itself() -> None:
    """The yardstick is only worth a word beside another family."""
    text = page.sweep_section(_result(LINEAR, KILLED, stopped="timeout"))
    assert "plain linear" not in text
    assert "its time was up" in text


def test_importance_is_told_when_there_is_some() -> None:
    """Largest first."""
    text = page.sweep_section(_result(WINNER, importance={"alpha": 0.25, "layers": 0.75}))
    assert "`layers` 75%, `alpha` 25%" in text


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
