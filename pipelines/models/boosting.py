"""Gradient-boosted trees."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pipelines.models.family import Family
from pipelines.models.space import Dimension, Space, Value


class Boosting(Family):
    """Histogram gradient boosting: the usual winner on tables, with little tuning."""

    name: ClassVar[str] = "boosting"
    module: ClassVar[str] = "sklearn.ensemble"
    resource: ClassVar[Literal["epochs"] | None] = None
    share: ClassVar[int] = 3
    parameters: ClassVar[Mapping[str, type]] = {
        "learning_rate": float,
        "max_iter": int,
        "max_leaf_nodes": int,
        "max_depth": int,
        "min_samples_leaf": int,
        "l2_regularization": float,
        "max_features": float,
        "max_bins": int,
        "class_weight": str,
    }

    def space(self) -> Space:
        """Return the space of learning rate, number and size of trees, and regularisation."""
        return {
            "learning_rate": Dimension(log=(0.03, 0.3)),
            "max_iter": Dimension(integer=(30, 150)),
            "max_leaf_nodes": Dimension(choice=(7, 15, 31)),
            "min_samples_leaf": Dimension(integer=(5, 60)),
            "l2_regularization": Dimension(log=(1e-4, 10.0)),
            "max_features": Dimension(uniform=(0.3, 1.0)),
        }

    def starts(self) -> tuple[dict[str, Value], ...]:
        """Return one slow and one quick learner."""
        common: dict[str, Value] = {"min_samples_leaf": 20, "l2_regularization": 1e-2}
        return (
            {"learning_rate": 0.1, "max_iter": 80, "max_leaf_nodes": 15, "max_features": 0.5}
            | common,
            {"learning_rate": 0.06, "max_iter": 120, "max_leaf_nodes": 7, "max_features": 1.0}
            | common,
        )

    def build(self, params: Mapping[str, Value], *, seed: int, rows: int) -> Any:
        """Return an ensemble whose size is a parameter, so without early stopping of its own."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(early_stopping=False, random_state=seed, **params)
