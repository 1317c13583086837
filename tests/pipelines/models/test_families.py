"""The contract of pipelines.models.family, kept by every member."""

import pickle
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from pipelines.models.families import DEFAULT_FAMILIES, FAMILIES
from pipelines.models.family import Family
from pipelines.models.learner import Rows
from pipelines.models.space import Dimension, merge

every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Three classes along one of four columns."""
    random = np.random.default_rng(0)
    X = random.normal(size=(150, 4)).astype(np.float32)
    return X, np.array(["a", "b", "c"])[np.digitize(X[:, 0], (-0.5, 0.5))]


def fitted(family: Family, params: dict[str, Any], X: np.ndarray, y: np.ndarray) -> Any:
    """Fit as a trial does, two epochs or the family's smallest model."""
    classes, codes = np.unique(y, return_inverse=True)
    rows = Rows(X, y, codes.astype(np.intp), classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learner = family.start(params, seed=7, rows=len(X))
        learner.advance(rows, len(X) if family.resource == "rows" else 2)
    return learner.estimator()


@every_family
def test_it_is_named_by_its_own_name(family: Family) -> None:
    """A family is found under its own name, and so are those that are tried by default."""
    assert FAMILIES[family.name] is family
    assert set(DEFAULT_FAMILIES) <= FAMILIES.keys()


@every_family
def test_the_space_is_declarable(family: Family) -> None:
    """Each parameter of the space is one that a project file may declare, of the same type."""
    for name, dimension in merge(family.space(), {}).items():
        assert name in family.parameters
        family.check(name, dimension)


@every_family
def test_starts_lie_in_the_space(family: Family) -> None:
    """Each starting point gives every parameter that exists for it, within its bounds."""
    space = merge(family.space(), {})
    assert family.starts()
    for start in family.starts():
        exist = {name for name, dimension in space.items() if dimension.exists(start)}
        assert start.keys() == exist
        assert all(space[name].contains(value) for name, value in start.items())


@every_family
def test_a_genuine_classifier(family: Family, rows: tuple[np.ndarray, np.ndarray]) -> None:
    """Each starting point builds a scikit-learn classifier that learns string labels."""
    X, y = rows
    for start in family.starts():
        estimator = fitted(family, start, X, y)
        assert isinstance(estimator, ClassifierMixin)
        assert isinstance(estimator, BaseEstimator)
        assert type(estimator).__module__.startswith("sklearn.")
        assert list(estimator.classes_) == ["a", "b", "c"]
        assert estimator.predict_proba(X).shape == (150, 3)


@every_family
def test_defaults(family: Family, rows: tuple[np.ndarray, np.ndarray]) -> None:
    """Without any parameter a family builds its library's defaults."""
    assert fitted(family, {}, *rows).predict(rows[0]).shape == (150,)


@every_family
def test_parameters_are_known_to_the_estimator(
    family: Family, rows: tuple[np.ndarray, np.ndarray]
) -> None:
    """Every parameter that may be declared changes the estimator that is built."""
    odd: dict[Any, Any] = {float: 0.123, int: 3, str: "balanced", bool: True}
    names = {"activation": "tanh", "solver": "sgd"}
    plain = family.build({}, seed=7, rows=150).get_params()
    for name, taken in family.parameters.items():
        kind = taken[0] if isinstance(taken, tuple) else taken
        changed = family.build({name: names.get(name, odd[kind])}, seed=7, rows=150).get_params()
        assert any(
            str(changed[key]) != str(plain[key]) for key in plain if key != "random_state"
        ), name


@every_family
def test_the_same_seed_the_same_model(family: Family, rows: tuple[np.ndarray, np.ndarray]) -> None:
    """The same parameters and seed give the same predictions to the last bit."""
    start = family.starts()[0]
    first, second = fitted(family, start, *rows), fitted(family, start, *rows)
    np.testing.assert_array_equal(first.predict_proba(rows[0]), second.predict_proba(rows[0]))


@every_family
def test_it_travels(family: Family, rows: tuple[np.ndarray, np.ndarray]) -> None:
    """A fitted estimator predicts alike after a trip between processes."""
    estimator = fitted(family, family.starts()[0], *rows)
    there = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(there.predict_proba(rows[0]), estimator.predict_proba(rows[0]))


def test_networks_shuffle_anew() -> None:
    """Two epochs of a network see the rows in two orders: its generator moves on."""
    network = FAMILIES["mlp"].build({"layers": 1, "width": 2}, seed=7, rows=50)
    X = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    states = []
    for _ in range(2):
        network.partial_fit(X, X[:, 0] > 0, classes=[False, True])
        states.append(network.random_state.get_state()[2])
    assert states[0] != states[1]


def test_networks_stay_in_float32(rows: tuple[np.ndarray, np.ndarray]) -> None:
    """A network that is given float32 has float32 weights: float64 would come in unnoticed."""
    network = fitted(FAMILIES["mlp"], {}, *rows)
    assert {weights.dtype for weights in network.coefs_} == {np.dtype(np.float32)}


def test_a_batch_is_no_larger_than_the_table(recwarn: pytest.WarningsRecorder) -> None:
    """A batch size above the number of rows is cut without a warning on every epoch."""
    network = FAMILIES["mlp"].build({"batch_size": 256}, seed=0, rows=10)
    X = np.arange(20, dtype=np.float32).reshape(10, 2)
    network.partial_fit(X, X[:, 0] > 9, classes=[False, True])
    assert not recwarn.list


@every_family
def test_a_unit_has_a_planned_cost(family: Family) -> None:
    """It is positive, of the parameters and the table alone, and grows with the columns."""
    for start in family.starts():
        cost = family.cost(start, rows=5_000, columns=20, classes=3)
        assert 0 < cost < 10
        assert cost == family.cost(dict(start), rows=5_000, columns=20, classes=3)
        assert cost < family.cost(start, rows=5_000, columns=2_000, classes=3)
    assert family.cost({}, rows=2, columns=1, classes=2) > 0


@every_family
def test_the_top_rung(family: Family) -> None:
    """It is all epochs or rows that there are, and the size that the parameters say."""
    most = {"epochs": 30, "rows": 500, "trees": 100, "iterations": 80}[family.resource]
    assert family.most(family.starts()[0], rows=500, max_epochs=30) == most
    default = {"epochs": 30, "rows": 500, "trees": 100, "iterations": 100}[family.resource]
    assert family.most({}, rows=500, max_epochs=30) == default


@pytest.mark.parametrize(
    ("family", "parameter", "dimension", "said"),
    [
        ("mlp", "layres", Dimension(integer=(1, 2)), "did you mean layers"),
        ("mlp", "layers", Dimension(uniform=(1, 2)), "takes whole numbers"),
        ("mlp", "solver", Dimension(integer=(1, 2)), "takes text: choice"),
        ("mlp", "alpha", Dimension(choice=("small",)), "takes numbers"),
        ("forest", "max_features", Dimension(choice=(True,)), "whole numbers.* or numbers or text"),
    ],
)
def test_what_a_space_may_not_declare(
    family: str, parameter: str, dimension: Dimension, said: str
) -> None:
    """An unknown parameter and one of another type are refused, with what is wanted."""
    with pytest.raises(ValueError, match=said):
        FAMILIES[family].check(parameter, dimension)


def test_what_a_space_may_declare() -> None:
    """Whole numbers are numbers, and some parameters take several types."""
    FAMILIES["mlp"].check("alpha", Dimension(choice=(0, 1e-3)))
    FAMILIES["forest"].check("max_features", Dimension(choice=("sqrt", 0.5)))
    FAMILIES["sgd"].check("average", Dimension(choice=(True,)))


def test_light_imports() -> None:
    """Settings, spaces, top rungs and costs are known without the libraries behind them."""
    program = (
        "import sys, pipelines.sweep.settings as s; s.TrainSettings(); "
        "from pipelines.models.families import FAMILIES as known, Families; Families(); "
        "[(family.starts(), family.most(start, rows=9, max_epochs=9), "
        "family.cost(start, rows=9, columns=9, classes=9)) "
        "for family in known.values() for start in family.starts()]; "
        "print([m for m in ('sklearn', 'scipy', 'pandas', 'optuna') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
