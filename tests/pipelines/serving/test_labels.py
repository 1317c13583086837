"""The truth in the prediction log: late, in any order, and kept before it is said to be."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import InputError, ServiceError
from pipelines.serving.log import Answer, Label, PredictionLog, Receipt, ShadowAnswer
from pipelines.serving.tables import FORM
from pipelines.serving.window import last_times, read_window, versions

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)


def answer(request: str, rows: int = 1, *, time: datetime = NOON, version: str = "1") -> Answer:
    """Answer a request of so many rows, of which the first has a level never seen."""
    return Answer(
        request_id=request,
        time=time,
        name="flights",
        version=version,
        inputs={"delay": [float(n) for n in range(rows)], "tail": ["N1"] * rows},
        predictions=["late"] * rows,
        probabilities=np.tile([0.75, 0.25], (rows, 1)),
        classes=["late", "on_time"],
        seconds=0.002,
        flags=[("tail",), *[()] * (rows - 1)],
    )


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The address of a log that is not there yet."""
    return f"sqlite:///{tmp_path / 'predictions.db'}"


@pytest.fixture
def log(url: str) -> PredictionLog:
    """An open log with two requests, of two rows and of one."""
    opened = PredictionLog.open(url)
    opened.add(answer("a", 2))
    opened.add(answer("b", time=NOON + timedelta(hours=1), version="2"))
    assert opened.flush()
    return opened


def test_labels_are_joined_by_request_and_row(log: PredictionLog, url: str) -> None:
    """A label belongs to one row of one request; a row without one has none."""
    seen = NOON + timedelta(days=30)
    sent = [Label("b", 0, "on_time", seen), Label("a", 1, "late")]
    assert log.record_labels("flights", sent) == Receipt(2, 0, 0, 0)
    log.close()
    about = read_window(url, name="flights").about
    assert about["label"].tolist() == [None, "late", "on_time"]
    assert about["label_time"].isna().tolist() == [True, False, False]
    assert about["version"].tolist() == ["1", "1", "2"]
    assert about["flags"].tolist() == [["tail"], [], ["tail"]]
    assert read_window(url, name="flights", version="2").labelled.tolist() == [True]
    assert versions(url, name="flights") == {"1": 2, "2": 1}
    request, label = last_times(url, name="flights")
    assert request == NOON + timedelta(hours=1)
    assert label is not None
    assert abs((datetime.now(UTC) - label).total_seconds()) < 60


def test_labels_may_be_repeated_changed_and_unknown(log: PredictionLog, url: str) -> None:
    """The same label again is nothing new; another holds from then on; unknown ones are kept."""
    twice = [Label("a", 0, "late"), Label("a", 0, "late"), Label("c", 0, "late")]
    assert log.record_labels("flights", twice) == Receipt(2, 1, 0, 1)
    assert log.record_labels("flights", [Label("a", 0, "on_time")]) == Receipt(0, 0, 1, 0)
    assert log.record_labels("flights", [Label("a", 7, "late")]) == Receipt(1, 0, 0, 1)
    assert log.record_labels("flights", []) == Receipt(0, 0, 0, 0)
    log.add(answer("c", time=NOON - timedelta(hours=1)))
    log.close()
    about = read_window(url, name="flights").about
    assert about["label"].tolist() == ["late", "on_time", None, None]
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        (kept,) = connection.execute("select count(*) from labels").fetchone()
    assert kept == 4


@pytest.mark.parametrize("label", [True, False, 3, "é\x00", "3"])
def test_labels_keep_their_type(log: PredictionLog, url: str, label: bool | int | str) -> None:
    """A label that is true, a number or an odd text is read as what it was."""
    log.record_labels("flights", [Label("b", 0, label)])
    log.close()
    found = read_window(url, name="flights", version="2").about["label"].iloc[0]
    assert found == label
    assert type(found) is type(label)


def test_more_labels_than_a_statement_takes(log: PredictionLog, url: str) -> None:
    """Thousands of labels at once are kept, each once."""
    many = [Label(f"r{n}", 0, "late") for n in range(3_000)]
    assert log.record_labels("flights", many) == Receipt(3_000, 0, 0, 3_000)
    assert log.record_labels("flights", many[::-1]) == Receipt(0, 3_000, 0, 0)
    log.close()


def test_a_database_that_refuses_is_told(log: PredictionLog, url: str) -> None:
    """Where labels cannot be written their sender is told so."""
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("drop table labels")
    with pytest.raises(ServiceError, match="labels"):
        log.record_labels("flights", [Label("a", 0, "late")])
    log.close()


def test_a_shadow_stands_beside_the_answer(log: PredictionLog, url: str) -> None:
    """What an unheard version said is read beside what was answered."""
    log.add(
        ShadowAnswer("b", "flights", "3", ["on_time"], np.array([[0.4, 0.6]]), ["late", "on_time"])
    )
    log.close()
    assert read_window(url, name="flights").about["shadow_prediction"].tolist() == [
        None,
        None,
        "on_time",
    ]


