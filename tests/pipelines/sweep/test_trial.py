"""pipelines.sweep.trial: what a worker does with one configuration."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from pipelines.models.families import FAMILIES
from pipelines.models.linear import Linear
from pipelines.sweep.rungs import count_rungs, units_at
from pipelines.sweep.trial import (
    MAXIMUM_ERROR,
    MAXIMUM_TRACEBACK,
    Data,
    Job,
    Outcome,
    best_of,
    diverged,
    load_data,
    run,
    save_data,
)

QUICK = {"layers": 1, "width": 16, "learning_rate_init": 0.01, "batch_size": 32}
DIVERGING = {"layers": 2, "width": 16, "solver": "sgd", "learning_rate_init": 1e30}


def arrays(classes: int = 2, noise: float = 1.0, rows: int = 400) -> dict[str, np.ndarray]:
    """Training and validation rows whose first column tells the class, more or less."""
    random = np.random.default_rng(0)
    X = random.normal(size=(rows, 5)).astype(np.float32)
    hidden = X[:, 0] + noise * random.normal(size=rows)
    y = np.array(["a", "b", "c"])[np.digitize(hidden, (0.0, 0.8)[: classes - 1])]
    cut = 3 * rows // 4
    return {
        "X_train": X[:cut],
        "y_train": y[:cut],
        "X_validation": X[cut:],
        "y_validation": y[cut:],
    }


def load(folder: Path, **given: np.ndarray) -> Data:
    """Map arrays as a worker does."""
    save_data(folder, **given)
    return load_data(folder)


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """The rows above."""
    return load(tmp_path, **arrays())


def job(**more: Any) -> Job:
    """A small network, to its end in one job."""
    return Job(
        **{
            "number": 0,
            "family": "mlp",
            "params": QUICK,
            "seed": 3,
            "rung": 0,
            "units": 30,
            "final": True,
            "scoring": "accuracy",
            "patience": 4,
            "max_epochs": 30,
            **more,
        }
    )


def model_of(outcome: Outcome) -> Any:
    """Return the estimator at the trial's best point."""
    assert outcome.checkpoint is not None
    return best_of(outcome.checkpoint).estimator()


def known(outcome: Outcome) -> list[tuple[int, float, float]]:
    """Return the curve, but for the training scores, which the ends of rungs have too."""
    return [(point.epoch, point.loss, point.score) for point in outcome.points]


def content(found: Any) -> Any:
    """Return all that a model consists of, to the bit, whatever shares memory with whatever."""
    if isinstance(found, np.ndarray) and found.dtype.names:
        # Between the fields of a tree's nodes there are bytes that nobody has set.
        return {name: content(np.ascontiguousarray(found[name])) for name in found.dtype.names}
    if isinstance(found, np.ndarray):
        bits = content(found.tolist()) if found.dtype == object else found.tobytes()
        return found.dtype.str, found.shape, bits
    if isinstance(found, (list, tuple)):
        return [content(each) for each in found]
    if isinstance(found, dict):
        return {name: content(each) for name, each in found.items()}
    if found is None or isinstance(found, (str, bytes, int, float, np.generic)):
        return repr(found)
    if hasattr(found, "__qualname__"):
        return found.__qualname__
    return content(found.__reduce_ex__(2))


