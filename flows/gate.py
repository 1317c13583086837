"""Is the candidate good enough, on rows that it has never seen?"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version as installed_version
from typing import TypeVar

import numpy as np
import pandas as pd
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State

from checks.model.answers import Answers
from checks.model.evidence import Champion, Evidence, FreshCopy, Threshold
from checks.model.gate import judge
from checks.render import to_html, to_junit, to_markdown
from checks.result import Report
from flows.outcome import Model, Outcome
from flows.session import Session
from flows.stages import conclude, network_stage, stage, verb
from pipelines import fresh, page, pictures, probes, screening
from pipelines.data import DataSettings
from pipelines.errors import MissingError, ServiceError
from pipelines.evaluation import (
    Evaluation,
    aligned,
    ask,
    evaluate,
    majority,
    one_thread,
    predict,
)
from pipelines.features import Roles, conform, labels
from pipelines.learned import learned_of
from pipelines.modelfile import Candidate
from pipelines.promotion import promised, strayed
from pipelines.provenance import git_commit
from pipelines.serving.rowmodel import Agreement, compare
from pipelines.split import Split, learning_rows, sealed_fingerprint, sealed_rows
from pipelines.tracking import CHECKSUM
from pipelines.yardstick import fit_yardstick

TRAIN_ROWS = 20_000
"""Most training rows that are scored to see whether the model knows them better."""

AGAIN_ROWS = 5_000
"""Most sealed rows that are asked for twice; the fresh copy answers all of them once more."""

T = TypeVar("T")


NOTHING_COMPARED = Agreement(reason="the candidate answers nothing")


@dataclass(frozen=True, eq=False)
class Scored:
    """The candidate's side of the evidence, and what the pictures are drawn from."""

    evidence: Evidence
    evaluation: Evaluation | None
    fast_path: Agreement = NOTHING_COMPARED


@network_stage("name the champion")
def name_champion(session: Session) -> str | None:
    """Give the version to judge against: one that is promoted later was not judged against."""
    project = session.project
    return session.tracker.aliases(project.model).get(project.deploy.alias)


@network_stage("count the look")
def record_look(session: Session, fingerprint: str) -> int:
    """Write into the ledger that the sealed rows are opened, before they are.

    Returns
    -------
    int
        How often these rows have been looked at, this time included.
    """
    ledger = session.tracker.ledger(session.project.model)
    details = {"sealed": fingerprint, "run_id": session.open_run}
    ledger.append("look", details=details)
    return ledger.looks(fingerprint)


@stage("open the sealed rows")
def open_sealed(session: Session) -> pd.DataFrame:
    """Give the sealed rows; nothing but the gate asks for them."""
    with session.phase("gate"):
        return sealed_rows(session.dataset)


@network_stage("evaluate the champion")
def evaluate_champion(
    session: Session, sealed: pd.DataFrame, version: str | None
) -> Champion | str | None:
    """Score the champion now, on the same rows.

    Returns
    -------
    Champion, str or None
        Why the one that the alias names cannot be scored, on which the gate refuses; None
        where there is no champion yet.
    """
    project, tracker = session.project, session.tracker
    alias = project.deploy.alias
    lost = strayed(tracker, tracker.ledger(project.model), alias, version)
    if lost is not None:
        # Against whatever was put there, or against nothing, a worse model would pass.
        named = "no version" if version is None else f"version {version}"
        return (
            f"the {alias} is {named}, and by the ledger version {lost} serves: the alias was "
            f"moved by hand; `tidegate rollback --to {lost}` brings it back"
        )
    if version is None:
        return None
    with session.phase("gate"), one_thread():
        try:
            recorded = promised(tracker.ledger(project.model).entries(), alias, version)
            if recorded not in (None, tracker.checksum(project.model, version)):
                return f"the file of version {version} is not the one that was judged"
            kept = tracker.load_version(project.model, version)
            truth = labels(sealed[project.data.target])
            predictions = predict(kept.model, conform(sealed, kept.roles), truth)
            own = tracker.run(session.open_run).tags.get("tidegate.model_version")
            return Champion(
                version,
                predictions,
                kept.learned.marks(sealed),
                is_candidate=own == f"{project.model}/{version}",
            )
        except Exception as err:
            # Whatever a stored model raises: the gate must refuse, and say so.
            return f"version {version}: {_why(err)}"


