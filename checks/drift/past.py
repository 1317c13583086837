"""What earlier windows showed of one check."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from checks.result import Report

LEAST_WINDOWS = 6
"""Fewest past windows from which a column is said to move by itself."""


@dataclass(frozen=True)
class Past:
    """What earlier windows showed of one check.

    Parameters
    ----------
    moved : tuple of bool
        Whether each moved beyond what counts, the oldest first. Windows that could not tell, by
        too few rows or a broken column, are left out: they neither go on with a row of windows
        nor end it.
    effects : tuple of float
        How far each moved.
    """

    moved: tuple[bool, ...]
    effects: tuple[float, ...]

    @classmethod
    def of(cls, past: Sequence[Report], id: str) -> Self:
        """Collect what reports, the oldest first, say of a check."""
        details = [
            check.details
            for report in past
            for check in report.checks
            if check.id == id and "exceeded" in check.details
        ]
        return cls(
            tuple(bool(each["exceeded"]) for each in details),
            tuple(float(each["effect"]) for each in details),
        )

    @property
    def in_a_row(self) -> int:
        """The number of windows, the last one included, that moved without a pause."""
        count = 0
        for moved in reversed(self.moved):
            if not moved:
                break
            count += 1
        return count

    def explains(self, effect: float, *, share: float, margin: float) -> bool:
        """Tell whether a move is one that this stream makes by itself.

        Parameters
        ----------
        effect : float
            How far it moved now.
        share : float
            Of past windows that moved, from which on a move tells nothing.
        margin : float
            By which a move may exceed the largest one so far: a fault that goes well beyond
            every season is news still.
        """
        if len(self.moved) < LEAST_WINDOWS or sum(self.moved) < share * len(self.moved):
            return False
        return effect <= max(self.effects) + margin
