"""The one Prefect server that all tests share, and small projects to run."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.engine import Engine

PROJECTS = Path(__file__).parent / "projects"
SAMPLE = Path(__file__).parent.parent / "pipelines" / "samples" / "flights"


@pytest.fixture(autouse=True)
def _no_user_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own TIDEGATE_ variables must not decide a test."""
    for variable in [name for name in os.environ if name.startswith("TIDEGATE_")]:
        monkeypatch.delenv(variable)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A Prefect API that answers; PREFECT_API_URL names it, as it would for a user's server."""
    with Engine(tmp_path_factory.mktemp("prefect")) as started:
        started.wait()
        yield started


@pytest.fixture
def project(tmp_path: Path) -> Callable[[str], Path]:
    """Copy a tiny project of tests/projects to a folder of its own."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(PROJECTS / name, tmp_path / name))

    return copy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test that does not say its claim."""
    silent = {
        item.nodeid.partition("[")[0]
        for item in items
        if isinstance(item, pytest.Function) and not item.function.__doc__
    }
    if silent:
        raise pytest.UsageError(f"a test's docstring is its claim; none in {sorted(silent)}")
