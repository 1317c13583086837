"""A stored model in a process of its own."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline

from pipelines.data import DataSettings
from pipelines.errors import ModelError
from pipelines.evaluation import aligned, evaluate
from pipelines.features import Roles, conform, preprocessor
from pipelines.fresh import start
from pipelines.learned import learned_of
from pipelines.modelfile import MODEL
from pipelines.tracking import Tracker, TrackingSettings

ROLES = Roles(("delay", "distance"), ("carrier",))
ROWS = 300


def _rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "delay": rng.normal(size=ROWS),
            "distance": rng.normal(size=ROWS),
            "carrier": rng.choice(["AA", "UA", "1"], ROWS),
        }
    )
    rows.loc[::7, "delay"] = np.nan
    rows.loc[::9, "carrier"] = None
    return conform(rows, ROLES).sample(frac=1, random_state=1)


def _fit(X: pd.DataFrame, y: np.ndarray, estimator: ClassifierMixin) -> Pipeline:
    return Pipeline([("preprocess", preprocessor(ROLES)), ("model", estimator)]).fit(X, y)


def _store(folder: Path, model: Pipeline, X: pd.DataFrame) -> Path:
    tracker = Tracker.open(TrackingSettings(), folder, "flights")
    run_id = tracker.start("run", tags={})
    said = model.predict(X)
    settings = DataSettings(source="a.csv", target="late")
    tracker.log_candidate(
        run_id,
        model,
        example=X.head(5),
        predictions=said[:5],
        reference=X,
        learned=learned_of(X.assign(late=said), settings, ROLES),
    )
    with tracker.candidate_folder(run_id) as there:
        return there


@pytest.fixture(scope="module")
def X() -> pd.DataFrame:
    """Conformed rows with missing values, in no order."""
    return _rows()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, X: pd.DataFrame) -> Path:
    """Give the folder of a small model."""
    y = np.where(X["distance"] > 0, "late", "on time")
    return _store(tmp_path_factory.mktemp("store"), _fit(X, y, LogisticRegression()), X)


@pytest.fixture(autouse=True)
def _own_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has temporary files of its own, so that what is left behind shows."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))


@pytest.mark.parametrize(
    ("estimator", "labels"),
    [
        (LogisticRegression(), ["late", "on time"]),
        (HistGradientBoostingClassifier(max_iter=5), [7, -1, 30]),
        (MLPClassifier((8,), max_iter=3), [False, True]),
    ],
    ids=["linear-text", "boosting-int", "mlp-bool"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fresh_copy_answers_as_the_model_did(
    tmp_path: Path, X: pd.DataFrame, estimator: ClassifierMixin, labels: list[Any]
) -> None:
    """Every family and kind of label, row by row, with its size and two durations."""
    place = (X["distance"].rank(pct=True) * len(labels) - 1e-9).astype(int)
    y = np.array(labels)[place]
    model = _fit(X, y, estimator)
    folder = _store(tmp_path, model, X)
    with start(folder, X) as process:
        found = process.result()
    judged = evaluate(model, X, y)
    assert found.predictions.dtype == y.dtype
    np.testing.assert_array_equal(found.predictions, judged.predictions)
    np.testing.assert_allclose(
        aligned(found.probabilities, found.classes, judged.labels), judged.probabilities, atol=1e-6
    )
    assert found.size == (folder / MODEL).stat().st_size
    assert found.row_ms > 0
    assert found.batch_ms > 0
    assert list((tmp_path / "scratch").iterdir()) == []


def test_fewer_rows_than_a_batch_are_enough(stored: Path, X: pd.DataFrame) -> None:
    """A batch of 1,000 is then made of the same rows again."""
    with start(stored, X.head(1)) as process:
        found = process.result()
    assert len(found.predictions) == 1
    assert found.batch_ms > 0


def test_what_lies_in_the_users_folder_stays_out(
    stored: Path, X: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that is named like a library is not imported in its place."""
    (tmp_path / "numpy.py").write_text("raise SystemExit('the user\\'s own')")
    monkeypatch.chdir(tmp_path)
    with start(stored, X.head(10)) as process:
        assert len(process.result().predictions) == 10


def _found(folder: Path, X: pd.DataFrame, **options: Any) -> str:
    with start(folder, X, **options) as process, pytest.raises(ModelError) as caught:
        process.result()
    assert "Traceback" not in str(caught.value)
    return caught.value.found


def test_a_model_that_does_not_load_is_told(tmp_path: Path, X: pd.DataFrame, stored: Path) -> None:
    """Damaged, gone or untrusted: one line says which."""
    folder = tmp_path / "model"
    folder.mkdir()
    assert _found(tmp_path / "gone", X).startswith("FileNotFoundError")
    for path in stored.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    (folder / MODEL).write_bytes((stored / MODEL).read_bytes()[:1000])
    assert _found(folder, X) == "BadZipFile: File is not a zip file"
    skops.io.dump({"run": subprocess.Popen}, folder / MODEL)
    assert "Popen" in _found(folder, X)


def test_a_model_that_cannot_answer_these_rows_is_told(stored: Path, X: pd.DataFrame) -> None:
    """What it raises is the reason."""
    assert "1 missing: carrier" in _found(stored, X.drop(columns="carrier"))


def test_a_process_that_is_killed_is_told(stored: Path, X: pd.DataFrame) -> None:
    """As the kernel does when memory runs out."""
    with start(stored, X) as process:
        os.kill(process._process.pid, signal.SIGKILL)
        with pytest.raises(ModelError, match="it was ended by SIGKILL"):
            process.result()


def test_a_process_that_hangs_is_told_and_ended(
    tmp_path: Path, stored: Path, X: pd.DataFrame
) -> None:
    """Whatever it hangs in; nothing of it stays."""
    with start(stored, X, timeout=0.5) as process:
        os.kill(process._process.pid, signal.SIGSTOP)
        with pytest.raises(ModelError, match=r"none within 0\.5 seconds"):
            process.result()
    assert process._process.poll() == -signal.SIGKILL
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_caller_that_fails_leaves_no_process_behind(
    tmp_path: Path, stored: Path, X: pd.DataFrame
) -> None:
    """The block is left by an exception, and the child with it."""
    with pytest.raises(KeyError), start(stored, X) as process:
        raise KeyError
    assert process._process.poll() == -signal.SIGKILL
    assert list((tmp_path / "scratch").iterdir()) == []


def test_the_process_ends_with_a_caller_that_was_killed(
    tmp_path: Path, stored: Path, X: pd.DataFrame
) -> None:
    """It does not go on measuring a model that nobody waits for."""
    X.to_parquet(tmp_path / "rows.parquet")
    code = """
    import os, signal, sys, tempfile
    from pathlib import Path
    import pandas as pd
    from pipelines.fresh import start
    tempfile.tempdir = sys.argv[3]
    process = start(Path(sys.argv[1]), pd.read_parquet(sys.argv[2]))
    print(process._process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [
            *(sys.executable, "-c", textwrap.dedent(code)),
            *(stored, tmp_path / "rows.parquet", tmp_path / "scratch"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (left,) = (tmp_path / "scratch").iterdir()
    assert not (left / "times.json").exists()
