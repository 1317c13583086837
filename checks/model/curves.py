"""ROC and precision-recall curves, as a report draws them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from checks.model.answers import Answers, NotJudgedError, class_name
from checks.model.calibration import given_probabilities

MOST_POINTS = 101
"""Most points of a curve: more cannot be told apart in a picture."""

_MOST_CLASSES = 4


def curves(answers: Answers) -> dict[str, Any]:
    """Return the curves of the classes that matter most, each against the rest.

    Parameters
    ----------
    answers : Answers

    Returns
    -------
    dict
        By class name, ``roc`` with ``fpr``, ``tpr`` and ``area``, and ``precision_recall``
        with ``recall``, ``precision`` and ``area`` (the average precision), as scikit-learn
        has them; at most `MOST_POINTS` points of each curve, the areas those of all. Of two
        classes the positive one, otherwise the second; of more the rarest four that have
        rows. Empty where there is nothing to draw, or the probabilities are none: the rules
        that judge them say so.
    """
    from sklearn.metrics import auc as area
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

    try:
        given = given_probabilities(answers)
        rows = np.bincount(answers.truth, minlength=len(answers.names))
        chosen = _chosen(answers, rows)
    except NotJudgedError:
        return {}
    drawn = {}
    for code in chosen:
        if not 0 < rows[code] < len(given):
            continue
        truth, scores = answers.truth == code, given[:, code]
        fpr, tpr, _ = roc_curve(truth, scores)
        precision, recall, _ = precision_recall_curve(truth, scores)
        kept, kept_too = _thinned(fpr, tpr), _thinned(recall, precision)
        drawn[answers.names[code]] = {
            "roc": {
                "fpr": fpr[kept].tolist(),
                "tpr": tpr[kept].tolist(),
                "area": float(area(fpr, tpr)),
            },
            "precision_recall": {
                "recall": recall[kept_too].tolist(),
                "precision": precision[kept_too].tolist(),
                "area": float(average_precision_score(truth, scores)),
            },
        }
    return drawn


def _chosen(answers: Answers, rows: NDArray[np.int64]) -> list[int]:
    k = len(answers.names)
    if k == 2:
        named = answers.positive is not None
        return [answers.named(class_name(answers.positive)) if named else 1]
    held = [code for code in range(k) if rows[code]]
    return sorted(held, key=lambda code: (rows[code], code))[:_MOST_CLASSES]


def _thinned(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the positions of points that lie about evenly along a curve, its ends among them."""
    along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    wanted = np.linspace(0, along[-1], MOST_POINTS - 1)
    places = np.searchsorted(along, wanted)
    # Rounding may carry the last step past the end, which is kept in any case.
    return np.unique(np.append(np.minimum(places, len(along) - 1), len(along) - 1))
