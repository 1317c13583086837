"""The Prefect API that the flows of one command report to.

Prefect's own embedded server starts when the first flow begins and keeps the caller
waiting. Here it is started first, as a process of its own, and gets ready on the other
core while the libraries are imported. With ``PREFECT_API_URL`` set nothing is started.

Nothing here imports Prefect before the environment is set: Prefect reads it once.
"""

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from pipelines.errors import ServiceError

STARTUP_SECONDS = 180.0
"""How long a first start may take: its migrations ran for half a minute on a loaded machine."""

ANSWER_SECONDS = 15.0
"""How long a server that somebody else runs may take to answer."""

_DRAIN_SECONDS = 10.0
_POLL_SECONDS = 0.05


class Engine:
    """A Prefect API for the length of a ``with`` block.

    Parameters
    ----------
    home : Path
        Where the embedded server keeps its database; shared by all runs of a project.
    ui : bool
        Whether the embedded server also shows its pages.
    port : int, optional
        The embedded server's port; a free one by default.

    Raises
    ------
    ServiceError
        From `wait`: the server did not answer.
    """

    def __init__(self, home: Path, *, ui: bool = False, port: int | None = None) -> None:
        self.home = home
        self.ui = ui
        self.port = port or _free_port()
        self.embedded = not os.environ.get("PREFECT_API_URL")
        self.url = os.environ.get("PREFECT_API_URL") or f"http://127.0.0.1:{self.port}/api"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What the embedded server printed."""
        return self.home / "server.log"

    def __enter__(self) -> Self:
        # A traceback of a user's mistake belongs in the flow run's log, not on the terminal.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        os.environ.setdefault("DO_NOT_TRACK", "true")
        if not self.embedded:
            return self
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            log = self.log.open("wb")
        except OSError as err:
            raise ServiceError(
                "Prefect keeps its database in the project's state folder.",
                found=f"{self.home}: {err.strerror}",
                next_move="make the folder writable, or set tracking.folder to one that is",
            ) from err
        os.environ["PREFECT_HOME"] = str(self.home)
        with log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from flows.engine import serve; serve({self.port})"],
                env={
                    **os.environ,
                    "PREFECT_SERVER_UI_ENABLED": str(self.ui).lower(),
                    "PREFECT_SERVER_API_HOST": "127.0.0.1",
                    "PREFECT_SERVER_API_PORT": str(self.port),
                },
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # Ctrl-C in the terminal reaches the whole group; the server must outlive
                # the flows, which still have an end to report.
                start_new_session=True,
            )
        os.environ["PREFECT_API_URL"] = self.url
        return self

    def wait(self) -> None:
        """Return once the API answers."""
        deadline = time.monotonic() + (STARTUP_SECONDS if self.embedded else ANSWER_SECONDS)
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=5.0).close()
            except (OSError, http.client.HTTPException, ValueError) as err:
                stopped = self._process is not None and self._process.poll() is not None
                if stopped or time.monotonic() > deadline:
                    raise ServiceError(
                        "The flows report to a Prefect API.",
                        found=f"{self.url} does not answer: {err}",
                        next_move=f"see {self.log}"
                        if self.embedded
                        else "start that server, or unset PREFECT_API_URL to use the embedded one",
                    ) from err
                time.sleep(_POLL_SECONDS)
            else:
                return

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if "prefect" in sys.modules:
            _drain()
        if self._process is None:
            return
        del os.environ["PREFECT_API_URL"]
        self._process.terminate()
        try:
            self._process.wait(timeout=_DRAIN_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()


def serve(port: int) -> None:
    """Run Prefect's server in this process until the parent ends, however it ends."""
    import uvicorn

    def follow_parent() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=follow_parent, daemon=True).start()
    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=port,
        log_level="error",
    )


def _drain() -> None:
    """Deliver what Prefect's background threads still hold, while the server is there."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=_DRAIN_SECONDS)
    APILogWorker.drain_all(timeout=_DRAIN_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
