"""What does the champion say of a table?"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from prefect.client.schemas.objects import State

from flows.outcome import Model, Outcome
from flows.progress import rows_bar
from flows.session import Session
from flows.stages import conclude, network_stage, stage, verb
from pipelines.batches import Batches, open_batches
from pipelines.errors import MissingError, ServiceError
from pipelines.features import conform
from pipelines.modelfile import Candidate
from pipelines.parts import Parts
from pipelines.scoring import answer, answer_columns, beside
from pipelines.serving.log import Answer, PredictionLog, log_url
from pipelines.serving.rowmodel import as_columns
from pipelines.serving.served import NotServedError, Served
from pipelines.tracking import Version

FAST_PATH = "tidegate.fast_path"
"""The tag of a version that says whether its compiled form answers as it does."""


@stage("look through the rows")
def look_through(session: Session, data: str, query: str | None, batch: int) -> Batches:
    """Learn how many rows the table has and their types; it needs no target."""
    project = session.project
    with session.phase("read"):
        return open_batches(project.data, project.folder, data, batch, query=query)


@network_stage("load the champion")
def load_champion(session: Session) -> tuple[Version, Candidate]:
    """Load the version that the alias names.

    Raises
    ------
    MissingError
        There is none yet.
    """
    project = session.project
    with session.phase("load"):
        champion = session.tracker.champion(project.model, project.deploy.alias)
        if champion is None:
            raise MissingError(
                "A model answers once it is deployed.",
                found=f"{project.model} has no {project.deploy.alias} in {session.tracker.uri}",
                next_move="make one with `tidegate run`",
            )
        return champion, session.tracker.load_version(champion.name, champion.version)


def make_ready(session: Session, champion: Version, loaded: Candidate) -> Served:
    """Compile the champion where the gate saw that this answers the same, and try it.

    Raises
    ------
    ServiceError
        It does not answer as it did when it was logged.
    """
    project = session.project
    try:
        return Served.of(
            loaded,
            name=champion.name,
            version=champion.version,
            alias=project.deploy.alias,
            tag=champion.tags.get(FAST_PATH),
            fast=project.serve.fast,
        )
    except NotServedError as err:
        raise ServiceError(
            "A model answers as it did when it was logged.",
            found=str(err),
            next_move="train again with `tidegate run`, with today's libraries",
        ) from err


@stage("score")
def score_rows(
    session: Session, served: Served, batches: Batches, output: str, logged: bool
) -> None:
    """Score the batches that are left, and write the table: all of it, or none."""
    project = session.project
    identity = [*batches.identity, served.name, served.version]
    with session.phase("score"), ExitStack() as stack:
        parts = stack.enter_context(Parts.open(Path(output), identity))
        log = None
        if logged:
            log = PredictionLog.open(
                log_url(project.serve, project.state), redact=project.serve.redact
            )
            stack.callback(log.close)
        advance = stack.enter_context(rows_bar(batches.rows))
        scored = 0
        for batch, frame in enumerate(batches):
            if not parts.finished(batch, frame):
                score_batch(served, frame, parts, batch, log)
            advance(len(frame))
            scored = batch + 1
        parts.join(scored)


def score_batch(
    served: Served, frame: pd.DataFrame, parts: Parts, batch: int, log: PredictionLog | None
) -> None:
    """Score a batch, log it and keep it: in this order, so that what is kept is logged."""
    began, moment = time.perf_counter(), datetime.now(UTC)
    taken = answer_columns(served.classes, served.roles)
    rows = conform(frame, served.roles)
    columns = as_columns(rows, served.roles) if log or served.rows else {}
    if served.rows is None:
        predictions, probabilities = answer(served.model, rows)
    else:
        said, probabilities = served.rows.answer(columns)
        predictions = np.asarray(said, dtype=served.model.classes_.dtype)
    request_id = parts.request_id(batch)
    if log is not None and not log.holds(request_id):
        log.add(
            Answer(
                request_id,
                moment,
                served.name,
                served.version,
                columns,
                predictions.tolist(),
                probabilities,
                served.classes,
                time.perf_counter() - began,
                served.flags(columns),
            )
        )
        log.flush()
    parts.write(batch, beside(frame, taken, predictions, probabilities), frame)


@verb("predict")
def predict(
    project: str = ".",
    overrides: Sequence[str] = (),
    session: Session | None = None,
    data: str = "",
    output: str = "",
    query: str | None = None,
    batch: int = 10_000,
    logged: bool = True,
) -> State[Outcome]:
    """Score a table with the champion.

    Parameters
    ----------
    project : str
        The project's folder.
    overrides : sequence of str
        Settings, each ``section.key=value``.
    session : Session, optional
        Of the command line.
    data : str
        A file, or a database address.
    output : str
        Where to, .csv or .parquet.
    query : str, optional
        SQL, with a database address.
    batch : int
        Rows that are in memory at a time.
    logged : bool
        Whether the answers go to the prediction log.
    """
    session = session or Session.open(project, overrides)
    batches = look_through(session, data, query, batch)
    champion, loaded = load_champion(session)
    served = make_ready(session, champion, loaded)
    score_rows(session, served, batches, output, logged)
    session.reports["predictions"] = output
    return conclude(session.conclude(None, model=Model(served.name, served.version, served.alias)))
