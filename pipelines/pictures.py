"""Pictures of a run's model, as PNG bytes; those of its sweep are in `sweep_pictures`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.canvas import BEST, BLUE, DPI, INK, LINE, PALE, nothing, panel, png, short
from pipelines.evaluation import Evaluation
from pipelines.threshold import Tuned, named

_MOST_TICKS = 30
_MOST_CELLS_WRITTEN = 12
_MOST_SLICES = 12


def confusion(evaluation: Evaluation, *, normalised: bool) -> bytes:
    """Draw the confusion matrix: counts, or shares of the true class."""
    counts = evaluation.confusion.astype(np.float64)
    support = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, support, out=np.zeros_like(counts), where=support > 0)
    values, top = (shares, 1.0) if normalised else (counts, max(float(counts.max()), 1.0))
    names = [short(str(label)) for label in evaluation.labels]
    side = 3.4 + 0.42 * min(len(names), _MOST_TICKS // 2)
    figure = Figure(figsize=(side + 1.0, side), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(values, cmap="Blues", vmin=0.0, vmax=top)
    _name_ticks(axes, names)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title(
        "Confusion matrix: share of each true class" if normalised else "Confusion matrix: rows",
        loc="left",
        pad=12,
        fontsize=11,
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if len(names) > _MOST_CELLS_WRITTEN:
        figure.colorbar(image, ax=axes, shrink=0.8).outline.set_visible(False)
        return png(figure)
    axes.set_xticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", lw=2)
    axes.tick_params(which="minor", length=0)
    for (row, column), value in np.ndenumerate(values):
        axes.text(
            column,
            row,
            f"{value:.3f}" if normalised else f"{int(value):,}",
            ha="center",
            va="center",
            color="white" if value > 0.55 * top else INK,
            fontweight="bold" if row == column else "normal",
            fontsize=13 if len(names) <= 4 else 9,
        )
    return png(figure)


def slices(found: Sequence[Mapping[str, Any]], accuracy: float) -> bytes:
    """Draw the accuracy of the worst slices beside that of all rows.

    Parameters
    ----------
    found : sequence of mappings
        Each with ``slice``, its description, ``rows`` and ``share``; worst first.
    accuracy : float
        Of all rows.
    """
    title = "Where the model is weakest, on the sealed rows"
    if not found:
        return nothing(title, "no slice has enough rows")
    worst = list(reversed(found[:_MOST_SLICES]))
    figure, axes = panel(8.2, 1.5 + 0.34 * len(worst), title)
    names = [f"{short(each['slice'])}   {each['rows']:,} rows" for each in worst]
    places = np.arange(len(worst))
    shares = np.array([each["share"] for each in worst], dtype=np.float64)
    below = [BEST if value < accuracy else BLUE for value in shares]
    axes.hlines(places, np.minimum(shares, accuracy), np.maximum(shares, accuracy), below, lw=2)
    axes.scatter(shares, places, c=below, s=36, zorder=3)
    axes.axvline(accuracy, color=INK, lw=1)
    low, high = min(float(shares.min()), accuracy), max(float(shares.max()), accuracy)
    room = max(high - low, 0.02)
    for place, value in zip(places, shares, strict=True):
        left = value < accuracy
        axes.annotate(
            f"{value:.3f}",
            (value, place),
            textcoords="offset points",
            xytext=(-8 if left else 8, 0),
            ha="right" if left else "left",
            va="center",
            fontsize=9,
        )
    axes.set_yticks(places, names)
    axes.set_xlim(low - 0.2 * room, high + 0.2 * room)
    axes.set_ylim(-0.7, len(worst) - 0.3)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"accuracy; the line is all rows, {accuracy:.3f}")
    return png(figure)


def threshold(tuned: Tuned) -> bytes:
    """Draw what a threshold is tuned for at each one that was compared; the one found in red."""
    (name, values), *held_to = tuned.measures.items()
    figure, axes = panel(8.2, 4.6, "Decision threshold, on the validation rows")
    said = name.replace("_", " ")
    lines = axes.plot(tuned.thresholds, values, color=BLUE, lw=1.6, label=said)
    for other, held in held_to:
        lines += axes.plot(tuned.thresholds, held, color=PALE, lw=1.2, label=other)
    if tuned.aim.settings.precision is not None:
        floor = tuned.aim.settings.precision
        lines.append(axes.axhline(floor, color=PALE, lw=1, ls=":", label="lowest precision"))
    lines.append(axes.axvline(0.5, color=LINE, lw=1, label="the likelier class: 0.5", zorder=1))
    axes.axvline(tuned.threshold, color=BEST, lw=1, ls="--", zorder=1)
    found = axes.scatter(
        [tuned.threshold],
        [tuned.after[name]],
        color=BEST,
        s=40,
        zorder=4,
        label=f"found: {tuned.threshold:.4g}, {said} {tuned.after[name]:.4f}",
    )
    positive = short(named(tuned.aim.positive))
    axes.set(xlabel=f"probability from which on {positive} is answered", xlim=(0.0, 1.0))
    axes.set_ylim(bottom=0.0)
    axes.legend(handles=[found, *lines], frameon=False, fontsize=9)
    return png(figure)


def _name_ticks(axes: Axes, names: Sequence[str]) -> None:
    shown = range(0, len(names), -(-len(names) // _MOST_TICKS))
    turned = sum(len(names[i]) for i in shown) > 40
    labels = [names[i] for i in shown]
    axes.set_xticks(shown, labels, rotation=40 if turned else 0, ha="right" if turned else "center")
    axes.set_yticks(shown, labels)
