"""The loop of a sweep: propose, promote, dispatch, collect."""

import heapq
import itertools
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pipelines.errors import SweepError
from pipelines.models.family import Family
from pipelines.models.space import Value
from pipelines.sweep.journal import Journal
from pipelines.sweep.proposals import Proposer, seed_of
from pipelines.sweep.rungs import WORST, Ladder, Rank, Rung, count_rungs, units_at
from pipelines.sweep.settings import TrainSettings
from pipelines.sweep.trial import Job, Outcome, Point, State, Trial, diverged, refit_units
from pipelines.sweep.workers import Executor, Lost

MOST_LOSSES = 2
"""Workers that one configuration may lose before it is left alone."""

FIRST_LOOKAHEAD = 3
KNOWN_PER_JOB = 8
"""A decision that does not wait for jobs in flight is taken without what they would tell. So
there are few at first, and then as many as one for so many whose results are known."""

DISPATCH_SECONDS = 1e-3
"""Planned cost of a job beside its fitting: no job costs nothing."""

Stopped = Literal["trials", "seconds", "no improvement", "target score", "interrupted"]
"""Why a sweep ended."""


@dataclass(frozen=True)
class Progress:
    """How far a sweep is.

    Parameters
    ----------
    proposed, trials : int
        Configurations so far, and in the budget.
    rungs : tuple of int
        Jobs done by the rung that they reached, all families together.
    best : Trial or None
    done : float
        Share of the budget in trials that has been worked off, by planned cost; between 0 and 1.
    """

    proposed: int
    trials: int
    rungs: tuple[int, ...]
    best: Trial | None
    done: float


OnTrial = Callable[[Trial, Trial | None], None]
"""Is told of each trial that is over, and of the best one so far."""

OnProgress = Callable[[Progress], None]
"""Is told how far the sweep is, after each job."""


@dataclass
class Run:
    """A trial as the driver knows it."""

    number: int
    family: str
    params: Mapping[str, Value]
    most: int
    cost: float
    points: list[Point] = field(default_factory=list)
    top: Point | None = None
    kept: int | None = None
    """The rung of its checkpoint."""
    rung: int = -1
    units: int = 0
    seconds: float = 0.0
    state: Literal["RUNNING", "PAUSED", "FINISHED", "FAILED"] = "RUNNING"
    error: str = ""
    traceback: str = ""
    losses: int = 0

    @property
    def rank(self) -> tuple[Rank, int]:
        """What the best trial has most of; of equals the first is best."""
        if self.top is None or self.state == "FAILED":
            return WORST, -self.number
        return self.top.rank, -self.number

    def trial(self, why: str = "") -> Trial:
        """Return the trial as it is told; ``why`` it was given no more."""
        state: State = (
            self.state if self.state == "FINISHED" or self.state == "FAILED" else "KILLED"
        )
        return Trial(
            number=self.number,
            family=self.family,
            params=self.params,
            state=state,
            score=self.top.score if self.top else None,
            train_score=self.top.train_score if self.top else None,
            curve=tuple(self.points),
            seconds=self.seconds,
            error=self.error or ("" if state == "FINISHED" else why),
            rung=self.rung,
            units=self.units,
            traceback=self.traceback,
        )


@dataclass(order=True)
class _Flight:
    """A job between its start and its end by the plan."""

    ends: float
    order: int
    job: Job = field(compare=False)


