"""Let a version serve again that served before."""

from collections.abc import Sequence

from prefect.client.schemas.objects import State

from checks.result import Report
from flows.outcome import Model, Outcome
from flows.promotion import install, judge_copy, passed, sealed_metrics
from flows.session import Session
from flows.stages import conclude, network_stage, verb
from pipelines.errors import InputError, MissingError
from pipelines.promotion import predecessor, served, settle


@network_stage("choose the version")
def choose(session: Session, to: str | None) -> tuple[str, str | None]:
    """Give the version to go back to, and the champion that it replaces, if there is one.

    Raises
    ------
    MissingError
        Nothing serves, nothing served before, or there is no such version.
    InputError
        The version serves already, or never did.
    """
    project, tracker = session.project, session.tracker
    name, alias = project.model, project.deploy.alias
    ledger = tracker.ledger(name)
    settle(tracker, ledger)
    champion = tracker.aliases(name).get(alias)
    entries = ledger.entries()
    known = served(entries, alias)
    if champion is None and (not known or known[-1] is None):
        raise MissingError(
            "A champion is rolled back.",
            found=f"{name} has no {alias} in {tracker.uri}",
            next_move="make one with `tidegate run`",
        )
    if to is None:
        # An alias that was moved by hand goes back to where the ledger says that it was.
        strays = bool(known) and known[-1] != champion
        to = known[-1] if strays else predecessor(entries, alias)
        if to is None:
            raise MissingError(
                "A rollback goes to the version that served before.",
                found=f"version {champion} of {name} is the first that served",
                next_move="see `tidegate history`",
            )
    version = tracker.version(name, to).version
    if version == champion:
        raise InputError(
            "A rollback goes to another version.",
            found=f"version {version} is the {alias} already",
            next_move="see `tidegate history` for those that served before",
        )
    if version not in known:
        raise InputError(
            "A rollback goes to a version that has served.",
            found=f"version {version} of {name} never did",
            next_move="see `tidegate history`; a new version comes by `tidegate deploy`",
        )
    return version, champion


@verb("rollback")
def rollback(
    project: str = ".",
    overrides: Sequence[str] = (),
    session: Session | None = None,
    to: str | None = None,
    reason: str = "",
) -> State[Outcome]:
    """Try a fresh copy of a version that served before, and make it the champion again.

    Parameters
    ----------
    project : str
        The project's folder.
    overrides : sequence of str
        Settings, each ``section.key=value``.
    session : Session, optional
        Of the command line.
    to : str, optional
        The version; by default the one that served before.
    reason : str
        Why, for the ledger.
    """
    session = session or Session.open(project, overrides)
    name, alias = session.project.model, session.project.deploy.alias
    version, champion = choose(session, to)
    run_id = session.tracker.version(name, version).run_id
    with session.run("rollback", run_id), session.phase("rollback"):
        checks = judge_copy(session, version)
        if passed(checks):
            checks += install(
                session, overrides, version, champion, event="rolled back", reason=reason
            )
        report = Report("rollback", tuple(checks))
        outcome = session.conclude(
            report,
            model=Model(name, version, alias if report.passed else None),
            metrics=sealed_metrics(session, run_id),
        )
    return conclude(outcome)
