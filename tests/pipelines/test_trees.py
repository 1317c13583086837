"""pipelines.trees: no crafted tree reaches scikit-learn."""

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier
from sklearn.tree._tree import Tree
from skops.io.exceptions import UntrustedTypesFoundException
from threadpoolctl import threadpool_limits

from pipelines.modelfile import TRUSTED_TYPES
from pipelines.trees import load

_random = np.random.default_rng(0)
X = _random.normal(size=(200, 4)).astype(np.float32)
y = np.array(["a", "b", "c"])[np.digitize(X[:, 0] + X[:, 1], (-0.5, 0.5))]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Hold every library to one thread, as threads that wait for each other take minutes."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a model file lies."""
    return tmp_path / "model.skops"


def opened(model: Any, file: Path) -> Any:
    """Write a model, and read it as the gate does."""
    skops.io.dump(model, file)
    return load(file, list(TRUSTED_TYPES))


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(5),
        ExtraTreesClassifier(5, max_leaf_nodes=9),
        HistGradientBoostingClassifier(max_iter=5),
        DecisionTreeClassifier(),
        DecisionTreeClassifier(max_depth=1),
        ExtraTreeClassifier(),
        BaggingClassifier(n_estimators=3, max_features=0.5),
        AdaBoostClassifier(n_estimators=3),
        make_pipeline(StandardScaler(), RandomForestClassifier(3)),
        CalibratedClassifierCV(RandomForestClassifier(3), cv=2),
        VotingClassifier(
            [("a", RandomForestClassifier(2)), ("b", HistGradientBoostingClassifier(max_iter=2))],
            voting="soft",
        ),
    ],
    ids=lambda model: type(model).__name__,
)
def test_what_scikit_learn_grew_is_let_through(model: Any, file: Path) -> None:
    """Every tree that was fitted is read back, and predicts as before."""
    model.fit(X, y)
    found = opened(model, file)
    np.testing.assert_array_equal(found.predict_proba(X), model.predict_proba(X))


def test_missing_values_and_one_class_are_let_through(file: Path) -> None:
    """A tree of one leaf, and one that was fitted beside gaps."""
    gaps = np.where(X > 1.5, np.nan, X)
    for model in (
        DecisionTreeClassifier().fit(X, np.zeros(200)),
        HistGradientBoostingClassifier(max_iter=2).fit(gaps, y),
        RandomForestClassifier(2).fit(gaps, y),
    ):
        assert opened(model, file).n_features_in_ == 4


def changed(tree: Tree, **values: Any) -> Tree:
    """Return a tree one of whose fields is overwritten in every split."""
    _, made_with, state = tree.__reduce__()
    nodes = state["nodes"].copy()
    for name, value in values.items():
        if name in nodes.dtype.names:
            nodes[name][nodes["left_child"] != -1] = value
    other = Tree(*made_with)
    state = state | {"nodes": nodes}
    other.__setstate__(state | {k: v for k, v in values.items() if k in ("max_depth",)})
    return other


@pytest.mark.parametrize(
    "values",
    [
        {"left_child": 10**9},
        {"right_child": 10**9},
        {"left_child": -7},
        {"right_child": 0},
        {"left_child": 1, "right_child": 1},
        {"feature": 4},
        {"feature": -3},
        {"max_depth": 1},
    ],
    ids=str,
)
def test_a_tree_that_leads_out_is_refused(values: dict[str, int], file: Path) -> None:
    """Children beyond the nodes, circles, and columns that are not there."""
    model = RandomForestClassifier(3, random_state=0).fit(X, y)
    model.estimators_[1].tree_ = changed(model.estimators_[1].tree_, **values)
    with pytest.raises(ValueError, match="a model file is whole"):
        opened(model, file)


def test_a_tree_of_fewer_columns_is_refused(file: Path) -> None:
    """Importances are written into as many places as it has columns."""
    model = DecisionTreeClassifier().fit(X, y)
    _, (_, n_classes, n_outputs), state = model.tree_.__reduce__()
    model.tree_ = Tree(1, n_classes, n_outputs)
    model.tree_.__setstate__(state)
    with pytest.raises(ValueError, match="other columns than its estimator"):
        opened(model, file)


def test_a_leaf_that_leads_on_is_refused(file: Path) -> None:
    """A leaf by its left child alone."""
    model = DecisionTreeClassifier(max_depth=2).fit(X, y)
    _, made_with, state = model.tree_.__reduce__()
    nodes = state["nodes"].copy()
    nodes["right_child"][-1] = 10**9
    model.tree_ = Tree(*made_with)
    model.tree_.__setstate__(state | {"nodes": nodes})
    with pytest.raises(ValueError, match="a leaf leads on"):
        opened(model, file)


def test_a_tree_without_nodes_is_refused(file: Path) -> None:
    """scikit-learn would read the first of none."""
    model = DecisionTreeClassifier().fit(X, y)
    model.tree_ = Tree(4, np.array([3]), 1)
    with pytest.raises(ValueError, match="more nodes than it has"):
        opened(model, file)


def rewritten(file: Path, edit: Callable[[Any], None]) -> None:
    """Change the description that a model file begins with."""
    with ZipFile(file) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(held["schema.json"])
    edit(schema)
    held["schema.json"] = json.dumps(schema).encode()
    with ZipFile(file, "w") as archive:
        for name, text in held.items():
            archive.writestr(name, text)


def described(schema: Any, loader: str) -> list[dict[str, Any]]:
    """Return every description that a loader reads."""
    found = []
    if isinstance(schema, dict):
        found = [schema] if schema.get("__loader__") == loader else []
    inner = schema.values() if isinstance(schema, dict) else schema
    for value in inner if isinstance(schema, dict | list) else ():
        found += described(value, loader)
    return found


