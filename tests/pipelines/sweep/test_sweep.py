"""pipelines.sweep.sweep: from rows to a fitted pipeline, by real workers and what befalls them."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from pipelines.errors import DataError, ProjectError, ServiceError, SweepError
from pipelines.features import Roles, conform, preprocessor
from pipelines.models.families import Families, Source
from pipelines.sweep.forkserver import ForkServer
from pipelines.sweep.settings import TrainSettings
from pipelines.sweep.sweep import SweepResult, sweep
from pipelines.sweep.trial import Job, Trial
from pipelines.sweep.workers import Workers, _forgets

ROLES = Roles(("delay", "distance"), ("carrier",))
ENDLESS = {"max_epochs": 10_000, "patience": 10**9, "prune": False}
DIVERGING = {"mlp": {"solver": {"choice": ["sgd"]}, "learning_rate_init": {"choice": [1e30]}}}


def table(rows: int, seed: int = 0) -> pd.DataFrame:
    """Flights that arrive late when they left late, more or less."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "delay": random.normal(size=rows),
            "distance": random.normal(1000, 300, size=rows),
            "carrier": random.choice(["AA", "UA", "DL"], rows),
        }
    )
    hidden = frame["delay"] + (frame["carrier"] == "UA") + random.normal(size=rows)
    frame["late"] = np.where(hidden > 0.3, "late", "on_time")
    frame.loc[::7, "distance"] = np.nan
    return frame


TRAIN, VALIDATION = table(300), table(150, seed=1)


