"""The whole loop on a small project, and what it leaves behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

import flows
import pipelines
from flows.project import Project
from pipelines.tracking import Tracker

Command = Callable[..., Any]


def tracker_of(folder: Path) -> Tracker:
    project = Project.load(folder)
    return Tracker.open(project.tracking, project.folder, experiment=project.model)


@pytest.mark.slow
def test_run_makes_a_champion_and_its_evidence(served: Any) -> None:
    """A run passes, names its champion, and keeps every report that a reviewer looks for."""
    folder, document = served.folder, served.document
    assert document["verdict"] == "passed"
    assert document["reasons"] == []
    assert document["model"] == {"name": "flights", "version": "1", "alias": "champion"}
    assert document["metrics"]["accuracy"] > 0.8
    assert {"read", "validate", "sweep", "gate", "deploy"} <= set(document["seconds"])
    for path in document["reports"].values():
        assert Path(path).is_file()
    junit = ElementTree.parse(document["reports"]["gate_junit"]).getroot()
    assert junit.get("failures") == junit.get("errors") == "0"

    tracker = tracker_of(folder)
    run = tracker.run(document["run_id"])
    assert run.status == "FINISHED"
    assert run.tags["tidegate.verdict"] == "passed"
    assert "Confusion matrix" in run.tags["mlflow.note.content"]
    client = tracker._client
    logged = client.get_run(run.run_id)
    contexts = {i.tags[0].value for i in logged.inputs.dataset_inputs}
    assert contexts == {"training", "validation"}
    for place, expected in {
        "gate": {
            "report.html",
            "report.md",
            "report.json",
            "report.xml",
            "fast_path.json",
            "confusion_matrix.png",
            "confusion_matrix_normalised.png",
            "slices.png",
        },
        "sweep": {
            "trials.json",
            "learning_curves.png",
            "importance.png",
            "parallel_coordinates.png",
        },
        "validation": {"report.json", "report.html", "data_docs.html"},
        "project": {"tidegate.toml", "resolved.json", "contract.json", "libraries.json"},
    }.items():
        kept = {Path(file.path).name for file in client.list_artifacts(run.run_id, place)}
        assert expected <= kept
    trials = client.search_runs(
        [tracker.experiment_id], f"tags.`mlflow.parentRunId` = '{run.run_id}'"
    )
    assert len(trials) == 5
    assert {trial.info.status for trial in trials} <= {"FINISHED", "KILLED", "FAILED"}
    version = tracker.champion("flights", "champion")
    assert version is not None
    assert version.tags["tidegate.verdict"] == "passed"
    assert version.run_id == run.run_id


@pytest.mark.slow
def test_second_run_keeps_the_first_champion(tidegate: Command, served: Any) -> None:
    """The same seed and data give the same winner, which does not replace its equal."""
    tracker = tracker_of(served.folder)
    looks = len([e for e in tracker.ledger("flights").entries() if e.event == "look"])
    ended = tidegate("run", "--project", served.folder, "--json")
    second = ended.document
    assert second["metrics"] == served.document["metrics"]
    assert ended.code == 1
    assert [reason[:15] for reason in second["reasons"]] == ["champion: keep:"]
    assert tracker.run(second["run_id"]).tags["tidegate.champion_verdict"] == "keep"
    assert tracker.run(second["run_id"]).tags["tidegate.look"] == str(looks + 1)
    assert tracker.aliases("flights") == {"champion": "1"}


@pytest.mark.slow
def test_verbs_one_by_one(tidegate: Command, project: Callable[[str], Path]) -> None:
    """Each verb of the loop stands alone and takes up where the one before it ended."""
    folder = project("flights")
    assert tidegate("validate", "--project", folder).code == 0
    refused = tidegate("gate", "--project", folder)
    assert refused.code == 2
    assert "tidegate train" in refused.err
    trained = tidegate("train", "--project", folder, "--json")
    assert trained.code == 0
    early = tidegate("deploy", "--project", folder, "--json")
    assert early.code == 1
    assert "not judged" in early.document["reasons"][0]
    judged = tidegate("gate", "--project", folder, "--json")
    assert judged.code == 0
    assert judged.document["run_id"] == trained.document["run_id"]
    deployed = tidegate("deploy", "--project", folder, "--json")
    assert deployed.document["model"]["alias"] == "champion"
    output = folder / "scored.csv"
    assert tidegate("predict", folder / "flights.csv", "-o", output, "--project", folder).code == 0
    scored = pd.read_csv(output)
    assert len(scored) == 1200
    assert set(scored["prediction"]) == {"late", "on_time"}
    status = tidegate("status", "--project", folder, "--json").document
    assert status["champion"]["version"] == "1"
    assert status["last_verdict"]["verdict"] == "passed"


@pytest.mark.slow
def test_gate_refuses_and_nothing_is_promoted(
    tidegate: Command, project: Callable[[str], Path]
) -> None:
    """A candidate below a limit ends the run with 1 and the rule's id, and serves nowhere."""
    folder = project("flights")
    ended = tidegate(
        "run", "--project", folder, "--json", "--set", "gate.metrics.accuracy.min=0.999"
    )
    assert ended.code == 1
    assert ended.document["verdict"] == "failed"
    assert ended.document["reasons"][0].startswith("accuracy:")
    assert ended.document["model"] == {"name": "flights", "version": "1", "alias": None}
    tracker = tracker_of(folder)
    assert tracker.champion("flights", "champion") is None
    refused = tracker.version("flights", "1")
    assert refused.tags["tidegate.verdict"] == "failed"
    assert refused.tags["tidegate.refused_by"] == "accuracy"
    assert refused.tags["tidegate.judged_against"] == "none"
    assert refused.tags["tidegate.report"].endswith("gate/report.html")
    entries = tracker.ledger("flights").entries()
    assert [entry.event for entry in entries] == ["look", "verdict"]
    assert entries[1].details["rules"]["accuracy"] == "failed"
    assert tracker.run(ended.document["run_id"]).tags["tidegate.refused_by"] == "accuracy"


