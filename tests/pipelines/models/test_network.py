"""pipelines.models.network against scikit-learn's own partial_fit."""

import copy
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.neural_network import MLPClassifier

from pipelines.models.learner import Rows
from pipelines.models.mlp import MLP
from pipelines.models.network import Network

SEED = 7
EPOCHS = 20
TOLERANCE = 1e-4
"""Of a layer's largest weight. What differs is the order of sums, so the error of a weight goes
with what it is summed up from, not with what remains: a weight near zero has no digits to keep.
Nearly all networks agree to 1e-6."""

layers = st.lists(st.integers(1, 40), max_size=4).map(tuple)
params = st.fixed_dictionaries(
    {
        "activation": st.sampled_from(("identity", "logistic", "tanh", "relu")),
        "solver": st.sampled_from(("adam", "sgd")),
        "alpha": st.sampled_from((0.0, 1e-4, 1e-2, 1e-1)),
        # With fewer rows a single ReLU at its kink decides a whole step, and does so often.
        "batch_size": st.integers(4, 250) | st.just("auto"),
        "learning_rate_init": st.floats(1e-4, 5e-3),
        "momentum": st.floats(0, 0.95),
        "nesterovs_momentum": st.booleans(),
        "beta_1": st.floats(0.5, 0.95),
        "beta_2": st.floats(0.9, 0.999),
        "epsilon": st.sampled_from((1e-8, 1e-4)),
    }
)


@st.composite
def tables(draw: st.DrawFn) -> Rows:
    """Noisy classes along some columns, all of them there, with weights or without."""
    count, columns, classes = (draw(st.integers(*b)) for b in ((20, 200), (1, 12), (2, 5)))
    return table(count, columns, classes, draw(st.integers(0, 99)), draw(st.booleans()))


def table(count: int, columns: int, classes: int, seed: int = 0, weighted: bool = False) -> Rows:
    random = np.random.default_rng(seed)
    X = random.normal(size=(count, columns)).astype(np.float32)
    codes = (X @ random.normal(size=(columns, classes)) + random.normal(size=classes)).argmax(1)
    codes[:classes] = np.arange(classes)
    names = np.array(["ant", "bee", "cat", "dog", "eel"][:classes])
    weights = random.uniform(0.2, 5, count).astype(np.float32) if weighted else None
    return Rows(X=X, y=names[codes], codes=codes, classes=names, weights=weights)


def perceptron(sizes: tuple[int, ...] = (16, 8), **more: Any) -> MLPClassifier:
    return MLPClassifier(sizes, random_state=np.random.RandomState(SEED), **more)


def passed(classifier: Any, rows: Rows, epochs: int = EPOCHS) -> Any:
    """Let scikit-learn itself pass over the rows."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Got `batch_size` less than 1 or larger")
        for _ in range(epochs):
            classifier.partial_fit(rows.X, rows.y, rows.weights, classes=rows.classes)
    return classifier


def network(rows: Rows, epochs: int = EPOCHS, **more: Any) -> Network:
    learner = Network(perceptron(**more), SEED)
    learner.advance(rows, epochs)
    return learner


def weights(classifier: Any) -> list[np.ndarray]:
    return [*classifier.coefs_, *classifier.intercepts_]


def paths(
    sizes: tuple[int, ...], params: dict[str, Any], rows: Rows, epochs: int = EPOCHS
) -> Iterator[Any]:
    """What scikit-learn learns, and then what it learns after a rounding more in the first epoch.

    A ReLU whose sum is zero but for rounding goes one way or the other, and the networks part
    for good: one in a thousand does. Then each way is as much scikit-learn's as the other.
    """
    yield passed(perceptron(sizes, **params), rows, epochs)
    random = np.random.default_rng(0)
    for _ in range(20 if params["activation"] == "relu" else 0):
        near = passed(perceptron(sizes, **params), rows, 1)
        for layer in weights(near):
            layer *= random.choice(np.float32([1 - 6e-8, 1, 1 + 1.2e-7]), layer.shape)
        yield passed(near, rows, epochs - 1)


def distance(found: Any, wanted: Any) -> float:
    """Return the largest error of a weight, in parts of the largest weight of its layer."""
    return max(
        float(abs(layer - reference).max() / abs(reference).max())
        for layer, reference in zip(weights(found), weights(wanted), strict=True)
    )


def assert_same(found: Any, wanted: Any) -> None:
    """The weights of every layer are the same to the last bit."""
    for layer, reference in zip(weights(found), weights(wanted), strict=True):
        np.testing.assert_array_equal(layer, reference)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(sizes=layers, params=params, rows=tables())
def test_scikit_learns_weights(sizes: tuple[int, ...], params: dict[str, Any], rows: Rows) -> None:
    """After twenty epochs it has scikit-learn's weights, losses, probabilities and labels."""
    learner = Network(perceptron(sizes, **params), SEED)
    learner.advance(rows, EPOCHS)
    estimator = learner.estimator()
    assert {layer.dtype for layer in weights(estimator)} == {np.dtype(np.float32)}
    ways = paths(sizes, params, rows)
    reference = next((way for way in ways if distance(estimator, way) < TOLERANCE), None)
    assert reference is not None
    np.testing.assert_allclose(estimator.loss_curve_, reference.loss_curve_, rtol=TOLERANCE)
    wanted = reference.predict_proba(rows.X)
    for probabilities in (learner.predict_proba(rows.X), estimator.predict_proba(rows.X)):
        np.testing.assert_allclose(probabilities, wanted, rtol=TOLERANCE, atol=TOLERANCE)
    second, first = np.sort(wanted, axis=1)[:, -2:].T
    clear = first - second > 2 * TOLERANCE
    np.testing.assert_array_equal(
        estimator.predict(rows.X)[clear], reference.predict(rows.X)[clear]
    )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(sizes=layers, params=params, rows=tables())
