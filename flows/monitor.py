"""Is the traffic still like what the champion learned from, and what follows if it is not?"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State

from checks.drift import check_drift, drift_pages
from checks.liveness import check_liveness
from checks.performance import (
    Labelled,
    answered_confidence,
    check_performance,
    estimate_performance,
)
from checks.render import to_html, to_junit, to_markdown
from checks.render.monitoring import monitoring_page
from checks.result import CheckResult, Report, Status
from flows.decision import decide_on, follow, record, serving_since, settle, stand, tell
from flows.outcome import Model, Outcome
from flows.predict import load_champion
from flows.session import PAGE, Session
from flows.stages import conclude, network_stage, verb
from pipelines import watch_pictures
from pipelines.data import read_frame
from pipelines.errors import DataError, MissingError, ModelError
from pipelines.features import Roles
from pipelines.gauges import write_gauges
from pipelines.modelfile import Candidate
from pipelines.scoring import HELD_OUT, PREDICTION, PROBABILITY, score
from pipelines.serving.log import archive_folder, log_url
from pipelines.serving.tables import instant_of
from pipelines.serving.window import (
    Window,
    first_time,
    labelled_rows,
    last_times,
    read_window,
    versions,
)
from pipelines.tracking import Version
from pipelines.windows import WindowRecord, Windows

LEASE_SECONDS = 3600.0
"""How long a monitor on another machine that says no word keeps the others waiting."""

CLOSED_WINDOWS = 24
"""Windows that late labels are looked for in: older ones stay as they were judged."""


@dataclass(frozen=True, eq=False)
class Watched:
    """One version's traffic and what the checks say of it.

    Parameters
    ----------
    version : str
    since, until : datetime
    window : Window
    reference : DataFrame or None
        None where the version, or the sample beside it, is gone.
    roles : Roles
    reports : mapping of str to Report
        ``drift``, ``performance``, ``estimate``, as far as they were made.
    """

    version: str
    since: datetime
    until: datetime
    window: Window
    reference: pd.DataFrame | None
    roles: Roles
    reports: Mapping[str, Report]


@network_stage("look for traffic")
def open_windows(
    session: Session, store: Windows, champion: Version, since: str | None, until: str | None
) -> list[tuple[str, datetime, datetime]]:
    """Return the window of each version that has answered since it was last judged.

    The champion has one even where nobody asked it anything: silence is judged too. A window
    with too few rows to tell stays open, and the next one begins where it did.
    """
    name, url, archive = session.project.model, _url(session), _archive(session)
    end = _instant(until) if until is not None else datetime.now(UTC)
    found = []
    with session.phase("read"):
        known = set(versions(url, name=name, since=since, until=until, archive=archive))
        for version in sorted(known | {champion.version}, key=lambda each: (len(each), each)):
            begin = (
                _instant(since)
                if since is not None
                else _closed(session, store, version)
                or first_time(url, name=name, version=version, archive=archive)
                or serving_since(session, champion)
            )
            asked = version in versions(url, name=name, since=begin, until=end, archive=archive)
            if asked or version == champion.version:
                found.append((version, min(begin, end), end))
    return found


@network_stage("judge the window")
def judge_version(
    session: Session, store: Windows, version: str, since: datetime, until: datetime
) -> Watched:
    """Compare a version's traffic with what was kept beside that version."""
    project = session.project
    with session.phase("read"):
        window = read_window(
            _url(session),
            name=project.model,
            version=version,
            since=since,
            until=until,
            archive=_archive(session),
        )
        kept, reference, faults = _kept(session, version)
        roles = kept.roles if kept is not None else _roles(window)
        earlier = [r for r in store.records(project.model, version) if r.until <= since]
    with session.phase("judge"):
        reports = {"drift": _drift(session, window, reference, roles, earlier, faults)}
        if reference is not None and HELD_OUT in reference and len(window):
            reports["estimate"] = _estimate(session, reference, window, earlier)
        if len(window):
            reports["performance"] = _performance(session, window, kept)
    return Watched(version, since, until, window, reference, roles, reports)