def difference(one: Any, other: Any, at: str = "") -> str:
    """Name the first place where two contents differ."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        one, other = dict(enumerate(one)), dict(enumerate(other))
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return next(difference(one[k], other[k], f"{at}/{k}") for k in one if one[k] != other[k])
    return f"{at}: {one!r:.80} and {other!r:.80}"


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("start", [0, 1])
def test_rung_by_rung(tmp_path: Path, family: str, start: int) -> None:
    """A trial that is stopped, pickled and gone on with is the one that never stopped.

    Its curve is the same to the last bit, and so is its model.
    """
    given = arrays(rows=4_000 if FAMILIES[family].resource == "rows" else 400)
    data = load(tmp_path, **given)
    rows = len(data.train.X)
    params = FAMILIES[family].starts()[start % len(FAMILIES[family].starts())]
    most = FAMILIES[family].most(params, rows=rows, max_epochs=27)
    rungs = count_rungs(FAMILIES[family].resource, rows if family == "linear" else 27)
    assert rungs > 1
    base = job(family=family, params=params, patience=10**6, max_epochs=27, scoring="neg_log_loss")
    whole = run(replace(base, units=most), data)
    assert (whole.state, whole.error) == ("FINISHED", "")

    steps: list[Outcome] = []
    for rung in range(rungs):
        before = steps[-1] if steps else None
        step = replace(
            base,
            rung=rung,
            units=units_at(rung, rungs, most),
            final=rung == rungs - 1,
            checkpoint=before and before.checkpoint,
        )
        # As it is sent: a worker shares nothing with the one before it.
        steps.append(run(pickle.loads(pickle.dumps(step)), data))
    assert [step.state for step in steps] == ["PAUSED"] * (rungs - 1) + ["FINISHED"]
    curve = [point for step in steps for point in known(step)]
    if FAMILIES[family].resource == "epochs":
        assert curve == known(whole)
        assert [epoch for epoch, *_ in curve] == list(range(1, 28))
    else:
        assert curve[-1:] == known(whole)
        assert [epoch for epoch, *_ in curve] == [units_at(r, rungs, most) for r in range(rungs)]
    top = max((point for step in steps for point in step.points), key=lambda point: point.rank)
    if FAMILIES[family].resource != "epochs":
        # Looked at once alone, the best that the single job knows is its last.
        whole = run(replace(base, units=top.epoch), data)
    found, expected = content(model_of(steps[-1])), content(model_of(whole))
    assert found == expected, difference(found, expected)


def test_a_rung_has_its_training_score(data: Data) -> None:
    """Training scores are known at the best point and at the end of a rung, and no others."""
    outcome = run(job(units=9, final=False, patience=100), data)
    best = max(outcome.points, key=lambda point: point.rank)
    for point in outcome.points:
        assert (point.train_score is not None) == (point == best or point.epoch == 9)


def test_the_best_epoch_is_kept(data: Data) -> None:
    """The network handed back is scikit-learn's, as it was at its best epoch and not at its last.

    Its own loss curve and its predictions both say so.
    """
    outcome = run(job(), data)
    top = max(outcome.points, key=lambda point: point.rank)
    assert outcome.state == "FINISHED"
    assert top.epoch < len(outcome.points)
    network = model_of(outcome)
    rows = arrays()
    assert type(network) is MLPClassifier
    assert len(network.loss_curve_) == top.epoch
    assert network.score(rows["X_validation"], rows["y_validation"]) == top.score
    assert network.score(rows["X_train"], rows["y_train"]) == top.train_score


def test_the_best_of_an_earlier_rung_is_kept(data: Data) -> None:
    """A trial that got worse at a higher rung hands back what it was at the lower one."""
    low = run(job(units=6, final=False, patience=10**6), data)
    top = max(low.points, key=lambda point: point.rank)
    high = run(job(rung=1, units=9, patience=10**6, checkpoint=low.checkpoint), data)
    assert max(high.points, key=lambda point: point.rank).rank < top.rank
    rows = arrays()
    assert model_of(high).score(rows["X_validation"], rows["y_validation"]) == top.score
    assert len(model_of(high).loss_curve_) == top.epoch


def test_of_equal_epochs_the_surest_is_kept(tmp_path: Path) -> None:
    """A network that has every row right goes on learning how sure to be."""
    easy = arrays(noise=0.0)
    kept = np.abs(easy["X_train"][:, 0]) > 1
    easy |= {"X_train": easy["X_train"][kept], "y_train": easy["y_train"][kept]}
    easy |= {"X_validation": easy["X_train"], "y_validation": easy["y_train"]}
    points = run(job(units=10), load(tmp_path, **easy)).points
    best = max(points, key=lambda point: point.rank)
    equal = [point for point in points if point.score == best.score]
    assert len(equal) > 1
    assert best == min(equal, key=lambda point: point.loss) != equal[0]


def test_the_parameters_say_how_to_fit_again(data: Data) -> None:
    """The estimator handed back has the job's seed as its random state, and not a generator."""
    assert model_of(run(job(), data)).random_state == 3


def test_the_same_job_the_same_outcome(data: Data) -> None:
    """A job run twice gives the same outcome and the same bytes."""
    first, second = run(job(), data), run(job(), data)
    assert replace(first, seconds=0) == replace(second, seconds=0)


def test_the_target_ends_it(data: Data) -> None:
    """A trial that is good enough learns no further, and is handed out as it is then."""
    whole = run(job(units=9, final=False, patience=100), data)
    target = max(point.score for point in whole.points[:4])
    outcome = run(job(units=9, final=False, patience=100, target=target), data)
    assert outcome.state == "FINISHED"
    reached = next(point.epoch for point in whole.points if point.score >= target)
    assert known(outcome) == known(whole)[:reached]
    assert outcome.points[-1].train_score is not None
    probabilities = model_of(outcome).predict_proba(data.X_validation)
    assert data.score("accuracy", data.codes_validation, probabilities) == target
    beyond = run(job(units=9, final=False, patience=100, target=2.0), data)
    assert known(beyond) == known(whole)


def test_patience(data: Data) -> None:
    """A network stops so many epochs after its best one, also when that was at a lower rung."""
    for checkpoint, units in ((None, 1000), (run(job(units=3, final=False), data).checkpoint, 999)):
        outcome = run(job(patience=2, units=units, final=False, checkpoint=checkpoint), data)
        top = max(outcome.points, key=lambda point: point.rank)
        assert outcome.state == "FINISHED"
        assert outcome.points[-1].epoch == top.epoch + 2


def test_units(data: Data) -> None:
    """A network stops at the units of its rung: paused, or finished at the top."""
    for final, state in ((False, "PAUSED"), (True, "FINISHED")):
        outcome = run(job(patience=1000, units=3, final=final), data)
        assert [point.epoch for point in outcome.points] == [1, 2, 3]
        assert outcome.state == state


