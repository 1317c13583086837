"""Who may import whom, and what an import costs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LIGHT = {"annotated_types", "click", "numpy", "pydantic", "pydantic_core", "tidegate"} | {
    "typing_extensions",
    "typing_inspection",
}
"""What a project file may cost: everything else takes seconds."""

REPORT = """
import json, sys, sysconfig
from pathlib import Path
before = set(sys.modules)
{statement}
tops = {{name.partition(".")[0] for name in set(sys.modules) - before}}
own = {{"flows", "pipelines", "checks"}}
print(json.dumps(sorted(tops - own - set(sys.stdlib_module_names))))
"""

SECTIONS = ["flows.project", "flows.cli", "flows.engine", "pipelines.errors", "checks.result"]


def _imported(statement: str) -> set[str]:
    """Return the third-party packages that a statement imports in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT.format(statement=statement)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {name for name in json.loads(done.stdout.splitlines()[-1]) if not name.startswith("_")}


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([tool, "--no-cache"], cwd=folder, capture_output=True, text=True)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy the packages and their contracts."""
    for name in ("flows", "pipelines", "checks"):
        shutil.copytree(
            ROOT / name,
            tmp_path / name,
            ignore=shutil.ignore_patterns("samples", ".tidegate", "__pycache__"),
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.checkout
def test_contracts_hold() -> None:
    """The house's contracts hold as the code stands."""
    done = _lint(ROOT)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.checkout
@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("pipelines/errors.py", "import checks.result", "Flows decide"),
        ("checks/result.py", "import pipelines.errors", "Flows decide"),
        ("pipelines/page.py", "import flows.outcome", "Flows decide"),
        ("checks/render/html.py", "from prefect import flow", "Prefect"),
        ("pipelines/evaluation.py", "import mlflow.sklearn", "MLflow"),
        ("flows/train.py", "import optuna", "Optuna"),
        ("flows/validate.py", "import great_expectations", "Great Expectations"),
        ("checks/model/gate.py", "import evidently", "Evidently"),
        ("checks/result.py", "import checks.model", "bottom"),
    ],
)
def test_a_breach_is_found(copy: Path, file: str, line: str, contract: str) -> None:
    """Each contract breaks on the import that it forbids, wherever in a file that stands."""
    with (copy / file).open("a", encoding="utf-8") as stream:
        stream.write(f"\n\ndef late() -> None:\n    {line}\n")

    done = _lint(copy)

    assert done.returncode != 0
    broken = [row for row in done.stdout.splitlines() if row.rstrip().endswith("BROKEN")]
    assert any(contract in row for row in broken), done.stdout


@pytest.mark.parametrize("module", SECTIONS)
def test_import_is_light(module: str) -> None:
    """Neither the command line nor the project file costs a heavy library's import."""
    assert _imported(f"import {module}") <= LIGHT


def test_every_section_is_light() -> None:
    """The module that declares a section of the project file costs no heavy library."""
    code = (
        "from flows.project import SECTIONS; import importlib;"
        "[importlib.import_module(s.__module__) for s in SECTIONS.values()]"
    )

    assert _imported(code) <= LIGHT


def test_help_is_light() -> None:
    """Reading --help costs no heavy library."""
    code = "from flows.cli import cli; cli.main(['--help'], standalone_mode=False)"

    assert _imported(code) <= LIGHT


def test_a_heavy_import_is_seen() -> None:
    """The measurement above sees a heavy library when there is one."""
    assert {"pandas", "dateutil"} <= _imported("import pandas")
