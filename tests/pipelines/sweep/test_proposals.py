"""pipelines.sweep.proposals: which configuration comes next."""

import math
from collections import Counter
from typing import Any

import pytest

from pipelines.models.families import FAMILIES
from pipelines.models.space import Value
from pipelines.sweep.proposals import Proposer, seed_of
from pipelines.sweep.settings import TrainSettings
from pipelines.sweep.trial import Point, Trial

Proposal = tuple[str, dict[str, Value]]


def propose(trials: int, **settings: Any) -> list[Proposal]:
    """Ask and tell in turn, with a score that likes a learning rate of 0.003."""
    proposer = Proposer(TrainSettings(**settings))
    made: list[Proposal] = []
    for number in range(trials):
        family, params = proposer.ask(number)
        rate = params.get("learning_rate_init", 1.0)
        assert isinstance(rate, float)
        score = -abs(math.log(rate / 0.003))
        if number % 5 == 4:
            curve = (Point(1, 0.5, score, score),)
            told = Trial(number, family, params, "KILLED", score, score, curve)
        elif number % 7 == 6:
            told = Trial(number, family, params, "FAILED", error="diverged")
        else:
            told = Trial(number, family, params, "FINISHED", score, score)
        proposer.tell(told)
        made.append((family, params))
    return made


def test_the_same_seed_the_same_proposals() -> None:
    """The same calls give the same proposals, and another seed gives others."""
    assert propose(40, seed=3) == propose(40, seed=3)
    assert propose(40, seed=3) != propose(40, seed=4)


def test_shares() -> None:
    """Over a budget the families get their shares, each one a turn at once."""
    families = [family for family, _ in propose(40)]
    assert Counter(families) == {"mlp": 24, "boosting": 12, "linear": 4}
    assert set(families[:3]) == {"mlp", "boosting", "linear"}


def test_a_chosen_few() -> None:
    """Only the families of the settings are proposed."""
    assert {family for family, _ in propose(6, families=("linear", "boosting"))} == {
        "linear",
        "boosting",
    }


def test_starts_come_first() -> None:
    """A family begins with its starting points, exactly."""
    starts = FAMILIES["mlp"].starts()
    made = propose(len(starts), families=("mlp",))
    assert [params for _, params in made] == list(starts)


def test_within_the_declared_space() -> None:
    """Every proposal lies in the declared space, the starting points included."""
    space = {
        "layers": {"int": [1, 2]},
        "solver": {"choice": ["sgd"]},
        "momentum": {"uniform": [0.2, 0.3]},
        "batch_size": {"choice": [32]},
    }
    for _, params in propose(15, families=("mlp",), space={"mlp": space}):
        assert params["layers"] in (1, 2)
        assert params["solver"] == "sgd"
        assert isinstance(params["momentum"], float)
        assert 0.2 <= params["momentum"] <= 0.3
        assert params["batch_size"] == 32


def test_conditions() -> None:
    """Momentum is proposed with stochastic gradient descent, and never with Adam."""
    made = [params for _, params in propose(30, families=("mlp",))]
    assert {params["solver"] for params in made} == {"adam", "sgd"}
    assert all(("momentum" in params) == (params["solver"] == "sgd") for params in made)


def test_it_learns() -> None:
    """Later proposals lie nearer the good values than those drawn at random."""

    def distance(params: dict[str, Value]) -> float:
        rate = params["learning_rate_init"]
        assert isinstance(rate, float)
        return abs(math.log(rate / 0.003))

    made = [params for _, params in propose(60, families=("mlp",), seed=1)]
    early, late = made[5:20], made[45:]
    assert sum(map(distance, late)) < sum(map(distance, early))


def test_silence(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    """Proposing says nothing on stdout or stderr, and warns of nothing."""
    propose(30)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_seeds_differ() -> None:
    """Trials of one sweep, and sweeps of neighbouring seeds, have seeds of their own."""
    assert len({seed_of(seed, number, 1) for seed in range(10) for number in range(100)}) == 1000
