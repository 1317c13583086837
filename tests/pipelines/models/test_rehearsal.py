"""pipelines.models.rehearsal: what would end a sweep in vain is found out before it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import GradientBoostingClassifier, VotingClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from pipelines.errors import ProjectError
from pipelines.models.families import FAMILIES
from pipelines.models.family import Family
from pipelines.models.learner import Rows
from pipelines.models.rehearsal import check_values, rehearse
from pipelines.models.space import Dimension, Space, Value, merge

_X = np.random.default_rng(0).normal(size=(600, 4)).astype(np.float32)
_y = np.array(["a", "b", "c"])[np.digitize(_X[:, 0] + _X[:, 1], (-0.5, 2.5))]
_classes, _codes = np.unique(_y, return_inverse=True)
ROWS = Rows(_X, _y, _codes.astype(np.intp), _classes)
WEIGHTED = dataclasses.replace(ROWS, weights=np.ones(600, dtype=np.float32))


class Own(Family):
    """A family of whatever classifier a test has at hand."""

    name = "own"
    resource = "rows"

    def __init__(self, model: Any) -> None:
        self.model = model

    def space(self) -> Space:
        """Nothing."""
        return {}

    def starts(self) -> tuple[dict[str, Value], ...]:
        """Only that."""
        return ({},)

    def build(self, params: Mapping[str, Value], *, seed: int, rows: int) -> Any:
        """Return it."""
        return self.model.set_params(**params)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_built_in_family_passes(name: str) -> None:
    """Each of the release's families can be deployed, with weights too."""
    for rows in (ROWS, WEIGHTED):
        rehearse(FAMILIES[name], FAMILIES[name].starts()[0], rows)


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), PolynomialFeatures(2), GaussianNB()),
        CalibratedClassifierCV(LinearSVC(), cv=2),
        VotingClassifier([("a", GaussianNB()), ("b", DecisionTreeClassifier())], voting="soft"),
        KNeighborsClassifier(algorithm="brute"),
    ],
    ids=lambda model: type(model).__name__,
)
def test_what_is_built_of_scikit_learns_parts_passes(model: Any) -> None:
    """A family of one's own needs no type of its own."""
    rehearse(Own(model), {}, ROWS)


class Stranger(ClassifierMixin, BaseEstimator):
    """A classifier that no model file may hold."""

    def fit(self, X: Any, y: Any) -> "Stranger":
        """Learn nothing."""
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: Any) -> Any:
        """Say nothing."""
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


class Narrow(Stranger):
    """A classifier that forgets a class."""

    def predict_proba(self, X: Any) -> Any:
        """Say too little."""
        return np.full((len(X), 2), 0.5)


@pytest.mark.parametrize(
    ("model", "rows", "said"),
    [
        (Stranger(), ROWS, "Stranger cannot be stored: Untrusted types(?s:.)*own classifiers"),
        (Stranger(), WEIGHTED, "sample_weight(?s:.)*whose fit takes sample_weight"),
        (KNeighborsClassifier(algorithm="brute"), WEIGHTED, "whose fit takes sample_weight"),
        (KNeighborsClassifier(algorithm="kd_tree"), ROWS, "cannot be stored: .*KDTree"),
        (GradientBoostingClassifier(n_estimators=2), ROWS, "HistGradientBoostingClassifier does"),
        (LinearSVC(), ROWS, "has no attribute 'predict_proba'"),
        (KNeighborsClassifier(n_neighbors=0), ROWS, "InvalidParameterError: The 'n_neighbors'"),
    ],
)
def test_what_would_be_in_vain_is_refused(model: Any, rows: Rows, said: str) -> None:
    """With what was found, and what to build in its place."""
    with pytest.raises(ProjectError, match=said):
        rehearse(Own(model), {}, rows)


def test_a_class_that_is_forgotten_is_refused() -> None:
    """Probabilities have a column a class."""

    class Known(Own):
        def start(self, params: Mapping[str, Value], *, seed: int, rows: int) -> Any:
            return _Bare()

    with pytest.raises(ProjectError, match=r"gives \(200, 2\), of 3 classes"):
        rehearse(Known(Narrow()), {}, ROWS)


class _Bare:
    """A learner of one's own."""

    def advance(self, rows: Rows, units: int) -> None:
        """Learn nothing."""

    def predict_proba(self, X: Any) -> Any:
        """Say nothing."""

    def estimator(self) -> Any:
        """Return what forgets a class."""
        return Narrow().fit(_X, _y)


def test_parameters_that_run_away_are_the_sweeps_business() -> None:
    """Divergence at the first start says nothing against the family."""
    rows = dataclasses.replace(ROWS, X=ROWS.X * np.float32(1e30))
    rehearse(FAMILIES["mlp"], {"solver": "sgd", "learning_rate_init": 1e8}, rows)


@pytest.mark.parametrize(
    ("family", "declared", "said"),
    [
        ("mlp", {"momentum": Dimension(uniform=(0.5, 1.9), when={"solver": "sgd"})}, "1.9: "),
        ("mlp", {"solver": Dimension(choice=("adam", "lbfgs"))}, "'lbfgs': "),
        ("mlp", {"activation": Dimension(choice=("relu", "elu"))}, "'elu': "),
        ("forest", {"max_features": Dimension(choice=("sqrtt",))}, "'sqrtt': "),
        ("boosting", {"max_iter": Dimension(integer=(-5, 10))}, "-5: "),
        ("linear", {"C": Dimension(uniform=(-1.0, 1.0))}, "-1.0: "),
    ],
)
def test_values_that_are_refused(family: str, declared: Space, said: str) -> None:
    """A declared value that the classifier does not take is refused, and named."""
    space = merge(FAMILIES[family].space(), declared)
    with pytest.raises(ProjectError, match=r"A space holds values") as caught:
        check_values(FAMILIES[family], space, declared)
    assert said in caught.value.found


@pytest.mark.parametrize("family", FAMILIES)
def test_values_of_each_own_space(family: str) -> None:
    """A family takes the ends of its own space, and what they depend on."""
    space = FAMILIES[family].space()
    check_values(FAMILIES[family], space, space)
