"""pipelines.serving.log: nothing waits for it, nothing committed is lost, all is read back."""

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from sklearn.pipeline import Pipeline

from pipelines.errors import InputError, ServiceError
from pipelines.features import Roles
from pipelines.scoring import score
from pipelines.serving.log import Answer, PredictionLog, ShadowAnswer, log_url
from pipelines.serving.settings import ServeSettings
from pipelines.serving.window import last_times, read_window, versions

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)


def answer(
    first: int = 0, rows: int = 1, *, time: datetime = NOON, version: str = "1", request: str = "r"
) -> Answer:
    """Answer a request whose rows are numbered from ``first``."""
    return Answer(
        request_id=request,
        time=time,
        name="flights",
        version=version,
        inputs={"delay": [float(number) for number in range(first, first + rows)]},
        predictions=["late"] * rows,
        probabilities=np.tile([0.75, 0.25], (rows, 1)),
        classes=["late", "on_time"],
        seconds=0.002,
    )


def window(url: str, **bounds: str | datetime) -> list[float]:
    """Read the numbers of version 1's rows."""
    frame = read_window(url, name="flights", version="1", **bounds).frame
    return [float(number) for number in frame.get("delay", [])]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The address of a log that is not there yet."""
    return f"sqlite:///{tmp_path / 'state' / 'predictions.db'}"


def test_a_window_is_what_was_scored(
    url: str, model: Pipeline, roles: Roles, table: pd.DataFrame
) -> None:
    """Inputs with missing cells, classes and probabilities come back as score gives them."""
    scored = score(model, table, roles)
    log = PredictionLog.open(url)
    log.add(
        Answer(
            request_id="r",
            time=NOON,
            name="flights",
            version="3",
            inputs=table.to_dict("list"),
            predictions=scored["prediction"].tolist(),
            probabilities=model.predict_proba(table),
            classes=model.classes_.tolist(),
            seconds=0.0,
        )
    )
    log.close()
    assert (log.written, log.dropped) == (200, 0)
    read = read_window(url, name="flights", version="3").frame
    assert set(read.index) == {NOON}
    expected = scored.reset_index(drop=True)
    pd.testing.assert_frame_equal(read.reset_index(drop=True), expected, check_dtype=False)


@pytest.mark.parametrize("label", [True, 3, "é\x00"])
def test_labels_keep_their_type(url: str, label: bool | int | str) -> None:
    """A class that is true, a number or an odd text is read as what it was."""
    log = PredictionLog.open(url)
    said = answer()
    log.add(Answer(**{**vars(said), "predictions": [label], "classes": [label, "other"]}))
    log.close()
    (read,) = read_window(url, name="flights", version="1").frame["prediction"].tolist()
    assert read == label
    assert type(read) is type(label)


def test_each_row_is_one_row_of_the_table(url: str) -> None:
    """A request's rows share its id and time and are numbered; the file is in WAL mode."""
    log = PredictionLog.open(url)
    log.add(answer(5, 2, request="one"))
    log.close()
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        found = connection.execute(
            "select request_id, row, time, model_name, model_version, inputs, prediction,"
            " probabilities, latency_ms from predictions order by id"
        ).fetchall()
        (mode,) = connection.execute("pragma journal_mode").fetchone()
    shares = '{"late":0.75,"on_time":0.25}'
    time = "2013-07-01 12:00:00.000000"
    assert found == [
        ("one", 0, time, "flights", "1", '{"delay":5.0}', '"late"', shares, 2.0),
        ("one", 1, time, "flights", "1", '{"delay":6.0}', '"late"', shares, 2.0),
    ]
    assert mode == "wal"


def test_a_window_has_ends_and_one_version(url: str) -> None:
    """A window begins at its start, ends before its end, in any zone, and is of one version."""
    log = PredictionLog.open(url)
    for hour in (3, 1, 2, 0):
        log.add(answer(hour, time=NOON + timedelta(hours=hour)))
    log.add(answer(9, version="2"))
    log.close()
    assert window(url) == [0, 1, 2, 3]
    assert window(url, since="2013-07-01T13:00") == [1, 2, 3]
    assert window(url, until="2013-07-01T13:00:00") == [0]
    assert window(url, since="2013-07-01T15:00+02:00", until="2013-07-02") == [1, 2, 3]
    assert window(url, since=NOON + timedelta(hours=3)) == [3]
    assert window(url, since="2014-01-01") == []
    with pytest.raises(InputError, match="yesterday"):
        window(url, since="yesterday")


