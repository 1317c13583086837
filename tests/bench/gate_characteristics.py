"""How often the gate errs, measured: run by ``make bench-gate``, seeds fixed.

Writes ``docs/gate-characteristics.md`` and the picture of the power curve beside it. The
simulated models answer rows of a known truth with known error rates, so what the gate should
have said is known.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.progress import track

from checks.model.answers import Answers
from checks.model.champion import PROMOTE, check_champion
from checks.model.evidence import Champion
from checks.model.interval import score_interval, share_interval
from checks.model.overfit import gap_interval
from checks.model.paired import Pair
from checks.model.settings import SliceSettings
from checks.model.slices import check_segments, check_slices
from checks.result import Status

PAIRS = 2_000
CURVE_PAIRS = 400
DRAWS = 500
SWEEPS = 300
ALPHA = 0.05
DOCS = Path(__file__).parents[2] / "docs"
SCORINGS = ("accuracy", "balanced_accuracy")


def pair_of(
    rng: np.random.Generator,
    rows: int,
    *,
    apart: float,
    effect: float = 0.0,
    wrong: float = 0.15,
    share: float = 0.5,
) -> tuple[Answers, Champion]:
    """Draw a candidate and a champion that differ on a share of the rows.

    ``apart`` of the rows flip between them, so that the candidate is better by ``effect``; on
    ``wrong`` of the rest both err. Classes are independent of it, ``share`` of them positive.
    """
    truth = (rng.random(rows) < share).astype(np.int64)
    drawn = rng.random(rows)
    helpful, harmful = (apart + effect) / 2, (apart - effect) / 2
    own_right = (drawn < helpful) | (drawn >= apart + wrong)
    other_right = ((drawn >= helpful) & (drawn < helpful + harmful)) | (drawn >= apart + wrong)
    answers = Answers((0, 1), truth, np.where(own_right, truth, 1 - truth))
    champion = np.where(other_right, truth, 1 - truth)
    return answers, Champion("1", champion, np.zeros(rows, dtype=bool))


def promoted(seed: int, rows: int, scoring: str, *, pairs: int, **how: float) -> float:
    """Return the share of simulated pairs that the gate promotes."""
    rng = np.random.default_rng(seed)
    nothing = np.zeros(rows, dtype=bool)
    count = 0
    for _ in range(pairs):
        answers, champion = pair_of(rng, rows, **how)
        found = check_champion(answers, champion, nothing, scoring=scoring, confidence=1 - ALPHA)
        count += found.details["verdict"] == PROMOTE
    return count / pairs


def false_promotions() -> pd.DataFrame:
    """Promote equal models: how often?"""
    cases = [
        (scoring, rows, apart, share)
        for scoring in SCORINGS
        for rows in (300, 1_000, 5_000)
        for apart, share in ((0.05, 0.5), (0.20, 0.5), (0.10, 0.1))
    ]
    rows_of = []
    for place, (scoring, rows, apart, share) in enumerate(shown("equal models", cases)):
        rate = promoted(place, rows, scoring, pairs=PAIRS, apart=apart, share=share)
        rows_of.append((scoring, rows, apart, share, rate))
    return pd.DataFrame(
        rows_of, columns=["scoring", "sealed rows", "rows apart", "positive", "promoted"]
    )


def power() -> pd.DataFrame:
    """Promote better models: how often, by effect and rows?"""
    effects = (0.005, 0.01, 0.02, 0.03, 0.05)
    cases = [(rows, effect) for rows in (300, 1_000, 3_000, 10_000) for effect in effects]
    found = {
        (rows, effect): promoted(
            100 + place, rows, "accuracy", pairs=CURVE_PAIRS, apart=0.10, effect=effect
        )
        for place, (rows, effect) in enumerate(shown("better models", cases))
    }
    table = pd.Series(found).unstack()
    table.index.name, table.columns.name = "sealed rows", "effect"
    return table


def coverage() -> pd.DataFrame:
    """Count how often an interval of 95% holds the truth."""
    rng = np.random.default_rng(7)
    runs: dict[str, Callable[[], bool]] = {
        f"accuracy, Wilson, {rows:,} rows at {share:g}": _wilson(rng, rows, share)
        for rows, share in ((100, 0.9), (100, 0.99), (1_000, 0.9))
    }
    runs |= {
        f"{scoring}, bootstrap, {rows:,} rows": _bootstrap(rng, scoring, rows)
        for scoring in ("balanced_accuracy", "f1", "roc_auc", "neg_log_loss")
        for rows in (300, 1_000)
    }
    runs |= {
        f"difference in {scoring}, paired bootstrap, 1,000 rows": _paired(rng, scoring)
        for scoring in SCORINGS
    }
    runs["gap between 2,000 training and 500 sealed rows, Newcombe"] = _gap(rng)
    return pd.DataFrame(
        [
            (name, np.mean([run() for _ in range(DRAWS)]))
            for name, run in shown("intervals", runs.items())
        ],
        columns=["interval", "holds the truth"],
    )


def _wilson(rng: np.random.Generator, rows: int, share: float) -> Callable[[], bool]:
    def run() -> bool:
        low, high = share_interval(int(rng.binomial(rows, share)), rows, 1 - ALPHA)
        return low <= share <= high

    return run


def _scored(rng: np.random.Generator, rows: int) -> Answers:
    """Draw answers whose probabilities are what they say."""
    truth = (rng.random(rows) < 0.3).astype(np.int64)
    logit = rng.normal(np.where(truth == 1, 1.0, -1.0), 1.2)
    odds = np.log(0.3 / 0.7) + 2 * logit / 1.2**2
    positive = 1 / (1 + np.exp(-odds))
    probabilities = np.column_stack([1 - positive, positive])
    return Answers((0, 1), truth, (positive > 0.5).astype(np.int64), probabilities, 1)


def _bootstrap(rng: np.random.Generator, scoring: str, rows: int) -> Callable[[], bool]:
    from checks.model.scorers import score

    truth = score(scoring, _scored(np.random.default_rng(8), 2_000_000))

    def run() -> bool:
        low, high = score_interval(scoring, _scored(rng, rows), 1 - ALPHA)
        return low <= truth <= high

    return run


def _paired(rng: np.random.Generator, scoring: str) -> Callable[[], bool]:
    def run() -> bool:
        answers, champion = pair_of(rng, 1_000, apart=0.1, effect=0.02, share=0.3)
        pair = Pair.of(answers, champion.predictions, "the champion's answers")
        low, high = pair.interval(scoring, 1 - ALPHA)
        return low <= 0.02 <= high

    return run


def _gap(rng: np.random.Generator) -> Callable[[], bool]:
    def run() -> bool:
        train, sealed = (
            Answers((0, 1), zeros, (rng.random(rows) < wrong).astype(np.int64))
            for rows, wrong in ((2_000, 0.05), (500, 0.12))
            for zeros in [np.zeros(rows, dtype=np.int64)]
        )
        low, high = gap_interval(train, sealed, "accuracy", 1 - ALPHA)
        return low <= 0.07 <= high

    return run


def searches() -> pd.DataFrame:
    """Search for slices where there is one, and where there is none."""
    rng = np.random.default_rng(9)
    settings = SliceSettings(minimum=0.85)
    rows = 5_000
    kinds: dict[str, Callable[[np.ndarray, Any], tuple[np.ndarray, bool]]] = {
        "slices, every slice right by 0.85": lambda odd, _: (np.full(rows, 0.15), False),
        "slices, 4% of the rows right by 0.65": lambda odd, _: (np.where(odd, 0.35, 0.15), False),
        "segments, an equal model": lambda odd, _: (np.full(rows, 0.15), True),
        "segments, worse by 0.20 in 4% of the rows": lambda odd, _: (
            np.where(odd, 0.35, 0.15),
            True,
        ),
    }
    found = []
    for name, kind in shown("searches", kinds.items()):
        refused = 0
        for _ in range(SWEEPS):
            frame = pd.DataFrame(
                {f"c{n}": rng.choice(list("abcde"), rows) for n in range(6)}
                | {f"x{n}": rng.normal(size=rows) for n in range(4)}
            )
            odd = ((frame["c0"] == "a") & (frame["c1"] == "a")).to_numpy()
            wrong, segments = kind(odd, None)
            truth = rng.integers(0, 2, rows)
            answers = Answers((0, 1), truth, np.where(rng.random(rows) < wrong, 1 - truth, truth))
            if segments:
                other = np.where(rng.random(rows) < 0.15, 1 - truth, truth)
                champion = Champion("1", other, np.zeros(rows, dtype=bool))
                checks = [
                    check_segments(answers, champion, frame, SliceSettings(), confidence=1 - ALPHA)
                ]
            else:
                checks = list(check_slices(answers, frame, settings, confidence=1 - ALPHA))
            refused += any(check.status is Status.FAILED for check in checks)
        found.append((name, refused / SWEEPS))
    return pd.DataFrame(found, columns=["search over 10 columns and their pairs", "refused"])


def shown(name: str, cases: Iterable[Any]) -> Iterable[Any]:
    """Show progress on stderr."""
    from rich.console import Console

    listed = list(cases)
    return track(listed, description=name, console=Console(file=sys.stderr))


def markdown(table: pd.DataFrame, form: str = "{:.3f}") -> str:
    """Write a table as markdown: names as they are, numbers in one form."""
    table = table.reset_index() if table.index.name else table
    lines = [f"| {' | '.join(str(column) for column in table.columns)} |"]
    lines.append("|" + "--:|" * len(table.columns))
    for row in table.itertuples(index=False):
        cells = [
            form.format(cell) if isinstance(cell, float) else f"{cell:,}" if _whole(cell) else cell
            for cell in row
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _whole(cell: object) -> bool:
    return isinstance(cell, int | np.integer)


def draw(curve: pd.DataFrame, path: Path) -> None:
    """Draw the share promoted by effect, a line for each number of rows."""
    figure = Figure(figsize=(7.2, 4.2), dpi=110, layout="constrained")
    axes = figure.subplots()
    for rows, line in curve.iterrows():
        axes.plot(line.index, line.to_numpy(), marker="o", label=f"{rows:,} sealed rows")
    axes.axhline(0.8, color="#8795a1", lw=0.8, ls=":")
    axes.set_xlabel("true improvement in accuracy (a tenth of the rows differ)")
    axes.set_ylabel("promoted")
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main() -> None:
    """Measure, and write the page."""
    equal, curve, holds, sought = false_promotions(), power(), coverage(), searches()
    draw(curve, DOCS / "images" / "gate-power.png")
    worst = equal["promoted"].max()
    page = f"""# How often the gate errs

