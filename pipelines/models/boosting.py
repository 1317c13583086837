"""Gradient-boosted trees."""

import math
from collections.abc import Mapping
from typing import Any

from pipelines.models.family import Family, Resource
from pipelines.models.space import Dimension, Space, Value


class Boosting(Family):
    """Histogram gradient boosting: the usual winner on tables, with little tuning."""

    name = "boosting"
    module = "sklearn.ensemble"
    resource: Resource = "iterations"
    share = 3
    parameters: Mapping[str, type | tuple[type, ...]] = {
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
        """Return one slow and one quick learner, and scikit-learn's defaults as near as may be."""
        common: dict[str, Value] = {"min_samples_leaf": 20, "l2_regularization": 1e-2}
        return (
            common
            | {"learning_rate": 0.1, "max_iter": 80, "max_leaf_nodes": 15, "max_features": 0.5},
            common
            | {"learning_rate": 0.06, "max_iter": 120, "max_leaf_nodes": 7, "max_features": 1.0},
            {
                "learning_rate": 0.1,
                "max_iter": 100,
                "max_leaf_nodes": 31,
                "min_samples_leaf": 20,
                "l2_regularization": 1e-4,
                "max_features": 1.0,
            },
        )

    def build(self, params: Mapping[str, Value], *, seed: int, rows: int) -> Any:
        """Return an ensemble whose size is a parameter, so without early stopping of its own."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(early_stopping=False, random_state=seed, **params)

    def cost(self, params: Mapping[str, Value], *, rows: int, columns: int, classes: int) -> float:
        """Return the planned seconds of one iteration: a tree a class, each leaf a histogram."""
        leaves = int(params.get("max_leaf_nodes", 31))
        tree = 1e-4 + leaves * (2e-5 + 2e-6 * columns) + 1e-9 * rows * columns * math.log2(leaves)
        return tree * (classes if classes > 2 else 1)