def test_redacted_columns_are_not_written(url: str, tmp_path: Path) -> None:
    """A redacted column is nowhere in the file, and the others are."""
    log = PredictionLog.open(url, redact=["tail"])
    log.add(answer("secret", 2))
    log.close()
    assert list(read_window(url, name="flights").frame.columns[:2]) == ["delay", "prediction"]
    log = PredictionLog.open(url, redact=["tail", "delay"])
    log.add(answer("all"))
    log.close()
    for file in tmp_path.iterdir():
        assert b"N1" not in file.read_bytes()
    assert len(read_window(url, name="flights")) == 3


OLD = """
create table predictions (id integer primary key, request_id varchar(64) not null,
  "row" integer not null, time datetime not null, model_name text not null,
  model_version text not null, inputs text not null, prediction text not null,
  probabilities text not null, latency_ms float not null);
insert into predictions values (1, 'old', 0, '2013-07-01 12:00:00.000000', 'flights', '1',
  '{"delay": 5.0}', '"late"', '{"late": 0.75, "on_time": 0.25}', 2.0);
"""


def test_an_old_log_is_read_as_it_is_and_migrated_when_it_is_written(url: str) -> None:
    """A log of the form before loses no row; reading it changes nothing, opening it does."""
    path = url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        connection.executescript(OLD)
    before = Path(path).read_bytes()
    assert read_window(url, name="flights").about["flags"].tolist() == [[]]
    assert Path(path).read_bytes()[100:] == before[100:]
    log = PredictionLog.open(url)
    log.add(answer("new"))
    assert log.record_labels("flights", [Label("old", 0, "late")]) == Receipt(1, 0, 0, 0)
    log.close()
    about = read_window(url, name="flights").about
    assert about["request_id"].tolist() == ["old", "new"]
    assert about["label"].tolist() == ["late", None]
    PredictionLog.open(url).close()
    with sqlite3.connect(path) as connection:
        keys = [key for (key,) in connection.execute("select key from predictions")]
        assert all(keys)
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
            connection.execute("update predictions set key = 'same'")


_MIGRATION = """
import sys
from pipelines.serving.tables import engine_of, prepare
engine = engine_of(sys.argv[1])
print("go", flush=True)
prepare(engine, sys.argv[1])
"""


@pytest.mark.slow
def test_kill_9_in_a_migration_loses_no_row(url: str) -> None:
    """An old log whose migration is killed is whole, and the next one brings it to its end."""
    path = url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        connection.executescript(OLD)
        again = (
            "insert into predictions select id + ?, request_id, row + ?, time, model_name,"
            " model_version, inputs, prediction, probabilities, latency_ms from predictions"
        )
        for power in range(16):
            connection.execute(again, (2**power, 2**power))
    killed = 0
    for seconds in (0.05, 0.1, 0.2, 0.3):
        child = subprocess.Popen([sys.executable, "-c", _MIGRATION, url], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(seconds)
        os.kill(child.pid, signal.SIGKILL)
        killed += child.wait() == -signal.SIGKILL
        assert versions(url, name="flights") == {"1": 2**16}
    assert killed
    PredictionLog.open(url).close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        found = connection.execute("select count(key), count(distinct row) from predictions")
        assert found.fetchone() == (2**16, 2**16)


def test_a_newer_log_is_refused(log: PredictionLog, url: str) -> None:
    """A log of a form that is not known is left alone, and the message says what to do."""
    log.close()
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute("insert into prediction_log_form values (?)", (FORM + 1,))
    with pytest.raises(InputError, match=f"has form {FORM + 1}"):
        PredictionLog.open(url)


KILLED = """
import sys
from pipelines.serving.log import Label, PredictionLog
log = PredictionLog.open(sys.argv[1])
for number in range(100_000):
    log.record_labels("flights", [Label(f"r{number}", 0, "late")])
    print(number, flush=True)
"""


def test_a_label_that_was_confirmed_outlives_the_process(url: str) -> None:
    """Kill -9 right after the word that a label is kept: it is."""
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, url], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) == 50:
            break
    child.send_signal(signal.SIGKILL)
    said = 50 + len(child.stdout.readlines())
    child.wait()
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        (kept,) = connection.execute("select count(*) from labels").fetchone()
    assert kept >= said + 1


def test_two_processes_write_one_log(url: str) -> None:
    """Two services that start at once on a new log lose no row and no label."""
    code = KILLED.replace("100_000", "200").replace('f"r{number}"', 'f"{sys.argv[2]}{number}"')
    both = [
        subprocess.Popen([sys.executable, "-c", code, url, name], stdout=subprocess.DEVNULL)
        for name in ("a", "b")
    ]
    assert [child.wait(timeout=120) for child in both] == [0, 0]
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        (kept,) = connection.execute("select count(*) from labels").fetchone()
    assert kept == 400


@pytest.mark.slow
def test_labels_on_postgres(postgres: str) -> None:
    """A real Postgres keeps labels as SQLite does."""
    url = postgres
    log = PredictionLog.open(url)
    log.add(replace(answer("a", 2), name="trains"))
    assert log.flush()
    assert log.record_labels("trains", [Label("a", 1, "late")] * 2) == Receipt(1, 1, 0, 0)
    log.close()
    assert read_window(url, name="trains").about["label"].tolist() == [None, "late"]
