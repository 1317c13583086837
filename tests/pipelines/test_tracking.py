"""Runs, models and aliases, in real MLflow stores."""

import os
import re
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from pydantic import ValidationError
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline

from pipelines.data import DataSettings
from pipelines.errors import MissingError, ModelError, ProjectError, ServiceError
from pipelines.features import Roles, conform, preprocessor
from pipelines.learned import Learned, learned_of
from pipelines.promotion import promote
from pipelines.sweep.trial import Point, Trial
from pipelines.tracking import CHECKSUM, Tracker, TrackingSettings, store

ROLES = Roles(("dep_delay", "distance"), ("carrier",))
ROWS = 120


@pytest.fixture
def tracker(tmp_path: Path) -> Tracker:
    """A new store."""
    return Tracker.open(TrackingSettings(), tmp_path, "flights")


@pytest.fixture
def run_id(tracker: Tracker) -> str:
    """An open run."""
    return tracker.start("run", tags={"tidegate.verb": "run"})


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """A conformed table with missing values in every kind of column."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "dep_delay": rng.normal(size=ROWS),
            "distance": rng.normal(size=ROWS),
            "carrier": rng.choice(["AA", "UA", "DL"], ROWS),
        }
    )
    table.loc[::7, "dep_delay"] = np.nan
    table.loc[::9, "carrier"] = None
    return conform(table, ROLES)


def _labels(frame: pd.DataFrame, kind: str) -> np.ndarray:
    late = frame["distance"].to_numpy() > 0
    return {
        "text": np.where(late, "late", "on time"),
        "int": np.where(late, 7, -1) + (frame["carrier"] == "AA").to_numpy(),
        "bool": late,
    }[kind]


def _fit(frame: pd.DataFrame, y: np.ndarray, estimator: ClassifierMixin | None = None) -> Pipeline:
    model = Pipeline(
        [("preprocess", preprocessor(ROLES)), ("model", estimator or LogisticRegression())]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(frame, y)


def _learned(frame: pd.DataFrame) -> Learned:
    settings = DataSettings(source="flights.csv", target="late")
    return learned_of(frame.assign(late="late"), settings, ROLES)


def _log(tracker: Tracker, run_id: str, model: Pipeline, frame: pd.DataFrame) -> str:
    return tracker.log_candidate(
        run_id,
        model,
        example=frame.head(20),
        predictions=model.predict(frame.head(20)),
        reference=frame,
        learned=_learned(frame),
    )


def _trial(number: int, **changes: Any) -> Trial:
    curve = tuple(Point(epoch, 1 / epoch, 0.9, 0.8 + epoch / 100) for epoch in range(1, 6))
    values = {
        "number": number,
        "family": "mlp",
        "params": {"layers": 4, "alpha": 1e-4, "solver": "adam", "nesterov": True},
        "state": "FINISHED",
        "score": 0.85,
        "train_score": 0.9,
        "curve": curve,
        "seconds": 0.5,
    }
    return Trial(**{**values, **changes})


def _rows(tracker: Tracker, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(tracker.uri.removeprefix("sqlite:///")) as database:
        return database.execute(query).fetchall()


def _python(code: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        **options,
    )


# -- the settings and the import ----------------------------------------------------------


def test_importing_tracking_imports_none_of_the_heavy_libraries() -> None:
    """`tidegate --help` must not pay for MLflow, pandas or scikit-learn."""
    done = _python(
        """
        import sys, pipelines.tracking
        heavy = {"mlflow", "pandas", "sklearn", "numpy", "sqlalchemy"} & set(sys.modules)
        assert not heavy, heavy
        """
    )
    assert done.returncode == 0, done.stderr


def test_mlflow_is_imported_with_its_telemetry_off(tmp_path: Path) -> None:
    """It reads that once, when it is imported."""
    clean = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_DISABLE_TELEMETRY",)}
    clean.pop("DO_NOT_TRACK", None)
    done = _python(
        """
        import os, sys
        from pathlib import Path
        from pipelines.tracking import Tracker, TrackingSettings
        seen = []
        class Watch:
            def find_spec(self, name, *rest):
                if name == "mlflow":
                    seen.append(os.environ.get("MLFLOW_DISABLE_TELEMETRY"))
        sys.meta_path.insert(0, Watch())
        Tracker.open(TrackingSettings(), Path(sys.argv[1]), "flights")
        print(seen)
        """,
        tmp_path,
        env=clean,
    )
    assert done.stdout.strip() == "['true']", done.stdout + done.stderr


@pytest.mark.parametrize("uri", ["mlruns", "/tmp/mlruns", "file:///tmp/mlruns", "ftp://host/x"])
def test_a_store_is_a_database_or_a_server(uri: str) -> None:
    """What MLflow cannot keep runs in is refused when the project file is read."""
    with pytest.raises(ValidationError, match="database URL or a server's address"):
        TrackingSettings(uri=uri)


# -- the store ----------------------------------------------------------------------------


def test_a_new_store_is_whole_and_in_wal_mode(tmp_path: Path, tracker: Tracker) -> None:
    """Everything lies below the state folder, and readers do not block the writer."""
    assert tracker.uri == f"sqlite:///{tmp_path}/.tidegate/mlflow.db"
    assert _rows(tracker, "PRAGMA journal_mode") == [("wal",)]
    assert [path.name for path in tmp_path.iterdir()] == [".tidegate"]


def test_nothing_is_written_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frame: pd.DataFrame
) -> None:
    """MLflow's own defaults are relative to wherever the command was called."""
    away = tmp_path / "away"
    away.mkdir()
    monkeypatch.chdir(away)
    tracker = Tracker.open(TrackingSettings(uri="sqlite:///runs.db"), tmp_path / "project", "m")
    run_id = tracker.start("run", tags={})
    _log(tracker, run_id, _fit(frame, _labels(frame, "text")), frame)
    tracker.register(run_id, "m", {})
    assert list(away.iterdir()) == []
    assert (tmp_path / "project" / "runs.db").exists()