class Search:
    """One sweep, from its first proposal to its last promotion.

    A decision is taken whenever a job ends, and what ends first is told by planned costs and
    not by the clock, as if `TrainSettings.lookahead` workers of the plan's speed did the
    work. However many there really are, and however fast: the decisions are the same, and a
    worker is idle only when every other job of the plan waits for the one that is late.

    Parameters
    ----------
    settings : TrainSettings
    families : mapping of str to Family
        Those that are tried.
    rows, columns, classes : int
        Of the matrix that is learned from.
    executor : Executor
    journal : Journal
    on_trial, on_progress : callable
    """

    def __init__(
        self,
        settings: TrainSettings,
        families: Mapping[str, Family],
        *,
        rows: int,
        columns: int,
        classes: int,
        executor: Executor,
        journal: Journal,
        on_trial: OnTrial,
        on_progress: OnProgress,
    ) -> None:
        self.settings = settings
        self._families = families
        self._shape = (rows, columns, classes)
        self._executor = executor
        self._journal = journal
        self._on_trial = on_trial
        self._on_progress = on_progress
        self.ladders = {name: Ladder(name, self._count_rungs(name)) for name in families}
        self.proposer = Proposer(settings, families, {n: x.rungs for n, x in self.ladders.items()})
        self.stopped: Stopped = "trials"
        self._runs: dict[int, Run] = {}
        self._told: set[int] = set()
        # As many of each family as may be handed out; the best last.
        self._foremost: dict[str, list[Run]] = {name: [] for name in families}
        self._flights: list[_Flight] = []
        self._ready: list[_Flight] = []
        self._arrived: dict[tuple[int, int], Outcome] = {}
        self._jobs = 0
        self._now = 0.0
        self._planned = 0.0
        self._improved_at = 0
        self._failures = 0
        self._reached: Counter[int] = Counter()
        self._best: Run | None = None
        self._best_rank: Rank = WORST

    def run(self) -> None:
        """Work off the budget, or until it is good enough or no better; whichever ends first."""
        while True:
            self._fill()
            if not self._flights:
                break
            flight = self._next_ended()
            if flight is None:
                self.stopped = "seconds"
                break
            self._take_in(flight)
            if self._good_enough(run := self._runs[flight.job.number]):
                run.state = "FINISHED"
                self.stopped = "target score"
                break
        self.close()

    def close(self) -> None:
        """Stop what runs, and tell of every trial that is not over yet."""
        self._executor.stop()
        came_in = [
            flight
            for flight in sorted(self._flights)
            if (flight.job.number, flight.job.rung) in self._arrived
            # What came in by chance must not decide which of two good ones wins.
            and self.stopped != "target score"
        ]
        self._flights, self._ready = [], []
        for flight in came_in:
            self._take_in(flight)
        why = {
            "seconds": f"the sweep's {self.settings.timeout_seconds or 0:g} s were up",
            "interrupted": "the sweep was interrupted",
            "target score": "another was good enough",
        }.get(self.stopped, "")
        for number in sorted(self._runs.keys() - self._told):
            run = self._runs[number]
            if run.state == "RUNNING":
                run.error = why
            self._tell(run, self._place(run))

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial, in the order of their numbers."""
        return tuple(run.trial(self._place(run)) for _, run in sorted(self._runs.items()))

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """What became of the trials at each rung, by family."""

        def failed(number: int, rung: int) -> bool:
            return self._runs[number].state == "FAILED" and self._runs[number].rung <= rung

        return tuple(r for ladder in self.ladders.values() for r in ladder.told(failed))

    def ranked(self, family: str | None = None) -> list[Run]:
        """Return the usable trials, the best first; of one family where one is named."""
        usable = [
            run
            for run in self._runs.values()
            if run.rank[0] > WORST and family in (None, run.family)
        ]
        return sorted(usable, key=lambda run: run.rank, reverse=True)

    def best(self) -> Run:
        """Return the best trial.

        Raises
        ------
        SweepError
            There is none.
        """
        if self._best is not None:
            return self._best
        first = next((run for _, run in sorted(self._runs.items()) if run.error), None)
        next_move = "narrow the space in [train.space], or try train.families = ['linear']"
        if self.stopped == "seconds":
            next_move = "give it more time (train.timeout_seconds)"
        elif first and first.error.startswith("stopped: "):
            next_move = "raise train.trial_seconds or train.trial_memory_mb"
        raise SweepError(
            "At least one trial gives a usable model.",
            found=f"none of {len(self._runs)} did"
            + (f"; the first, {first.family}: {first.error}" if first else ""),
            next_move=next_move,
        )

    def refit_job(self, run: Run, checkpoint: bytes) -> Job:
        """Return the job that fits a trial scored by folds on every training row."""
        units = self._shape[0]
        if self._families[run.family].resource != "rows":
            units = refit_units(checkpoint)
        return replace(self._job(run, 0), units=units, final=True, refit=True)

    def _count_rungs(self, family: str) -> int:
        if not self.settings.prune:
            return 1
        if self.settings.folds:
            return count_rungs("epochs", self.settings.folds)
        resource = self._families[family].resource
        return count_rungs(
            resource, self._shape[0] if resource == "rows" else self.settings.max_epochs
        )

    # What comes next: promotions before proposals, higher rungs before lower ones.

    def _fill(self) -> None:
        while len(self._flights) < self._lookahead:
            job = self._next_job()
            if job is None:
                return
            run = self._runs[job.number]
            cost = DISPATCH_SECONDS + run.cost * (job.units - run.units)
            self._planned += cost
            flight = _Flight(self._now + cost, self._jobs, job)
            self._jobs += 1
            heapq.heappush(self._flights, flight)
            heapq.heappush(self._ready, flight)

    @property
    def _lookahead(self) -> int:
        if not self.settings.deterministic:
            return self._executor.count + 1
        known = sum(self._reached.values())
        return min(self.settings.lookahead, max(FIRST_LOOKAHEAD, known // KNOWN_PER_JOB))

    def _next_job(self) -> Job | None:
        more = self._more_trials()
        promoted = self._promotion(more)
        if promoted is not None or not more:
            return promoted
        number = len(self._runs)
        family, params = self.proposer.ask()
        rows, columns, classes = self._shape
        kind = self._families[family]
        self._runs[number] = Run(
            number=number,
            family=family,
            params=params,
            most=self.settings.folds
            or kind.most(params, rows=rows, max_epochs=self.settings.max_epochs),
            cost=kind.cost(params, rows=rows, columns=columns, classes=classes),
        )
        return self._begin(self._runs[number], 0)

    def _more_trials(self) -> bool:
        if len(self._runs) >= self.settings.trials:
            return False
        limit = self.settings.no_improvement
        # Of those that have come in: what is still on its way may be the better one.
        if limit is not None and self._reached[0] - self._improved_at >= limit:
            self.stopped = "no improvement"
        return self.stopped == "trials"

    def _promotion(self, more: bool) -> Job | None:
        """Return the next rung of the trial most worth it: the highest rung, the best rank.

        Once no more trials come and none is on its way to a rung, a last call is made there.
        """
        found = [each for ladder in self.ladders.values() for each in self._worthy(ladder, more)]
        if not found:
            return None
        _, _, number, rung, ladder = max(found, key=lambda each: each[:3])
        ladder.promote(-number, rung)
        return self._begin(self._runs[-number], rung + 1)

    def _worthy(self, ladder: Ladder, more: bool) -> Iterator[tuple[int, Rank, int, int, Ladder]]:
        """Yield the best of each rung: how far from the top, its rank, minus its number."""
        lowest = min(
            (f.job.rung for f in self._flights if f.job.family == ladder.family),
            default=ladder.rungs,
        )
        coming = more
        for rung in range(ladder.rungs - 1):
            coming = coming or lowest <= rung
            number = ladder.promotable(rung, last_call=not coming)
            if number is not None:
                coming = True
                yield rung - ladder.rungs, ladder.rank(number, rung), -number, rung, ladder

    def _begin(self, run: Run, rung: int) -> Job:
        run.state = "RUNNING"
        return self._job(run, rung)

    def _job(self, run: Run, rung: int) -> Job:
        rungs = self.ladders[run.family].rungs
        return Job(
            number=run.number,
            family=run.family,
            params=run.params,
            seed=seed_of(self.settings.seed, run.number, 1),
            rung=rung,
            units=units_at(rung, rungs, run.most),
            final=rung == rungs - 1,
            scoring=self.settings.scoring,
            patience=self.settings.patience,
            max_epochs=self.settings.max_epochs,
            # The first folds alone may be lucky ones.
            target=None if self.settings.folds else self.settings.target_score,
            seconds=self.settings.trial_seconds,
            memory_mb=self.settings.trial_memory_mb,
        )

    # What ends: by the plan's order, whatever comes in first.

    def _next_ended(self) -> _Flight | None:
        """Return the job that ends next by the plan, once it really has; None: time is up."""
        while True:
            self._dispatch()
            candidates = self._flights[:1] if self.settings.deterministic else self._flights
            for flight in candidates:
                if (flight.job.number, flight.job.rung) in self._arrived:
                    self._flights.remove(flight)
                    heapq.heapify(self._flights)
                    return flight
            left = self._seconds_left()
            ended = [] if left == 0.0 else self._executor.wait(left)
            if not ended and self._seconds_left() == 0.0:
                return None
            for outcome in ended:
                if isinstance(outcome, Lost):
                    self._lose(outcome)
                else:
                    self._journal.write(outcome)
                    self._arrive(outcome)

    def _dispatch(self) -> None:
        while self._ready:
            job = self._ready[0].job
            known = self._journal.take(job.number, job.rung)
            if known is not None:
                heapq.heappop(self._ready)
                self._arrive(known)
                continue
            if not self._executor.idle:
                return
            heapq.heappop(self._ready)
            kept = self._runs[job.number].kept
            if kept is not None:
                # Without it the trial is taken there from its start, to the same end.
                job = replace(job, checkpoint=self._journal.checkpoint(job.number, kept))
            self._executor.submit(job)

    def _arrive(self, outcome: Outcome) -> None:
        # The bytes are in the journal's folder by now.
        self._arrived[outcome.number, outcome.rung] = replace(outcome, checkpoint=None)

    def _lose(self, lost: Lost) -> None:
        """Run a job again whose worker died, unless it may be the job that kills it."""
        job = lost.job
        run = self._runs[job.number]
        run.losses += 1
        if not lost.overtime and run.losses < MOST_LOSSES:
            flight = next(f for f in self._flights if f.job.number == job.number)
            heapq.heappush(self._ready, flight)
            return
        said = lost.reason
        if not lost.overtime:
            said = f"it lost {run.losses} workers and is left alone; the last: {lost.reason}"
        outcome = Outcome(job.number, job.rung, "FAILED", error=said)
        self._journal.write(outcome)
        self._arrive(outcome)

    def _seconds_left(self) -> float | None:
        if self.settings.timeout_seconds is None:
            return None
        return max(0.0, self.settings.timeout_seconds - self._journal.elapsed)

    # What is learned from it.

    def _take_in(self, flight: _Flight) -> None:
        self._now = max(self._now, flight.ends)
        job = flight.job
        outcome = self._arrived.pop((job.number, job.rung))
        run, ladder = self._runs[job.number], self.ladders[job.family]
        run.seconds += outcome.seconds
        # All of them, where a checkpoint was lost and the trial began anew.
        run.points += [point for point in outcome.points if point.epoch > run.units]
        run.state, run.rung = outcome.state, job.rung
        run.units = outcome.points[-1].epoch if outcome.points else run.units
        run.error, run.traceback = outcome.error, outcome.traceback
        self._reached[job.rung] += 1
        if outcome.state != "FAILED":
            if run.kept is not None:
                self._journal.forget(run.number, run.kept)
            run.kept = job.rung
            run.top = self._top(run)
        ended = outcome.state != "PAUSED"
        ladder.reached(run.number, job.rung, run.rank[0], ended=ended)
        if outcome.state != "FAILED" or diverged(run.error):
            score = run.top.score if run.top and outcome.state != "FAILED" else None
            self.proposer.tell(run.family, job.rung, run.params, score)
        self._count_failure(run)
        self._rank(run)
        if ended:
            self._tell(run, "")
        # Each look is at every trial of the family: not too often when they are many.
        if not sum(self._reached.values()) % (1 + len(self._runs) // 50):
            self._tell_of_the_hopeless(ladder)
        self._on_progress(self._progress())

    def _good_enough(self, run: Run) -> bool:
        target = self.settings.target_score
        if target is None or run.state == "FAILED" or run.top is None:
            return False
        return run.top.score >= target and run.units >= self.settings.folds

    def _rank(self, run: Run) -> None:
        """See whether a trial is the best now, and who is when one that was has failed."""
        before = self._best
        if run.state != "FAILED" and run.rank[0] > self._best_rank:
            self._best_rank, self._improved_at = run.rank[0], self._reached[0]
        if run.state == "FAILED":
            if run is before:
                self._best = next(iter(self.ranked()), None)
        elif before is None or run.rank > before.rank:
            self._best = run
        if self._best is not None and self._best is not before:
            self.proposer.lead(self._best.family)

    def _top(self, run: Run) -> Point:
        if self.settings.folds:
            return run.points[-1]
        return max(run.points, key=lambda point: point.rank)

    def _count_failure(self, run: Run) -> None:
        if not run.traceback:
            return
        self._failures += 1
        if self._failures < self.settings.max_failures or self._may_go_on:
            return
        raise SweepError(
            "A trial fails by what it tries, and not by an error of the code.",
            found=f"{self._failures} trials failed; the last, {run.number} ({run.family}): "
            f"{run.error}",
            next_move="see the traceback at that trial in MLflow; narrow [train.space], leave "
            f"{run.family} out of train.families, or raise train.max_failures",
        )

    def _tell_of_the_hopeless(self, ladder: Ladder) -> None:
        coming = self.settings.trials - len(self._runs) if self._more_trials() else 0
        waiting = sum(
            flight.job.family == ladder.family and flight.job.rung == 0 for flight in self._flights
        )
        for number in sorted(ladder.hopeless(coming + waiting) - self._told):
            run = self._runs[number]
            if run.state != "RUNNING":
                self._tell(run, self._place(run))

    def _place(self, run: Run) -> str:
        """Say why a trial was given no more."""
        if run.rung < 0:
            return "it had not begun"
        return f"others did better at rung {run.rung}, after {run.units} units"

    def _tell(self, run: Run, why: str) -> None:
        self._told.add(run.number)
        if run.kept is not None and not self._may_go_on and not self._comes_in_among_the_best(run):
            self._journal.forget(run.number, run.kept)
        self._on_trial(run.trial(why), self._best_trial())

    def _best_trial(self) -> Trial | None:
        return None if self._best is None else self._best.trial(self._place(self._best))

    @property
    def _may_go_on(self) -> bool:
        """Whether the sweep was cut short: resumed it needs what it would have gone on from."""
        return self.stopped in ("seconds", "interrupted")

    def _comes_in_among_the_best(self, run: Run) -> bool:
        """Rank a trial that is over: whether it may be handed out, or is its family's best."""
        if run.state == "FAILED":
            return False
        # Of those that are over alone: a better one that is not may still fail.
        most = max(1, self.settings.ensemble)
        own = self._foremost[run.family]
        insort(own, run, key=lambda each: each.rank)
        del own[:-most]
        everyone = itertools.chain.from_iterable(self._foremost.values())
        few = heapq.nlargest(most, everyone, key=lambda each: each.rank)
        return run is own[-1] or any(run is each for each in few)

    def _progress(self) -> Progress:
        made = len(self._runs)
        whole = self._planned * self.settings.trials / max(made, 1)
        flying = sum(max(0.0, flight.ends - self._now) for flight in self._flights)
        return Progress(
            proposed=made,
            trials=self.settings.trials,
            rungs=tuple(self._reached[rung] for rung in range(max(self._reached, default=-1) + 1)),
            best=self._best_trial(),
            done=min(1.0, (self._planned - flying) / whole) if whole else 0.0,
        )