class Counting:
    """Workers that count the jobs that they are given."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self.jobs: list[tuple[int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._workers, name)

    def submit(self, job: Job) -> None:
        """Count it."""
        self.jobs.append((job.number, job.rung))
        self._workers.submit(job)


Search = Callable[..., SweepResult]


@pytest.fixture
def search(server: ForkServer, tmp_path: Path) -> Search:
    """A sweep over the small table; keywords are settings, but for the few named here."""
    made = Counter[str]()

    def run(
        *,
        count: int = 2,
        train: pd.DataFrame = TRAIN,
        validation: pd.DataFrame = VALIDATION,
        label: Callable[[np.ndarray], np.ndarray] = lambda y: y,
        folder: Path | None = None,
        on_trial: Callable[[Trial, Trial | None], None] = lambda trial, best: None,
        jobs: list[tuple[int, int]] | None = None,
        source: str | None = None,
        **settings: Any,
    ) -> SweepResult:
        made["folders"] += 1
        given = TrainSettings(**{"trials": 6, "max_epochs": 6, **settings})
        workers = Counting(Workers(count, server))
        if jobs is not None:
            workers.jobs = jobs
        try:
            return sweep(
                train,
                label(train["late"].to_numpy(dtype=np.str_)),
                validation,
                label(validation["late"].to_numpy(dtype=np.str_)),
                ROLES,
                given,
                folder=folder or tmp_path / f"sweep-{made['folders']}",
                terms={"train": given.terms},
                families=source and Families(source=Source("mine.py", source.encode())),
                executor=workers,
                on_trial=on_trial,
            )
        finally:
            # The server outlives it, so that its block cannot be left.
            idle = list(workers._pids)
            assert all(_forgets(line) for line in idle)
            for line in idle:
                workers._discard(line)

    return run


def facts(result: SweepResult) -> list[tuple[Any, ...]]:
    """Everything of the trials but how long they took."""
    return [
        (t.number, t.family, t.params, t.state, t.score, t.train_score, t.curve, t.error)
        for t in result.trials
    ]


def pids() -> list[int]:
    """List the living workers of this process, and no other grandchild of it."""
    table = subprocess.run(
        ["ps", "-eww", "-o", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True
    ).stdout
    parents = {
        int(pid): int(parent)
        for pid, parent, state, args in (line.split(maxsplit=3) for line in table.splitlines())
        if state[0] != "Z" and "sweep.forkserver" in args
    }
    return [pid for pid, parent in parents.items() if parents.get(parent) == os.getpid()]


def test_any_number_of_workers(search: Search) -> None:
    """One, two and four workers give the same trials, the same winner and the same predictions."""
    results = [search(count=count, trials=30, max_epochs=9) for count in (1, 2, 4)]
    first = results[0]
    assert "KILLED" in {trial.state for trial in first.trials}
    for other in results[1:]:
        assert facts(other) == facts(first)
        assert other.best.number == first.best.number
        assert other.importance == first.importance
        np.testing.assert_array_equal(
            other.model.predict_proba(conform(VALIDATION, ROLES)),
            first.model.predict_proba(conform(VALIDATION, ROLES)),
        )


def test_the_seed_decides(search: Search) -> None:
    """Another seed gives other trials."""
    assert facts(search(seed=1)) != facts(search(seed=2))


def test_the_result(search: Search) -> None:
    """The result holds every trial in order, the best of them, its rungs and the time spent."""
    told: list[tuple[int, int | None]] = []
    result = search(
        trials=10, on_trial=lambda trial, best: told.append((trial.number, best and best.number))
    )
    assert [trial.number for trial in result.trials] == list(range(10))
    assert result.best.score == max(t.score for t in result.trials if t.score is not None)
    assert result.best == result.trials[result.best.number]
    assert result.stopped == "trials"
    assert result.scoring == "accuracy"
    assert sorted(number for number, _ in told) == list(range(10))
    assert told[-1][1] == result.best.number
    assert set(result.spent) == {"mlp", "boosting", "linear"}
    assert sum(result.spent.values()) == pytest.approx(sum(t.seconds for t in result.trials))
    assert sum(r.entered for r in result.rungs if r.rung == 0) == 10
    for trial in result.trials:
        best = trial.top
        assert best is not None
        assert (trial.score, trial.train_score) == (best.score, best.train_score)


def test_the_model(search: Search) -> None:
    """The model is a scikit-learn pipeline that scores as its trial did, and can be cloned."""
    result = search()
    frame = conform(VALIDATION, ROLES)
    assert isinstance(result.model, Pipeline)
    assert result.model.score(frame, VALIDATION["late"]) == result.best.score
    assert (
        clone(result.model).get_params()["model"].get_params() == result.model["model"].get_params()
    )


def test_preprocessing_knows_the_training_rows_alone(search: Search) -> None:
    """Neither a wild value nor a new category of the validation rows enters preprocessing."""
    wild = VALIDATION.assign(distance=1e6, carrier="ZZ")
    found = search(validation=wild, families=("linear",), trials=1).model["preprocess"]
    alone = preprocessor(ROLES).fit(conform(TRAIN, ROLES))
    frame = conform(wild, ROLES)
    np.testing.assert_array_equal(found.transform(frame), alone.transform(frame))
    assert list(found.get_feature_names_out()) == list(alone.get_feature_names_out())


@pytest.mark.parametrize(
    "classes", [np.array(["no", "yes"]), np.array([3, 8]), np.array([False, True])]
)
def test_label_types(search: Search, classes: np.ndarray) -> None:
    """Text, whole numbers and booleans come back as they went in."""
    result = search(label=lambda y: classes[(y == "late").astype(int)], trials=3)
    assert {trial.state for trial in result.trials} == {"FINISHED"}
    predicted = result.model.predict(conform(VALIDATION, ROLES))
    assert predicted.dtype == classes.dtype
    assert set(predicted) <= set(classes)


def test_three_classes(search: Search) -> None:
    """Every family learns three classes."""
    rows = [frame.copy() for frame in (TRAIN, VALIDATION)]
    for frame in rows:
        frame["late"] = np.array(["early", "late", "on_time"])[
            np.digitize(frame["delay"], (-0.5, 0.5))
        ]
    result = search(train=rows[0], validation=rows[1], trials=3, scoring="balanced_accuracy")
    assert {trial.state for trial in result.trials} == {"FINISHED"}
    assert result.model.predict_proba(conform(rows[1], ROLES)).shape == (150, 3)


def test_divergence_is_a_failed_trial(search: Search) -> None:
    """Diverging networks are failed trials with a reason, and another family wins."""
    result = search(families=("mlp", "linear"), space=DIVERGING)
    failed = [trial for trial in result.trials if trial.family == "mlp"]
    assert {trial.state for trial in failed} == {"FAILED"}
    assert all(trial.error.startswith("diverged") for trial in failed)
    assert result.best.family == "linear"


def test_all_failed(search: Search) -> None:
    """When every trial fails the error says how many, and why the first did."""
    with pytest.raises(SweepError) as caught:
        search(families=("mlp",), space=DIVERGING)
    assert "none of 6 did; the first, mlp: diverged after 0 units" in caught.value.found


def test_a_timeout_with_nothing(search: Search) -> None:
    """A time too short for a single trial is an error that names the setting."""
    with pytest.raises(SweepError, match=r"train\.timeout_seconds"):
        search(families=("mlp",), timeout_seconds=0.5, **ENDLESS)


def test_one_class(search: Search) -> None:
    """Training rows of one class are refused before anything is started."""
    with pytest.raises(DataError, match="at least two classes"):
        search(train=TRAIN[TRAIN["late"] == "late"])


def test_a_class_of_validation_alone(search: Search) -> None:
    """A class that only the validation rows have is refused by name."""
    with pytest.raises(DataError, match="only in validation: never"):
        search(validation=VALIDATION.assign(late="never"))


def test_no_validation_rows(search: Search) -> None:
    """A sweep without validation rows is refused: every trial would score alike."""
    with pytest.raises(DataError, match="no rows"):
        search(validation=VALIDATION[:0])


# What befalls a sweep.


FAMILY = """
import os, signal, time
import numpy as np
from sklearn.linear_model import SGDClassifier
from pipelines.models.family import Family
from pipelines.models.learner import Passes
from pipelines.models.space import Dimension