@pytest.mark.parametrize("name", ["with space", "späte flüge", "100% #1", "a+b&c"])
def test_a_project_folder_may_have_any_name(tmp_path: Path, name: str, frame: pd.DataFrame) -> None:
    """Paths become URLs and back on the way to a model."""
    tracker = Tracker.open(TrackingSettings(), tmp_path / name, name)
    run_id = tracker.start("run", tags={})
    tracker.log_files(run_id, {"gate/report.md": "fine"})
    _log(tracker, run_id, _fit(frame, _labels(frame, "text")), frame)
    version = tracker.register(run_id, "flights", {})
    assert tracker.read_file(run_id, "gate/report.md") == b"fine"
    assert len(tracker.load_version("flights", version).answers) == 20
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_experiment_is_found_again(tmp_path: Path, tracker: Tracker) -> None:
    """A second run of a project lands beside the first."""
    again = Tracker.open(TrackingSettings(), tmp_path, "flights")
    named = Tracker.open(TrackingSettings(experiment="other"), tmp_path, "flights")
    assert again.experiment_id == tracker.experiment_id != named.experiment_id


def test_a_deleted_experiment_is_refused(tmp_path: Path, tracker: Tracker) -> None:
    """MLflow would refuse each run in it, one by one."""
    tracker._client.delete_experiment(tracker.experiment_id)
    with pytest.raises(ProjectError, match="deleted") as caught:
        Tracker.open(TrackingSettings(), tmp_path, "flights")
    assert "restore" in caught.value.next_move


def test_a_store_that_was_moved_is_refused(tmp_path: Path, tracker: Tracker) -> None:
    """A copied project would write its models into the first one's folder."""
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / ".tidegate").rename(moved / ".tidegate")
    with pytest.raises(ProjectError, match="was made elsewhere"):
        Tracker.open(TrackingSettings(), moved, "flights")


def test_a_state_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    """The message says which path is in the way."""
    (tmp_path / ".tidegate").write_text("")
    with pytest.raises(ServiceError, match=r"\.tidegate"):
        Tracker.open(TrackingSettings(), tmp_path, "flights")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    """A damaged store is not overwritten."""
    store = tmp_path / ".tidegate" / "mlflow.db"
    store.parent.mkdir()
    store.write_text("not a database " * 100)
    with pytest.raises(ServiceError, match="not a database"):
        Tracker.open(TrackingSettings(), tmp_path, "flights")
    assert store.read_text() == "not a database " * 100


