"""The space that every contestant searches: the networks of scikit-learn, of equally wide layers.

Read by the rivals too, whose environment has no tidegate in it.
"""

from typing import Any

import numpy as np

LAYERS = (1, 6)
WIDTHS = (16, 32, 64, 128)
SOLVERS = ("adam", "sgd")
RATE = (1e-4, 5e-2)
MOMENTUM = (0.1, 0.95)
"""Where the solver is sgd; adam has none."""

ALPHA = (1e-6, 1e-1)
BATCHES = (64, 128, 256)

EPOCHS = 30
"""Passes over the training rows that a trial is at its end after."""

Params = dict[str, Any]


def declared() -> dict[str, dict[str, Any]]:
    """Return the space as ``[train.space.mlp]`` declares one."""
    return {
        "layers": {"int": LAYERS},
        "width": {"choice": WIDTHS},
        "solver": {"choice": SOLVERS},
        "learning_rate_init": {"log": RATE},
        "momentum": {"uniform": MOMENTUM, "when": {"solver": "sgd"}},
        "alpha": {"log": ALPHA},
        "batch_size": {"choice": BATCHES},
    }


def draw(rng: np.random.Generator) -> Params:
    """Draw a configuration at random."""
    solver = str(rng.choice(SOLVERS))
    params: Params = {
        "layers": int(rng.integers(LAYERS[0], LAYERS[1], endpoint=True)),
        "width": int(rng.choice(WIDTHS)),
        "solver": solver,
        "learning_rate_init": float(np.exp(rng.uniform(*np.log(RATE)))),
        "alpha": float(np.exp(rng.uniform(*np.log(ALPHA)))),
        "batch_size": int(rng.choice(BATCHES)),
    }
    if solver == "sgd":
        params["momentum"] = float(rng.uniform(*MOMENTUM))
    return params


def estimator_params(params: Params) -> Params:
    """Return the arguments of an `MLPClassifier`."""
    rest = dict(params)
    layers = rest.pop("layers")
    return {"hidden_layer_sizes": (rest.pop("width"),) * layers, **rest}


def network(params: Params, seed: int, **more: Any) -> Any:
    """Return an unfitted network.

    Its generator is a `RandomState`: with a plain number ``partial_fit`` would shuffle alike in
    every epoch, which no user who knows of it wants.
    """
    from sklearn.neural_network import MLPClassifier

    generator = np.random.RandomState(seed)
    return MLPClassifier(random_state=generator, **estimator_params(params), **more)