@network_stage("judge the closed windows anew")
def rejudge(session: Session, store: Windows) -> list[WindowRecord]:
    """Judge closed windows for which labels have come since; their old verdicts are kept."""
    project, url = session.project, _url(session)
    revised = []
    with session.phase("judge"):
        for closed in store.records(project.model, limit=CLOSED_WINDOWS):
            asked: dict[str, Any] = {
                "name": project.model,
                "version": closed.version,
                "since": closed.since,
                "until": closed.until,
                "archive": _archive(session),
            }
            labelled = labelled_rows(url, **asked) if closed.rows else 0
            if labelled <= closed.labelled:
                continue
            kept, _, _ = _kept(session, closed.version)
            report = _performance(session, read_window(url, **asked), kept)
            before = closed.reports.get("performance", {}).get("verdict")
            revised.append(
                store.revise(
                    closed.id,
                    reports={**closed.reports, "performance": report.to_dict()},
                    labelled=labelled,
                    reason=f"{labelled - closed.labelled:,} labels came later",
                )
            )
            session.tracker.ledger(project.model).append(
                "revised",
                version=closed.version,
                reason="; ".join(report.reasons),
                details={
                    "window": closed.id,
                    "labelled": [closed.labelled, labelled],
                    "performance": [before, str(report.verdict)],
                },
            )
    return revised


@network_stage("judge the silence")
def judge_silence(session: Session, champion: Version) -> Report:
    """Say whether traffic, labels and monitoring come as they are expected to."""
    request, label = last_times(
        _url(session), name=session.project.model, archive=_archive(session)
    )
    before = session.tracker.latest({"tidegate.watched": "log"})
    return check_liveness(
        datetime.now(UTC),
        since=serving_since(session, champion),
        last_request=request,
        last_label=label,
        last_monitoring=None if before is None else before.start_time,
        settings=session.project.monitor,
    )


@network_stage("keep the monitoring report")
def keep_report(session: Session, watched: Watched, reports: Sequence[Report]) -> None:
    """Keep the verdicts and Evidently's page in a run that names the version."""
    tracker, project = session.tracker, session.project
    whole = together(reports)
    with session.phase("draw"):
        markdown = to_markdown(whole)
        pages: dict[str, str | bytes] = {
            "report.html": to_html(whole),
            "report.md": markdown,
            "report.json": json.dumps(whole.to_dict(), indent=2),
            "report.xml": to_junit(whole),
        }
        answered = (PREDICTION,) if PREDICTION in watched.window.frame else ()
        if watched.reference is not None and len(watched.window):
            pages |= drift_pages(
                watched.reference,
                watched.window.frame,
                watched.reports["drift"],
                numeric=watched.roles.numeric,
                categorical=(*watched.roles.categorical, *answered),
            )
        paths = session.keep(pages, under="drift")
        for page, stem in (("report", "drift"), ("evidently", "evidently")):
            for kind in ("html", "json"):
                if f"{page}.{kind}" in paths:
                    session.reports[f"{stem}_{kind}"] = paths[f"{page}.{kind}"]
        tracker.set_tags(
            session.open_run,
            {
                "tidegate.verdict": str(whole.verdict),
                "tidegate.model_version": f"{project.model}/{watched.version}",
                "tidegate.window": f"{watched.since.isoformat()}/{watched.until.isoformat()}",
            },
        )
        tracker.log_metrics(session.open_run, _metrics(watched.reports))
        tracker.describe(session.open_run, markdown)
        create_markdown_artifact(
            markdown, key="drift", description=f"{project.model}: {whole.verdict}"
        )


@network_stage("draw what was seen over time")
def draw_history(session: Session, store: Windows) -> None:
    """Keep the page and the picture of every window, and the gauges of the last one."""
    project = session.project
    with session.phase("draw"):
        history = [
            {
                "version": each.version,
                "since": each.since.isoformat(),
                "until": each.until.isoformat(),
                "rows": each.rows,
                "labelled": each.labelled,
                "reports": each.reports,
                "decision": each.decision,
                "revisions": each.revisions,
            }
            for each in store.records(project.model)
        ]
        page = monitoring_page(project.model, history)
        session.keep({"history.png": watch_pictures.history(history)}, under="drift")
        path = session.keep_here(PAGE, page)
        session.reports["monitoring_html"] = path
        write_gauges(project.state / "metrics" / "monitor.prom", project.model, history)