def test_a_database_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    """MLflow would try for more than a minute; and a password stays out of the message."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        uri = f"postgresql://me:secret@127.0.0.1:{probe.getsockname()[1]}/runs"
        with pytest.raises(ServiceError, match="refused") as caught:
            Tracker.open(TrackingSettings(uri=uri), tmp_path, "flights")
    assert "tracking.uri" in caught.value.next_move
    assert "secret" not in str(caught.value)


def test_a_driver_that_is_not_installed_is_named(tmp_path: Path) -> None:
    """The message says which one."""
    with pytest.raises(ServiceError, match="MySQLdb") as caught:
        Tracker.open(TrackingSettings(uri="mysql://me@localhost/runs"), tmp_path, "flights")
    assert "install" in caught.value.next_move


def test_a_store_that_is_made_is_the_one_that_mlflow_makes(
    tmp_path: Path, tracker: Tracker
) -> None:
    """Made in one step, and the same to the last column."""
    from mlflow import MlflowClient

    MlflowClient(f"sqlite:///{tmp_path}/theirs.db").search_experiments()
    query = "SELECT type, name, sql FROM sqlite_master ORDER BY name"
    with sqlite3.connect(tmp_path / "theirs.db") as theirs:
        wanted = theirs.execute(query).fetchall()

    def columns(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        # A migration copies the constraints of a table in no order.
        return [(*row[:2], sorted(re.split(r",?\s*\n\s*", row[2] or ""))) for row in rows]

    assert columns(_rows(tracker, query)) == columns(wanted)


_AS_NOBODY = """
    import os, sys
    import mlflow.sklearn, mlflow.store.tracking.sqlalchemy_store, pipelines.features
    import mlflow.store.model_registry.sqlalchemy_store
    from pathlib import Path
    from pipelines.errors import ServiceError
    from pipelines.tracking import Tracker, TrackingSettings
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)
    try:
        Tracker.open(TrackingSettings(), Path(sys.argv[1]), "flights").start("run", tags={})
    except ServiceError as err:
        print(err)
    else:
        print("no error")
"""


@pytest.fixture
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that another user may enter and not change."""
    folder = tmp_path_factory.mktemp("public")
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(0o755)
    return folder


def test_a_read_only_folder_is_a_service_error(public: Path) -> None:
    """The message says which folder, and what to do."""
    public.chmod(0o555)
    done = _python(_AS_NOBODY, public)
    assert "Permission denied" in done.stdout, done.stdout + done.stderr
    assert "make the folder writable" in done.stdout


def test_a_read_only_store_is_a_service_error(public: Path) -> None:
    """A store that can be read and not written stops the run at its start, without a trace."""
    Tracker.open(TrackingSettings(), public, "flights")
    for path in [public, *public.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    done = _python(_AS_NOBODY, public)
    assert "make the folder writable" in done.stdout, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


# -- servers ------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    """Nothing is tried for minutes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(ServiceError, match="refused") as caught:
            Tracker.open(TrackingSettings(uri=uri), tmp_path, "flights")
    assert uri in caught.value.found


def test_a_server_that_never_answers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is taken is not yet an answer."""
    monkeypatch.setattr(store, "REACH_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://me:secret@127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ServiceError, match="timed out") as caught:
            Tracker.open(TrackingSettings(uri=uri), tmp_path, "flights")
    assert "secret" not in str(caught.value)


def test_a_port_that_is_something_else_is_named(tmp_path: Path) -> None:
    """Whatever listens there and does not speak HTTP is told as an address to mend."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            with other.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")

        Thread(target=answer, daemon=True).start()
        uri = f"http://127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ServiceError, match=r"tracking\.uri") as caught:
            Tracker.open(TrackingSettings(uri=uri), tmp_path, "flights")
    assert uri in caught.value.found


# -- runs ---------------------------------------------------------------------------------


def test_a_run_is_read_back_as_it_was_logged(tracker: Tracker, run_id: str) -> None:
    """Tags, parameters and metrics survive, with keys that MLflow takes."""
    tracker.log_params(
        run_id, {"data": "flights.parquet", "rows": 3, **{f"p{i}": i for i in range(150)}}
    )
    tracker.log_metrics(run_id, {"accuracy": 0.9, "recall[spät|x]": np.float64(0.5), "none": None})
    tracker.set_tags(run_id, {"tidegate.verdict": "passed"})
    tracker.finish(run_id, "FINISHED")
    run = tracker.run(run_id)
    assert (run.name, run.status) == ("run", "FINISHED")
    assert run.metrics == {"accuracy": 0.9, "recall_spät_x_": 0.5}
    assert run.params["rows"] == "3"
    assert len(run.params) == 152
    assert run.tags["tidegate.verdict"] == "passed"
    assert run.start_time is not None
    assert run.end_time is not None
    assert run.start_time <= run.end_time


def test_long_values_are_cut_and_not_refused(tracker: Tracker, run_id: str) -> None:
    """A long path or error message must not end a run."""
    tracker.log_params(run_id, {"k" * 300: "v" * 9_000})
    tracker.set_tags(run_id, {"tidegate.error": "e" * 9_000})
    run = tracker.run(run_id)
    assert {len(key) for key in run.params} == {250}
    assert next(iter(run.params.values())).endswith("v…")
    assert len(run.tags["tidegate.error"]) == 8_000


