"""checks.drift.unit: a changed unit is named as one, and drift is not taken for it."""

import numpy as np
import pandas as pd
import pytest

from checks.drift import check_drift
from checks.drift.unit import unit_of
from checks.monitor import MonitorSettings, PolicySettings
from checks.policy import Action, Standing, decide
from checks.result import Status


def column(rows: int, seed: int) -> pd.Series:
    """Distances of flights: several heaps, some values often."""
    random = np.random.default_rng(seed)
    heaps = random.choice([200.0, 700.0, 1_000.0, 2_500.0], rows)
    return pd.Series(heaps + random.gamma(2.0, 60.0, rows).round(), name="distance")


@pytest.mark.parametrize(
    ("factor", "offset", "said"),
    [
        (1.609344, 0.0, "miles to kilometres"),
        (1 / 1.609344, 0.0, "miles to kilometres, and back"),
        (100.0, 0.0, "hundreds"),
        (0.001, 0.0, "thousands, and back"),
        (5 / 9, -160 / 9, "Fahrenheit"),
        (-1.0, 0.0, "sign"),
    ],
)
def test_a_changed_unit_is_named(factor: float, offset: float, said: str) -> None:
    """The column, the conversion and the middle values are in the finding, with 200 rows too."""
    for rows in (200, 5_000):
        found = unit_of(column(5_000, 0), column(rows, 1) * factor + offset)
        assert found is not None
        assert (found.id, found.status) == ("distance.unit", Status.FAILED)
        assert said in found.reason


@pytest.mark.parametrize(
    "moved",
    [
        lambda values: values,
        lambda values: values * 1.2,
        lambda values: values + 500.0,
        lambda values: values.sample(frac=1.0, random_state=0).clip(upper=400.0),
        lambda values: values * 4.4,
        lambda values: values * 0 + 7.0,
        lambda values: values.head(10),
    ],
)
def test_drift_is_no_unit(moved: object) -> None:
    """Values that moved, were cut, are constant or few are not taken for a change of unit."""
    assert unit_of(column(5_000, 0), moved(column(2_000, 1))) is None  # type: ignore[operator]


def test_counts_are_left_alone() -> None:
    """Columns of few values, such as flags, have no unit."""
    flags = pd.Series([0.0, 1.0] * 500, name="flag")
    assert unit_of(flags, flags * 100) is None


def test_a_changed_unit_alerts_and_never_retrains() -> None:
    """It fails at once, in its first window, and the policy takes it for broken input."""
    reference = pd.DataFrame({"distance": column(5_000, 0)})
    window = pd.DataFrame({"distance": column(2_000, 1) * 1.609344})
    report = check_drift(reference, window, MonitorSettings(), numeric=["distance"], categorical=[])
    assert "distance.unit" in [check.id for check in report.refusals]
    from datetime import UTC, datetime

    now = datetime(2026, 1, 1, tzinfo=UTC)
    decision = decide({"drift": report}, Standing(now, now, new_labels=10_000), PolicySettings())
    assert decision.action is Action.ALERT
    assert "quality.broken" in decision.codes