@network_stage("evaluate the candidate")
def evaluate_candidate(
    session: Session, sealed: pd.DataFrame, champion: Champion | str | None
) -> Scored:
    """Score the model as it was logged: what is judged is what would ship."""
    data, gate = session.project.data, session.project.gate
    with session.phase("gate"), one_thread():
        truth = labels(sealed[data.target])
        split = learning_rows(session.dataset)
        baseline = majority(labels(split.train[data.target]), len(truth))
        kept = or_why(lambda: session.tracker.candidate(session.open_run))
        if isinstance(kept, str):
            return Scored(_nothing(kept, sealed, data.target, baseline, champion), None)
        roles, model = kept.roles, kept.model
        X = or_why(lambda: conform(sealed, roles))
        scored = X if isinstance(X, str) else or_why(lambda: evaluate(model, X, truth))
        if isinstance(X, str) or isinstance(scored, str):
            return Scored(_nothing(str(scored), sealed, data.target, baseline, champion), None)
        with (
            session.tracker.candidate_folder(session.open_run) as folder,
            fresh.start(folder, X) as copy,
        ):
            train = split.train.sample(min(TRAIN_ROWS, len(split.train)), random_state=0)
            y_train = labels(split.train[data.target])
            evidence = Evidence(
                answers=_answers(scored, data.positive),
                frame=X.assign(
                    **{c: sealed[c] for c in gate.slices.columns if c in set(sealed) - set(X)}
                ),
                train=or_why(lambda: _train_answers(kept, train, data.target, data.positive)),
                learned=or_why(lambda: _learned(kept, sealed, split, data)),
                majority=baseline,
                yardstick=or_why(lambda: _yardstick(split.train, y_train, roles, X)),
                champion=champion,
                again=or_why(lambda: probes.again(model, X.head(AGAIN_ROWS), scored.labels)),
                reordered=or_why(lambda: probes.reordered(model, X)),
                noisy=or_why(lambda: probes.noisy(model, X, roles, noise=gate.robustness.noise)),
                emptied=or_why(lambda: probes.emptied(model, X, missing=gate.robustness.missing)),
                shuffled={
                    column: _shuffled(kept, X, sealed, column) for column in gate.invariance.columns
                },
                alone=or_why(lambda: screening.alone(X, truth, roles.columns)),
                copied=or_why(lambda: screening.copied(sealed, split.both, roles, data.target)),
                telling=or_why(lambda: screening.telling(session.dataset.frame, roles, data)),
                rows=(sealed.index if data.id is None else sealed[data.id]).tolist(),
                threshold=_threshold(model),
                fresh=or_why(lambda: _fresh_copy(copy.result(), scored)),
            )
        # After the fresh copy, whose answers are timed.
        return Scored(evidence, scored, compare(model, kept.roles, X))


def or_why(call: Callable[[], T]) -> T | str:
    """Return what a call gives, or why it gave nothing, for the rule that needs it.

    A store that is away says nothing of the model, so that is raised.
    """
    try:
        return call()
    except ServiceError:
        raise
    except Exception as err:
        # Whatever a model raises: its rule is an error, and the gate refuses.
        return _why(err)


def _why(err: Exception) -> str:
    lines = str(err).splitlines() or [""]
    # The rule and what was found, in one line; the next move is not the model's.
    return f"{type(err).__name__}: {' '.join(lines[:2])}"


def _nothing(
    why: str,
    sealed: pd.DataFrame,
    target: str,
    baseline: np.ndarray,
    champion: Champion | str | None,
) -> Evidence:
    """Give the evidence of a candidate that answers nothing."""
    return Evidence(
        answers=why,
        frame=sealed.drop(columns=[target]),
        majority=baseline,
        champion=champion,
        train=why,
        learned=why,
        yardstick=why,
        fresh=why,
        again=why,
        reordered=why,
        noisy=why,
        emptied=why,
        alone=why,
        copied=why,
        telling=why,
    )


def _answers(scored: Evaluation, positive: object) -> Answers:
    return Answers(scored.labels, scored.y_true, scored.predictions, scored.probabilities, positive)


def _train_answers(kept: Candidate, train: pd.DataFrame, target: str, positive: object) -> Answers:
    truth = labels(train[target])
    given = predict(kept.model, conform(train, kept.roles), truth)
    return Answers(
        np.unique(np.concatenate([kept.model.classes_, truth])), truth, given, None, positive
    )


def _yardstick(
    train: pd.DataFrame, y_train: np.ndarray, roles: Roles, X: pd.DataFrame
) -> np.ndarray:
    return ask(fit_yardstick(conform(train, roles), y_train, roles).predict, X)


def _learned(kept: Candidate, sealed: pd.DataFrame, split: Split, data: DataSettings) -> np.ndarray:
    """Mark the sealed rows that the model learned from.

    Where no id tells two equal rows apart, one may have been learned from and the other be
    sealed: that is for the rule of copies.
    """
    honest = learned_of(split.both, data, kept.roles)
    marked: np.ndarray = kept.learned.marks(sealed) & ~honest.marks(sealed)
    return marked


def _shuffled(
    kept: Candidate, X: pd.DataFrame, sealed: pd.DataFrame, column: str
) -> np.ndarray | str | None:
    if column in kept.roles.columns:
        return or_why(lambda: probes.shuffled(kept.model, X, column))
    return None if column in sealed.columns else f"the table has no column {column!r}"


def _threshold(model: object) -> Threshold | None:
    # scikit-learn's wrapper has these two; no other model here has.
    value, label = getattr(model, "threshold", None), getattr(model, "pos_label", None)
    return None if value is None else Threshold(label, value)


