"""Make the candidate that passed its gate the champion, or let it wait for a person's answer."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.states import Running

from checks.deployment import check_champion_unchanged, check_passed_gate, check_same_terms
from checks.result import CheckResult, Report
from flows.answer import (
    FLOW_RUN,
    Answer,
    answered,
    approve_version,
    ask,
    expire,
    judged_against,
    reject_version,
    required,
    unanswered,
    wait_for_answer,
)
from flows.gate import run_to_judge
from flows.outcome import Model, Outcome
from flows.promotion import install, judge_copy, passed, sealed_metrics
from flows.session import Session
from flows.stages import conclude, stage, verb
from pipelines.approval import Question

POLL_SECONDS = 2
"""How often a paused deploy asks its server whether it was resumed."""


@stage("look up the verdict")
def judge_verdict(session: Session) -> tuple[list[CheckResult], str | None]:
    """Refuse a candidate whose gate did not pass, or was never asked.

    Returns
    -------
    list of CheckResult
    str or None
        The candidate's version; None where the gate did not come to its end.
    """
    tags = session.tracker.run(session.open_run).tags
    name, _, version = tags.get("tidegate.model_version", "").rpartition("/")
    if name != session.project.model:
        return [check_passed_gate(None)], None
    # A tag can be set by hand, and by a gate that is cut short; the ledger's line is the last.
    verdict = ask(session, version).verdict
    if verdict is None:
        return [check_passed_gate(None)], version
    checks = [check_passed_gate(verdict.details.get("verdict"))]
    if passed(checks):
        checks.append(check_same_terms(verdict.details.get("settings"), session.project.terms))
    return checks, version


def ask_and_deploy(
    session: Session, overrides: Sequence[str], version: str, *, wait: bool
) -> list[CheckResult]:
    """Promote a version that was tried, as soon as nobody needs to be asked any more."""
    deploy = session.project.deploy
    asked = unanswered(session, ask(session, version))
    if asked.state in ("rejected", "expired"):
        return [answered(asked)]
    expected = judged_against(asked)
    serves = session.tracker.aliases(session.project.model).get(deploy.alias) == version
    # What was required when it was judged stays so, and who waits has been asked for.
    free = deploy.approval == "none" and asked.state == "passed" and not required(asked)
    if free or asked.state == "approved" or serves:
        return install(session, overrides, version, expected)
    if asked.state == "passed":
        asked = wait_for_answer(session, version)
    return pause(session, overrides, asked) if wait else [answered(asked)]


def pause(session: Session, overrides: Sequence[str], asked: Question) -> list[CheckResult]:
    """Wait for the answer in Prefect; one that was given meanwhile is taken over as it is."""
    version, name, tracker = asked.version, session.project.model, session.tracker
    assert asked.deadline is not None
    tracker.set_version_tags(name, version, {FLOW_RUN: runtime.flow_run.get_id()})
    answer: Answer | None = None
    with session.phase("wait"):
        left = math.ceil((asked.deadline - datetime.now(UTC)).total_seconds())
        try:
            answer = pause_flow_run(
                wait_for_input=Answer.with_initial_data(
                    description=f"{name} version {version} passed its gate. Does it serve?"
                ),
                timeout=max(left, 1),
                poll_interval=POLL_SECONDS,
            )
        except FlowPauseTimeout:
            _go_on()
            if ask(session, version).state == "waiting":
                expire(session, version)
    if answer is not None and ask(session, version).state == "waiting":
        if answer.decision == "approve":
            return approve_version(session, overrides, version, answer.by, answer.reason)
        reject_version(session, version, answer.by, answer.reason)
    checks = [answered(ask(session, version))]
    if passed(checks):
        champion = tracker.aliases(name).get(session.project.deploy.alias)
        checks.append(check_champion_unchanged(version, version, champion))
    return checks


def _go_on() -> None:
    """Let the flow run end in a state of its own.

    The server lets nothing leave a pause whose time is up, except as a failure without the
    outcome; its own service makes it one too, now and then before we come to our end.
    """
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(runtime.flow_run.get_id()), Running(), force=True)


@verb("deploy")
def deploy(
    project: str = ".",
    overrides: Sequence[str] = (),
    session: Session | None = None,
    run_id: str | None = None,
    wait: bool = False,
) -> State[Outcome]:
    """Try a fresh copy of a candidate and make it the champion.

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
    wait : bool
        Whether to pause until a person has answered, where one must. A flow that a worker
        runs always does.
    """
    session = session or Session.open(project, overrides)
    name, settings = session.project.model, session.project.deploy
    with session.run("deploy", run_to_judge(session, run_id)), session.phase("deploy"):
        checks, version = judge_verdict(session)
        if version is not None and passed(checks):
            checks += judge_copy(session, version)
        if version is not None and passed(checks):
            wait = wait or runtime.deployment.id is not None
            checks += ask_and_deploy(session, overrides, version, wait=wait)
        report = Report("deploy", tuple(checks))
        aliases = session.tracker.aliases(name) if report.passed else {}
        alias = next(
            (a for a in (settings.alias, settings.challenger_alias) if aliases.get(a) == version),
            None,
        )
        deployed = f"{name}/{version}" if alias == settings.alias else "no"
        session.tracker.set_tags(session.open_run, {"tidegate.deployed": deployed})
        outcome = session.conclude(
            report,
            model=Model(name, version, alias),
            metrics=sealed_metrics(session, session.open_run),
        )
    return conclude(outcome)
