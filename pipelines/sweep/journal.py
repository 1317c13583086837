"""What a sweep has done so far, on disk: it can be killed, and go on.

One line of JSON for each outcome, appended as it comes in, and beside it the checkpoint. A
sweep that is resumed takes the same decisions as it took before, and finds the outcomes that
it has already; so nothing but outcomes is written down.
"""

import json
import os
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from pipelines.errors import ProjectError, ServiceError
from pipelines.sweep.rungs import MOST_RUNGS
from pipelines.sweep.trial import Outcome, Point

if sys.platform != "win32":
    import fcntl

SYNC_SECONDS = 1.0
"""Outcomes of no more than so many seconds are lost with the machine's power; a process that
is killed loses none."""

_FILE = "journal.jsonl"
_LONGEST_SHOWN = 80


class Journal:
    """The outcomes of one sweep, in a folder of its own.

    As a context manager it closes its file, and leaves the folder as it is.

    Parameters
    ----------
    folder : Path
        Made where there is none.
    terms : mapping
        What the sweep depends on: settings, data, libraries. A sweep goes on under the terms
        that it was begun under.

    Raises
    ------
    ProjectError
        The folder holds a sweep that was begun under other terms.
    ServiceError
        The folder or the file cannot be written, or another process writes it.
    """

    def __init__(self, folder: Path, terms: Mapping[str, Any]) -> None:
        self.folder = folder
        self.spent = 0.0
        """Seconds that the sweep had taken when its last outcome came in."""
        self._known: dict[tuple[int, int], Outcome] = {}
        self._synced = time.monotonic()
        self._began = time.monotonic()
        with _writing(folder):
            self._checkpoints.mkdir(parents=True, exist_ok=True)
            self._file = self._open(json.loads(json.dumps(terms)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # What a full disk would not take is a torn line, and no line when it is opened again.
        with suppress(OSError):
            self._file.close()

    def take(self, number: int, rung: int) -> Outcome | None:
        """Return the outcome of a job that was done before, once; None where there is none.

        Its checkpoint stays where it is: a trial that went on needs none.
        """
        return self._known.pop((number, rung), None)

    def write(self, outcome: Outcome) -> None:
        """Append an outcome."""
        with _writing(self.folder):
            if outcome.checkpoint is not None:
                self.keep(outcome.number, outcome.rung, outcome.checkpoint)
            crc = None if outcome.checkpoint is None else zlib.crc32(outcome.checkpoint)
            line = {**vars(outcome), "checkpoint": crc, "at": round(self.elapsed, 3)}
            self._file.write(json.dumps(line).encode() + b"\n")
            self._file.flush()
            if time.monotonic() - self._synced > SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds that the sweep has taken, those before it was resumed included."""
        return self.spent + time.monotonic() - self._began

    def keep(self, number: int, rung: int, checkpoint: bytes) -> None:
        """Keep where a trial stands, whole or not at all."""
        path = self._path(number, rung)
        fresh = path.with_suffix(".new")
        fresh.write_bytes(checkpoint)
        fresh.replace(path)

    def checkpoint(self, number: int, rung: int) -> bytes | None:
        """Return where a trial stood at a rung; None where the end of the power took it."""
        with _writing(self.folder), suppress(FileNotFoundError):
            return self._path(number, rung).read_bytes()
        return None

    def forget(self, number: int, rung: int) -> None:
        """Remove a checkpoint that nothing goes on from any more."""
        self._path(number, rung).unlink(missing_ok=True)

    def _open(self, terms: dict[str, Any]) -> BinaryIO:
        path = self.folder / _FILE
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        try:
            # Before a byte of it is read or cut off: it may be another process's.
            if not _lock(file):
                raise ServiceError(
                    "One process at a time goes on with a sweep.",
                    found=f"another one has {path} open",
                    next_move="wait until it has ended, or end it, then run the command again",
                )
            file.seek(self._take_up(path, terms))
            file.truncate()
            if not file.tell():
                file.write(json.dumps(terms).encode() + b"\n")
                file.flush()
        except BaseException:
            with suppress(OSError):
                file.close()
            raise
        return file

    def _take_up(self, path: Path, terms: dict[str, Any]) -> int:
        """Read what is known; return how many bytes of the file are whole lines."""
        if not (lines := _whole_lines(path)):
            return 0
        _same_terms(json.loads(lines[0]), terms)
        whole = len(lines[0])
        latest: dict[int, tuple[int, int | None]] = {}
        for line in lines[1:]:
            whole += len(line)
            read = json.loads(line)
            self.spent, crc = read.pop("at"), read.pop("checkpoint")
            outcome = Outcome(**{**read, "points": tuple(Point(*x) for x in read["points"])})
            self._known[outcome.number, outcome.rung] = outcome
            latest[outcome.number] = outcome.rung, crc
            # Done again from below: what was above it had lost its checkpoint.
            for above in range(outcome.rung + 1, MOST_RUNGS):
                self._known.pop((outcome.number, above), None)
        for number, (rung, crc) in latest.items():
            self._see_whole(number, rung, crc)
        return whole

    def _see_whole(self, number: int, rung: int, crc: int | None) -> None:
        """Do a trial again whose last checkpoint the end of the power cut off."""
        path = self._path(number, rung)
        if crc is None or not path.exists() or zlib.crc32(path.read_bytes()) == crc:
            return
        self._known = {key: value for key, value in self._known.items() if key[0] != number}

    @property
    def _checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def _path(self, number: int, rung: int) -> Path:
        return self._checkpoints / f"{number:05d}-{rung}.pickle"


def _whole_lines(path: Path) -> list[bytes]:
    """Read a journal; what a full disk or the end of the power cut off is no line."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [line + b"\n" for line in lines[:-1]]


def in_use(folder: Path) -> bool:
    """Say whether a process is at the sweep in a folder right now."""
    try:
        with (folder / _FILE).open("rb") as file:
            return not _lock(file)
    except OSError:
        return False


def _lock(file: BinaryIO) -> bool:
    """Keep other processes from a file until it is closed; False where one has it.

    The end of a process, whichever way, opens it again.
    """
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def check_terms(folder: Path, terms: Mapping[str, Any]) -> None:
    """See that a sweep that was begun in a folder can go on under these terms.

    Raises
    ------
    ProjectError
        It was begun under others.
    """
    path = folder / _FILE
    if lines := _whole_lines(path):
        _same_terms(json.loads(lines[0]), json.loads(json.dumps(terms)))


def _same_terms(begun: dict[str, Any], now: dict[str, Any], within: str = "") -> None:
    for name in sorted(begun.keys() | now.keys()):
        before, after = begun.get(name), now.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            _same_terms(before, after, f"{within}{name}.")
        elif before != after:
            raise ProjectError(
                "A sweep goes on under the terms that it was begun under.",
                found=f"{within}{name} was {_shown(before)} and is {_shown(after)}",
                next_move="put it back, or start anew without --resume",
            )


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except ServiceError:
        raise
    except OSError as err:
        raise ServiceError(
            "A sweep writes down what came of each trial, to go on from it.",
            found=f"{err.filename or folder}: {err.strerror}",
            next_move="free some space or make the folder writable, then go on with "
            "`tidegate train --resume`",
        ) from err
