"""Is the candidate good enough, on rows that it has never seen?"""

import json
from collections.abc import Sequence

import pandas as pd
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State

from checks.model import judge
from checks.render import to_html, to_junit, to_markdown
from checks.result import Report
from flows.outcome import Model, Outcome
from flows.session import Session
from flows.stages import conclude, network_stage, stage, verb
from pipelines import page, pictures
from pipelines.errors import MissingError
from pipelines.evaluation import Evaluation, evaluate, majority, slices
from pipelines.features import conform, labels, roles_of
from pipelines.split import learning_rows, sealed_rows


@stage("open the sealed rows")
def open_sealed(session: Session) -> pd.DataFrame:
    """Give the sealed rows; nothing but the gate asks for them."""
    with session.phase("gate"):
        return sealed_rows(session.dataset)


@network_stage("evaluate the candidate")
def evaluate_candidate(session: Session, sealed: pd.DataFrame) -> Evaluation:
    """Score the model as it was logged: what is judged is what would ship."""
    with session.phase("gate"):
        logged = session.tracker.candidate(session.open_run)
        truth = labels(sealed[session.project.data.target])
        return evaluate(logged.model, conform(sealed, logged.roles), truth)


@network_stage("evaluate the champion")
def evaluate_champion(session: Session, sealed: pd.DataFrame) -> Evaluation | str | None:
    """Score the champion now, on the same rows.

    Returns
    -------
    Evaluation, str or None
        Why the one that the alias names cannot be scored, on which the gate refuses; None
        where there is no champion yet.
    """
    project = session.project
    with session.phase("gate"):
        champion = session.tracker.champion(project.model, project.deploy.alias)
        if champion is None:
            return None
        try:
            logged = session.tracker.load_version(champion.name, champion.version)
            truth = labels(sealed[project.data.target])
            return evaluate(logged.model, conform(sealed, logged.roles), truth)
        except Exception as err:
            # Whatever a stored model raises: the gate must refuse, and say so.
            return f"version {champion.version}: {type(err).__name__}: {err}"


@stage("judge")
def judge_candidate(
    session: Session,
    candidate: Evaluation,
    champion: Evaluation | str | None,
) -> Report:
    """Hand plain arrays to the checks."""
    with session.phase("gate"):
        data = session.project.data
        learned = labels(learning_rows(session.dataset).train[data.target])
        return judge(
            session.project.gate,
            labels=candidate.labels,
            y_true=candidate.y_true,
            predictions=candidate.predictions,
            probabilities=candidate.probabilities,
            baseline_predictions=majority(learned, len(candidate.y_true)),
            champion=champion.predictions if isinstance(champion, Evaluation) else champion,
            positive=data.positive,
        )


@network_stage("keep the gate's report")
def keep_report(
    session: Session, report: Report, candidate: Evaluation, sealed: pd.DataFrame
) -> None:
    """Keep the verdict where the reviewer, the pull request and the registry look for it."""
    run_id, tracker = session.open_run, session.tracker
    features = roles_of(sealed, session.project.data).columns
    with session.phase("gate"):
        worst = slices(sealed, candidate.y_true, candidate.predictions, columns=features)
        markdown = to_markdown(report)
        paths = session.keep(
            {
                "report.html": to_html(report),
                "report.md": markdown,
                "report.json": json.dumps(report.to_dict(), indent=2),
                "report.xml": to_junit(report),
                "confusion_matrix.png": pictures.confusion(candidate, normalised=False),
                "confusion_matrix_normalised.png": pictures.confusion(candidate, normalised=True),
                "slices.png": pictures.slices(worst, candidate.metrics["accuracy"]),
                "slices.csv": worst.to_csv(index=False),
            },
            under="gate",
        )
        session.reports["gate_html"] = paths["report.html"]
        session.reports["gate_markdown"] = paths["report.md"]
        session.reports["gate_json"] = paths["report.json"]
        session.reports["gate_junit"] = paths["report.xml"]
        tracker.log_metrics(
            run_id, {f"sealed_{name}": value for name, value in candidate.metrics.items()}
        )
        tracker.set_tags(
            run_id,
            {
                "tidegate.verdict": str(report.verdict),
                "tidegate.refused_by": ", ".join(check.id for check in report.refusals),
                "tidegate.gate_fingerprint": session.dataset.fingerprint,
            },
        )
        swept = tracker.read_file(run_id, "sweep/page.md")
        sections = [markdown]
        if swept is not None:
            sections.append(swept.decode())
        tracker.describe(run_id, page.compose(session.project.model, sections))
        create_markdown_artifact(
            markdown, key="gate", description=f"{session.project.model}: {report.verdict}"
        )


def run_to_judge(session: Session, run_id: str | None) -> str:
    """Return the run that the user named, the session's own, or the last one that trained.

    Raises
    ------
    MissingError
        There is none.
    """
    if session.run_id is not None:
        return session.run_id
    if run_id is not None:
        return session.tracker.run(run_id).run_id
    latest = session.tracker.latest({"tidegate.stage": "trained"})
    if latest is None:
        raise MissingError(
            "The gate judges a candidate.",
            found=f"no run of {session.project.model} in {session.tracker.uri} has logged one",
            next_move="make one with `tidegate train`",
        )
    return latest.run_id


@verb("gate")
def gate(
    project: str = ".",
    overrides: Sequence[str] = (),
    session: Session | None = None,
    run_id: str | None = None,
) -> State[Outcome]:
    """Judge a candidate on the sealed rows.

    Parameters
    ----------
    project : str
        The project's folder.
    overrides : sequence of str
        Settings, each ``section.key=value``.
    session : Session, optional
        Of the flow that calls this one.
    run_id : str, optional
        The run that logged the candidate; by default the last one that did.
    """
    session = session or Session.open(project, overrides)
    with session.run("gate", run_to_judge(session, run_id)):
        sealed = open_sealed(session)
        candidate = evaluate_candidate(session, sealed)
        champion = evaluate_champion(session, sealed)
        report = judge_candidate(session, candidate, champion)
        keep_report(session, report, candidate, sealed)
        outcome = session.conclude(
            report, model=Model(session.project.model), metrics=candidate.metrics
        )
    return conclude(outcome)
