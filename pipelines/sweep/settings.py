"""The ``[train]`` section of the project file."""

import os
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipelines.models.families import FAMILIES
from pipelines.models.family import Family
from pipelines.models.space import Dimension, Space, merge, nearest
from pipelines.threshold import ThresholdSettings

Scoring = Literal["accuracy", "balanced_accuracy", "f1_macro", "neg_log_loss", "roc_auc_ovr"]


class TrainSettings(BaseModel):
    """How the sweep searches, and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int = Field(40, ge=1, le=10_000, description="Configurations to try.")
    seed: int = Field(
        0, ge=0, lt=2**32, description="The same seed and budget give the same winner."
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Processes that fit at the same time; without it one per core. "
        "The winner does not depend on it; more than 8 bring nothing.",
    )
    families: tuple[str, ...] = Field(
        tuple(FAMILIES), min_length=1, description=f"Models to try: {', '.join(FAMILIES)}."
    )
    scoring: Scoring = Field(
        "accuracy", description="What the winner is best at on the validation rows."
    )
    max_epochs: int = Field(
        30, ge=1, le=10_000, description="Most passes of a network over the training rows."
    )
    patience: int = Field(
        5, ge=1, description="Passes without a better score after which a network stops."
    )
    prune: bool = Field(
        True, description="Stop a network early that does worse than most others did by then."
    )
    timeout_seconds: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Longest the sweep may take. Trials still running then are stopped, and "
        "the winner may depend on the machine's speed.",
    )
    space: dict[str, dict[str, Dimension]] = Field(
        default_factory=dict,
        description="By family and parameter, values in the place of the family's own: "
        "alpha = {log = [1e-6, 1e-2]}, layers = {int = [1, 6]}, "
        "momentum = {uniform = [0.1, 0.9], when = {solver = 'sgd'}}, batch_size = {choice = [64]}.",
    )
    threshold: ThresholdSettings = Field(
        default_factory=ThresholdSettings, description="See [train.threshold]."
    )

    @field_validator("families")
    @classmethod
    def _known_families(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            _family(name)
        if len(set(names)) < len(names):
            raise ValueError("a family is named twice")
        return names

    @field_validator("space")
    @classmethod
    def _known_parameters(
        cls, space: dict[str, dict[str, Dimension]]
    ) -> dict[str, dict[str, Dimension]]:
        for name, declared in space.items():
            family = _family(name)
            for parameter, dimension in declared.items():
                _check_parameter(family, parameter, dimension)
            try:
                merge(family.space(), declared)
            except ValueError as err:
                raise ValueError(f"{name}: {err}") from err
        return space

    def space_of(self, family: str) -> Space:
        """Return the space to search for a family, declared dimensions in their place."""
        return merge(FAMILIES[family].space(), self.space.get(family, {}))

    @property
    def processes(self) -> int:
        """How many workers to start."""
        return min(self.workers or _cores(), self.trials)


def _family(name: str) -> Family:
    if name not in FAMILIES:
        raise ValueError(f"{name} is no family of models{nearest(name, FAMILIES)}")
    return FAMILIES[name]


def _check_parameter(family: Family, parameter: str, dimension: Dimension) -> None:
    if parameter not in family.parameters:
        raise ValueError(
            f"{parameter} is no parameter of {family.name}{nearest(parameter, family.parameters)}"
        )
    wanted = family.parameters[parameter]
    if not dimension.types <= ({int, float} if wanted is float else {wanted}):
        said = {int: "whole numbers: int or choice", float: "numbers", str: "text: choice"}[wanted]
        raise ValueError(f"{family.name}.{parameter} takes {said}")


def _cores() -> int:
    # A container or taskset may leave fewer than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
