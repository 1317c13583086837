"""Who moves the alias: one at a time, and never halfway, in real stores."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.ledger import Ledger
from pipelines.promotion import DeploySettings, promote, reigns, served, strayed, undo
from pipelines.tracking import Tracker, TrackingSettings

ALIASES = {"alias": "champion", "previous_alias": "previous"}

# Runs in a process of its own, which has imported everything and opened nothing: forked from
# pytest's, a child would inherit the locks of its threads.
PREPARE = """
import json, os, signal, sqlite3, sys, time, traceback
from pathlib import Path
from pipelines import ledger as ledgers, promotion, tracking
from pipelines.promotion import DeploySettings, promote, reigns, settle
from pipelines.tracking import Tracker, TrackingSettings
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Runs
import psutil, sqlalchemy

ALIASES = {"alias": "champion", "previous_alias": "previous"}

def alone():
    # A connection must not be shared with a child.
    for store in (Registry, Runs):
        for engine in store._engine_map.values():
            engine.dispose()

def fork(work):
    alone()
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return child

def names(tracker):
    found = tracker.aliases("flights")
    return found.get("champion"), found.get("previous")

settings = TrackingSettings(uri=sys.argv[1])
tracker = Tracker.open(settings, Path(sys.argv[2]), "flights")
ledger = tracker.ledger("flights")
"""


def register(tracker: Tracker, versions: int) -> None:
    """Give a model versions; what is in them does not matter to an alias."""
    tracker._client.create_registered_model("flights")
    for _ in range(versions):
        run = tracker.start("run", tags={})
        tracker._client.create_model_version("flights", f"runs:/{run}/model", run_id=run)


@pytest.fixture
def tracker(tmp_path: Path) -> Tracker:
    """A new store with three versions of a model and no champion."""
    tracker = Tracker.open(TrackingSettings(), tmp_path, "flights")
    register(tracker, 3)
    return tracker


@pytest.fixture
def ledger(tracker: Tracker) -> Ledger:
    return tracker.ledger("flights")


def script(code: str, *arguments: object) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PREPARE + textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def events(ledger: Ledger) -> list[tuple[str, str | None]]:
    return [(entry.event, entry.version) for entry in ledger.entries()]


@pytest.mark.parametrize(
    "changes",
    [
        {"alias": "best", "previous_alias": "best"},
        {"alias": "latest"},
        {"alias": "v3"},
        {"alias": "the champion"},
        {"challenger_alias": "champion"},
        {"approval": "maybe"},
        {"approval_hours": 0},
        {"approval_hours": float("inf")},
        {"model": "a/b"},
        {"model": "a:b"},
        {"model": ".."},
        {"model": " "},
        {"smoke_rows": 0},
    ],
)
def test_names_that_mlflow_refuses_are_refused_in_the_project_file(changes: dict[str, Any]) -> None:
    """A bad name is the user's mistake, found before any work is done."""
    with pytest.raises(ValidationError):
        DeploySettings(**changes)


@pytest.mark.parametrize("model", ["flights", "späte flüge 2", "a.b-c_d", None])
def test_ordinary_model_names_are_taken(model: str | None) -> None:
    """The project folder's name is the default, so whatever a folder is called should do."""
    assert DeploySettings(model=model).model == model


def test_a_promotion_is_a_ticket_and_a_move(tracker: Tracker, ledger: Ledger) -> None:
    """Both aliases move, and the ledger says what replaced what, for whom and why."""
    first = promote(tracker, ledger, "1", expected=None, **ALIASES)
    second = promote(tracker, ledger, "2", expected="1", who="Ada", reason="better", **ALIASES)
    assert first.moved
    assert second.moved
    assert tracker.aliases("flights") == {"champion": "2", "previous": "1"}
    assert events(ledger) == [
        ("promoting", "1"),
        ("promoted", "1"),
        ("promoting", "2"),
        ("promoted", "2"),
    ]
    newest = ledger.entries()[-1]
    assert (newest.who, newest.reason, newest.details["from"]) == ("Ada", "better", "1")
    assert ledger.intact()


def test_a_champion_that_was_not_judged_against_stays(tracker: Tracker, ledger: Ledger) -> None:
    """Where another was promoted meanwhile, nothing moves, and the ledger says so."""
    promote(tracker, ledger, "1", expected=None, **ALIASES)
    late = promote(tracker, ledger, "2", expected=None, **ALIASES)
    assert not late.moved
    assert (late.expected, late.found, late.rival) == (None, "1", "")
    assert tracker.aliases("flights") == {"champion": "1"}
    assert events(ledger)[-1] == ("withdrawn", "2")


