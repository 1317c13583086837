"""The project file: found, resolved and refused."""

import json
from pathlib import Path

import pytest

from flows.project import Project, find, schema
from pipelines.errors import ProjectError

GOOD = """\
[data]
source = "t.csv"
target = "y"

[train]
trials = 7

[gate.confusion]
"a -> b" = 0.3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tidegate.toml").write_text(GOOD)
    return tmp_path


def test_nearest_folder_upwards_is_the_project(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command below the project's folder finds it."""
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert Project.load().folder == folder


def test_variable_names_the_project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TIDEGATE_PROJECT names the folder, and --project goes before it."""
    monkeypatch.setenv("TIDEGATE_PROJECT", str(folder))
    assert Project.load().folder == folder
    with pytest.raises(ProjectError, match="no such folder"):
        Project.load(folder / "other")


def test_no_project_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a project the next move is init."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProjectError, match="tidegate init"):
        find()


def test_flag_over_environment_over_file_over_default(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting comes from the first place that gives it, and says which."""

    def trials(*overrides: str) -> tuple[object, str]:
        project = Project.load(folder, overrides)
        setting = next(s for s in project.settings() if s.key == "train.trials")
        assert setting.value == project.train.trials
        return setting.value, setting.origin

    assert trials() == (7, "tidegate.toml:6")
    monkeypatch.setenv("TIDEGATE_TRAIN__TRIALS", "8")
    assert trials() == (8, "environment TIDEGATE_TRAIN__TRIALS")
    assert trials("train.trials=9") == (9, "flag --set")
    origins = {s.key: s.origin for s in Project.load(folder).settings()}
    assert origins["train.seed"] == "default"
    assert origins['gate.confusion."a -> b"'] == "tidegate.toml:9"


REFUSED = {
    "unknown key": ("[train]\ntrails = 3", ["train.trails", "did you mean trials", ":6"]),
    "unknown key below": ("[data.split]\nsealt = 0.1", ["data.split.sealt", "did you mean sealed"]),
    "unknown section": ("[trian]\ntrials = 3", ["[trian]", "did you mean train"]),
    "negative limit": (
        "[gate.metrics]\naccuracy = { min = -0.5 }",
        ["gate.metrics", "-0.5", "between 0 and 1"],
    ),
    "wrong type": ('[train]\ntrials = "many"', ["train.trials", "'many'", "integer", ":6"]),
    "negative number": ("[train]\ntrials = -1", ["train.trials", "-1", "greater than"]),
    "not TOML": ("[train\ntrials = 3", ["line 5"]),
    "password": (
        "[tracking]\nuri = 'postgresql://me:secret@host/db'",
        ["TIDEGATE_TRACKING__URI", "***"],
    ),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_project_files_are_refused(folder: Path, text: str, said: list[str]) -> None:
    """Each broken setting is named with its value, its rule and its line."""
    head = '[data]\nsource = "t.csv"\ntarget = "y"\n\n'
    (folder / "tidegate.toml").write_text(head + text + "\n")
    with pytest.raises(ProjectError) as caught:
        Project.load(folder)
    for part in said:
        assert part in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert caught.value.next_move


def test_every_problem_is_reported_at_once(folder: Path) -> None:
    """Three mistakes are one error that names all three."""
    (folder / "tidegate.toml").write_text("[train]\ntrials = 0\n[serve]\nprot = 1\n")
    with pytest.raises(ProjectError) as caught:
        Project.load(folder)
    for key in ("data.source", "train.trials", "serve.prot"):
        assert key in caught.value.found


def test_other_encodings_are_refused(folder: Path) -> None:
    """A project file that is not UTF-8 says so."""
    (folder / "tidegate.toml").write_bytes('[data]\nsource = "é"\n'.encode("latin-1"))
    with pytest.raises(ProjectError, match="UTF-8"):
        Project.load(folder)


@pytest.mark.parametrize("flag", ["trials=3", "train.trials", "data.source.x=1"])
def test_bad_flags_are_refused(folder: Path, flag: str) -> None:
    """A --set that names no setting is refused, not passed over."""
    with pytest.raises(ProjectError):
        Project.load(folder, [flag])


def test_unknown_variable_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt TIDEGATE_ variable is refused like a misspelt key."""
    monkeypatch.setenv("TIDEGATE_TRAIN__TRAILS", "3")
    with pytest.raises(ProjectError, match="TIDEGATE_TRAIN__TRAILS"):
        Project.load(folder)


def test_password_from_the_environment_is_masked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password is taken from the environment and never shown."""
    monkeypatch.setenv("TIDEGATE_TRACKING__URI", "postgresql://me:secret@host/db")
    project = Project.load(folder)
    assert project.tracking.uri is not None
    assert "secret" in project.tracking.uri
    assert "secret" not in json.dumps(project.to_dict())
    assert "secret" not in repr(project.settings())


def test_schema_names_every_setting(folder: Path) -> None:
    """The JSON schema has each section and describes each of its keys."""
    found = schema()
    assert json.loads(json.dumps(found)) == found
    for name, section in found["properties"].items():
        assert section["properties"], name
        for key, described in section["properties"].items():
            assert described.get("description"), f"{name}.{key}"
