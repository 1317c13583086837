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
  the rows: the sweep decides after each whether another is worth it, and keeps a deep copy of
  the best, whose ``random_state`` it sets to the seed. With None it is fitted once.
- A parameter that the space leaves out, or whose condition does not hold, is absent from the
  parameters, and the estimator's own default applies.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pipelines.models.space import Space, Value


class Family(ABC):
    """A family of estimators; see the module for what it promises.

    Attributes
    ----------
    name : str
        What the project file, trials and runs call it.
    module : str
        The module that `build` imports; workers load it before their first trial.
    resource : "epochs" or None
        What a trial can be given more of, so that a poor one can be stopped early.
    share : int
        Trials that it gets, relative to the other families of the sweep.
    parameters : mapping of str to type
        Every parameter that a space may declare.
    """

    name: ClassVar[str]
    module: ClassVar[str]
    resource: ClassVar[Literal["epochs"] | None]
    share: ClassVar[int]
    parameters: ClassVar[Mapping[str, type]]

    @abstractmethod
    def space(self) -> Space:
        """Return the space that is searched unless the project file says otherwise."""

    @abstractmethod
    def starts(self) -> tuple[dict[str, Value], ...]:
        """Return the configurations to try first, the most promising first."""

    @abstractmethod
    def build(self, params: Mapping[str, Value], *, seed: int, rows: int) -> Any:
        """Return an unfitted classifier for so many training rows."""
