"""The gate on the bundled sample: bad candidates are refused by name, an honest one passes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import BaggingClassifier, HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from flows.project import Project
from pipelines import probes
from pipelines.data import Dataset, read
from pipelines.evaluation import evaluate
from pipelines.features import Roles, conform, labels, preprocessor, roles_of
from pipelines.learned import learned_of
from pipelines.split import learning_rows, sealed_rows
from pipelines.tracking import Tracker

Command = Callable[..., Any]

SAMPLE = Path(__file__).parents[2] / "pipelines" / "samples" / "flights"

pytestmark = [pytest.mark.slow, pytest.mark.mutant]

LIMITS = {
    "gate.metrics": "{accuracy = {min = 0.85}}",
    "gate.recall": "{late = 0.60, on_time = 0.80}",
    "gate.confusion": "{}",
    "gate.overfit": "0.06",
    "gate.calibration": "{ece = 0.06}",
    "gate.latency": "{row_ms = 120.0}",
    "gate.slices": "{minimum = 0.6}",
}
LAX = {
    **dict.fromkeys(("gate.recall", "gate.confusion", "gate.slices", "gate.cost"), "{}"),
    "gate.metrics": "{accuracy = {min = 0.5}}",
    "gate.baseline": "{majority = 0.0, yardstick = -0.9}",
    "gate.calibration": "{}",
    "gate.overfit": "0.9",
}


def flags(settings: dict[str, str]) -> list[str]:
    """Write settings as flags."""
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


class Bench:
    """The sample project with a store of its own, and ways to put models into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = Project.load(folder)
        self.tracker = Tracker.open(self.project.tracking, folder, experiment=self.project.model)
        self.data = read(self.project.data, folder)
        self.split = learning_rows(self.data)
        self.roles = roles_of(self.split.train, self.project.data)
        self.target = self.project.data.target

    def fit(self, estimator: Any, rows: pd.DataFrame | None = None, y: Any = None) -> Pipeline:
        """Fit an estimator behind the usual preprocessing."""
        rows = self.split.train if rows is None else rows
        y = labels(rows[self.target]) if y is None else y
        pipeline = Pipeline([("preprocess", preprocessor(self.roles)), ("model", estimator)])
        return pipeline.fit(conform(rows, self.roles), y)

    def log(
        self, model: Any, *, roles: Roles | None = None, learned: pd.DataFrame | None = None
    ) -> str:
        """Log a model as a run's candidate."""
        roles = roles or self.roles
        rows = pd.concat([self.split.train, self.split.validation])
        rows = rows if learned is None else learned
        run_id = self.tracker.start("mutant", tags={"tidegate.stage": "trained"})
        example = conform(self.data.frame.head(20), roles)
        self.tracker.log_candidate(
            run_id,
            model,
            example=example,
            predictions=model.predict(example),
            reference=self.data.frame.head(100),
            learned=learned_of(rows, self.project.data, roles),
        )
        self.tracker.finish(run_id, "FINISHED")
        return run_id

    def log_other(self, model: Any, roles: Roles, data: Dataset) -> str:
        """Log a model of another table."""
        whole, self.data = self.data, data
        try:
            split = learning_rows(data)
            return self.log(model, roles=roles, learned=pd.concat([split.train, split.validation]))
        finally:
            self.data = whole


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Copy the sample, and add a column that gives the answer away, which its model drops."""
    folder = tmp_path_factory.mktemp("sample") / "flights"
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns(".tidegate", "traffic"))
    return Bench(folder)


@pytest.fixture(scope="module")
def honest(bench: Bench) -> Pipeline:
    """Fit what a sound sweep would find."""
    return bench.fit(
        HistGradientBoostingClassifier(max_iter=80, learning_rate=0.08, random_state=0)
    )


@pytest.fixture(scope="module")
def network(bench: Bench) -> Pipeline:
    """Fit a model whose parts can be turned about: linear, and nearly as good."""
    return bench.fit(LogisticRegression(max_iter=500, C=0.3))


@pytest.fixture
def judge(bench: Bench, tidegate: Command) -> Command:
    """Judge a run as a user does; the champion is the one registered under ``model``."""

    def run(run_id: str, model: str = "none", **changed: str) -> dict[str, Any]:
        settings = {**LIMITS, "deploy.model": f'"{model}"', **changed}
        ended = tidegate(
            "gate", "--run", run_id, "--project", bench.folder, "--json", *flags(settings)
        )
        document: dict[str, Any] = ended.document
        assert ended.code == (0 if document["verdict"] == "passed" else 1)
        return document

    return run


@pytest.fixture
def crown(bench: Bench, tidegate: Command) -> Callable[[str, str], None]:
    """Make a run's candidate the champion under a name, by a gate that asks little."""

    def run(run_id: str, model: str) -> None:
        settings = flags({**LIMITS, **LAX, "deploy.model": f'"{model}"'})
        for verb in ("gate", "deploy"):
            ended = tidegate(verb, "--run", run_id, "--project", bench.folder, "--json", *settings)
            assert ended.code == 0, ended.document["reasons"]

    return run


