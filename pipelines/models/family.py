"""The contract that every family of estimators keeps.

A family turns parameters into an unfitted scikit-learn classifier, and knows where it is
worth looking for good ones. It holds no state: one instance serves every sweep, in the
driver and in the workers at once, and is named in a job by its name alone.

- A family's module imports light. The library behind it is imported in `Family.build`,
  since the project file is checked against the spaces before anything else is loaded.
- What `Family.build` returns belongs to the caller. It takes a dense float32 matrix, and any
  labels that scikit-learn takes; it has ``predict_proba``.
- The same parameters and seed give the same fitted estimator, in any process of one machine.
- With ``resource = "epochs"`` the estimator has ``partial_fit``, and one call is one pass over
  the rows; with "trees" or "iterations" it has ``warm_start``, and grows; with "rows" it is
  fitted at once, on some of the rows first.
- A parameter that the space leaves out, or whose condition does not hold, is absent from the
  parameters, and the estimator's own default applies.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

from pipelines.models.learner import Growing, Learner, Passes, Subsets
from pipelines.models.space import Dimension, Space, Value, nearest

Resource = Literal["epochs", "trees", "iterations", "rows"]
"""What a trial can be given more of, so that a poor one is given little."""

SIZES: Mapping[str, str] = {"trees": "n_estimators", "iterations": "max_iter"}
"""The parameter that is the number of units, by resource."""


class Family(ABC):
    """A family of estimators; see the module for what it promises.

    Attributes
    ----------
    name : str
        What the project file, trials and runs call it.
    module : str
        The module that `build` imports; workers load it before their first trial.
    resource : "epochs", "trees", "iterations" or "rows"
        What a trial can be given more of, so that a poor one is given little.
    share : int
        Trials that it gets, relative to the other families of the sweep.
    parameters : mapping of str to type, or to several
        Parameters that a space may declare beside those of `space`; ``object`` is any type.
    """

    name: str
    module: str = "sklearn.base"
    resource: Resource
    share: int = 1
    parameters: Mapping[str, type | tuple[type, ...]] = {}

    @abstractmethod
    def space(self) -> Space:
        """Return the space that is searched unless the project file says otherwise."""

    @abstractmethod
    def starts(self) -> tuple[dict[str, Value], ...]:
        """Return the configurations to try first, the most promising first."""

    @abstractmethod
    def build(self, params: Mapping[str, Value], *, seed: int, rows: int) -> Any:
        """Return an unfitted classifier for so many training rows."""

    def start(self, params: Mapping[str, Value], *, seed: int, rows: int) -> Learner:
        """Return a learner that has learned nothing yet."""
        model = self.build(params, seed=seed, rows=rows)
        if self.resource == "epochs":
            return Passes(model, seed)
        if self.resource == "rows":
            return Subsets(model, seed)
        return Growing(model, seed, SIZES[self.resource])

    def most(self, params: Mapping[str, Value], *, rows: int, max_epochs: int) -> int:
        """Return the units at the top rung: as much as a trial is ever given."""
        if self.resource == "epochs":
            return max_epochs
        if self.resource == "rows":
            return rows
        size = SIZES[self.resource]
        if size in params:
            return int(params[size])
        return int(self.build(params, seed=0, rows=rows).get_params()[size])

    def cost(self, params: Mapping[str, Value], *, rows: int, columns: int, classes: int) -> float:
        """Return the planned seconds of one unit, on a usual core.

        Decisions are taken in the order of planned ends, so a plan that is far off makes
        workers wait, and nothing else. It depends on nothing but what it is given.
        """
        if self.resource == "rows":
            return 3e-8 * columns * classes
        return 1e-3 + 1e-8 * rows * columns * classes

    def check(self, parameter: str, dimension: Dimension) -> None:
        """Refuse what a space may not declare.

        Raises
        ------
        ValueError
            There is no such parameter, or it takes values of another type.
        """
        known = {**dict.fromkeys(self.space(), object), **self.parameters}
        if parameter not in known:
            raise ValueError(
                f"{parameter} is no parameter of {self.name}{nearest(parameter, known)}"
            )
        taken = known[parameter]
        wanted = set(taken) if isinstance(taken, tuple) else {taken}
        allowed = wanted | ({int} if float in wanted else set())
        if object not in wanted and not dimension.types <= allowed:
            said = " or ".join(_SAID[kind] for kind in _SAID if kind in wanted)
            raise ValueError(f"{self.name}.{parameter} takes {said}")


_SAID = {
    int: "whole numbers: int or choice",
    float: "numbers",
    str: "text: choice",
    bool: "true or false: choice",
}
