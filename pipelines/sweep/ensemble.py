"""The best few, voting together, where they beat the best one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.models.learner import Learner
from pipelines.sweep.trial import Data


@dataclass(frozen=True)
class Ensemble:
    """Models whose probabilities are averaged.

    Parameters
    ----------
    trials : tuple of int
        The numbers of their trials, the best first.
    score : float
        On the validation rows.
    model : VotingClassifier
    """

    trials: tuple[int, ...]
    score: float
    model: Any


def vote(
    ranked: Sequence[tuple[int, Learner]], data: Data, *, scoring: str, score: float
) -> Ensemble | None:
    """Let the best two vote, the best three, and so on; None where none beats the best one.

    Parameters
    ----------
    ranked : sequence of (int, Learner)
        Trials' numbers and their learners, the best first.
    data : Data
    scoring : str
    score : float
        Of the best one alone: what has to be beaten on the same rows.
    """
    found: tuple[float, int] | None = None
    total: Any = 0.0
    for size, (_, learner) in enumerate(ranked, 1):
        total = total + learner.predict_proba(data.X_validation)
        if size == 1:
            continue
        reached = data.score(scoring, data.codes_validation, total / size)
        if reached > (score if found is None else found[0]):
            found = reached, size
    if found is None:
        return None
    reached, size = found
    members = ranked[:size]
    return Ensemble(tuple(number for number, _ in members), reached, _voting(members, data))


def _voting(members: Sequence[tuple[int, Learner]], data: Data) -> Any:
    from sklearn.ensemble import VotingClassifier
    from sklearn.frozen import FrozenEstimator

    named = [(f"trial_{n}", FrozenEstimator(learner.estimator())) for n, learner in members]
    # Nothing is learned here: the members are frozen, and the classes are those they know.
    return VotingClassifier(named, voting="soft").fit(data.train.X, data.train.y)
