"""What to try next: Optuna proposes, in memory, and decides nothing else."""

from collections import Counter
from collections.abc import Mapping
from typing import cast

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipelines.models.family import Family
from pipelines.models.space import Dimension, Space, Value
from pipelines.sweep.settings import TrainSettings

MINIMUM_TRIALS = 8
"""Trials of a family that have to be known at a rung before it is learned from."""

RANDOM_EVERY = 4
"""One proposal in so many is drawn at random, whatever has been learned."""

MOST_KNOWN = 1_000
"""Trials at a rung that are learned from: a proposal takes time in proportion. When there are
more, the older half is forgotten."""

BEST_KEPT = 50
"""Trials of the older half that are not forgotten, the best ones."""

REDRAWS = 64
"""Times that a configuration is drawn again which was tried before."""


class Proposer:
    """Configurations one after another, learning from the outcomes that it is told of.

    Each family has a study of its own for each rung: scores at different rungs cannot be
    compared, and in one study the families' parameters would exist by turns. A proposal comes
    from a tree-structured Parzen estimator [1]_ over the highest rung that enough trials have
    reached [2]_; before that come the family's starting points, and then chance. One in
    `RANDOM_EVERY` is left to chance from the beginning: no advice fits every table.

    The same calls in the same order give the same proposals.

    References
    ----------
    .. [1] S. Watanabe, "Tree-Structured Parzen Estimator: Understanding Its Algorithm
       Components and Their Roles for Better Empirical Performance", 2023,
       https://arxiv.org/abs/2304.11127
    .. [2] S. Falkner, A. Klein and F. Hutter, "BOHB: Robust and Efficient Hyperparameter
       Optimization at Scale", 2018, https://arxiv.org/abs/1807.01774
    """

    def __init__(
        self, settings: TrainSettings, families: Mapping[str, Family], rungs: Mapping[str, int]
    ) -> None:
        # Optuna tells of each study on stderr; the sweep has its own progress.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._shares = {name: float(family.share) for name, family in families.items()}
        self._spaces = {name: settings.space_of(family) for name, family in families.items()}
        self._starts = {
            name: [_within(start, self._spaces[name]) for start in family.starts()]
            for name, family in families.items()
        }
        self._chance: dict[str, optuna.Study] = {}
        self._studies: dict[str, list[optuna.Study]] = {}
        for place, name in enumerate(families):
            self._chance[name] = optuna.create_study(
                sampler=optuna.samplers.RandomSampler(seed_of(settings.seed, place))
            )
            self._studies[name] = [
                optuna.create_study(
                    direction="maximize",
                    sampler=optuna.samplers.TPESampler(
                        n_startup_trials=0,
                        seed=seed_of(settings.seed, place, rung),
                        # No trial of a study is ever running, and a look for them takes long.
                        constant_liar=False,
                    ),
                )
                for rung in range(rungs[name])
            ]
        self._known: dict[str, list[list[FrozenTrial]]] = {
            name: [[] for _ in studies] for name, studies in self._studies.items()
        }
        self._made: Counter[str] = Counter()
        self._seen: set[tuple[str, frozenset[tuple[str, Value]]]] = set()
        self._leader: str | None = None

    def ask(self) -> tuple[str, dict[str, Value]]:
        """Return a family, and a configuration of it."""
        family = self._next_family()
        params = self._draw(family)
        for _ in range(REDRAWS):
            if (family, frozenset(params.items())) not in self._seen:
                break
            params = self._sample(family, self._chance[family])
        self._seen.add((family, frozenset(params.items())))
        return family, params

    def tell(
        self, family: str, rung: int, params: Mapping[str, Value], score: float | None
    ) -> None:
        """Learn how a configuration did at a rung; None is worse than every other."""
        study = self._studies[family][rung]
        known = self._known[family][rung]
        if score is None:
            if not known:
                return
            score = min(_value(trial) for trial in known)
        space = self._spaces[family]
        known.append(
            create_trial(
                params=dict(params),
                distributions={name: _distribution(space[name]) for name in params},
                value=score,
            )
        )
        if len(known) <= MOST_KNOWN:
            study.add_trial(known[-1])
            return
        early, late = known[: -MOST_KNOWN // 2], known[-MOST_KNOWN // 2 :]
        best = sorted(early, key=_value, reverse=True)[:BEST_KEPT]
        self._known[family][rung] = known = [*best, *late]
        self._studies[family][rung] = study = optuna.create_study(
            direction="maximize", sampler=study.sampler
        )
        study.add_trials(known)

    def lead(self, family: str) -> None:
        """Learn which family holds the best score; the others' shares are halved."""
        self._leader = family

    def study(self, family: str) -> optuna.Study | None:
        """Return the study of a family's highest rung that enough trials have reached."""
        rungs = zip(self._studies[family], self._known[family], strict=True)
        for study, known in reversed(list(rungs)):
            if len(known) >= MINIMUM_TRIALS:
                return study
        return None

    def _draw(self, family: str) -> dict[str, Value]:
        turn = self._made[family]
        by_chance = turn % RANDOM_EVERY == 0
        if self._starts[family] and not by_chance:
            return self._sample(family, self._chance[family], self._starts[family].pop(0))
        study = self.study(family)
        if study is None or by_chance:
            study = self._chance[family]
        return self._sample(family, study)

    def _sample(
        self, family: str, study: optuna.Study, fixed: Mapping[str, Value] = {}
    ) -> dict[str, Value]:
        trial = study.ask()
        params: dict[str, Value] = {}
        for name, dimension in self._spaces[family].items():
            if dimension.exists(params):
                params[name] = fixed[name] if name in fixed else _suggest(trial, name, dimension)
        # What comes of it is told at each rung that it reaches, as a trial of that study.
        study.tell(trial, state=TrialState.FAIL)
        return params

    def _next_family(self) -> str:
        """Give the turn to the family that is furthest behind its share, each one first."""
        shares = self._shares
        if self._leader and min(self._made[name] for name in shares) >= 2:
            shares = {n: x if n == self._leader else x / 2 for n, x in shares.items()}
        made = sum(self._made.values()) + 1
        total = sum(shares.values())

        def behind(name: str) -> float:
            turns = self._made[name]
            return shares[name] * made / total - turns if turns else float("inf")

        family = max(shares, key=behind)
        self._made[family] += 1
        return family


def seed_of(seed: int, *place: int) -> int:
    """Derive an independent seed below 2**32 from the sweep's own."""
    return int(np.random.SeedSequence((seed, *place)).generate_state(1)[0])


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def _within(start: Mapping[str, Value], space: Space) -> dict[str, Value]:
    """Keep of a starting point what a declared space allows; the rest is drawn."""
    return {name: v for name, v in start.items() if name in space and space[name].contains(v)}


def _distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.choice is not None:
        return optuna.distributions.CategoricalDistribution(dimension.choice)
    if dimension.integer is not None:
        return optuna.distributions.IntDistribution(*dimension.integer)
    if dimension.log is not None:
        return optuna.distributions.FloatDistribution(*dimension.log, log=True)
    assert dimension.uniform is not None
    return optuna.distributions.FloatDistribution(*dimension.uniform)


def _suggest(trial: optuna.Trial, name: str, dimension: Dimension) -> Value:
    if dimension.choice is not None:
        return cast("Value", trial.suggest_categorical(name, dimension.choice))
    if dimension.integer is not None:
        return trial.suggest_int(name, *dimension.integer)
    if dimension.log is not None:
        return trial.suggest_float(name, *dimension.log, log=True)
    assert dimension.uniform is not None
    return trial.suggest_float(name, *dimension.uniform)
