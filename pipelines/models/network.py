"""scikit-learn's multilayer perceptron, with a faster epoch.

`Network` draws the numbers and does the mathematics of ``MLPClassifier.partial_fit``, and hands
out a genuine ``MLPClassifier``. What differs is where the numbers lie:

- All weights are one flat float32 vector, and so are the gradient and the optimizer's moments.
  A step of the optimizer is a few passes over whole vectors.
- A layer is one block of that vector, (fan in + 1, fan out), whose last row are the biases. The
  values that go into it end in a row of ones, so that one matrix product adds the biases too,
  and another gives the gradient of both.
- Values are (neurons, rows): softmax sums along whole rows of memory.
- Every buffer is made once for a size of batch. The loss is worked out once an epoch.

It differs from scikit-learn's by rounding alone, which a ReLU at its kink can amplify.
"""

import copy
import itertools
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import saxpy, sscal
from scipy.special import expit

from pipelines.models.learner import Learner, Rows

Floats = NDArray[np.float32]

_COVERED: dict[str, tuple[object, ...]] = {
    "activation": ("identity", "logistic", "tanh", "relu"),
    "solver": ("adam", "sgd"),
    "learning_rate": ("constant",),
    "shuffle": (True,),
    "verbose": (False,),
    "warm_start": (False,),
    "early_stopping": (False,),
}
"""Parameters of which these values are covered."""

_FREE = frozenset(
    {"layers", "width", "hidden_layer_sizes", "batch_size", "alpha", "learning_rate_init"}
    | {"momentum", "nesterovs_momentum", "beta_1", "beta_2", "epsilon", "random_state"}
    | {"tol", "n_iter_no_change", "max_iter", "max_fun", "power_t", "validation_fraction"}
)
"""Parameters of which every value is covered, or that say nothing about a covered epoch."""

_AT_A_TIME = 1024
"""Rows to predict at a time, so that their values stay in the processor's cache."""


