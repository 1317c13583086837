"""Families that a project file declares: any classifier of scikit-learn's."""

from collections.abc import Mapping
from importlib import import_module
from inspect import isabstract
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pipelines.errors import ProjectError
from pipelines.models.family import Family, Resource
from pipelines.models.space import Space, Value, nearest

_GROWING_BY_ITERATIONS = "HistGradientBoostingClassifier"


class DeclaredModel(BaseModel):
    """One ``[train.models.<name>]`` of the project file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    estimator: str = Field(
        pattern=r"^sklearn(\.[a-z][a-z0-9_]*)+\.[A-Z]\w*$",
        description="The class, such as sklearn.neighbors.KNeighborsClassifier.",
    )
    resource: Resource | None = Field(
        None,
        description="What a trial is given more of: epochs, trees, iterations or rows; without "
        "it what the class can do.",
    )
    share: int = Field(1, ge=1, description="Trials, relative to the other families.")
    fixed: dict[str, Value] = Field(
        default_factory=dict, description="Parameters that every trial has."
    )
    starts: tuple[dict[str, Value], ...] = Field((), description="Configurations to try first.")


class Declared(Family):
    """A classifier of scikit-learn's, with what the project file says of it.

    Its own space is empty: all of it is the project file's ``[train.space.<name>]``. Making
    one imports the class.

    Raises
    ------
    ProjectError
        There is no such class, it is no classifier with probabilities, or it does not know a
        parameter or the resource.
    """

    def __init__(self, name: str, settings: DeclaredModel) -> None:
        self.name = name
        self.settings = settings
        self.module, _, self._class = settings.estimator.rpartition(".")
        self.share = settings.share
        kind = self._imported()
        self._known: list[str] = sorted(kind._get_param_names())
        self.parameters = dict.fromkeys(self._known, object)
        for given in (settings.fixed, *settings.starts):
            for parameter in given:
                self._must_know(parameter)
        self.resource = self._resource(kind)
        self._must_have_probabilities()

    def space(self) -> Space:
        """Return nothing: the project file declares it."""
        return {}

    def starts(self) -> tuple[dict[str, Value], ...]:
        """Return what the project file names."""
        return tuple(dict(start) for start in self.settings.starts)

    def build(self, params: Mapping[str, Value], *, seed: int, rows: int) -> Any:
        """Return the classifier, seeded where it draws random numbers."""
        import numpy as np

        given: dict[str, Any] = {}
        if "random_state" in self._known:
            # With a plain number partial_fit would shuffle alike in every epoch.
            epochs = self.resource == "epochs"
            given["random_state"] = np.random.RandomState(seed) if epochs else seed
        if self.resource != "rows" and "early_stopping" in self._known:
            given["early_stopping"] = False
        return self._imported()(**{**given, **self.settings.fixed, **params})

    def _imported(self) -> Any:
        from sklearn.base import ClassifierMixin

        try:
            kind = getattr(import_module(self.module), self._class)
        except (ImportError, AttributeError) as err:
            raise self._refused(
                f"{self.settings.estimator}: {err}", "mend the name of the class"
            ) from err
        if not (isinstance(kind, type) and issubclass(kind, ClassifierMixin)) or isabstract(kind):
            raise self._refused(
                f"{self.settings.estimator} is no classifier", "name a classifier of scikit-learn's"
            )
        return kind

    def _must_know(self, parameter: str) -> None:
        if parameter not in self._known:
            raise self._refused(
                f"{self._class} has no parameter {parameter}{nearest(parameter, self._known)}",
                "mend the parameter's name",
            )

    def _resource(self, kind: Any) -> Resource:
        can: set[Resource] = {"rows"}
        # Naive Bayes has partial_fit too, and would count its rows twice.
        if hasattr(kind, "partial_fit") and "max_iter" in self._known:
            can.add("epochs")
        if {"warm_start", "n_estimators"} <= set(self._known):
            can.add("trees")
        if self._class == _GROWING_BY_ITERATIONS:
            can.add("iterations")
        wanted = self.settings.resource
        if wanted is None:
            order: tuple[Resource, ...] = ("trees", "iterations", "epochs", "rows")
            return next(resource for resource in order if resource in can)
        if wanted not in can:
            raise self._refused(
                f"{self._class} cannot be given more {wanted}",
                f"leave resource out, or choose from {', '.join(sorted(can))}",
            )
        return wanted

    def _must_have_probabilities(self) -> None:
        for start in self.settings.starts or ({},):
            try:
                model = self.build(start, seed=0, rows=1)
            except TypeError as err:
                raise self._refused(
                    f"{self._class}: {err}",
                    "give the parameter in fixed, or build it in a train.families_file",
                ) from err
            if not hasattr(model, "predict_proba"):
                raise self._refused(
                    f"{self._class} has no predict_proba with {self._said(start)}",
                    "give parameters in fixed with which it has, or wrap it in "
                    "CalibratedClassifierCV in a train.families_file",
                )

    def _said(self, start: Mapping[str, Value]) -> str:
        given = {**self.settings.fixed, **start}
        return ", ".join(f"{key} = {value!r}" for key, value in given.items()) or "its defaults"

    def _refused(self, found: str, next_move: str) -> ProjectError:
        return ProjectError(
            f"[train.models.{self.name}] declares a classifier of scikit-learn's that has "
            "probabilities.",
            found=found,
            next_move=next_move,
        )
