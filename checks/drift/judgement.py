"""Does the window drift? Every column by itself, the scores, and all of them together.

Holm's correction over the whole family holds the chance of any false alarm at ``alpha``, a
shift below the effect floor is no finding however sure it is, and it takes some windows in a row
to alarm.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checks.drift.cells import counts_of, known_numbers
from checks.drift.fault import fault_of
from checks.drift.holm import holm
from checks.drift.past import Past
from checks.drift.shift import (
    Shift,
    homogeneity_shift,
    ks_shift,
    missing_shift,
    new_levels_shift,
)
from checks.drift.together import together_shift
from checks.drift.unit import unit_of
from checks.monitor import MonitorSettings
from checks.result import CheckResult, Report, Status

if TYPE_CHECKING:
    import pandas as pd

LEAST_VALUES = 20
"""Fewest values of a column, on either side, that are compared at all."""

SCORE_PREFIX = "probability_"
"""What the name of a score's column has before the class."""

_KS = "two-sample Kolmogorov-Smirnov"
_CHI_SQUARE = "chi-square test of homogeneity"


@dataclass(frozen=True)
class _Tested:
    id: str
    claim: str
    shift: Shift | None
    floor: float
    method: str
    measure: str
    rows: tuple[int, int]


def check_drift(
    reference: "pd.DataFrame",
    current: "pd.DataFrame",
    settings: MonitorSettings,
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
    scores: Sequence[str] = (),
    prediction: str | None = None,
    past: Sequence[Report] = (),
) -> Report:
    """Compare a window with the reference.

    Parameters
    ----------
    reference, current : DataFrame of shape (n_rows, n_columns)
    settings : MonitorSettings
    numeric, categorical : sequence of str
        The columns that the model reads.
    scores : sequence of str
        Columns of probabilities, named ``probability_<class>``. Of two, which mirror each other,
        the last is judged.
    prediction : str, optional
        The column of predicted classes.
    past : sequence of Report
        Drift reports of this champion's earlier windows, the oldest first.

    Returns
    -------
    Report
        A failed check is a broken column, one whose unit changed, or drift that `in_a_row`
        windows show. A first one passes, and says that it moved. With too few rows nothing but
        what is broken is told, and that they are too few is an error: silence would read as all
        well.

    Notes
    -----
    The details of a check that was tested hold ``method``, ``reference_rows``,
    ``current_rows``, ``p_value``, ``adjusted_p_value``, ``alpha``, ``effect``, ``threshold``,
    ``smallest`` (the smallest effect that this many rows are sure to show), ``exceeded`` and
    ``windows`` (that did so without a pause, this one included).
    """
    facts: dict[str, Any] = {"reference_rows": len(reference), "current_rows": len(current)}
    columns = dict.fromkeys(numeric, True) | dict.fromkeys(categorical, False)
    if not len(current) or not len(reference):
        columns = {}
    faults = {
        column: fault
        for column, is_number in columns.items()
        if (fault := fault_of(reference, current, column, is_number=is_number)) is not None
    }
    units = [
        found
        for column, is_number in columns.items()
        if is_number
        and column not in faults
        and (found := unit_of(reference[column], current[column])) is not None
    ]
    broken = (*faults.values(), *units)
    if min(len(reference), len(current)) < settings.minimum_rows:
        few = _too_few(reference, current, settings.minimum_rows)
        return Report("drift", (few, *broken), facts)
    sound = {column: number for column, number in columns.items() if column not in faults}
    tested = [
        *(
            each
            for column, is_number in sound.items()
            for each in _inputs(reference[column], current[column], settings, is_number)
        ),
        *_outputs(reference, current, settings, scores, prediction),
        *_together(reference, current, settings, sound),
    ]
    family = [each.shift for each in tested if each.shift is not None and each.shift.testable]
    corrected = iter(holm([shift.p_value for shift in family]))
    # The level of the first of Holm's steps, which every finding that stands alone must pass.
    level = settings.alpha / max(1, len(family))
    judged = []
    for each in tested:
        if each.shift is None:
            judged.append(_untold(each))
        else:
            adjusted = next(corrected) if each.shift.testable else 1.0
            judged.append(_judge(each, each.shift, adjusted, level, settings, past))
    facts["tests"] = len(family)
    return Report("drift", (*broken, *judged), facts)


def _inputs(
    reference: "pd.Series[Any]",
    current: "pd.Series[Any]",
    settings: MonitorSettings,
    is_number: bool,
) -> Iterator[_Tested]:
    column = str(reference.name)
    if is_number:
        yield _numbers(f"{column}.values", column, reference, current, settings.numeric_effect)
    else:
        yield from _levels(column, reference, current, settings)
    rows = (len(reference), len(current))
    missing = (int(reference.isna().sum()), int(current.isna().sum()))
    yield _Tested(
        f"{column}.missing",
        f"As much of {column} is missing as in the reference",
        missing_shift(missing, rows),
        settings.missing_effect,
        "Fisher's exact test",
        "difference of shares",
        rows,
    )


def _numbers(
    id: str,
    name: str,
    reference: "pd.Series[Any]",
    current: "pd.Series[Any]",
    floor: float,
) -> _Tested:
    before, after = known_numbers(reference), known_numbers(current)
    rows = (len(before), len(after))
    return _Tested(
        id,
        f"The values of {name} are distributed as in the reference",
        None if min(rows) < LEAST_VALUES else ks_shift(before, after),
        floor,
        _KS,
        "distance",
        rows,
    )


