"""What is handed out: the wheel, and the locks that an environment is made from."""

import email
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parent.parent
PACKAGES = {"flows", "pipelines", "checks"}
LOCKS = [ROOT / "requirements.lock", ROOT / ".ci" / "workflow-lint" / "requirements.lock"]

# Written so that this file does not match itself.
ADDRESS = re.compile(
    r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|conda\.anaconda\.org"
    r"|(?:index-url|find-links|registry)['\"]?\s*[=: ]\s*['\"]?(?:https?|file):"
)


@pytest.fixture(scope="module")
def settings() -> dict[str, dict]:
    """Give pyproject.toml as a table."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """Build the wheel from a copy of the checkout in which the sample has been run."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, source)
    for name in (*PACKAGES, "tests"):
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", ".tidegate")
        )
    results = source / "pipelines" / "samples" / "flights" / ".tidegate"
    results.mkdir()
    (results / "mlflow.db").write_bytes(b"somebody's runs")

    # The backend is the locked one; a build that wanted to fetch anything fails.
    offline = {"PIP_NO_INDEX": "1", "PATH": "", "HOME": str(source)}
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", "out", "."]
    done = subprocess.run(command, cwd=source, env=offline, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (source / "out").iterdir()
    with zipfile.ZipFile(built) as archive:
        yield archive


def _metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


def _locked(lock: Path) -> dict[str, list[tuple[Requirement, int]]]:
    """Return each locked name's pins, one a marker, with the number of their hashes."""
    text = re.sub(r"#.*", "", lock.read_text(encoding="utf-8")).replace("\\\n", " ")
    pins: dict[str, list[tuple[Requirement, int]]] = {}
    for line in filter(str.strip, text.splitlines()):
        pin, *hashes = line.split(" --hash=sha256:")
        requirement = Requirement(pin)
        pins.setdefault(canonicalize_name(requirement.name), []).append((requirement, len(hashes)))
    return pins


def _asked(settings: dict[str, dict]) -> list[Requirement]:
    project = settings["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    asked = [Requirement(line) for lines in lists for line in lines]
    # One extra may ask for another by the project's own name.
    return [requirement for requirement in asked if requirement.name != project["name"]]


def _tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_wheel_holds_the_three_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """The wheel's top level is flows, pipelines, checks and its own metadata."""
    tops = {name.split("/")[0] for name in wheel.namelist()}

    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def test_wheel_holds_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    """Every tracked file of the packages ships, the sample's tables and typing marks included."""
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in _tracked()
        if path.relative_to(ROOT).parts[0] in PACKAGES
    }

    assert expected <= set(wheel.namelist())
    assert {f"{package}/py.typed" for package in PACKAGES} <= expected
    assert "pipelines/samples/flights/flights.parquet" in expected


def test_wheel_holds_no_results(wheel: zipfile.ZipFile) -> None:
    """A sample that has been run in the checkout does not leak its runs into the wheel."""
    names = wheel.namelist()

    assert not [name for name in names if ".tidegate" in name or "__pycache__" in name]


def test_sample_is_small() -> None:
    """The sample's tables take at most 1 MB together."""
    sample = ROOT / "pipelines" / "samples" / "flights"

    assert sum(path.stat().st_size for path in sample.rglob("*.parquet")) <= 1_000_000


def test_metadata_says_what_pyproject_says(
    wheel: zipfile.ZipFile, settings: dict[str, dict]
) -> None:
    """Name, version, licence, Python range and requirements reach the installed metadata."""
    project = settings["project"]
    metadata = _metadata(wheel)

    assert metadata["Name"] == "tidegate"
    assert metadata["Version"] == project["version"]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata["Requires-Python"].split(",")) == set(project["requires-python"].split(","))
    required = {Requirement(line) for line in metadata.get_all("Requires-Dist", [])}
    assert {Requirement(line) for line in project["dependencies"]} <= required


def test_console_script_is_tidegate(wheel: zipfile.ZipFile) -> None:
    """The one command that is installed is tidegate, and it starts at flows.cli."""
    (name,) = (n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    lines = wheel.read(name).decode().split("\n")

    assert [line for line in lines if "=" in line] == ["tidegate = flows.cli:main"]


def test_upper_bounds_have_reasons() -> None:
    """Each requirement with an upper bound says beside it what is behind that bound."""
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    bounded = [line for line in lines if re.match(r'\s+"[\w\[\]-]+>=[\d.]+,<', line)]

    assert len(bounded) >= 5
    assert [line for line in bounded if not re.search(r'",\s+# \w+', line)] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.parent.name)
def test_lock_pins_with_hashes(lock: Path) -> None:
    """Every requirement of a lock is one exact version with at least one hash."""
    pins = _locked(lock)

    assert pins
    for name, choices in pins.items():
        for requirement, hashes in choices:
            assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), name
            assert requirement.url is None, name
            assert hashes > 0, name


def test_lock_satisfies_pyproject(settings: dict[str, dict]) -> None:
    """Whatever pyproject asks for, the extra dev included, is in the lock, within its bounds."""
    pins = _locked(ROOT / "requirements.lock")
    for asked in _asked(settings):
        choices = pins.get(canonicalize_name(asked.name))
        assert choices, f"{asked} is not in the lock: run make lock"
        for requirement, _ in choices:
            (pin,) = requirement.specifier
            assert asked.specifier.contains(pin.version), f"{asked}, but {requirement} is locked"


def test_no_file_holds_an_index_address() -> None:
    """A package index is the reader's own choice: no tracked file names one."""
    found = []
    for path in _tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in ADDRESS.finditer(text)]

    assert found == []


def test_no_file_holds_this_checkouts_path() -> None:
    """Nothing that is tracked knows where it was written."""
    here = str(ROOT).encode()

    assert [path for path in _tracked() if here in path.read_bytes()] == []