Measured by `make bench-gate` ([the program](../tests/bench/gate_characteristics.py)), seeds
fixed, with the default confidence of 0.95. The rows and the models are simulated, so that the
truth is known.

## An equal model is promoted

Two models that are equally good, and differ on a share of the rows; {PAIRS:,} pairs a line. The
gate may promote at most {ALPHA:.2f} of them by chance; the worst line has {worst:.3f}.

{markdown(equal)}

## A better model is promoted

The candidate is better by the effect at the head of the column, and the two differ on a tenth of
the rows; {CURVE_PAIRS:,} pairs a cell. What is not promoted is `inconclusive`, and the champion
stays: to see one point of accuracy takes ten thousand sealed rows.

{markdown(curve, "{:.2f}")}

![The share of better models that is promoted, by effect and rows](images/gate-power.png)

## Intervals

How often an interval of 95% holds the true value; {DRAWS:,} simulated test sets a line, so each
is known to two hundredths.

{markdown(holds)}

A share of one in a hundred of a hundred rows is held less often than that: with so few rows any
such interval swings around its level (Brown, Cai, DasGupta 2001, Statistical Science 16, 101-133).

## Searches

Ten columns of {5_000:,} rows, singly and in pairs, searched for a slice that is right less often
than 0.85 asks, or in which the candidate is worse than the champion; {SWEEPS:,} searches a line.
Where there is nothing to find, at most {ALPHA:.2f} may refuse.

{markdown(sought)}
"""
    (DOCS / "gate-characteristics.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