def ask_for_outputs(tree: dict[str, Any]) -> None:
    """Let a tree have more outputs than it has numbers of classes for."""
    outputs = tree["__reduce__"]["args"]["content"][2]
    outputs["content"] = "100000000"
    del outputs["__id__"]


def test_more_outputs_than_there_are_classes_for_are_refused(file: Path) -> None:
    """Making such a tree would read beyond the numbers of classes: it is never made."""

    def edit(schema: Any) -> None:
        for tree in described(schema, "TreeNode"):
            ask_for_outputs(tree)

    skops.io.dump(DecisionTreeClassifier().fit(X, y), file)
    rewritten(file, edit)
    with pytest.raises(ValueError, match="not as many as its outputs"):
        load(file, list(TRUSTED_TYPES))


def test_a_tree_under_another_name_is_looked_at(file: Path) -> None:
    """What makes a tree counts, and not what the file calls it."""

    def edit(schema: Any) -> None:
        for tree in described(schema, "TreeNode"):
            tree["__module__"], tree["__class__"] = "numpy", "dtype"
            ask_for_outputs(tree)

    skops.io.dump(DecisionTreeClassifier().fit(X, y), file)
    rewritten(file, edit)
    with pytest.raises(ValueError, match="not as many as its outputs"):
        load(file, list(TRUSTED_TYPES))


@pytest.mark.parametrize(
    ("loader", "said"),
    [("ConstructorFromReduceNode", "named, not held"), ("ObjectNode", "in a way of its own")],
)
def test_a_tree_made_by_another_loader_is_refused(loader: str, said: str, file: Path) -> None:
    """Its arguments would be looked at by nobody."""

    def edit(schema: Any) -> None:
        for tree in described(schema, "TreeNode"):
            tree["__loader__"], tree["content"] = loader, tree["__reduce__"]["args"]

    skops.io.dump(DecisionTreeClassifier().fit(X, y), file)
    rewritten(file, edit)
    with pytest.raises(ValueError, match=said):
        load(file, list(TRUSTED_TYPES))


@pytest.mark.parametrize(
    "values", [{"left": 60_000}, {"right": 0}, {"feature_idx": 4}, {"feature_idx": -1}], ids=str
)
def test_boosted_trees_that_lead_out_are_refused(values: dict[str, int], file: Path) -> None:
    """The same for the trees of boosting."""
    model = HistGradientBoostingClassifier(max_iter=2).fit(X, y)
    nodes = model._predictors[1][2].nodes
    for name, value in values.items():
        nodes[name][nodes["is_leaf"] == 0] = value
    with pytest.raises(ValueError, match="a model file is whole"):
        opened(model, file)


def test_boosted_trees_of_another_shape_are_refused(file: Path) -> None:
    """No node at all, categories, or a stranger among the trees."""

    def empty(model: Any) -> None:
        model._predictors[0][0].nodes = model._predictors[0][0].nodes[:0]

    def categorical(model: Any) -> None:
        model._predictors[0][0].nodes["is_categorical"][0] = 1

    def stranger(model: Any) -> None:
        model._predictors[0][0] = DecisionTreeClassifier().fit(X, y)

    def binned(model: Any) -> None:
        model._in_fit = True

    def overlaid(model: Any) -> None:
        model._predictors[0][0].predict = np.add

    def preprocessed(model: Any) -> None:
        model._preprocessor = StandardScaler().fit(X)

    for spoil in (empty, categorical, stranger, binned, overlaid, preprocessed):
        model = HistGradientBoostingClassifier(max_iter=2).fit(X, y)
        spoil(model)
        with pytest.raises(ValueError, match="a model file is whole"):
            opened(model, file)


@pytest.mark.parametrize(
    "model", [DecisionTreeClassifier(), HistGradientBoostingClassifier(max_iter=2)]
)
def test_columns_that_nobody_counts_are_refused(model: Any, file: Path) -> None:
    """An estimator that does not say its columns, or others than its trees ask for."""
    model.fit(X, y).n_features_in_ = 3
    with pytest.raises(ValueError, match="a model file is whole"):
        opened(model, file)
    del model.n_features_in_
    with pytest.raises(ValueError, match="how many columns"):
        opened(model, file)


def test_a_method_that_is_overlaid_is_refused(file: Path) -> None:
    """A plain function of numpy's in the place of the one that counts the columns."""
    model = DecisionTreeClassifier().fit(X, y)
    model._validate_X_predict = np.add
    with pytest.raises(ValueError, match="_validate_X_predict is overlaid"):
        opened(model, file)


def test_a_tree_by_itself_is_refused(file: Path) -> None:
    """As a step, in an attribute of another estimator, or where nothing looks."""
    tree = DecisionTreeClassifier().fit(X, y).tree_
    scaler = StandardScaler().fit(X)
    scaler.more = tree
    hidden = StandardScaler().fit(X)
    hidden.more = functools.partial(np.add, tree)
    for model in (tree, [tree], scaler):
        with pytest.raises(ValueError, match="outside of an estimator"):
            opened(model, file)
    skops.io.dump(hidden, file)
    with pytest.raises(ValueError, match="where none is looked for"):
        load(file, [*TRUSTED_TYPES, "functools.partial"])


def test_gradient_boosting_is_refused(file: Path) -> None:
    """Its trees are walked without asking them how many columns they take."""
    model = GradientBoostingClassifier(n_estimators=2).fit(X, y)
    with pytest.raises(ValueError, match="HistGradientBoostingClassifier does not"):
        opened(model, file)


def test_other_types_are_refused_as_before(file: Path) -> None:
    """The list of types is held to first."""
    skops.io.dump({"run": functools.partial(print)}, file)
    with pytest.raises(UntrustedTypesFoundException, match="print"):
        load(file, list(TRUSTED_TYPES))
