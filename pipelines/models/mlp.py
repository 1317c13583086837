"""Multilayer perceptrons."""

import math
from collections.abc import Mapping
from typing import Any

from pipelines.models.family import Family, Resource
from pipelines.models.learner import Learner, Passes
from pipelines.models.space import Dimension, Space, Value


class MLP(Family):
    """Fully connected networks of equally wide layers, fitted epoch by epoch.

    The space follows the field's standard advice [1]_ [2]_: the learning rate first and on a
    logarithmic scale, momentum from low to high, small batches, a few layers of modest width,
    and weight decay.

    References
    ----------
    .. [1] Y. Bengio, "Practical recommendations for gradient-based training of deep
       architectures", 2012, https://arxiv.org/abs/1206.5533
    .. [2] V. Godbole et al., "Deep Learning Tuning Playbook", 2023,
       https://github.com/google-research/tuning_playbook
    """

    name = "mlp"
    module = "sklearn.neural_network"
    resource: Resource = "epochs"
    share = 6
    parameters: Mapping[str, type | tuple[type, ...]] = {
        "layers": int,
        "width": int,
        "activation": str,
        "solver": str,
        "learning_rate_init": float,
        "momentum": float,
        "alpha": float,
        "batch_size": int,
    }

    def space(self) -> Space:
        """Return the space of depth, width, solver, learning rate, momentum, L2 and batch size."""
        return {
            "layers": Dimension(integer=(1, 6)),
            "width": Dimension(integer=(16, 128)),
            "solver": Dimension(choice=("adam", "sgd")),
            "learning_rate_init": Dimension(log=(1e-4, 5e-2)),
            "momentum": Dimension(uniform=(0.1, 0.95), when={"solver": "sgd"}),
            "alpha": Dimension(log=(1e-6, 1e-1)),
            "batch_size": Dimension(integer=(32, 256)),
        }

    def starts(self) -> tuple[dict[str, Value], ...]:
        """Return what is usual for tables: two layers, four to six, and scikit-learn's defaults.

        Small batches and a rate near the largest that does not diverge learn most in an epoch
        [1]_, and it is by the first epochs that trials are compared.
        """
        return (
            _start(2, 128, "adam", 3e-3),
            _start(4, 64, "adam", 1e-3),
            _start(2, 64, "adam", 3e-3),
            _start(4, 64, "sgd", 3e-2, momentum=0.5),
            _start(6, 32, "adam", 1e-3),
            _start(1, 100, "adam", 1e-3, batch_size=200),
            _start(5, 32, "sgd", 1e-2, momentum=0.1),
        )

    def build(self, params: Mapping[str, Value], *, seed: int, rows: int) -> Any:
        """Return a network that shuffles anew each epoch."""
        import numpy as np
        from sklearn.neural_network import MLPClassifier

        rest: dict[str, Any] = dict(params)
        layers = (rest.pop("width", 64),) * rest.pop("layers", 2)
        # With a plain number partial_fit would shuffle alike in every epoch.
        network = MLPClassifier(layers, random_state=np.random.RandomState(seed), **rest)
        if isinstance(network.batch_size, int):
            network.batch_size = min(network.batch_size, rows)
        return network

    def start(self, params: Mapping[str, Value], *, seed: int, rows: int) -> Learner:
        """Return a quick learner of the same weights, or `partial_fit` where there is none."""
        from pipelines.models.network import Network

        network = self.build(params, seed=seed, rows=rows)
        return Network(network, seed) if Network.covers(params) else Passes(network, seed)

    def cost(self, params: Mapping[str, Value], *, rows: int, columns: int, classes: int) -> float:
        """Return the planned seconds of one epoch: a step a batch, and each row by each weight."""
        layers, width = int(params.get("layers", 2)), int(params.get("width", 64))
        batches = math.ceil(rows / int(params.get("batch_size", 200)))
        weights = width * (columns + (layers - 1) * width + classes)
        step = 1.1e-5 + 5e-6 * (layers + 1) + 1e-9 * weights
        return batches * step + 7.5e-11 * rows * weights


def _start(layers: int, width: int, solver: str, rate: float, **more: float) -> dict[str, Value]:
    return {
        "layers": layers,
        "width": width,
        "solver": solver,
        "learning_rate_init": rate,
        "alpha": 1e-4,
        "batch_size": 64,
        **more,
    }