def _levels(
    column: str,
    reference: "pd.Series[Any]",
    current: "pd.Series[Any]",
    settings: MonitorSettings,
    *,
    new: bool = True,
) -> Iterator[_Tested]:
    before, after = counts_of(reference), counts_of(current)
    rows = (sum(before.values()), sum(after.values()))
    few = min(rows) < LEAST_VALUES
    yield _Tested(
        f"{column}.values",
        f"The values of {column} are distributed as in the reference",
        None if few else homogeneity_shift(before, after),
        settings.categorical_effect,
        _CHI_SQUARE,
        "distance",
        rows,
    )
    if new:
        yield _Tested(
            f"{column}.levels",
            f"The values of {column} are ones that the reference has",
            None if few else new_levels_shift(before, after),
            settings.level_effect,
            "bound on the chance of as many new levels",
            "share of rows",
            rows,
        )


def _outputs(
    reference: "pd.DataFrame",
    current: "pd.DataFrame",
    settings: MonitorSettings,
    scores: Sequence[str],
    prediction: str | None,
) -> Iterator[_Tested]:
    def compared(column: str) -> bool:
        # Rows that could not be scored have neither, and what kept them from it is a finding.
        return all(column in side and side[column].notna().any() for side in (reference, current))

    for column in scores[1:] if len(scores) == 2 else scores:
        if compared(column):
            label = column.removeprefix(SCORE_PREFIX)
            yield _numbers(
                f"score[{label}].values",
                f"the probability of {label}",
                reference[column],
                current[column],
                settings.score_effect,
            )
    if prediction is not None and compared(prediction):
        yield from _levels(
            prediction, reference[prediction], current[prediction], settings, new=False
        )


def _together(
    reference: "pd.DataFrame",
    current: "pd.DataFrame",
    settings: MonitorSettings,
    columns: dict[str, bool],
) -> Iterator[_Tested]:
    if not settings.together or len(columns) < 2:
        return
    shift, rows = together_shift(
        reference,
        current,
        numeric=[column for column, is_number in columns.items() if is_number],
        categorical=[column for column, is_number in columns.items() if not is_number],
    )
    yield _Tested(
        "rows.together",
        "A classifier cannot tell the window's rows from the reference's",
        shift,
        settings.together_effect,
        "rank-sum test of a domain classifier on rows it has not seen",
        "area under the ROC curve",
        rows,
    )


def _judge(
    tested: _Tested,
    shift: Shift,
    adjusted: float,
    level: float,
    settings: MonitorSettings,
    past: Sequence[Report],
) -> CheckResult:
    is_sure, is_large = adjusted < settings.alpha, shift.effect >= tested.floor
    moved = is_sure and is_large
    before = Past.of(past, tested.id)
    windows = before.in_a_row + 1 if moved else 0
    measured = (
        f"{tested.measure} {shift.effect:.3f} ({tested.floor:g} counts), "
        f"adjusted p {adjusted:.2g} (below {settings.alpha:g} is sure), {tested.method}."
    )
    if not moved:
        status = Status.PASSED
        found = {
            (True, False): "Moved by less than counts",
            (False, True): "Not told from chance",
            (False, False): "Not moved",
        }[is_sure, is_large]
    elif before.explains(shift.effect, share=settings.uninformative, margin=tested.floor):
        status = Status.NOT_APPLICABLE
        found = (
            f"Marginal drift uninformative here: moved in {sum(before.moved)} of "
            f"{len(before.moved)} earlier windows, and no further now"
        )
    elif windows < settings.in_a_row:
        status = Status.PASSED
        found = f"Moved, in {_windows(windows)}; {settings.in_a_row} in a row alarm"
    else:
        status = Status.FAILED
        found = "Moved" if windows == 1 else f"Moved, in {_windows(windows)} in a row"
    return CheckResult(
        tested.id,
        tested.claim,
        status,
        shift.effect,
        tested.floor,
        f"{found}: {measured}",
        {
            "method": tested.method,
            "reference_rows": tested.rows[0],
            "current_rows": tested.rows[1],
            "p_value": shift.p_value,
            "adjusted_p_value": adjusted,
            "alpha": settings.alpha,
            "effect": shift.effect,
            "threshold": tested.floor,
            "smallest": max(tested.floor, shift.seen_from(level)),
            "exceeded": moved,
            "windows": windows,
        },
    )


def _windows(count: int) -> str:
    return "one window" if count == 1 else f"{count} windows"


def _untold(tested: _Tested) -> CheckResult:
    before, after = tested.rows
    return CheckResult(
        tested.id,
        tested.claim,
        Status.NOT_APPLICABLE,
        limit=tested.floor,
        reason=f"Too few values to tell: {before} in the reference, {after} in the window, "
        "or nearly each of them a level of its own.",
        details={"method": tested.method, "reference_rows": before, "current_rows": after},
    )


def _too_few(reference: "pd.DataFrame", current: "pd.DataFrame", least: int) -> CheckResult:
    rows = min(len(reference), len(current))
    which = "window" if len(current) <= len(reference) else "reference"
    return CheckResult(
        "rows",
        "There are enough rows to tell",
        Status.ERROR,
        rows,
        least,
        f"Too few to tell: the {which} has {rows} rows, and {least} are asked for.",
    )