def refused(document: dict[str, Any]) -> dict[str, str]:
    """Return the rules that refuse, with their reasons."""
    assert document["verdict"] in ("failed", "error")
    found = {
        rule["id"]: rule["reason"]
        for rule in document["rules"]
        if rule["status"] in ("failed", "error")
    }
    assert [reason.split(": ", 1)[0] for reason in document["reasons"]] == list(found)
    return found


@pytest.fixture(scope="module")
def weak(bench: Bench) -> str:
    """Log a champion that an honest model beats: it learned from a few rows."""
    few = bench.split.train.sample(300, random_state=0)
    return bench.log(bench.fit(LogisticRegression(C=0.03), few))


def test_an_honest_better_model_passes(
    bench: Bench, honest: Pipeline, weak: str, judge: Command, crown: Command
) -> None:
    """The positive control: every limit that the mutants meet, and it holds."""
    crown(weak, "weak")
    document = judge(bench.log(honest), "weak")
    assert document["verdict"] == "passed", document["reasons"]
    rules = {rule["id"]: rule for rule in document["rules"]}
    assert rules["champion"]["status"] == "passed"
    assert rules["champion"]["reason"].startswith("promote: ")
    assert set(rules["champion"]) == {"id", "status", "observed", "limit", "interval", "reason"}


def test_the_first_model_is_judged_by_the_other_rules(
    bench: Bench, honest: Pipeline, judge: Command
) -> None:
    """Without a champion the rule has a status of its own."""
    document = judge(bench.log(honest))
    assert document["verdict"] == "passed", document["reasons"]
    status = {rule["id"]: rule["status"] for rule in document["rules"]}
    assert status["champion"] == "first model"


def shuffled(bench: Bench, honest: Pipeline) -> Pipeline:
    """Learn from labels that were shuffled."""
    y = np.random.default_rng(0).permutation(labels(bench.split.train[bench.target]))
    return bench.fit(LogisticRegression(max_iter=500), y=y)


def constant(bench: Bench, honest: Pipeline) -> Pipeline:
    """Answer one class whatever comes."""
    return bench.fit(DummyClassifier(strategy="constant", constant="late"))


def majority_only(bench: Bench, honest: Pipeline) -> Pipeline:
    """Buy accuracy on the majority, and never find the rare class."""
    return bench.fit(DummyClassifier(strategy="most_frequent"))


def broken_class(bench: Bench, honest: Pipeline) -> Any:
    """Call a flight late when that is all but certain, and miss four of ten."""
    rows = conform(bench.split.validation, bench.roles)
    sure = FixedThresholdClassifier(
        FrozenEstimator(honest), threshold=0.9, pos_label="late", response_method="predict_proba"
    )
    return sure.fit(rows, labels(bench.split.validation[bench.target]))


def overfitted(bench: Bench, honest: Pipeline) -> Pipeline:
    """Know the training rows by heart."""
    return bench.fit(
        HistGradientBoostingClassifier(
            max_iter=600, learning_rate=0.3, max_leaf_nodes=127, min_samples_leaf=2
        )
    )


