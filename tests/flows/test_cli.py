"""The command line: help, exit codes, and every bad input that a user may bring."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import create_engine, make_url

from flows.cli import cli
from flows.engine import Engine
from flows.project import Project
from pipelines.tracking import Tracker

Command = Callable[..., Any]
TIDEGATE = [sys.executable, "-c", "from flows.cli import main; main()"]


@pytest.mark.parametrize("verb", list(cli.commands))
def test_each_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--help of each verb shows an example of its use."""
    cli.main([verb, "--help"], standalone_mode=False)
    assert f"Example: tidegate {verb}" in capsys.readouterr().out


def test_config_as_json_is_one_document(tidegate: Command, project: Callable[[str], Path]) -> None:
    """Config --json prints every setting with its origin and nothing else."""
    document = tidegate("config", "--project", project("flights"), "--json").document
    assert document["settings"]["data.target"] == {"value": "late", "origin": "tidegate.toml:6"}


def test_config_schema_is_json(tidegate: Command) -> None:
    """Config --schema needs no project."""
    assert tidegate("config", "--schema").document["title"] == "tidegate.toml"


def test_error_as_json_is_one_document(tidegate: Command, tmp_path: Path) -> None:
    """With --json an error is a document on stdout as well, and 2 for what the user can mend."""
    ended = tidegate("run", "--project", tmp_path, "--json")
    assert ended.code == 2
    assert ended.document["verdict"] == "error"
    assert "tidegate init" in ended.document["error"]["next_move"]


@pytest.mark.parametrize("arguments", [["nope"], ["run", "--nope"], ["init"], ["predict", "x.csv"]])
def test_usage_errors_end_with_2(tidegate: Command, arguments: list[str]) -> None:
    """A word that the command line does not know is an error of use."""
    assert tidegate(*arguments).code == 2


def test_usage_error_as_json_is_one_document(tidegate: Command) -> None:
    """With --json an error of use is a document on stdout as well."""
    ended = tidegate("train", "--nope", "--json")
    assert ended.code == 2
    assert "--nope" in ended.document["error"]["rule"]