class Mine(Family):
    name, module, share, resource = "mine", "sklearn.linear_model", 1, "epochs"
    parameters = {{"alpha": float, "bad": int}}

    def space(self):
        return {{"alpha": Dimension(log=(1e-6, 1e-2)), "bad": Dimension(choice=(0, 1, 2, 3))}}

    def starts(self):
        return tuple({{"alpha": 1e-4, "bad": bad}} for bad in (0, 1, 2))

    def build(self, params, *, seed, rows):
        return SGDClassifier(loss="log_loss", alpha=params["alpha"], random_state=seed)

    def start(self, params, *, seed, rows):
        model = self.build(params, seed=seed, rows=rows)
        return Bad(model, seed) if params["bad"] == 1 else Passes(model, seed)


class Bad(Passes):
    def advance(self, rows, units):
        super().advance(rows, units)
        {what}
"""
"""A family of a user's, one of whose parameters makes its code do something bad."""

MINE = {
    "families": ("linear", "mine"),
    "families_file": "mine.py",
    "trials": 8,
}


def bad(result: SweepResult) -> list[Trial]:
    """Return the trials that were asked to do something bad."""
    return [trial for trial in result.trials if trial.params.get("bad") == 1]


def others_are_fine(result: SweepResult) -> bool:
    """Whether every other trial was usable, and the sweep worked off."""
    others = [trial for trial in result.trials if trial.params.get("bad") != 1]
    return len(result.trials) == 8 and "FAILED" not in {trial.state for trial in others}


def test_a_configuration_that_kills_its_workers(search: Search) -> None:
    """A configuration that kills its worker is tried twice and left alone, the others untouched."""
    jobs: list[tuple[int, int]] = []
    source = FAMILY.format(what="os.kill(os.getpid(), signal.SIGKILL)")
    result = search(source=source, jobs=jobs, **MINE)
    assert bad(result)
    for trial in bad(result):
        assert trial.state == "FAILED"
        assert trial.error.startswith("it lost 2 workers and is left alone; the last: its worker")
        assert jobs.count((trial.number, 0)) == 2
    assert others_are_fine(result)


def test_an_exception_of_a_familys_code(search: Search) -> None:
    """Its trial is failed, and keeps the traceback that names the line of the user's file."""
    result = search(source=FAMILY.format(what="raise KeyError('column')"), **MINE)
    assert bad(result)
    for trial in bad(result):
        assert (trial.state, trial.error) == ("FAILED", "KeyError: 'column'")
        assert "mine.py" in trial.traceback
    assert others_are_fine(result)


