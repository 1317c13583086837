"""pipelines.models.learner: every family's model stops, travels, and goes on."""

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import ClassifierMixin, clone
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

from pipelines.models.families import FAMILIES
from pipelines.models.family import Family
from pipelines.models.learner import Growing, Learner, Passes, Rows, Subsets

every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))

pytestmark = pytest.mark.filterwarnings("ignore")

STEPS = {
    "epochs": (1, 3, 7),
    "trees": (2, 5, 12),
    "iterations": (2, 5, 12),
    "rows": (30, 90, 240),
}


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Three classes of text, of which one is rare, in memory that nobody may write to."""
    random = np.random.default_rng(0)
    X = random.normal(size=(240, 5)).astype(np.float32)
    y = np.array(["a", "b", "c"])[np.digitize(X[:, 0] + 0.3 * X[:, 1], (-0.3, 1.5))]
    for array in (X, y):
        array.flags.writeable = False
    classes, codes = np.unique(y, return_inverse=True)
    return Rows(X, y, codes.astype(np.intp), classes)


NEW = np.random.default_rng(1).normal(size=(100, 5)).astype(np.float32)


def weighted(rows: Rows) -> Rows:
    """Return the rows, the rare class counting ten times."""
    weights = np.where(rows.y == "c", 10, 1).astype(np.float32)
    weights.flags.writeable = False
    return Rows(rows.X, rows.y, rows.codes, rows.classes, weights)


def start(family: Family, number: int = 0, seed: int = 7) -> Learner:
    """Return a learner of one of the family's starting points."""
    return family.start(family.starts()[number], seed=seed, rows=240)


def advanced(family: Family, rows: Rows, *, travels: bool = False, number: int = 0) -> Learner:
    """Return a learner after the family's steps, and a trip between each two or none."""
    learner = start(family, number)
    for units in STEPS[family.resource]:
        learner.advance(rows, units)
        assert learner.units == units
        if travels:
            learner = pickle.loads(pickle.dumps(learner))
    return learner


@every_family
def test_a_pickle_in_between_changes_nothing(family: Family, rows: Rows) -> None:
    """The same steps give the same model bit for bit, whether it travels between them or not."""
    for number in (0, len(family.starts()) - 1):
        stayed = advanced(family, rows, number=number)
        travelled = advanced(family, rows, travels=True, number=number)
        np.testing.assert_array_equal(travelled.predict_proba(NEW), stayed.predict_proba(NEW))


@every_family
def test_weights_count(family: Family, rows: Rows) -> None:
    """Rows that count more make another model, the same one whether it travels or not."""
    plain, heavy = advanced(family, rows), advanced(family, weighted(rows))
    assert not np.array_equal(heavy.predict_proba(NEW), plain.predict_proba(NEW))
    travelled = advanced(family, weighted(rows), travels=True)
    np.testing.assert_array_equal(travelled.predict_proba(NEW), heavy.predict_proba(NEW))


@pytest.mark.parametrize("name", ["mlp", "boosting", "linear", "sgd"])
def test_weights_pull(name: str, rows: Rows) -> None:
    """Rows that count more draw the answers to their class."""
    rare = list(rows.classes).index("c")
    plain, heavy = advanced(FAMILIES[name], rows), advanced(FAMILIES[name], weighted(rows))
    assert heavy.predict_proba(NEW)[:, rare].mean() > plain.predict_proba(NEW)[:, rare].mean()


@every_family
def test_a_snapshot_stays_as_it_is(family: Family, rows: Rows) -> None:
    """What a learner learns later does not reach a snapshot, nor the estimator handed out."""
    first, last = STEPS[family.resource][0], STEPS[family.resource][-1]
    learner = start(family)
    learner.advance(rows, first)
    snapshot, handed = learner.snapshot(), learner.estimator()
    before, said = learner.predict_proba(NEW), handed.predict_proba(NEW)
    learner.advance(rows, last)
    assert not np.array_equal(learner.predict_proba(NEW), before)
    np.testing.assert_array_equal(snapshot.predict_proba(NEW), before)
    np.testing.assert_array_equal(handed.predict_proba(NEW), said)
    np.testing.assert_array_equal(snapshot.estimator().predict_proba(NEW), said)
    assert snapshot.units == first


@every_family
def test_advancing_to_where_it_stands_does_nothing(family: Family, rows: Rows) -> None:
    """A job that is done again from its end leaves the model alone."""
    learner = advanced(family, rows)
    before = pickle.dumps(learner)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        learner.advance(rows, learner.units)
    assert pickle.dumps(learner) == before
    assert not caught


