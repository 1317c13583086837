"""The simple model that a better one has to beat."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.features import Roles, conform
from pipelines.yardstick import fit_yardstick

ROLES = Roles(("delay",), ("carrier",))


def _rows(rows: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"delay": rng.normal(size=rows), "carrier": rng.choice(["AA", "UA", "DL"], rows)}
    )
    table.loc[::11, "delay"] = np.nan
    return conform(table, ROLES)


@pytest.mark.parametrize("classes", [["late", "on time"], [0, 1, 2], [False, True]])
def test_it_learns_what_is_plain_and_says_nothing(classes: list[Any]) -> None:
    """Whatever the labels are; a warning on stderr would be noise to a user."""
    X = _rows()
    order = X["delay"].fillna(0).rank(pct=True) + 0.3 * (X["carrier"] == "UA")
    y = np.array(classes)[np.minimum((order * len(classes)).astype(int), len(classes) - 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answers = fit_yardstick(X, y, ROLES).predict(X)
    commonest = max(np.mean(y == label) for label in classes)
    assert answers.dtype == y.dtype
    assert np.mean(answers == y) > commonest + 0.2


def test_it_is_the_same_every_time() -> None:
    """A limit that moves by chance is none."""
    X = _rows()
    y = np.where(X["delay"] > 0.3, "late", "on time")
    first, second = (fit_yardstick(X, y, ROLES).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)
