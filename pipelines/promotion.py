"""How the champion changes: one process at a time, written down, and never halfway.

MLflow has no lock and no compare-and-set, so a process that wants to move the alias first
writes a ticket into the ledger (``promoting``) and then reads the ledger. Of two that do so
at once at least one sees the other's ticket; who sees one gives its own back (``withdrawn``)
and tries again. A ticket of a process that is gone is closed by the next that meets it, by
looking at what the alias names. The alias itself moves in one step, so an end anywhere
leaves the old champion or the new one.
"""

import os
import random
import re
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipelines.errors import ServiceError
from pipelines.ledger import Entry, Ledger

MoveEvent = Literal["promoted", "rolled back", "restored"]

MOVES: tuple[MoveEvent, ...] = ("promoted", "rolled back", "restored")
"""The events that change which version serves."""

PATIENCE_SECONDS = 10.0
"""How long a promotion tries again while another one is going on."""

STALE_SECONDS = 60.0
"""Age at which a ticket of another machine, whose processes cannot be looked up, is dead."""

_SHORTEST_WAIT = 0.05
_LONGEST_WAIT = 1.0
_CLOCK_SECONDS = 2.0  # by which a process's start, told by the kernel, may differ


class DeploySettings(BaseModel):
    """Under which name a model that passed its gate is served."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = Field(
        None,
        pattern=r"^[^/:]*[^/:\s.][^/:]*$",
        description="Name in the registry; by default the project folder's name.",
    )
    alias: str = Field(
        "champion", pattern=r"^[\w-]+$", description="Alias of the version that serves."
    )
    previous_alias: str = Field(
        "previous", pattern=r"^[\w-]+$", description="Alias of the version that served before."
    )
    challenger_alias: str = Field(
        "challenger",
        pattern=r"^[\w-]+$",
        description="Alias of the version that waits for an answer.",
    )
    approval: Literal["none", "required"] = Field(
        "none",
        description="Whether a person must approve each candidate that passed: none or required.",
    )
    approval_hours: float = Field(
        72.0,
        gt=0,
        le=87_600,
        description="Hours to answer in; without an answer the candidate is refused.",
    )
    smoke_rows: int = Field(
        20, ge=1, description="Rows that a freshly loaded copy must answer as the candidate did."
    )

    @model_validator(mode="after")
    def _check_aliases(self) -> Self:
        aliases = (self.alias, self.previous_alias, self.challenger_alias)
        if len(set(aliases)) < len(aliases):
            raise ValueError("alias, previous_alias and challenger_alias name different versions")
        for alias in aliases:
            if alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias):
                raise ValueError(f"MLflow keeps the alias {alias!r} for itself")
        return self


class Registry(Protocol):
    """Where aliases are kept; `pipelines.tracking.Tracker` is one."""

    def aliases(self, name: str) -> Mapping[str, str]:
        """Return which version each alias of a model names."""

    def point(self, name: str, alias: str, version: str | None) -> None:
        """Let an alias name a version, or nothing, in one step."""


@dataclass(frozen=True)
class Promotion:
    """What came of an attempt to move the alias.

    Parameters
    ----------
    name : str
        The registered model.
    version : str or None
        What the alias was to name; None for nothing.
    alias, previous_alias : str
    expected : str or None
        What the alias had to name until then.
    found : str or None
        What it named.
    previous : str or None
        What the previous alias named.
    moved : bool
        False also where the alias named the version already.
    rival : str
        Who was moving it all the while; empty when nobody was.
    """

    name: str
    version: str | None
    alias: str
    previous_alias: str
    expected: str | None
    found: str | None
    previous: str | None
    moved: bool = False
    rival: str = ""


@dataclass(frozen=True)
class Reign:
    """The time in which one version served.

    Parameters
    ----------
    version : str or None
        None where the first champion was taken back.
    since : datetime
        In UTC.
    entry : Entry
        The move that began it.
    """

    version: str | None
    since: datetime
    entry: Entry


def promote(
    registry: Registry,
    ledger: Ledger,
    version: str | None,
    *,
    expected: str | None,
    alias: str,
    previous_alias: str,
    event: MoveEvent = "promoted",
    previous: str | None = None,
    who: str | None = None,
    reason: str = "",
) -> Promotion:
    """Let the alias name a version, if it still names the one expected.

    Parameters
    ----------
    registry : Registry
    ledger : Ledger
        Of the model.
    version : str or None
        None for none, to take back the first.
    expected : str or None
        The champion that the version was judged against.
    alias, previous_alias : str
        The alias that serves, and the one that then names what served before.
    event : str
        What to call it in the ledger.
    previous : str or None
        What the previous alias is to name when something is ``restored``.
    who, reason : str
        See `Entry`.

    Returns
    -------
    Promotion
        Not moved where the alias names the version already, names another than expected,
        or was being moved by others for `PATIENCE_SECONDS`.

    Raises
    ------
    ServiceError
        The registry or the ledger did not do its part.

    Notes
    -----
    Not seen is a process of another machine that stood still for `STALE_SECONDS` in the
    midst of a promotion and then goes on, nor whoever moves the alias by hand.
    """
    name = ledger.model
    give_up = time.monotonic() + PATIENCE_SECONDS
    wait = _SHORTEST_WAIT
    while True:
        now = registry.aliases(name)
        attempt = Promotion(
            name,
            version,
            alias,
            previous_alias,
            expected,
            found=now.get(alias),
            previous=now.get(previous_alias),
        )
        if attempt.found == version:
            settle(registry, ledger)
            return attempt
        ticket = ledger.append(
            "promoting",
            version=version,
            who=who,
            reason=reason,
            details={
                **_here(),
                "as": event,
                "alias": alias,
                "from": expected,
                "previous_alias": previous_alias,
                "previous": attempt.previous,
                "then_previous": previous if event == "restored" else expected,
            },
        )
        try:
            rivals = [t for t in _open(ledger.entries()) if t.id != ticket.id and _lives(t)]
            if not rivals:
                settle(registry, ledger)
                return _move(registry, ledger, ticket, attempt)
            rival = _name(rivals[0])
            _withdraw(ledger, ticket, f"{rival} is promoting")
        except BaseException:
            # This process may live on for hours, and its ticket would hold up all others.
            with suppress(ServiceError):
                _close(registry, ledger, ticket)
            raise
        if time.monotonic() > give_up:
            return replace(attempt, rival=rival)
        time.sleep(random.uniform(_SHORTEST_WAIT, wait))
        wait = min(2 * wait, _LONGEST_WAIT)


def undo(registry: Registry, ledger: Ledger, promotion: Promotion, *, reason: str) -> Promotion:
    """Let both aliases name what they named before, if nobody has promoted since."""
    return promote(
        registry,
        ledger,
        promotion.found,
        expected=promotion.version,
        alias=promotion.alias,
        previous_alias=promotion.previous_alias,
        event="restored",
        previous=promotion.previous,
        reason=reason,
    )


def settle(registry: Registry, ledger: Ledger) -> None:
    """Close the tickets of processes that are gone, by what the alias names now."""
    for ticket in _open(ledger.entries()):
        if not _lives(ticket):
            _close(registry, ledger, ticket)


def reigns(entries: Sequence[Entry], alias: str) -> tuple[Reign, ...]:
    """Return which version served from when, oldest first.

    Parameters
    ----------
    entries : sequence of Entry
        Oldest first.
    alias : str
        The one that serves.
    """
    found: list[Reign] = []
    for entry in entries:
        if entry.event in MOVES and entry.details.get("alias") == alias:
            since = entry.details.get("since")
            when = entry.time if since is None else datetime.fromisoformat(since)
            if not found or found[-1].version != entry.version:
                found.append(Reign(entry.version, when, entry))
    return tuple(found)


def strayed(registry: Registry, ledger: Ledger, alias: str, found: str | None) -> str | None:
    """Return the version that serves by the ledger, where the alias names another or none.

    Parameters
    ----------
    registry : Registry
    ledger : Ledger
    alias : str
    found : str or None
        What the alias names.

    Returns
    -------
    str or None
        None also where the ledger knows of no promotion: a registry may be older than it.
    """
    settle(registry, ledger)
    entries = ledger.entries()
    known = reigns(entries, alias)
    # One that is being promoted is named before that is written down.
    coming = {ticket.version for ticket in _open(entries)}
    if not known or known[-1].version == found or found in coming:
        return None
    return known[-1].version


def promised(entries: Sequence[Entry], alias: str, version: str) -> str | None:
    """Return the checksum of a version's file when it was judged, before it last served.

    A number says little: a model that is renamed or deleted and made anew begins with 1 again.

    Returns
    -------
    str or None
        SHA-256 in hexadecimal; None where it was not judged, or by none that wrote it down.
    """
    moves = [
        place
        for place, entry in enumerate(entries)
        if entry.event in MOVES and entry.version == version and entry.details.get("alias") == alias
    ]
    before = entries[: moves[-1]] if moves else entries
    verdicts = [e for e in before if e.event == "verdict" and e.version == version]
    return verdicts[-1].details.get("sha256") if verdicts else None


def served(entries: Sequence[Entry], alias: str) -> list[str | None]:
    """Return the versions that served, oldest first, the last of which serves now.

    One that was taken back because it answered otherwise does not count; None is a time
    without any.
    """
    found: list[str | None] = []
    for reign in reigns(entries, alias):
        if reign.entry.event == "restored":
            found = found[:-1]
        else:
            found.append(reign.version)
    return found


def predecessor(entries: Sequence[Entry], alias: str) -> str | None:
    """Return the version that served before the one that serves now; None where none did."""
    known = served(entries, alias)
    return known[-2] if len(known) > 1 else None


def _move(registry: Registry, ledger: Ledger, ticket: Entry, attempt: Promotion) -> Promotion:
    now = registry.aliases(attempt.name)
    attempt = replace(
        attempt, found=now.get(attempt.alias), previous=now.get(attempt.previous_alias)
    )
    if attempt.found != attempt.expected:
        _withdraw(ledger, ticket, f"the {attempt.alias} is {_version(attempt.found)}")
        return attempt
    # First the less important alias: what serves is right until the next line and from it on.
    _point(registry, attempt.name, attempt.previous_alias, ticket.details["then_previous"])
    _point(registry, attempt.name, attempt.alias, attempt.version)
    _enter(ledger, ticket)
    return replace(attempt, moved=True)


def _point(registry: Registry, name: str, alias: str, version: str | None) -> None:
    if registry.aliases(name).get(alias) != version:
        registry.point(name, alias, version)


def _enter(ledger: Ledger, ticket: Entry, **details: object) -> None:
    ledger.append(
        ticket.details["as"],
        version=ticket.version,
        who=ticket.who,
        reason=ticket.reason,
        details={
            "ticket": ticket.id,
            "alias": ticket.details["alias"],
            "from": ticket.details["from"],
            **details,
        },
    )


def _withdraw(ledger: Ledger, ticket: Entry, because: str, **details: object) -> None:
    ledger.append(
        "withdrawn",
        version=ticket.version,
        who=ticket.who,
        reason=because,
        details={"ticket": ticket.id, **details},
    )


def _close(registry: Registry, ledger: Ledger, ticket: Entry) -> None:
    """Write down what became of a ticket whose holder cannot."""
    said = ticket.details
    if any(e.details.get("ticket") == ticket.id for e in ledger.entries()):
        return
    now = registry.aliases(ledger.model)
    alias, previous_alias = said["alias"], said["previous_alias"]
    recovered = {"recovered": True, "since": ticket.time.isoformat()}
    if now.get(alias) == ticket.version:
        _point(registry, ledger.model, previous_alias, said["then_previous"])
        _enter(ledger, ticket, **recovered)
        return
    if now.get(alias) == said["from"] and now.get(previous_alias) == said["then_previous"]:
        # It ended between its two steps.
        _point(registry, ledger.model, previous_alias, said["previous"])
    _withdraw(ledger, ticket, "it ended before the alias was moved", **recovered)


def _open(entries: Sequence[Entry]) -> list[Entry]:
    closed = {entry.details.get("ticket") for entry in entries}
    return [e for e in entries if e.event == "promoting" and e.id not in closed]


def _here() -> dict[str, Any]:
    """Name this process so that another can see whether it is still there."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}


def _lives(ticket: Entry) -> bool:
    said = ticket.details
    if said["host"] != socket.gethostname():
        return datetime.now(UTC) - ticket.time < timedelta(seconds=STALE_SECONDS)
    started = _started(said["pid"])
    # A number is given again, after a restart of a container even the same one.
    return started is not None and abs(started - said["started"]) < _CLOCK_SECONDS


def _started(pid: int) -> float | None:
    """Return when a process began, in seconds since 1970; None where there is none."""
    import psutil

    try:
        process = psutil.Process(pid)
        gone = process.status() == psutil.STATUS_ZOMBIE
        return None if gone else float(process.create_time())
    except psutil.NoSuchProcess:
        return None


def _name(ticket: Entry) -> str:
    said = ticket.details
    return f"{ticket.who} (process {said['pid']} on {said['host']})"


def _version(version: str | None) -> str:
    return "none" if version is None else f"version {version}"
