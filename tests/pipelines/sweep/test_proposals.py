"""pipelines.sweep.proposals: which configuration comes next."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from pipelines.models.families import FAMILIES
from pipelines.models.space import Value
from pipelines.sweep.proposals import MINIMUM_TRIALS, RANDOM_EVERY, Proposer, seed_of
from pipelines.sweep.settings import TrainSettings

Proposal = tuple[str, dict[str, Value]]

RUNGS = 3


def proposer(**settings: Any) -> Proposer:
    """Make one for the built-in families, of three rungs each."""
    given = TrainSettings(**settings)
    chosen = {name: FAMILIES[name] for name in given.families}
    return Proposer(given, chosen, dict.fromkeys(chosen, RUNGS))


def likes(rate: float) -> Callable[[dict[str, Value]], float]:
    """Return a score that likes one learning rate."""

    def score(params: dict[str, Value]) -> float:
        found = params.get("learning_rate_init", 1.0)
        assert isinstance(found, float)
        return -(math.log(found / rate) ** 2)

    return score


LIKES = likes(0.003)


def propose(
    trials: int, score: Callable[[dict[str, Value]], float | None] = LIKES, **settings: Any
) -> list[Proposal]:
    """Ask and tell in turn; every third trial reaches the next rung too."""
    asked = proposer(**settings)
    made: list[Proposal] = []
    for number in range(trials):
        family, params = asked.ask()
        asked.tell(family, 0, params, None if number % 7 == 6 else score(params))
        if number % 3 == 2:
            asked.tell(family, 1, params, score(params))
        made.append((family, params))
    return made


def test_the_same_calls_the_same_proposals() -> None:
    """The same calls give the same proposals, and another seed gives others."""
    assert propose(30, seed=3) == propose(30, seed=3)
    assert propose(30, seed=3) != propose(30, seed=4)


def test_shares() -> None:
    """Over a budget the families get their shares, each one a turn at once."""
    families = [family for family, _ in propose(40)]
    total = sum(FAMILIES[name].share for name in ("mlp", "boosting", "linear"))
    for name, made in Counter(families).items():
        assert made == pytest.approx(40 * FAMILIES[name].share / total, abs=1)
    assert set(families[:3]) == {"mlp", "boosting", "linear"}


def test_the_leader_gets_more() -> None:
    """Once each family has had two turns the shares of all but the best one's are halved."""
    asked = proposer(families=("mlp", "boosting", "linear"))
    made = Counter(asked.ask()[0] for _ in range(20))
    asked.lead("linear")
    made += Counter(asked.ask()[0] for _ in range(200))
    shares = {name: FAMILIES[name].share / (1 if name == "linear" else 2) for name in made}
    for name, count in made.items():
        assert count == pytest.approx(220 * shares[name] / sum(shares.values()), abs=2)


def test_early_leaders_get_no_more() -> None:
    """Before each family has had two turns none gets more than its share."""
    calm, led = proposer(), proposer()
    led.lead("linear")
    assert [led.ask()[0] for _ in range(5)] == [calm.ask()[0] for _ in range(5)]


