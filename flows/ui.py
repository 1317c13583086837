"""Where people look: MLflow's pages, Prefect's and those of monitoring, on loopback."""

import os
import signal
import socket
import subprocess
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click

from flows.engine import Engine
from flows.project import Project
from flows.session import PAGE
from pipelines.errors import InputError, ServiceError
from pipelines.tracking import Tracker

_STARTUP_SECONDS = 60.0
_POLL_SECONDS = 0.2


def ui(project: Project, *, port: int, prefect_port: int, monitoring_port: int) -> None:
    """Serve all of them until Ctrl-C.

    Raises
    ------
    InputError
        A port is taken.
    ServiceError
        A server ended by itself.
    """
    for wanted, flag in (
        (port, "--port"),
        (prefect_port, "--prefect-port"),
        (monitoring_port, "--monitoring-port"),
    ):
        _refuse_taken(wanted, flag)
    tracker = Tracker.open(project.tracking, project.folder, experiment=project.model)
    with Engine(project.state / "prefect", ui=True, port=prefect_port) as engine:
        log = project.state / "mlflow-ui.log"
        watched = _show(project.state / PAGE, monitoring_port)
        pages = tracker.start_pages(host="127.0.0.1", port=port, folder=project.state)
        try:
            _wait_for(port, pages, str(log))
            engine.wait()
            click.echo(f"MLflow      http://127.0.0.1:{port}/#/experiments/{tracker.experiment_id}")
            click.echo(f"Prefect     {engine.url.removesuffix('/api')}")
            click.echo(f"Monitoring  http://127.0.0.1:{monitoring_port}/")
            click.echo("Ctrl-C ends all of them.")
            pages.wait()
        except KeyboardInterrupt:
            return
        finally:
            watched.shutdown()
            # MLflow's server leaves its workers behind when it alone is told to end.
            os.killpg(pages.pid, signal.SIGTERM)
            pages.wait()
    raise ServiceError(
        "MLflow's pages stay up until Ctrl-C.",
        found=f"its server ended with code {pages.returncode}",
        next_move=f"see {log}",
    )


def _show(page: Path, port: int) -> ThreadingHTTPServer:
    """Serve the page of the windows, as it is when it is asked for."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                body, kind = page.read_bytes(), "text/html; charset=utf-8"
            except OSError:
                body = b"No window was judged yet: see `tidegate monitor`.\n"
                kind = "text/plain; charset=utf-8"
            self.send_response(HTTPStatus.OK)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: the terminal has the addresses."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _refuse_taken(port: int, flag: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as err:
            raise InputError(
                "Each page needs a port of its own.",
                found=f"port {port} is in use",
                next_move=f"name another with {flag}",
            ) from err


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: str) -> None:
    deadline = time.monotonic() + _STARTUP_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError as err:
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServiceError(
                    "MLflow's pages come up.", found=str(err), next_move=f"see {log}"
                ) from err
            time.sleep(_POLL_SECONDS)
        else:
            return
