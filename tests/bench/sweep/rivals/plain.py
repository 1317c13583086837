"""Loaded by workers, lets their networks be fitted by scikit-learn's own ``partial_fit``."""

from collections.abc import Mapping

from pipelines.models.learner import Learner, Passes
from pipelines.models.mlp import MLP
from pipelines.models.space import Value


def start(self: MLP, params: Mapping[str, Value], *, seed: int, rows: int) -> Learner:
    """Return a learner around scikit-learn's network."""
    return Passes(self.build(params, seed=seed, rows=rows), seed)


MLP.start = start  # type: ignore[method-assign]
