"""What would this policy have come to, on the traffic that there was?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from checks.drift import check_drift
from checks.model.answers import Answers
from checks.model.paired import Pair
from checks.model.scorers import score as score_of
from checks.model.settings import GateSettings
from checks.monitor import MonitorSettings
from checks.performance import Labelled, check_performance
from checks.policy import Action, Standing, decide
from checks.result import Report
from flows.project import Project
from pipelines.data import parse_time, read, read_frame
from pipelines.errors import InputError, MissingError, ModelError
from pipelines.features import Roles, labels
from pipelines.modelfile import Candidate
from pipelines.replay import Lesson, Span, answer_span, before, cut, refit
from pipelines.scoring import PREDICTION, PROBABILITY, score
from pipelines.serving.log import archive_folder, log_url
from pipelines.serving.window import read_window
from pipelines.split import learning_rows
from pipelines.tracking import Tracker

_BEGIN = datetime(2000, 1, 1, tzinfo=UTC)

COURSES = ("never", "policy", "always")
"""What is compared: never retrain, do as the policy says, retrain after every window."""

REFERENCE_ROWS = 5_000
"""Most rows that a fitted model's traffic is compared with, as when it serves."""

HELD_BACK = 0.2
"""Share of the rows that a fitted model does not learn, of which its reference is drawn."""


def simulate_policy(
    project: Project, data: str | None = None, query: str | None = None, windows: int = 12
) -> dict[str, Any]:
    """Replay the policy over labelled traffic, against never retraining and always.

    The champion starts. Each window is answered by the model of its time; at its end the courses
    decide by what was known then, and a retraining fits the same configuration anew on the
    table's learning rows and the labelled rows so far. There is no gate in between: each fitted
    model serves the next window.

    Parameters
    ----------
    project : Project
    data : str, optional
        Labelled traffic: a file or a database address; by default the prediction log.
    query : str, optional
        SQL, with a database address.
    windows : int
        Of equally many rows each.

    Returns
    -------
    dict
        JSON-able: ``model``, ``version``, ``rows``, ``labelled``, ``scoring``, ``courses``,
        ``comparisons`` and ``windows``.

    Raises
    ------
    MissingError
        No model serves, or no row has a label.
    InputError
        There are too few rows for so many windows.
    """
    tracker = Tracker.open(project.tracking, project.folder, experiment=project.model)
    traffic = read_traffic(project, data, query, windows)
    if pd.isna(pd.Series(traffic.labels, dtype=object)).all():
        raise MissingError(
            "A policy is replayed over rows whose labels have come.",
            found=f"{len(traffic.frame):,} rows, none with a label",
            next_move="wait for labels, or name a labelled table with --data",
        )
    loaded, version = load_start(tracker, project, traffic.version)
    classes = loaded.model.classes_.tolist()
    spans = cut(traffic.frame, traffic.labels, traffic.known, classes=classes, number=windows)
    rows = learning_rows(read(project.data, project.folder)).both
    rehearsal = Rehearsal(
        spans,
        loaded.roles,
        History(
            Lesson(rows, labels(rows[project.data.target])),
            lambda time: before(rows, project.data.time, time),
        ),
        project.gate,
        project.monitor,
        positive=project.data.positive,
        balanced=project.train.class_weight == "balanced",
    )
    reference = tracker.reference(project.model, version)
    courses = {name: rehearsal.replay(name, loaded.model, reference) for name in COURSES}
    return {
        "model": project.model,
        "version": version,
        "rows": len(traffic.frame),
        "labelled": int(sum(span.labelled.sum() for span in spans)),
        **rehearsal.told(courses),
    }


@dataclass(frozen=True, eq=False)
class Traffic:
    """What was asked, what was true, and when that was known.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        Indexed by the time of the request.
    labels, known : sequence of length n_rows
    version : str or None
        That answered the first row; None where nobody did.
    """

    frame: pd.DataFrame
    labels: Sequence[Any]
    known: Sequence[Any]
    version: str | None = None


def read_traffic(project: Project, data: str | None, query: str | None, windows: int) -> Traffic:
    """Read the prediction log, or a labelled table as if it had been served.

    The labels of a table are known at once.
    Where the table has no time, each window is taken for one period of monitoring.
    """
    if data is None:
        return _logged(project)
    settings = project.data
    frame = read_frame(settings, project.folder, data, query=query)
    if settings.target not in frame:
        raise InputError(
            "A table to replay has the target.",
            found=f"no column {settings.target} in {data}",
            next_move="add it, or replay the prediction log",
        )
    if settings.time is not None and settings.time in frame:
        times = pd.DatetimeIndex(pd.to_datetime(parse_time(frame[settings.time]), utc=True))
    else:
        step = timedelta(hours=project.monitor.period_hours) * windows / len(frame)
        times = pd.DatetimeIndex([_BEGIN + number * step for number in range(len(frame))])
    target = frame[settings.target]
    truth = [
        None if missing else label for label, missing in zip(target, target.isna(), strict=True)
    ]
    return Traffic(frame.set_index(times), truth, [None] * len(frame))