def overconfident(bench: Bench, honest: Pipeline) -> Pipeline:
    """Say the same with six times the certainty."""
    model = bench.fit(LogisticRegression(max_iter=500, C=0.3))
    model[-1].coef_ *= 6
    model[-1].intercept_ *= 6
    return model


def undefined(bench: Bench, honest: Pipeline) -> Pipeline:
    """Have a weight that is no number."""
    model = bench.fit(LogisticRegression(max_iter=500, C=0.3))
    model[-1].coef_[0, 0] = np.nan
    return model


def inverted(bench: Bench, honest: Pipeline) -> Pipeline:
    """Give the right labels beside probabilities of the opposite order."""
    rows = bench.split.train.sample(2_000, random_state=0)
    model = bench.fit(SVC(probability=True, random_state=0), rows)
    model[-1]._probA *= -1
    model[-1]._probB *= -1
    return model


def slow(bench: Bench, honest: Pipeline) -> Pipeline:
    """Ask four thousand members for each answer."""
    member = bench.fit(LogisticRegression(max_iter=500, C=0.3))[-1]
    crowd = BaggingClassifier(LogisticRegression(C=0.3), n_estimators=2, n_jobs=None)
    model = bench.fit(crowd)
    crowd.estimators_ = [member] * 4_000
    crowd.estimators_features_ = [crowd.estimators_features_[0]] * 4_000
    crowd.n_estimators = 4_000
    return model


