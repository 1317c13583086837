"""pipelines.sweep.search: who is given what, in which order, and what is made of it.

The trials here are invented: what a configuration scores after so many units is drawn from its
seed. So a whole sweep takes milliseconds, and its decisions can be held against the rule.
"""

import contextlib
import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import SweepError
from pipelines.models.families import FAMILIES
from pipelines.sweep.journal import Journal
from pipelines.sweep.rungs import WORST, units_at
from pipelines.sweep.search import DISPATCH_SECONDS, Progress, Search
from pipelines.sweep.settings import TrainSettings
from pipelines.sweep.trial import Job, Outcome, Point, Trial
from pipelines.sweep.workers import Lost

SHAPE = {"rows": 20_000, "columns": 10, "classes": 2}

Fit = Callable[[Job], Outcome | Lost]


def invent(job: Job) -> Outcome:
    """Go on with an invented trial: one in twelve diverges, one in eight ends before the top."""
    start = 0 if job.checkpoint is None else int(job.checkpoint)
    drawn = np.random.default_rng(job.seed)
    most, pace, fate, at = drawn.random(4)
    rung_of_fate = int(3 * at)
    stepwise = FAMILIES[job.family].resource == "epochs"
    # Coarse scores: equals are common.
    score = {
        units: round(most * (1 - 1 / (1 + pace * units)), 1)
        for units in (range(start + 1, job.units + 1) if stepwise else (job.units,))
    }
    points = tuple(Point(n, 1 - most, score[n], score[n]) for n in score)
    if job.rung == rung_of_fate and fate < 1 / 12:
        return Outcome(job.number, job.rung, "FAILED", points[:-1], 0.1, "diverged after 1 units")
    ended = job.final or (job.rung == rung_of_fate and fate > 7 / 8)
    state = "FINISHED" if ended else "PAUSED"
    return Outcome(job.number, job.rung, state, points, 0.1, checkpoint=str(job.units).encode())


class Here:
    """Runs jobs in the test's own process, and lets their outcomes come in any order.

    Parameters
    ----------
    count : int
    fit : callable
    seed : int or None
        Of the order in which outcomes come in; None for that of the jobs.
    whole : bool
        Whether every job above the first rung has to come with its checkpoint.
    """

    def __init__(
        self, count: int = 1, fit: Fit = invent, seed: int | None = None, *, whole: bool = True
    ) -> None:
        self.count = count
        self.whole = whole
        self.fit = fit
        self.log: list[Job] = []
        self._random = None if seed is None else random.Random(seed)
        self._held: list[Job] = []

    @property
    def idle(self) -> int:
        """How many more jobs can be submitted."""
        return self.count - len(self._held)

    def share(self, folder: Path) -> None:
        """Invented trials need no rows."""

    def submit(self, job: Job) -> None:
        """Hold a job until it is waited for."""
        assert self.idle > 0
        assert (job.checkpoint is None) == (job.rung == 0) or not self.whole
        self.log.append(job)
        self._held.append(job)

    def wait(self, timeout: float | None) -> list[Outcome | Lost]:
        """Do the next job, or some of those held, or none."""
        assert self._held, "the driver waits for nothing"
        if self._random is None:
            return [self.fit(self._held.pop(0))]
        self._random.shuffle(self._held)
        some = self._random.randint(0, min(3, len(self._held)))
        return [self.fit(self._held.pop()) for _ in range(some)]

    def stop(self) -> None:
        """Forget them."""
        self._held.clear()

    @property
    def jobs(self) -> list[tuple[int, int]]:
        """The number and the rung of each job submitted."""
        return [(job.number, job.rung) for job in self.log]


