"""Which configuration is best, and what came of the others?"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version

import pandas as pd
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import TerminationSignal

from checks.data import check_schema
from checks.result import Report
from flows.outcome import Model, Outcome
from flows.progress import sweep_artifact, sweep_bar
from flows.project import FILE
from flows.session import Session
from flows.stages import conclude, network_stage, stage, verb
from flows.validate import contract_at_fault
from pipelines import page, pictures, sweep_pictures
from pipelines.contract import read_contract
from pipelines.evaluation import Evaluation, evaluate
from pipelines.explanation import explain
from pipelines.features import Roles, conform, labels, roles_of
from pipelines.learned import learned_of
from pipelines.provenance import git_commit, libraries
from pipelines.scoring import HELD_OUT, score
from pipelines.split import Split, learning_rows
from pipelines.sweep.journal import check_terms
from pipelines.sweep.search import Progress
from pipelines.sweep.sweep import SweepResult, sweep
from pipelines.sweep.trial import Trial
from pipelines.sweep_report.html import to_html
from pipelines.threshold import Aim, Tuned, named, read_aim, tune

REFERENCE_ROWS = 5_000
"""Rows kept beside the model to judge drift by: a two-sample test gains little from more."""

LEARNED_WITH = ("numpy", "scipy", "scikit-learn", "optuna")
"""Libraries of which another release may take another decision."""

EXAMPLE_ROWS = 20
"""Rows of the input example, whose predictions the smoke check expects."""


@stage("split the rows")
def split_rows(session: Session) -> Split:
    """Give the rows to learn from; the sealed ones stay sealed."""
    with session.phase("split"):
        return learning_rows(session.dataset)


@stage("check the schema")
def judge_schema(session: Session) -> Report:
    """Refuse a table whose columns are not those of the contract."""
    with contract_at_fault():
        return check_schema(read_contract(session.project.contract), session.dataset.frame)


@stage("aim the threshold")
def aim_threshold(session: Session, split: Split) -> Aim | None:
    """Refuse a threshold that the target has no use for, before a sweep is spent on it."""
    data = session.project.data
    with session.phase("split"):
        y_train = labels(split.train[data.target])
        return read_aim(session.project.train.threshold, y_train, data.positive)


def sweep_terms(session: Session) -> dict[str, object]:
    """Say what the sweep's trials depend on, beside their own settings."""
    data = session.project.to_dict()["data"]
    data.pop("source")
    return {
        "train": session.project.train.terms,
        "data": {**data, "fingerprint": session.dataset.fingerprint},
        "families": session.families.fingerprint,
        "libraries": {name: version(name) for name in LEARNED_WITH},
    }


@network_stage("log the inputs")
def log_inputs(session: Session, split: Split) -> None:
    """Log what the run starts from: data, project file, code, libraries."""
    project, dataset, tracker = session.project, session.dataset, session.tracker
    with session.phase("log"):
        for context, frame in (("training", split.train), ("validation", split.validation)):
            tracker.log_dataset(
                session.open_run,
                frame,
                name=project.data_name,
                target=project.data.target,
                fingerprint=dataset.fingerprint,
                origin=dataset.origin,
                context=context,
            )
        tracker.log_params(session.open_run, {**data_facts(session, split), **sweep_facts(session)})
        tags = {"tidegate.data_fingerprint": dataset.fingerprint}
        commit = git_commit(project.folder)
        if commit:
            tags["mlflow.source.git.commit"] = commit
        tracker.set_tags(session.open_run, tags)
        tracker.log_files(
            session.open_run,
            {
                f"project/{FILE}": project.folder / FILE,
                "project/resolved.json": json.dumps(project.to_dict(), indent=2),
                f"project/{project.contract.name}": project.contract,
                "project/libraries.json": json.dumps(libraries(), indent=2),
            },
        )


def data_facts(session: Session, split: Split) -> dict[str, object]:
    """Say which data a run learns from."""
    dataset = session.dataset
    return {
        "data": dataset.origin,
        "data_fingerprint": dataset.fingerprint,
        "rows": len(dataset.frame),
        "rows_train": len(split.train),
        "rows_validation": len(split.validation),
    }


