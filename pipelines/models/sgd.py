"""Linear models, fitted by stochastic gradient descent."""

from collections.abc import Mapping
from typing import Any

from pipelines.models.family import Family, Resource
from pipelines.models.space import Dimension, Space, Value


class SGD(Family):
    """Linear classifiers fitted row by row: for tables with very many rows.

    Averaging the weights over the rows, as of the first one, is the advice of [1]_ for a
    learning rate that nobody tuned.

    References
    ----------
    .. [1] L. Bottou, "Stochastic Gradient Descent Tricks", 2012,
       https://doi.org/10.1007/978-3-642-35289-8_25
    """

    name = "sgd"
    module = "sklearn.linear_model"
    resource: Resource = "epochs"
    share = 1
    parameters: Mapping[str, type | tuple[type, ...]] = {
        "loss": str,
        "penalty": str,
        "alpha": float,
        "l1_ratio": float,
        "average": (bool, int),
        "learning_rate": str,
        "eta0": float,
        "power_t": float,
    }

    def space(self) -> Space:
        """Return the space of loss, penalty and its strength, and averaging or not."""
        return {
            "loss": Dimension(choice=("log_loss", "modified_huber")),
            "penalty": Dimension(choice=("l2", "elasticnet")),
            "alpha": Dimension(log=(1e-6, 1e-1)),
            "l1_ratio": Dimension(uniform=(0.0, 1.0), when={"penalty": "elasticnet"}),
            "average": Dimension(choice=(False, True)),
        }

    def starts(self) -> tuple[dict[str, Value], ...]:
        """Return scikit-learn's default penalty with averaging and without, and a stronger one."""
        common: dict[str, Value] = {"loss": "log_loss", "penalty": "l2"}
        return (
            common | {"alpha": 1e-4, "average": True},
            common | {"alpha": 1e-4, "average": False},
            common | {"alpha": 1e-2, "average": True},
        )

    def build(self, params: Mapping[str, Value], *, seed: int, rows: int) -> Any:
        """Return a classifier that has probabilities, and shuffles anew each epoch."""
        import numpy as np
        from sklearn.linear_model import SGDClassifier

        # With a plain number partial_fit would shuffle alike in every epoch.
        random = np.random.RandomState(seed)
        return SGDClassifier(**{"loss": "log_loss", "random_state": random, **params})

    def cost(self, params: Mapping[str, Value], *, rows: int, columns: int, classes: int) -> float:
        """Return the planned seconds of one epoch: a linear function a class, each row once."""
        return 1e-3 + 6e-9 * rows * columns * (classes if classes > 2 else 1)
