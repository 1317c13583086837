"""pipelines.watch_pictures: the windows of a model in one picture, whatever they hold."""

from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from pipelines import watch_pictures


def window(day: int, effect: float, status: str = "passed", accuracy: float | None = None) -> Any:
    """Return a window of one column that moved so far."""
    details = {"effect": effect, "threshold": 0.1}
    facts = {} if accuracy is None else {"accuracy": accuracy}
    return {
        "until": f"2013-07-{day:02d}T00:00:00+00:00",
        "reports": {
            "drift": {"checks": [{"id": "$x^2$.values", "status": status, "details": details}]},
            "performance": {"facts": facts},
        },
    }


def pixels(windows: list[Any]) -> np.ndarray:
    """Draw windows and read the picture back."""
    from io import BytesIO

    return np.asarray(imread(BytesIO(watch_pictures.history(windows)), format="png"))


def test_an_alarm_is_seen() -> None:
    """An alarm, a move beyond what counts and a quiet window have colours of their own."""
    pictures = [
        pixels([window(1, 0.02), window(2, effect, status)])
        for effect, status in ((0.02, "passed"), (0.3, "passed"), (0.3, "failed"))
    ]
    assert len({picture.tobytes() for picture in pictures}) == 3


@pytest.mark.parametrize(
    "windows",
    [
        [],
        [window(1, 0.1)],
        [{"until": "2013-07-01", "reports": {}}],
        [window(1, 0.1, accuracy=0.9), window(2, 2.0, "failed", 0.4)],
        [window(day, 0.1, accuracy=0.9) for day in range(1, 29)],
    ],
)
def test_whatever_the_windows_hold_there_is_a_picture(windows: list[Any]) -> None:
    """No window, one, one that told nothing, and many are drawn."""
    height, width, _ = pixels(windows).shape
    assert min(height, width) > 100
