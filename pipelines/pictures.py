"""Pictures of a run, as PNG bytes."""

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipelines.evaluation import Evaluation
from pipelines.sweep.trial import Trial

_INK = "#1f2933"
_BEST = "#d1495b"
_FAMILY = ("#2b6cb0", "#2f855a", "#b7791f", "#6b46c1", "#4a5568")
_DPI = 110
_MOST_LABELS = 30
_MOST_CELLS_WRITTEN = 12


def confusion(evaluation: Evaluation, *, normalised: bool) -> bytes:
    """Draw the confusion matrix: counts, or shares of the true class."""
    counts = evaluation.confusion.astype(np.float64)
    support = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, support, out=np.zeros_like(counts), where=support > 0)
    values = shares if normalised else counts
    names = [str(label) for label in evaluation.labels]
    side = 3.6 + 0.28 * min(len(names), _MOST_LABELS)
    figure = Figure(figsize=(side + 1.2, side), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(values, cmap="Blues", vmin=0.0, vmax=1.0 if normalised else None)
    figure.colorbar(image, ax=axes, shrink=0.8)
    _name_ticks(axes, names)
    axes.set(
        xlabel="predicted",
        ylabel="true",
        title="Share of the true class" if normalised else "Rows",
    )
    if len(names) <= _MOST_CELLS_WRITTEN:
        middle = float(values.max()) / 2
        for (row, column), value in np.ndenumerate(values):
            text = f"{value:.3f}" if normalised else f"{int(value):,}"
            colour = "white" if value > middle else _INK
            axes.text(column, row, text, ha="center", va="center", color=colour)
    return _png(figure)


def learning_curves(trials: Sequence[Trial], scoring: str) -> bytes:
    """Draw the validation score of each trial that learned in epochs; the best one on top."""
    figure = Figure(figsize=(8, 4.5), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    curved = [trial for trial in trials if len(trial.curve) > 1]
    best = _best(curved)
    for trial in curved:
        epochs = [point.epoch for point in trial.curve]
        scores = [point.score for point in trial.curve]
        if best is not None and trial.number == best.number:
            continue
        faded = trial.state != "FINISHED"
        axes.plot(epochs, scores, color="#9fb3c8" if faded else _FAMILY[0], alpha=0.5, lw=1)
    if best is not None:
        epochs = [point.epoch for point in best.curve]
        axes.plot(
            epochs,
            [point.score for point in best.curve],
            color=_BEST,
            lw=2,
            label=f"trial {best.number}, validation",
        )
        axes.plot(
            epochs,
            [point.train_score for point in best.curve],
            color=_BEST,
            lw=1.5,
            ls="--",
            label=f"trial {best.number}, training",
        )
        axes.legend(frameon=False)
    else:
        _say_nothing(axes, "no trial learned in more than one epoch")
    axes.set(xlabel="epoch", ylabel=scoring, title="Learning curves")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _png(_plain(figure, axes))


def importance(shares: Mapping[str, float]) -> bytes:
    """Draw how much of the score's variance each hyperparameter explains."""
    named = sorted(shares.items(), key=lambda pair: pair[1])
    figure = Figure(figsize=(8, 1.6 + 0.32 * max(len(named), 1)), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    if named:
        bars = axes.barh([name for name, _ in named], [s for _, s in named], color=_FAMILY[0])
        axes.bar_label(bars, fmt="%.2f", padding=3)
        axes.margins(x=0.1)
    else:
        _say_nothing(axes, "too few finished trials to tell")
    axes.set(xlabel="importance", title="Which hyperparameters mattered")
    return _png(_plain(figure, axes))


def parallel_coordinates(trials: Sequence[Trial], scoring: str) -> bytes:
    """Draw each finished trial of the winner's family as a line across its hyperparameters."""
    best = _best(trials)
    table = pd.DataFrame(
        [
            {**trial.params, scoring: trial.score}
            for trial in trials
            if best is not None and trial.family == best.family and trial.score is not None
        ]
    )
    table = table.loc[:, [c for c in table if table[c].nunique() > 1]] if len(table) else table
    figure = Figure(figsize=(max(8.0, 1.3 * table.shape[1]), 4.8), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    if best is None or scoring not in table:
        _say_nothing(axes, "too few finished trials to tell")
        return _png(_plain(figure, axes))
    scaled = table.apply(_scaled)
    order = table[scoring].to_numpy().argsort()
    from matplotlib import colormaps

    colours = colormaps["viridis"](np.linspace(0.0, 1.0, len(table)))
    for place, row in enumerate(order):
        last = place == len(order) - 1
        axes.plot(
            range(table.shape[1]),
            scaled.iloc[row],
            color=_BEST if last else colours[place],
            lw=2.5 if last else 1,
            alpha=1.0 if last else 0.6,
            zorder=3 if last else 2,
        )
    for position, column in enumerate(table.columns):
        axes.axvline(position, color="#cbd2d9", lw=0.8, zorder=1)
        low, high = _ends(table[column])
        axes.text(position, -0.04, low, ha="center", va="top", fontsize=8, color=_INK)
        axes.text(position, 1.04, high, ha="center", va="bottom", fontsize=8, color=_INK)
    axes.set_xticks(range(table.shape[1]), [str(c) for c in table.columns], rotation=25, ha="right")
    axes.tick_params(axis="x", pad=14, length=0)
    axes.set_yticks([])
    axes.set_ylim(-0.1, 1.1)
    axes.set_title(f"{best.family}: {len(table)} trials, the best in red", pad=18)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return _png(figure)


def slices(table: pd.DataFrame, accuracy: float) -> bytes:
    """Draw the accuracy of the worst slices beside that of all rows.

    Parameters
    ----------
    table : DataFrame
        From `pipelines.evaluation.slices`, worst first.
    accuracy : float
        Of all rows.
    """
    worst = table.head(12).iloc[::-1]
    figure = Figure(figsize=(8, 1.8 + 0.32 * max(len(worst), 1)), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    if len(worst):
        names = [
            f"{row.column} = {row.value}  ({row.rows:,})" for row in worst.itertuples(index=False)
        ]
        bars = axes.barh(names, worst["accuracy"], color=_FAMILY[0])
        axes.bar_label(bars, fmt="%.3f", padding=3)
        axes.axvline(accuracy, color=_BEST, ls="--", lw=1.5, label=f"all rows {accuracy:.3f}")
        axes.legend(frameon=False, loc="lower right")
        axes.set_xlim(max(0.0, float(worst["accuracy"].min()) - 0.1), 1.0)
    else:
        _say_nothing(axes, "no slice has enough rows")
    axes.set(xlabel="accuracy on the sealed rows", title="Worst slices (rows in brackets)")
    return _png(_plain(figure, axes))


def _best(trials: Sequence[Trial]) -> Trial | None:
    scored = [t for t in trials if t.state == "FINISHED" and t.score is not None]
    return max(scored, key=lambda t: (t.score or 0.0, -t.number), default=None)


def _scaled(values: "pd.Series[Any]") -> "pd.Series[Any]":
    if not pd.api.types.is_numeric_dtype(values) or values.dtype == bool:
        codes = values.astype(str).astype("category").cat.codes
        return codes / max(codes.max(), 1)
    filled = values.astype("float64")
    if filled.min() > 0 and filled.max() / filled.min() > 100:
        filled = filled.map(math.log)
    return (filled - filled.min()) / (filled.max() - filled.min())


def _ends(values: "pd.Series[Any]") -> tuple[str, str]:
    if not pd.api.types.is_numeric_dtype(values) or values.dtype == bool:
        names = sorted(values.dropna().astype(str).unique())
        return names[0], names[-1]
    return f"{values.min():.3g}", f"{values.max():.3g}"


def _name_ticks(axes: Axes, names: Sequence[str]) -> None:
    step = max(1, len(names) // _MOST_LABELS)
    shown = range(0, len(names), step)
    axes.set_xticks(shown, [names[i] for i in shown], rotation=35, ha="right")
    axes.set_yticks(shown, [names[i] for i in shown])


def _say_nothing(axes: Axes, why: str) -> None:
    axes.text(0.5, 0.5, why, ha="center", va="center", transform=axes.transAxes, color=_INK)
    axes.set_xticks([])
    axes.set_yticks([])


def _plain(figure: Figure, axes: Axes) -> Figure:
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _png(figure: Figure) -> bytes:
    stream = BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
