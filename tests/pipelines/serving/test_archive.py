"""pipelines.serving.archive: old days leave the database, and no row is lost or doubled."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.errors import ServiceError
from pipelines.serving import archive
from pipelines.serving.archive import rotate
from pipelines.serving.log import Answer, Label, PredictionLog, Receipt, ShadowAnswer
from pipelines.serving.tables import engine_of
from pipelines.serving.window import (
    first_time,
    labelled_rows,
    last_times,
    read_window,
    versions,
)

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)


def answer(request: str, rows: int = 1, *, day: int = 0, version: str = "1") -> Answer:
    """Answer a request of so many rows, some days after the first of July."""
    return Answer(
        request_id=request,
        time=NOON + timedelta(days=day),
        name="flights",
        version=version,
        inputs={"delay": [float(n) for n in range(rows)]},
        predictions=["late"] * rows,
        probabilities=np.tile([0.75, 0.25], (rows, 1)),
        classes=["late", "on_time"],
        seconds=0.002,
        flags=[("tail",)] * rows,
    )


def shadow(request: str) -> ShadowAnswer:
    """Answer the first row of a request unheard."""
    return ShadowAnswer(request, "flights", "9", ["on_time"], np.array([[1.0]]), ["on_time"])


def turn(url: str, folder: Path | None, *, day: int, retention: int | None = None) -> None:
    """Rotate at noon of a day, where a day is old after two whole ones."""
    engine = engine_of(url)
    now = (NOON + timedelta(days=day)).replace(tzinfo=None)
    for _ in rotate(engine, folder, now=now, archive_days=2, retention_days=retention):
        pass
    engine.dispose()


def left(url: str, table: str = "predictions") -> int:
    """Count the rows of a table of a SQLite log."""
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        return int(connection.execute(f"select count(*) from {table}").fetchone()[0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the old days go."""
    return tmp_path / "predictions"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A log of three days: two versions on the first, one row of it labelled and shadowed."""
    address = f"sqlite:///{tmp_path / 'predictions.db'}"
    fill(address)
    return address


def fill(url: str) -> None:
    """Write the three days, and close the log."""
    log = PredictionLog.open(url)
    for said in (answer("a", 3), shadow("a"), answer("b", version="2"), answer("c", day=1)):
        log.add(said)
    log.add(answer("d", 2, day=3))
    log.record_labels("flights", [Label("a", 0, "late"), Label("d", 1, "late")])
    log.close()
    assert log.dropped == 0


def reads_as_before(url: str, folder: Path) -> Callable[[], None]:
    """Return a claim: what the log tells is what it tells now."""

    def told() -> list[object]:
        read = read_window(url, name="flights", archive=folder)
        asked = {"name": "flights", "archive": folder}
        return [
            read.frame.to_csv(),
            read.about.to_csv(),
            read_window(url, since="2013-07-02", version="1", **asked).frame.to_csv(),
            versions(url, **asked),
            versions(url, until="2013-07-02", **asked),
            labelled_rows(url, **asked),
            labelled_rows(url, until="2013-07-01T12:00:01", **asked),
            first_time(url, version="2", **asked),
            last_times(url, **asked),
        ]

    before = told()

    def claim() -> None:
        assert told() == before

    return claim


def test_old_days_are_read_as_if_they_had_stayed(url: str, folder: Path) -> None:
    """Rows that went to Parquet, by date and version, are read with their labels and shadows."""
    claim = reads_as_before(url, folder)
    turn(url, folder, day=3)
    assert (left(url), left(url, "shadows"), left(url, "labels")) == (3, 0, 2)
    turn(url, folder, day=9)
    assert (left(url), left(url, "labels")) == (0, 2)
    files = sorted(str(file.parent.relative_to(folder)) for file in folder.rglob("*.parquet"))
    assert files == [
        "date=2013-07-01/version=1",
        "date=2013-07-01/version=2",
        "date=2013-07-02/version=1",
        "date=2013-07-04/version=1",
    ]
    claim()


def test_labels_of_archived_rows_are_known(url: str, folder: Path) -> None:
    """A label that comes after its row was archived is of a known row, and is joined to it."""
    turn(url, folder, day=9)
    log = PredictionLog.open(url, archive=folder)
    sent = [Label("b", 0, "late"), Label("b", 1, "late"), Label("e", 0, "late")]
    assert log.record_labels("flights", sent) == Receipt(3, 0, 0, 2)
    log.close()
    about = read_window(url, name="flights", version="2", archive=folder).about
    assert about["label"].tolist() == ["late"]


def test_retention_ends_whole_days_everywhere(url: str, folder: Path) -> None:
    """Days past retention leave the files, the database and the labels; the rest stays."""
    turn(url, folder, day=3)
    turn(url, folder, day=3, retention=1)
    read = read_window(url, name="flights", archive=folder).about
    assert read["request_id"].tolist() == ["d", "d"]
    assert list(folder.glob("date=*")) == []
    assert (left(url), left(url, "labels")) == (2, 1)
    turn(url, None, day=9, retention=1)
    assert (left(url), left(url, "labels")) == (0, 0)


def test_a_request_id_used_again_keeps_what_is_said_of_it(url: str, folder: Path) -> None:
    """The label and the shadow of an id that came again on a day that stays are kept."""
    log = PredictionLog.open(url)
    log.add(answer("a", 1, day=3))
    log.close()
    turn(url, None, day=3, retention=1)
    assert (left(url), left(url, "labels"), left(url, "shadows")) == (3, 2, 1)


def test_a_rotation_that_stopped_before_deleting_doubles_nothing(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows in the files and still in the database are read once, and written once."""
    claim = reads_as_before(url, folder)
    with monkeypatch.context() as patch:
        patch.setattr(archive, "_delete", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            turn(url, folder, day=9)
    assert left(url) == 7
    claim()
    turn(url, folder, day=9)
    assert left(url) == 0
    claim()
    assert sum(pq.read_metadata(file).num_rows for file in folder.rglob("*.parquet")) == 7


def test_a_file_that_cannot_be_read_is_named(url: str, folder: Path) -> None:
    """A damaged file is an error that names it, not a window with fewer rows."""
    turn(url, folder, day=9)
    (damaged,) = folder.glob("date=2013-07-02/*/*.parquet")
    damaged.write_bytes(b"PAR1 and no more")
    with pytest.raises(ServiceError, match=damaged.name):
        read_window(url, name="flights", archive=folder)


def test_one_process_rotates_at_a_time(url: str, folder: Path) -> None:
    """While one is at it, another one leaves all as it is."""
    engine = engine_of(url)
    now = NOON.replace(month=8, tzinfo=None)
    first = rotate(engine, folder, now=now, archive_days=2)
    next(first)
    before = left(url)
    turn(url, folder, day=31)
    assert left(url) == before
    for _ in first:
        pass
    assert left(url) == 0
    engine.dispose()


def test_an_open_log_rotates_by_itself(url: str, folder: Path) -> None:
    """A log that is opened with a folder moves its old days while it writes new answers."""
    log = PredictionLog.open(url, archive=folder, archive_days=2)
    now = answer("now")
    log.add(Answer(**{**vars(now), "time": datetime.now(UTC)}))
    deadline = time.monotonic() + 30
    while left(url) != 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    log.close()
    assert (left(url), log.written, log.dropped) == (1, 1, 0)
    assert len(read_window(url, name="flights", archive=folder)) == 8


def test_clocks_that_jump_lose_nothing(tmp_path: Path, folder: Path) -> None:
    """Rows of 1970 and of the year 9000, in any order, are kept, read, and hide no silence."""
    url = f"sqlite:///{tmp_path / 'predictions.db'}"
    log = PredictionLog.open(url)
    for place, year in enumerate((2013, 9000, 1970, 2013)):
        said = answer(f"{place}")
        log.add(Answer(**{**vars(said), "time": NOON.replace(year=year)}))
    log.close()
    for _ in range(2):
        read = read_window(url, name="flights", archive=folder)
        assert read.about["request_id"].tolist() == ["2", "0", "3", "1"]
        assert len(read_window(url, name="flights", since="2013-01-01", archive=folder)) == 3
        assert last_times(url, name="flights", archive=folder)[0] == NOON
        turn(url, folder, day=9)
    assert left(url) == 1


def test_a_clock_that_jumps_ahead_makes_no_day_old(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time that has not passed since the log was opened deletes no day."""
    log = PredictionLog.open(url)
    opened = log._now()

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime(2999, 1, 1, tzinfo=UTC)

    monkeypatch.setattr("pipelines.serving.log.datetime", Ahead)
    assert log._now() - opened < timedelta(hours=1)
    log.close()


_ROTATION = """
import sys
from datetime import datetime, timedelta
from pathlib import Path
from pipelines.serving import archive
from pipelines.serving.tables import engine_of
archive.PART = 20
print("go", flush=True)
engine = engine_of(sys.argv[1])
for _ in archive.rotate(engine, Path(sys.argv[2]), now=datetime(2014, 1, 1), archive_days=2):
    pass
"""


@pytest.mark.slow
def test_kill_9_in_a_rotation_loses_and_doubles_no_row(tmp_path: Path, folder: Path) -> None:
    """Killed again and again at any point, every row is read once, and all come to the files."""
    url = f"sqlite:///{tmp_path / 'predictions.db'}"
    log = PredictionLog.open(url)
    for number in range(2_000):
        log.add(answer(f"{number:04}", day=number % 5))
    log.close()
    wanted = [f"{number:04}" for number in range(2_000)]
    random = np.random.default_rng(0)
    killed = 0
    for _ in range(20):
        child = subprocess.Popen(
            [sys.executable, "-c", _ROTATION, url, str(folder)], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(random.uniform(0, 0.3))
        os.kill(child.pid, signal.SIGKILL)
        killed += child.wait() == -signal.SIGKILL
        read = read_window(url, name="flights", archive=folder).about["request_id"]
        assert sorted(read) == wanted
        assert versions(url, name="flights", archive=folder) == {"1": 2_000}
        if not left(url):
            break
    assert killed
    turn(url, folder, day=99)
    assert left(url) == 0
    assert sum(pq.read_metadata(file).num_rows for file in folder.rglob("*.parquet")) == 2_000
    assert list(folder.rglob(".*.tmp")) == []


@pytest.mark.slow
def test_postgres(postgres: str, folder: Path) -> None:
    """A log in Postgres rotates and ends its days in the same way."""
    fill(postgres)
    claim = reads_as_before(postgres, folder)
    turn(postgres, folder, day=3)
    claim()
    turn(postgres, folder, day=9)
    claim()
    turn(postgres, folder, day=9, retention=6)
    assert versions(postgres, name="flights", archive=folder) == {"1": 2}
