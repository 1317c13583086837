"""What a person's answer does, whether it comes from the command line or through Prefect."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

from prefect.flow_runs import resume_flow_run
from prefect.input import RunInput
from pydantic import Field

from checks.deployment import check_answer, check_champion_unchanged
from checks.result import CheckResult
from flows.promotion import install, judge_copy, passed
from flows.session import Session
from flows.stages import network_stage
from pipelines.approval import Question, question
from pipelines.errors import InputError, MissingError

FLOW_RUN = "tidegate.flow_run"
"""Tag of a version: the flow run that is paused until somebody answers."""

_SHOWN = "%Y-%m-%d %H:%M UTC"


class Answer(RunInput):
    """What Prefect's page asks for when a deploy is paused."""

    decision: Literal["approve", "reject"]
    by: str = Field(pattern=r"\S", description="Who decides.")
    reason: str = Field(pattern=r"\S", description="Why.")


def signed(by: str, reason: str) -> None:
    """Refuse an answer without a name or a reason.

    Raises
    ------
    InputError
    """
    for option, said in (("--by", by), ("--reason", reason)):
        if not said.strip():
            raise InputError(
                "An answer has a name and a reason, which are kept for ever.",
                found=f"{option} is empty",
                next_move=f"give it: {option} TEXT",
            )


@network_stage("read the question")
def ask(session: Session, version: str) -> Question:
    """Read from the ledger whether the version waits, and what was answered."""
    return question(session.tracker.ledger(session.project.model).entries(), version)


@network_stage("wait for an answer")
def wait_for_answer(session: Session, version: str) -> Question:
    """Let the version wait as the challenger, until the deadline."""
    project, tracker = session.project, session.tracker
    deadline = datetime.now(UTC) + timedelta(hours=project.deploy.approval_hours)
    tracker.point(project.model, project.deploy.challenger_alias, version)
    tracker.ledger(project.model).append(
        "waiting", version=version, details={"deadline": deadline.isoformat(timespec="seconds")}
    )
    return question(tracker.ledger(project.model).entries(), version)


@network_stage("record the answer")
def record(session: Session, event: str, version: str, by: str | None, reason: str) -> None:
    """Write the answer down; an override also where everybody looks."""
    project, tracker = session.project, session.tracker
    tracker.ledger(project.model).append(event, version=version, who=by, reason=reason)
    if event == "override":
        tags = {"tidegate.override": reason, "tidegate.override_by": by}
        tracker.set_version_tags(project.model, version, tags)
        tracker.set_tags(tracker.version(project.model, version).run_id, tags)
    challenger = project.deploy.challenger_alias
    if tracker.aliases(project.model).get(challenger) == version:
        tracker.point(project.model, challenger, None)


def approve_version(
    session: Session, overrides: Sequence[str], version: str, by: str, reason: str
) -> list[CheckResult]:
    """Promote a version that waits, or one that the gate refused.

    Raises
    ------
    InputError
        It serves already, or there is nothing to answer.
    """
    project = session.project
    asked = unanswered(session, ask(session, version))
    champion = session.tracker.aliases(project.model).get(project.deploy.alias)
    if champion == version:
        raise InputError(
            "A version is approved before it serves.",
            found=f"version {version} of {project.model} is the {project.deploy.alias} already",
            next_move="nothing is left to do; see `tidegate history`",
        )
    if asked.state in ("rejected", "expired"):
        return [answered(asked)]
    if asked.state in ("not judged", "passed"):
        raise _nothing_to_answer(session, asked)
    expected = judged_against(asked)
    checks = [check_champion_unchanged(version, expected, champion)]
    if passed(checks):
        checks += judge_copy(session, version)
    if passed(checks):
        record(session, "override" if asked.refused else "approved", version, by, reason)
        checks.append(answered(ask(session, version)))
        checks += install(session, overrides, version, expected, who=by, reason=reason)
    return checks


def reject_version(session: Session, version: str, by: str, reason: str) -> CheckResult | None:
    """Refuse a version that waits.

    Returns
    -------
    CheckResult or None
        Why it cannot be: it is rejected or expired already.

    Raises
    ------
    InputError
        It does not wait.
    """
    asked = unanswered(session, ask(session, version))
    if asked.state in ("rejected", "expired"):
        return answered(asked)
    if asked.state != "waiting":
        raise _nothing_to_answer(session, asked)
    record(session, "rejected", version, by, reason)
    return None


def expire(session: Session, version: str) -> Question:
    """Write down that nobody answered, which is a refusal."""
    record(session, "expired", version, None, "nobody answered by the deadline")
    return ask(session, version)


def unanswered(session: Session, asked: Question) -> Question:
    """Return the question, expired where its deadline has passed."""
    return expire(session, asked.version) if asked.late(datetime.now(UTC)) else asked


def answered(asked: Question) -> CheckResult:
    """Judge what became of a question."""
    answer, deadline = asked.answer, asked.deadline
    return check_answer(
        asked.version,
        asked.state,
        who=answer.who if answer else "",
        why=answer.reason if answer else "",
        deadline=deadline.strftime(_SHOWN) if deadline else "",
    )


def judged_against(asked: Question) -> str | None:
    """Return the champion that a version was judged against; None where there was none.

    Raises
    ------
    MissingError
        It was not judged.
    """
    if asked.verdict is None:
        raise MissingError(
            "A version is judged before it is promoted.",
            found=f"the gate has not judged version {asked.version}",
            next_move="judge it with `tidegate gate --run ID`",
        )
    against: str | None = asked.verdict.details["champion"]
    return against


def required(asked: Question) -> bool:
    """Whether a person had to approve the version by the settings of its verdict."""
    return asked.verdict is not None and asked.verdict.details.get("approval") == "required"


def wake(session: Session, version: str, answer: Answer) -> None:
    """Resume the flow run that is paused for this answer, if there is one."""
    paused = session.tracker.version(session.project.model, version).tags.get(FLOW_RUN)
    if paused is None:
        return
    try:
        resume_flow_run(UUID(paused), run_input=answer.model_dump())
    except Exception:
        # Whatever the API says: the run has ended, its server is another, or it is away. The
        # answer stands in the ledger, where a run that still waits looks at its deadline.
        return


def _nothing_to_answer(session: Session, asked: Question) -> InputError:
    run = session.tracker.version(session.project.model, asked.version).run_id
    found, next_move = {
        "not judged": ("the gate has not judged it", f"judge it with `tidegate gate --run {run}`"),
        "passed": ("it passed and was not deployed", f"`tidegate deploy --run {run}`"),
        "refused": ("the gate refused it, so nobody is asked", "nothing is left to do"),
        "approved": ("it is approved", f"see `tidegate history`, or `tidegate deploy --run {run}`"),
    }[asked.state]
    return InputError(
        "An answer is given to a version that waits for one.",
        found=f"version {asked.version} of {session.project.model}: {found}",
        next_move=next_move,
    )