class Network(Learner):
    """A multilayer perceptron that learns epoch by epoch; see the module.

    Parameters
    ----------
    classifier : sklearn.neural_network.MLPClassifier
        Unfitted, of parameters that are covered (`covers`). Its ``random_state`` is a
        ``numpy.random.RandomState`` of its own, which moves on with each epoch.
    seed : int
        What that generator was seeded with: the ``random_state`` of the estimator handed out.

    Attributes
    ----------
    units : int
        Epochs learned so far. Before the first there is nothing to predict with.

    References
    ----------
    .. [1] X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward
       neural networks", AISTATS 2010, for the first weights.
    .. [2] D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015,
       https://arxiv.org/abs/1412.6980
    .. [3] I. Sutskever et al., "On the importance of initialization and momentum in deep
       learning", ICML 2013, for Nesterov's momentum.
    """

    def __init__(self, classifier: Any, seed: int) -> None:
        self.units = 0
        self._classifier = classifier
        self._seed = seed
        self._losses: list[float] = []
        self._rows_seen = 0
        self._widths: list[int] = []
        self._classes = np.empty(0)
        self._weights = np.empty(0, np.float32)
        self._optimizer: _Adam | _Momentum | None = None
        self._buffers: _Buffers | None = None
        # By their number of rows, and shared with snapshots: fresh memory costs more than a look.
        self._predicting: dict[int, _Batch] = {}

    @staticmethod
    def covers(params: Mapping[str, Any]) -> bool:
        """Say whether a network of these parameters, the others at their defaults, is covered.

        Parameters
        ----------
        params : mapping
            Of the family ``mlp`` or of ``MLPClassifier``.
        """
        return all(
            name in _FREE or value in _COVERED.get(name, ()) for name, value in params.items()
        )

    def advance(self, rows: Rows, units: int) -> None:
        """Go on until so many epochs in all.

        Parameters
        ----------
        rows : Rows
            Finite, and with the same columns and classes each time.
        units : int
            Epochs; when there were as many already, nothing happens.

        Raises
        ------
        FloatingPointError
            When the weights are no longer finite, where scikit-learn raises ValueError.
        ValueError
            When scikit-learn does not allow a parameter.
        RuntimeError
            When it is a snapshot.
        """
        for epoch in range(self.units + 1, units + 1):
            loss = self._epoch(rows, self._optimizer or self._start(rows))
            if not np.isfinite(self._weights).all():
                raise FloatingPointError(f"the weights are non-finite after epoch {epoch}")
            self._losses.append(loss)
            self._rows_seen += len(rows.X)
            self.units = epoch

    def predict_proba(self, X: Floats) -> Floats:
        """Return the probability of each class, without a look at what X is.

        Parameters
        ----------
        X : ndarray of shape (n, f)

        Returns
        -------
        ndarray of shape (n, k)
            float32; not finite where X is not.
        """
        result = np.empty((len(X), max(2, len(self._classes))), np.float32)
        size = max(1, math.ceil(len(X) / max(1, math.ceil(len(X) / _AT_A_TIME))))
        layers = _layers(self._weights, self._widths)
        if size not in self._predicting:
            self._predicting[size] = _Batch(layers, self._classifier.activation, size)
        batch = self._predicting[size]
        batch.layers = layers
        for start in range(0, len(X), size):
            part = result[start : start + size]
            batch.features[: len(part)] = X[start : start + size]
            outputs = batch.forward()[:, : len(part)]
            part[:] = outputs.T
            if len(outputs) == 1:
                part[:, 0] = 1 - outputs[0]
        return result

    def snapshot(self) -> "Network":
        """Return the network as it is now, without what it would take to learn on."""
        taken = copy.copy(self)
        taken._weights = self._weights.copy()
        taken._losses = self._losses.copy()
        taken._optimizer = None
        return taken

    def estimator(self) -> Any:
        """Return a fitted ``MLPClassifier`` that owns its weights.

        That of a snapshot has no optimizer: ``partial_fit`` would start with a new one.
        """
        from sklearn.neural_network import MLPClassifier
        from sklearn.preprocessing import LabelBinarizer

        best, idle = math.inf, 0
        for loss in self._losses:
            idle = idle + 1 if loss > best - self._classifier.tol else 0
            best = min(best, loss)
        binarizer = LabelBinarizer().fit(self._classes)
        coefs, intercepts = _parts(self._weights, self._widths)
        params = {
            **self._classifier.get_params(deep=False),
            "random_state": self._seed,
            # Fitted again it makes as many passes, and does not stop by a rule of its own.
            "max_iter": self.units,
            "n_iter_no_change": self.units,
        }
        fitted = MLPClassifier(**params)
        vars(fitted).update(
            n_features_in_=self._widths[0],
            n_layers_=len(self._widths),
            n_outputs_=self._widths[-1],
            out_activation_="logistic" if self._widths[-1] == 1 else "softmax",
            classes_=binarizer.classes_,
            _label_binarizer=binarizer,
            coefs_=coefs,
            intercepts_=intercepts,
            n_iter_=1,  # in the last call of partial_fit
            t_=self._rows_seen,
            loss_=self._losses[-1],
            loss_curve_=self._losses.copy(),
            best_loss_=best,
            _no_improvement_count=idle,
            validation_scores_=None,
            best_validation_score_=None,
        )
        if self._optimizer is not None:
            fitted._optimizer = self._optimizer.genuine(self._widths)
        return fitted

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_buffers": None, "_predicting": {}}

    def _start(self, rows: Rows) -> "_Adam | _Momentum":
        """Draw the first weights, uniform in bounds that keep the variance of the layers [1]_."""
        if self.units:
            raise RuntimeError("a snapshot does not learn: advance the network it was taken from")
        from sklearn.utils._param_validation import validate_parameter_constraints

        settings = self._classifier
        # As `_validate_params` does, without reading the signature of the class once a trial.
        validate_parameter_constraints(
            settings._parameter_constraints, vars(settings), type(settings).__name__
        )
        hidden = [int(width) for width in np.atleast_1d(settings.hidden_layer_sizes)]
        self._classes = np.asarray(rows.classes)
        # Of two classes the second has the only output.
        outputs = len(self._classes) if len(self._classes) > 2 else 1
        self._widths = [rows.X.shape[1], *hidden, outputs]
        factor = 2 if settings.activation == "logistic" else 6
        draws = []
        for fan_in, fan_out in itertools.pairwise(self._widths):
            bound = np.sqrt(factor / (fan_in + fan_out))
            draws.append(settings.random_state.uniform(-bound, bound, (fan_in + 1) * fan_out))
        self._weights = np.concatenate(draws).astype(np.float32)
        kind = _Adam if settings.solver == "adam" else _Momentum
        self._optimizer = kind(settings, len(self._weights))
        return self._optimizer

    def _epoch(self, rows: Rows, optimizer: "_Adam | _Momentum") -> float:
        """Pass over the rows once, and return the mean loss on the way, in nats."""
        settings = self._classifier
        if self._buffers is None:
            self._buffers = _Buffers(self._weights, self._widths, settings)
        buffers = self._buffers
        X = np.asarray(rows.X)  # a memory map's own indexing is slow
        count = len(X)
        largest = min(200 if settings.batch_size == "auto" else settings.batch_size, count)
        starts = np.arange(0, count, largest)
        sizes = np.minimum(largest, count - starts)

        order = settings.random_state.permutation(count)
        codes = rows.codes[order]
        outputs = self._widths[-1]
        of = np.arange(outputs) if outputs > 1 else np.ones(1, np.intp)
        targets = np.equal(codes, of[:, np.newaxis]).astype(np.float32)
        weights = np.ones(count) if rows.weights is None else rows.weights[order]
        totals = np.add.reduceat(weights, starts, dtype=np.float64)
        shares = (weights / np.repeat(totals, sizes)).astype(np.float32)

        probabilities = np.empty_like(targets)
        penalty = 0.0
        for start, size, total in zip(
            starts.tolist(), sizes.tolist(), totals.tolist(), strict=True
        ):
            here = slice(start, start + size)
            batch = buffers.batch(size)
            batch.take(X, order[here])
            probabilities[:, here] = batch.forward()
            batch.backward(targets[:, here], shares[here], buffers.gradients)
            if settings.alpha:
                penalty += buffers.decay(1 / total) * size
            optimizer.step(self._weights, buffers.gradient)

        if outputs == 1:
            probabilities = np.where(targets == 1, probabilities, 1 - probabilities)
            likelihood = probabilities[0]
        else:
            likelihood = (probabilities * targets).sum(axis=0)
        tiny = np.finfo(np.float32).eps
        losses = -np.log(np.clip(likelihood, tiny, 1 - tiny), dtype=np.float64)
        return float((np.dot(shares * np.repeat(sizes, sizes), losses) + penalty) / count)


