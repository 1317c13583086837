"""How results speak: counts, quoted names, numbers that tell apart what differs."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from checks.result import MAXIMUM_EXAMPLES

_LONGEST_NAME = 60


def apart(*values: float) -> list[str]:
    """Write numbers with as many digits as tell those apart that differ."""
    for digits in (4, 6, 9, 12):
        said = [f"{value:.{digits}f}" for value in values]
        if len(set(said)) == len(set(values)):
            break
    return said


def counted(number: int, noun: str) -> str:
    """Write a number of things: ``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def quoted(names: Sequence[str]) -> str:
    """Quote the first few names, each cut where it is long, and count the others."""
    said = ", ".join(repr(name[:_LONGEST_NAME]) for name in names[:MAXIMUM_EXAMPLES])
    more = len(names) - MAXIMUM_EXAMPLES
    return f"{said} and {more} more" if more > 0 else said


def nearest(word: str, known: Iterable[str]) -> str:
    """Say which known word was probably meant, or which words are known."""
    names = list(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {quoted(names)}" if names else ""