def sweep_facts(session: Session) -> dict[str, object]:
    """Say what the sweep may spend and what it aims at."""
    settings = session.project.train
    return {"seed": settings.seed, "trials": settings.trials, "scoring": settings.scoring}


def runner_scheduler() -> str | None:
    """Return the address of the scheduler that the flow's own task runner works on, if any."""
    context = FlowRunContext.get()
    runner = None if context is None else context.task_runner
    from pipelines.sweep.cluster import scheduler_of

    return scheduler_of(runner)


@stage("sweep")
def search(session: Session, split: Split, roles: Roles) -> SweepResult:
    """Search, and hand each trial to the writer as it ends."""
    settings, data = session.project.train, session.project.data
    run_id = session.open_run
    with session.phase("sweep"), sweep_bar(settings.trials) as bar, sweep_artifact() as artifact:

        def on_trial(trial: Trial, best: Trial | None) -> None:
            # Told again where a sweep goes on; written once, by its number.
            session.tracker.log_trial(run_id, trial)

        def on_progress(progress: Progress) -> None:
            bar(progress)
            artifact(progress)

        if session.executor is None and settings.dask is None:
            settings = settings.model_copy(update={"dask": runner_scheduler()})
        return sweep(
            split.train,
            labels(split.train[data.target]),
            split.validation,
            labels(split.validation[data.target]),
            roles,
            settings,
            folder=session.sweep_folder,
            terms=sweep_terms(session),
            positive=data.positive,
            families=session.families,
            executor=session.executor,
            # The latter is what Prefect makes of SIGTERM while a flow runs.
            interrupts=(KeyboardInterrupt, TerminationSignal),
            on_trial=on_trial,
            on_progress=on_progress,
        )


@network_stage("log the trials")
def log_trials(session: Session, result: SweepResult) -> None:
    """See that the winner has a run, and let the long tail follow while the model is logged."""
    with session.phase("log"):
        session.tracker.log_trial(session.open_run, result.best, always=True)
        session.tracker.log_trials_table(session.open_run, result.trials)


@stage("tune the threshold")
def tune_threshold(
    session: Session, split: Split, roles: Roles, result: SweepResult, aim: Aim
) -> Tuned:
    """Find the winner's threshold on the rows that chose it."""
    with session.phase("sweep"):
        rows, target = split.validation, session.project.data.target
        return tune(result.model, conform(rows, roles), labels(rows[target]), aim)


def threshold_facts(tuned: Tuned) -> dict[str, object]:
    """Say which threshold the candidate answers by, and what it was found for."""
    return {
        "threshold": tuned.threshold,
        "threshold_class": named(tuned.aim.positive),
        "threshold_objective": tuned.aim.settings.objective,
    }


def winner_facts(result: SweepResult) -> dict[str, object]:
    """Say which trial won, or which trials vote."""
    best = result.best
    facts: dict[str, object] = {f"best_{name}": value for name, value in best.params.items()}
    if result.ensemble is not None:
        facts["ensemble"] = ", ".join(map(str, result.ensemble.trials))
    return {"family": best.family, "best_trial": best.number, **facts}


