"""Where people look: MLflow's pages and Prefect's, on loopback."""

import os
import signal
import socket
import subprocess
import time

import click

from flows.engine import Engine
from flows.project import Project
from pipelines.errors import InputError, ServiceError
from pipelines.tracking import Tracker

_STARTUP_SECONDS = 60.0
_POLL_SECONDS = 0.2


def ui(project: Project, *, port: int, prefect_port: int) -> None:
    """Serve both until Ctrl-C.

    Raises
    ------
    InputError
        A port is taken.
    ServiceError
        A server ended by itself.
    """
    for wanted, flag in ((port, "--port"), (prefect_port, "--prefect-port")):
        _refuse_taken(wanted, flag)
    tracker = Tracker.open(project.tracking, project.folder, experiment=project.model)
    with Engine(project.state / "prefect", ui=True, port=prefect_port) as engine:
        log = project.state / "mlflow-ui.log"
        pages = tracker.start_pages(host="127.0.0.1", port=port, folder=project.state)
        try:
            _wait_for(port, pages, str(log))
            engine.wait()
            click.echo(f"MLflow   http://127.0.0.1:{port}/#/experiments/{tracker.experiment_id}")
            click.echo(f"Prefect  {engine.url.removesuffix('/api')}")
            click.echo("Ctrl-C ends both.")
            pages.wait()
        except KeyboardInterrupt:
            return
        finally:
            # MLflow's server leaves its workers behind when it alone is told to end.
            os.killpg(pages.pid, signal.SIGTERM)
            pages.wait()
    raise ServiceError(
        "MLflow's pages stay up until Ctrl-C.",
        found=f"its server ended with code {pages.returncode}",
        next_move=f"see {log}",
    )


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