def test_the_page_is_shown_and_kept_whole(tracker: Tracker, run_id: str) -> None:
    """What MLflow cannot show is cut at a line, and says where the rest is."""
    page = "# Title\n" + "".join(f"| {n} | value |\n" for n in range(2_000))
    tracker.describe(run_id, page)
    shown = tracker.run(run_id).tags["mlflow.note.content"]
    table, _, rest = shown.partition("\n\n")
    assert len(shown) <= 8_000
    assert table.endswith(" |")
    assert "page.md" in rest
    assert tracker.read_file(run_id, "page.md") == page.encode()


def test_files_are_kept_under_their_paths(tmp_path: Path, tracker: Tracker, run_id: str) -> None:
    """Text, bytes, a file and a folder."""
    folder = tmp_path / "docs"
    (folder / "static").mkdir(parents=True)
    (folder / "static" / "page.css").write_text("p {}")
    tracker.log_files(
        run_id,
        {"a/é.md": "é", "b.png": b"\x89", "docs": folder, "c.css": folder / "static" / "page.css"},
    )
    assert tracker.read_file(run_id, "a/é.md") == "é".encode()
    assert tracker.read_file(run_id, "b.png") == b"\x89"
    assert tracker.read_file(run_id, "docs/static/page.css") == b"p {}"
    assert tracker.read_file(run_id, "c.css") == b"p {}"
    assert tracker.read_file(run_id, "a/none.md") is None


def test_the_data_is_named_once_for_each_use(tracker: Tracker, run_id: str) -> None:
    """Training and validation rows of one table are two inputs of the run."""
    frame = pd.DataFrame({"x": [1, 2], "when": pd.to_datetime(["2013-01-01"] * 2), "y": ["a", "b"]})
    for context in ("training", "validation"):
        tracker.log_dataset(
            run_id,
            frame,
            name="flights",
            target="y",
            fingerprint="ab" * 32,
            origin="postgresql://db/flights",
            context=context,
        )
    inputs = tracker._client.get_run(run_id).inputs.dataset_inputs
    assert {i.tags[0].value for i in inputs} == {"training", "validation"}
    assert {i.dataset.digest for i in inputs} == {"abababab-training", "abababab-validation"}
    assert '"num_rows": 2' in inputs[0].dataset.profile


def test_a_missing_run_is_said_to_be_missing(tracker: Tracker) -> None:
    """A run that is not there is the caller's mistake, not the store's."""
    with pytest.raises(MissingError, match="no run"):
        tracker.run("0" * 32)
    with pytest.raises(MissingError, match="no run"):
        tracker.candidate("no such/run")


def test_the_latest_run_is_no_trial_and_has_the_tags(tracker: Tracker) -> None:
    """Trials are newer than the run that they belong to."""
    first = tracker.start("one", tags={"tidegate.stage": "trained"})
    quoted = tracker.start("two", tags={"tidegate.stage": "it's"})
    tracker.log_trial(first, _trial(0))
    tracker.flush()
    found = [tracker.latest({"tidegate.stage": stage}) for stage in ("trained", "it's", "judged")]
    assert [run and run.run_id for run in found] == [first, quoted, None]


# -- trials -------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_write_trials_into_one_new_store(tmp_path: Path) -> None:
    """Neither meets a locked database, not even while both make the store."""
    code = """
        import sys
        from pathlib import Path
        from pipelines.sweep.trial import Point, Trial
        from pipelines.tracking import Tracker, TrackingSettings
        tracker = Tracker.open(TrackingSettings(), Path(sys.argv[1]), "flights")
        run_id = tracker.start("run", tags={})
        curve = tuple(Point(e, 1.0, 0.9, 0.8) for e in range(1, 11))
        for number in range(40):
            trial = Trial(number, "mlp", {"n": number}, "FINISHED", 0.8, 0.9, curve)
            tracker.log_trial(run_id, trial)
            tracker.log_metrics(run_id, {f"m{number}": 1.0})
        tracker.finish(run_id, "FINISHED")
    """
    both = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in both:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    tracker = Tracker.open(TrackingSettings(), tmp_path, "flights")
    assert _rows(tracker, "SELECT status, count(*) FROM runs GROUP BY status") == [("FINISHED", 82)]
    assert _rows(tracker, "SELECT count(*) FROM metrics") == [(2 * 40 * (3 + 30 + 1),)]


