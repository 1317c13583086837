"""Pictures of a run, as PNG bytes."""

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipelines.evaluation import Evaluation
from pipelines.sweep.trial import Trial
from pipelines.threshold import Tuned, named

_INK = "#1f2933"
_PALE = "#8795a1"
_LINE = "#cbd2d9"
_BLUE = "#2b6cb0"
_BEST = "#c9304c"
_DPI = 110
_MOST_TICKS = 30
_MOST_CELLS_WRITTEN = 12
_MOST_SLICES = 12
_LONGEST_NAME = 40


def confusion(evaluation: Evaluation, *, normalised: bool) -> bytes:
    """Draw the confusion matrix: counts, or shares of the true class."""
    counts = evaluation.confusion.astype(np.float64)
    support = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, support, out=np.zeros_like(counts), where=support > 0)
    values, top = (shares, 1.0) if normalised else (counts, max(float(counts.max()), 1.0))
    names = [_short(str(label)) for label in evaluation.labels]
    side = 3.4 + 0.42 * min(len(names), _MOST_TICKS // 2)
    figure = Figure(figsize=(side + 1.0, side), dpi=_DPI, layout="constrained")
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
        return _png(figure)
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
            color="white" if value > 0.55 * top else _INK,
            fontweight="bold" if row == column else "normal",
            fontsize=13 if len(names) <= 4 else 9,
        )
    return _png(figure)


def learning_curves(trials: Sequence[Trial], scoring: str) -> bytes:
    """Draw the validation score of each trial that learned in epochs; the best one on top."""
    curved = [trial for trial in trials if len(trial.curve) > 1]
    best = _best(curved)
    if not curved:
        return _nothing("Learning curves", "no trial learned in more than one epoch")
    figure, axes = _panel(8.2, 4.6, "Learning curves")
    for trial in curved:
        if best is None or trial.number != best.number:
            finished = trial.state == "FINISHED"
            axes.plot(
                [point.epoch for point in trial.curve],
                [point.score for point in trial.curve],
                color=_BLUE if finished else _PALE,
                alpha=0.45 if finished else 0.7,
                lw=1,
                marker="" if finished else "|",
                markevery=[-1],
            )
    legend = [
        Line2D([], [], color=_BLUE, alpha=0.6, lw=1, label="finished, on validation rows"),
        Line2D([], [], color=_PALE, lw=1, marker="|", label="stopped early or failed"),
    ]
    if best is not None:
        epochs = [point.epoch for point in best.curve]
        top = max(best.curve, key=lambda point: point.rank)
        learned, judged = f"trial {best.number}, on training rows", f"trial {best.number}, best"
        lines = axes.plot(epochs, [p.score for p in best.curve], color=_BEST, lw=2.2, label=judged)
        lines += axes.plot(
            epochs, [p.train_score for p in best.curve], color=_BEST, lw=1.4, ls="--", label=learned
        )
        axes.plot(top.epoch, top.score, color=_BEST, marker="o", ms=6)
        axes.annotate(
            f"{top.score:.4f}",
            (top.epoch, top.score),
            textcoords="offset points",
            xytext=(0, 7),
            ha="center",
            color=_BEST,
            bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8},
        )
        legend = lines + legend
    # The first passes of a slow trial lie far below everything that matters.
    scores = [point.score for trial in curved for point in trial.curve]
    highest = max([*scores, *(p.train_score for trial in curved for p in trial.curve)])
    lowest = float(np.quantile(scores, 0.05))
    axes.set_ylim(lowest - 0.05 * (highest - lowest), highest + 0.05 * (highest - lowest) + 1e-6)
    axes.set(xlabel="epoch", ylabel=scoring)
    axes.set_xlim(left=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(handles=legend, frameon=False, loc="lower right", fontsize=9)
    return _png(figure)


def importance(shares: Mapping[str, float]) -> bytes:
    """Draw how much of the score each hyperparameter of the winner's family decided."""
    title = "Which hyperparameters mattered"
    if not shares:
        return _nothing(title, "too few finished trials to tell")
    named = sorted(shares.items(), key=lambda pair: pair[1])
    figure, axes = _panel(8.2, 1.3 + 0.36 * len(named), title)
    bars = axes.barh(
        [_short(name) for name, _ in named], [share for _, share in named], color=_BLUE
    )
    axes.bar_label(bars, [f"{share:.0%}" for _, share in named], padding=4, color=_INK)
    axes.margins(x=0.1)
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_visible(False)
    return _png(figure)


def parallel_coordinates(trials: Sequence[Trial], scoring: str) -> bytes:
    """Draw each scored trial of the winner's family as a line across its hyperparameters."""
    best = _best(trials)
    alike = [t for t in trials if best and t.family == best.family and t.score is not None]
    table = pd.DataFrame([{scoring: trial.score, **trial.params} for trial in alike])
    # The score last, where the lines end.
    varied = [column for column in [*table.columns[1:], scoring] if alike]
    varied = [column for column in varied if table[column].nunique() > 1]
    if best is None or scoring not in varied or len(varied) < 2:
        return _nothing("Trials", "too few different trials to compare")
    table = table[varied]
    figure, axes = _panel(
        max(8.2, 1.35 * len(varied)), 4.8, f"{best.family}: {len(table)} trials, the best in red"
    )
    scaled = table.apply(_scaled)
    colours = colormaps["Blues"](0.25 + 0.75 * scaled[scoring].to_numpy())
    for place in np.argsort(table[scoring].to_numpy(), kind="stable"):
        top = alike[place].number == best.number
        axes.plot(
            range(len(varied)),
            scaled.iloc[place],
            color=_BEST if top else colours[place],
            lw=2.6 if top else 1.2,
            alpha=1.0 if top else 0.75,
            zorder=4 if top else 2,
            marker="o",
            ms=5 if top else 3,
        )
    for position, column in enumerate(varied):
        axes.axvline(position, color=_LINE, lw=0.8, zorder=1)
        for height, text in _marks(table[column]):
            axes.annotate(
                text,
                (position, height),
                textcoords="offset points",
                xytext=(5, 5 if height < 1 else -3),
                fontsize=8,
                color=_INK,
                zorder=5,
                bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75},
            )
    axes.set_xticks(range(len(varied)), [_wrapped(str(column)) for column in varied])
    axes.tick_params(axis="x", pad=8, length=0)
    axes.set_yticks([])
    axes.set_xlim(-0.15, len(varied) - 0.35)
    axes.spines[:].set_visible(False)
    return _png(figure)


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
        return _nothing(title, "no slice has enough rows")
    worst = list(reversed(found[:_MOST_SLICES]))
    figure, axes = _panel(8.2, 1.5 + 0.34 * len(worst), title)
    names = [f"{_short(each['slice'])}   {each['rows']:,} rows" for each in worst]
    places = np.arange(len(worst))
    shares = np.array([each["share"] for each in worst], dtype=np.float64)
    below = [_BEST if value < accuracy else _BLUE for value in shares]
    axes.hlines(places, np.minimum(shares, accuracy), np.maximum(shares, accuracy), below, lw=2)
    axes.scatter(shares, places, c=below, s=36, zorder=3)
    axes.axvline(accuracy, color=_INK, lw=1)
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
    return _png(figure)


