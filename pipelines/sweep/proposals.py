"""What to try next: one Optuna study per family, in memory."""

from collections.abc import Mapping
from typing import cast

import numpy as np
import optuna
from optuna.trial import TrialState

from pipelines.models.families import FAMILIES
from pipelines.models.space import Dimension, Space, Value
from pipelines.sweep.settings import TrainSettings
from pipelines.sweep.trial import Trial

STARTUP_TRIALS = 8
"""Trials of a family that are drawn at random, its starting points included."""


class Proposer:
    """Configurations one after another, learning from the trials that it is told of.

    Each family has a study of its own, with a tree-structured Parzen estimator over all its
    parameters together [1]_: in one study their parameters would exist by turns, and could
    not be modelled together. The families' turns are fixed by their shares.

    The same calls in the same order give the same proposals.

    References
    ----------
    .. [1] S. Watanabe, "Tree-Structured Parzen Estimator: Understanding Its Algorithm
       Components and Their Roles for Better Empirical Performance", 2023,
       https://arxiv.org/abs/2304.11127
    """

    def __init__(self, settings: TrainSettings) -> None:
        # Optuna tells of each study on stderr; the sweep has its own progress.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._spaces = {name: settings.space_of(name) for name in settings.families}
        self.studies = {
            name: optuna.create_study(
                direction="maximize",
                sampler=optuna.samplers.TPESampler(
                    n_startup_trials=STARTUP_TRIALS, seed=seed_of(settings.seed, place)
                ),
            )
            for place, name in enumerate(settings.families)
        }
        for name, study in self.studies.items():
            for start in FAMILIES[name].starts():
                study.enqueue_trial(_within(start, self._spaces[name]))
        self._asked: dict[int, optuna.Trial] = {}
        self._turns = dict.fromkeys(settings.families, 0)

    def ask(self, number: int) -> tuple[str, dict[str, Value]]:
        """Return the family and the parameters of the trial of that number."""
        family = self._next_family()
        trial = self._asked[number] = self.studies[family].ask()
        params: dict[str, Value] = {}
        for name, dimension in self._spaces[family].items():
            if dimension.exists(params):
                params[name] = _suggest(trial, name, dimension)
        return family, params

    def tell(self, trial: Trial) -> None:
        """Learn from a trial that was asked for."""
        study, asked = self.studies[trial.family], self._asked.pop(trial.number)
        if trial.state == "FINISHED":
            study.tell(asked, trial.score)
            return
        if trial.state == "KILLED" and trial.score is not None:
            asked.report(trial.score, step=len(trial.curve))
            study.tell(asked, state=TrialState.PRUNED)
            return
        study.tell(asked, state=TrialState.FAIL)

    def _next_family(self) -> str:
        """Give the turn to the family that is furthest behind its share, each one first."""
        made = sum(self._turns.values()) + 1
        total = sum(FAMILIES[name].share for name in self._turns)

        def behind(name: str) -> float:
            turns = self._turns[name]
            return FAMILIES[name].share * made / total - turns if turns else float("inf")

        family = max(self._turns, key=behind)
        self._turns[family] += 1
        return family


def seed_of(seed: int, *place: int) -> int:
    """Derive an independent seed below 2**32 from the sweep's own."""
    return int(np.random.SeedSequence((seed, *place)).generate_state(1)[0])


def _within(start: Mapping[str, Value], space: Space) -> dict[str, Value]:
    """Keep of a starting point what a declared space allows; the rest is drawn."""
    return {name: v for name, v in start.items() if name in space and space[name].contains(v)}


def _suggest(trial: optuna.Trial, name: str, dimension: Dimension) -> Value:
    if dimension.choice is not None:
        return cast("Value", trial.suggest_categorical(name, dimension.choice))
    if dimension.integer is not None:
        return trial.suggest_int(name, *dimension.integer)
    if dimension.log is not None:
        return trial.suggest_float(name, *dimension.log, log=True)
    assert dimension.uniform is not None
    return trial.suggest_float(name, *dimension.uniform)