def test_one_fit(data: Data) -> None:
    """A family without epochs has one point a rung, on the whole of validation."""
    outcome = run(job(family="linear", params={"C": 1.0}, units=300), data)
    rows = arrays()
    model = LogisticRegression(C=1.0, max_iter=500).fit(rows["X_train"], rows["y_train"])
    (point,) = outcome.points
    assert outcome.state == "FINISHED"
    assert point.epoch == 300
    assert point.score == model.score(rows["X_validation"], rows["y_validation"])


@pytest.mark.parametrize("params", [DIVERGING, {**DIVERGING, "learning_rate_init": 1e8}])
def test_divergence(data: Data, params: dict[str, Any], recwarn: pytest.WarningsRecorder) -> None:
    """A diverging network is a failed trial that says so, and no fault: without a traceback."""
    outcome = run(job(params=params), data)
    assert outcome.state == "FAILED"
    assert diverged(outcome.error)
    assert outcome.traceback == ""
    assert outcome.checkpoint is None
    assert not recwarn.list


class Faulty(Linear):
    """A family whose code fails as its test says."""

    name: ClassVar[str] = "faulty"
    fault: ClassVar[BaseException] = KeyError("column")

    def build(self, params: Any, *, seed: int, rows: int) -> Any:
        """Fail."""
        raise self.fault


@pytest.fixture
def faulty(data: Data) -> Data:
    """The rows above, and a family of a user's."""
    return replace(data, families={"faulty": Faulty()})


def test_an_error_of_a_familys_code(faulty: Data) -> None:
    """What a family's code raises fails the trial, with the end of the traceback kept."""
    outcome = run(job(family="faulty", params={}), faulty)
    assert outcome.state == "FAILED"
    assert outcome.error == "KeyError: 'column'"
    assert "raise self.fault" in outcome.traceback
    assert outcome.traceback.endswith("KeyError: 'column'\n")


def test_bounded(faulty: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much an exception says, no more is kept than fits a page."""
    monkeypatch.setattr(Faulty, "fault", ValueError("relu" * 10_000))
    outcome = run(job(family="faulty", params={}), faulty)
    assert len(outcome.error) == MAXIMUM_ERROR
    assert len(outcome.traceback) == MAXIMUM_TRACEBACK


@pytest.mark.parametrize(
    ("limit", "said"), [(200, "stopped: more than 200 MiB"), (None, "out of memory")]
)
def test_out_of_memory(
    faulty: Data,
    monkeypatch: pytest.MonkeyPatch,
    limit: int | None,
    said: str,
) -> None:
    """A trial that is refused memory fails, names its limit, and is no fault of the code."""
    monkeypatch.setattr(Faulty, "fault", MemoryError())
    outcome = run(job(family="faulty", params={}, memory_mb=limit), faulty)
    assert (outcome.state, outcome.error, outcome.traceback) == ("FAILED", said, "")


def test_overtime(data: Data) -> None:
    """A trial that is longer at work than it may stops by itself, and keeps its points."""
    outcome = run(job(units=10**9, patience=10**9, seconds=0.05), data)
    assert outcome.state == "FAILED"
    assert outcome.error == "stopped: longer than 0.05 s"
    assert outcome.traceback == ""
    assert outcome.points


def test_an_impossible_parameter(data: Data) -> None:
    """What the library refuses is the trial's failure, with the library's reason."""
    outcome = run(job(params={"activation": "reul"}), data)
    assert outcome.state == "FAILED"
    assert "activation" in outcome.error


@pytest.mark.parametrize("labels", [np.array([0, 7]), np.array([False, True])])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_label_types(tmp_path: Path, family: str, labels: np.ndarray) -> None:
    """Whole numbers and booleans come back from the model as they went in."""
    rows = arrays()
    rows |= {name: labels[(rows[name] == "b").astype(int)] for name in ("y_train", "y_validation")}
    outcome = run(
        job(family=family, params={}, units=5 if FAMILIES[family].resource != "rows" else 300),
        load(tmp_path, **rows),
    )
    found = model_of(outcome).predict(rows["X_validation"])
    top = max(outcome.points, key=lambda point: point.rank)
    assert found.dtype == labels.dtype
    assert top.score == np.mean(found == rows["y_validation"])


def test_weights_reach_the_learner(tmp_path: Path) -> None:
    """Rows that count nothing change nothing: fitting with their weight at 0 leaves them out."""
    rows = arrays()
    weights = (np.arange(300) < 200).astype(np.float32)
    weighted = load(tmp_path, **rows, weights=weights)
    outcome = run(job(family="linear", params={"C": 1.0}, units=300), weighted)
    X, y = rows["X_train"][:200], rows["y_train"][:200]
    alone = LogisticRegression(C=1.0, max_iter=500).fit(X, y)
    np.testing.assert_allclose(model_of(outcome).coef_, alone.coef_, rtol=1e-3, atol=1e-4)