@network_stage("judge the file")
def judge_file(
    session: Session, kept: Candidate, version: Version, data: str, query: str | None
) -> Watched:
    """Compare a file with what was kept beside the champion."""
    project = session.project
    with session.phase("read"):
        rows = read_frame(project.data, project.folder, data, query=query)
        reference = session.tracker.reference(project.model, version.version)
        try:
            scored = score(kept.model, rows, kept.roles)
        except DataError:
            # A column that is missing or holds words is for the checks to find and name.
            scored = rows
    now = datetime.now(UTC)
    about = pd.DataFrame({"label": None, "label_time": pd.NaT}, index=scored.index)
    if project.data.target in rows:
        about["label"] = rows[project.data.target].astype(object)
    window = Window(scored, about)
    # One file is one window: what it shows, it shows now.
    alone = replace(project, monitor=project.monitor.model_copy(update={"in_a_row": 1}))
    with session.phase("judge"):
        reports = {"drift": _drift(Session(alone), window, reference, kept.roles, (), ())}
        if PREDICTION in scored and window.labelled.any():
            reports["performance"] = _performance(session, window, kept)
    return Watched(version.version, now, now, window, reference, kept.roles, reports)


def together(reports: Sequence[Report]) -> Report:
    """Return one report of all checks: its verdict is the worst of theirs."""
    return Report(
        "monitor",
        tuple(check for report in reports for check in report.checks),
        {report.name: report.facts for report in reports},
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
    act: bool = True,
) -> State[Outcome]:
    """Judge what was answered since the last time, decide, and do what was decided.

    Parameters
    ----------
    project : str
        The project's folder.
    overrides : sequence of str
        Settings, each ``section.key=value``.
    session : Session, optional
        Of the command line.
    data : str, optional
        A file or a database address to judge instead of the prediction log. Nothing is
        decided by it, and no window is recorded.
    query : str, optional
        SQL, with a database address.
    since, until : str, optional
        The window's ends in the prediction log, ISO 8601; by default from the last window
        that was judged until now.
    act : bool
        Whether to do what was decided. The decision is recorded in any case.
    """
    session = session or Session.open(project, overrides)
    if data is not None:
        return _monitor_file(session, data, query)
    with (
        Windows.open(_url(session)) as store,
        store.lease(session.project.model, seconds=LEASE_SECONDS),
    ):
        version, _ = load_champion(session)
        settle(session, store)
        with session.run("monitor"):
            silence = judge_silence(session, version)
            session.tracker.set_tags(session.open_run, {"tidegate.watched": "log"})
            revised = rejudge(session, store)
            judged = [
                judge_version(session, store, *window)
                for window in open_windows(session, store, version, since, until)
            ]
            serving = next(each for each in judged if each.version == version.version)
            reports = [*serving.reports.values(), silence]
            keep_report(session, serving, reports)
            decided = decide_on(
                session,
                {**_for_decision(serving, revised), silence.name: silence},
                stand(session, version),
            )
            for each in judged:
                decision = decided.to_dict() if each is serving else None
                kept = _record(session, each, silence, decision)
                is_new = record(session, store, kept)
                if each is serving:
                    found, first = kept, is_new
            draw_history(session, store)
            outcome = replace(
                session.conclude(
                    together(reports),
                    model=Model(version.name, version.version, session.project.deploy.alias),
                ),
                judged=tuple(reports),
                window=_described(found, revised),
            )
        said: dict[str, Any] = decided.to_dict()
        if first:
            sent = tell(session, store, found, reports)
            said["alerts"] = [vars(each) for each in sent]
            if act:
                said["retrained"] = follow(session, overrides, found)
    return conclude(
        replace(
            outcome,
            decision=said,
            seconds=dict(session.seconds),
            reports=dict(session.reports),
        )
    )


