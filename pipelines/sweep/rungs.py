"""Who is given more: asynchronous successive halving by promotion.

A trial is stopped at a few rungs, each `ETA` times as much of its family's resource as the
one below. The best share of those at a rung is promoted to the next, as soon as it is the
best share of those known there: nobody waits for a rung to be full [1]_. Trials are compared
within their family, at equal rungs alone.

References
----------
.. [1] L. Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020,
   https://arxiv.org/abs/1810.05934
"""

import math
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass

from pipelines.models.family import Resource

ETA = 3
"""One of so many is promoted, to so many times as much."""

MOST_RUNGS = 4
"""Below one part in 27 of its resource a trial says little of what it will be."""

LEAST_ROWS = 1_000
"""Fewer rows are not worth a fit of their own."""

Rank = tuple[float, float]
"""Score and minus the loss: what is compared. A trial that failed is below every other."""

WORST: Rank = (-math.inf, -math.inf)


def count_rungs(resource: Resource, most: int) -> int:
    """Return how many rungs a family has that is given at most so much.

    Parameters
    ----------
    resource : str
    most : int
        Of epochs or folds, or the rows that there are; of trees the rungs are always three.
    """
    if resource in ("trees", "iterations"):
        return 3
    least = LEAST_ROWS if resource == "rows" else 1
    return min(MOST_RUNGS, 1 + int(math.log(max(most / least, 1), ETA) + 1e-9))


def units_at(rung: int, rungs: int, most: int) -> int:
    """Return how much a trial has been given at a rung."""
    return max(1, round(most / float(ETA) ** (rungs - 1 - rung)))


@dataclass(frozen=True)
class Rung:
    """What became of the trials of one family at one rung.

    Parameters
    ----------
    family : str
    rung : int
        From 0.
    share : float
        Of a family's whole resource, that a trial has been given there.
    entered, promoted, ended, failed : int
        Trials measured there; those given more; those that needed no more; those that failed
        on the way there.
    """

    family: str
    rung: int
    share: float
    entered: int
    promoted: int
    ended: int
    failed: int


class Ladder:
    """The rungs of one family.

    Parameters
    ----------
    family : str
    rungs : int
    """

    def __init__(self, family: str, rungs: int) -> None:
        self.family = family
        self.rungs = rungs
        self._ranks: list[dict[int, Rank]] = [{} for _ in range(rungs)]
        # Kept in order: with thousands of trials, sorting at each decision is what it costs.
        self._usable: list[list[tuple[float, float, int]]] = [[] for _ in range(rungs)]
        self._promoted: list[set[int]] = [set() for _ in range(rungs)]
        self._ended: list[set[int]] = [set() for _ in range(rungs)]

    def reached(self, number: int, rung: int, rank: Rank, *, ended: bool) -> None:
        """Take in that a trial was measured at a rung, and whether it has ended there."""
        self._ranks[rung][number] = rank
        if rank > WORST:
            score, least_loss = rank
            # Of equals the one that was proposed first, whichever came in first.
            insort(self._usable[rung], (-score, -least_loss, number))
        if ended:
            self._ended[rung].add(number)

    def promote(self, number: int, rung: int) -> None:
        """Take in that a trial goes on from a rung."""
        self._promoted[rung].add(number)

    def promotable(self, rung: int, *, last_call: bool) -> int | None:
        """Return the best trial to go on from a rung; None when no other is good enough.

        Parameters
        ----------
        rung : int
        last_call : bool
            No more trials will come: the share is rounded up, so that one at least goes on.
        """
        for number in self._best(rung, self._quota(len(self._ranks[rung]), last_call)):
            if number not in self._promoted[rung] and number not in self._ended[rung]:
                return number
        return None

    def rank(self, number: int, rung: int) -> Rank:
        """Return the rank that a trial had at a rung."""
        return self._ranks[rung][number]

    def hopeless(self, coming: int) -> set[int]:
        """Return the trials that will never be promoted, though so many more may come."""
        found: set[int] = set()
        most = len(self._ranks[0]) + coming
        for rung in range(self.rungs):
            quota = self._quota(most, last_call=True) if rung < self.rungs - 1 else 0
            rest = self._best(rung, len(self._ranks[rung]))[quota:]
            found.update(n for n in rest if n not in self._promoted[rung])
            # One that was promoted early may have fallen out of the best share since.
            most = quota + len(self._promoted[rung])
        return found

    def told(self, failed: Callable[[int, int], bool]) -> tuple[Rung, ...]:
        """Return what became of the trials at each rung.

        Parameters
        ----------
        failed : callable
            Of a trial's number and a rung: whether it failed on its way there.
        """
        return tuple(
            Rung(
                family=self.family,
                rung=rung,
                share=ETA ** -(self.rungs - 1 - rung),
                entered=len(ranks),
                promoted=len(self._promoted[rung]),
                ended=sum(not failed(n, rung) for n in self._ended[rung]),
                failed=sum(failed(n, rung) for n in self._ended[rung]),
            )
            for rung, ranks in enumerate(self._ranks)
        )

    def _best(self, rung: int, count: int) -> list[int]:
        return [number for _, _, number in self._usable[rung][:count]]

    @staticmethod
    def _quota(known: int, last_call: bool) -> int:
        return -(-known // ETA) if last_call else known // ETA