def test_too_many_exceptions(search: Search) -> None:
    """After max_failures of them the sweep fails, and names the last one."""
    with pytest.raises(SweepError, match="KeyError: 'column'") as caught:
        search(source=FAMILY.format(what="raise KeyError('column')"), max_failures=1, **MINE)
    assert caught.value.found.startswith("1 trials failed; the last, ")
    assert pids() == []


def test_a_trial_that_hangs(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that hears of no limit is killed after it, once, and the sweep goes on."""
    monkeypatch.setattr("pipelines.sweep.workers.GRACE_SECONDS", 0.2)
    jobs: list[tuple[int, int]] = []
    result = search(
        source=FAMILY.format(what="time.sleep(3600)"), jobs=jobs, trial_seconds=2, **MINE
    )
    assert bad(result)
    for trial in bad(result):
        assert (trial.state, trial.error) == ("FAILED", "stopped: longer than 2 s")
        assert trial.traceback == ""
        assert jobs.count((trial.number, 0)) == 1
    assert others_are_fine(result)


def test_no_trial_within_its_limit(search: Search) -> None:
    """Where each trial ends by its limit the next move is the limit, and not the space."""
    with pytest.raises(SweepError) as caught:
        search(families=("linear",), trials=1, trial_seconds=1e-9)
    assert "longer than 1e-09 s" in caught.value.found
    assert "train.trial_seconds" in caught.value.next_move


def test_a_trial_that_takes_too_much(search: Search) -> None:
    """A trial that wants more memory than it may have is failed, says so, and is no fault."""
    result = search(
        source=FAMILY.format(what="np.ones(2**31)"), trial_memory_mb=500, max_failures=1, **MINE
    )
    assert bad(result)
    for trial in bad(result):
        assert trial.state == "FAILED"
        assert trial.error.startswith("stopped: more than 500 MiB")
    assert others_are_fine(result)


def test_numbers_that_run_away(search: Search) -> None:
    """A model that predicts what is no number is the worst of all, and no fault."""
    result = search(
        source=FAMILY.format(what="self.model.coef_[:] = np.nan"), max_failures=1, **MINE
    )
    assert bad(result)
    assert {trial.state for trial in bad(result)} == {"FAILED"}
    assert others_are_fine(result)


def test_workers_killed(search: Search) -> None:
    """Workers killed by SIGKILL, in a trial or between two, change nothing of what is found.

    Only the jobs that they were at are done again, from the rung below.
    """
    calm_jobs: list[tuple[int, int]] = []
    calm = search(trials=12, jobs=calm_jobs)
    deaths: list[int] = []

    def kill(trial: Trial, best: Trial | None) -> None:
        if not deaths:
            deaths.extend(pids())
            for pid in deaths:
                os.kill(pid, signal.SIGKILL)

    jobs: list[tuple[int, int]] = []
    shaken = search(trials=12, on_trial=kill, jobs=jobs)
    assert len(deaths) == 2
    assert facts(shaken) == facts(calm)
    again = Counter(jobs) - Counter(calm_jobs)
    assert set(calm_jobs) == set(jobs)
    assert 1 <= again.total() <= 2


def test_the_time_is_up(search: Search) -> None:
    """At the time set, running trials are stopped and the best of the others wins."""
    result = search(families=("linear", "mlp"), trials=20, timeout_seconds=3, **ENDLESS)
    assert result.stopped == "seconds"
    assert result.best.family == "linear"
    killed = {trial.error for trial in result.trials if trial.state == "KILLED"}
    assert killed == {"the sweep's 3 s were up"}
    assert pids() == []


def test_an_error_in_the_middle(search: Search, tmp_path: Path) -> None:
    """Of a sweep that ends by an error no worker and no matrix is left, and it can be resumed."""

    def fail(trial: Trial, best: Trial | None) -> None:
        raise OSError("the tracking server is down")

    folder = tmp_path / "sweep"
    with pytest.raises(OSError, match="tracking server"):
        search(folder=folder, on_trial=fail)
    assert pids() == []
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoints", "journal.jsonl"]
    assert facts(search(folder=folder)) == facts(search())


def test_swept_already(search: Search, tmp_path: Path) -> None:
    """A sweep that is over, gone on with, does nothing again: it tells the same of every trial."""
    first: list[int] = []
    folder = tmp_path / "sweep"
    whole = search(folder=folder, trials=10, on_trial=lambda t, best: first.append(t.number))
    told: list[int] = []
    jobs: list[tuple[int, int]] = []
    again = search(
        folder=folder, trials=10, jobs=jobs, on_trial=lambda t, best: told.append(t.number)
    )
    assert jobs == []
    assert told == first
    assert facts(again) == facts(whole)
    frame = conform(VALIDATION, ROLES)
    np.testing.assert_array_equal(
        again.model.predict_proba(frame), whole.model.predict_proba(frame)
    )


def test_other_terms(search: Search, tmp_path: Path) -> None:
    """A sweep begun with another seed is not gone on with, and the error names it."""
    search(folder=tmp_path / "sweep")
    with pytest.raises(ProjectError, match=r"train\.seed was 0 and is 1"):
        search(folder=tmp_path / "sweep", seed=1)
    # Nobody's help changes what is found.
    search(folder=tmp_path / "sweep", workers=7, timeout_seconds=100, max_failures=3)


def test_a_folder_that_cannot_be_made(search: Search, tmp_path: Path) -> None:
    """A folder that cannot be made is an error of the machine that names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="file"):
        search(folder=tmp_path / "file" / "sweep")


