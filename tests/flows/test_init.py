import json
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from checks.data import check_contract
from flows.cli import cli
from flows.init import init
from flows.project import Project
from pipelines.contract import read_contract
from pipelines.data import Dataset, DataSettings, read
from pipelines.errors import DataError, ProjectError, ServiceError

ROWS = 400
FILES = ("contract.json", "tidegate.toml")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A CSV with dates as text and gaps, as users have."""
    random = np.random.default_rng(0)
    weight = random.gamma(2.0, 3.0, ROWS).round(2)
    late = random.random(ROWS) < 1 / (1 + np.exp(4 - 0.7 * weight))
    frame = pd.DataFrame(
        {
            "sent": pd.date_range("2024-01-01", periods=ROWS, freq="12h").strftime(
                "%Y-%m-%d %H:%M"
            ),
            "weight": np.where(random.random(ROWS) < 0.1, np.nan, weight),
            "carrier": random.choice(["north", "south"], ROWS),
            "late": np.where(late, "yes", "no"),
        }
    )
    path = tmp_path / "data" / "parcels.csv"
    path.parent.mkdir()
    frame.to_csv(path, index=False)
    return path


def held(folder: Path) -> list[str]:
    """List a folder, hidden files too."""
    return sorted(each.name for each in folder.iterdir())


@pytest.mark.parametrize("time", ["sent", None])
def test_what_is_written_loads_and_passes(table: Path, tmp_path: Path, time: str | None) -> None:
    """The project loads with every section, and the table keeps the contract proposed from it."""
    folder = tmp_path / "parcels"
    init(str(table), "late", time=time, folder=folder)
    project = Project.load(folder)
    assert held(folder) == sorted(FILES)
    assert project.data.source == "../data/parcels.csv"
    assert project.model == "parcels"
    assert project.gate.metrics
    frame = read(project.data, project.folder).frame
    report, _ = check_contract(read_contract(project.contract), frame)
    assert report.passed, report.reasons


def test_a_project_is_never_overwritten(table: Path, tmp_path: Path) -> None:
    """A project stays as it is without force, and is replaced with it."""
    (tmp_path / "contract.json").write_text("mine")
    with pytest.raises(ProjectError, match="--force"):
        init(str(table), "late", folder=tmp_path)
    assert held(tmp_path) == ["contract.json", "data"]
    assert (tmp_path / "contract.json").read_text() == "mine"
    init(str(table), "late", folder=tmp_path, force=True)
    assert held(tmp_path) == ["contract.json", "data", "tidegate.toml"]
    assert json.loads((tmp_path / "contract.json").read_text())["name"] == tmp_path.name


def test_both_files_or_none(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills at the second file leaves an earlier project as it was, and no scraps."""
    for name in FILES:
        (tmp_path / name).write_text("before")
    replace, calls = Path.replace, []

    def fill_up(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fill_up)
    with pytest.raises(ServiceError, match="No space left"):
        init(str(table), "late", folder=tmp_path, force=True)
    assert held(tmp_path) == sorted([*FILES, "data"])
    assert [(tmp_path / name).read_text() for name in FILES] == ["before", "before"]


def test_a_folder_that_cannot_be_made(table: Path) -> None:
    """A folder that cannot be made is the machine's failure, with its name."""
    with pytest.raises(ServiceError, match="parcels"):
        init(str(table), "late", folder=table / "inside")


def test_a_bad_table_writes_nothing(table: Path, tmp_path: Path) -> None:
    """A table that cannot be learned from leaves no folder behind."""
    with pytest.raises(DataError, match="did you mean 'late'"):
        init(str(table), "lat", folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("data", "target", "query", "said"),
    [
        ("sqlite:///parcels.db", "late", None, "needs data.query"),
        ("parcels.csv", "late", "SELECT 1", "not with a file"),
        ("parcels.csv", "sent", None, "the target is neither"),
    ],
)
def test_arguments_that_do_not_fit(
    tmp_path: Path, data: str, target: str, query: str | None, said: str
) -> None:
    """Arguments that contradict each other are refused with the rule that they break."""
    with pytest.raises(ProjectError, match=said):
        init(data, target, time="sent", query=query, folder=tmp_path)


def test_a_database_gives_a_project(table: Path, tmp_path: Path) -> None:
    """A database address and its query are kept in the project, which reads the same rows."""
    with sqlite3.connect(tmp_path / "parcels.db") as connection:
        pd.read_csv(table).to_sql("parcels", connection, index=False)
    connection.close()
    folder = tmp_path / "project"
    address = f"sqlite:///{tmp_path / 'parcels.db'}"
    init(address, "late", query="SELECT * FROM parcels", time="sent", folder=folder)
    project = Project.load(folder)
    assert (project.data.source, project.data.query) == (address, "SELECT * FROM parcels")
    assert len(read(project.data, folder).frame) == ROWS


def test_a_password_is_not_written(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither file holds the password of the address that was read, and the user is told."""
    given = []

    # Reading from a real server is tested with pipelines.data; here, what is then written.
    def as_if_from_server(settings: DataSettings, folder: Path) -> Dataset:
        given.append(settings.source)
        return read(DataSettings(source=table.name, target="late"), table.parent)

    monkeypatch.setattr("flows.init.read", as_if_from_server)
    address = "postgresql+psycopg://me:tr0ub4dor@db.example/shop"
    folder = tmp_path / "project"
    proposal = init(address, "late", query="SELECT * FROM parcels", folder=folder)
    assert given == [address]
    assert all("tr0ub4dor" not in (folder / name).read_text() for name in FILES)
    assert "TIDEGATE_DATA__SOURCE" in proposal.warnings[0]
    assert Project.load(folder).data.query == "SELECT * FROM parcels"


def test_the_command_prints_guesses_and_the_next_step(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command prints what it guessed and the next command, and exits 0."""
    monkeypatch.chdir(table.parent)
    arguments = ["init", "parcels.csv", "--target", "late", "--dir", ".."]
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert (done.exception, done.return_value) == (None, 0), done.output
    assert "tidegate run" in done.output
    assert "classes" in done.output
    assert Project.load(tmp_path).data.source == "data/parcels.csv"
