"""Forests of trees that are grown apart from each other."""

import math
from collections.abc import Mapping
from typing import Any

from pipelines.models.family import Family, Resource
from pipelines.models.space import Dimension, Space, Value

_PARAMETERS: Mapping[str, type | tuple[type, ...]] = {
    "n_estimators": int,
    "criterion": str,
    "max_depth": int,
    "min_samples_split": (int, float),
    "min_samples_leaf": (int, float),
    "max_features": (int, float, str),
    "max_leaf_nodes": int,
    "min_impurity_decrease": float,
    "ccp_alpha": float,
}


class Forest(Family):
    """Random forests.

    The number of trees is no parameter to tune but what a trial is given more of, a hundred
    at most: more of them never do harm [1]_. What matters is how many of the columns a split
    may choose from, and how small a leaf may be.

    References
    ----------
    .. [1] P. Probst and A.-L. Boulesteix, "To Tune or Not to Tune the Number of Trees in
       Random Forest", 2018, https://jmlr.org/papers/v18/17-269.html
    """

    name = "forest"
    module = "sklearn.ensemble"
    resource: Resource = "trees"
    share = 2
    parameters: Mapping[str, type | tuple[type, ...]] = {
        **_PARAMETERS,
        "max_samples": (int, float),
    }

    def space(self) -> Space:
        """Return the space of columns to choose from and of the size of the trees."""
        return _space()

    def starts(self) -> tuple[dict[str, Value], ...]:
        """Return scikit-learn's defaults, smaller trees, and a choice from more columns."""
        return _starts()

    def build(self, params: Mapping[str, Value], *, seed: int, rows: int) -> Any:
        """Return a forest that grows on one core, as the workers share the others."""
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(n_jobs=1, random_state=seed, **params)

    def cost(self, params: Mapping[str, Value], *, rows: int, columns: int, classes: int) -> float:
        """Return the planned seconds of one tree, whose every split sorts its rows."""
        return _cost(4.5e-8, params, rows, columns)


class ExtraTrees(Family):
    """Extremely randomized trees: thresholds are drawn, so that they are quick and smooth.

    References
    ----------
    .. [1] P. Geurts, D. Ernst and L. Wehenkel, "Extremely randomized trees", 2006,
       https://doi.org/10.1007/s10994-006-6226-1
    """

    name = "extra_trees"
    module = "sklearn.ensemble"
    resource: Resource = "trees"
    share = 2
    parameters = _PARAMETERS

    def space(self) -> Space:
        """Return the space of columns to choose from and of the size of the trees."""
        return _space()

    def starts(self) -> tuple[dict[str, Value], ...]:
        """Return scikit-learn's defaults, smaller trees, and a choice from more columns."""
        return _starts()

    def build(self, params: Mapping[str, Value], *, seed: int, rows: int) -> Any:
        """Return a forest that grows on one core, as the workers share the others."""
        from sklearn.ensemble import ExtraTreesClassifier

        return ExtraTreesClassifier(n_jobs=1, random_state=seed, **params)

    def cost(self, params: Mapping[str, Value], *, rows: int, columns: int, classes: int) -> float:
        """Return the planned seconds of one tree, whose splits sort nothing."""
        return _cost(1.5e-8, params, rows, columns)


def _space() -> Space:
    return {
        "n_estimators": Dimension(choice=(100,)),
        "max_features": Dimension(choice=("sqrt", 0.2, 0.4, 0.6, 0.8, 1.0)),
        "min_samples_leaf": Dimension(integer=(1, 20)),
        "criterion": Dimension(choice=("gini", "entropy")),
    }


def _starts() -> tuple[dict[str, Value], ...]:
    common: dict[str, Value] = {"n_estimators": 100, "criterion": "gini"}
    return (
        common | {"max_features": "sqrt", "min_samples_leaf": 1},
        common | {"max_features": "sqrt", "min_samples_leaf": 5},
        common | {"max_features": 0.4, "min_samples_leaf": 2},
    )


def _cost(one: float, params: Mapping[str, Value], rows: int, columns: int) -> float:
    share = params.get("max_features")
    tried = share * columns if isinstance(share, float) else math.sqrt(columns)
    return 1e-3 + one * rows * math.log2(rows + 1) * max(tried, 1.0)