def test_scored_by_folds(search: Search) -> None:
    """By folds the winner is a finished trial, fitted anew on every training row."""
    result = search(families=("linear",), folds=3, trials=6)
    assert result.best.state == "FINISHED"
    assert result.best.units == 3
    assert result.best == result.trials[result.best.number]


DRIVER = """
import sys
from pathlib import Path
from pipelines.features import Roles
from pipelines.sweep.sweep import sweep
from pipelines.sweep.settings import TrainSettings
from pipelines.sweep.workers import start_workers
import numpy as np, pandas as pd

settings = TrainSettings(families=["linear", "mlp"], workers=2, max_epochs=10_000, patience=10**9,
                         prune=False)
with start_workers(settings) as workers:
    if sys.argv[2] == "loading":
        print("now", flush=True)
    frame = pd.DataFrame({"delay": np.linspace(-1, 1, 200)})
    y = frame["delay"].to_numpy() > 0.1
    found = sweep(frame, y, frame, y, Roles(("delay",), ()), settings, folder=Path(sys.argv[1]),
                  executor=workers, on_trial=lambda trial, best: print("now", flush=True))
    print(found.stopped, found.best.family, found.best.state)
"""


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """A sweep that would never end, in a process group of its own as a terminal gives it."""
    started: list[subprocess.Popen[str]] = []

    def start(when: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(tmp_path / "sweep"), when],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        return process

    yield start
    for process in started:
        if group(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def group(leader: int) -> list[str]:
    """List the living processes of a group."""
    table = subprocess.run(
        ["ps", "-eww", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(maxsplit=2) for line in table.splitlines()]
    return [args for pgid, state, args in rows if int(pgid) == leader and state[0] != "Z"]


@pytest.mark.sweep
@pytest.mark.slow
def test_interrupted_while_loading(
    driver: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Ctrl-C before anything is known ends the sweep with KeyboardInterrupt, and every process.

    Only the driver speaks of it: the workers and their server die silently.
    """
    process = driver("loading")
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGINT
    assert stderr.count("Traceback") == stderr.count("KeyboardInterrupt") == 1
    assert group(process.pid) == []


@pytest.mark.sweep
@pytest.mark.slow
def test_interrupted_in_the_middle(
    driver: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Ctrl-C ends the sweep with the best so far, quietly, and leaves no process and no matrix."""
    process = driver("running")
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr) == (0, "")
    assert stdout.splitlines()[-1] == "interrupted linear FINISHED"
    assert group(process.pid) == []
    left = sorted(path.name for path in (tmp_path / "sweep").iterdir())
    assert left == ["checkpoints", "journal.jsonl"]


@pytest.mark.sweep
@pytest.mark.slow
def test_a_driver_that_is_killed(driver: Callable[[str], subprocess.Popen[str]]) -> None:
    """When the driver is killed outright its fork server ends by itself."""
    process = driver("loading")
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while group(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert group(process.pid) == []


def test_of_equal_scores_the_lower_loss_wins(search: Search) -> None:
    """Where every trial has all rows right, the surest is chosen, and not the first."""
    easy = [frame.assign(late=np.where(frame["delay"] > 0, "b", "a")) for frame in (TRAIN, TRAIN)]
    easy = [frame[frame["delay"].abs() > 1] for frame in easy]
    found = search(train=easy[0], validation=easy[1], trials=9)
    tops = [trial.top for trial in found.trials if trial.state == "FINISHED"]
    perfect = [top for top in tops if top is not None and top.score == 1.0]
    assert len(perfect) > 1
    assert found.best.top == min(perfect, key=lambda top: top.loss) != perfect[0]


RESUMED = """
import sys
from pathlib import Path
from pipelines.features import Roles
from pipelines.sweep.sweep import sweep
from pipelines.sweep.settings import TrainSettings
from pipelines.sweep.trial import Outcome
from pipelines.sweep.workers import Workers, start_workers
import numpy as np, pandas as pd

folder, log = map(Path, sys.argv[1:3])
settings = TrainSettings(trials=14, workers=int(sys.argv[3]), max_epochs=9)

class Logged(Workers):
    def wait(self, timeout):
        ended = super().wait(timeout)
        with log.open("a") as file:
            for each in ended:
                print("done", each.number, each.rung, file=file, flush=True)
        return ended

workers = start_workers(settings)
workers.__class__ = Logged
random = np.random.default_rng(0)
frame = pd.DataFrame({"delay": random.normal(size=120), "distance": random.normal(size=120)})
y = frame["delay"].to_numpy() + random.normal(size=120) > 0.1
with workers:
    found = sweep(frame[:90], y[:90], frame[90:], y[90:], Roles(("delay", "distance"), ()),
                  settings, folder=folder, terms=settings.terms, executor=workers)
facts = [(t.number, t.family, dict(t.params), t.state, t.score, t.curve, t.error)
         for t in found.trials]
print(found.best.number, facts, found.model.predict_proba(frame).tobytes().hex())
"""


@pytest.mark.sweep
@pytest.mark.slow
def test_the_driver_killed_and_resumed(tmp_path: Path) -> None:
    """A sweep whose driver is killed again and again ends as one that never was.

    Whoever works on it: with other numbers of workers too. No job is done again that came in,
    but for those that came in as the driver died.
    """

    def start(name: str, workers: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *(sys.executable, "-c", RESUMED),
                *(tmp_path / name, tmp_path / f"{name}.log", str(workers)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    calm, said = start("calm", 2).communicate(timeout=200)
    assert said == ""
    whole = (tmp_path / "calm.log").read_text().splitlines()
    random = np.random.default_rng()
    kills = 0
    for workers in (2, 1, 3):
        process = start("shaken", workers)
        log = tmp_path / "shaken.log"
        before = len(log.read_text().splitlines()) if log.exists() else 0
        until = before + int(random.integers(1, len(whole) // 3))
        while process.poll() is None and (
            not log.exists() or len(log.read_text().splitlines()) < until
        ):
            time.sleep(0.005)
        process.kill()
        process.communicate()
        kills += 1
        lines = (tmp_path / "shaken" / "journal.jsonl").read_bytes()
        (tmp_path / "shaken" / "journal.jsonl").write_bytes(lines + b'{"number": 3, "ru')
    shaken, said = start("shaken", 2).communicate(timeout=200)
    assert said == ""
    assert shaken == calm
    done = Counter((tmp_path / "shaken.log").read_text().splitlines())
    assert set(done) == set(whole)
    assert (done - Counter(whole)).total() <= kills * 3
