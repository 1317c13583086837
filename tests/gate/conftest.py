"""A candidate that an honest gate lets through, with a limit set for every rule."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from checks.model.answers import Answers
from checks.model.evidence import Champion, Evidence, FreshCopy
from checks.model.settings import GateSettings

ROWS = 4_000
LABELS = ("late", "on_time")

EVERY_LIMIT: dict[str, Any] = {
    "minimum_rows": 500,
    "metrics": {"accuracy": {"min": 0.75}, "roc_auc": {"min": 0.75}},
    "recall": {"late": 0.65},
    "precision": {"late": 0.65},
    "confusion": {"late -> on_time": 0.35},
    "cost": {"matrix": {"late -> on_time": 2.0}, "max": 0.5},
    "overfit": 0.08,
    "slices": {"minimum": 0.65, "columns": ["carrier"]},
    "calibration": {"brier": 0.2, "ece": 0.06},
    "latency": {"row_ms": 50.0, "batch_ms": 100.0},
    "size_mb": 5.0,
    "invariance": {"columns": ["carrier"], "flips": 0.05},
    "robustness": {"flips": 0.05, "drop": 0.05},
}
"""A limit for every rule of the gate."""


def scored(probability: np.ndarray, truth: np.ndarray) -> Answers:
    """Give the answers of a model that says how likely each row is late."""
    predictions = np.where(probability > 0.5, "late", "on_time")
    return Answers(
        LABELS, truth, predictions, np.column_stack([probability, 1 - probability]), "late"
    )


def honest(**spoilt: Any) -> Evidence:
    """Give evidence that passes every rule; a part that is named takes its place."""
    rng = np.random.default_rng(0)
    late = rng.beta(0.5, 0.8, ROWS)
    truth = np.where(rng.random(ROWS) < late, "late", "on_time")
    answers = spoilt.pop("answers", None) or scored(late, truth)
    if isinstance(answers, str):
        return replace(honest(), answers=answers, **spoilt)
    wrong = np.where(truth == "late", "on_time", "late")
    sound = scored(late, truth).predictions
    parts: dict[str, Any] = {
        "frame": pd.DataFrame(
            {
                "carrier": rng.choice(list("ABCD"), ROWS),
                "origin": rng.choice(["EWR", "JFK", "LGA"], ROWS),
                "distance": rng.normal(size=ROWS),
            }
        ),
        "train": scored(late, truth),
        "learned": np.zeros(ROWS, dtype=bool),
        "majority": np.repeat("on_time", ROWS),
        "yardstick": np.where(rng.random(ROWS) < 0.12, wrong, sound),
        "champion": Champion(
            "1", np.where(rng.random(ROWS) < 0.10, wrong, sound), np.zeros(ROWS, dtype=bool)
        ),
        "fresh": FreshCopy(answers.predictions, answers.probabilities, 5.0, 20.0, 1_000_000),
        "again": answers.probabilities,
        "reordered": answers.predictions,
        "noisy": answers.predictions,
        "emptied": answers.predictions,
        "shuffled": {"carrier": answers.predictions},
        "alone": {"carrier": 0.55, "distance": 0.7},
        "copied": np.zeros(ROWS, dtype=bool),
        "telling": {},
    }
    return Evidence(answers=answers, **{**parts, **spoilt})


@pytest.fixture(scope="session")
def make_honest() -> Callable[..., Evidence]:
    """Return `honest`: pytest shares code between test files by fixtures alone."""
    return honest


@pytest.fixture(scope="session")
def every_limit() -> GateSettings:
    """Set a limit for every rule."""
    return GateSettings.model_validate(EVERY_LIMIT)
