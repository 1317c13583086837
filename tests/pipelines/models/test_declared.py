"""pipelines.models.declared: any classifier of scikit-learn's, as a project file names it."""

import tomllib
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.errors import ProjectError
from pipelines.models.declared import Declared, DeclaredModel
from pipelines.models.learner import Rows
from pipelines.models.space import Dimension

pytestmark = pytest.mark.filterwarnings("ignore")

_random = np.random.default_rng(0)
X = _random.normal(size=(120, 4)).astype(np.float32)
y = np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]
ROWS = Rows(X, y, (X[:, 0] > 0).astype(np.intp), np.array(["no", "yes"]))


def declared(toml: str) -> Declared:
    """Return what a table of the project file declares."""
    return Declared("mine", DeclaredModel.model_validate(tomllib.loads(toml)))


def test_as_the_documentation_shows() -> None:
    """Fixed parameters hold for every trial, those of a trial come on top."""
    family = declared(
        """
        estimator = "sklearn.neighbors.KNeighborsClassifier"
        resource = "rows"
        share = 2
        fixed = { weights = "distance", algorithm = "brute" }
        starts = [{ n_neighbors = 15 }]
        """
    )
    assert (family.name, family.share, family.resource) == ("mine", 2, "rows")
    assert family.space() == {}
    assert family.starts() == ({"n_neighbors": 15},)
    params = family.build({"n_neighbors": 3, "p": 1}, seed=0, rows=9).get_params()
    assert (params["weights"], params["n_neighbors"], params["p"]) == ("distance", 3, 1)
    family.check("leaf_size", Dimension(integer=(10, 50)))
    with pytest.raises(ValueError, match="did you mean n_neighbors"):
        family.check("n_neighbours", Dimension(integer=(1, 50)))


@pytest.mark.parametrize(
    ("estimator", "resource"),
    [
        ("sklearn.neighbors.KNeighborsClassifier", "rows"),
        ("sklearn.naive_bayes.GaussianNB", "rows"),
        ("sklearn.linear_model.LogisticRegression", "rows"),
        ("sklearn.discriminant_analysis.LinearDiscriminantAnalysis", "rows"),
        ("sklearn.neural_network.MLPClassifier", "epochs"),
        ("sklearn.ensemble.RandomForestClassifier", "trees"),
        ("sklearn.ensemble.BaggingClassifier", "trees"),
        ("sklearn.ensemble.HistGradientBoostingClassifier", "iterations"),
    ],
)
def test_the_resource_is_found(estimator: str, resource: str) -> None:
    """What a class can do says what a trial is given more of, and it goes on from there."""
    family = declared(f'estimator = "{estimator}"')
    assert family.resource == resource
    learner = family.start({}, seed=1, rows=120)
    for units in (60, 120) if resource == "rows" else (2, 4):
        learner.advance(ROWS, units)
    np.testing.assert_allclose(learner.predict_proba(X).sum(axis=1), 1, rtol=1e-5)
    assert (learner.predict_proba(X)[:, 1] > 0.5).mean() < 0.9


def test_epochs_shuffle_anew_and_nothing_stops_early() -> None:
    """A declared network is built with a generator, and without rows put aside."""
    network = declared('estimator = "sklearn.neural_network.MLPClassifier"')
    assert isinstance(network.build({}, seed=1, rows=9).random_state, np.random.RandomState)
    boosting = declared('estimator = "sklearn.ensemble.HistGradientBoostingClassifier"')
    assert boosting.build({}, seed=1, rows=9).early_stopping is False
    assert boosting.build({}, seed=1, rows=9).random_state == 1
    assert boosting.most({}, rows=9, max_epochs=3) == 100


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('estimator = "sklearn.neighbors.KNeighbours"', "no attribute"),
        ('estimator = "sklearn.neighbours.KNeighborsClassifier"', "No module named"),
        ('estimator = "sklearn.linear_model.Ridge"', "is no classifier"),
        ('estimator = "sklearn.linear_model.RidgeClassifier"', "no predict_proba with its def"),
        (
            'estimator = "sklearn.linear_model.SGDClassifier"\nstarts = [{alpha = 1}]',
            "no predict_proba with alpha = 1",
        ),
        (
            'estimator = "sklearn.neighbors.KNeighborsClassifier"\nfixed = {neighbors = 3}',
            "no parameter neighbors; did you mean n_neighbors",
        ),
        (
            'estimator = "sklearn.neighbors.KNeighborsClassifier"\nstarts = [{weight = "a"}]',
            "did you mean weights",
        ),
        (
            'estimator = "sklearn.naive_bayes.GaussianNB"\nresource = "epochs"',
            "GaussianNB cannot be given more epochs(?s:.)*choose from rows",
        ),
        ('estimator = "sklearn.ensemble.StackingClassifier"', "estimators"),
    ],
)
def test_what_cannot_be_declared(toml: str, said: str) -> None:
    """Each is refused before the sweep, with what was found and what to do."""
    with pytest.raises(ProjectError, match=said) as caught:
        declared(toml)
    assert caught.value.next_move


@pytest.mark.parametrize(
    "given",
    [
        {"estimator": "xgboost.XGBClassifier"},
        {"estimator": "os.system"},
        {"estimator": "sklearn"},
        {"estimator": "sklearn.tree._tree.Tree"},
        {"estimator": "sklearn.svm.SVC", "shares": 2},
        {"estimator": "sklearn.svm.SVC", "resource": "time"},
        {"estimator": "sklearn.svm.SVC", "share": 0},
    ],
)
def test_what_the_project_file_refuses(given: dict[str, Any]) -> None:
    """Only public classes of scikit-learn's are named; it takes no import to say so."""
    with pytest.raises(ValidationError):
        DeclaredModel.model_validate(given)