def _logged(project: Project) -> Traffic:
    window = read_window(
        log_url(project.serve, project.state),
        name=project.model,
        archive=archive_folder(project.serve, project.state),
    )
    if not len(window):
        raise MissingError(
            "A policy is replayed over what was asked.",
            found=f"the prediction log holds nothing of {project.model}",
            next_move="serve it with `tidegate serve`, or name a labelled table with --data",
        )
    about = window.about
    known = [None if pd.isna(time) else time for time in about["label_time"]]
    version = str(about["version"].iloc[0])
    return Traffic(window.frame, about["label"].tolist(), known, version)


def load_start(tracker: Tracker, project: Project, version: str | None) -> tuple[Candidate, str]:
    """Load the version that answered first; the champion where nobody did or that one is gone."""
    if version is not None:
        try:
            return tracker.load_version(project.model, version), version
        except (MissingError, ModelError):
            pass
    champion = tracker.champion(project.model, project.deploy.alias)
    if champion is None:
        raise MissingError(
            "A replay starts with a model that serves.",
            found=f"{project.model} has no {project.deploy.alias} in {tracker.uri}",
            next_move="make one with `tidegate run`",
        )
    return tracker.load_version(project.model, champion.version), champion.version


@dataclass(frozen=True)
class History:
    """The table's rows that may be learned from.

    Parameters
    ----------
    lesson : Lesson
    happened : callable
        Gives which of them had happened by a time.
    """

    lesson: Lesson
    happened: Callable[[datetime], NDArray[np.bool_]]

    def by(self, time: datetime) -> Lesson:
        """Return the rows that had happened by a time; a replay may not learn from the future."""
        there = self.happened(time)
        return Lesson(self.lesson.frame.loc[there], self.lesson.y[there])