def test_scikit_learn_goes_on(sizes: tuple[int, ...], params: dict[str, Any], rows: Rows) -> None:
    """What it hands out goes on by partial_fit as if scikit-learn had learned it all."""
    source = perceptron(sizes, **params)
    learner = Network(source, SEED)
    learner.advance(rows, 5)
    estimator = learner.estimator()
    estimator.random_state = copy.deepcopy(source.random_state)
    passed(estimator, rows, 5)
    ways = paths(sizes, params, rows, epochs=10)
    assert any(distance(estimator, way) < TOLERANCE for way in ways)
    assert estimator.t_ == 10 * len(rows.X)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_pickle_changes_nothing(solver: str, weighted: bool) -> None:
    """Pickled after any epoch it goes on to the same bits as without a stop."""
    rows = table(150, 6, 3, weighted=weighted)
    whole = network(rows, 6, solver=solver, batch_size=32)
    learner = Network(perceptron(solver=solver, batch_size=32), SEED)
    for epoch in range(1, 7):
        learner = pickle.loads(pickle.dumps(learner))
        learner.advance(rows, epoch)
    assert learner.units == 6
    assert_same(learner.estimator(), whole.estimator())
    assert learner.estimator().loss_curve_ == whole.estimator().loss_curve_


def test_a_small_pickle() -> None:
    """A pickle holds the weights, two moments of each, and little more."""
    learner = network(table(300, 50, 3), 2, sizes=(100, 100))
    numbers = sum(layer.size for layer in weights(learner.estimator()))
    assert len(pickle.dumps(learner)) < 3 * 4 * numbers + 10_000
    assert len(pickle.dumps(learner.snapshot())) < 4 * numbers + 10_000


def test_read_only_maps(tmp_path: Path) -> None:
    """Rows that are read-only memory maps give the same bits as rows in memory."""
    rows = table(100, 5, 3, weighted=True)
    mapped = {}
    for name, array in vars(rows).items():
        np.save(tmp_path / f"{name}.npy", array)
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    there = network(Rows(**mapped), 3)
    here = network(rows, 3)
    assert_same(there.estimator(), here.estimator())
    np.testing.assert_array_equal(there.predict_proba(mapped["X"]), here.predict_proba(rows.X))


def test_as_far_as_asked() -> None:
    """Epochs learned already are not learned again, whether it is asked once or by turns."""
    rows = table(90, 4, 2)
    learner = Network(perceptron(), SEED)
    assert learner.units == 0
    for units in (1, 4, 4, 2, 6):
        learner.advance(rows, units)
    assert learner.units == 6
    assert_same(learner.estimator(), network(rows, 6).estimator())


def test_a_snapshot_stays() -> None:
    """A snapshot, and what it hands out, show only what was learned before it was taken."""
    rows = table(120, 5, 3)
    learner = network(rows, 3)
    taken = learner.snapshot()
    then, probabilities = learner.estimator(), learner.predict_proba(rows.X)
    learner.advance(rows, 8)
    for snapshot in (taken, pickle.loads(pickle.dumps(taken))):
        assert snapshot.units == 3
        np.testing.assert_array_equal(snapshot.predict_proba(rows.X), probabilities)
        estimator = snapshot.estimator()
        assert_same(estimator, then)
        assert len(estimator.loss_curve_) == 3
        assert estimator.t_ == 3 * 120
        assert not hasattr(estimator, "_optimizer")
    assert len(learner.estimator().loss_curve_) == 8
    assert_same(learner.estimator(), network(rows, 8).estimator())


