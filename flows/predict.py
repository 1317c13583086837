"""What does the champion say of a table?"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from prefect.client.schemas.objects import State

from flows.outcome import Model, Outcome
from flows.session import Session
from flows.stages import conclude, network_stage, stage, verb
from pipelines.data import read_frame
from pipelines.errors import MissingError
from pipelines.modelfile import Candidate
from pipelines.scoring import score, write_table
from pipelines.tracking import Version


@stage("read the rows")
def read_rows(session: Session, data: str, query: str | None) -> pd.DataFrame:
    """Read the table to score; it needs no target."""
    project = session.project
    with session.phase("read"):
        return read_frame(project.data, project.folder, data, query=query)


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


@stage("score")
def score_rows(session: Session, loaded: Candidate, rows: pd.DataFrame, output: str) -> None:
    """Score the rows and write them: all, or none."""
    with session.phase("score"):
        write_table(score(loaded.model, rows, loaded.roles), Path(output))


@verb("predict")
def predict(
    project: str = ".",
    overrides: Sequence[str] = (),
    session: Session | None = None,
    data: str = "",
    output: str = "",
    query: str | None = None,
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
    """
    session = session or Session.open(project, overrides)
    rows = read_rows(session, data, query)
    champion, loaded = load_champion(session)
    score_rows(session, loaded, rows, output)
    session.reports["predictions"] = output
    outcome = session.conclude(
        None, model=Model(champion.name, champion.version, session.project.deploy.alias)
    )
    return conclude(outcome)
