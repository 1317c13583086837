"""Linear models."""

from collections.abc import Mapping
from typing import Any

from pipelines.models.family import Family, Resource
from pipelines.models.space import Dimension, Space, Value


class Linear(Family):
    """Logistic regression: the yardstick that a deeper model has to justify itself against."""

    name = "linear"
    module = "sklearn.linear_model"
    resource: Resource = "rows"
    share = 1
    parameters: Mapping[str, type | tuple[type, ...]] = {"C": float, "class_weight": str}

    def space(self) -> Space:
        """Return the space of the inverse strength of the L2 penalty."""
        return {"C": Dimension(log=(1e-4, 1e2))}

    def starts(self) -> tuple[dict[str, Value], ...]:
        """Return a mild and a strong penalty, and scikit-learn's default."""
        return ({"C": 0.1}, {"C": 0.01}, {"C": 1.0})

    def build(self, params: Mapping[str, Value], *, seed: int, rows: int) -> Any:
        """Return a regression fitted by L-BFGS, which draws no random numbers."""
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(max_iter=500, **params)

    def cost(self, params: Mapping[str, Value], *, rows: int, columns: int, classes: int) -> float:
        """Return the planned seconds of one row."""
        return 3e-8 * columns * classes