def test_a_chosen_few() -> None:
    """Only the families of the settings are proposed."""
    assert {family for family, _ in propose(6, families=("linear", "boosting"))} == {
        "linear",
        "boosting",
    }


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_starts_come_first(family: str) -> None:
    """A family begins with its starting points, exactly, and one in four by chance between."""
    starts = FAMILIES[family].starts()
    made = propose(len(starts) + len(starts) // 3, families=(family,))
    told = [params for turn, (_, params) in enumerate(made, 1) if turn % RANDOM_EVERY]
    assert told[: len(starts)] == list(starts)[: len(told)]
    assert len(told) >= len(starts)
    assert all(params not in starts for _, params in made[RANDOM_EVERY - 1 :: RANDOM_EVERY])


def test_within_the_declared_space() -> None:
    """Every proposal lies in the declared space, the starting points included."""
    space = {
        "layers": {"int": [1, 2]},
        "solver": {"choice": ["sgd"]},
        "momentum": {"uniform": [0.2, 0.3]},
        "batch_size": {"choice": [32]},
    }
    for _, params in propose(30, families=("mlp",), space={"mlp": space}):
        assert params["layers"] in (1, 2)
        assert params["solver"] == "sgd"
        assert isinstance(params["momentum"], float)
        assert 0.2 <= params["momentum"] <= 0.3
        assert params["batch_size"] == 32


def test_conditions() -> None:
    """Momentum is proposed with stochastic gradient descent, and never with Adam."""
    made = [params for _, params in propose(40, families=("mlp",))]
    assert {params["solver"] for params in made} == {"adam", "sgd"}
    assert all(("momentum" in params) == (params["solver"] == "sgd") for params in made)


def test_one_in_four_is_random() -> None:
    """Whatever has been learned, one proposal in four hangs on the seed and on nothing else."""
    good, bad = (
        propose(40, likes(rate), families=("mlp",), space={"mlp": {"solver": {"choice": ["adam"]}}})
        for rate in (2e-4, 4e-2)
    )
    same = [turn for turn in range(1, 41) if good[turn - 1] == bad[turn - 1]]
    learned = MINIMUM_TRIALS + len(FAMILIES["mlp"].starts())
    assert [turn for turn in same if turn > learned] == [
        turn for turn in range(1, 41) if turn % RANDOM_EVERY == 0 and turn > learned
    ]


def distance(params: dict[str, Value]) -> float:
    """How far a proposal is from the best learning rate, in powers of e."""
    rate = params["learning_rate_init"]
    assert isinstance(rate, float)
    return abs(math.log(rate / 0.003))


def test_better_than_random() -> None:
    """On a quadratic, after forty tells, the proposals lie nearer its top than random ones do.

    Of the same seeds, those that hear nothing are the random ones.
    """
    told, untold = [], []
    for seed in range(5):
        told += propose(60, families=("mlp",), seed=seed)[40:]
        deaf = proposer(families=("mlp",), seed=seed)
        untold += [deaf.ask() for _ in range(60)][40:]
    near = sum(distance(params) for _, params in told) / len(told)
    far = sum(distance(params) for _, params in untold) / len(untold)
    assert near < 0.75 * far


def test_the_failed_are_avoided() -> None:
    """Where every large learning rate diverges fewer of them are proposed than at random."""

    def diverging(params: dict[str, Value]) -> float | None:
        rate = params["learning_rate_init"]
        assert isinstance(rate, float)
        return None if rate > 0.003 else 0.5

    made = [propose(60, diverging, families=("mlp",), seed=seed)[30:] for seed in range(6)]
    failed = sum(diverging(params) is None for each in made for _, params in each) / 180
    # By chance 0.45, as is one in four of these.
    assert failed < 0.42


def test_no_configuration_twice() -> None:
    """In a space of few configurations none comes again while there are others to draw."""
    space = {
        "layers": {"int": [1, 2]},
        "width": {"choice": [16, 32, 64]},
        "solver": {"choice": ["adam"]},
        "learning_rate_init": {"choice": [0.001, 0.01]},
        "alpha": {"choice": [0.001]},
        "batch_size": {"choice": [64]},
    }
    for seed in range(5):
        made = propose(12, families=("mlp",), space={"mlp": space}, seed=seed)
        different = {tuple(sorted(params.items())) for _, params in made}
        assert len(different) == 12
    # When there is no other it is proposed again, and the sweep does not stand still.
    assert len(propose(20, families=("mlp",), space={"mlp": space})) == 20


def test_the_highest_rung_teaches() -> None:
    """What is learned from is the highest rung that enough trials have reached."""
    asked = proposer(families=("linear",))
    assert asked.study("linear") is None
    for number in range(MINIMUM_TRIALS):
        asked.tell("linear", 0, {"C": 0.1 + number}, 0.5)
    low = asked.study("linear")
    assert low is not None
    for number in range(MINIMUM_TRIALS):
        assert asked.study("linear") is low
        asked.tell("linear", 1, {"C": 0.1 + number}, 0.9)
    high = asked.study("linear")
    assert high is not None
    assert high is not low
    assert {trial.value for trial in high.trials} == {0.9}


def test_silence(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    """Proposing says nothing on stdout or stderr, and warns of nothing."""
    propose(30)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_seeds_differ() -> None:
    """Trials of one sweep, and sweeps of neighbouring seeds, have seeds of their own."""
    assert len({seed_of(seed, number, 1) for seed in range(10) for number in range(100)}) == 1000


def test_what_is_learned_from_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many trials at a rung the latest are learned from, and the best whenever it was."""
    monkeypatch.setattr("pipelines.sweep.proposals.MOST_KNOWN", 20)
    monkeypatch.setattr("pipelines.sweep.proposals.BEST_KEPT", 5)
    proposer = Proposer(
        TrainSettings(families=("linear",)), {"linear": FAMILIES["linear"]}, {"linear": 1}
    )
    scores = [1.0, *(place / 1_000 for place in range(200))]
    for score in scores:
        proposer.tell("linear", 0, proposer.ask()[1], score)
    study = proposer.study("linear")
    assert study is not None
    known = [trial.value for trial in study.get_trials() if trial.value is not None]
    assert len(known) <= 20
    assert known[-10:] == scores[-10:]
    assert 1.0 in known
