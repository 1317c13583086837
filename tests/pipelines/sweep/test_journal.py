"""pipelines.sweep.journal: what a sweep is resumed from."""

import math
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import ProjectError, ServiceError
from pipelines.sweep.journal import Journal, check_terms, in_use
from pipelines.sweep.trial import Outcome, Point

NUMBERS = st.floats(allow_nan=False)


def paused(number: int, rung: int = 0) -> Outcome:
    """An outcome with a checkpoint."""
    points = (Point(1, 0.5, 0.25, None), Point(2, 0.4, 0.5, 0.75))
    return Outcome(number, rung, "PAUSED", points, 0.5, checkpoint=b"%d at %d" % (number, rung))


@given(
    st.lists(
        st.builds(
            Outcome,
            number=st.integers(0, 30),
            rung=st.just(0),
            state=st.sampled_from(["PAUSED", "FINISHED", "FAILED"]),
            points=st.lists(
                st.builds(Point, st.integers(1, 99), NUMBERS, NUMBERS, st.none() | NUMBERS)
            ).map(tuple),
            seconds=st.floats(0, 1e6),
            error=st.text(),
            traceback=st.text(),
        ),
        unique_by=lambda outcome: outcome.number,
    )
)
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, outcomes: list[Outcome]
) -> None:
    """Every outcome comes back as it was, to the last bit and whatever its text, and once."""
    folder = tmp_path_factory.mktemp("journal")
    with Journal(folder, {}) as journal:
        for outcome in outcomes:
            journal.write(outcome)
    with Journal(folder, {}) as journal:
        assert len(journal._known) == len(outcomes)
        for outcome in outcomes:
            assert journal.take(outcome.number, outcome.rung) == outcome
            assert journal.take(outcome.number, outcome.rung) is None


def test_a_checkpoint(tmp_path: Path) -> None:
    """A checkpoint comes back as it was, until it is forgotten; there is none without one."""
    with Journal(tmp_path, {}) as journal:
        journal.write(paused(3))
        assert journal.checkpoint(3, 0) == b"3 at 0"
        assert journal.checkpoint(3, 1) is None
        journal.forget(3, 0)
        journal.forget(3, 0)
        assert journal.checkpoint(3, 0) is None


@given(cut=st.integers(0, 2_000))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_cut_off_anywhere(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """Wherever the file is cut off, the whole lines before are read and others go after them."""
    folder = tmp_path_factory.mktemp("journal")
    with Journal(folder, {"seed": 1}) as journal:
        for number in range(5):
            journal.write(paused(number))
    path = folder / "journal.jsonl"
    content = path.read_bytes()
    assert len(content) < 2_000
    path.write_bytes(content[:cut])
    whole = max(content[:cut].count(b"\n") - 1, 0)
    check_terms(folder, {"seed": 1})
    with Journal(folder, {"seed": 1}) as journal:
        assert len(journal._known) == whole
        journal.write(paused(9))
    with Journal(folder, {"seed": 1}) as journal:
        assert len(journal._known) == whole + 1
        assert journal.take(9, 0) is not None


def test_a_truncated_checkpoint(tmp_path: Path) -> None:
    """A trial whose last checkpoint is not what was written is done again from its start."""
    with Journal(tmp_path, {}) as journal:
        for outcome in (paused(0), paused(1), paused(0, 1)):
            journal.write(outcome)
    path = tmp_path / "checkpoints" / "00000-1.pickle"
    path.write_bytes(path.read_bytes()[:-1])
    with Journal(tmp_path, {}) as journal:
        assert journal.take(0, 0) is None
        assert journal.take(0, 1) is None
        assert journal.take(1, 0) is not None
        journal.write(paused(0))
    with Journal(tmp_path, {}) as journal:
        assert journal.take(0, 0) is not None
        # What it had reached before stands on the checkpoint that is lost.
        assert journal.take(0, 1) is None


def test_a_forgotten_checkpoint_is_no_loss(tmp_path: Path) -> None:
    """A trial whose checkpoint nobody needed any more is not done again."""
    with Journal(tmp_path, {}) as journal:
        journal.write(paused(0))
        journal.forget(0, 0)
    with Journal(tmp_path, {}) as journal:
        assert journal.take(0, 0) is not None


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"train": {"seed": 2, "trials": 9}, "data": "ab"}, "train.seed was 1 and is 2"),
        ({"train": {"seed": 1, "trials": 9}, "data": "cd"}, 'data was "ab" and is "cd"'),
        ({"train": {"seed": 1}, "data": "ab"}, "train.trials was 9 and is null"),
        ({"train": {"seed": 1, "trials": 9}, "data": "x" * 500}, "…"),
    ],
)
def test_other_terms(tmp_path: Path, now: dict[str, object], said: str) -> None:
    """A sweep begun under other terms is refused, and what differs is named."""
    begun = {"train": {"seed": 1, "trials": 9}, "data": "ab"}
    check_terms(tmp_path, now)
    with Journal(tmp_path, begun) as journal:
        journal.write(paused(0))
    for refuse in (lambda: check_terms(tmp_path, now), lambda: Journal(tmp_path, now)):
        with pytest.raises(ProjectError) as caught:
            refuse()
        assert said in caught.value.found
    check_terms(tmp_path, begun)
    with Journal(tmp_path, begun) as journal:
        assert len(journal._known) == 1


