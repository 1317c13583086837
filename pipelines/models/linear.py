"""Linear models."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pipelines.models.family import Family
from pipelines.models.space import Dimension, Space, Value


class Linear(Family):
    """Logistic regression: the yardstick that a deeper model has to justify itself against."""

    name: ClassVar[str] = "linear"
    module: ClassVar[str] = "sklearn.linear_model"
    resource: ClassVar[Literal["epochs"] | None] = None
    share: ClassVar[int] = 1
    parameters: ClassVar[Mapping[str, type]] = {"C": float, "class_weight": str}

    def space(self) -> Space:
        """Return the space of the inverse strength of the L2 penalty."""
        return {"C": Dimension(log=(1e-4, 1e2))}

    def starts(self) -> tuple[dict[str, Value], ...]:
        """Return a mild and a strong penalty."""
        return ({"C": 0.1}, {"C": 0.01})

    def build(self, params: Mapping[str, Value], *, seed: int, rows: int) -> Any:
        """Return a regression fitted by L-BFGS, which draws no random numbers."""
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(max_iter=500, **params)
