"""The whole loop on a small project, and what it leaves behind."""

from collections.abc import Callable, Iterator
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
def test_run_makes_a_champion_and_its_evidence(
    tidegate: Command, project: Callable[[str], Path]
) -> None:
    """A run passes, names its champion, and keeps every report that a reviewer looks for."""
    folder = project("flights")
    ended = tidegate("run", "--project", folder, "--json")
    assert ended.code == 0
    document = ended.document
    assert document["verdict"] == "passed"
    assert document["reasons"] == []
    assert document["model"] == {"name": "flights", "version": "1", "alias": "champion"}
    assert document["metrics"]["accuracy"] > 0.85
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
def test_second_run_keeps_the_first_champion_as_previous(
    tidegate: Command, project: Callable[[str], Path]
) -> None:
    """The same seed and data give the same winner, which replaces its equal."""
    folder = project("flights")
    first = tidegate("run", "--project", folder, "--json").document
    second = tidegate("run", "--project", folder, "--json").document
    assert second["metrics"] == first["metrics"]
    tracker = tracker_of(folder)
    assert tracker.champion("flights", "champion").version == "2"
    assert tracker.champion("flights", "previous").version == "1"


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
    """A candidate below a limit ends the run with 1, the rule's id, and no registered version."""
    folder = project("flights")
    ended = tidegate(
        "run", "--project", folder, "--json", "--set", "gate.metrics.accuracy.min=0.999"
    )
    assert ended.code == 1
    assert ended.document["verdict"] == "failed"
    assert ended.document["reasons"][0].startswith("accuracy:")
    assert ended.document["model"]["version"] is None
    tracker = tracker_of(folder)
    assert tracker.champion("flights", "champion") is None
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
def test_smoke_check_that_fails_moves_the_alias_back(
    tidegate: Command, project: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the served copy answers otherwise after the move, the old champion is named again."""
    import flows.deploy
    from checks.model import check_answers

    folder = project("flights")
    assert tidegate("run", "--project", folder).code == 0
    answers: Iterator[bool] = iter([True, False])

    def second_fails(given: Any, expected: Any) -> Any:
        return check_answers(given if next(answers) else given[::-1] + "?", expected)

    monkeypatch.setattr(flows.deploy, "check_answers", second_fails)
    ended = tidegate("run", "--project", folder, "--json")
    assert ended.code == 1
    assert ended.document["reasons"][0].startswith("smoke:")
    tracker = tracker_of(folder)
    assert tracker.champion("flights", "champion").version == "1"
    assert tracker.champion("flights", "previous") is None


@pytest.mark.slow
def test_monitor_passes_like_traffic_and_names_a_shifted_column(
    tidegate: Command, project: Callable[[str], Path]
) -> None:
    """The reference drawn against itself is quiet; a changed unit is found by name, with 1."""
    folder = project("flights")
    assert tidegate("run", "--project", folder).code == 0
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
def test_champion_that_cannot_be_read_refuses(
    tidegate: Command, project: Callable[[str], Path]
) -> None:
    """A champion whose file is gone is an error that refuses, not an absence that lets pass."""
    folder = project("flights")
    first = tidegate("run", "--project", folder, "--json").document
    for file in (folder / ".tidegate").rglob("model.skops"):
        file.unlink()
    second = tidegate("run", "--project", folder, "--json")
    assert second.code == 1
    assert second.document["verdict"] == "error"
    assert second.document["reasons"][0].startswith("champion:")
    champion = tracker_of(folder).champion("flights", "champion")
    assert champion is not None
    assert champion.run_id == first["run_id"]


def test_the_gate_alone_opens_the_sealed_rows() -> None:
    """No other flow, and no pipeline but the one that makes them, names the sealed rows."""
    naming = {
        file.relative_to(root.parent).as_posix()
        for root in (Path(flows.__file__).parent, Path(pipelines.__file__).parent)
        for file in root.rglob("*.py")
        if "sealed_rows" in file.read_text(encoding="utf-8")
    }
    assert naming == {"flows/gate.py", "pipelines/split.py"}
