"""The Prefect API that flows report to."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from flows.engine import Engine
from pipelines.errors import ServiceError

HOLD = """
import sys
from pathlib import Path
from flows.engine import Engine
with Engine(Path(sys.argv[1])) as engine:
    engine.wait()
    print(engine.port, flush=True)
    sys.stdin.read()
"""


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(json.load(answer))
    except OSError:
        return False


@pytest.mark.slow
def test_server_ends_with_a_killed_parent(tmp_path: Path) -> None:
    """No embedded server is left behind, even when its parent is killed with SIGKILL."""
    environment = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
    parent = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert parent.stdout is not None
    url = f"http://127.0.0.1:{parent.stdout.readline().strip()}/api"
    assert _answers(url)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 60
    while _answers(url) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _answers(url)


def test_users_server_is_named_when_it_is_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With PREFECT_API_URL set nothing is started, and a dead address is named in the error."""
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setattr("flows.engine.ANSWER_SECONDS", 0.1)
    with Engine(tmp_path / "prefect") as engine, pytest.raises(ServiceError) as caught:
        engine.wait()
    assert "http://127.0.0.1:9/api" in str(caught.value)
    assert "PREFECT_API_URL" in caught.value.next_move
    assert not (tmp_path / "prefect").exists()


def test_unwritable_home_is_a_service_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A state folder that cannot be made is an error that names it."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ServiceError) as caught, Engine(tmp_path / "file" / "prefect"):
        pass
    assert str(tmp_path / "file") in caught.value.found