def test_a_snapshot_does_not_learn() -> None:
    """A snapshot that is asked to learn refuses: it has no optimizer to go on with."""
    rows = table(40, 3, 2)
    with pytest.raises(RuntimeError, match="a snapshot does not learn"):
        network(rows, 1).snapshot().advance(rows, 2)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer. Maximum iterations")
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_genuine_classifier(classes: int, solver: str) -> None:
    """It hands out an MLPClassifier that has what scikit-learn gives one, and does all it does."""
    rows = table(80, 5, classes)
    reference = passed(perceptron(solver=solver), rows, 3)
    estimator = network(rows, 3, solver=solver).estimator()
    assert type(estimator) is MLPClassifier
    again = {"random_state": SEED, "max_iter": 3, "n_iter_no_change": 3}
    assert estimator.get_params() == {**reference.get_params(), **again}
    # A generator, which the next call replaces; weights that only early stopping looks at.
    unused = {"_random_state", "_best_coefs", "_best_intercepts"}
    assert vars(estimator).keys() == vars(reference).keys() - unused
    for name in ("classes_", "n_iter_", "t_", "n_layers_", "n_outputs_", "n_features_in_"):
        np.testing.assert_array_equal(getattr(estimator, name), getattr(reference, name))
    for name in ("out_activation_", "_no_improvement_count", "validation_scores_"):
        assert getattr(estimator, name) == getattr(reference, name)
    for name in ("loss_", "best_loss_"):
        assert getattr(estimator, name) == pytest.approx(getattr(reference, name))

    assert estimator.score(rows.X, rows.y) == reference.score(rows.X, rows.y)
    again = clone(estimator).fit(rows.X, rows.y)
    assert_same(again, clone(estimator).fit(rows.X, rows.y))
    kept = skops.io.dumps(estimator)
    trusted = skops.io.get_untrusted_types(data=kept)
    for there in (pickle.loads(pickle.dumps(estimator)), skops.io.loads(kept, trusted=trusted)):
        np.testing.assert_array_equal(there.predict(rows.X), estimator.predict(rows.X))
        passed(there, rows, 1)


def test_its_own_weights() -> None:
    """What becomes of a classifier that was handed out does not touch the network."""
    rows = table(60, 4, 3)
    learner = network(rows, 2)
    before = learner.predict_proba(rows.X)
    passed(learner.estimator(), rows, 2)
    np.testing.assert_array_equal(learner.predict_proba(rows.X), before)


@pytest.mark.parametrize("count", [0, 1, 1024, 1025, 3000])
def test_many_rows_at_once(count: int) -> None:
    """Probabilities of any number of rows are those of its classifier."""
    learner = network(table(60, 4, 2), 2)
    X = np.random.default_rng(1).normal(size=(count, 4)).astype(np.float32)
    probabilities = learner.predict_proba(X)
    assert probabilities.shape == (count, 2)
    assert probabilities.dtype == np.float32
    if count:
        wanted = learner.estimator().predict_proba(X)
        np.testing.assert_allclose(probabilities, wanted, rtol=1e-5, atol=1e-6)


def test_no_improvement_is_counted() -> None:
    """Epochs without a better loss are counted as scikit-learn counts them."""
    rows = table(60, 4, 3)
    params = {"solver": "sgd", "learning_rate_init": 1.5, "momentum": 0.9}
    reference = passed(perceptron(**params), rows, 12)
    estimator = network(rows, 12, **params).estimator()
    assert reference._no_improvement_count > 1
    assert estimator._no_improvement_count == reference._no_improvement_count
    assert estimator.best_loss_ == pytest.approx(reference.best_loss_)
    assert estimator.best_loss_ < estimator.loss_


def test_running_away() -> None:
    """Weights that overflow end the epoch with an error, where scikit-learn's end it too."""
    rows = table(60, 4, 3)
    params = {"solver": "sgd", "learning_rate_init": 1e30, "activation": "identity"}
    with np.errstate(all="ignore"):
        with pytest.raises(ValueError, match="non-finite"):
            passed(perceptron(**params), rows)
        with pytest.raises(FloatingPointError, match="non-finite"):
            network(rows, **params)


def test_scikit_learn_refuses() -> None:
    """A parameter that scikit-learn does not allow is refused before anything is learned."""
    with pytest.raises(ValueError, match="alpha"):
        network(table(40, 3, 2), alpha=-1.0)


def test_the_family_is_covered() -> None:
    """What the family's own space and starting points ask for is covered."""
    assert Network.covers({})
    assert all(Network.covers(start) for start in MLP().starts())
    assert all(Network.covers({name: 1}) for name in ("layers", "width", "batch_size"))
    assert Network.covers(perceptron().get_params())


@pytest.mark.parametrize(
    "params",
    [
        {"solver": "lbfgs"},
        {"early_stopping": True},
        {"learning_rate": "adaptive"},
        {"learning_rate": "invscaling", "solver": "sgd"},
        {"activation": "swish"},
        {"shuffle": False},
        {"warm_start": True},
        {"verbose": True},
        {"dropout": 0.5},
    ],
    ids=str,
)
def test_the_rest_is_not_covered(params: dict[str, Any]) -> None:
    """What scikit-learn does otherwise, or it does not know, is left to scikit-learn."""
    assert not Network.covers(params)