def test_promoting_the_champion_changes_nothing(tracker: Tracker, ledger: Ledger) -> None:
    """The previous champion is not forgotten when a deploy is done twice."""
    promote(tracker, ledger, "1", expected=None, **ALIASES)
    promote(tracker, ledger, "2", expected="1", **ALIASES)
    before = ledger.entries()
    again = promote(tracker, ledger, "2", expected="1", **ALIASES)
    assert (again.moved, again.found) == (False, "2")
    assert tracker.aliases("flights") == {"champion": "2", "previous": "1"}
    assert ledger.entries() == before


def test_a_promotion_can_be_undone(tracker: Tracker, ledger: Ledger) -> None:
    """Both aliases name again what they named before, also when that was nothing."""
    first = promote(tracker, ledger, "1", expected=None, **ALIASES)
    undo(tracker, ledger, first, reason="it answered otherwise")
    assert tracker.aliases("flights") == {}
    promote(tracker, ledger, "1", expected=None, **ALIASES)
    second = promote(tracker, ledger, "2", expected="1", **ALIASES)
    undo(tracker, ledger, second, reason="it answered otherwise")
    assert tracker.aliases("flights") == {"champion": "1"}
    promote(tracker, ledger, "2", expected="1", **ALIASES)
    third = promote(tracker, ledger, "3", expected="2", **ALIASES)
    undo(tracker, ledger, third, reason="it answered otherwise")
    assert tracker.aliases("flights") == {"champion": "2", "previous": "1"}
    served = reigns(ledger.entries(), "champion")
    assert [reign.version for reign in served] == ["1", None, "1", "2", "1", "2", "3", "2"]


def test_what_was_promoted_since_is_not_undone(tracker: Tracker, ledger: Ledger) -> None:
    """A smoke check that fails late takes back its own promotion and no other."""
    first = promote(tracker, ledger, "1", expected=None, **ALIASES)
    promote(tracker, ledger, "2", expected="1", **ALIASES)
    assert not undo(tracker, ledger, first, reason="too late").moved
    assert tracker.aliases("flights")["champion"] == "2"


