"""What a model has learned, part by part: parameters, as against hyperparameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

_SILENT = 0.01
_LARGEST = 3


@dataclass(frozen=True)
class Part:
    """One part of a fitted model: a layer, a matrix of coefficients, the trees.

    Parameters
    ----------
    name : str
    shape : str
        Such as ``104 × 64``.
    parameters : int
        Numbers that were learned.
    low, median, high : float or None
        The 5th, 50th and 95th percentile of their magnitudes; None for trees.
    note : str
        What stands out: neurons without a say, the largest coefficients.
    """

    name: str
    shape: str
    parameters: int
    low: float | None = None
    median: float | None = None
    high: float | None = None
    note: str = ""


def describe_learned(model: Pipeline) -> tuple[Part, ...]:
    """Say what a fitted pipeline's last step has learned; nothing where that is unknown.

    A neuron is called silent when the weights that leave it, or those that enter it, have a
    norm below a hundredth of its layer's median: weight decay has switched it off.
    """
    return tuple(_parts(model[-1], _names(model)))


def _parts(model: Any, names: Sequence[str] | None) -> list[Part]:
    if hasattr(model, "coefs_"):
        return _layers(model)
    if hasattr(model, "coef_"):
        return _coefficients(model, names)
    if hasattr(model, "_predictors"):
        # scikit-learn has no public way to the trees of its histogram boosting.
        trees = [tree for stage in model._predictors for tree in stage]
        leaves = [int(tree.get_n_leaf_nodes()) for tree in trees]
        depths = [int(tree.get_max_depth()) for tree in trees]
        return _trees(leaves, depths, f"{len(model._predictors):,} iterations")
    if hasattr(model, "estimators_"):
        found = model.estimators_
        members = found.ravel().tolist() if isinstance(found, np.ndarray) else list(found)
        if all(hasattr(member, "tree_") for member in members):
            leaves = [int(member.tree_.n_leaves) for member in members]
            return _trees(leaves, [int(member.tree_.max_depth) for member in members], "")
        # An ensemble votes over whole models.
        return [
            Part(f"{place}: {part.name}", **{k: v for k, v in vars(part).items() if k != "name"})
            for place, member in enumerate(members, 1)
            for part in _parts(member[-1] if isinstance(member, Pipeline) else member, names)
        ]
    return [
        _part(name, value)
        for name, value in sorted(vars(model).items())
        if name.endswith("_") and isinstance(value, np.ndarray) and value.dtype.kind == "f"
    ]


def _layers(network: Any) -> list[Part]:
    parts, last = [], len(network.coefs_) - 1
    for place, (weights, biases) in enumerate(
        zip(network.coefs_, network.intercepts_, strict=True)
    ):
        name = "output layer" if place == last else f"hidden layer {place + 1}"
        note = ""
        if place < last:
            silent = _silent(np.linalg.norm(weights, axis=0)) | _silent(
                np.linalg.norm(network.coefs_[place + 1], axis=1)
            )
            note = f"{int(silent.sum()):,} of {len(silent):,} neurons silent"
        parts += [_part(f"{name}: weights", weights, note), _part(f"{name}: biases", biases)]
    return parts


def _silent(norms: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = norms <= _SILENT * np.median(norms)
    return found


def _coefficients(model: Any, names: Sequence[str] | None) -> list[Part]:
    coefficients = np.atleast_2d(model.coef_)
    note = ""
    if names is not None and len(names) == coefficients.shape[1]:
        strength = np.abs(coefficients).max(axis=0)
        largest = [names[place] for place in np.argsort(-strength, kind="stable")[:_LARGEST]]
        note = f"largest: {', '.join(largest)}"
    return [
        _part("coefficients", coefficients, note),
        _part("intercepts", np.atleast_1d(model.intercept_)),
    ]


def _trees(leaves: Sequence[int], depths: Sequence[int], note: str) -> list[Part]:
    if not leaves:
        return []
    said = [
        f"{int(np.median(leaves)):,} leaves in the median tree, {max(leaves):,} in the largest",
        f"at most {max(depths)} deep",
    ]
    return [
        # A binary tree has a split less than leaves, and each split is a column and a threshold.
        Part("splits", f"{len(leaves):,} trees", sum(leaves) - len(leaves), note="; ".join(said)),
        Part("leaf values", f"{len(leaves):,} trees", sum(leaves), note=note),
    ]


def _part(name: str, values: NDArray[Any], note: str = "") -> Part:
    shape = " × ".join(f"{side:,}" for side in values.shape)
    if not values.size:
        return Part(name, shape, 0, note=note)
    low, median, high = np.quantile(np.abs(values), (0.05, 0.5, 0.95))
    return Part(name, shape, int(values.size), float(low), float(median), float(high), note)


def _names(model: Pipeline) -> list[str] | None:
    try:
        return [str(name) for name in model[:-1].get_feature_names_out()]
    except (AttributeError, ValueError):
        # A transformer of the project's own need not name its columns.
        return None