def test_reading_makes_nothing(url: str, tmp_path: Path) -> None:
    """A log that is not there reads as an empty one, and no file is made."""
    assert len(read_window(url, name="flights")) == 0
    assert versions(url, name="flights") == {}
    assert last_times(url, name="flights") == (None, None)
    assert list(tmp_path.iterdir()) == []


def test_a_full_queue_drops_and_counts(url: str) -> None:
    """While the database is locked answers beyond the capacity are dropped, the rest written."""
    log = PredictionLog.open(url, capacity=5)
    lock = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    lock.execute("begin immediate")
    for first in range(0, 10, 2):
        log.add(answer(first, 2))
    assert log.dropped == 6
    lock.execute("commit")
    lock.close()
    log.close()
    assert (log.written, log.dropped) == (4, 6)
    assert window(url) == [0, 1, 2, 3]


def test_a_request_larger_than_the_queue_is_taken_alone(url: str) -> None:
    """One request above the capacity is written when nothing else waits."""
    log = PredictionLog.open(url, capacity=5)
    log.add(answer(0, 50))
    log.close()
    assert (log.written, log.dropped) == (50, 0)


def test_a_database_that_comes_back_gets_what_waited(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows wait while the database fails, and are written when it answers again."""
    log = PredictionLog.open(url)
    path = url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        connection.execute("alter table predictions rename to moved")
    with caplog.at_level(logging.WARNING, logger="pipelines.serving.log"):
        log.add(answer(7))
        assert not log.flush(0.2)
    assert "no such table" in caplog.text
    with sqlite3.connect(path) as connection:
        connection.execute("alter table moved rename to predictions")
    log.close()
    assert (log.written, log.dropped) == (1, 0)
    assert window(url) == [7]


def _lose_the_word(log: PredictionLog) -> None:
    """Have the next transaction committed, and its answer lost on the way back."""

    def lost(connection: sa.Connection) -> None:
        sa.event.remove(log._engine, "commit", lost)
        connection.connection.commit()
        raise sa.exc.OperationalError("COMMIT", {}, OSError("the connection was lost"))

    sa.event.listen(log._engine, "commit", lost)


def test_rows_whose_commit_was_not_heard_of_are_there_once(url: str) -> None:
    """A batch that is written again, because the word of its commit was lost, is not doubled."""
    log = PredictionLog.open(url)
    _lose_the_word(log)
    log.add(answer(0, 3))
    assert log.flush()
    _lose_the_word(log)
    log.add(ShadowAnswer("r", "flights", "2", ["late"], np.ones((1, 1)), ["late"]))
    log.close()
    assert (log.written, log.dropped) == (4, 0)
    assert window(url) == [0, 1, 2]
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        assert connection.execute("select count(*) from shadows").fetchone() == (1,)


def test_refused_rows_do_not_stop_the_rest(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Rows that the database refuses for good are counted, and the next ones are written."""
    log = PredictionLog.open(url)
    with caplog.at_level(logging.ERROR, logger="pipelines.serving.log"):
        log.add(Answer(**{**vars(answer(1)), "name": None}))
        assert log.flush()
        log.add(Answer(**{**vars(answer(2)), "classes": ["late"]}))
        assert log.flush()
    log.add(answer(3))
    log.close()
    assert (log.written, log.dropped) == (1, 2)
    assert window(url) == [3]


def test_closing_does_not_hang_on_a_dead_database(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A log whose database is gone closes, counting what it could not write."""
    log = PredictionLog.open(url)
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute("drop table predictions")
    log.add(answer(0, 3))
    log.close(0.1)
    assert (log.written, log.dropped) == (0, 3)
    assert "lost 3 rows" in caplog.text
    log.add(answer(0, 2))
    log.close()
    assert log.dropped == 5


def test_threads_and_two_logs_share_a_file(url: str) -> None:
    """Eight threads into two logs of one file: no row is lost or written twice."""
    logs = [PredictionLog.open(url), PredictionLog.open(url)]

    def work(number: int) -> None:
        for place in range(100):
            logs[number % 2].add(answer(number * 100 + place))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for log in logs:
        log.close()
    assert sorted(window(url)) == list(range(800))


def test_an_address_that_cannot_be_is_refused(tmp_path: Path) -> None:
    """No address, no driver, memory, a folder that is a file, a server that is not there."""
    for address in ("nonsense", "nosuchdb://host/x", "sqlite://", "sqlite:///:memory:"):
        with pytest.raises(InputError):
            PredictionLog.open(address)
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError, match="can be reached"):
        PredictionLog.open(f"sqlite:///{tmp_path / 'file' / 'predictions.db'}")
    with pytest.raises(ServiceError) as caught:
        PredictionLog.open("postgresql+psycopg://user:secret@127.0.0.1:9/x")
    assert "secret" not in str(caught.value)
    (tmp_path / "other.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(ServiceError, match="not a database"):
        window(f"sqlite:///{tmp_path / 'other.db'}")


def test_the_log_is_in_the_state_folder(tmp_path: Path) -> None:
    """By default, and where the setting is a relative SQLite path, the file is in the state."""
    assert log_url(ServeSettings(), tmp_path) == f"sqlite:///{tmp_path}/predictions.db"
    relative = ServeSettings(log="sqlite:///logs/said.db")
    assert log_url(relative, tmp_path) == f"sqlite:///{tmp_path}/logs/said.db"
    absolute = ServeSettings(log="sqlite:////var/said.db")
    assert log_url(absolute, tmp_path) == "sqlite:////var/said.db"
    server = "postgresql+psycopg://user:secret@host/x"
    assert log_url(ServeSettings(log=server), tmp_path) == server


_WRITER = """
import sys
from datetime import UTC, datetime
import numpy as np
import pandas as pd
from pipelines.serving.log import Answer, PredictionLog

log = PredictionLog.open(sys.argv[1])
row = 0
while True:
    size = row % 7 + 1
    log.add(Answer("r", datetime.now(UTC), "flights", "1",
        pd.DataFrame({"delay": np.arange(row, row + size, dtype=float)}),
        ["late"] * size, np.tile([0.75, 0.25], (size, 1)), ["late", "on_time"], 0.0))
    row += size
    if row % 50 < 7:
        print(log.written, log.dropped, flush=True)
"""


@pytest.mark.slow
def test_kill_9_loses_what_was_queued_and_no_more(url: str) -> None:
    """After kill -9 the file is whole, holds all that was committed, in order, and goes on."""
    child = subprocess.Popen(
        [sys.executable, "-c", _WRITER, url], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    committed = dropped = 0
    while committed < 2_000:
        committed, dropped = map(int, child.stdout.readline().split())
    os.kill(child.pid, signal.SIGKILL)
    # What it said before it died counts too.
    for line in child.stdout.read().splitlines(keepends=True):
        if line.endswith("\n"):
            committed, dropped = map(int, line.split())
    child.wait()
    assert child.returncode == -signal.SIGKILL
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        rows = connection.execute("select inputs from predictions order by id").fetchall()
    numbers = [json.loads(inputs)["delay"] for (inputs,) in rows]
    assert len(numbers) >= committed
    if not dropped:
        assert numbers == list(range(len(numbers)))
    log = PredictionLog.open(url)
    log.add(answer(-1))
    log.close()
    assert log.written == 1
    assert len(window(url)) == len(numbers) + 1


@pytest.mark.slow
def test_postgres(postgres: str) -> None:
    """A real Postgres takes the log by its address: batches, windows and odd text."""
    url = postgres
    assert window(url) == []
    log = PredictionLog.open(url)
    log.add(answer(0, 1_000))
    log.add(Answer(**{**vars(answer(1_000)), "predictions": ["\x00é"]}))
    log.add(answer(1_001, time=NOON + timedelta(days=1)))
    log.close()
    assert (log.written, log.dropped) == (1_002, 0)
    assert window(url) == list(range(1_002))
    assert window(url, since="2013-07-02") == [1_001]
    again = PredictionLog.open(url)
    again.add(answer(1_002))
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        # The server ends every other connection, as when it starts again.
        connection.execute(
            sa.text(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where pid <> pg_backend_pid() and datname = current_database()"
            )
        )
    engine.dispose()
    again.add(answer(1_003))
    assert again.flush()
    _lose_the_word(again)
    again.add(answer(1_004))
    again.close()
    assert (again.written, again.dropped) == (3, 0)
    assert sorted(window(url))[-3:] == [1_002, 1_003, 1_004]
