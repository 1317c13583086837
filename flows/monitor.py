"""Is the traffic still like what the champion learned from?"""

import json
from collections.abc import Sequence

import pandas as pd
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State

from checks.drift import check_drift, drift_pages
from checks.render import to_html, to_junit, to_markdown
from checks.result import Report
from flows.outcome import Model, Outcome
from flows.predict import load_champion
from flows.session import Session
from flows.stages import conclude, network_stage, stage, verb
from pipelines.data import read_frame
from pipelines.errors import DataError
from pipelines.features import Roles
from pipelines.modelfile import Candidate
from pipelines.scoring import PREDICTION, score
from pipelines.serving.log import log_url, read_window
from pipelines.tracking import Version


@stage("read the window")
def read_traffic(
    session: Session,
    loaded: Candidate,
    version: Version,
    data: str | None,
    query: str | None,
    since: str | None,
    until: str | None,
) -> pd.DataFrame:
    """Read rows with what this champion says of them: from a file, or from its log."""
    project = session.project
    with session.phase("read"):
        if data is None:
            return read_window(
                log_url(project.serve, project.state),
                name=version.name,
                version=version.version,
                since=since,
                until=until,
            )
        rows = read_frame(project.data, project.folder, data, query=query)
        try:
            return score(loaded.model, rows, loaded.roles)
        except DataError:
            # A column that is missing or holds words is for the checks to find and name.
            return rows


@network_stage("read the reference")
def read_reference(session: Session, version: Version) -> pd.DataFrame:
    """Read the sample that was logged beside this champion."""
    with session.phase("read"):
        return session.tracker.reference(version.name, version.version)


@stage("judge the drift")
def judge(session: Session, reference: pd.DataFrame, window: pd.DataFrame, roles: Roles) -> Report:
    """Hand the two samples to the checks, the predictions as one more column."""
    with session.phase("judge"):
        return check_drift(
            reference,
            window,
            session.project.monitor,
            numeric=roles.numeric,
            categorical=_watched(roles, window),
        )


@stage("keep the drift report")
def keep_report(
    session: Session,
    report: Report,
    reference: pd.DataFrame,
    window: pd.DataFrame,
    version: Version,
    roles: Roles,
) -> None:
    """Keep the verdict and Evidently's page in a run of their own."""
    with session.phase("draw"):
        markdown = to_markdown(report)
        pages = drift_pages(
            reference,
            window,
            report,
            numeric=roles.numeric,
            categorical=_watched(roles, window),
        )
        paths = session.keep(
            {
                "report.html": to_html(report),
                "report.md": markdown,
                "report.json": json.dumps(report.to_dict(), indent=2),
                "report.xml": to_junit(report),
                **pages,
            },
            under="drift",
        )
        session.reports["drift_html"] = paths["report.html"]
        session.reports["drift_json"] = paths["report.json"]
        if "evidently.html" in paths:
            session.reports["evidently_html"] = paths["evidently.html"]
            session.reports["evidently_json"] = paths["evidently.json"]
        session.tracker.set_tags(
            session.open_run,
            {
                "tidegate.verdict": str(report.verdict),
                "tidegate.model_version": f"{version.name}/{version.version}",
            },
        )
        session.tracker.describe(session.open_run, markdown)
        create_markdown_artifact(
            markdown, key="drift", description=f"{session.project.model}: {report.verdict}"
        )


@verb("monitor")
def monitor(
    project: str = ".",
    overrides: Sequence[str] = (),
    session: Session | None = None,
    data: str | None = None,
    query: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> State[Outcome]:
    """Compare a window of traffic with the champion's reference sample.

    Parameters
    ----------
    project : str
        The project's folder.
    overrides : sequence of str
        Settings, each ``section.key=value``.
    session : Session, optional
        Of the command line.
    data : str, optional
        A file or a database address; by default the prediction log is read.
    query : str, optional
        SQL, with a database address.
    since, until : str, optional
        The window's ends in the prediction log, ISO 8601.
    """
    session = session or Session.open(project, overrides)
    version, loaded = load_champion(session)
    with session.run("monitor"):
        window = read_traffic(session, loaded, version, data, query, since, until)
        reference = read_reference(session, version)
        report = judge(session, reference, window, loaded.roles)
        keep_report(session, report, reference, window, version, loaded.roles)
        outcome = session.conclude(
            report, model=Model(version.name, version.version, session.project.deploy.alias)
        )
    return conclude(outcome)


def _watched(roles: Roles, window: pd.DataFrame) -> tuple[str, ...]:
    return (*roles.categorical, PREDICTION) if PREDICTION in window else roles.categorical