@pytest.mark.slow
def test_gate_without_limits_refuses(tidegate: Command, project: Callable[[str], Path]) -> None:
    """No limit at all is a refusal, not a pass."""
    folder = project("flights")
    file = folder / "tidegate.toml"
    text = file.read_text()
    file.write_text(text[: text.index("[gate]")] + text[text.index("[deploy]") :])
    ended = tidegate("run", "--project", folder, "--json")
    assert ended.code == 1
    assert any(reason.startswith("limits:") for reason in ended.document["reasons"])


@pytest.mark.slow
def test_monitor_passes_like_traffic_and_names_a_shifted_column(
    tidegate: Command, served: Any
) -> None:
    """The reference drawn against itself is quiet; a changed unit is found by name, with 1."""
    folder = served.folder
    traffic = pd.read_csv(folder / "flights.csv")
    same = tidegate("monitor", "--data", folder / "flights.csv", "--project", folder, "--json")
    assert same.code == 0
    assert Path(same.document["reports"]["evidently_html"]).stat().st_size > 100_000
    traffic.assign(temp=(traffic["temp"] - 32) / 1.8).to_csv(folder / "celsius.csv", index=False)
    shifted = tidegate("monitor", "--data", folder / "celsius.csv", "--project", folder, "--json")
    assert shifted.code == 1
    assert any("temp" in reason for reason in shifted.document["reasons"])
    traffic.drop(columns="temp").to_csv(folder / "gone.csv", index=False)
    gone = tidegate("monitor", "--data", folder / "gone.csv", "--project", folder, "--json")
    assert gone.code == 1
    assert any("temp" in reason for reason in gone.document["reasons"])


@pytest.mark.slow
def test_champion_that_cannot_be_read_refuses(tidegate: Command, served: Any) -> None:
    """A champion whose file is gone is an error that refuses, not an absence that lets pass."""
    folder = served.folder
    tracker = tracker_of(folder)
    champion = tracker.champion("flights", "champion")
    model_id = tracker.run(champion.run_id).tags["tidegate.candidate"]
    (file,) = (folder / ".tidegate").rglob(f"{model_id}/**/model.skops")
    away = file.rename(file.with_suffix(".away"))
    try:
        ended = tidegate("run", "--project", folder, "--json")
    finally:
        away.rename(file)
    assert ended.code == 1
    assert ended.document["verdict"] == "error"
    assert [r.split(":")[0] for r in ended.document["reasons"]] == ["champion", "segments"]
    assert tracker.aliases("flights") == {"champion": champion.version}


def test_the_gate_alone_opens_the_sealed_rows() -> None:
    """No other flow, and no pipeline but the one that makes them, names the sealed rows."""
    naming = {
        file.relative_to(root.parent).as_posix()
        for root in (Path(flows.__file__).parent, Path(pipelines.__file__).parent)
        for file in root.rglob("*.py")
        if "sealed_rows" in file.read_text(encoding="utf-8")
    }
    assert naming == {"flows/gate.py", "pipelines/split.py"}