class _Batch:
    """The values of every layer, and the gradient of the loss by them, for so many rows."""

    def __init__(self, layers: list[Floats], activation: str, size: int) -> None:
        inputs = np.empty((size, len(layers[0])), np.float32)
        self.features = inputs[:, :-1]
        self.layers = layers
        widths = [layer.shape[1] for layer in layers]
        hidden = [np.empty((width + 1, size), np.float32) for width in widths[:-1]]
        self._values = [inputs.T, *hidden]
        for values in self._values:
            values[-1] = 1
        self._hidden = [values[:-1] for values in hidden]
        zeros = np.zeros((max(widths), size), np.float32)
        self._zeros = [zeros[:width] for width in widths[:-1]]
        self._outputs = np.empty((widths[-1], size), np.float32)
        self._by_row = np.empty(size, np.float32)
        self._activate, self._derive = _ACTIVATIONS[activation]

    @cached_property
    def _taken(self) -> Floats:
        return np.empty(self.features.shape, np.float32)

    @cached_property
    def _deltas(self) -> list[Floats]:
        return [np.empty_like(values) for values in (*self._hidden, self._outputs)]

    def take(self, X: Floats, rows: NDArray[np.intp]) -> None:
        """Take the features of these rows."""
        X.take(rows, axis=0, out=self._taken, mode="clip")  # "raise" would copy once more
        self.features[:] = self._taken

    def forward(self) -> Floats:
        """Return the probabilities that follow from the features, (outputs, rows)."""
        for index, hidden in enumerate(self._hidden):
            np.dot(self.layers[index].T, self._values[index], out=hidden)
            self._activate(hidden, self._zeros[index])
        outputs, by_row = self._outputs, self._by_row
        np.dot(self.layers[-1].T, self._values[-1], out=outputs)
        if len(outputs) == 1:
            expit(outputs, out=outputs)
        else:
            outputs -= np.maximum.reduce(outputs, axis=0, out=by_row)
            np.exp(outputs, out=outputs)
            outputs /= np.add.reduce(outputs, axis=0, out=by_row)
        return outputs

    def backward(self, targets: Floats, shares: Floats, gradients: list[Floats]) -> None:
        """Fill the gradients; a share is how much of the batch's loss is the row's."""
        delta = self._deltas[-1]
        np.subtract(self._outputs, targets, out=delta)
        delta *= shares
        for index in range(len(gradients) - 1, -1, -1):
            np.dot(self._values[index], delta.T, out=gradients[index])
            if index:
                above, delta = delta, self._deltas[index - 1]
                np.dot(self.layers[index][:-1], above, out=delta)
                self._derive(delta, self._hidden[index - 1])


class _Buffers:
    """What an epoch writes into, bound to one vector of weights."""

    def __init__(self, weights: Floats, widths: list[int], settings: Any) -> None:
        self.gradient = np.empty_like(weights)
        self.gradients = _layers(self.gradient, widths)
        self._weights = weights
        self._layers = _layers(weights, widths)
        self._activation = settings.activation
        self._batches: dict[int, _Batch] = {}
        self._decayed = np.empty_like(weights)
        self._alphas = np.full_like(weights, settings.alpha)
        for layer in _layers(self._alphas, widths):
            layer[-1] = 0  # biases are left alone

    def batch(self, size: int) -> _Batch:
        """Return the batch of this size."""
        if size not in self._batches:
            self._batches[size] = _Batch(self._layers, self._activation, size)
        return self._batches[size]

    def decay(self, scale: float) -> float:
        """Add the gradient of the L2 penalty, and return the penalty, both scaled."""
        np.multiply(self._weights, self._alphas, out=self._decayed)
        saxpy(self._decayed, self.gradient, a=scale)
        return 0.5 * scale * float(np.dot(self._decayed, self._weights))


