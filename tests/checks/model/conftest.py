"""Evidence of a model that does everything right, to be spoilt one part at a time."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from checks.model.answers import Answers
from checks.model.evidence import Champion, Evidence, FreshCopy


def evidence_of(
    labels: Any,
    truth: Any,
    predictions: Any,
    probabilities: Any = None,
    *,
    positive: Any = None,
    majority: Any = None,
    champion: Any = None,
    **spoilt: Any,
) -> Evidence:
    """Give evidence with nothing to find fault with beside the answers."""
    rows = len(truth) if truth is not None else 0
    if probabilities is None:
        held = np.asarray(list(labels), dtype=object)
        probabilities = (np.asarray(predictions, dtype=object)[:, None] == held).astype(float)
    if majority is None and rows:
        values, counts = np.unique(np.asarray(truth).astype(str), return_counts=True)
        commonest = values[np.argmax(counts)]
        majority = np.repeat([label for label in labels if str(label) == commonest], rows)
    if champion is not None and not isinstance(champion, str | Champion):
        champion = Champion("1", champion, np.zeros(rows, dtype=bool))
    rng = np.random.default_rng(0)
    answers = Answers(labels, truth, predictions, probabilities, positive)
    found = Evidence(
        answers=answers,
        frame=pd.DataFrame({"x": rng.normal(size=rows), "z": rng.choice(["a", "b"], rows)}),
        train=answers,
        learned=np.zeros(rows, dtype=bool),
        majority=majority,
        yardstick=majority,
        champion=champion,
        fresh=FreshCopy(predictions, probabilities, row_ms=1.0, batch_ms=2.0, size=10_000),
        again=probabilities,
        reordered=predictions,
        noisy=predictions,
        emptied=predictions,
        alone={"x": 0.6, "z": 0.5},
        copied=np.zeros(rows, dtype=bool),
        telling={},
    )
    return replace(found, **spoilt)


@pytest.fixture(scope="session")
def make_evidence() -> Callable[..., Evidence]:
    """Return `evidence_of`: pytest shares code between test files by fixtures alone."""
    return evidence_of