def test_a_closed_run_closes_its_trials(tracker: Tracker, run_id: str) -> None:
    """Ctrl-C leaves nothing open."""
    child = tracker._client.create_run(
        tracker.experiment_id, tags={"mlflow.parentRunId": run_id}
    ).info.run_id
    other = tracker.start("another", tags={})
    tracker.log_trial(run_id, _trial(0))
    tracker.finish(run_id, "KILLED")
    statuses = dict(_rows(tracker, "SELECT run_uuid, status FROM runs"))
    assert statuses[run_id] == statuses[child] == "KILLED"
    assert statuses[other] == "RUNNING"
    assert sorted(statuses.values()) == ["FINISHED", "KILLED", "KILLED", "RUNNING"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk_is_told_and_harms_nothing(tmp_path: Path, tracker: Tracker) -> None:
    """Trials, files and models that find no room give a ServiceError; the store stays whole."""
    before = tracker.start("before", tags={})
    done = _python(
        """
        import resource, sys
        from pathlib import Path
        import numpy as np, pandas as pd
        from pipelines.errors import ServiceError
        from pipelines.features import Roles, conform, preprocessor
        from pipelines.learned import Learned
        from pipelines.sweep.trial import Trial
        from pipelines.tracking import Tracker, TrackingSettings
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import Pipeline
        tracker = Tracker.open(TrackingSettings(), Path(sys.argv[1]), "flights")
        run_id = tracker.start("full", tags={})
        rows = conform(pd.DataFrame({"x": np.arange(50.0)}), Roles(("x",), ()))
        steps = [("preprocess", preprocessor(Roles(("x",), ()))), ("model", LogisticRegression())]
        model = Pipeline(steps).fit(rows, rows["x"] > 20)
        room = 200_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        def candidate():
            tracker.log_candidate(run_id, model, example=rows, predictions=model.predict(rows),
                                  reference=pd.DataFrame({"x": np.random.rand(200_000)}),
                                  learned=Learned(("x",), np.arange(50, dtype=np.uint64)))
        def trials():
            for number in range(500):
                trial = Trial(number, "mlp", {}, "FINISHED", 0.8, error="e" * 999)
                tracker.log_trial(run_id, trial)
            tracker.finish(run_id, "FINISHED")
        def files():
            tracker.log_files(run_id, {"big.bin": b"x" * 2 * room})
        for act in (files, candidate, trials):
            try:
                act()
            except ServiceError as err:
                print(act.__name__, err.next_move, "|", err.found)
            else:
                print(act.__name__, "no error")
        """,
        tmp_path,
    )
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["files", "candidate", "trials"], done.stderr
    assert all("disk has room" in line for line in lines), done.stdout
    assert "Traceback" not in done.stderr
    assert _rows(tracker, "PRAGMA integrity_check") == [("ok",)]
    tracker.finish(before, "FINISHED")
    assert tracker.run(before).status == "FINISHED"


# -- models -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["text", "int", "bool"])
def test_a_candidate_comes_back_as_it_was(
    tracker: Tracker, run_id: str, frame: pd.DataFrame, kind: str
) -> None:
    """Model, columns, example, answers and learned rows, whatever the labels are."""
    y = _labels(frame, kind)
    model = _fit(frame, y)
    uri = _log(tracker, run_id, model, frame)
    found = tracker.candidate(run_id)
    assert uri.startswith("models:/m-")
    assert found.roles == ROLES
    pd.testing.assert_frame_equal(found.example, frame.head(20))
    assert found.answers.dtype == model.predict(frame.head(20)).dtype
    np.testing.assert_array_equal(found.answers, model.predict(frame.head(20)))
    np.testing.assert_array_equal(found.model.predict_proba(frame), model.predict_proba(frame))
    np.testing.assert_array_equal(found.model.classes_, np.unique(y))
    assert found.learned.marks(frame.assign(late="late")).all()
    assert not found.learned.marks(frame.assign(late="on time")).any()


@pytest.mark.parametrize(
    "estimator",
    [
        MLPClassifier((8,), max_iter=3, random_state=np.random.RandomState(0)),
        MLPClassifier((8,), max_iter=3, solver="sgd", momentum=0.3),
        HistGradientBoostingClassifier(max_iter=5),
        HistGradientBoostingClassifier(max_iter=5, early_stopping=True, class_weight="balanced"),
        LogisticRegression(),
    ],
    ids=["adam", "sgd", "boosting", "boosting-early", "linear"],
)
def test_every_family_is_on_the_list_of_trusted_types(
    tracker: Tracker, run_id: str, frame: pd.DataFrame, estimator: ClassifierMixin
) -> None:
    """A model that cannot be read back must not be found out at deployment."""
    for kind in ("text", "int"):
        model = _fit(frame, _labels(frame, kind), estimator)
        _log(tracker, run_id, model, frame)
        found = tracker.candidate(run_id)
        np.testing.assert_array_equal(found.model.predict(frame), model.predict(frame))


def _thresholded(model: Pipeline, positive: object, threshold: float) -> FixedThresholdClassifier:
    made = FixedThresholdClassifier(
        FrozenEstimator(model),
        threshold=threshold,
        pos_label=positive,
        response_method="predict_proba",
    )
    return made.fit(pd.DataFrame({"any": [0, 1]}), model.classes_)


@pytest.mark.parametrize(("kind", "positive"), [("text", "late"), ("bool", True)])
def test_a_threshold_comes_back_with_its_model(
    tracker: Tracker, run_id: str, frame: pd.DataFrame, kind: str, positive: object
) -> None:
    """A candidate answers by its threshold after it was stored, and needs no further trust."""
    model = _fit(frame, _labels(frame, kind))
    eager = _thresholded(model, positive, 0.3)
    _log(tracker, run_id, eager, frame)
    found = tracker.candidate(run_id)
    assert (found.model.threshold, found.model.pos_label) == (0.3, positive)
    assert type(found.model.pos_label) is type(positive)
    np.testing.assert_array_equal(found.model.predict(frame), eager.predict(frame))
    np.testing.assert_array_equal(found.answers, eager.predict(frame.head(20)))
    np.testing.assert_array_equal(found.model.predict_proba(frame), model.predict_proba(frame))
    assert (eager.predict(frame) != model.predict(frame)).any()
    untrusted = skops.io.get_untrusted_types(data=skops.io.dumps(eager))
    assert untrusted == skops.io.get_untrusted_types(data=skops.io.dumps(model))


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [None, 0.3], ids=["likelier", "threshold"])
def test_a_candidate_loads_where_tidegate_is_not(
    tmp_path: Path,
    tracker: Tracker,
    run_id: str,
    frame: pd.DataFrame,
    threshold: float | None,
) -> None:
    """MLflow alone loads it, both ways, and answers rows with missing values alike."""
    model = _fit(frame, _labels(frame, "text"), MLPClassifier((8,), max_iter=3, random_state=0))
    if threshold is not None:
        likelier = model.predict(frame)
        model = _thresholded(model, "late", threshold)
        assert (model.predict(frame) != likelier).any()
    _log(tracker, run_id, model, frame)
    version = tracker.register(run_id, "flights", {})
    location = tracker._client.get_model_version_download_uri("flights", version)
    frame.to_pickle(tmp_path / "rows.pickle")
    np.save(tmp_path / "answers.npy", model.predict(frame))
    done = _python(
        """
        import sys

        class Nowhere:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("pipelines", "flows", "checks"):
                    raise ModuleNotFoundError(name)

        sys.meta_path.insert(0, Nowhere())
        import mlflow, numpy as np, pandas as pd
        rows = pd.read_pickle("rows.pickle")
        answers = np.load("answers.npy")
        location = sys.argv[1]
        assert (mlflow.sklearn.load_model(location).predict(rows) == answers).all()
        assert (mlflow.pyfunc.load_model(location).predict(rows) == answers).all()
        """,
        location,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_an_integer_column_that_gains_a_missing_value_still_fits_the_signature(
    tracker: Tracker, run_id: str
) -> None:
    """Numbers are doubles in the signature: a required long would refuse the first gap."""
    raw = pd.DataFrame(
        {"dep_delay": range(60), "distance": range(60), "carrier": ["AA", "UA"] * 30}
    )
    frame = conform(raw, ROLES)
    _log(tracker, run_id, _fit(frame, _labels(frame, "bool") ^ (frame.index % 2 == 0)), frame)
    from mlflow import pyfunc

    location = tracker._client.get_logged_model(tracker._model_id(run_id)).artifact_location
    gap = raw.astype({"distance": "float64"})
    gap.loc[3, "distance"] = np.nan
    assert len(pyfunc.load_model(location).predict(gap.astype({"dep_delay": "float64"}))) == 60


def test_a_type_that_is_not_trusted_is_not_logged(
    tracker: Tracker, run_id: str, frame: pd.DataFrame
) -> None:
    """What could not be loaded later is refused now, and no run names it."""
    model = _fit(frame, _labels(frame, "text"))
    model.steps.append(("later", subprocess.Popen))
    with pytest.raises(ServiceError, match="Popen"):
        tracker.log_candidate(
            run_id,
            model,
            example=frame.head(3),
            predictions=np.array(["late"] * 3),
            reference=frame,
            learned=_learned(frame),
        )
    with pytest.raises(MissingError, match="no model"):
        tracker.candidate(run_id)


def test_a_damaged_model_is_told_from_a_store_that_is_away(
    tmp_path: Path, tracker: Tracker, run_id: str, frame: pd.DataFrame
) -> None:
    """The one is a verdict on the model, the other may pass."""
    _log(tracker, run_id, _fit(frame, _labels(frame, "text")), frame)
    (file,) = (tmp_path / ".tidegate" / "artifacts").rglob("model.skops")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelError, match="read back"):
        tracker.candidate(run_id)
    file.unlink()
    with pytest.raises(ModelError, match="read back"):
        tracker.candidate(run_id)
    file.symlink_to(file)
    with pytest.raises(ServiceError, match="symbolic links"):
        tracker.candidate(run_id)


