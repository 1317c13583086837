"""The page that a reviewer reads first."""

from pipelines import page
from pipelines.sweep.search import SweepResult
from pipelines.sweep.trial import Trial


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


def test_facts_are_a_table() -> None:
    """Whatever the values are."""
    text = page.data_section({"source": "flights|2013", "rows": 12})
    assert "| source | flights\\|2013 |\n| rows | 12 |" in text


def test_a_page_has_a_title_and_its_sections() -> None:
    """In the order in which they are given."""
    assert page.compose("flights", ["## a\n", "## b\n"]).split("\n")[0] == "# flights"
    text = page.compose("flights", ["## a\n", "## b\n"])
    assert text.index("## a") < text.index("## b")