def _fresh_copy(found: fresh.Fresh, scored: Evaluation) -> FreshCopy:
    return FreshCopy(
        found.predictions,
        aligned(found.probabilities, found.classes, np.array(scored.labels)),
        found.row_ms,
        found.batch_ms,
        found.size,
    )


@stage("judge")
def judge_candidate(session: Session, scored: Scored, look: int) -> Report:
    """Hand plain values to the checks."""
    with session.phase("gate"):
        return judge(session.project.gate, replace(scored.evidence, look=look))


@network_stage("keep the gate's report")
def keep_report(session: Session, report: Report, scored: Scored) -> None:
    """Keep the verdict where the reviewer, the pull request and the registry look for it."""
    run_id, tracker = session.open_run, session.tracker
    with session.phase("gate"):
        markdown = to_markdown(report)
        pages: dict[str, str | bytes] = {
            "report.html": to_html(report),
            "report.md": markdown,
            "report.json": json.dumps(report.to_dict(), indent=2),
            "report.xml": to_junit(report),
            "fast_path.json": json.dumps(_fast_path_page(scored.fast_path), indent=2),
        }
        if scored.evaluation is not None:
            pages |= {
                "confusion_matrix.png": pictures.confusion(scored.evaluation, normalised=False),
                "confusion_matrix_normalised.png": pictures.confusion(
                    scored.evaluation, normalised=True
                ),
            }
            slices = report.facts.get("slices", [])
            pages["slices.png"] = pictures.slices(slices, scored.evaluation.metrics["accuracy"])
            tracker.log_metrics(
                run_id,
                {f"sealed_{name}": value for name, value in scored.evaluation.metrics.items()},
            )
        paths = session.keep(pages, under="gate")
        session.reports["gate_html"] = paths["report.html"]
        session.reports["gate_markdown"] = paths["report.md"]
        session.reports["gate_json"] = paths["report.json"]
        session.reports["gate_junit"] = paths["report.xml"]
        tracker.set_tags(
            run_id,
            {
                "tidegate.verdict": str(report.verdict),
                "tidegate.refused_by": ", ".join(check.id for check in report.refusals),
                "tidegate.champion_verdict": report.facts["champion"].get("verdict", "error"),
                "tidegate.look": report.facts["look"],
                "tidegate.fast_path": str(scored.fast_path),
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


def _fast_path_page(found: Agreement) -> dict[str, object]:
    # An infinity is no JSON.
    difference = found.difference if np.isfinite(found.difference) else None
    return {**asdict(found), "difference": difference, "agrees": found.agrees}


@network_stage("register")
def register(session: Session, champion: str | None) -> str:
    """Give the candidate a version, whatever the verdict; no alias is moved.

    Parameters
    ----------
    session : Session
    champion : str or None
        What it was judged against.
    """
    run_id, tracker, name = session.open_run, session.tracker, session.project.model
    tracker.set_tags(run_id, {"tidegate.judged_against": champion or "none"})
    tags = tracker.run(run_id).tags
    kept = {key: value for key, value in tags.items() if key.startswith("tidegate.")}
    report = {"tidegate.report": f"runs:/{run_id}/gate/report.html"}
    version = tracker.register(run_id, name, {**kept, **report})
    tracker.set_tags(run_id, {"tidegate.model_version": f"{name}/{version}"})
    return version


@network_stage("record the verdict")
def record_verdict(
    session: Session,
    report: Report,
    version: str,
    champion: str | None,
    fingerprint: str,
    look: int,
) -> None:
    """Write the verdict into the ledger, with what it was reached on."""
    ledger = session.tracker.ledger(session.project.model)
    ledger.append(
        "verdict",
        version=version,
        reason="; ".join(report.reasons),
        details={
            "verdict": str(report.verdict),
            "refused_by": [check.id for check in report.refusals],
            "rules": {check.id: str(check.status) for check in report.checks},
            "run_id": session.open_run,
            "champion": champion,
            "data": session.dataset.fingerprint,
            "sealed": fingerprint,
            "look": look,
            "sha256": session.tracker.version(session.project.model, version).tags[CHECKSUM],
            "settings": session.project.terms,
            "overridden": session.project.overridden,
            "approval": session.project.deploy.approval,
            "commit": git_commit(session.project.folder),
            "tidegate": installed_version("tidegate"),
        },
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
        against = name_champion(session)
        fingerprint = sealed_fingerprint(session.dataset)
        look = record_look(session, fingerprint)
        sealed = open_sealed(session)
        champion = evaluate_champion(session, sealed, against)
        scored = evaluate_candidate(session, sealed, champion)
        report = judge_candidate(session, scored, look)
        keep_report(session, report, scored)
        version = register(session, against)
        record_verdict(session, report, version, against, fingerprint, look)
        metrics = {} if scored.evaluation is None else scored.evaluation.metrics
        outcome = session.conclude(
            report, model=Model(session.project.model, version), metrics=metrics
        )
    return conclude(outcome)
