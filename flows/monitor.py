"""Is the traffic still like what the champion learned from?"""

import pandas as pd
from pipelines.serving.log import log_url, read_window

from flows.session import Session
from flows.stages import stage
from pipelines.data import read_frame
from pipelines.errors import MissingError
from pipelines.scoring import score
from pipelines.tracking import Candidate, Version


@stage("read the window")
def read_traffic(
    session: Session,
    champion: Version,
    loaded: Candidate,
    data: str | None,
    query: str | None,
    since: str | None,
    until: str | None,
) -> pd.DataFrame:
    """Read rows with what this champion says of them: from a file, or the prediction log."""
    project = session.project
    with session.phase("read"):
        if data is not None:
            rows = read_frame(project.data, project.folder, data, query=query)
            # A broken column is a finding of the checks; the champion cannot score such rows.
            readable = set(loaded.roles.columns) <= set(rows.columns)
            return score(loaded.model, rows, loaded.roles) if readable else rows
        window = read_window(
            log_url(project.serve, project.state),
            model=champion.name,
            version=champion.version,
            since=since,
            until=until,
        )
        if window.empty:
            raise MissingError(
                "A window of the prediction log holds predictions of this champion.",
                found=f"none of {champion.name} version {champion.version}",
                next_move="serve it with `tidegate serve`, or name a file with --data",
            )
        return window
