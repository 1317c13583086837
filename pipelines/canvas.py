"""What every picture is drawn on, and with which colours."""

from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#1f2933"
PALE = "#8795a1"
LINE = "#cbd2d9"
BLUE = "#2b6cb0"
ORANGE = "#c85400"
BEST = "#c9304c"
DPI = 110

_LONGEST_NAME = 40


def panel(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    """Return a figure of one picture, in inches, with its title on the left."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", pad=12)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def nothing(title: str, why: str) -> bytes:
    """Draw that there is nothing to draw."""
    figure, axes = panel(8.2, 1.6, title)
    axes.text(0.0, 0.5, why, va="center", transform=axes.transAxes, color=INK)
    axes.set_axis_off()
    return png(figure)


def png(figure: Figure) -> bytes:
    """Return a figure as a file's content."""
    stream = BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def short(text: str, longest: int = _LONGEST_NAME) -> str:
    """Bound a name of the user's, and keep matplotlib from reading a formula in it."""
    bounded = text if len(text) <= longest else text[: longest - 1] + "…"
    return bounded.replace("$", r"\$")