@dataclass(eq=False)
class Course:
    """What one course did, window by window.

    Parameters
    ----------
    model : classifier
        That answers now.
    reference : DataFrame
        What its traffic is compared with.
    since : datetime
        From when it serves.
    first : int
        The first window that it answers.
    trainings : list of datetime
    predictions : list of ndarray
        One for each window.
    decisions : list of dict
    past : list of Report
        The drift reports of this model.
    """

    model: Any
    reference: pd.DataFrame
    since: datetime
    first: int = 0
    trainings: list[datetime] = field(default_factory=list)
    predictions: list[NDArray[Any]] = field(default_factory=list)
    probabilities: list[NDArray[Any]] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    past: list[Report] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """The windows of a log, and what every course is judged by.

    Parameters
    ----------
    spans : sequence of Span
    roles : Roles
    history : History
    gate : GateSettings
    monitor : MonitorSettings
    positive : label or None
    balanced : bool
        Whether each class counts alike when a model is fitted.
    """

    spans: Sequence[Span]
    roles: Roles
    history: History
    gate: GateSettings
    monitor: MonitorSettings
    positive: Any = None
    balanced: bool = False

    def replay(self, name: str, model: Any, reference: pd.DataFrame) -> Course:
        """Live through the log by one of `COURSES`."""
        course = Course(model, reference, self.spans[0].since)
        for number, span in enumerate(self.spans):
            predictions, probabilities = answer_span(course.model, span, self.roles)
            course.predictions.append(predictions)
            course.probabilities.append(probabilities)
            action, reasons = Action.NOTHING, list[dict[str, Any]]()
            if name == "always":
                action = Action.RETRAIN
            elif name == "policy":
                decision = decide(
                    self._reports(course, number),
                    self._standing(course, number),
                    self.monitor.policy,
                )
                action, reasons = decision.action, decision.to_dict()["reasons"]
            course.decisions.append({"action": str(action), "reasons": reasons})
            # What the last window leads to answers no row of the log.
            if number + 1 == len(self.spans):
                break
            if action in (Action.RETRAIN, Action.CHALLENGE):
                course.trainings.append(span.until)
            if action is Action.RETRAIN:
                self._retrain(course, number)
        return course

    def told(self, courses: Mapping[str, Course]) -> dict[str, Any]:
        """Say what the courses came to, and whether they differ."""
        scores = {name: self._accuracies(course) for name, course in courses.items()}
        return {
            "scoring": self.gate.scoring,
            "courses": {
                name: {
                    "trainings": len(course.trainings),
                    "score": score_of(self.gate.scoring, self._answers(course)),
                }
                for name, course in courses.items()
            },
            "comparisons": [self._compare(courses, other) for other in ("never", "always")],
            "windows": [
                {
                    "since": span.since.isoformat(),
                    "until": span.until.isoformat(),
                    "rows": len(span),
                    "labelled": int(span.labelled.sum()),
                    "accuracy": {name: each[number] for name, each in scores.items()},
                    **courses["policy"].decisions[number],
                }
                for number, span in enumerate(self.spans)
            ],
        }

    def _reports(self, course: Course, number: int) -> dict[str, Report]:
        """Judge the window as monitoring does, and the newest that has labels enough by now."""
        span = self.spans[number]
        window = _scored(span, course, number)
        drift = check_drift(
            course.reference,
            window,
            self.monitor,
            numeric=self.roles.numeric,
            categorical=self.roles.categorical,
            scores=[column for column in map(str, window) if column.startswith(PROBABILITY)],
            prediction=PREDICTION,
            past=course.past,
        )
        course.past.append(drift)
        return {"drift": drift, "performance": self._performance(course, number)}

    def _performance(self, course: Course, number: int) -> Report:
        """Judge the newest window of this model whose labels had come by the end of this one."""
        now = self.spans[number].until
        judged = number
        for place in range(number, course.first - 1, -1):
            if self.spans[place].labelled_by(now).sum() >= self.monitor.minimum_labels:
                judged = place
                break
        span, there = self.spans[judged], self.spans[judged].labelled_by(now)
        predictions, probabilities = course.predictions[judged], course.probabilities[judged]
        window = Labelled(
            course.model.classes_.tolist(),
            span.truth[there],
            predictions[there],
            probabilities[there],
            span.frame.loc[there],
            np.full(int(there.sum()), np.nan),
            len(span),
            self.positive,
            predictions[~there],
            probabilities[~there],
        )
        return check_performance(window, self.gate, self.monitor)

    def _standing(self, course: Course, number: int) -> Standing:
        now = self.spans[number].until
        last = course.trainings[-1] if course.trainings else None
        known = [span.labelled_by(now) for span in self.spans[: number + 1]]
        if last is not None:
            known = [
                there & ~span.labelled_by(last)
                for there, span in zip(known, self.spans, strict=False)
            ]
        return Standing(
            now=now,
            champion_since=course.since,
            last_training=last,
            trainings=tuple(course.trainings),
            new_labels=int(sum(there.sum() for there in known)),
        )

    def _retrain(self, course: Course, number: int) -> None:
        """Fit the course's model anew on what was known when the window ended."""
        now = self.spans[number].until
        known = self.history.by(now).with_known(self.spans[: number + 1], now, self.roles)
        lesson, held = known.parted(HELD_BACK)
        course.model = refit(course.model, lesson, self.roles, balanced=self.balanced)
        course.reference = score(course.model, held.frame.head(REFERENCE_ROWS), self.roles)
        course.since, course.first, course.past = now, number + 1, []

    def _answers(self, course: Course) -> Answers:
        """Return what the course answered to every row whose label has come by now."""
        labelled = [span.labelled for span in self.spans]
        truth = np.concatenate(
            [span.truth[there] for span, there in zip(self.spans, labelled, strict=True)]
        )
        said = [given[there] for given, there in zip(course.predictions, labelled, strict=True)]
        predictions = np.concatenate(said)
        return Answers(course.model.classes_.tolist(), truth.astype(predictions.dtype), predictions)

    def _accuracies(self, course: Course) -> list[float | None]:
        found: list[float | None] = []
        for span, predictions in zip(self.spans, course.predictions, strict=True):
            there = span.labelled
            right = predictions[there] == span.truth[there].astype(predictions.dtype)
            found.append(float(right.mean()) if there.any() else None)
        return found

    def _compare(self, courses: Mapping[str, Course], other: str) -> dict[str, Any]:
        """Compare the policy with another course, on the same rows."""
        # Both comparisons hold together with the gate's confidence.
        confidence = 1 - (1 - self.gate.confidence) / 2
        policy = self._answers(courses["policy"])
        pair = Pair.of(policy, self._answers(courses[other]).predictions, f"what {other} answered")
        own, others = pair.scores(self.gate.scoring)
        low, high = pair.interval(self.gate.scoring, confidence)
        noise = low <= 0 <= high
        if self.gate.scoring == "accuracy":
            # A bootstrap of a handful of flips is surer than the exact test of them.
            noise = noise or pair.mcnemar_p > 1 - confidence
        fewer = len(courses[other].trainings) - len(courses["policy"].trainings)
        return {
            "against": other,
            "difference": own - others,
            "interval": [low, high],
            "confidence": confidence,
            "p": pair.mcnemar_p,
            "noise": noise,
            "said": _said(other, own - others, (low, high), noise, fewer),
        }


def _said(
    other: str, difference: float, interval: tuple[float, float], noise: bool, fewer: int
) -> str:
    course = {"never": "never retraining", "always": "retraining after every window"}[other]
    low, high = (f"{100 * end:+.2f}" for end in interval)
    said = f"Against {course} the policy makes {100 * difference:+.2f} points ({low} to {high})"
    if fewer:
        plural = "" if abs(fewer) == 1 else "s"
        said += f", with {abs(fewer)} retraining{plural} {'fewer' if fewer > 0 else 'more'}"
    if noise:
        return f"{said}. That is noise."
    return f"{said}. That is no noise: the policy did {'better' if difference > 0 else 'worse'}."


def _scored(span: Span, course: Course, number: int) -> pd.DataFrame:
    """Return a window as the log would hold it, had this course served."""
    given = {PREDICTION: course.predictions[number]} | {
        f"{PROBABILITY}{label}": course.probabilities[number][:, place]
        for place, label in enumerate(course.model.classes_)
    }
    return span.frame.assign(**given)