@every_family
def test_the_estimator_is_scikit_learns_own(family: Family, rows: Rows) -> None:
    """It predicts what the learner does; its parameters are plain, and say how large it is."""
    learner = advanced(family, rows)
    model = learner.estimator()
    assert isinstance(model, ClassifierMixin)
    assert type(model).__module__.startswith("sklearn.")
    np.testing.assert_allclose(
        model.predict_proba(NEW), learner.predict_proba(NEW), rtol=1e-5, atol=1e-6
    )
    params = model.get_params()
    assert params.get("random_state", 7) in (7, None)
    assert not params.get("warm_start", False)
    size = {"epochs": "max_iter", "trees": "n_estimators", "iterations": "max_iter"}
    if family.resource in size and isinstance(learner, Growing | Passes):
        assert params[size[family.resource]] == learner.units
    assert learner.estimator() is not model
    assert learner.estimator().classes_ is not model.classes_


@pytest.mark.parametrize("name", ["boosting", "linear", "forest", "extra_trees"])
def test_the_parameters_fit_it_again(name: str, rows: Rows) -> None:
    """A clone fitted on the same rows from the start is the same model, up to rounding."""
    for data in (rows, weighted(rows)):
        learner = advanced(FAMILIES[name], data)
        weights = {} if data.weights is None else {"sample_weight": data.weights}
        again = clone(learner.estimator()).fit(data.X, data.y, **weights)
        np.testing.assert_allclose(
            again.predict_proba(NEW), learner.predict_proba(NEW), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("name", ["forest", "extra_trees", "boosting"])
def test_trees_are_grown_once(name: str, rows: Rows) -> None:
    """A further step keeps the very trees that there are, and a checkpoint holds them once."""
    learner = start(FAMILIES[name])
    assert isinstance(learner, Growing)
    learner.advance(rows, 4)
    trees = list(grown(learner))
    snapshot = learner.snapshot()
    assert isinstance(snapshot, Growing)
    learner.advance(rows, 9)
    assert all(now is then for now, then in zip(grown(learner), trees, strict=False))
    assert len(grown(learner)) == 9
    assert len(grown(snapshot)) == 4
    both = len(pickle.dumps((learner, snapshot)))
    assert both < len(pickle.dumps(learner)) + len(pickle.dumps(snapshot)) / 2


def grown(learner: Growing) -> list[Any]:
    """Return the learner's trees, or iterations."""
    model = learner.model
    trees: list[Any] = getattr(model, "estimators_", None) or model._predictors
    return trees


def test_boosting_draws_its_columns_anew(rows: Rows) -> None:
    """A further step goes on with the generator that draws columns, and draws other ones."""
    params = {"max_iter": 40, "max_features": 0.4, "min_samples_leaf": 5}
    at_once, in_steps = (FAMILIES["boosting"].start(params, seed=3, rows=240) for _ in range(2))
    at_once.advance(rows, 40)
    for units in range(10, 50, 10):
        in_steps.advance(rows, units)
    assert np.array_equal(at_once.predict_proba(NEW), in_steps.predict_proba(NEW))


def test_a_snapshot_keeps_its_own_generator(rows: Rows) -> None:
    """What draws columns for later trees is none of a snapshot's."""
    learner = start(FAMILIES["boosting"])
    assert isinstance(learner, Growing)
    learner.advance(rows, 2)
    snapshot = learner.snapshot()
    assert isinstance(snapshot, Growing)
    before = snapshot.model._feature_subsample_rng.bit_generator.state
    learner.advance(rows, 4)
    assert snapshot.model._feature_subsample_rng.bit_generator.state == before


def test_boosting_never_stops_by_itself() -> None:
    """Above 10,000 rows scikit-learn would put rows aside, and stop on its own."""
    model = FAMILIES["boosting"].build({}, seed=0, rows=20_000)
    assert isinstance(model, HistGradientBoostingClassifier)
    assert model.early_stopping is False


@pytest.mark.parametrize("name", ["mlp", "sgd"])
def test_an_epoch_shuffles_anew(name: str, rows: Rows) -> None:
    """Two passes see the rows in two orders, and two seeds in others."""
    learner = start(FAMILIES[name], number=1)
    first = learner.snapshot()
    learner.advance(rows, 1)
    states = []
    for seed in (1, 2):
        other = start(FAMILIES[name], number=1, seed=seed)
        other.advance(rows, 2)
        states.append(other.predict_proba(NEW))
    assert not np.array_equal(*states)
    # The same permutation twice would be a fit with a plain number.
    fixed = FAMILIES[name].build(FAMILIES[name].starts()[1], seed=7, rows=240)
    fixed.set_params(random_state=7)
    for _ in range(2):
        fixed.partial_fit(rows.X, rows.y, classes=rows.classes)
    learner.advance(rows, 2)
    assert not np.array_equal(learner.predict_proba(NEW), fixed.predict_proba(NEW))
    assert first.units == 0


@pytest.mark.parametrize("name", ["mlp", "sgd"])
def test_numbers_that_run_away(name: str, rows: Rows) -> None:
    """Divergence is told by its own error, whatever the library says."""
    huge = Rows(rows.X * np.float32(1e30), rows.y, rows.codes, rows.classes)
    wild = {"mlp": {"solver": "sgd", "learning_rate_init": 1e8}, "sgd": {"alpha": 1e-6}}
    learner = FAMILIES[name].start(wild[name], seed=0, rows=240)
    with pytest.raises(FloatingPointError), np.errstate(all="ignore"):
        learner.advance(huge, 5)


def test_other_mistakes_stay_what_they_are(rows: Rows) -> None:
    """A parameter that scikit-learn refuses is no divergence."""
    learner = Subsets(KNeighborsClassifier(n_neighbors=-1), 0)
    with pytest.raises(ValueError, match="n_neighbors"):
        learner.advance(rows, 240)


class Seen(KNeighborsClassifier):
    """Tells which rows it was fitted on."""

    def fit(self, X: Any, y: Any) -> "Seen":
        """Learn, and keep what was seen."""
        self.seen_ = {row.tobytes() for row in X}
        self.labels_ = y
        return super().fit(X, y)


def test_subsets_are_nested_and_stratified(rows: Rows) -> None:
    """A larger fit sees all that a smaller one saw, each class as often as in the whole."""
    learner = Subsets(Seen(n_neighbors=1), seed=5)
    seen: set[bytes] = set()
    for units in (3, 12, 60, 150, 240):
        learner.advance(rows, units)
        assert len(learner.model.seen_) == units
        assert seen < learner.model.seen_
        seen = learner.model.seen_
        for label in rows.classes:
            share = (rows.y == label).mean() * units
            assert abs((learner.model.labels_ == label).sum() - share) <= 2
    other = Subsets(Seen(n_neighbors=1), seed=6)
    other.advance(rows, 60)
    learner = Subsets(Seen(n_neighbors=1), seed=5)
    learner.advance(rows, 60)
    assert other.model.seen_ != learner.model.seen_


def test_a_subset_holds_each_class(rows: Rows) -> None:
    """However few rows it is given, and however rare a class."""
    y = rows.y.copy()
    y[17] = "rare"
    classes, codes = np.unique(y, return_inverse=True)
    learner = Subsets(Seen(n_neighbors=1), seed=1)
    learner.advance(Rows(rows.X, y, codes.astype(np.intp), classes), 1)
    assert set(learner.model.labels_) == set(classes)
    assert learner.units == 1


@pytest.mark.parametrize("name", ["linear", "forest", "boosting"])
def test_a_class_without_rows_has_no_chance(name: str, rows: Rows) -> None:
    """Probabilities have a column for each class, also of one that was never shown."""
    classes = np.array(["a", "aa", "b", "c"])
    learner = start(FAMILIES[name])
    learner.advance(Rows(rows.X, rows.y, np.searchsorted(classes, rows.y), classes), 5)
    found = learner.predict_proba(NEW)
    assert found.shape == (100, 4)
    assert not found[:, 1].any()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


def test_a_forest_in_steps_is_the_forest_at_once(rows: Rows) -> None:
    """Trees come from the seed by their number, so that steps do not matter."""
    learner = advanced(FAMILIES["forest"], rows)
    at_once = RandomForestClassifier(12, random_state=7).fit(rows.X, rows.y)
    np.testing.assert_array_equal(learner.predict_proba(NEW), at_once.predict_proba(NEW))


@every_family
def test_it_makes_no_noise(family: Family, rows: Rows) -> None:
    """No step warns of a wrong use of the library, such as presets beside warm_start."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        advanced(family, weighted(rows))
    assert not [str(w.message) for w in caught if "onverge" not in str(w.message)]