def _monitor_file(session: Session, data: str, query: str | None) -> State[Outcome]:
    version, kept = load_champion(session)
    with session.run("monitor"):
        watched = judge_file(session, kept, version, data, query)
        reports = tuple(watched.reports.values())
        keep_report(session, watched, reports)
        outcome = session.conclude(
            together(reports),
            model=Model(version.name, version.version, session.project.deploy.alias),
        )
    return conclude(replace(outcome, judged=reports, reports=dict(session.reports)))


def _url(session: Session) -> str:
    return log_url(session.project.serve, session.project.state)


def _archive(session: Session) -> Path:
    return archive_folder(session.project.serve, session.project.state)


def _instant(said: str) -> datetime:
    return instant_of(said).replace(tzinfo=UTC)


def _closed(session: Session, store: Windows, version: str) -> datetime | None:
    """Return the end of the last window of a version that could tell something."""
    told = [
        each
        for each in store.records(session.project.model, version)
        if each.rows >= session.project.monitor.minimum_rows
    ]
    return told[-1].until if told else None


def _kept(
    session: Session, version: str
) -> tuple[Candidate | None, pd.DataFrame | None, tuple[CheckResult, ...]]:
    """Return what was kept of a version; what is gone is a finding."""
    name, tracker = session.project.model, session.tracker
    try:
        kept: Candidate | None = tracker.load_version(name, version)
    except (MissingError, ModelError) as err:
        return None, None, (_gone("version.gone", "The version that answered is there", err),)
    try:
        return kept, tracker.reference(name, version), ()
    except (MissingError, ModelError, OSError) as err:
        claim = "A sample of what the version learned from is beside it"
        return kept, None, (_gone("reference.missing", claim, err),)


def _shares(frame: pd.DataFrame) -> list[str]:
    return [str(column) for column in frame if str(column).startswith(PROBABILITY)]


def _gone(id: str, claim: str, err: Exception) -> CheckResult:
    return CheckResult(id, claim, Status.ERROR, reason=" ".join(str(err).splitlines()[:2]))


def _roles(window: Window) -> Roles:
    """Guess the roles of a version that is gone."""
    columns = [str(column) for column in window.frame]
    inputs = [c for c in columns if c != PREDICTION and not c.startswith(PROBABILITY)]
    numeric = [c for c in inputs if pd.api.types.is_numeric_dtype(window.frame[c])]
    return Roles(tuple(numeric), tuple(c for c in inputs if c not in numeric))


def _drift(
    session: Session,
    window: Window,
    reference: pd.DataFrame | None,
    roles: Roles,
    earlier: Sequence[WindowRecord],
    faults: Sequence[CheckResult],
) -> Report:
    if reference is None:
        return Report("drift", tuple(faults), {"current_rows": len(window)})
    redacted = set(session.project.serve.redact)
    answered = PREDICTION in window.frame
    return check_drift(
        _heard(reference),
        window.frame,
        session.project.monitor,
        numeric=[c for c in roles.numeric if c not in redacted],
        categorical=[c for c in roles.categorical if c not in redacted],
        scores=_shares(reference) if answered else (),
        prediction=PREDICTION if answered else None,
        past=[Report.from_dict(each.reports["drift"]) for each in earlier],
    )


def _heard(reference: pd.DataFrame) -> pd.DataFrame:
    """Return the reference with what the model says of rows that it has not learned, and no more.

    It is surer of those that it has, so that its scores on them are no measure for later ones.
    """
    if HELD_OUT not in reference:
        return reference
    learned = ~reference[HELD_OUT].astype(bool)
    said = [PREDICTION, *_shares(reference)]
    return reference.assign(**{name: reference[name].mask(learned) for name in said})


