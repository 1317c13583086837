"""Who races, and what was asked of tidegate against each."""

from dataclasses import dataclass
from importlib import import_module

from sweep.contest import Contestant


@dataclass(frozen=True)
class Entry:
    """A contestant by name.

    Parameters
    ----------
    name : str
        ``module:Class`` below `sweep.rivals`.
    asked : float or None
        How many times its expected running time ours is asked to be; None of ours.
    """

    name: str
    asked: float | None = None

    @property
    def contestant(self) -> type[Contestant]:
        """Its class; its libraries are not loaded yet."""
        module, _, name = self.name.partition(":")
        found: type[Contestant] = getattr(import_module(f"sweep.rivals.{module}"), name)
        return found


OURS = Entry("tidegate:Tidegate")

ENTRIES = (
    OURS,
    Entry("tidegate:Plain"),
    Entry("tidegate:NoStarts"),
    Entry("optuna_study:FullFits", 10),
    Entry("optuna_study:Pruned", 3),
    Entry("halving:Halving", 6),
    Entry("ray_tune:Asha", 4),
    Entry("flaml_tune:Flaml", 3),
)

VARIANTS = (
    *(Entry(f"optuna_study:{name}") for name in ("FullFits", "FullFitsThreads", "Pruned")),
    *(Entry(f"halving:{name}") for name in ("Halving", "HalvingFromThree")),
    *(Entry(f"ray_tune:{name}") for name in ("Asha", "AshaEveryEpoch")),
    *(Entry(f"flaml_tune:{name}") for name in ("Flaml", "FlamlFullFits", "Cfo")),
)
"""Other ways to set a rival up: `--variants` races them, and the fastest of each is an entry."""