def rewrite(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(pd.read_csv(folder / "flights.csv")).to_csv(folder / "flights.csv", index=False)


UNREADABLE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing file": (lambda f: (f / "flights.csv").unlink(), "no file"),
    "empty file": (lambda f: (f / "flights.csv").write_text(""), "is empty"),
    "one row": (lambda f: rewrite(f, lambda d: d.head(1)), "1 "),
    "one class": (lambda f: rewrite(f, lambda d: d[d["late"] == "late"]), "late"),
    "infinite value": (
        lambda f: rewrite(f, lambda d: d.assign(distance=d["distance"] / (d["distance"] != 200))),
        "distance",
    ),
    "no contract": (lambda f: (f / "contract.json").unlink(), "contract.json"),
    "contract is no JSON": (lambda f: (f / "contract.json").write_text("{"), "contract.json"),
    "contract knows no such rule": (
        lambda f: (f / "contract.json").write_text(
            json.dumps({"name": "x", "expectations": [{"type": "expect_luck", "kwargs": {}}]})
        ),
        "expect_luck",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("spoil", "said"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_unreadable_input_ends_with_2(
    tidegate: Command, project: Callable[[str], Path], spoil: Callable[[Path], Any], said: str
) -> None:
    """What cannot be read or judged ends with 2 and a message, and no run is left open."""
    folder = project("flights")
    spoil(folder)
    ended = tidegate("run", "--project", folder)
    assert ended.code == 2
    assert said in ended.err
    assert "next:" in ended.err


REFUSED: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "stray words": (
        lambda d: d.assign(distance=d["distance"].astype(object).where(d.index > 3, "far")),
        "distance",
    ),
    "column all missing": (lambda d: d.assign(temp=None), "temp"),
    "column gone": (lambda d: d.drop(columns="temp"), "temp"),
    "column new": (lambda d: d.assign(weather="fine"), "weather"),
    "category of another world": (
        lambda d: d.assign(origin=d["origin"].where(d.index > 30, "XXX")),
        "origin",
    ),
    "id twice": (lambda d: pd.concat([d, d.head(3)]), "flight_id"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("spoil", "column"), REFUSED.values(), ids=REFUSED.keys())
def test_breach_of_the_contract_ends_with_1(
    tidegate: Command,
    project: Callable[[str], Path],
    spoil: Callable[[pd.DataFrame], pd.DataFrame],
    column: str,
) -> None:
    """Data that breaks its contract is refused with 1, by a rule that names the column."""
    folder = project("flights")
    rewrite(folder, spoil)
    ended = tidegate("validate", "--project", folder, "--json")
    assert ended.code == 1
    assert any(column in reason for reason in ended.document["reasons"])
    assert Path(ended.document["reports"]["data_docs"]).is_file()
    tracker = _tracker(folder)
    assert tracker.run(ended.document["run_id"]).status == "FINISHED"


@pytest.mark.slow
def test_many_levels_and_unseen_ones_are_scored(
    tidegate: Command, project: Callable[[str], Path]
) -> None:
    """A category of 1,000 levels trains, and one that training never saw is scored."""
    folder = project("flights")
    levels = [f"N{number % 1000}" for number in range(1200)]
    rewrite(folder, lambda d: d.assign(carrier=levels))
    assert tidegate("init", folder / "flights.csv", "--target", "late", "--dir", folder,
                    "--force").code == 0  # fmt: skip
    few = ("--set", "train.trials=3", "--set", "train.max_epochs=3")
    assert tidegate("train", "--project", folder, *few).code == 0
    easy = {
        "gate.metrics": "{accuracy = {min = 0.1}}",
        "gate.overfit": "0.9",
        "gate.baseline": "{yardstick = -0.5}",
        **dict.fromkeys(
            [f"gate.{name}" for name in ("recall", "slices", "calibration", "robustness")], "{}"
        ),
    }
    flags = [word for key, value in easy.items() for word in ("--set", f"{key}={value}")]
    for verb in ("gate", "deploy"):
        ended = tidegate(verb, "--project", folder, "--json", *flags)
        assert ended.code == 0, ended.document["reasons"]
    rewrite(folder, lambda d: d.assign(carrier="never seen"))
    output = folder / "out.parquet"
    assert tidegate("predict", folder / "flights.csv", "-o", output, "--project", folder).code == 0
    assert len(pd.read_parquet(output)) == 1200


def test_init_never_overwrites(tidegate: Command, project: Callable[[str], Path]) -> None:
    """Init leaves a project as it is, unless told --force."""
    folder = project("flights")
    before = (folder / "tidegate.toml").read_text()
    ended = tidegate("init", folder / "flights.csv", "--target", "late", "--dir", folder)
    assert ended.code == 2
    assert "--force" in ended.err
    assert (folder / "tidegate.toml").read_text() == before


@pytest.mark.slow
def test_unwritable_state_folder_ends_with_3(
    tidegate: Command, project: Callable[[str], Path]
) -> None:
    """A state folder that cannot be made is the machine's failure, named."""
    folder = project("flights")
    (folder / "taken").write_text("a file, not a folder")
    ended = tidegate("run", "--project", folder, "--set", "tracking.folder=taken/state")
    assert ended.code == 3
    assert "taken" in ended.err


@pytest.mark.slow
def test_predictions_are_whole_or_absent(tidegate: Command, project: Callable[[str], Path]) -> None:
    """Predict without a champion, or into a folder that is not there, writes nothing."""
    folder = project("flights")
    output = folder / "no" / "out.csv"
    ended = tidegate("predict", folder / "flights.csv", "-o", output, "--project", folder)
    assert ended.code == 2
    assert "tidegate run" in ended.err
    assert not output.parent.exists()


def _tracker(folder: Path) -> Tracker:
    project = Project.load(folder)
    return Tracker.open(project.tracking, project.folder, experiment=project.model)


def _start(engine: Engine, folder: Path, *more: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*TIDEGATE, "run", "--project", str(folder), *more],
        env={**os.environ, "PREFECT_API_URL": engine.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def _wait_for_trial(folder: Path, process: subprocess.Popen[str]) -> None:
    """Return once the run has a trial that ended."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        if (folder / ".tidegate" / "mlflow.db").exists():
            tracker = _tracker(folder)
            if tracker._client.search_runs([tracker.experiment_id], "params.family != ''"):
                return
        time.sleep(0.5)
    raise AssertionError("no trial ended")


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_sweep_is_closed_as_killed(
    engine: Engine, project: Callable[[str], Path], sent: signal.Signals
) -> None:
    """Ctrl-C in the sweep closes the run as KILLED, registers nothing, leaves no process.

    With --json that is the document, as any other end is.
    """
    folder = project("flights")
    process = _start(engine, folder, "--json", "--set", "train.trials=5000", start_new_session=True)
    _wait_for_trial(folder, process)
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in out + err
    assert "interrupted" in err
    assert json.loads(out)["error"]["kind"] == "Interrupted"
    tracker = _tracker(folder)
    runs = tracker._client.search_runs([tracker.experiment_id])
    assert not [run for run in runs if run.info.status == "RUNNING"]
    parent = tracker.latest({"tidegate.verb": "run"})
    assert parent is not None
    assert parent.status == "KILLED"
    assert tracker.champion("flights", "champion") is None
    assert not tracker._client.search_registered_models()
    deadline = time.monotonic() + 20
    while _group_lives(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _group_lives(process.pid)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_full_disk_ends_with_3(engine: Engine, project: Callable[[str], Path]) -> None:
    """Files that may not grow end the run with 3 and a message, and nothing is promoted."""
    folder = project("flights")

    def limit() -> None:
        # The kernel refuses growth as it does on a full disk, for this process alone.
        resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, 120_000))

    process = _start(engine, folder, preexec_fn=limit)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 3, err
    assert "Traceback" not in out + err
    assert "next:" in err


@pytest.fixture
def mlflow_server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store = tmp_path / "server"
    store.mkdir()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
            *("--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{store / 'mlflow.db'}"),
            *("--artifacts-destination", str(store / "artifacts")),
        ],
        env={
            **os.environ,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            # The port is open long before anybody answers there.
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30).close()
            break
        except OSError:
            time.sleep(0.2)
    yield f"http://127.0.0.1:{port}", process
    _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


@pytest.mark.slow
def test_mlflow_server_serves_and_its_end_is_named(
    tidegate: Command,
    project: Callable[[str], Path],
    mlflow_server: tuple[str, subprocess.Popen[bytes]],
) -> None:
    """The same run works against an MLflow server; once that is stopped, 3 and its address."""
    uri, server = mlflow_server
    folder = project("flights")
    there = ("--project", folder, "--json", "--set", f"tracking.uri={uri}")
    ended = tidegate("run", *there)
    assert ended.code == 0
    assert ended.document["tracking_uri"] == uri
    _stop(server)
    away = tidegate("run", *there)
    assert away.code == 3
    assert uri in away.err


@pytest.mark.slow
def test_project_on_postgres(
    tidegate: Command,
    project: Callable[[str], Path],
    postgres: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Init writes no password; with the address in the environment the loop runs on the query."""
    engine = create_engine(postgres)
    pd.read_csv(project("flights") / "flights.csv").to_sql("departures", engine, index=False)
    engine.dispose()
    folder = tmp_path / "sql"
    query = "select * from departures"
    made = tidegate("init", postgres, "--query", query, "--target", "late", "--dir", folder)
    assert made.code == 0
    password = str(make_url(postgres).password)
    assert password not in (folder / "tidegate.toml").read_text() + made.out
    monkeypatch.setenv("TIDEGATE_DATA__SOURCE", postgres)
    few = ("--set", "train.trials=3", "--set", "train.max_epochs=3")
    ended = tidegate("run", "--project", folder, "--json", *few)
    assert ended.document["verdict"] in ("passed", "failed")
    assert "sweep" in ended.document["seconds"]
    shown = tidegate("config", "--project", folder, "--json")
    for text in (ended.out, ended.err, shown.out):
        assert password not in text
    for kept in (folder / ".tidegate" / "reports").rglob("*"):
        assert kept.is_dir() or password.encode() not in kept.read_bytes()
    assert password.encode() not in (folder / ".tidegate" / "mlflow.db").read_bytes()
