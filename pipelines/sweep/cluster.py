"""The workers of a Dask cluster: the same sweep on other machines.

Each worker has an actor of Dask's with the rows, which is asked to run one job after another.
What a lost worker means is decided here, as it is for local workers: a job that is a task of
Dask's would run again on another worker, up to three times, and each could be that worker's end.
A task also costs its scheduler and both ends several times what a call of an actor does.
"""

import asyncio
import logging
import queue
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import Context
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ProjectError, ServiceError
from pipelines.models.families import FAMILIES
from pipelines.models.learner import Rows
from pipelines.sweep.trial import Data, Job, Outcome, load_data, run
from pipelines.sweep.workers import GRACE_SECONDS, Lost

CONNECT_SECONDS = 10.0
"""Longest that a scheduler may take to answer: it has little else to do."""

NO_WORKERS_SECONDS = 60.0
"""Longest without any worker. A nanny starts a lost one anew within seconds; a machine that is
away for longer is better waited for by nobody: the sweep is resumed."""

REACH_SECONDS = 2.0
"""Longest that a worker may take to answer the driver itself."""

AHEAD = 1
"""Jobs that a worker is sent beside those it runs, to begin the next without a round trip."""

Part = TypeVar("Part", Data, Rows)

_TICK_SECONDS = 0.5
_REFRESH_SECONDS = 5.0
_RESUME = "`tidegate train --resume`"


@dataclass
class _Sent:
    """A job on its way, and since when it has run at most.

    One that was given to another worker keeps its place until its worker has answered.
    """

    job: Job
    began: float | None = None
    given_away: bool = False


@dataclass
class _Worker:
    """A worker process, and its jobs by their turns, in the order in which it takes them."""

    address: str
    threads: int
    crew: Any = None
    actor: Any = None
    turn: int = 0
    reached: bool = False
    sent: dict[int, _Sent] = field(default_factory=dict)
    leaving: bool = False

    @property
    def ready(self) -> bool:
        return not self.leaving and self.crew is not None and self.crew.status == "finished"

    @property
    def room(self) -> int:
        return 0 if self.leaving else self.threads + AHEAD - len(self.sent)

    @property
    def running(self) -> list[_Sent]:
        return list(self.sent.values())[: self.threads]

    @property
    def unbegun(self) -> list[tuple[int, _Sent]]:
        return [
            (turn, sent)
            for turn, sent in list(self.sent.items())[self.threads :]
            if not sent.given_away
        ]


