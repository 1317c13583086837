"""The files of a stored model, read without the store."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from pipelines.data import DataSettings
from pipelines.errors import ModelError
from pipelines.features import Roles, conform, preprocessor
from pipelines.learned import learned_of
from pipelines.modelfile import ANSWERS, EXAMPLE, LEARNED, MODEL, SIGNATURE, read_candidate
from pipelines.tracking import Tracker, TrackingSettings

ROLES = Roles(("delay", "distance: km"), ("carrier",))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Log a model and return its folder."""
    return logged(LogisticRegression(), tmp_path_factory.mktemp("store"))


def logged(classifier: ClassifierMixin, store: Path) -> Path:
    """Log a model around a classifier and return its folder."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "delay": rng.normal(size=80),
            "distance: km": rng.normal(size=80),
            "carrier": rng.choice(["AA", "UA"], 80),
            "late": rng.choice(["late", "on time"], 80),
        }
    )
    X = conform(rows, ROLES)
    model = Pipeline([("preprocess", preprocessor(ROLES)), ("model", classifier)])
    model.fit(X, rows["late"].to_numpy(dtype=np.str_))
    tracker = Tracker.open(TrackingSettings(), store, "flights")
    run_id = tracker.start("run", tags={})
    tracker.log_candidate(
        run_id,
        model,
        example=X.head(5),
        predictions=model.predict(X.head(5)),
        reference=rows,
        learned=learned_of(rows, DataSettings(source="a.csv", target="late"), ROLES),
    )
    with tracker.candidate_folder(run_id) as folder:
        return folder


@pytest.fixture
def folder(stored: Path, tmp_path: Path) -> Path:
    """Copy the stored model, to be damaged."""
    copied = tmp_path / "model"
    copied.mkdir()
    for path in stored.iterdir():
        if path.is_file():
            (copied / path.name).write_bytes(path.read_bytes())
    return copied


def test_a_model_is_read_without_mlflow(folder: Path) -> None:
    """MLflow takes longer to import than the model to load; the columns come from its file."""
    code = f"""
import sys
from pathlib import Path
from pipelines.modelfile import read_model, read_roles
folder = Path({str(folder)!r})
print(read_roles(folder), read_model(folder).classes_.tolist())
assert not {{"mlflow", "prefect", "optuna"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == f"{ROLES} ['late', 'on time']", done.stderr


def test_everything_beside_the_model_is_read(folder: Path) -> None:
    """Roles, example, answers, and which rows were learned."""
    found = read_candidate(folder, "here")
    assert found.roles == ROLES
    assert found.example.shape == (5, 3)
    np.testing.assert_array_equal(found.model.predict(found.example), found.answers)
    assert found.learned.columns == ("carrier", "delay", "distance: km", "late")


@pytest.mark.parametrize("name", [MODEL, SIGNATURE, EXAMPLE, ANSWERS])
def test_a_missing_file_is_a_fault_of_the_model(folder: Path, name: str) -> None:
    """Trying again does not bring it back."""
    (folder / name).unlink()
    with pytest.raises(ModelError, match=r"read back(?s:.)*here: FileNotFoundError"):
        read_candidate(folder, "here")


@pytest.mark.parametrize("name", [MODEL, SIGNATURE, EXAMPLE, ANSWERS, LEARNED])
def test_a_damaged_file_is_a_fault_of_the_model(folder: Path, name: str) -> None:
    """Cut short or overwritten, in whichever way the reader of that file says so."""
    whole = (folder / name).read_bytes()
    end = whole[:-60] + b"\xff" * 52 + whole[-8:]
    for broken in (whole[: len(whole) // 2], b"", whole[:-40] + b"\xff" * 40, end, b"nonsense: ["):
        (folder / name).write_bytes(broken)
        with pytest.raises(ModelError, match="read back") as caught:
            read_candidate(folder, "here")
        assert len(caught.value.found) < 400


def test_a_folder_that_is_gone_is_a_fault_of_the_model(tmp_path: Path) -> None:
    """As when somebody cleaned up the artifacts."""
    with pytest.raises(ModelError, match="FileNotFoundError"):
        read_candidate(tmp_path / "gone", "gone")


def test_a_disk_that_fails_is_not_a_fault_of_the_model(folder: Path) -> None:
    """It may well be there again tomorrow."""
    (folder / MODEL).unlink()
    (folder / MODEL).symlink_to(MODEL)
    with pytest.raises(OSError) as caught:  # noqa: PT011
        read_candidate(folder, "here")
    assert not isinstance(caught.value, ModelError)
    assert "symbolic links" in os.strerror(caught.value.errno)


def test_foreign_code_in_a_model_file_is_not_loaded(folder: Path) -> None:
    """Whatever the files beside it say."""
    skops.io.dump({"run": subprocess.Popen}, folder / MODEL)
    with (folder / SIGNATURE).open("a") as stream:
        stream.write("\nskops_trusted_types: [subprocess.Popen]\n")
    with pytest.raises(ModelError, match="Popen"):
        read_candidate(folder, "here")


def test_a_forest_is_stored_and_read_back(tmp_path: Path) -> None:
    """Its trees are trusted once they were looked at."""
    found = read_candidate(logged(RandomForestClassifier(3), tmp_path), "here")
    np.testing.assert_array_equal(found.model.predict(found.example), found.answers)


def test_a_crafted_tree_is_a_fault_of_the_model(folder: Path) -> None:
    """One that leads out of its nodes is never followed."""
    model = RandomForestClassifier(3).fit(np.eye(9), np.arange(9) % 2)
    model.n_features_in_ = 4
    model.estimators_[2].n_features_in_ = 4
    skops.io.dump(model, folder / MODEL)
    with pytest.raises(ModelError, match="here: ValueError: a model file is whole"):
        read_candidate(folder, "here")


def test_a_model_without_fingerprints_answers_and_cannot_be_compared(folder: Path) -> None:
    """Serving goes on; the gate is told what is missing."""
    (folder / LEARNED).unlink()
    found = read_candidate(folder, "here")
    assert len(found.model.predict(found.example)) == 5
    with pytest.raises(ModelError, match=r"there is no learned\.npz"):
        _ = found.learned
