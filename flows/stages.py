"""How a plain function becomes a Prefect task or flow here."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from prefect import Flow, Task, flow, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)
from prefect.states import Completed, Failed

from flows.outcome import Outcome
from flows.project import Project
from pipelines.errors import ServiceError

if TYPE_CHECKING:
    from flows.session import Session

REFUSED = "Refused"
"""The name of the state of a flow whose check failed."""

P = ParamSpec("P")
R = TypeVar("R")


def stage(name: str, **options: Any) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a task that hands its value on in memory.

    Prefect's default keeps each result and hashes each argument to find it again, which for
    a table costs more than the work.
    """
    return task(name=name, cache_policy=NO_CACHE, persist_result=False, **options)


def network_stage(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a stage that talks to a server or a database, where trying again can help."""
    return stage(
        name,
        retries=2,
        retry_delay_seconds=[1, 5],
        retry_condition_fn=_may_pass,
        timeout_seconds=STAGE_SECONDS,
    )


STAGE_SECONDS = 1800
"""Longest that a stage on the network may take: a hung server must not hold the night's run."""


def _run_name() -> str:
    """Say the verb, the data and the date, for whoever reads the list of runs."""
    parameters = runtime.flow_run.get_parameters()
    data = Project.load(parameters["project"], parameters["overrides"]).data_name
    return f"{runtime.flow_run.get_flow_name()} {data} {time.strftime('%Y-%m-%d %H:%M:%S')}"


def verb(name: str) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """Make a flow that is also a verb of the command line."""
    return flow(name=name, flow_run_name=_run_name, validate_parameters=False, persist_result=False)


def conclude(outcome: Outcome) -> State[Outcome]:
    """Turn an outcome into the state that Prefect shows: a refusal is no success there."""
    if outcome.passed:
        return Completed(message=f"{outcome.verdict}", data=outcome)
    return Failed(name=REFUSED, message="; ".join(outcome.reasons)[:1000], data=outcome)


def call(
    flow: Flow[..., Any],
    session: "Session",
    overrides: Sequence[str] = (),
    **parameters: Any,
) -> Outcome:
    """Run a verb in this process and return its outcome; its errors are raised as they are.

    The API is the engine's, also where Prefect was imported before that was started. A flow
    joins its heartbeat thread when it ends, which sleeps in whole seconds: without
    heartbeats a flow ends at once. They tell a server of lost workers, so a flow that a
    worker runs keeps them.
    """
    settings: dict[Any, Any] = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    if "PREFECT_API_URL" in os.environ:
        settings[PREFECT_API_URL] = os.environ["PREFECT_API_URL"]
    with temporary_settings(settings):
        state: Any = flow(
            str(session.project.folder),
            list(overrides),
            session=session,
            return_state=True,
            **parameters,
        )
        outcome = cast("Outcome", state.result(raise_on_failure=state.name != REFUSED))
    # Told once more, since the last phase was still open when the flow concluded.
    return replace(outcome, seconds=dict(session.seconds))


def _may_pass(task: Any, run: Any, state: State[Any]) -> bool:
    """Tell a service that was away from a mistake that stays one."""
    return isinstance(state.result(raise_on_failure=False), ServiceError)