def test_a_models_folder_is_given_for_a_block(
    tracker: Tracker, run_id: str, frame: pd.DataFrame
) -> None:
    """Of a run's candidate and of a version; what the block raises is the block's own."""
    _log(tracker, run_id, _fit(frame, _labels(frame, "text")), frame)
    tracker.register(run_id, "flights", {})
    with tracker.candidate_folder(run_id) as folder:
        assert (folder / "model.skops").is_file()
    with tracker.version_folder("flights", "1") as same:
        assert same == folder
    with pytest.raises(MissingError, match="is registered"):
        tracker.version_folder("flights", "2")
    with pytest.raises(FileNotFoundError), tracker.candidate_folder(run_id) as folder:
        (folder / "nothing").read_text()


def test_the_reference_sample_keeps_its_types(
    tracker: Tracker, run_id: str, frame: pd.DataFrame
) -> None:
    """Dates, categories and labels are there for whoever compares later rows with it."""
    reference = frame.assign(
        when=pd.date_range("2013-01-01", periods=ROWS), mixed=[1, "one"] * (ROWS // 2), y=True
    )
    model = _fit(frame, _labels(frame, "text"))
    tracker.log_candidate(
        run_id,
        model,
        example=frame.head(2),
        predictions=model.predict(frame.head(2)),
        reference=reference,
        learned=_learned(frame),
    )
    found = tracker.reference("flights", tracker.register(run_id, "flights", {}))
    assert found["when"].dtype.kind == "M"
    assert found["y"].dtype == bool
    assert found["mixed"].tolist() == ["1", "one"] * (ROWS // 2)
    assert found["carrier"].isna().sum() == frame["carrier"].isna().sum()


# -- the registry -------------------------------------------------------------------------


@pytest.fixture
def version(tracker: Tracker, frame: pd.DataFrame) -> Callable[[str], str]:
    """Train and register a model; returns its version."""

    def make(kind: str = "text") -> str:
        run_id = tracker.start("run", tags={})
        _log(tracker, run_id, _fit(frame, _labels(frame, kind)), frame)
        return tracker.register(run_id, "flights", {"tidegate.verdict": "passed"})

    return make


def test_no_champion_yet_is_none(tracker: Tracker, version: Callable[[], str]) -> None:
    """Neither without the model nor without the alias is anything wrong."""
    assert tracker.champion("flights", "champion") is None
    version()
    assert tracker.champion("flights", "champion") is None
    assert tracker.aliases("nothing") == {}


def test_a_champion_that_cannot_be_read_is_an_error(
    tracker: Tracker, version: Callable[[], str]
) -> None:
    """A gate that took it for "no champion yet" would let anything pass."""
    tracker.point("flights", "champion", version())
    _rows(tracker, "ALTER TABLE model_versions RENAME TO gone")
    with pytest.raises(ServiceError, match="champion"):
        tracker.champion("flights", "champion")


def test_a_crash_between_register_and_alias_can_be_repeated(
    tmp_path: Path, tracker: Tracker, version: Callable[[], str], frame: pd.DataFrame
) -> None:
    """The champion is the old one, and the next try takes the same version up again."""
    old = version()
    tracker.point("flights", "champion", old)
    run_id = tracker.start("run", tags={})
    _log(tracker, run_id, _fit(frame, _labels(frame, "text")), frame)
    done = _python(
        """
        import os, signal, sys
        from pathlib import Path
        from pipelines.tracking import Tracker, TrackingSettings
        tracker = Tracker.open(TrackingSettings(), Path(sys.argv[1]), "flights")
        print(tracker.register(sys.argv[2], "flights", {"tidegate.verdict": "passed"}), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        tmp_path,
        run_id,
    )
    champion = tracker.champion("flights", "champion")
    assert champion is not None
    assert champion.version == old
    assert tracker.register(run_id, "flights", {"tidegate.verdict": "again"}) == done.stdout.strip()
    tracker.point("flights", "champion", done.stdout.strip())
    champion = tracker.champion("flights", "champion")
    assert champion is not None
    assert (champion.version, champion.run_id) == (done.stdout.strip(), run_id)
    assert champion.tags["tidegate.verdict"] == "again"


def test_a_version_keeps_the_checksum_of_its_first_registration(
    tracker: Tracker, version: Callable[[], str]
) -> None:
    """The tag is what sha256sum says of the model's file, also after that was changed."""
    registered = tracker.version("flights", version())
    (file,) = Path(tracker.uri.removeprefix("sqlite:///")).parent.rglob("model.skops")
    said = subprocess.run(["sha256sum", file], capture_output=True, text=True).stdout.split()[0]
    assert registered.tags[CHECKSUM] == said == tracker.checksum("flights", registered.version)
    file.write_bytes(file.read_bytes() + b" ")
    assert tracker.register(registered.run_id, "flights", {}) == registered.version
    assert tracker.version("flights", registered.version).tags[CHECKSUM] == said
    assert tracker.checksum("flights", registered.version) != said


@pytest.mark.parametrize("wanted", ["9", "latest", "none"])
def test_a_version_that_is_not_registered_is_missing(
    tracker: Tracker, version: Callable[[], str], wanted: str
) -> None:
    """A typing error on the command line is no failed service."""
    version()
    with pytest.raises(MissingError, match=wanted):
        tracker.version("flights", wanted)


def test_a_second_candidate_of_a_run_gets_a_version_of_its_own(
    tracker: Tracker, run_id: str, frame: pd.DataFrame
) -> None:
    """What is registered is what the run logged last."""
    _log(tracker, run_id, _fit(frame, _labels(frame, "text")), frame)
    first = tracker.register(run_id, "flights", {})
    _log(tracker, run_id, _fit(frame, _labels(frame, "bool")), frame)
    second = tracker.register(run_id, "flights", {})
    assert first != second
    assert tracker.load_version("flights", second).answers.dtype == bool


@pytest.mark.parametrize("wanted", ["9", "champion"])
def test_a_version_that_is_not_there_is_missing(
    tracker: Tracker, version: Callable[[], str], wanted: str
) -> None:
    """With a model of that name and without one."""
    for name in ("nothing", "flights"):
        with pytest.raises(MissingError, match=wanted):
            tracker.load_version(name, wanted)
        version()


def test_a_version_can_be_loaded_by_its_alias(
    tracker: Tracker, version: Callable[[str], str]
) -> None:
    """Serving names the alias and no number."""
    version("bool")
    tracker.point("flights", "champion", version("text"))
    assert tracker.load_version("flights", "champion").answers.dtype.kind == "U"


# -- a server -----------------------------------------------------------------------------


@pytest.mark.slow
def test_everything_works_against_a_server_until_it_stops(
    tmp_path: Path, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's own server, over HTTP; when it goes away, each call says so and ends."""
    local = Tracker.open(TrackingSettings(), tmp_path / "server", "elsewhere")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    server = local.start_pages(host="127.0.0.1", port=port, folder=tmp_path)
    try:
        settings = TrackingSettings(uri=f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + 120
        while True:
            try:
                tracker = Tracker.open(settings, tmp_path / "project", "flights")
                break
            except ServiceError:
                assert time.monotonic() < deadline, (tmp_path / "mlflow-ui.log").read_text()
                time.sleep(0.5)
        run_id = tracker.start("run", tags={})
        tracker.log_trial(run_id, _trial(0))
        tracker.describe(run_id, "# A page")
        model = _fit(frame, _labels(frame, "text"))
        _log(tracker, run_id, model, frame)
        chosen = tracker.register(run_id, "flights", {})
        tracker.point("flights", "champion", chosen)
        ledger = tracker.ledger("flights")
        assert ledger.entries() == ()
        names = {"alias": "tried", "previous_alias": "before"}
        assert promote(tracker, ledger, chosen, expected=None, **names).moved
        assert not promote(tracker, ledger, "9", expected=None, **names).moved
        assert [entry.event for entry in ledger.entries()] == [
            "promoting",
            "promoted",
            "promoting",
            "withdrawn",
        ]
        assert ledger.intact()
        tracker.ledger("new").append("look", details={"sealed": "f", "many": ["row"] * 1_000})
        (look,) = tracker.ledger("new").entries()
        assert look.details == {"sealed": "f", "left_out": ["many"]}
        found = tracker.load_version("flights", "champion")
        np.testing.assert_array_equal(found.model.predict(frame), model.predict(frame))
        assert len(tracker.reference("flights", chosen)) == ROWS
        assert tracker.read_file(run_id, "page.md") == b"# A page"
        with pytest.raises(ProjectError, match="is the server"):
            tracker.start_pages(host="127.0.0.1", port=1, folder=tmp_path)
    finally:
        os.killpg(server.pid, 15)
        server.wait()
    with pytest.raises(ServiceError, match=r"tracking\.uri is right"):
        tracker.champion("flights", "champion")