@network_stage("log the candidate")
def log_candidate(
    session: Session, split: Split, roles: Roles, result: SweepResult, tuned: Tuned | None
) -> Evaluation:
    """Log the model, with the sample of what it learned from beside it."""
    run_id, tracker, target = session.open_run, session.tracker, session.project.data.target
    model = result.model if tuned is None else tuned.model
    with session.phase("log"):
        evaluation = evaluate(
            model, conform(split.validation, roles), labels(split.validation[target])
        )
        example = conform(split.train, roles).head(EXAMPLE_ROWS)
        sample = split.sample(REFERENCE_ROWS, seed=session.project.train.seed)
        tracker.log_candidate(
            run_id,
            model,
            example=example,
            predictions=model.predict(example),
            reference=score(model, sample, roles).assign(
                **{
                    target: sample[target],
                    HELD_OUT: pd.Series(
                        sample.index.isin(split.validation.index), index=sample.index
                    ),
                }
            ),
            learned=learned_of(split.both, session.project.data, roles),
        )
        tracker.log_metrics(
            run_id, {f"validation_{name}": value for name, value in evaluation.metrics.items()}
        )
        facts = {**winner_facts(result), **({} if tuned is None else threshold_facts(tuned))}
        if result.stopped == "interrupted":
            # MLflow keeps the first value of a parameter, and gone on with another may win.
            tracker.set_tags(run_id, {"tidegate.so_far": json.dumps(facts)})
        else:
            tracker.log_params(run_id, facts)
        if tuned is not None:
            for when, measures in (("before", tuned.before), ("after", tuned.after)):
                tracker.log_metrics(
                    run_id, {f"threshold_{name}_{when}": value for name, value in measures.items()}
                )
        tracker.set_tags(run_id, {"tidegate.stage": "trained"})
    return evaluation


@stage("draw the sweep")
def draw(session: Session, split: Split, result: SweepResult, tuned: Tuned | None) -> None:
    """Keep the pictures of the search, and the page that says who won."""
    with session.phase("draw"):
        scoring, best = result.scoring, result.best
        told = explain(result)
        # The winner first: MLflow folds what is long.
        said = [page.sweep_section(result, told)]
        drawn: dict[str, bytes] = {}
        if tuned is not None:
            said.append(page.threshold_section(tuned))
            drawn["threshold.png"] = pictures.threshold(tuned)
        section = "\n".join([*said, page.data_section(data_facts(session, split))])
        parallel = sweep_pictures.parallel_coordinates(result.trials, best, scoring)
        paths = session.keep(
            {
                **drawn,
                "page.md": section,
                "sweep.html": to_html(result, told, session.project.model),
                "trials.json": json.dumps([asdict(trial) for trial in result.trials], indent=1),
                "sweep.png": sweep_pictures.overview(result, told),
                "importance.png": sweep_pictures.importance(result.importance),
                "slices.png": sweep_pictures.slices(told, best.number),
                "parallel_coordinates.png": parallel,
                "learning_curves.png": sweep_pictures.learning_curves(
                    result.trials, best, told.typical, scoring
                ),
                "survival.png": sweep_pictures.survival(told.survival),
                "spent.png": sweep_pictures.spent(told.spent),
            },
            under="sweep",
        )
        session.reports["sweep"] = paths["sweep.html"]
        session.tracker.describe(session.open_run, page.compose(session.project.model, [section]))


@verb("train")
def train(
    project: str = ".",
    overrides: Sequence[str] = (),
    session: Session | None = None,
    resume: bool = False,
) -> State[Outcome]:
    """Sweep, and log every trial and the candidate.

    Ctrl-C in the sweep ends it, not its work: the best model so far is logged, and the sweep
    can be gone on with.

    Parameters
    ----------
    project : str
        The project's folder.
    overrides : sequence of str
        Settings, each ``section.key=value``.
    session : Session, optional
        Of the flow that calls this one.
    resume : bool
        Go on with the last sweep that was cut short.
    """
    session = session or Session.open(project, overrides)
    with session.run("train", resume=resume):
        schema = judge_schema(session)
        if not schema.passed:
            return conclude(session.conclude(schema))
        split = split_rows(session)
        roles = roles_of(split.train, session.project.data)
        goal = aim_threshold(session, split)
        check_terms(session.sweep_folder, sweep_terms(session))
        log_inputs(session, split)
        result = search(session, split, roles)
        tuned = None if goal is None else tune_threshold(session, split, roles, result, goal)
        log_trials(session, result)
        evaluation = log_candidate(session, split, roles, result, tuned)
        draw(session, split, result, tuned)
        if result.stopped == "interrupted":
            raise KeyboardInterrupt
        # All that came of it is with the run now.
        shutil.rmtree(session.sweep_folder)
        outcome = session.conclude(
            None,
            model=Model(session.project.model),
            metrics=evaluation.metrics,
        )
    return conclude(outcome)
