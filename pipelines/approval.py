"""Whether a version waits for a person's answer, and what that was: read from the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast

from pipelines.ledger import Entry

State = Literal["not judged", "refused", "passed", "waiting", "approved", "rejected", "expired"]

ANSWERS = ("approved", "override", "rejected", "expired")
"""The events that end the waiting."""


@dataclass(frozen=True)
class Question:
    """Where a version stands between its verdict and its promotion.

    Parameters
    ----------
    version : str
    state : str
        ``refused`` and ``passed`` are the gate's last verdict, before anybody was asked;
        ``waiting`` also after the deadline, until that is written down as ``expired``.
    verdict, waiting, answer : Entry or None
        What the ledger says of each. A new verdict opens the question anew, and so does a
        look at the sealed rows for one, which a gate that was cut short leaves unanswered.
    """

    version: str
    state: State
    verdict: Entry | None
    waiting: Entry | None
    answer: Entry | None

    @property
    def deadline(self) -> datetime | None:
        """Until when it may be answered."""
        if self.waiting is None:
            return None
        return datetime.fromisoformat(self.waiting.details["deadline"])

    @property
    def refused(self) -> bool:
        """Whether to approve it is to override the gate."""
        return self.verdict is not None and self.verdict.details.get("verdict") != "passed"

    def late(self, now: datetime) -> bool:
        """Whether the deadline has passed without an answer."""
        return self.state == "waiting" and self.deadline is not None and now > self.deadline


def question(entries: Sequence[Entry], version: str) -> Question:
    """Read from the ledger where a version stands.

    Parameters
    ----------
    entries : sequence of Entry
        Oldest first.
    version : str
    """
    verdict = waiting = answer = None
    for entry in entries:
        if entry.event == "look" and verdict is not None and _of_one_run(entry, verdict):
            # Asked again, the gate may come to another end, or to none.
            verdict = waiting = answer = None
        if entry.version != version:
            continue
        if entry.event == "verdict":
            verdict, waiting, answer = entry, None, None
        elif entry.event == "waiting":
            waiting, answer = entry, None
        elif entry.event in ANSWERS:
            answer = entry
    return Question(version, _state(verdict, waiting, answer), verdict, waiting, answer)


def _of_one_run(look: Entry, verdict: Entry) -> bool:
    run_id = look.details.get("run_id")
    return run_id is not None and run_id == verdict.details.get("run_id")


def _state(verdict: Entry | None, waiting: Entry | None, answer: Entry | None) -> State:
    if answer is not None:
        return "approved" if answer.event == "override" else cast("State", answer.event)
    if waiting is not None:
        return "waiting"
    if verdict is None:
        return "not judged"
    return "passed" if verdict.details.get("verdict") == "passed" else "refused"
