"""Trials on their way to MLflow, while it goes away and processes are killed."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipelines import tracking, trials
from pipelines.errors import MissingError, ServiceError
from pipelines.sweep.trial import Point, Trial
from pipelines.tracking import TRIALS_TABLE, Tracker, TrackingSettings
from pipelines.trials import MAXIMUM_POINTS, Spool, entry_of

CURVE = tuple(Point(epoch, 1 / epoch, 0.8 + epoch / 100, 0.9) for epoch in range(1, 6))


def trial(number: int, **changes: Any) -> Trial:
    values = {
        "number": number,
        "family": "mlp",
        "params": {"layers": 4, "alpha": 1e-4, "solver": "adam", "nesterov": True},
        "state": "FINISHED",
        "score": 0.85,
        "train_score": 0.9,
        "curve": CURVE,
        "seconds": 0.5,
        "rung": 2,
        "units": 5,
    }
    return Trial(**{**values, **changes})


def tail(number: int) -> Trial:
    return trial(number, state="KILLED", rung=0, units=1, error="others were given more")


@pytest.fixture
def tracker(tmp_path: Path) -> Tracker:
    """A new store."""
    return Tracker.open(TrackingSettings(), tmp_path, "flights")


@pytest.fixture
def run_id(tracker: Tracker) -> str:
    """An open run."""
    return tracker.start("run", tags={})


def children(tracker: Tracker, run_id: str) -> dict[int, Any]:
    """Return the runs below a run by their trial's number, and see that no trial has two."""
    found = tracker._client.search_runs(
        [tracker.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'"
    )
    numbers = Counter(int(run.data.tags["tidegate.trial"]) for run in found)
    assert set(numbers.values()) <= {1}, numbers
    return {int(run.data.tags["tidegate.trial"]): run for run in found}


def whole(tracker: Tracker, run_id: str, count: int) -> bool:
    """Tell whether so many trials are there, each once, closed, with all its values."""
    found = children(tracker, run_id)
    assert sorted(found) == list(range(count))
    for run in found.values():
        assert run.info.status == "FINISHED"
        assert run.data.params["alpha"] == "0.0001"
        assert run.data.metrics["score"] == 0.85
        curve = tracker._client.get_metric_history(run.info.run_id, "epoch_score")
        assert [point.step for point in curve] == [1, 2, 3, 4, 5]
    return True


# -- what MLflow is told -------------------------------------------------------------------


def test_a_trial_is_a_run_of_its_own(tracker: Tracker, run_id: str) -> None:
    """With flat parameters, its learning curve by unit, its state, its rung and its parent."""
    tracker.log_trial(run_id, trial(3))
    tracker.log_trial(run_id, trial(4, state="KILLED", error="below the floor"))
    tracker.log_trial(run_id, trial(5, state="FAILED", score=None, train_score=None, curve=()))
    tracker.flush()
    found = children(tracker, run_id)
    assert {n: run.info.status for n, run in found.items()} == {
        3: "FINISHED",
        4: "KILLED",
        5: "FAILED",
    }
    first = found[3]
    assert first.data.params == {
        "family": "mlp",
        "layers": "4",
        "alpha": "0.0001",
        "solver": "adam",
        "nesterov": "True",
    }
    tags = {name: first.data.tags.get(f"tidegate.{name}") for name in ("rung", "units", "family")}
    assert tags == {"rung": "2", "units": "5", "family": "mlp"}
    assert first.data.metrics["score"] == 0.85
    curve = tracker._client.get_metric_history(first.info.run_id, "epoch_score")
    assert [(p.step, p.value) for p in curve] == [(p.epoch, p.score) for p in CURVE]
    assert found[4].data.tags["tidegate.error"] == "below the floor"
    assert "score" not in found[5].data.metrics
    assert first.info.end_time - first.info.start_time == 500


def test_a_traceback_is_kept_by_its_end(tracker: Tracker, run_id: str) -> None:
    """The last lines say what was wrong; an expected failure has none."""
    failed = {"state": "FAILED", "rung": 0, "curve": (), "score": None}
    tracker.log_trial(run_id, trial(0, error="E", traceback="File\n" * 3_000 + "E: it", **failed))
    tracker.log_trial(run_id, trial(1, error="diverged after 3 units", **failed))
    tracker.flush()
    found = children(tracker, run_id)
    assert len(found[0].data.tags["tidegate.traceback"]) == 8_000
    assert found[0].data.tags["tidegate.traceback"].endswith("File\nE: it")
    assert "tidegate.traceback" not in found[1].data.tags


@pytest.mark.parametrize("length", [*range(MAXIMUM_POINTS + 3), 700])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_a_curve_is_logged_at_its_rungs_and_its_best(length: int, place: float) -> None:
    """Short ones whole, long ones thinned; what has no training score is in trials.json alone."""
    best = round(place * (length - 1))
    curve = [Point(u + 1, 1.0, 0.9 if u == best else 0.5, 0.9) for u in range(length)]
    between = [Point(10_000 + unit, 1.0, 0.1) for unit in range(5)]
    entry = entry_of(trial(0, curve=(*curve, *between)), ended=0)
    steps = [step for name, _, step in entry.metrics if name == "epoch_score"]
    assert steps == sorted(set(steps))
    if length <= 1:
        assert steps == []
    elif length <= MAXIMUM_POINTS:
        assert steps == list(range(1, length + 1))
    else:
        assert 2 < len(steps) <= MAXIMUM_POINTS
        assert {1, best + 1, length} <= set(steps)


def test_a_trial_told_again_is_brought_up_to_date(tracker: Tracker, run_id: str) -> None:
    """A resumed sweep tells its trials again: as they were, or as what they have become."""
    for number in range(2):
        tracker.log_trial(run_id, trial(number, state="KILLED", error="the time was up", rung=1))
    tracker.finish(run_id, "KILLED")
    before = children(tracker, run_id)
    tracker.reopen(run_id)
    tracker.log_trial(run_id, trial(0, state="KILLED", error="the time was up", rung=1))
    tracker.log_trial(run_id, trial(1, score=0.95))
    tracker.finish(run_id, "FINISHED")
    after = children(tracker, run_id)
    assert [after[n].info.run_id for n in (0, 1)] == [before[n].info.run_id for n in (0, 1)]
    assert after[0].data.to_dictionary() == before[0].data.to_dictionary()
    assert after[0].info.end_time == before[0].info.end_time
    assert after[1].info.status == "FINISHED"
    assert after[1].data.metrics["score"] == 0.95
    assert after[1].data.tags["tidegate.rung"] == "2"
    assert after[1].data.tags["tidegate.error"] == ""


# -- more trials than MLflow's pages take --------------------------------------------------


def test_the_tail_fills_what_is_left(
    tracker: Tracker, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those beyond the first rung have a run first, then the others in order, and no more.

    One place is the winner's.
    """
    monkeypatch.setattr(trials, "MAXIMUM_CHILDREN", 5)
    for number in range(6):
        tracker.log_trial(run_id, trial(number) if number % 2 else tail(number))
    told = [trial(number) if number % 2 else tail(number) for number in range(6)]
    tracker.log_trials_table(run_id, told)
    tracker.flush()
    assert sorted(children(tracker, run_id)) == [0, 1, 3, 5]
    tracker.log_trial(run_id, trial(7))
    tracker.log_trial(run_id, tail(4), always=True)
    tracker.finish(run_id, "FINISHED")
    assert sorted(children(tracker, run_id)) == [0, 1, 3, 4, 5]


def test_a_tail_that_fits_is_written_whole(tracker: Tracker, run_id: str) -> None:
    """Of a small sweep each trial has a run, also without a table."""
    for number in range(4):
        tracker.log_trial(run_id, tail(number))
    tracker.finish(run_id, "FINISHED")
    assert sorted(children(tracker, run_id)) == [0, 1, 2, 3]


def test_the_table_has_every_trial(tracker: Tracker, run_id: str) -> None:
    """MLflow reads it as a table of its own; written again it replaces the one before."""
    told = [
        trial(0),
        trial(1, family="forest", params={"trees": 100}, state="FAILED", score=float("nan")),
    ]
    import mlflow

    for _ in range(2):
        tracker.log_trials_table(run_id, told)
    mlflow.set_tracking_uri(tracker.uri)  # in which it looks, whatever its client was given
    frame = tracker._client.load_table(tracker.experiment_id, TRIALS_TABLE, [run_id])
    assert list(frame["trial"]) == [0, 1]
    assert list(frame.columns[:9]) == [
        *("trial", "family", "state", "score", "train_score", "rung", "units", "seconds", "error")
    ]
    assert set(frame.columns[9:]) == {
        *("params.alpha", "params.layers", "params.nesterov", "params.solver", "params.trees")
    }
    tag = tracker.run(run_id).tags["mlflow.loggedArtifacts"]
    assert json.loads(tag) == [{"path": TRIALS_TABLE, "type": "table"}]
    kept = tracker.read_file(run_id, TRIALS_TABLE)
    assert kept is not None
    assert "NaN" not in kept.decode()


# -- the spool -----------------------------------------------------------------------------


def test_a_spool_that_was_cut_short_has_what_was_whole(tmp_path: Path) -> None:
    """A process may be killed at any byte; what is written after that is read."""
    spool = Spool(tmp_path / "a.jsonl")
    entries = [entry_of(trial(number), ended=number) for number in range(3)]
    spool.tell(entries[0])
    spool.tell(entries[1])
    spool.deliver(entries[0])
    spool.close()
    written = (tmp_path / "a.jsonl").read_bytes()
    seen = []
    for size in (*range(0, len(written), 7), len(written)):
        (tmp_path / "b.jsonl").write_bytes(written[:size])
        cut = Spool(tmp_path / "b.jsonl")
        numbers = [entry.number for entry in cut.read()]
        cut.tell(entries[2])
        assert [entry.number for entry in cut.read()] == [*numbers, 2]
        seen.append(numbers)
        cut.close(remove=True)
    assert [now for now, before in zip(seen, [None, *seen], strict=False) if now != before] == [
        [],
        [0],
        [0, 1],
        [1],
    ]


def test_an_entry_is_read_as_it_was_told(tmp_path: Path) -> None:
    """Whatever is in a trial survives, not finite numbers and any text too."""
    entry = entry_of(trial(0, score=float("inf"), error="é\n\u2028\ud800"), ended=1)
    with closing(Spool(tmp_path / "spool" / "a.jsonl")) as spool:
        spool.tell(entry)
        (read,) = spool.read()
    assert vars(read) == {**vars(entry), "metrics": [list(metric) for metric in entry.metrics]}


def test_one_process_at_a_time_has_a_run(tracker: Tracker, run_id: str, tmp_path: Path) -> None:
    """Two that delivered the same trials would write them twice."""
    tracker.log_trial(run_id, trial(0))
    other = Tracker.open(TrackingSettings(), tmp_path, "flights")
    for act in (other.deliver, other.reopen):
        with pytest.raises(ServiceError, match="another one has"):
            act(run_id)
    tracker.finish(run_id, "KILLED")
    other.reopen(run_id)


# -- runs that go on -----------------------------------------------------------------------


@pytest.mark.parametrize("status", ["KILLED", "FAILED", None])
def test_a_run_that_did_not_finish_goes_on(tracker: Tracker, run_id: str, status: Any) -> None:
    """Whatever ended it, it is RUNNING again, and finishes."""
    if status is not None:
        tracker.finish(run_id, status)
    tracker.reopen(run_id)
    assert tracker.run(run_id).status == "RUNNING"
    tracker.finish(run_id, "FINISHED")
    assert tracker.run(run_id).status == "FINISHED"


def test_a_run_that_is_gone_or_finished_does_not_go_on(tracker: Tracker, run_id: str) -> None:
    """There is nothing to resume."""
    with pytest.raises(MissingError, match="no run"):
        tracker.reopen("0" * 32)
    tracker.finish(run_id, "FINISHED")
    with pytest.raises(MissingError, match="FINISHED"):
        tracker.reopen(run_id)


def test_a_run_that_was_deleted_does_not_go_on(tracker: Tracker, run_id: str) -> None:
    """MLflow would refuse each trial of it."""
    tracker._client.delete_run(run_id)
    with pytest.raises(MissingError, match="deleted"):
        tracker.reopen(run_id)


# -- outages -------------------------------------------------------------------------------


def ask(tracker: Tracker, query: str) -> None:
    with closing(sqlite3.connect(tracker.uri.removeprefix("sqlite:///"))) as database:
        database.execute(query)


def test_what_mlflow_does_not_take_is_spooled(
    tracker: Tracker, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run fails, the message says how many are where, and the next command delivers them."""
    monkeypatch.setattr(trials, "PATIENCE_SECONDS", 0.5)
    away = "CREATE TRIGGER away BEFORE INSERT ON params BEGIN SELECT RAISE(ABORT, 'away'); END"
    ask(tracker, away)
    for number in range(3):
        tracker.log_trial(run_id, trial(number))
    with pytest.raises(ServiceError, match="3 not written") as caught:
        tracker.finish(run_id, "FINISHED")
    spool = tmp_path / ".tidegate" / "spool" / f"{run_id}.jsonl"
    assert str(spool) in caught.value.found
    assert "train --resume" in caught.value.next_move
    assert tracker.run(run_id).status == "FAILED"
    ask(tracker, "DROP TRIGGER away")
    again = Tracker.open(TrackingSettings(), tmp_path, "flights")
    assert again.deliver(run_id) == 3
    assert whole(again, run_id, 3)
    assert again.deliver(run_id) == 0
    assert not spool.exists()


def test_a_trial_that_mlflow_refuses_holds_up_no_other(
    tracker: Tracker, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are written, and it is counted at the end."""
    monkeypatch.setattr(trials, "PATIENCE_SECONDS", 0.5)
    ask(
        tracker,
        "CREATE TRIGGER no BEFORE INSERT ON params WHEN NEW.value = 'bad' "
        "BEGIN SELECT RAISE(ABORT, 'it is bad'); END",
    )
    tracker.log_trial(run_id, trial(9, params={"solver": "bad"}))
    for number in range(3):
        tracker.log_trial(run_id, trial(number))
    with pytest.raises(ServiceError, match="1 not written"):
        tracker.flush()
    found = children(tracker, run_id)
    assert {n: run.info.status for n, run in found.items()} == {
        **dict.fromkeys(range(3), "FINISHED"),
        9: "RUNNING",
    }


@pytest.mark.parametrize("call", ["create", "complete"])
def test_a_request_whose_answer_was_lost_is_not_repeated_blindly(
    tracker: Tracker, run_id: str, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """MLflow carried it out and went away before it said so: it is asked what it has."""
    real, lost = getattr(tracking._Children, call), []

    def cut(*arguments: Any) -> Any:
        done = real(*arguments)
        if len(lost) < 3:
            lost.append(arguments)
            raise ServiceError("it went away")
        return done

    monkeypatch.setattr(tracking._Children, call, cut)
    for number in range(3):
        tracker.log_trial(run_id, trial(number))
    tracker.flush()
    assert len(lost) == 3
    assert whole(tracker, run_id, 3)


def test_a_request_that_came_through_after_all_leaves_one_run(
    tracker: Tracker, run_id: str
) -> None:
    """A call that was given up and carried out gives a trial two runs; the whole one stays."""
    tracker.log_trial(run_id, trial(0))
    tracker.flush()
    (kept,) = children(tracker, run_id).values()
    tracker._client.create_run(
        tracker.experiment_id,
        start_time=1,
        tags={"mlflow.parentRunId": run_id, "tidegate.trial": "0"},
    )
    tracker.finish(run_id, "FINISHED")
    assert children(tracker, run_id)[0].info.run_id == kept.info.run_id


@pytest.mark.slow
def test_a_locked_store_gets_its_trials_later(
    tracker: Tracker, run_id: str, tmp_path: Path
) -> None:
    """Another program may hold the database for longer than MLflow waits for it."""
    tracker.log_trial(run_id, trial(0))
    tracker.flush()
    with closing(sqlite3.connect(tracker.uri.removeprefix("sqlite:///"))) as other:
        other.execute("BEGIN EXCLUSIVE")
        for number in range(1, 4):
            tracker.log_trial(run_id, trial(number))
        delivery = tracker._delivery(run_id)
        with pytest.raises(ServiceError, match="3 not written"):
            tracker.finish(run_id, "FINISHED")
        other.rollback()
    delivery._thread.join()
    again = Tracker.open(TrackingSettings(), tmp_path, "flights")
    again.reopen(run_id)
    again.log_trial(run_id, trial(4))
    again.finish(run_id, "FINISHED")
    assert whole(again, run_id, 5)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """A server's address, and how to start and to stop it."""
    local = Tracker.open(TrackingSettings(), tmp_path / "server", "elsewhere")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        running.append(local.start_pages(host="127.0.0.1", port=port, folder=tmp_path))
        deadline = time.monotonic() + 120
        while True:
            try:
                Tracker.open(TrackingSettings(uri=uri), tmp_path / "project", "flights")
                return
            except ServiceError:
                assert time.monotonic() < deadline, (tmp_path / "mlflow-ui.log").read_text()
                time.sleep(0.5)

    def stop() -> None:
        process = running.pop()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    yield uri, start, stop
    if running:
        stop()


@pytest.mark.slow
def test_a_server_that_was_away_gets_each_trial_once(
    tmp_path: Path, server: tuple[str, Callable[[], None], Callable[[], None]]
) -> None:
    """Killed amid a sweep and started again; the sweep goes on, and all is there at the end."""
    uri, start, stop = server
    start()
    tracker = Tracker.open(TrackingSettings(uri=uri), tmp_path / "project", "flights")
    run_id = tracker.start("run", tags={})
    for number in range(4):
        tracker.log_trial(run_id, trial(number))
    spool = tmp_path / "project" / ".tidegate" / "spool" / f"{run_id}.jsonl"
    while spool.read_text().count('"delivered"') < 2:
        time.sleep(0.01)
    stop()
    for number in range(4, 8):
        tracker.log_trial(run_id, trial(number))
    with closing(Spool.__new__(Spool)) as reader:
        reader._file, reader.path = os.open(spool, os.O_RDONLY), spool
        assert {4, 5, 6, 7} <= {entry.number for entry in reader.read()}
    while tracker._delivery(run_id)._failure is None:
        time.sleep(0.05)
    start()
    for number in range(8, 10):
        tracker.log_trial(run_id, trial(number))
    tracker.finish(run_id, "FINISHED")
    assert whole(tracker, run_id, 10)
    assert tracker.run(run_id).status == "FINISHED"
    assert not spool.exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="it forks")
def test_a_process_killed_at_any_line_leaves_each_trial_once(tmp_path: Path) -> None:
    """Killed at the 1st, 2nd, ... line of the thread that writes; the next process does the rest.

    Half-written runs are completed, and none is written twice.
    """
    code = """
        import json, os, signal, sys, threading
        from pathlib import Path
        import mlflow.store.tracking.sqlalchemy_store
        from pipelines import tracking, trials
        from pipelines.sweep.trial import Point, Trial
        from pipelines.tracking import Tracker, TrackingSettings

        PLACES = {trials.__file__: {"_deliver", "_settle", "deliver", "_append", "close"},
                  tracking.__file__: {"create", "complete"}}
        folder = Path(sys.argv[1])
        curve = tuple(Point(u, 1 / u, 0.8 + u / 100, 0.9) for u in range(1, 6))

        def told(number):
            return Trial(number, "mlp", {"alpha": 1e-4}, "FINISHED", 0.85, 0.9, curve, rung=2,
                         units=5)

        def killed_at(line):
            seen = [0]
            def trace(frame, event, argument):
                code = frame.f_code
                if code.co_name not in PLACES.get(code.co_filename, ()):
                    return None
                if event == "line":
                    if seen[0] == line:
                        os.kill(os.getpid(), signal.SIGKILL)
                    seen[0] += 1
                return trace
            tracker = Tracker.open(TrackingSettings(), folder, "flights")
            run_id = tracker.start("run", tags={"line": line})
            threading.settrace(trace)
            with tracker._delivery(run_id)._changed:
                for number in range(2):
                    tracker.log_trial(run_id, told(number))
            tracker.finish(run_id, "FINISHED")

        def fork(act):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    act()
                    code = 0
                finally:
                    os._exit(code)
            return child

        line = 0
        while True:
            status = os.waitpid(fork(lambda: killed_at(line)), 0)[1]
            if status == 0:
                break
            assert os.WIFSIGNALED(status), status
            line += 1
        print(line)
    """
    Tracker.open(TrackingSettings(), tmp_path, "flights")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = int(done.stdout)
    tracker = Tracker.open(TrackingSettings(), tmp_path, "flights")
    runs = {
        run.data.tags["line"]: run.info.run_id
        for run in tracker._client.search_runs([tracker.experiment_id], "tags.line != ''")
    }
    before = Counter(len(children(tracker, run_id)) for run_id in runs.values())
    assert set(before) == {0, 1, 2}
    for line in range(lines):
        run_id = runs[str(line)]
        try:
            tracker.deliver(run_id)
            spooled = sorted(children(tracker, run_id))
        except Exception as err:
            err.add_note(f"killed at line {line}")
            raise
        if spooled:
            assert whole(tracker, run_id, 2), line
    assert not list((tmp_path / ".tidegate" / "spool").iterdir())
