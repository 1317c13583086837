"""The Prefect API that flows report to."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
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
    except (OSError, http.client.HTTPException):  # the latter when it ends amid an answer
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


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/1.1 2"])
def test_a_port_that_is_something_else_is_named(
    said: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever listens there and is no Prefect is told as an address to mend."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            with contextlib.suppress(OSError):  # the listener is closed
                while True:
                    with other.accept()[0] as connection:
                        connection.recv(4096)
                        connection.sendall(said)

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{other.getsockname()[1]}/api"
        monkeypatch.setenv("PREFECT_API_URL", url)
        monkeypatch.setattr("flows.engine.ANSWER_SECONDS", 0.1)
        with Engine(tmp_path) as engine, pytest.raises(ServiceError, match="PREFECT_API") as caught:
            engine.wait()
    assert url in caught.value.found


def test_an_address_without_a_scheme_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """PREFECT_API_URL that is no URL is told like a server that is away."""
    monkeypatch.setenv("PREFECT_API_URL", "prefect.example/api")
    monkeypatch.setattr("flows.engine.ANSWER_SECONDS", 0.1)
    with Engine(tmp_path) as engine, pytest.raises(ServiceError, match="PREFECT_API_URL") as caught:
        engine.wait()
    assert "prefect.example/api" in caught.value.found


def test_unwritable_home_is_a_service_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A state folder that cannot be made is an error that names it."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ServiceError) as caught, Engine(tmp_path / "file" / "prefect"):
        pass
    assert str(tmp_path / "file") in caught.value.found