def test_an_error_in_the_midst_closes_the_ticket(
    tracker: Tracker, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that goes on living does not hold up the others."""

    def fails(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(tracker, "point", fails)
        with pytest.raises(KeyboardInterrupt):
            promote(tracker, ledger, "1", expected=None, **ALIASES)
    assert events(ledger) == [("promoting", "1"), ("withdrawn", "1")]
    assert promote(tracker, ledger, "1", expected=None, **ALIASES).moved


def test_a_ticket_of_another_machine_holds_for_a_minute(
    tracker: Tracker, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process cannot be looked up: it is waited for, and then taken for dead."""
    from pipelines import promotion

    monkeypatch.setattr(promotion, "PATIENCE_SECONDS", 0.1)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(promotion.socket, "gethostname", lambda: "elsewhere")
        ticket = {**promotion._here(), "as": "promoted", "from": None, "previous": None}
    ledger.append("promoting", version="1", details={**ticket, **ALIASES, "then_previous": None})
    waited = promote(tracker, ledger, "2", expected=None, **ALIASES)
    assert not waited.moved
    assert "elsewhere" in waited.rival
    assert tracker.aliases("flights") == {}
    monkeypatch.setattr(promotion, "STALE_SECONDS", 0.0)
    assert promote(tracker, ledger, "2", expected=None, **ALIASES).moved
    assert ("withdrawn", "1") in events(ledger)


# -- several processes ---------------------------------------------------------------------


MAKE_VERSIONS = """
    tracker._client.create_registered_model("flights")
    for _ in range(3):
        run = tracker.start("run", tags={})
        tracker._client.create_model_version("flights", f"runs:/{run}/model", run_id=run)
"""

TWO_AT_ONCE = """
    def rival(version, gate, answer):
        def work():
            os.read(gate, 1)
            came = promote(tracker, ledger, version, expected="1", **ALIASES)
            os.write(answer, (json.dumps([version, came.moved, came.found]) + chr(10)).encode())
        return work

    promote(tracker, ledger, "1", expected=None, **ALIASES)
    rounds = []
    for _ in range(4):
        (wait, go), (read, write) = os.pipe(), os.pipe()
        children = [fork(rival(version, wait, write)) for version in ("2", "3")]
        os.write(go, b"..")
        assert {os.waitpid(child, 0)[1] for child in children} == {0}
        came = [json.loads(line) for line in os.read(read, 65536).splitlines()]
        rounds.append([came, names(tracker)])
        promote(tracker, ledger, "1", expected=names(tracker)[0], **ALIASES)
    print(json.dumps({"rounds": rounds, "intact": ledger.intact()}))
"""


def one_wins(found: dict[str, Any]) -> None:
    assert found["intact"]
    for came, (champion, previous) in found["rounds"]:
        (won,) = [version for version, moved, _ in came if moved]
        (told,) = [told for _, moved, told in came if not moved]
        assert champion == won == told
        assert previous == "1"


@pytest.mark.slow
def test_of_two_promotions_at_once_one_wins(tmp_path: Path, tracker: Tracker) -> None:
    """The other finds the champion changed and moves nothing."""
    one_wins(script(TWO_AT_ONCE, tracker.uri, tmp_path))


@pytest.mark.slow
def test_of_two_promotions_at_once_one_wins_on_postgres(tmp_path: Path, postgres: str) -> None:
    """The same where the database takes both at the same instant."""
    # Not from here: MLflow keeps its connections, and the server's end waits for them.
    one_wins(script(MAKE_VERSIONS + TWO_AT_ONCE, postgres, tmp_path))


@pytest.mark.slow
def test_kill_at_any_line_leaves_the_old_champion_or_the_new_one(
    tmp_path: Path, tracker: Tracker, ledger: Ledger
) -> None:
    """A promotion that is killed at its 1st, 2nd, ... line never leaves none, and the next works.

    Afterwards the ledger says what the alias says.
    """
    promote(tracker, ledger, "1", expected=None, **ALIASES)
    promote(tracker, ledger, "2", expected="1", **ALIASES)
    found = script(
        """
        import shutil

        PLACES = {promotion.__file__: None, ledgers.__file__: {"append", "add"},
                  tracking.__file__: {"point"}}

        def killed_at(line):
            seen = [0]
            def trace(frame, event, argument):
                code = frame.f_code
                functions = PLACES.get(code.co_filename, ())
                if functions is not None and code.co_name not in functions:
                    return None
                if event == "line":
                    if seen[0] == line:
                        os.kill(os.getpid(), signal.SIGKILL)
                    seen[0] += 1
                return trace
            sys.settrace(trace)
            promote(tracker, ledger, "3", expected="2", **ALIASES)
            sys.settrace(None)

        database = Path(sys.argv[1].removeprefix("sqlite:///"))
        kept = database.with_suffix(".kept")

        def start_over():
            alone()
            for rest in ("-wal", "-shm"):
                Path(f"{database}{rest}").unlink(missing_ok=True)
            shutil.copy(kept, database)

        alone()
        with sqlite3.connect(database) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        shutil.copy(database, kept)

        left, line, state = [], 0, None
        while True:
            start_over()
            status = os.waitpid(fork(lambda: killed_at(line)), 0)[1]
            if status == 0:
                break
            assert os.WIFSIGNALED(status), status
            champion, _ = names(tracker)
            assert champion in ("2", "3"), (line, champion)
            left.append(champion)
            line += 1
            before, state = state, (names(tracker), len(ledger.entries()))
            if state == before:  # what was recovered from one line ago
                continue
            settle(tracker, ledger)
            assert names(tracker) in [("2", "1"), ("3", "2")], (line, names(tracker))
            assert reigns(ledger.entries(), "champion")[-1].version == champion, line
            assert promotion._open(ledger.entries()) == [], line
            assert promote(tracker, ledger, "1", expected=champion, **ALIASES).moved, line
            assert names(tracker) == ("1", champion), line
            assert ledger.intact(), line
        print(json.dumps({"lines": line, "left": left}))
        """,
        tracker.uri,
        tmp_path,
    )
    # Killed before the move as well as after it, and never back again.
    assert found["left"] == sorted(found["left"])
    assert set(found["left"]) == {"2", "3"}


def test_an_alias_that_was_moved_by_hand_has_strayed(tracker: Tracker, ledger: Ledger) -> None:
    """Whether it names another version or none, the ledger knows which one serves."""
    assert strayed(tracker, ledger, "champion", None) is None
    assert strayed(tracker, ledger, "champion", "1") is None
    promote(tracker, ledger, "2", expected=None, **ALIASES)
    assert strayed(tracker, ledger, "champion", "2") is None
    assert strayed(tracker, ledger, "champion", "1") == "2"
    assert strayed(tracker, ledger, "champion", None) == "2"


def test_what_was_taken_back_has_not_served(tracker: Tracker, ledger: Ledger) -> None:
    """A version that was restored away is none that a rollback may name."""
    promote(tracker, ledger, "1", expected=None, **ALIASES)
    taken = promote(tracker, ledger, "2", expected="1", **ALIASES)
    undo(tracker, ledger, taken, reason="it answered otherwise")
    assert served(ledger.entries(), "champion") == ["1"]