class Cluster:
    """An `Executor` on the workers of a Dask scheduler, whichever there are just now.

    Not thread-safe. As a context manager it leaves nothing of its own on the cluster. A worker
    that joins is used from then on. Of one that is lost, the jobs that it ran come back as
    `Lost`, and those that it had not begun go to another.

    Parameters
    ----------
    address : str
        The scheduler's, such as ``tcp://127.0.0.1:8786``.
    no_workers_seconds : float
        Longest without any worker.

    Attributes
    ----------
    count : int
        Jobs at a time, on the workers that there are now.

    Raises
    ------
    ProjectError
        The extra is not installed, or the address is none.
    ServiceError
        No scheduler answers, or it has no workers. Also from every method: it is gone, or all
        workers are for too long, or one of them has other libraries than the driver.

    Notes
    -----
    Dask cannot interrupt a thread. What `stop` cancels runs to its end on its worker, where
    nothing else begins until then, and its outcome is dropped. A trial that does not keep its
    time is ended by its worker's nanny, and the worker with it.
    """

    def __init__(self, address: str, *, no_workers_seconds: float = NO_WORKERS_SECONDS) -> None:
        self.address = address
        self.count = 0
        self._no_workers_seconds = no_workers_seconds
        self._news: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._workers: dict[str, _Worker] = {}
        self._waiting: deque[Job] = deque()
        self._refreshed = self._last_worker = time.monotonic()
        self._folder: Path | None = None
        self._rows: Any = None
        with ExitStack() as opened:
            self._client: Any = _connect(address, opened)
            self._client.subscribe_topic("all", self._heard)
            self._refresh()
            while not self._workers:
                self._take(_TICK_SECONDS)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        # The scheduler forgets what a client asked for when it goes.
        self._opened.close()

    @property
    def idle(self) -> int:
        """How many more jobs can be submitted now."""
        room = sum(max(worker.room, 0) for worker in self._workers.values())
        return max(room - len(self._waiting), 0)

    def share(self, folder: Path) -> None:
        """Send the rows of a sweep to the cluster once; workers have them from each other."""
        self.stop()
        self._folder = folder
        self._scatter()
        for worker in self._workers.values():
            self._serve(worker)
        # A worker that is unlike the driver is better found out now than by its first job.
        while any(worker.crew.status == "pending" for worker in self._workers.values()):
            self._take(_TICK_SECONDS)

    def submit(self, job: Job) -> None:
        """Give a job to the worker with the most room; only while `idle` is above 0."""
        self._waiting.append(job)
        self._place()

    def wait(self, timeout: float | None) -> list[Outcome | Lost]:
        """Return what has ended; empty when nothing did within so many seconds.

        Empty also as soon as there is more room, since workers have joined.
        """
        until = None if timeout is None else time.monotonic() + timeout
        before = self.idle
        while True:
            left = _TICK_SECONDS if until is None else until - time.monotonic()
            ended = self._take(min(max(left, 0.0), _TICK_SECONDS))
            ended += self._overtime()
            self._place()
            if ended or left <= 0 or self.idle > before:
                return ended

    def stop(self) -> None:
        """Cancel every job, and forget it."""
        self._waiting.clear()
        for worker in self._workers.values():
            if worker.sent:
                self._begin(self._forget, worker, *worker.sent)
                worker.sent.clear()

    def _take(self, timeout: float) -> list[Outcome | Lost]:
        """Wait for news, and act on all there are; return what has ended."""
        ended: list[Outcome | Lost] = []
        with suppress(queue.Empty):
            kind, said = self._news.get(timeout=timeout)
            while True:
                # What is told of a connection that is lost says nothing of the jobs.
                self._check()
                if kind == "ended":
                    ended += self._ended(*said)
                elif kind == "left" and said in self._workers:
                    # Before the refresh, which may find it started anew at the same address.
                    ended += self._lose(self._workers.pop(said), "was lost")
                    ended += self._refresh()
                elif kind == "served":
                    _raise_unlike(*said)
                else:
                    ended += self._refresh()
                kind, said = self._news.get_nowait()
        if time.monotonic() > self._refreshed + _REFRESH_SECONDS or not self._workers:
            ended += self._refresh()
        self._check()
        return ended

    def _ended(self, worker: _Worker, turn: int, result: Any) -> list[Outcome | Lost]:
        # Another may be at its address by now.
        if self._workers.get(worker.address) is not worker or turn not in worker.sent:
            return []
        if worker.sent[turn].given_away and (result is None or isinstance(result, Outcome | str)):
            del worker.sent[turn]
            return []
        if isinstance(result, Outcome):
            del worker.sent[turn]
            return [result]
        if isinstance(result, str):
            return [Lost(worker.sent.pop(turn).job, f"the Dask worker {worker.address}: {result}")]
        if worker.crew.status in ("lost", "cancelled"):
            # The rows never came, since all who had them are lost: it has not begun.
            sent = worker.sent.pop(turn)
            self._waiting.extend([] if sent.given_away else [sent.job])
            return []
        _raise_unlike(worker.address, worker.crew)
        # Its news may come later, or it is there and cannot be reached.
        return list(self._give_up(worker, f"was lost: {result}"[:300]))

    def _lose(self, worker: _Worker, why: str) -> list[Lost]:
        lost = [
            Lost(sent.job, f"the Dask worker {worker.address} {why}")
            for sent in worker.running
            if not sent.given_away
        ]
        self._waiting.extend(sent.job for _, sent in worker.unbegun)
        worker.sent.clear()
        return lost

    def _give_up(self, worker: _Worker, why: str) -> list[Lost]:
        """Have a worker started anew, and use it no more until then."""
        worker.leaving = True
        self._begin(self._restart, worker.address)
        return self._lose(worker, why)

    def _overtime(self) -> list[Outcome | Lost]:
        """End the workers of jobs that have had their time and did not stop by themselves."""
        ended: list[Outcome | Lost] = []
        now = time.monotonic()
        for worker in self._workers.values():
            late = []
            for sent in worker.running:
                sent.began = sent.began or now
                if sent.job.seconds and now > sent.began + sent.job.seconds + GRACE_SECONDS:
                    late.append(sent.job)
            if late:
                for lost in self._give_up(worker, "was ended with another trial"):
                    if lost.job in late:
                        reason = f"stopped: longer than {lost.job.seconds:g} s"
                        lost = replace(lost, reason=reason, overtime=True)
                    ended.append(lost)
        return ended

    def _place(self) -> None:
        while self._waiting:
            worker = max(self._workers.values(), key=lambda worker: worker.room, default=None)
            if worker is None or worker.room <= 0:
                return
            self._send(worker, self._waiting.popleft())
        self._even_out()

    def _even_out(self) -> None:
        """Give a worker that has nothing to do a job that waits behind a long one elsewhere."""
        takers = [w for w in self._workers.values() if w.ready and len(w.sent) < w.threads]
        givers = [w for w in self._workers.values() if w.unbegun]
        for taker, giver in zip(takers, givers, strict=False):
            turn, sent = giver.unbegun[-1]
            sent.given_away = True
            self._begin(self._forget, giver, turn)
            self._send(taker, sent.job)

    def _send(self, worker: _Worker, job: Job) -> None:
        if worker.crew.status in ("lost", "cancelled"):
            self._serve(worker)
        worker.sent[worker.turn] = _Sent(job)
        self._begin(self._follow, worker, worker.turn, job)
        worker.turn += 1

    def _begin(self, call: Callable[..., Coroutine[Any, Any, None]], *given: Any) -> None:
        """Make a call in the client's own thread.

        In no context: where the driver is itself in a worker of Dask's, an actor would answer to
        that worker's thread.
        """
        if self._client.status == "running":
            Context().run(self._client.loop.add_callback, call, *given)

    def _scatter(self) -> None:
        assert self._folder is not None
        # The map's files are on this machine alone.
        parcel = Parcel(_each(load_data(self._folder), np.asarray))
        # A new name each time: Dask may still be about to forget the old one.
        name = f"tidegate-rows-{uuid4().hex}"
        try:
            self._rows = self._client.scatter({name: parcel}, direct=False)[name]
        except Exception as err:
            self._check()
            raise _unlike("a worker", err) from err

    def _serve(self, worker: _Worker) -> None:
        """Have a worker fetch the rows and keep them."""
        if self._rows.status in ("lost", "cancelled"):
            self._scatter()
        worker.crew = self._client.submit(
            Crew,
            self._rows,
            versions(),
            worker.turn,
            actor=True,
            key=f"tidegate-crew-{uuid4().hex}",
            workers=[worker.address],
            allow_other_workers=False,
            retries=0,
            pure=False,
        )
        worker.actor = None
        address = worker.address
        worker.crew.add_done_callback(lambda crew: self._news.put(("served", (address, crew))))

    def _refresh(self) -> list[Lost]:
        """Learn which workers there are."""
        ended: list[Lost] = []
        known: Mapping[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
        for address in self._workers.keys() - known.keys():
            ended += self._lose(self._workers.pop(address), "was lost")
        for address in known.keys() - self._workers.keys():
            self._workers[address] = _Worker(address, known[address]["nthreads"])
            self._client.direct_to_workers = False
            self._begin(self._reach, self._workers[address])
            if self._folder is not None:
                self._serve(self._workers[address])
        self.count = sum(worker.threads + AHEAD for worker in self._workers.values())
        self._refreshed = time.monotonic()
        return ended

    def _check(self) -> None:
        if self._client.status != "running":
            raise ServiceError(
                "the Dask scheduler stays up while a sweep runs",
                found=f"the connection to {self.address} was lost",
                next_move=f"start it and its workers again, then {_RESUME}",
            )
        now = time.monotonic()
        if any(not worker.leaving for worker in self._workers.values()):
            self._last_worker = now
        elif now > self._last_worker + self._no_workers_seconds:
            raise ServiceError(
                "a Dask scheduler needs workers to run a sweep",
                found=f"{self.address} has had none for {self._no_workers_seconds:g} s",
                next_move=f"start one with `dask worker {self.address} --nthreads 1`, "
                f"then {_RESUME}",
            )

    # In the client's own thread, from here on.

    def _heard(self, event: tuple[float, Mapping[str, Any]]) -> None:
        news = {"remove-worker": "left", "add-worker": "joined"}.get(event[1].get("action", ""))
        if news:
            self._news.put((news, event[1]["worker"]))

    async def _reach(self, worker: _Worker) -> None:
        """Call workers without the scheduler between, if every one of them can be reached."""
        with suppress(Exception):
            answer = self._client.rpc(worker.address).identity()
            await asyncio.wait_for(answer, REACH_SECONDS)
            worker.reached = True
        workers = list(self._workers.values())
        self._client.direct_to_workers = all(each.reached for each in workers)

    async def _follow(self, worker: _Worker, turn: int, job: Job) -> None:
        """Have a job run, and put its outcome among the news."""
        from distributed import CancelledError

        result: Any
        try:
            with self._client.as_current():
                worker.actor = worker.actor or await worker.crew
                if turn not in worker.sent:
                    return
                given_away = worker.sent[turn].given_away
                result = None if given_away else await worker.actor.run(job, turn)
        except (Exception, CancelledError) as err:
            result = err
        self._news.put(("ended", (worker, turn, result)))

    async def _forget(self, worker: _Worker, *turns: int) -> None:
        with suppress(Exception), self._client.as_current():
            worker.actor = worker.actor or await worker.crew
            await worker.actor.forget(turns)

    async def _restart(self, address: str) -> None:
        # Without a nanny nobody can; the worker is not used again.
        with suppress(Exception):
            await self._client.restart_workers([address], raise_for_error=False)


@dataclass(frozen=True, eq=False)
class Parcel:
    """Rows on their way; unpacked, the arrays are what a local worker maps."""

    rows: Data

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpack, (self.rows,)


def _unpack(rows: Data) -> Parcel:
    return Parcel(_each(rows, _as_mapped))


class Crew:
    """What a worker has of a sweep: the rows, and a queue for its threads.

    Raises
    ------
    ServiceError
        Its Python or its libraries are others than the driver's.
    """

    def __init__(self, parcel: Parcel, wanted: Mapping[str, str], turn: int) -> None:
        from distributed import get_worker

        mine = versions()
        if unlike := {name: found for name, found in mine.items() if found != wanted[name]}:
            raise ServiceError(
                "Dask workers and the driver have the same Python and libraries",
                found=", ".join(
                    f"{name} {there}, not {wanted[name]}" for name, there in unlike.items()
                ),
                next_move="install on the worker what the driver has",
            )
        for module in ("sklearn.metrics", *(family.module for family in FAMILIES.values())):
            import_module(module)
        self._rows = parcel.rows
        self._threads = get_worker().executor
        self._turn = turn
        self._forgotten: set[int] = set()

    async def run(self, job: Job, turn: int) -> Outcome | str | None:
        """Run a job, after those of earlier turns have begun; None if it was forgotten.

        What its trial did not catch is told in words.
        """
        # They come on lines of their own, and a large one may be overtaken.
        until = time.monotonic() + GRACE_SECONDS
        while self._turn < turn and time.monotonic() < until:
            await asyncio.sleep(0.001)
        self._begun(turn)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._fit, job, turn)

    async def forget(self, turns: Iterable[int]) -> None:
        """Begin these no more, where they have not begun, and wait for none of them."""
        self._forgotten.update(turns)
        self._begun(self._turn - 1)

    def _begun(self, turn: int) -> None:
        self._turn = max(self._turn, turn + 1)
        while self._turn in self._forgotten:
            self._turn += 1

    def _fit(self, job: Job, turn: int) -> Outcome | str | None:
        if turn in self._forgotten:
            return None
        try:
            # As a local worker would.
            with _threads().limit(limits=1):
                return run(job, self._rows)
        except Exception as err:
            return f"{type(err).__name__}: {err}"[:300]


