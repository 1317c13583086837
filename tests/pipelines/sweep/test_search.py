"""pipelines.sweep.search: the loop, from rows to a fitted pipeline."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from pipelines.errors import DataError, ServiceError, SweepError
from pipelines.features import Roles, conform, preprocessor
from pipelines.sweep.forkserver import ForkServer
from pipelines.sweep.search import SweepResult, sweep
from pipelines.sweep.settings import TrainSettings
from pipelines.sweep.trial import Trial
from pipelines.sweep.workers import Workers

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


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    """The libraries are loaded once for all sweeps of this file."""
    modules = ["sklearn.neural_network", "sklearn.ensemble", "sklearn.linear_model"]
    started = ForkServer("pipelines.sweep.workers:work", modules)
    yield started
    started.close()


Search = Callable[..., SweepResult]


@pytest.fixture
def search(server: ForkServer, tmp_path: Path) -> Search:
    """A sweep over the small table; keywords are settings, but for the few named here."""

    def run(
        *,
        count: int = 2,
        train: pd.DataFrame = TRAIN,
        validation: pd.DataFrame = VALIDATION,
        label: Callable[[np.ndarray], np.ndarray] = lambda y: y,
        scratch: Path = tmp_path / "scratch",
        on_trial: Callable[[Trial, Trial | None], None] = lambda trial, best: None,
        **settings: Any,
    ) -> SweepResult:
        return sweep(
            train,
            label(train["late"].to_numpy(dtype=np.str_)),
            validation,
            label(validation["late"].to_numpy(dtype=np.str_)),
            ROLES,
            TrainSettings(**{"trials": 6, "max_epochs": 6, **settings}),
            scratch=scratch,
            workers=Workers(count, server),
            on_trial=on_trial,
        )

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
    """The result holds every trial in order, the best finished one, and the best linear one."""
    told: list[tuple[int, int | None]] = []
    result = search(
        trials=10, on_trial=lambda trial, best: told.append((trial.number, best and best.number))
    )
    assert [trial.number for trial in result.trials] == list(range(10))
    finished = [trial for trial in result.trials if trial.state == "FINISHED"]
    assert result.best.score == max(t.score for t in finished if t.score is not None)
    assert result.best == next(t for t in finished if t.score == result.best.score)
    assert result.stopped == "budget"
    assert result.scoring == "accuracy"
    assert sorted(number for number, _ in told) == list(range(10))
    assert told[-1][1] == result.best.number
    linear = [t.score for t in finished if t.family == "linear" and t.score is not None]
    assert result.yardstick is not None
    assert result.yardstick.score(conform(VALIDATION, ROLES), VALIDATION["late"]) == max(linear)


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
    assert "none of 6 did; the first, mlp: diverged in epoch 1" in caught.value.found


def test_workers_killed(search: Search) -> None:
    """Workers killed by SIGKILL, in a trial or between two, change nothing of what is found."""
    calm = search(trials=10)
    deaths: list[int] = []

    def kill(trial: Trial, best: Trial | None) -> None:
        if not deaths:
            deaths.extend(pids())
            for pid in deaths:
                os.kill(pid, signal.SIGKILL)

    shaken = search(trials=10, on_trial=kill)
    assert len(deaths) == 2
    assert facts(shaken) == facts(calm)


def test_a_trial_that_kills_its_workers(search: Search) -> None:
    """A trial whose worker dies twice is failed, with the exit code, and the sweep goes on."""
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.05):
            for pid in pids():
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(SweepError) as caught:
            search(count=1, trials=2, families=("mlp",), **ENDLESS)
    finally:
        over.set()
        killer.join()
    assert "none of 2 did" in caught.value.found
    assert "its worker died twice, the last time with exit code -9" in caught.value.found


def test_timeout(search: Search) -> None:
    """At the time set, running trials are killed and the best of the others wins."""
    result = search(families=("linear", "mlp"), trials=20, timeout_seconds=3, **ENDLESS)
    assert result.stopped == "timeout"
    assert result.best.family == "linear"
    killed = [trial for trial in result.trials if trial.state == "KILLED"]
    assert {trial.error for trial in killed} == {"still running after 3 s"}
    assert pids() == []


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


def test_scratch_is_left_empty(search: Search, tmp_path: Path) -> None:
    """Nothing stays in the scratch folder, after a sweep or an error in the middle of one."""

    def fail(trial: Trial, best: Trial | None) -> None:
        raise OSError("the tracking server is down")

    search(scratch=tmp_path)
    with pytest.raises(OSError, match="tracking server"):
        search(scratch=tmp_path, on_trial=fail)
    assert list(tmp_path.iterdir()) == []
    assert pids() == []


def test_scratch_that_cannot_be_written(search: Search, tmp_path: Path) -> None:
    """A scratch folder that cannot be made is an error of the machine that names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="file"):
        search(scratch=tmp_path / "file" / "scratch")


DRIVER = """
import sys
from pathlib import Path
from pipelines.features import Roles
from pipelines.sweep.search import sweep
from pipelines.sweep.settings import TrainSettings
from pipelines.sweep.workers import start_workers
import numpy as np, pandas as pd

settings = TrainSettings(families=["linear", "mlp"], workers=2, max_epochs=10_000, patience=10**9)
with start_workers(settings) as workers:
    if sys.argv[2] == "loading":
        print("now", flush=True)
    frame = pd.DataFrame({"delay": np.linspace(-1, 1, 200)})
    y = frame["delay"].to_numpy() > 0.1
    sweep(frame, y, frame, y, Roles(("delay",), ()), settings, scratch=Path(sys.argv[1]),
          workers=workers, on_trial=lambda trial, best: print("now", flush=True))
"""


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """A sweep that would never end, in a process group of its own as a terminal gives it."""
    started: list[subprocess.Popen[str]] = []

    def start(when: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(tmp_path / "scratch"), when],
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


@pytest.mark.slow
@pytest.mark.parametrize("when", ["loading", "running"])
def test_interrupted(
    driver: Callable[[str], subprocess.Popen[str]], tmp_path: Path, when: str
) -> None:
    """Ctrl-C ends the sweep with KeyboardInterrupt, and leaves no process and no file behind.

    Only the driver speaks of it: the workers and their server die silently.
    """
    process = driver(when)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGINT
    assert stderr.count("Traceback") == stderr.count("KeyboardInterrupt") == 1
    assert group(process.pid) == []
    scratch = tmp_path / "scratch"
    assert not scratch.exists() or list(scratch.iterdir()) == []


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
