"""Answer with the champion, over HTTP, until told to stop."""

import click
import uvicorn

from flows.project import Project
from pipelines.errors import InputError, MissingError
from pipelines.serving.app import create_app
from pipelines.serving.log import PredictionLog, log_url
from pipelines.tracking import Tracker


def serve(project: Project) -> None:
    """Load the champion and serve it.

    Raises
    ------
    MissingError
        There is no champion yet.
    InputError
        The port is taken, or is not ours to use.
    """
    tracker = Tracker.open(project.tracking, project.folder, experiment=project.model)
    champion = tracker.champion(project.model, project.deploy.alias)
    if champion is None:
        raise MissingError(
            "A model is served once it is deployed.",
            found=f"{project.model} has no {project.deploy.alias} in {tracker.uri}",
            next_move="make one with `tidegate run`",
        )
    loaded = tracker.load_version(champion.name, champion.version)
    settings = project.serve
    app = create_app(
        loaded.model,
        loaded.roles,
        name=champion.name,
        version=champion.version,
        alias=project.deploy.alias,
        example=loaded.example,
        log=PredictionLog.open(log_url(settings, project.state)),
        maximum_rows=settings.maximum_rows,
    )
    config = uvicorn.Config(app, host=settings.host, port=settings.port, log_level="warning")
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
    click.echo(f"{champion.name} version {champion.version} answers on {address}/invocations")
    click.echo(f"try it on {address}/docs; Ctrl-C ends it")
    uvicorn.Server(config).run(sockets=[socket])
