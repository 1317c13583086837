"""Every family that a sweep can try, by name."""

from pipelines.models.boosting import Boosting
from pipelines.models.family import Family
from pipelines.models.linear import Linear
from pipelines.models.mlp import MLP

FAMILIES: dict[str, Family] = {family.name: family for family in (MLP(), Boosting(), Linear())}

YARDSTICK = Linear.name
"""The family whose best member is kept beside the winner, to compare with."""