def threshold(tuned: Tuned) -> bytes:
    """Draw what a threshold is tuned for at each one that was compared; the one found in red."""
    (name, values), *held_to = tuned.measures.items()
    figure, axes = _panel(8.2, 4.6, "Decision threshold, on the validation rows")
    said = name.replace("_", " ")
    lines = axes.plot(tuned.thresholds, values, color=_BLUE, lw=1.6, label=said)
    for other, held in held_to:
        lines += axes.plot(tuned.thresholds, held, color=_PALE, lw=1.2, label=other)
    if tuned.aim.settings.precision is not None:
        floor = tuned.aim.settings.precision
        lines.append(axes.axhline(floor, color=_PALE, lw=1, ls=":", label="lowest precision"))
    lines.append(axes.axvline(0.5, color=_LINE, lw=1, label="the likelier class: 0.5", zorder=1))
    axes.axvline(tuned.threshold, color=_BEST, lw=1, ls="--", zorder=1)
    found = axes.scatter(
        [tuned.threshold],
        [tuned.after[name]],
        color=_BEST,
        s=40,
        zorder=4,
        label=f"found: {tuned.threshold:.4g}, {said} {tuned.after[name]:.4f}",
    )
    positive = _short(named(tuned.aim.positive))
    axes.set(xlabel=f"probability from which on {positive} is answered", xlim=(0.0, 1.0))
    axes.set_ylim(bottom=0.0)
    axes.legend(handles=[found, *lines], frameon=False, fontsize=9)
    return _png(figure)


def _best(trials: Sequence[Trial]) -> Trial | None:
    def rank(trial: Trial) -> tuple[float, float, int]:
        loss = trial.top.loss if trial.top else 0.0
        return trial.score or 0.0, -loss, -trial.number

    scored = [t for t in trials if t.state == "FINISHED" and t.score is not None]
    return max(scored, key=rank, default=None)


def _is_number(values: "pd.Series[Any]") -> bool:
    return bool(pd.api.types.is_numeric_dtype(values) and values.dtype != bool)


def _is_log(values: "pd.Series[Any]") -> bool:
    return bool(values.min() > 0 and values.max() / values.min() > 30)


def _scaled(values: "pd.Series[Any]") -> "pd.Series[float]":
    """Put values between 0 and 1; a parameter that a trial does not have stays a gap."""
    if not _is_number(values):
        codes = values.astype("str").astype("category").cat.codes
        return (codes / max(codes.max(), 1)).where(values.notna())
    heights = values.astype("float64")
    if _is_log(heights):
        heights = heights.map(math.log)
    return (heights - heights.min()) / (heights.max() - heights.min())


def _marks(values: "pd.Series[Any]") -> list[tuple[float, str]]:
    """Return the heights on an axis that are named, and their names."""
    if not _is_number(values):
        names = sorted(values.dropna().astype("str").unique())
        return [(place / max(len(names) - 1, 1), _short(n)) for place, n in enumerate(names)]
    return [(0.0, f"{values.min():.3g}"), (1.0, f"{values.max():.3g}")]


def _name_ticks(axes: Axes, names: Sequence[str]) -> None:
    shown = range(0, len(names), -(-len(names) // _MOST_TICKS))
    turned = sum(len(names[i]) for i in shown) > 40
    labels = [names[i] for i in shown]
    axes.set_xticks(shown, labels, rotation=40 if turned else 0, ha="right" if turned else "center")
    axes.set_yticks(shown, labels)


def _short(text: str) -> str:
    """Bound a name of the user's, and keep matplotlib from reading a formula in it."""
    bounded = text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
    return bounded.replace("$", r"\$")


def _wrapped(name: str) -> str:
    return name.replace("_", "\n", 1) if len(name) > 12 else name


def _panel(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", pad=12)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _nothing(title: str, why: str) -> bytes:
    figure, axes = _panel(8.2, 1.6, title)
    axes.text(0.0, 0.5, why, va="center", transform=axes.transAxes, color=_INK)
    axes.set_axis_off()
    return _png(figure)


def _png(figure: Figure) -> bytes:
    stream = BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
