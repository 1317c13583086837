"""Answer with the champion, over HTTP, until told to stop."""

import json
import logging
import multiprocessing
import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

import click
import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from flows.project import Project
from pipelines.errors import InputError, MissingError
from pipelines.serving.app import create_app
from pipelines.serving.log import PredictionLog, archive_folder, log_url
from pipelines.serving.metrics import forget_process, share_metrics
from pipelines.serving.models import Models
from pipelines.serving.served import Served
from pipelines.serving.shadow import Shadow
from pipelines.tracking import Tracker

API_KEY = "TIDEGATE_API_KEY"
"""The variable that holds the key which requests must bear; none is asked without it."""

DRAIN_SECONDS = 30
"""How long what was begun may take once the service is told to end."""

HANGING_SECONDS = 30
"""How long one of several processes may say nothing before it is replaced.

More than uvicorn's 5: one that starts on a busy machine does not hang.
"""

_WORKER = "TIDEGATE_SERVE_WORKER"


@dataclass(frozen=True)
class TrackedModel:
    """The registry that the service looks at: see `pipelines.serving.models.Registry`."""

    project: Project
    tracker: Tracker

    def resolve(self) -> dict[str, str]:
        """Return the version that each alias names now."""
        return self.tracker.aliases(self.project.model)

    def load(self, version: str, alias: str) -> Served:
        """Load a version and ask it its example."""
        name = self.project.model
        found = self.tracker.version(name, version)
        return Served.of(
            self.tracker.load_version(name, version),
            name=name,
            version=version,
            alias=alias,
            tag=found.tags.get("tidegate.fast_path"),
            fast=self.project.serve.fast,
            git=self.tracker.run(found.run_id).tags.get("mlflow.source.git.commit"),
        )


def serve(project: Project) -> None:
    """Serve the champion, and whichever version the alias names later.

    Raises
    ------
    MissingError
        There is no champion yet.
    InputError
        The port is taken, or is not ours to use.
    """
    tracker = _open(project)
    version = tracker.aliases(project.model).get(project.deploy.alias)
    if version is None:
        raise MissingError(
            "A model is served once it is deployed.",
            found=f"{project.model} has no {project.deploy.alias} in {tracker.uri}",
            next_move="make one with `tidegate run`",
        )
    settings = project.serve
    # The log is refused here and not in a process that would be started again and again.
    PredictionLog.open(log_url(settings, project.state)).close()
    config = _config(project, tracker)
    try:
        socket = config.bind_socket()
    except SystemExit as err:
        # uvicorn prints the reason and exits with 1, which here means a failed check.
        raise InputError(
            "The service listens on an address that is free.",
            found=f"{settings.host}:{settings.port}",
            next_move="name another with --port",
        ) from err
    address = f"http://{settings.host}:{settings.port}"
    click.echo(f"{project.model} version {version} answers on {address}/invocations")
    click.echo(f"try it on {address}/docs; Ctrl-C ends it")
    if settings.workers == 1:
        uvicorn.Server(config).run(sockets=[socket])
        return
    share_metrics(project.state / "metrics" / "serve")
    overrides = [f"{key}={_toml(project, key)}" for key in project.overridden]
    os.environ[_WORKER] = json.dumps({"folder": str(project.folder), "overrides": overrides})
    Workers(config, [socket]).run()


class Workers(Multiprocess):
    """The processes that answer; one that dies is replaced."""

    def keep_subprocess_alive(self) -> None:
        """Start another process for each that has died."""
        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for pid in before - {process.pid for process in self.processes}:
            if pid is not None:
                forget_process(pid)


def worker() -> FastAPI:
    """Make the app of one of several processes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    told = json.loads(os.environ[_WORKER])
    project = Project.load(told["folder"], told["overrides"])
    return make_app(project, _open(project), warm=True)


def make_app(project: Project, tracker: Tracker, *, warm: bool = False) -> FastAPI:
    """Make the service of a project.

    Parameters
    ----------
    project : Project
    tracker : Tracker
    warm : bool
        Whether to load the version now. One of several processes does so before it takes its
        first request, which another could have answered.
    """
    settings = project.serve
    log = PredictionLog.open(
        log_url(settings, project.state),
        redact=settings.redact,
        archive=archive_folder(settings, project.state),
        archive_days=settings.archive_days,
        retention_days=settings.retention_days,
    )
    challenger = project.deploy.challenger_alias if settings.shadow else None
    models = Models(
        TrackedModel(project, tracker),
        alias=project.deploy.alias,
        challenger_alias=challenger,
        seconds=settings.reload_seconds,
    )
    if warm:
        models.look()
    gauges = project.state / "metrics" / "monitor.prom"
    return create_app(
        models,
        settings=settings,
        log=log,
        api_key=os.environ.get(API_KEY) or None,
        shadow=None if challenger is None else Shadow(models, log),
        gauges=lambda: _read(gauges),
    )


def _end_with_parent() -> None:
    """Drain once the parent is gone: nobody would end this process, and it holds the port."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _config(project: Project, tracker: Tracker) -> uvicorn.Config:
    settings = project.serve
    logging.getLogger("pipelines.serving").setLevel(logging.INFO)
    alone = settings.workers == 1
    return uvicorn.Config(
        make_app(project, tracker) if alone else "flows.serve:worker",
        factory=not alone,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_worker_healthcheck=HANGING_SECONDS,
    )


def _open(project: Project) -> Tracker:
    return Tracker.open(project.tracking, project.folder, experiment=project.model)


def _toml(project: Project, key: str) -> str:
    section, _, name = key.partition(".")
    value = getattr(project, section).model_dump(mode="json")
    for part in name.split("."):
        value = value[part]
    return json.dumps(value)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        # No monitor has run yet.
        return ""
