"""What a trial is best at: probabilities on known rows, as one number, higher being better.

A scorer of scikit-learn's asks its model itself, checks what it is given anew each time, and
passes over the rows once per score. Here the probabilities are worked out once; the two
scores that every point needs are a few lines of numpy, and every other is scikit-learn's own,
asked of a model that has its answers ready.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ProjectError

SCORERS = (
    "accuracy",
    "average_precision",
    "balanced_accuracy",
    "d2_brier_score",
    "d2_log_loss_score",
    "f1",
    "f1_macro",
    "f1_micro",
    "f1_weighted",
    "jaccard",
    "jaccard_macro",
    "jaccard_micro",
    "jaccard_weighted",
    "matthews_corrcoef",
    "neg_brier_score",
    "neg_log_loss",
    "neg_negative_likelihood_ratio",
    "positive_likelihood_ratio",
    "precision",
    "precision_macro",
    "precision_micro",
    "precision_weighted",
    "recall",
    "recall_macro",
    "recall_micro",
    "recall_weighted",
    "roc_auc",
    "roc_auc_ovo",
    "roc_auc_ovo_weighted",
    "roc_auc_ovr",
    "roc_auc_ovr_weighted",
    "top_k_accuracy",
)
"""scikit-learn's scorers of classifiers, by name."""


def score(scoring: str, codes: NDArray[np.intp], probabilities: NDArray[Any]) -> float:
    """Score probabilities as scikit-learn's scorer of that name does.

    Parameters
    ----------
    scoring : str
    codes : ndarray of intp, shape (n_rows,)
        The true classes' places; of two classes 1 is the positive one.
    probabilities : ndarray, shape (n_rows, n_classes)
        Finite.
    """
    if scoring == "accuracy":
        return float(np.mean(probabilities.argmax(axis=1) == codes))
    if scoring == "neg_log_loss":
        return -log_loss(codes, probabilities)
    scorer = _scorer(scoring)
    value = float(scorer(_Answers(probabilities), None, codes))
    if not np.isfinite(value):
        raise FloatingPointError(f"its {scoring} is not finite")
    return value


def log_loss(codes: NDArray[np.intp], probabilities: NDArray[Any]) -> float:
    """Return the mean negative logarithm of the true class's probability, in nats.

    As ``sklearn.metrics.log_loss``: clipped by the precision of the probabilities' type, and
    each row's divided by their sum.
    """
    tiny = np.finfo(probabilities.dtype).eps
    clipped = np.clip(probabilities, tiny, 1 - tiny).astype(np.float64)
    true = clipped[np.arange(len(codes)), codes] / clipped.sum(axis=1)
    return -float(np.mean(np.log(true)))


def check_scoring(scoring: str, classes: int) -> None:
    """See that a score can be worked out for so many classes.

    Raises
    ------
    ProjectError
        It cannot, or not from probabilities.
    """
    random = np.random.default_rng(0)
    codes = np.repeat(np.arange(classes), 4)
    probabilities = random.dirichlet(np.ones(classes), len(codes))
    try:
        score(scoring, codes, probabilities)
    except Exception as err:
        raise ProjectError(
            f"The scorer {scoring} takes a classifier's answers on {classes} classes.",
            found=str(err).strip().splitlines()[0][:200] if str(err) else type(err).__name__,
            next_move="name another in train.scoring, such as balanced_accuracy or f1_macro",
        ) from err


@cache
def _scorer(scoring: str) -> Any:
    from sklearn.metrics import get_scorer

    return get_scorer(scoring)


class _Answers:
    """A classifier that has answered already."""

    _estimator_type = "classifier"

    def __init__(self, probabilities: NDArray[Any]) -> None:
        self._probabilities = probabilities
        self.classes_ = np.arange(probabilities.shape[1])

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
        )

    def fit(self, X: Any, y: Any) -> "_Answers":
        return self

    def predict(self, X: Any) -> NDArray[np.intp]:
        predicted: NDArray[np.intp] = self._probabilities.argmax(axis=1)
        return predicted

    def predict_proba(self, X: Any) -> NDArray[Any]:
        return self._probabilities
