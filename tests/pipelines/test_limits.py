"""The first limits keep out a broken model, and let one pass that is as good as the yardstick."""

import numpy as np
import pandas as pd
import pytest

from checks.model.answers import class_name
from checks.model.interval import share_interval
from pipelines.data import DataSettings
from pipelines.features import roles_of
from pipelines.limits import Limits, Yardstick, measure, propose_limits


def yardstick(rows: int, accuracy: float) -> Yardstick:
    """Make one of two even classes that does as well on both."""
    half = rows // 2
    return Yardstick(
        rows=rows,
        majority=0.5,
        accuracy=accuracy,
        balanced_accuracy=accuracy,
        recall={"a": (accuracy, half), "b": (accuracy, half)},
        gap=0.0,
        brier=0.05,
        ece=0.02,
        worst=accuracy,
        flips=0.0,
        drop=0.0,
        row_ms=1.0,
        batch_ms=1.0,
    )


@pytest.mark.parametrize("rows", [16, 30, 100, 1_000, 30_000])
@pytest.mark.parametrize("accuracy", [0.7, 0.9, 1.0])
def test_an_equal_model_keeps_its_limits_on_the_bound(rows: int, accuracy: float) -> None:
    """On as many sealed rows, two points worse, the end of each interval keeps its limit."""
    limits = propose_limits([yardstick(rows, accuracy)], rows)
    low, _ = share_interval(int((accuracy - 0.02) * rows), rows, 0.95)
    assert limits.metrics["accuracy"] <= low
    for floor in limits.recall.values():
        assert floor <= share_interval(int((accuracy - 0.02) * (rows // 2)), rows // 2, 0.95)[0]
    assert limits.values["robustness.flips"] >= share_interval(0, rows, 0.95)[1]


def test_many_rows_ask_for_more_than_few() -> None:
    """What few rows leave uncertain is not asked for; with many the limits are close."""

    def told(rows: int) -> Limits:
        return propose_limits([yardstick(rows, 0.9)], rows)

    assert told(30).metrics["accuracy"] < told(300).metrics["accuracy"] < 0.87
    assert told(30_000).metrics["accuracy"] > 0.86
    for name in ("overfit", "calibration.ece", "robustness.flips", "robustness.drop"):
        assert told(30).values[name] > told(30_000).values[name]
    assert told(30).values["baseline.yardstick"] < told(30_000).values["baseline.yardstick"] < 0
    assert told(30).values["slices.minimum_rows"] == 3
    assert "slices.minimum_rows" not in told(30_000).values


def test_a_small_class_needs_fewer_rows_but_never_a_handful() -> None:
    """The lowest support is half of what is to be expected, 5 to the default of 10."""
    assert propose_limits([yardstick(30, 0.9)], 30).values["minimum_support"] == 7
    assert propose_limits([yardstick(8, 0.9)], 8).values["minimum_support"] == 5
    assert "minimum_support" not in propose_limits([yardstick(100, 0.9)], 100).values


@pytest.mark.parametrize("labels", [[False, True], [3, 7], ["no", "yes"]])
def test_the_classes_have_the_names_that_the_gate_reads(labels: list[object]) -> None:
    """Booleans are true and false there, as TOML writes them."""
    random = np.random.default_rng(0)
    x = random.normal(size=200)
    target = np.array(labels, dtype=np.array(labels).dtype)[(x > 0).astype(int)]
    frame = pd.DataFrame({"x": x, "y": target})
    roles = roles_of(frame, DataSettings(source="t.csv", target="y"))
    found = measure(frame[:100], frame[100:], "y", roles)
    assert set(found.recall) == {class_name(label) for label in labels}
