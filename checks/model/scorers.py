"""scikit-learn's classification scorers, for answers that have been given already."""

import math
import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from checks.model.answers import Answers, NotJudgedError, class_name
from checks.model.wording import nearest

METRICS: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(
        (
            "accuracy",
            "average_precision",
            "balanced_accuracy",
            *(
                f"{name}{average}"
                for name in ("f1", "jaccard", "precision", "recall")
                for average in ("", "_macro", "_micro", "_weighted")
            ),
            "roc_auc",
            "roc_auc_ovo",
            "roc_auc_ovo_weighted",
            "roc_auc_ovr",
            "roc_auc_ovr_weighted",
            "top_k_accuracy",
        ),
        (0.0, 1.0),
    ),
    "d2_brier_score": (-math.inf, 1.0),
    "d2_log_loss_score": (-math.inf, 1.0),
    "matthews_corrcoef": (-1.0, 1.0),
    "neg_brier_score": (-2.0, 0.0),
    "neg_log_loss": (-math.inf, 0.0),
    "neg_negative_likelihood_ratio": (-math.inf, 0.0),
    "positive_likelihood_ratio": (0.0, math.inf),
}
"""Every classification scorer of scikit-learn for one label a row, and its range."""

OF_ONE_CLASS = frozenset(
    {
        "average_precision",
        "f1",
        "jaccard",
        "neg_negative_likelihood_ratio",
        "positive_likelihood_ratio",
        "precision",
        "recall",
    }
)
"""Two-class metrics that change when the other class is called positive."""


def known_metric(name: str) -> str:
    """Return the name of a scorer; a ValueError names the nearest one that is known."""
    if name not in METRICS:
        raise ValueError(
            f"{name!r} is no classification scorer of scikit-learn{nearest(name, METRICS)}"
        )
    return name


def score(name: str, answers: Answers) -> float:
    """Return what scikit-learn's scorer of that name gives for these answers.

    Parameters
    ----------
    name : str
        One of `METRICS`.
    answers : Answers

    Raises
    ------
    NotJudgedError
        The score is not defined for these rows, or is no finite number.
    ValueError
        scikit-learn refuses the rows.
    """
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.exceptions import UndefinedMetricWarning
    from sklearn.metrics import get_scorer

    known_metric(name)
    order = class_order(name, answers)
    truth, predicted = order[answers.truth], order[answers.predicted]

    class Recorded(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        """A classifier that has already answered."""

        classes_ = np.arange(len(order))

        def __sklearn_is_fitted__(self) -> bool:
            return True

        def predict(self, X: object) -> NDArray[np.int64]:
            return predicted

        def predict_proba(self, X: object) -> NDArray[np.float64]:
            if answers.probabilities is None:
                raise NotJudgedError(f"{name} needs probabilities, and none are given")
            given = np.asarray(answers.probabilities, dtype=np.float64)
            if given.shape != (len(truth), len(order)):
                raise NotJudgedError(f"probabilities of shape {given.shape}")
            return given[:, np.argsort(order)]

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # An ill-defined score is set to a number that may well keep the limit.
            warnings.simplefilter("error", UndefinedMetricWarning)
            value = float(get_scorer(name)(Recorded(), np.empty((len(truth), 0)), truth))
    except UndefinedMetricWarning as err:
        raise NotJudgedError(f"{name} is not defined on these rows: {err}") from err
    if not math.isfinite(value):
        raise NotJudgedError(f"{name} is {value} on these rows")
    return value


def class_order(name: str, answers: Answers) -> NDArray[np.int64]:
    """Return the place of each class for scikit-learn, to whom the second is the positive one."""
    k = len(answers.names)
    if k != 2 and name in (OF_ONE_CLASS | {"roc_auc"}) - {"average_precision"}:
        raise NotJudgedError(
            f"{name} is for two classes, and there are {k}{nearest(f'{name}_macro', METRICS)}"
        )
    if k != 2 or name not in OF_ONE_CLASS:
        return np.arange(k)
    if answers.positive is not None:
        positive = answers.named(class_name(answers.positive))
    elif set(answers.names) in ({"false", "true"}, {"0", "1"}) and answers.kind != "strings":
        positive = answers.named("true" if answers.kind == "booleans" else "1")
    else:
        raise NotJudgedError(
            f"{name} is about one class: set data.positive, or limit the class that matters in "
            "[gate.recall] or [gate.precision]"
        )
    return np.array([0, 1]) if positive == 1 else np.array([1, 0])