def test_the_time_goes_on(tmp_path: Path) -> None:
    """A resumed sweep has taken what it had taken when its last outcome came in."""
    with Journal(tmp_path, {}) as journal:
        journal.write(paused(0))
        first = journal.elapsed
    with Journal(tmp_path, {}) as journal:
        assert 0 <= journal.spent <= first + 1e-3
        assert journal.elapsed >= journal.spent


def test_infinite_numbers(tmp_path: Path) -> None:
    """A loss that is infinite or no number is written down as such."""
    points = (Point(1, math.inf, math.nan, None),)
    with Journal(tmp_path, {}) as journal:
        journal.write(Outcome(0, 0, "FAILED", points))
    with Journal(tmp_path, {}) as journal:
        found = journal.take(0, 0)
    assert found is not None
    assert found.points[0].loss == math.inf
    assert math.isnan(found.points[0].score)


@contextmanager
def no_more_than(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk(tmp_path: Path) -> None:
    """On a full disk the error is the machine's and says how to go on; what was whole is kept.

    The line that did not fit is no line, and others can follow once there is space.
    """
    with Journal(tmp_path, {}) as journal:
        journal.write(paused(0))
    size = (tmp_path / "journal.jsonl").stat().st_size
    with (
        pytest.raises(ServiceError, match="--resume"),
        no_more_than(size + 40),
        Journal(tmp_path, {}) as journal,
    ):
        journal.write(paused(1))
    assert (tmp_path / "journal.jsonl").stat().st_size == size + 40
    with Journal(tmp_path, {}) as journal:
        assert journal.take(0, 0) == Outcome(**{**vars(paused(0)), "checkpoint": None})
        assert journal.take(1, 0) is None
        journal.write(paused(1))
        assert journal.checkpoint(1, 0) == b"1 at 0"


def test_a_disk_too_full_for_a_checkpoint(tmp_path: Path) -> None:
    """A checkpoint is written whole or not at all, and its outcome after it."""
    with Journal(tmp_path, {}) as journal:
        big = Outcome(0, 0, "PAUSED", checkpoint=b"x" * 50_000)
        with pytest.raises(ServiceError, match="space"), no_more_than(10_000):
            journal.write(big)
        assert journal.checkpoint(0, 0) is None
    with Journal(tmp_path, {}) as journal:
        assert len(journal._known) == 0


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A folder that cannot be made is an error of the machine that names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="file"):
        Journal(tmp_path / "file" / "sweep", {})


def test_a_kill_loses_nothing(tmp_path: Path) -> None:
    """What was written is there for the next process though the first one was killed outright."""
    program = (
        "import os, signal, sys; from pathlib import Path;"
        "from pipelines.sweep.journal import Journal; from pipelines.sweep.trial import Outcome;"
        "journal = Journal(Path(sys.argv[1]), {});"
        "[journal.write(Outcome(n, 0, 'FAILED')) for n in range(20)];"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path], check=False)
    with Journal(tmp_path, {}) as journal:
        assert len(journal._known) == 20


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A sweep that a process is at is refused to another, untouched; when it ended it is free."""
    assert not in_use(tmp_path)
    with Journal(tmp_path, {}) as journal:
        journal.write(paused(0))
        before = (tmp_path / "journal.jsonl").read_bytes()
        assert in_use(tmp_path)
        with pytest.raises(ServiceError, match="One process at a time"):
            Journal(tmp_path, {})
        assert (tmp_path / "journal.jsonl").read_bytes() == before
    assert not in_use(tmp_path)
    with Journal(tmp_path, {}) as journal:
        assert len(journal._known) == 1