def _performance(session: Session, window: Window, kept: Candidate | None) -> Report:
    frame, has = window.frame, window.labelled.to_numpy()
    shares = _shares(frame)
    names = [column.removeprefix(PROBABILITY) for column in shares]
    came = pd.to_datetime(window.about["label_time"], utc=True)
    delays = np.full(len(frame), np.nan)
    if isinstance(frame.index, pd.DatetimeIndex):
        delays = (came - frame.index.to_series()).dt.total_seconds().to_numpy()
    return check_performance(
        Labelled(
            classes=names if kept is None else kept.model.classes_.tolist(),
            y_true=window.about["label"].to_numpy(dtype=object)[has],
            predictions=frame[PREDICTION].to_numpy(dtype=object)[has],
            probabilities=frame[shares].to_numpy(dtype=np.float64)[has],
            frame=frame.drop(columns=[PREDICTION, *shares]).loc[has],
            delays=delays[has],
            rows=len(frame),
            positive=session.project.data.positive,
            unlabelled_predictions=frame[PREDICTION].to_numpy(dtype=object)[~has],
            unlabelled_probabilities=frame[shares].to_numpy(dtype=np.float64)[~has],
        ),
        session.project.gate,
        session.project.monitor,
    )


def _estimate(
    session: Session, reference: pd.DataFrame, window: Window, earlier: Sequence[WindowRecord]
) -> Report:
    shares = _shares(reference)
    names = [column.removeprefix(PROBABILITY) for column in shares]
    # On rows that it has learned the model is surer, and more often right, than on others.
    held = reference.loc[reference[HELD_OUT].astype(bool)]

    def confidence(frame: pd.DataFrame) -> np.ndarray:
        given = frame[shares].to_numpy(dtype=np.float64)
        return answered_confidence(names, frame[PREDICTION].to_numpy(dtype=object), given)

    past = []
    for each in earlier:
        checks = each.reports.get("estimate", {}).get("checks", ())
        said = next((check["details"].get("estimate") for check in checks), None)
        was = each.reports.get("performance", {}).get("facts", {}).get("accuracy")
        if said is not None and was is not None:
            past.append((said, was))
    right = (held[PREDICTION] == held[session.project.data.target]).to_numpy(dtype=bool)
    return Report(
        "estimate",
        (estimate_performance(confidence(held), right, confidence(window.frame), past),),
    )


def _for_decision(serving: Watched, revised: Sequence[WindowRecord]) -> dict[str, Report]:
    """Return what the decision is by: performance is told by the newest window that has labels.

    Labels come late, so that is a closed one as a rule.
    """
    reports = dict(serving.reports)
    own = reports.get("performance")
    judged = [each for each in revised if each.version == serving.version]
    if judged and (own is None or not own.facts.get("accuracy")):
        newest = max(judged, key=lambda each: each.until)
        reports["performance"] = Report.from_dict(newest.reports["performance"])
    return reports


def _record(
    session: Session, watched: Watched, silence: Report, decision: dict[str, Any] | None
) -> WindowRecord:
    reports = {**watched.reports, silence.name: silence}
    return WindowRecord(
        model=session.project.model,
        version=watched.version,
        since=watched.since,
        until=watched.until,
        rows=len(watched.window),
        labelled=int(watched.window.labelled.sum()) if len(watched.window) else 0,
        reports={name: report.to_dict() for name, report in reports.items()},
        decision=decision,
        run_id=session.open_run,
    )


def _described(found: WindowRecord, revised: Sequence[WindowRecord]) -> dict[str, Any]:
    return {
        "id": found.id,
        "version": found.version,
        "since": found.since.isoformat(),
        "until": found.until.isoformat(),
        "rows": found.rows,
        "labelled": found.labelled,
        "revised": [
            {
                "id": each.id,
                "since": each.since.isoformat(),
                "until": each.until.isoformat(),
                "labelled": each.labelled,
                "performance": each.reports["performance"]["verdict"],
                "reasons": each.reports["performance"]["reasons"],
            }
            for each in revised
        ],
    }


def _metrics(reports: Mapping[str, Report]) -> dict[str, float | None]:
    drift = reports["drift"]
    effects = [c.details["effect"] for c in drift.checks if "effect" in c.details]
    facts = reports["performance"].facts if "performance" in reports else {}
    return {
        "rows": float(drift.facts.get("current_rows", 0)),
        "drift_findings": float(len(drift.refusals)),
        "drift_largest_effect": max(effects, default=None),
        "labelled": facts.get("labelled"),
        "accuracy": facts.get("accuracy"),
    }
