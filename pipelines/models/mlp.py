"""Multilayer perceptrons."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pipelines.models.family import Family
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

    name: ClassVar[str] = "mlp"
    module: ClassVar[str] = "sklearn.neural_network"
    resource: ClassVar[Literal["epochs"] | None] = "epochs"
    share: ClassVar[int] = 6
    parameters: ClassVar[Mapping[str, type]] = {
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
            "width": Dimension(choice=(16, 32, 64, 128)),
            "solver": Dimension(choice=("adam", "sgd")),
            "learning_rate_init": Dimension(log=(1e-4, 5e-2)),
            "momentum": Dimension(uniform=(0.1, 0.95), when={"solver": "sgd"}),
            "alpha": Dimension(log=(1e-6, 1e-1)),
            "batch_size": Dimension(choice=(64, 128, 256)),
        }

    def starts(self) -> tuple[dict[str, Value], ...]:
        """Return deep starting points of four to six layers, and two shallow ones."""
        return (
            _start(4, 64, "adam", 1e-3, 1e-3),
            _start(2, 64, "adam", 3e-4, 1e-2),
            _start(5, 64, "sgd", 3e-2, 1e-3, momentum=0.5),
            _start(6, 32, "adam", 5e-4, 1e-2),
            _start(1, 128, "adam", 1e-3, 1e-2),
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


def _start(
    layers: int, width: int, solver: str, rate: float, alpha: float, **more: float
) -> dict[str, Value]:
    return {
        "layers": layers,
        "width": width,
        "solver": solver,
        "learning_rate_init": rate,
        "alpha": alpha,
        "batch_size": 128,
        **more,
    }
