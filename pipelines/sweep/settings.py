"""The ``[train]`` section of the project file."""

import os
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipelines.models.declared import DeclaredModel
from pipelines.models.families import DEFAULT_FAMILIES, FAMILIES
from pipelines.models.family import Family
from pipelines.models.space import Dimension, Space, merge, nearest
from pipelines.sweep.scoring import SCORERS
from pipelines.threshold import ThresholdSettings

LOOKAHEAD = 16
"""Most jobs in flight that a decision does not wait for, unless the project file says otherwise."""


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
        "The winner does not depend on it; more than train.lookahead bring nothing.",
    )
    families: tuple[str, ...] = Field(
        DEFAULT_FAMILIES,
        min_length=1,
        description=f"Models to try: {', '.join(FAMILIES)}, and those of train.models and "
        "train.families_file.",
    )
    scoring: str = Field(
        "accuracy",
        description="What the winner is best at on the validation rows: the name of a scorer of "
        "scikit-learn's for classifiers.",
    )
    class_weight: Literal["none", "balanced"] = Field(
        "none",
        description="balanced: each class counts the same in learning, however many rows it has.",
    )
    folds: int = Field(
        0,
        ge=0,
        le=50,
        description="Choose by cross-validation on the training rows, in so many folds, and not "
        "by the validation rows; 0 for none. A trial is given one fold after another.",
    )
    ensemble: int = Field(
        0,
        ge=0,
        le=20,
        description="Most models that vote together, where they beat the best single one on the "
        "validation rows; 0 for none.",
    )
    max_epochs: int = Field(
        30, ge=1, le=10_000, description="Most passes of a network over the training rows."
    )
    patience: int = Field(
        5, ge=1, description="Passes without a better score after which a network stops."
    )
    prune: bool = Field(
        True,
        description="Give each trial a little first, and more only while it is among the best "
        "third of its family.",
    )
    lookahead: int = Field(
        LOOKAHEAD,
        ge=1,
        le=1024,
        description="Most jobs in flight whose results a decision does not wait for: three at "
        "first, more as more is known. The trials depend on it, and on no number of workers.",
    )
    deterministic: bool = Field(
        True,
        description="Decide in the order of planned costs, so that the same seed gives the same "
        "winner; false decides in the order of the clock, and never waits.",
    )
    no_improvement: int | None = Field(
        None,
        ge=1,
        description="End after so many new configurations without a better score.",
    )
    target_score: float | None = Field(
        None,
        allow_inf_nan=False,
        description="End as soon as a configuration scores so much; a network learns no further.",
    )
    max_failures: int = Field(
        10, ge=1, description="Trials that may fail by an error of the code before the sweep does."
    )
    trial_seconds: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Longest that one step of a trial may take."
    )
    trial_memory_mb: int | None = Field(
        None,
        ge=1,
        description="Most memory that a trial may take, in MiB beside what its worker has.",
    )
    dask: str | None = Field(
        None,
        min_length=1,
        description="Address of a Dask scheduler, such as tcp://127.0.0.1:8786, whose workers fit "
        "in the place of local ones.",
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
    models: dict[str, DeclaredModel] = Field(
        default_factory=dict,
        description="By a name of your own, classifiers of scikit-learn's to try: "
        "estimator = 'sklearn.neighbors.KNeighborsClassifier', resource, share, fixed, starts.",
    )
    families_file: str | None = Field(
        None,
        min_length=1,
        description="A Python file of families of your own; see docs/models.md.",
    )
    threshold: ThresholdSettings = Field(
        default_factory=ThresholdSettings, description="See [train.threshold]."
    )

    @field_validator("families")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("a family is named twice")
        return names

    @field_validator("scoring")
    @classmethod
    def _known_scorer(cls, name: str) -> str:
        if name not in SCORERS:
            raise ValueError(f"{name} is no scorer of classifiers{nearest(name, SCORERS)}")
        return name

    @field_validator("folds")
    @classmethod
    def _not_one_fold(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("folds = 1 leaves no rows to learn from: 2 or more, or 0 for none")
        return folds

    @model_validator(mode="after")
    def _known_families(self) -> Self:
        """Refuse a name that is nobody's; one of the project's own file shows in the sweep."""
        if self.families_file is not None:
            return self
        known = [*FAMILIES, *self.models]
        for name in (*self.families, *self.space):
            if name not in known:
                raise ValueError(f"{name} is no family of models{nearest(name, known)}")
        return self

    @model_validator(mode="after")
    def _something_to_search(self) -> Self:
        for name in self.models:
            if name in FAMILIES:
                raise ValueError(f"models.{name}: there is a family of that name already")
            if name in self.families and not self.space.get(name):
                raise ValueError(
                    f"{name} is searched in [train.space.{name}], which declares nothing"
                )
        return self

    @model_validator(mode="after")
    def _weighted_once(self) -> Self:
        for name, declared in self.space.items():
            if self.class_weight != "none" and "class_weight" in declared:
                raise ValueError(
                    f"class_weight and space.{name}.class_weight would weigh the classes twice"
                )
        return self

    @model_validator(mode="after")
    def _known_parameters(self) -> Self:
        for name in self.space.keys() & FAMILIES.keys():
            self.space_of(FAMILIES[name])
        return self

    @model_validator(mode="after")
    def _check_ensemble(self) -> Self:
        if self.ensemble and self.folds:
            raise ValueError("an ensemble is chosen on the validation rows: leave out folds")
        return self

    def space_of(self, family: Family) -> Space:
        """Return the space to search for a family, declared dimensions in their place.

        Raises
        ------
        ValueError
            A declared parameter is none of the family's, or its values cannot be.
        """
        declared = self.space.get(family.name, {})
        for parameter, dimension in declared.items():
            family.check(parameter, dimension)
        try:
            return merge(family.space(), declared)
        except ValueError as err:
            raise ValueError(f"{family.name}: {err}") from err

    @property
    def terms(self) -> dict[str, Any]:
        """What the trials depend on; not who works on them, nor for how long."""
        told = self.model_dump(mode="json")
        for name in ("workers", "dask", "threshold", "timeout_seconds", "max_failures"):
            del told[name]
        return told

    @property
    def processes(self) -> int:
        """How many workers to start."""
        return min(self.workers or _cores(), self.trials)


def _cores() -> int:
    # A container or taskset may leave fewer than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
