"""Does the table keep its contract?"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from prefect.client.schemas.objects import State

from checks.data import ContractError, Validation, check_contract, data_docs
from checks.render import to_html, to_junit, to_markdown
from checks.result import Report
from flows.outcome import Outcome
from flows.session import Session
from flows.stages import conclude, network_stage, stage, verb
from pipelines.contract import read_contract
from pipelines.data import Dataset
from pipelines.errors import ProjectError


@network_stage("read the table")
def read_table(session: Session) -> Dataset:
    """Read the project's table, once for all flows of the session."""
    with session.phase("read"):
        return session.dataset


@contextmanager
def contract_at_fault() -> Iterator[None]:
    """Tell the user of a contract that nothing can be judged by.

    Raises
    ------
    ProjectError
        The contract is no suite of expectations.
    """
    try:
        yield
    except ContractError as err:
        raise ProjectError(
            "The contract is a suite of Great Expectations.",
            found=str(err),
            next_move="mend it, or write it anew with `tidegate init --force`",
        ) from err


@stage("check the contract")
def judge(contract: Mapping[str, Any], dataset: Dataset) -> tuple[Report, Validation]:
    """Judge the table by its contract."""
    with contract_at_fault():
        return check_contract(contract, dataset.frame)


@stage("keep the validation report")
def keep_report(session: Session, report: Report, validation: Validation) -> None:
    """Keep the verdict and Great Expectations' own page with the run."""
    pages: dict[str, str | bytes] = {
        "report.json": json.dumps(report.to_dict(), indent=2),
        "report.md": to_markdown(report),
        "report.html": to_html(report),
        "report.xml": to_junit(report),
        **data_docs(validation),
    }
    paths = session.keep(pages, under="validation")
    session.reports["validation"] = paths["report.html"]
    session.reports["validation_json"] = paths["report.json"]
    if "data_docs.html" in paths:
        session.reports["data_docs"] = paths["data_docs.html"]
    session.tracker.set_tags(session.open_run, {"tidegate.validation": str(report.verdict)})


@verb("validate")
def validate(
    project: str = ".", overrides: Sequence[str] = (), session: Session | None = None
) -> State[Outcome]:
    """Validate the project's table.

    Parameters
    ----------
    project : str
        The project's folder.
    overrides : sequence of str
        Settings, each ``section.key=value``.
    session : Session, optional
        Of the flow that calls this one.
    """
    session = session or Session.open(project, overrides)
    contract = read_contract(session.project.contract)
    dataset = read_table(session)
    with session.run("validate"), session.phase("validate"):
        report, validation = judge(contract, dataset)
        keep_report(session, report, validation)
        outcome = session.conclude(report)
    return conclude(outcome)