MUTANTS: dict[str, tuple[Callable[[Bench, Pipeline], Any], str]] = {
    "labels shuffled": (shuffled, "baseline[majority]"),
    "constant class": (constant, "recall[on_time]"),
    "the rare class never found": (majority_only, "recall[late]"),
    "one class broken": (broken_class, "recall[late]"),
    "overfitted": (overfitted, "overfit"),
    "uncalibrated": (overconfident, "calibration[ece]"),
    "NaN probabilities": (undefined, "probabilities"),
    "probabilities inverted": (inverted, "agreement"),
    "slow": (slow, "latency[row]"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_bad_model_is_refused_by_the_rule_that_names_its_fault(
    mutant: str, bench: Bench, honest: Pipeline, judge: Command
) -> None:
    """Exit 1, and the rule's id among those that refuse."""
    spoil, rule = MUTANTS[mutant]
    assert rule in refused(judge(bench.log(spoil(bench, honest))))


def test_accuracy_rises_while_a_class_breaks(
    bench: Bench, honest: Pipeline, weak: str, judge: Command, crown: Command
) -> None:
    """A candidate that beats the champion in accuracy is refused for the class that it lost."""
    crown(weak, "beaten")
    document = judge(bench.log(broken_class(bench, honest)), "beaten")
    rules = {rule["id"]: rule["status"] for rule in document["rules"]}
    assert (rules["champion"], rules["accuracy"]) == ("passed", "passed")
    assert "recall[late]" in refused(document)


def with_columns(bench: Bench, name: str, **columns: Any) -> Dataset:
    """Write the table once more with further columns, and read it."""
    file = f"{name}.parquet"
    bench.data.frame.assign(**columns).to_parquet(bench.folder / file)
    settings = bench.project.data.model_copy(update={"source": file})
    return read(settings, bench.folder)


def fit_on(bench: Bench, data: Dataset) -> tuple[Pipeline, Roles]:
    """Fit a model that reads another table's columns."""
    train = learning_rows(data).train
    roles = roles_of(train, data.settings)
    model = Pipeline(
        [("preprocess", preprocessor(roles)), ("model", LogisticRegression(max_iter=500))]
    )
    return model.fit(conform(train, roles), labels(train[bench.target])), roles


def test_a_leaked_feature_is_named(bench: Bench, judge: Command) -> None:
    """A column written down afterwards ranks the label alone."""
    late = (bench.data.frame[bench.target] == "late").to_numpy()
    refund = np.where(late, 250.0, 0.0) + np.random.default_rng(0).normal(size=len(late))
    data = with_columns(bench, "leaked", refund=refund)
    model, roles = fit_on(bench, data)
    run_id = bench.log_other(model, roles, data)
    found = refused(judge(run_id, **{"data.source": '"leaked.parquet"'}))
    assert "'refund' alone" in found["leakage[alone]"]


def test_a_row_number_is_named(bench: Bench, judge: Command) -> None:
    """A counter that goes with time tells the past from the future, and nothing else."""
    data = with_columns(bench, "counted", counter=np.arange(len(bench.data.frame)))
    model, roles = fit_on(bench, data)
    run_id = bench.log_other(model, roles, data)
    found = refused(judge(run_id, **{"data.source": '"counted.parquet"'}))
    assert "'counter'" in found["leakage[names]"]


def test_copies_across_the_split_are_counted(bench: Bench, judge: Command) -> None:
    """Rows that were learned from and stand among the sealed ones again are no test."""
    again = bench.split.train.sample(400, random_state=0).copy()
    sealed = sealed_rows(bench.data)
    again[bench.project.data.time] = (
        sealed[bench.project.data.time].sample(400, random_state=0).to_numpy()
    )
    again[bench.project.data.id] = (
        bench.data.frame[bench.project.data.id].max() + 1 + np.arange(400)
    )
    pd.concat([bench.data.frame, again]).to_parquet(bench.folder / "copied.parquet")
    run_id = bench.log(bench.fit(LogisticRegression(max_iter=500, C=0.3)))
    found = refused(judge(run_id, **{"data.source": '"copied.parquet"'}))
    assert "leakage[duplicates]" in found


def test_whoever_learned_the_sealed_rows_is_refused(
    bench: Bench, honest: Pipeline, judge: Command
) -> None:
    """The fingerprints beside the model give it away."""
    everything = bench.data.frame
    model = bench.fit(clone(honest[-1]), everything)
    found = refused(judge(bench.log(model, learned=everything)))
    assert "sealed" in found


def test_a_model_of_another_schema_is_refused(bench: Bench, judge: Command) -> None:
    """A column that the table does not have cannot be read."""
    data = with_columns(bench, "wider", gate=1.5)
    model, roles = fit_on(bench, data)
    found = refused(judge(bench.log_other(model, roles, data)))
    assert "gate" in found["schema"]


def test_a_file_that_does_not_load_is_refused(
    bench: Bench, network: Pipeline, judge: Command
) -> None:
    """What cannot be read back is no model."""
    run_id = bench.log(network)
    with bench.tracker.candidate_folder(run_id) as folder:
        file = folder / "model.skops"
        file.write_bytes(file.read_bytes()[:1000])
    assert "loadable" in refused(judge(run_id))


def test_a_champion_equal_to_the_candidate_is_kept(
    bench: Bench, honest: Pipeline, judge: Command, crown: Command
) -> None:
    """The same model twice is no reason to change, nor is a model compared with itself."""
    first, second = bench.log(honest), bench.log(honest)
    crown(first, "equal")
    assert refused(judge(second, "equal"))["champion"].startswith("keep: ")
    assert "this very model" in refused(judge(first, "equal"))["champion"]


def test_a_champion_whose_file_is_gone_refuses(
    bench: Bench, honest: Pipeline, weak: str, judge: Command, crown: Command
) -> None:
    """A champion that is named and cannot be loaded is an error, and no free way."""
    run_id = bench.log(
        bench.fit(LogisticRegression(C=0.1), bench.split.train.sample(300, random_state=0))
    )
    crown(run_id, "absent")
    with bench.tracker.candidate_folder(run_id) as folder:
        (folder / "model.skops").unlink()
    found = refused(judge(bench.log(honest), "absent"))
    assert list(found) == ["champion", "segments"]


def test_a_champion_that_raises_refuses(
    bench: Bench, honest: Pipeline, judge: Command, crown: Command, tidegate: Command
) -> None:
    """A champion of another table cannot answer this one."""
    data = with_columns(
        bench, "richer", fuel=np.random.default_rng(0).normal(size=len(bench.data.frame))
    )
    model, roles = fit_on(bench, data)
    run_id = bench.log_other(model, roles, data)
    settings = flags(
        {**LIMITS, **LAX, "deploy.model": '"raises"', "data.source": '"richer.parquet"'}
    )
    for verb in ("gate", "deploy"):
        ended = tidegate(verb, "--run", run_id, "--project", bench.folder, "--json", *settings)
        assert ended.code == 0, ended.document["reasons"]
    found = refused(judge(bench.log(honest), "raises"))
    assert "fuel" in found["champion"]


def test_a_stale_champion_is_a_verdict_of_its_own(
    bench: Bench, honest: Pipeline, judge: Command, crown: Command
) -> None:
    """A champion that has learned the sealed rows leaves too few to compare on."""
    crown(bench.log(honest), "stale")
    moved = {
        "data.split.validation_from": "2013-04-01T00:00:00",
        "data.split.sealed_from": "2013-05-01T00:00:00",
        "data.split.until": "2013-06-01T00:00:00",
    }
    early = bench.split.train.loc[bench.split.train[bench.project.data.time] < "2013-04-01"]
    model = bench.fit(clone(honest[-1]), early)
    found = refused(judge(bench.log(model, learned=early), "stale", **moved))
    assert "neither model has learned from" in found["champion"]


def test_a_candidate_worse_in_one_segment_is_refused(
    bench: Bench, honest: Pipeline, weak: str, judge: Command, crown: Command
) -> None:
    """Better all in all, and worse than the champion for one airport."""
    champion = bench.fit(
        LogisticRegression(max_iter=500), bench.split.train.sample(2_000, random_state=1)
    )
    crown(bench.log(champion), "segment")
    train = bench.split.train
    y = labels(train[bench.target])
    there = (train["carrier"] == "EV").to_numpy()
    y = np.where(there, np.random.default_rng(0).permutation(y), y)
    candidate = bench.fit(clone(honest[-1]), y=y)
    found = refused(judge(bench.log(candidate), "segment"))
    assert "EV" in found["segments"]


class Standardised(ClassifierMixin, BaseEstimator):
    """A model that scales each batch by itself, as a notebook does."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def fit(self, X: Any, y: Any) -> "Standardised":
        """Take a model that is fitted."""
        self.classes_ = self.model.classes_
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Scale by the batch."""
        numbers = X.select_dtypes("number")
        scaled = X.assign(**((numbers - numbers.mean()) / (numbers.std() + 1)))
        found: np.ndarray = self.model.predict_proba(scaled)
        return found

    def predict(self, X: Any) -> np.ndarray:
        """Answer the likeliest class."""
        found: np.ndarray = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return found


def test_predictions_that_depend_on_the_rows_around_are_refused(
    bench: Bench, network: Pipeline
) -> None:
    """Such a model cannot be stored by its parts, so the probe is made on the live one."""
    from checks.model.answers import Answers
    from checks.model.behaviour import check_row_order

    sealed = sealed_rows(bench.data)
    X, y = conform(sealed, bench.roles), labels(sealed[bench.target])
    for model, status in [(Standardised(network).fit(X, y), "failed"), (network, "passed")]:
        scored = evaluate(model, X, y)
        answers = Answers(scored.labels, y, scored.predictions, scored.probabilities)
        assert check_row_order(answers, probes.reordered(model, X)).status == status


def test_a_model_that_draws_is_refused(bench: Bench, network: Pipeline) -> None:
    """The same rows must get the same answer twice."""
    from checks.model.answers import Answers
    from checks.model.behaviour import check_deterministic

    class Drawing(Standardised):
        """A model that draws while it answers."""

        def predict_proba(self, X: Any) -> np.ndarray:
            """Mix in a little chance."""
            late = np.random.random_sample((len(X), 1)) * [[1, -1]] + [[0, 1]]
            found: np.ndarray = 0.9 * self.model.predict_proba(X) + 0.1 * late
            return found

    sealed = sealed_rows(bench.data).head(200)
    X, y = conform(sealed, bench.roles), labels(sealed[bench.target])
    for model, status in [(Drawing(network).fit(X, y), "failed"), (network, "passed")]:
        scored = evaluate(model, X, y)
        answers = Answers(scored.labels, y, scored.predictions, scored.probabilities)
        again = probes.again(model, X, scored.labels)
        assert check_deterministic(answers, again).status == status
