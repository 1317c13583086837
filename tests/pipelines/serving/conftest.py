"""A small fitted model, and the rows that it learned from."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from pipelines.features import Roles, conform, preprocessor

ROLES = Roles(numeric=("delay", "seats"), categorical=("carrier",))


@pytest.fixture(scope="session")
def roles() -> Roles:
    """The columns that the model reads."""
    return ROLES


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    """Conformed rows, some of them with missing cells."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "delay": random.normal(size=200),
            "seats": random.integers(50, 300, 200).astype(float),
            "carrier": random.choice(["AA", "UA", "DL"], 200),
        }
    )
    frame.loc[::10, "seats"] = np.nan
    frame.loc[::15, "carrier"] = None
    return conform(frame, ROLES)


@pytest.fixture(scope="session")
def model(table: pd.DataFrame) -> Pipeline:
    """Late where the delay is positive."""
    fitted = Pipeline([("prepare", preprocessor(ROLES)), ("classify", LogisticRegression())])
    return fitted.fit(table, np.where(table["delay"] > 0, "late", "on_time"))
