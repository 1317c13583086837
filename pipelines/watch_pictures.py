"""The picture of a model's windows over time, as PNG bytes."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from pipelines.canvas import BEST, BLUE, DPI, INK, LINE, ORANGE, nothing, png, short

_MOST_ROWS = 24


def history(windows: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw how far each column moved in each window, and the accuracy where labels have come.

    Parameters
    ----------
    windows : sequence of mapping
        By window, the oldest first: ``until``, and ``reports`` by name as plain values.
    """
    moved: dict[str, dict[int, tuple[float, bool]]] = {}
    right: dict[int, float] = {}
    for place, window in enumerate(windows):
        for check in window["reports"].get("drift", {}).get("checks", ()):
            effect, floor = check["details"].get("effect"), check["details"].get("threshold")
            if isinstance(effect, float | int) and floor:
                failed = check["status"] == "failed"
                moved.setdefault(check["id"], {})[place] = (effect / floor, failed)
        accuracy = window["reports"].get("performance", {}).get("facts", {}).get("accuracy")
        if isinstance(accuracy, float | int):
            right[place] = float(accuracy)
    if not moved and not right:
        return nothing("Monitoring over time", "No window had rows enough to tell.")
    order = sorted(moved, key=lambda id: -max(ratio for ratio, _ in moved[id].values()))
    rows = order[:_MOST_ROWS]
    figure = Figure(
        figsize=(3.6 + 0.5 * max(len(windows), 6), 2.4 + 0.27 * len(rows)),
        dpi=DPI,
        layout="constrained",
    )
    upper, lower = figure.subplots(
        2, 1, sharex=True, height_ratios=[1.6, 0.4 + 0.27 * max(len(rows), 1)]
    )
    upper.set_title("Accuracy on labelled rows", loc="left", fontsize=10)
    upper.plot(list(right), list(right.values()), color=BLUE, marker="o", ms=4)
    upper.grid(axis="y", color=LINE, lw=0.6)
    lower.set_title("How far each moved, in times of what counts", loc="left", fontsize=10)
    for height, id in enumerate(reversed(rows)):
        for place, (ratio, failed) in moved[id].items():
            colour = BEST if failed else ORANGE if ratio >= 1 else LINE
            lower.scatter(place, height, s=18 + 40 * min(ratio, 3.0), color=colour, lw=0)
            lower.annotate(
                f"{ratio:.1f}", (place, height), ha="center", va="center", fontsize=5.5, color=INK
            )
    lower.set_yticks(range(len(rows)), [short(id) for id in reversed(rows)], fontsize=7)
    lower.set_xticks(
        range(len(windows)), [str(w["until"])[5:10] for w in windows], fontsize=7, rotation=45
    )
    lower.set_xlim(-0.6, len(windows) - 0.4)
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7, length=2)
    return png(figure)
