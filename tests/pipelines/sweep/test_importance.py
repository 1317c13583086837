"""pipelines.sweep.importance: which parameters the score hung on."""

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from pipelines.sweep.importance import importance


def study(trials: int, *, flat: bool = False) -> optuna.Study:
    """A study whose score is the parameter ``matters`` and hears nothing of ``idle``."""
    made = optuna.create_study(direction="maximize")
    for number in range(trials):
        value = number / trials
        params = {"matters": value, "idle": (7 * number % trials) / trials}
        made.add_trial(
            create_trial(
                params=params,
                distributions=dict.fromkeys(params, FloatDistribution(0, 1)),
                value=0.5 if flat else value,
            )
        )
    return made


def test_it_tells_them_apart() -> None:
    """The parameter that decides the score comes first, and the shares add up to one."""
    found = importance(study(30))
    assert list(found) == ["matters", "idle"]
    assert found["matters"] > 2 * found["idle"]
    assert sum(found.values()) == pytest.approx(1)


def test_too_few_say_nothing() -> None:
    """Where no rung has enough trials nothing is claimed."""
    assert importance(None) == {}
    assert importance(study(1)) == {}
    assert importance(study(8)) != {}


def test_equal_scores_say_nothing() -> None:
    """When all trials score alike no parameter is claimed to matter."""
    assert importance(study(30, flat=True)) == {}
