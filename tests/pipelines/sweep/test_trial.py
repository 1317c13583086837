"""pipelines.sweep.trial: what a worker does with one configuration."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.neural_network import MLPClassifier

from pipelines.sweep.settings import Scoring
from pipelines.sweep.trial import MAXIMUM_ERROR, Job, run, save_data

QUICK = {"layers": 1, "width": 16, "learning_rate_init": 0.01, "batch_size": 32}
DIVERGING = {"layers": 2, "width": 16, "solver": "sgd", "learning_rate_init": 1e30}


def rows(classes: int = 2, noise: float = 1.0) -> dict[str, np.ndarray]:
    """Training and validation rows whose first column tells the class, more or less."""
    random = np.random.default_rng(0)
    X = random.normal(size=(400, 5)).astype(np.float32)
    hidden = X[:, 0] + noise * random.normal(size=400)
    y = np.array(["a", "b", "c"])[np.digitize(hidden, (0.0, 0.8)[: classes - 1])]
    return {
        "X_train": X[:300],
        "y_train": y[:300],
        "X_validation": X[300:],
        "y_validation": y[300:],
    }


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A small network on the rows above."""
    save_data(tmp_path, **rows())
    return Job(0, "mlp", QUICK, 3, tmp_path, "accuracy", max_epochs=30, patience=4)


def test_the_best_epoch_is_kept(job: Job) -> None:
    """The network handed back is scikit-learn's, as it was at its best epoch and not at its last.

    Its own loss curve and its predictions both say so.
    """
    outcome = run(job)
    trial = outcome.trial
    top = max(trial.curve, key=lambda point: point.rank)
    assert trial.state == "FINISHED"
    assert top.epoch < len(trial.curve)
    assert outcome.model is not None
    network = pickle.loads(outcome.model)
    data = rows()
    assert type(network) is MLPClassifier
    assert len(network.loss_curve_) == top.epoch
    assert network.score(data["X_validation"], data["y_validation"]) == trial.score == top.score
    assert trial.train_score == top.train_score == network.score(data["X_train"], data["y_train"])


def test_of_equal_epochs_the_surest_is_kept(job: Job) -> None:
    """A network that has every row right goes on learning how sure to be."""
    easy = rows(noise=0.0)
    kept = np.abs(easy["X_train"][:, 0]) > 1
    easy |= {"X_train": easy["X_train"][kept], "y_train": easy["y_train"][kept]}
    easy |= {"X_validation": easy["X_train"], "y_validation": easy["y_train"]}
    save_data(job.data, **easy)
    trial = run(replace(job, max_epochs=10)).trial
    equal = [point for point in trial.curve if point.score == trial.score]
    assert len(equal) > 1
    assert trial.top == min(equal, key=lambda point: point.loss) != equal[0]


def test_the_parameters_say_how_to_fit_again(job: Job) -> None:
    """The estimator handed back has the job's seed as its random state, and not a generator."""
    model = run(job).model
    assert model is not None
    assert pickle.loads(model).random_state == job.seed


def test_the_same_job_the_same_outcome(job: Job) -> None:
    """A job run twice gives the same trial and the same bytes."""
    first, second = run(job), run(job)
    assert replace(first.trial, seconds=0) == replace(second.trial, seconds=0)
    assert first.model == second.model


def test_patience(job: Job) -> None:
    """A network stops so many epochs after its best one."""
    trial = run(replace(job, patience=2, max_epochs=1000)).trial
    top = max(trial.curve, key=lambda point: point.score)
    assert len(trial.curve) == top.epoch + 2


def test_max_epochs(job: Job) -> None:
    """A network stops at the most epochs allowed."""
    trial = run(replace(job, patience=1000, max_epochs=3)).trial
    assert [point.epoch for point in trial.curve] == [1, 2, 3]
    assert trial.state == "FINISHED"


def test_below_a_floor(job: Job) -> None:
    """A trial whose best score is below a floor at its rung is killed, and says at which."""
    outcome = run(replace(job, floors={1: 0.0, 2: 1.1}))
    assert outcome.trial.state == "KILLED"
    assert len(outcome.trial.curve) == 2
    assert "after epoch 2, below 1.1000" in outcome.trial.error
    assert outcome.model is None


def test_one_fit(job: Job) -> None:
    """A family without epochs is fitted once and has one point, on the whole of validation."""
    outcome = run(replace(job, family="linear", params={"C": 1.0}, floors={1: 1.1}))
    data = rows()
    model = LogisticRegression(C=1.0, max_iter=500).fit(data["X_train"], data["y_train"])
    (point,) = outcome.trial.curve
    assert outcome.trial.state == "FINISHED"
    assert point.score == model.score(data["X_validation"], data["y_validation"])


@pytest.mark.parametrize("params", [DIVERGING, {**DIVERGING, "learning_rate_init": 1e8}])
def test_divergence(job: Job, params: dict[str, Any], recwarn: pytest.WarningsRecorder) -> None:
    """A diverging network is a failed trial that says so, and not a crash or a warning."""
    outcome = run(replace(job, params=params))
    assert outcome.trial.state == "FAILED"
    assert outcome.trial.error.startswith("diverged in epoch")
    assert outcome.model is None
    assert not recwarn.list


def test_an_impossible_parameter(job: Job) -> None:
    """What the library refuses is the trial's failure, with the library's reason, bounded."""
    trial = run(replace(job, params={"activation": "relu" * 1000})).trial
    assert trial.state == "FAILED"
    assert "activation" in trial.error
    assert len(trial.error) <= MAXIMUM_ERROR


@pytest.mark.parametrize("scoring", get_args(Scoring))
@pytest.mark.parametrize("classes", [2, 3])
def test_scores_are_the_scorers(tmp_path: Path, scoring: str, classes: int) -> None:
    """Each score is that of scikit-learn's scorer of the same name, for two classes and three."""
    data = rows(classes)
    save_data(tmp_path, **data)
    outcome = run(Job(0, "linear", {"C": 1.0}, 0, tmp_path, scoring, max_epochs=1, patience=1))
    assert outcome.model is not None
    scorer = get_scorer(scoring if classes > 2 else scoring.replace("roc_auc_ovr", "roc_auc"))
    expected = scorer(pickle.loads(outcome.model), data["X_validation"], data["y_validation"])
    assert outcome.trial.score == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("labels", [np.array([0, 7]), np.array([False, True])])
@pytest.mark.parametrize("family", ["mlp", "boosting", "linear"])
def test_label_types(tmp_path: Path, family: str, labels: np.ndarray) -> None:
    """Whole numbers and booleans come back from the model as they went in."""
    data = rows()
    data |= {name: labels[(data[name] == "b").astype(int)] for name in ("y_train", "y_validation")}
    save_data(tmp_path, **data)
    outcome = run(Job(0, family, {}, 0, tmp_path, "accuracy", max_epochs=5, patience=5))
    assert outcome.model is not None
    found = pickle.loads(outcome.model).predict(data["X_validation"])
    assert found.dtype == labels.dtype
    assert outcome.trial.score == np.mean(found == data["y_validation"])