def versions() -> dict[str, str]:
    """Return what a model may depend on: Python's minor version, and the libraries'."""
    python = ".".join(map(str, sys.version_info[:2]))
    return {"python": python} | {
        name: version(name) for name in ("numpy", "scikit-learn", "tidegate")
    }


def scheduler_of(task_runner: object) -> str | None:
    """Return the address of the scheduler of a Prefect task runner; None if it is not Dask's."""
    if type(task_runner).__name__ != "DaskTaskRunner":
        return None
    address: str = task_runner.client.scheduler.address  # type: ignore[attr-defined]
    return address


def _connect(address: str, opened: ExitStack) -> Any:
    try:
        import distributed
    except ModuleNotFoundError as err:
        raise ProjectError(
            "[train] dask needs Dask",
            found=f"no module {err.name}",
            next_move="pip install 'tidegate[dask]'",
        ) from err
    opened.enter_context(_quiet())
    try:
        with warnings.catch_warnings():
            # Of versions: a `Crew` says which matter.
            warnings.simplefilter("ignore")
            client = distributed.Client(
                address, timeout=CONNECT_SECONDS, set_as_default=False, name="tidegate"
            )
    except OSError as err:
        raise ServiceError(
            "a sweep with [train] dask runs on that scheduler's workers",
            found=f"{address} does not answer",
            next_move="start it with `dask scheduler`, or correct the address",
        ) from err
    except (ValueError, TypeError) as err:
        raise ProjectError(
            "[train] dask is the address of a Dask scheduler",
            found=f"{address}: {err}",
            next_move='write it as "tcp://127.0.0.1:8786"',
        ) from err
    opened.callback(client.close)
    return client


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's log, tracebacks and all, off the terminal: what matters is raised."""
    loggers = [
        logger
        for name, logger in logging.root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger)
        and name.partition(".")[0] in ("distributed", "tornado")
        and logger.level
    ]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _raise_unlike(address: str, crew: Any) -> None:
    if crew.status != "error":
        return
    err = crew.exception()
    if "Worker holding Actor was lost" in str(err):
        # It was made, and went with its worker.
        return
    if isinstance(err, ServiceError):
        raise ServiceError(err.rule, found=f"{address}: {err.found}", next_move=err.next_move)
    raise _unlike(address, err) from err


def _unlike(address: str, err: BaseException) -> ServiceError:
    return ServiceError(
        "scheduler and workers of a sweep have tidegate, as the driver has",
        found=f"{address}: {type(err).__name__}: {err}"[:300],
        next_move="install the same tidegate[dask] where they run, and start them again",
    )


def _each(part: Part, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Part:
    """Change every array."""
    changed: dict[str, Any] = {}
    for name in [each.name for each in fields(part)]:
        value = getattr(part, name)
        if isinstance(value, np.ndarray):
            changed[name] = change(value)
        elif isinstance(value, Rows):
            changed[name] = _each(value, change)
    return replace(part, **changed)


def _as_mapped(array: NDArray[Any]) -> NDArray[Any]:
    """Return what a local worker has, down to the last bit of what is learned from it.

    An array comes out of Dask's message wherever it lay in it, and numpy adds up one at an odd
    address in another order.
    """
    array = array.copy()
    array.flags.writeable = False
    return array


@lru_cache(maxsize=1)
def _threads() -> Any:
    """Find the thread pools; once, after a `Crew` has loaded what has some."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