class Swept:
    """A search that has been run, and what it told on the way."""

    def __init__(
        self,
        folder: Path,
        workers: Here | None = None,
        *,
        on_trial: Callable[[Trial], None] = lambda trial: None,
        terms: dict[str, Any] | None = None,
        **given: Any,
    ) -> None:
        self.settings = TrainSettings(**{"trials": 24, "max_epochs": 27, **given})
        self.workers = workers or Here()
        self.told: list[Trial] = []
        self.progress: list[Progress] = []

        def tell(trial: Trial, best: Trial | None) -> None:
            self.told.append(trial)
            on_trial(trial)

        with Journal(folder, terms or {}) as journal:
            self.search = Search(
                self.settings,
                {name: FAMILIES[name] for name in self.settings.families},
                **SHAPE,
                executor=self.workers,
                journal=journal,
                on_trial=tell,
                on_progress=self.progress.append,
            )
            self.search.run()

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial, in the order of their numbers."""
        return self.search.trials

    @property
    def winner(self) -> int:
        """The number of the best one."""
        return self.search.best().number

    @property
    def facts(self) -> list[Any]:
        """All that has to be the same: trials, winner, order in which it was told, rungs."""
        return [
            [replace(trial, seconds=0) for trial in self.trials],
            self.winner,
            self.search.stopped,
            [trial.number for trial in self.told],
            self.search.rungs,
        ]


@pytest.fixture
def swept(tmp_path: Path) -> Callable[..., Swept]:
    """A search in a folder of its own, unless one is named."""
    made = Counter[str]()

    def run(workers: Here | None = None, **given: Any) -> Swept:
        made["folders"] += 1
        folder = given.pop("folder", tmp_path / str(made["folders"]))
        return Swept(folder, workers, **given)

    return run


def rule(trials: tuple[Trial, ...], settings: TrainSettings, rungs: int) -> set[tuple[int, int]]:
    """Work out which jobs successive halving by promotion gives one family, by brute force.

    Of the search it knows the configurations alone. Three jobs are in flight, and later one for
    eight whose results are known, up to the setting. A job ends when its planned cost is over;
    then the free place goes to the best trial of the highest rung that is among the best third
    of those known there and has not gone on; else to a new trial. When there are no more, and
    nothing is on its way to a rung or below it, the third is rounded up.
    """
    jobs: set[tuple[int, int]] = set()
    known: list[dict[int, tuple[float, float]]] = [{} for _ in range(rungs)]
    waiting: set[tuple[int, int]] = set()
    standing: dict[int, tuple[int, Outcome]] = {}
    flying: list[tuple[float, int, int, int]] = []
    tops: dict[int, tuple[float, float]] = {}
    now, new, order, ended = 0.0, 0, 0, 0

    def goes_on(rung: int, share: int) -> int | None:
        best = sorted(known[rung], key=lambda n: (*(-x for x in known[rung][n]), n))[:share]
        return next((n for n in best if (n, rung) in waiting), None)

    def next_job() -> tuple[int, int] | None:
        nonlocal new
        for rung in reversed(range(rungs - 1)):
            if (number := goes_on(rung, len(known[rung]) // 3)) is not None:
                return number, rung + 1
        if new < len(trials):
            new += 1
            return new - 1, 0
        for rung in range(rungs - 1):
            if any(at <= rung for *_, at in flying):
                return None
            if (number := goes_on(rung, -(-len(known[rung]) // 3))) is not None:
                return number, rung + 1
        return None

    while True:
        places = min(settings.lookahead, max(3, ended // 8))
        while len(flying) < places and (job := next_job()):
            number, rung = job
            waiting.discard((number, rung - 1))
            jobs.add(job)
            trial = trials[number]
            family = FAMILIES[trial.family]
            most = family.most(trial.params, rows=SHAPE["rows"], max_epochs=settings.max_epochs)
            units = units_at(rung, rungs, most)
            done, _last = standing.get(number, (0, None))
            cost = DISPATCH_SECONDS + family.cost(trial.params, **SHAPE) * (units - done)
            heapq.heappush(flying, (now + cost, order, number, rung))
            order += 1
        if not flying:
            return jobs
        ends, _, number, rung = heapq.heappop(flying)
        ended += 1
        now = max(now, ends)
        trial = trials[number]
        most = FAMILIES[trial.family].most(
            trial.params, rows=SHAPE["rows"], max_epochs=settings.max_epochs
        )
        outcome = invent(
            Job(
                number=number,
                family=trial.family,
                params=trial.params,
                seed=_seeds(settings)[number],
                rung=rung,
                units=units_at(rung, rungs, most),
                final=rung == rungs - 1,
                scoring="accuracy",
                patience=5,
                max_epochs=settings.max_epochs,
                checkpoint=None if rung == 0 else str(units_at(rung - 1, rungs, most)).encode(),
            )
        )
        if outcome.points:
            standing[number] = outcome.points[-1].epoch, outcome
            best = max(point.rank for point in outcome.points)
            tops[number] = max(tops.get(number, best), best)
        if outcome.state == "FAILED":
            known[rung][number] = WORST
        else:
            known[rung][number] = tops[number]
        if outcome.state == "PAUSED":
            waiting.add((number, rung))


def _seeds(settings: TrainSettings) -> list[int]:
    from pipelines.sweep.proposals import seed_of

    return [seed_of(settings.seed, number, 1) for number in range(settings.trials)]


@pytest.mark.parametrize("lookahead", [1, 3, 8, 20])
@pytest.mark.parametrize(("family", "rungs"), [("mlp", 4), ("boosting", 3), ("linear", 3)])
def test_promotions_are_the_rule(
    swept: Callable[..., Swept], family: str, rungs: int, lookahead: int
) -> None:
    """The jobs of a sweep are those of the rule, worked out anew by brute force."""
    for seed in range(3):
        found = swept(families=(family,), lookahead=lookahead, seed=seed, trials=20)
        assert len(set(found.workers.jobs)) == len(found.workers.jobs)
        assert set(found.workers.jobs) == rule(found.trials, found.settings, rungs)


ANY_ORDER = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@given(
    count=st.sampled_from([1, 2, 4, 16]),
    order=st.integers(0, 10**6),
    lookahead=st.sampled_from([1, 8, 20]),
    seed=st.integers(0, 5),
)
@ANY_ORDER
def test_any_number_of_workers_in_any_order(
    swept: Callable[..., Swept], count: int, order: int, lookahead: int, seed: int
) -> None:
    """Trials, winner and what is told hang on no number of workers, and on no order of theirs."""
    calm = swept(lookahead=lookahead, seed=seed)
    assert {"KILLED", "FINISHED"} <= {trial.state for trial in calm.trials}
    hasty = swept(Here(count, seed=order), lookahead=lookahead, seed=seed)
    assert hasty.facts == calm.facts


def test_the_clock_may_decide(swept: Callable[..., Swept]) -> None:
    """With deterministic = false the budget is worked off as well, by the rule, in any order."""
    for order in range(5):
        found = swept(Here(4, seed=order), deterministic=False)
        assert len(found.trials) == 24
        assert len(set(found.workers.jobs)) == len(found.workers.jobs)
        assert sorted(trial.number for trial in found.told) == list(range(24))
        for rung in found.search.rungs:
            assert rung.promoted <= max(rung.entered, 1)
        assert found.search.stopped == "trials"


@given(order=st.integers(0, 10**6), seed=st.integers(0, 50))
@ANY_ORDER
def test_each_trial_is_told_once(swept: Callable[..., Swept], order: int, seed: int) -> None:
    """Every trial is told of exactly once, as it is in the end."""
    found = swept(Here(4, seed=order), seed=seed)
    assert sorted(trial.number for trial in found.told) == list(range(24))
    assert {trial.number: trial for trial in found.told} == {
        trial.number: trial for trial in found.trials
    }


def test_trials_are_told_early(swept: Callable[..., Swept]) -> None:
    """A trial that others have passed for good is told while the sweep still goes on."""
    told: list[int] = []
    found = swept(trials=100, families=("mlp",), on_trial=lambda trial: told.append(0))
    killed = [trial for trial in found.told[:50] if trial.state == "KILLED"]
    assert killed


def test_the_best_is_the_best(swept: Callable[..., Swept]) -> None:
    """The winner has the highest score, of equals the lowest loss, of those the first."""
    for seed in range(8):
        found = swept(seed=seed)
        usable = [trial for trial in found.trials if trial.state != "FAILED"]
        tops = {trial.number: trial.top.rank for trial in usable if trial.top}
        best = max(tops.values())
        assert found.winner == min(number for number, rank in tops.items() if rank == best)


def test_progress_grows(swept: Callable[..., Swept]) -> None:
    """The share that is done never leaves 0 to 1, and is 1 in the end."""
    found = swept(trials=50)
    done = [progress.done for progress in found.progress]
    assert all(0 <= share <= 1 for share in done)
    assert done[-1] == pytest.approx(1)
    last = found.progress[-1]
    assert last.proposed == last.trials == 50
    assert sum(last.rungs) == len(found.workers.jobs)
    assert last.rungs[0] == 50


# Budgets.


def test_no_improvement(swept: Callable[..., Swept]) -> None:
    """The sweep proposes no more after so many new configurations without a better score."""

    def falling(job: Job) -> Outcome:
        score = 0.9 if job.number == 3 else 0.5
        points = (Point(job.units, 0.5, score, score),)
        state = "FINISHED" if job.final else "PAUSED"
        return Outcome(job.number, job.rung, state, points, 0.1, checkpoint=b"1")

    found = swept(Here(fit=falling), no_improvement=10, lookahead=1, families=("linear",))
    assert found.search.stopped == "no improvement"
    assert found.winner == 3
    assert len(found.trials) == 4 + 10


def test_a_step_up_is_no_improvement(swept: Callable[..., Swept]) -> None:
    """That the best trial reaches another rung, no better than it was, does not put the end off."""

    def level(job: Job) -> Outcome:
        score = 0.9 if job.number == 3 else 0.5
        points = (Point(job.units, 0.5, score, score),)
        state = "FINISHED" if job.final else "PAUSED"
        return Outcome(job.number, job.rung, state, points, 0.1, checkpoint=b"1")

    found = swept(Here(fit=level), no_improvement=10, lookahead=1, families=("mlp",))
    assert len(found.trials) == 4 + 10


def test_the_trials_end_first(swept: Callable[..., Swept]) -> None:
    """Where the trials are used up before the patience is, that is what ended the sweep."""
    found = swept(trials=5, no_improvement=5)
    assert found.search.stopped == "trials"
    assert len(found.trials) == 5


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("families", [("mlp",), ("linear",), ("mlp", "linear", "boosting")])
def test_the_target_score_ends_it(
    swept: Callable[..., Swept], families: tuple[str, ...], deterministic: bool
) -> None:
    """The first trial that scores enough wins, and nothing that comes after it is told."""
    given = {"families": families, "trials": 300, "deterministic": deterministic}
    found = swept(target_score=0.8, **given)
    assert found.search.stopped == "target score"
    assert found.trials[found.winner].state == "FINISHED"
    assert not found.trials[found.winner].error
    good = [trial.number for trial in found.trials if trial.state != "FAILED" and trial.score]
    assert [n for n in good if found.trials[n].score >= 0.8] == [found.winner]
    assert len(found.trials) < 300
    assert sorted(trial.number for trial in found.told) == list(range(len(found.trials)))
    late = [trial for trial in found.trials if trial.error == "another was good enough"]
    assert late


def test_the_target_score_on_any_number_of_workers(swept: Callable[..., Swept]) -> None:
    """Which of several good ones wins is the plan's to say, and not the clock's."""
    given = {"families": ("mlp", "linear"), "trials": 300, "target_score": 0.7}
    alone = swept(**given)
    for seed in range(12):
        assert swept(Here(1 + seed, seed=seed), **given).facts == alone.facts


def test_the_target_score_is_of_all_folds(swept: Callable[..., Swept]) -> None:
    """A mean over the first folds does not end the sweep; that over all of them does."""

    def lucky(job: Job) -> Outcome:
        assert job.target is None
        score = 0.9 if job.units < 9 else 0.5 + job.number / 100
        points = (Point(job.units, 0.5, score, score),)
        state = "FINISHED" if job.final else "PAUSED"
        return Outcome(job.number, job.rung, state, points, 0.1, checkpoint=b"1")

    found = swept(Here(fit=lucky), folds=9, families=("linear",), target_score=0.6, trials=100)
    assert found.search.stopped == "target score"
    (good,) = (trial for trial in found.trials if trial.units == 9 and trial.score >= 0.6)
    assert good.state == "FINISHED"
    assert good.number >= 10


def test_a_target_out_of_reach(swept: Callable[..., Swept]) -> None:
    """It changes nothing."""
    assert swept(target_score=2.0).facts == swept().facts


def test_the_seconds_end_first(swept: Callable[..., Swept]) -> None:
    """When the time is up what ran is stopped, and everything that came in before it counts."""
    slow = Here(3)
    slow.wait = lambda timeout: []  # type: ignore[method-assign]
    found = swept(slow, timeout_seconds=0.05, families=("linear",))
    assert found.search.stopped == "seconds"
    assert {trial.error for trial in found.trials} == {"the sweep's 0.05 s were up"}
    assert sorted(trial.number for trial in found.told) == list(range(len(found.trials)))
    with pytest.raises(SweepError, match=r"train\.timeout_seconds"):
        found.search.best()


def test_what_came_in_counts(swept: Callable[..., Swept]) -> None:
    """At the end of the time also those outcomes count which the plan expects after a late one."""

    class FirstIsLate(Here):
        def wait(self, timeout: float | None) -> list[Outcome | Lost]:
            ready = [job for job in self._held if job != self.log[0]]
            for job in ready:
                self._held.remove(job)
            return [self.fit(job) for job in ready]

    workers = FirstIsLate(4)
    found = swept(workers, timeout_seconds=0.3, families=("mlp",), max_epochs=1)
    assert found.search.stopped == "seconds"
    late = workers.log[0].number
    assert found.trials[late].error == "the sweep's 0.3 s were up"
    assert "FINISHED" in {trial.state for trial in found.trials}
    assert found.winner != late


# Failures.


def test_a_lost_worker_changes_nothing(swept: Callable[..., Swept]) -> None:
    """A job whose worker died is done again from the rung below, and only that one."""
    calm = swept(seed=1)
    for victim in calm.workers.jobs[::5]:
        lost: list[Job] = []

        def fit(job: Job, victim: tuple[int, int] = victim, lost: list[Job] = lost) -> Any:
            if (job.number, job.rung) == victim and not lost:
                lost.append(job)
                return Lost(job, "its worker was killed")
            return invent(job)

        shaken = swept(Here(2, fit), seed=1)
        assert shaken.facts == calm.facts
        assert Counter(shaken.workers.jobs) == Counter(calm.workers.jobs) + Counter([victim])
        first, again = (job for job in shaken.workers.log if (job.number, job.rung) == victim)
        assert first == again


def test_quarantine(swept: Callable[..., Swept]) -> None:
    """A configuration that loses two workers fails, wherever it lost them, and no other does."""

    def fit(job: Job) -> Any:
        return Lost(job, "signal 9") if job.number == 4 else invent(job)

    found = swept(Here(2, fit), max_failures=1)
    bad = found.trials[4]
    assert bad.state == "FAILED"
    assert bad.error == "it lost 2 workers and is left alone; the last: signal 9"
    assert found.workers.jobs.count((4, 0)) == 2
    assert not [t for t in found.trials if "lost" in t.error and t.number != 4]
    assert len(found.trials) == 24


def test_overtime_is_not_tried_again(swept: Callable[..., Swept]) -> None:
    """A job that was stopped for its length fails at once, with its reason."""

    def fit(job: Job) -> Any:
        return (
            Lost(job, "stopped: longer than 1 s", overtime=True) if job.number == 4 else invent(job)
        )

    found = swept(Here(2, fit), max_failures=1, seed=1)
    assert found.trials[4].error == "stopped: longer than 1 s"
    assert found.workers.jobs.count((4, 0)) == 1


def test_divergence_is_no_fault(swept: Callable[..., Swept]) -> None:
    """Trials whose numbers ran away are failed, and the sweep bears any number of them."""

    def fit(job: Job) -> Outcome:
        if job.number < 20:
            return Outcome(job.number, job.rung, "FAILED", error="diverged after 0 units")
        return invent(job)

    found = swept(Here(2, fit), max_failures=1)
    assert {trial.state for trial in found.trials[:20]} == {"FAILED"}
    assert found.winner >= 20


def test_an_error_of_the_code(swept: Callable[..., Swept]) -> None:
    """An exception fails its trial with its traceback; after max_failures of them, the sweep."""

    def fit(job: Job) -> Outcome:
        if job.number % 5 == 4:
            return Outcome(
                job.number, job.rung, "FAILED", error=f"KeyError: {job.number}", traceback="where"
            )
        return invent(job)

    found = swept(Here(fit=fit), max_failures=7, trials=30)
    assert [t.number for t in found.trials if t.traceback == "where"] == [4, 9, 14, 19, 24, 29]
    with pytest.raises(SweepError) as caught:
        swept(Here(fit=fit), max_failures=3, lookahead=1)
    assert caught.value.found.startswith("3 trials failed; the last, 14 (")
    assert "KeyError: 14" in caught.value.found


def test_nothing_usable(swept: Callable[..., Swept]) -> None:
    """When every trial fails the error says how many, and why the first did."""

    def fit(job: Job) -> Outcome:
        return Outcome(job.number, job.rung, "FAILED", error=f"diverged after {job.number} units")

    found = swept(Here(fit=fit), trials=6)
    with pytest.raises(SweepError) as caught:
        found.search.best()
    assert "none of 6 did; the first, mlp: diverged after 0 units" in caught.value.found


def test_the_best_fails_later(swept: Callable[..., Swept]) -> None:
    """When the best trial fails higher up the next best wins, and can still be handed out."""

    def fit(job: Job) -> Outcome:
        score = {0: 0.9, 1: 0.8}.get(job.number, 0.5)
        if job.number == 0 and job.rung == 1:
            return Outcome(job.number, job.rung, "FAILED", error="diverged after 2 units")
        points = (Point(job.units, 0.5, score, score),)
        # The second best needs no more, and is over long before the best fails.
        ended = job.final or job.number == 1
        state = "FINISHED" if ended else "PAUSED"
        return Outcome(job.number, job.rung, state, points, 0.1, checkpoint=b"%d" % job.number)

    found = swept(Here(fit=fit), families=("mlp",), trials=9, lookahead=1)
    best = found.search.best()
    assert best.number == 1
    assert found.search._journal.checkpoint(1, best.kept) == b"1"


# Cut short, and gone on with.


class PowerCut(BaseException):
    """The driver dies here."""


def dying(after: int) -> Fit:
    """Fit so many jobs, then die."""
    left = [after]

    def fit(job: Job) -> Outcome:
        if not left[0]:
            raise PowerCut
        left[0] -= 1
        return invent(job)

    return fit


@given(
    cuts=st.lists(st.integers(0, 25), min_size=1, max_size=3),
    counts=st.lists(st.sampled_from([1, 2, 4, 16]), min_size=4, max_size=4),
    order=st.integers(0, 10**6),
    seed=st.integers(0, 5),
)
@ANY_ORDER
def test_going_on(
    swept: Callable[..., Swept],
    tmp_path_factory: pytest.TempPathFactory,
    cuts: list[int],
    counts: list[int],
    order: int,
    seed: int,
) -> None:
    """A sweep that is cut short ends as an uninterrupted one, whoever works on it.

    No job is done twice whose outcome had come in; each trial is told again.
    """
    calm = swept(seed=seed)
    folder = tmp_path_factory.mktemp("cut")
    done = Counter[tuple[int, int]]()

    def counted(fit: Fit) -> Fit:
        def run(job: Job) -> Outcome | Lost:
            outcome = fit(job)
            done[job.number, job.rung] += 1
            return outcome

        return run

    for cut, count in zip(cuts, counts, strict=False):
        with contextlib.suppress(PowerCut):
            swept(Here(count, counted(dying(cut)), seed=None), folder=folder, seed=seed)
    last = swept(Here(counts[-1], counted(invent), seed=order), folder=folder, seed=seed)
    assert last.facts == calm.facts
    assert done == Counter(calm.workers.jobs)


@pytest.mark.parametrize("how", ["line", "journal's end", "checkpoints", "one checkpoint"])
def test_going_on_from_what_is_left(swept: Callable[..., Swept], tmp_path: Path, how: str) -> None:
    """A torn line, lost lines, and lost or truncated checkpoints cost their trials' work alone."""
    calm = swept(seed=2)
    for cut in range(3, len(calm.workers.jobs), 5):
        folder = tmp_path / f"{how}-{cut}"
        with pytest.raises(PowerCut):
            swept(Here(2, dying(cut)), folder=folder, seed=2)
        path = folder / "journal.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        kept = sorted((folder / "checkpoints").iterdir())
        if how == "line":
            path.write_bytes(b"".join(lines)[:-7])
        elif how == "journal's end":
            path.write_bytes(b"".join(lines[: len(lines) // 2]))
        elif how == "checkpoints":
            for checkpoint in kept[::2]:
                checkpoint.unlink()
        else:
            for checkpoint in kept[::2]:
                checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
        assert swept(Here(2, whole=False), folder=folder, seed=2).facts == calm.facts


def test_out_of_time_and_on_again(swept: Callable[..., Swept], tmp_path: Path) -> None:
    """A sweep that ended for want of time goes on, given more, to where it would have got."""
    calm = swept(seed=3)
    for cut in (5, 15, 30):
        workers = Here(2)
        fitted = workers.wait

        def wait(
            timeout: float | None,
            workers: Here = workers,
            fitted: Callable[..., Any] = fitted,
            cut: int = cut,
        ) -> list[Any]:
            return fitted(timeout) if len(workers.log) < cut else []

        workers.wait = wait  # type: ignore[method-assign]
        folder = tmp_path / f"short-{cut}"
        short = swept(workers, folder=folder, seed=3, timeout_seconds=0.5)
        assert short.search.stopped == "seconds"
        assert swept(folder=folder, seed=3).facts == calm.facts