class _Adam:
    """Adam [2]_."""

    def __init__(self, settings: Any, size: int) -> None:
        self._rate = float(settings.learning_rate_init)
        self._betas = float(settings.beta_1), float(settings.beta_2)
        self._epsilon = float(settings.epsilon)
        self._time = 0
        self._first = np.zeros(size, np.float32)
        self._second = np.zeros(size, np.float32)

    def step(self, weights: Floats, gradient: Floats) -> None:
        """Move the weights, and use the gradient up."""
        beta_1, beta_2 = self._betas
        self._time += 1
        sscal(beta_1, self._first)
        saxpy(gradient, self._first, a=1 - beta_1)
        gradient *= gradient
        sscal(beta_2, self._second)
        saxpy(gradient, self._second, a=1 - beta_2)
        rate = self._rate * math.sqrt(1 - beta_2**self._time) / (1 - beta_1**self._time)
        np.sqrt(self._second, out=gradient)
        gradient += self._epsilon
        np.divide(self._first, gradient, out=gradient)
        saxpy(gradient, weights, a=-rate)

    def genuine(self, widths: list[int]) -> Any:
        """Return scikit-learn's own, at the same step."""
        from sklearn.neural_network._stochastic_optimizers import AdamOptimizer

        optimizer = AdamOptimizer((), self._rate, *self._betas, self._epsilon)
        optimizer.t = self._time
        optimizer.ms = list(itertools.chain(*_parts(self._first, widths)))
        optimizer.vs = list(itertools.chain(*_parts(self._second, widths)))
        return optimizer


class _Momentum:
    """Stochastic gradient descent with momentum, the classical or Nesterov's [3]_."""

    def __init__(self, settings: Any, size: int) -> None:
        self._rate = float(settings.learning_rate_init)
        self._momentum = float(settings.momentum)
        self._nesterov = settings.nesterovs_momentum
        self._velocity = np.zeros(size, np.float32)

    def step(self, weights: Floats, gradient: Floats) -> None:
        """Move the weights, and use the gradient up."""
        gradient *= -self._rate
        sscal(self._momentum, self._velocity)
        self._velocity += gradient
        if self._nesterov:
            saxpy(self._velocity, gradient, a=self._momentum)
            weights += gradient
        else:
            weights += self._velocity

    def genuine(self, widths: list[int]) -> Any:
        """Return scikit-learn's own, at the same step."""
        from sklearn.neural_network._stochastic_optimizers import SGDOptimizer

        optimizer = SGDOptimizer((), self._rate, momentum=self._momentum, nesterov=self._nesterov)
        optimizer.velocities = list(itertools.chain(*_parts(self._velocity, widths)))
        return optimizer


_ACTIVATIONS: dict[str, tuple[Callable[..., object], Callable[..., object]]] = {
    "identity": (
        lambda values, zeros: None,
        lambda delta, values: None,
    ),
    "logistic": (
        lambda values, zeros: expit(values, out=values),
        lambda delta, values: np.multiply(delta, values * (1 - values), out=delta),
    ),
    "tanh": (
        lambda values, zeros: np.tanh(values, out=values),
        lambda delta, values: np.multiply(delta, 1 - values * values, out=delta),
    ),
    "relu": (
        # Three times as fast as with a plain zero.
        lambda values, zeros: np.maximum(values, zeros, out=values),
        lambda delta, values: np.multiply(delta, values > 0, out=delta),
    ),
}
"""What is done to values in place, and on the way back to the gradient by them."""


def _layers(flat: Floats, widths: list[int]) -> list[Floats]:
    """Return the layers in a flat vector, as views: weights, and the biases below."""
    layers = []
    end = 0
    for fan_in, fan_out in itertools.pairwise(widths):
        start, end = end, end + (fan_in + 1) * fan_out
        layers.append(flat[start:end].reshape(fan_in + 1, fan_out))
    return layers


def _parts(flat: Floats, widths: list[int]) -> tuple[list[Floats], list[Floats]]:
    """Return the weights and the biases in a flat vector by layer, as copies."""
    layers = _layers(flat, widths)
    return [layer[:-1].copy() for layer in layers], [layer[-1].copy() for layer in layers]
