"""The trees of a model file, which are held to their arrays before anything walks them.

scikit-learn follows the numbers in a tree's nodes without asking whether they lie within it:
a crafted file would read the memory beside it, or end the process. Nothing about their types
tells; so here each tree is looked at, and one is let through only in an estimator that makes
sure, at each call, of the columns that it was fitted on.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import numpy as np

from pipelines.modelfile import TREE_TYPES

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from skops.io._audit import Node


def load(file: Path, trusted: list[str]) -> Any:
    """Load a model file as skops does, and look at its trees.

    Parameters
    ----------
    file : Path
    trusted : list of str
        What it may hold beside skops' own list; of `TREE_TYPES` those wanted.

    Raises
    ------
    ValueError
        A tree leads out of its arrays, or stands where nobody counts its columns.
    skops.io.exceptions.UntrustedTypesFoundException
        The file holds another type.
    """
    from skops.io._audit import audit_tree, get_tree
    from skops.io._utils import read_schema

    with ZipFile(file) as archive:
        schema, context = read_schema(archive)
        root = get_tree(schema, context, trusted=trusted)
        audit_tree(root, trusted=trusted)
        nodes = _tree_nodes(root)
        model = root.construct()
    # Each node makes its object once and keeps it, so these are the model's own.
    unseen = {id(node.construct()) for node in nodes} - _seen(model)
    _must(not unseen, "a tree stands where none is looked for")
    return model


def _tree_nodes(root: "Node") -> list["Node"]:
    """Return the nodes that make trees, whose making alone could lead astray."""
    from skops.io._sklearn import TreeNode

    found, made_by = [], set()
    for node in _nodes(root):
        if isinstance(node, TreeNode):
            _check_call(*node.args.construct())
            made_by.add(id(node.constructor))
            found.append(node)
    for node in _nodes(root):
        if isinstance(node, TreeNode) or id(node) in made_by:
            continue
        name = f"{node.module_name}.{node.class_name}"
        if name in TREE_TYPES:
            _must(type(node).__name__ == "ObjectNode", f"{node.class_name} is named, not held")
            _must(name != TREE_TYPES[0], "a tree is made in a way of its own")
            found.append(node)
    return found


def _nodes(root: "Node") -> Iterator["Node"]:
    from skops.io._audit import CachedNode, Node

    waiting: list[Any] = [root]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, list | tuple):
            waiting.extend(node)
        elif isinstance(node, dict):
            waiting.extend(node.values())
        elif isinstance(node, Node) and id(node) not in seen:
            seen.add(id(node))
            waiting.extend(node.children.values())
            if isinstance(node, CachedNode):
                waiting.append(node.cached)
            else:
                yield node


def _check_call(n_features: Any, n_classes: Any, n_outputs: Any) -> None:
    """Look at what a tree is made with: it copies as many numbers of classes as it is told."""
    _must(type(n_features) is int and type(n_outputs) is int, "a tree's sizes are no numbers")
    _must(
        isinstance(n_classes, np.ndarray)
        and n_classes.dtype.kind == "i"
        and n_classes.shape == (n_outputs,)
        and n_outputs >= 1
        and int(n_classes.min()) >= 1,
        "a tree's numbers of classes are not as many as its outputs",
    )


def _seen(model: Any) -> set[int]:
    """Look at every tree that is reached from here; return which they were."""
    looking = _owners()
    seen: set[int] = set()
    trees: set[int] = set()
    waiting = [model]
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        kind = type(found)
        _must(
            f"{kind.__module__}.{kind.__name__}" not in TREE_TYPES,
            "a tree stands outside of an estimator that counts its columns",
        )
        _must(
            kind.__module__ != "sklearn.ensemble._gb",
            f"{kind.__name__} walks trees by itself; HistGradientBoostingClassifier does not",
        )
        if kind in looking:
            attribute, look = looking[kind]
            state = dict(vars(found))
            for name in state:
                # As a method of its own that looks at nothing.
                _must(not hasattr(kind, name), f"{kind.__name__}.{name} is overlaid")
            trees.update(id(tree) for tree in look(state, state.pop(attribute, None)))
            waiting.extend(state.values())
        elif isinstance(found, dict):
            waiting.extend([*found.keys(), *found.values()])
        elif isinstance(found, list | tuple | set | frozenset):
            waiting.extend(found)
        elif isinstance(found, np.ndarray):
            waiting.extend(found.flat if found.dtype.hasobject else ())
        elif not isinstance(found, type):
            waiting.extend(getattr(found, "__dict__", {}).values())
    return trees


_Look = Callable[[dict[str, Any], Any], list[Any]]


def _owners() -> dict[type, tuple[str, _Look]]:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

    return {
        DecisionTreeClassifier: ("tree_", _look_at_tree),
        ExtraTreeClassifier: ("tree_", _look_at_tree),
        HistGradientBoostingClassifier: ("_predictors", _look_at_predictors),
    }


def _look_at_tree(state: dict[str, Any], tree: Any) -> list[Any]:
    from sklearn.tree._tree import Tree

    if tree is None:
        return []
    _must(type(tree) is Tree, "tree_ is no tree")
    columns = _columns(state)
    _must(tree.n_features == columns, "a tree has other columns than its estimator")
    _must(1 <= tree.node_count <= tree.capacity, "a tree counts more nodes than it has")
    left, right = tree.children_left, tree.children_right
    inner = left != -1
    _must(bool((right[~inner] == -1).all()), "a leaf leads on")
    depth = _check_nodes(left, right, inner, tree.feature, columns)
    # Paths are written into rooms of this length.
    _must(depth <= tree.max_depth, "a tree is deeper than it says")
    return [tree]


def _look_at_predictors(state: dict[str, Any], iterations: Any) -> list[Any]:
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    if iterations is None:
        return []
    columns = _columns(state)
    # Categories are looked up by further numbers; features here are numbers all.
    mapper = state.get("_bin_mapper")
    _must(
        state.get("_preprocessor") is None
        and not state.get("_in_fit")
        and not np.any(getattr(mapper, "is_categorical_", True)),
        "boosted trees have categorical features",
    )
    _must(type(iterations) is list, "iterations are no list")
    trees = []
    for iteration in iterations:
        _must(type(iteration) is list, "an iteration is no list")
        for tree in iteration:
            _must(type(tree) is TreePredictor, "an iteration holds no tree")
            _must(vars(tree).keys() <= _PREDICTOR, "a tree's attribute is overlaid")
            nodes = tree.nodes
            _must(
                type(nodes) is np.ndarray
                and nodes.dtype == PREDICTOR_RECORD_DTYPE
                and nodes.ndim == 1
                and len(nodes) >= 1,
                "a boosted tree has no nodes",
            )
            _must(not nodes["is_categorical"].any(), "boosted trees have categorical features")
            _check_nodes(
                nodes["left"].astype(np.int64),
                nodes["right"].astype(np.int64),
                nodes["is_leaf"] == 0,
                nodes["feature_idx"],
                columns,
            )
            trees.append(tree)
    return trees


_PREDICTOR = {"nodes", "binned_left_cat_bitsets", "raw_left_cat_bitsets"}


def _columns(state: dict[str, Any]) -> int:
    columns = state.get("n_features_in_")
    _must(type(columns) is int, "an estimator of trees does not say how many columns it takes")
    assert isinstance(columns, int)
    return columns


def _check_nodes(
    left: "NDArray[Any]",
    right: "NDArray[Any]",
    inner: "NDArray[np.bool_]",
    feature: "NDArray[Any]",
    columns: int,
) -> int:
    """Make sure that every node but the root is the child of one other.

    So no way from the root leads out, or comes back.

    Returns
    -------
    int
        How deep the tree is.
    """
    children = np.concatenate([left[inner], right[inner]])
    _must(
        np.array_equal(np.sort(children), np.arange(1, len(inner))),
        "a tree's nodes lead out of it, or in a circle",
    )
    split_on = feature[inner]
    _must(bool(((split_on >= 0) & (split_on < columns)).all()), "a tree asks for no column")
    depth, level = 0, np.zeros(1, dtype=np.intp)
    while len(level := level[inner[level]]):
        level = np.concatenate([left[level], right[level]]).astype(np.intp)
        depth += 1
    return depth


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(f"a model file is whole: {otherwise}")
