"""Is the traffic still like what the model learned from?

Evidently draws the page; the tests are ours, registered with it, since its own take the
reference for exact and alarm on two equal samples. Each column has a two-sample test of its
values and one of its missing share; Holm's correction holds the chance of any false alarm at
``alpha``, and a shift below the effect floor is no finding however sure it is.
"""

import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from checks.result import MAXIMUM_EXAMPLES, CheckResult, Report, Status

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

LEAST_EXPECTED = 5.0
"""Fewest expected rows of a cell for which chi-square's approximation holds (Cochran 1954)."""

LEAST_VALUES = 20
"""Fewest values of a column, on either side, that are compared at all."""

PAGE_ROWS = 5_000
"""Most rows of either side that the page is drawn from."""

PAGE_ALPHA = 0.01
"""What a page without a report holds its uncorrected p-values against."""

_KS = "tidegate_ks"
_CHI_SQUARE = "tidegate_chi_square"
_KS_METHOD = "two-sample Kolmogorov-Smirnov"
_CHI_METHOD = "chi-square test of homogeneity"
_MAXIMUM_TEXT = 40


class MonitorSettings(BaseModel):
    """``[monitor]``: when traffic counts as drifted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum_rows: int = Field(
        200, ge=20, description="Fewest rows of a window that can tell anything."
    )
    alpha: float = Field(
        0.01, gt=0, lt=1, description="Highest chance of any false alarm in a window."
    )
    numeric_effect: float = Field(
        0.1, ge=0, le=1, description="Smallest Kolmogorov-Smirnov distance that counts."
    )
    categorical_effect: float = Field(
        0.1, ge=0, le=1, description="Smallest total variation distance that counts."
    )
    missing_effect: float = Field(
        0.05, ge=0, le=1, description="Smallest change of the missing share that counts."
    )


@dataclass(frozen=True)
class Shift:
    """How far one sample is from another.

    Parameters
    ----------
    p_value : float
        Of the two samples coming from one distribution.
    effect : float
        The distance, from 0 to 1.
    """

    p_value: float
    effect: float


@dataclass(frozen=True)
class _Tested:
    id: str
    claim: str
    shift: Shift | None
    floor: float
    method: str
    rows: tuple[int, int]


def check_drift(
    reference: "pd.DataFrame",
    current: "pd.DataFrame",
    settings: MonitorSettings,
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
) -> Report:
    """Compare a window with the reference, column by column.

    Parameters
    ----------
    reference, current : DataFrame of shape (n_rows, n_columns)
    settings : MonitorSettings
    numeric, categorical : sequence of str
        The columns that are watched.

    Returns
    -------
    Report
        A failed check is drift or a broken column. With too few rows nothing but what is
        broken is told, and that they are too few is an error: silence would read as all well.
    """
    facts = {"reference_rows": len(reference), "current_rows": len(current)}
    columns = (*numeric, *categorical) if len(current) and len(reference) else ()
    faults = {
        column: fault
        for column in columns
        if (fault := _fault(reference, current, column, column in numeric)) is not None
    }
    broken = tuple(faults.values())
    if min(len(reference), len(current)) < settings.minimum_rows:
        few = _too_few(reference, current, settings.minimum_rows)
        return Report("drift", (few, *broken), facts)
    tested = [
        each
        for column in columns
        if column not in faults
        for each in _test(reference[column], current[column], settings, column in numeric)
    ]
    family = [each for each in tested if each.shift is not None]
    corrected = holm([each.shift.p_value for each in family if each.shift is not None])
    adjusted = {each.id: p for each, p in zip(family, corrected, strict=True)}
    judged = [_judge(each, adjusted.get(each.id), settings.alpha) for each in tested]
    return Report("drift", (*broken, *judged), facts)


def ks_shift(reference: "NDArray[np.float64]", current: "NDArray[np.float64]") -> Shift:
    """Compare two samples of numbers by the two-sample Kolmogorov-Smirnov test.

    With ties the p-value is conservative: never too small (scipy.stats.ks_2samp).
    """
    from scipy.stats import ks_2samp

    found = ks_2samp(reference, current, method="asymp")
    return Shift(float(found.pvalue), float(found.statistic))


def homogeneity_shift(reference: "pd.Series[Any]", current: "pd.Series[Any]") -> Shift | None:
    """Compare two samples of categories by chi-square's test of homogeneity.

    Both samples are random here: the reference is no exact distribution. Levels whose
    expected count is below `LEAST_EXPECTED` on either side are pooled (Cochran, "Some methods
    for strengthening the common chi-square tests", Biometrics 10, 1954). The effect is the
    total variation distance between the shares. None where no two cells remain to compare,
    since nearly every row has a level of its own.
    """
    import pandas as pd
    from scipy.stats import chi2_contingency

    counts = pd.DataFrame({"before": reference.value_counts(), "after": current.value_counts()})
    # (n_levels, 2), the commonest level first.
    table = counts.fillna(0.0).to_numpy()
    table = table[np.argsort(-table.sum(axis=1), kind="stable")]
    if len(table) == 1:
        return Shift(1.0, 0.0)
    smaller = table.sum(axis=0).min() / table.sum()
    rare = table.sum(axis=1) * smaller < LEAST_EXPECTED
    kept, pooled = table[~rare], table[rare].sum(axis=0)
    if pooled.sum() * smaller >= LEAST_EXPECTED:
        kept = np.vstack([kept, pooled])
    elif len(kept):
        # Too few even together: they join the rarest level that is kept.
        kept[-1] += pooled
    if len(kept) < 2:
        return None
    before, after = (kept / kept.sum(axis=0)).T
    p_value = chi2_contingency(kept, correction=False).pvalue
    return Shift(float(p_value), float(np.abs(before - after).sum() / 2))


def missing_shift(reference: "NDArray[np.bool_]", current: "NDArray[np.bool_]") -> Shift:
    """Compare two shares of missing cells by Fisher's exact test."""
    from scipy.stats import fisher_exact

    counts = [[int(side.sum()), int((~side).sum())] for side in (reference, current)]
    effect = abs(float(reference.mean()) - float(current.mean()))
    if not effect:
        return Shift(1.0, 0.0)
    return Shift(float(fisher_exact(counts).pvalue), effect)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that the chance of any false finding is held.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6 (1979).
    """
    order = np.argsort(p_values, kind="stable")
    count = len(p_values)
    adjusted = np.empty(count)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (count - rank) * p_values[place]))
        adjusted[place] = highest
    return [float(value) for value in adjusted]


def drift_pages(
    reference: "pd.DataFrame",
    current: "pd.DataFrame",
    report: Report | None = None,
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
) -> dict[str, str]:
    """Let Evidently draw its page of the columns that can be compared.

    Parameters
    ----------
    reference, current : DataFrame of shape (n_rows, n_columns)
        At most `PAGE_ROWS` rows of either are drawn, and the page says so.
    report : Report, optional
        Of `check_drift`: the page then shows its p-values and its verdict for each column.
        Without it the page shows uncorrected p-values, against `PAGE_ALPHA`.
    numeric, categorical : sequence of str

    Returns
    -------
    dict
        ``evidently.html`` and ``evidently.json``; nothing where no column can be compared.
    """
    if min(len(reference), len(current)) == 0:
        return {}
    usable = [
        column
        for column in (*numeric, *categorical)
        if _fault(reference, current, column, column in numeric) is None
    ]
    if not usable:
        return {}
    judged = {check.id: check for check in report.checks} if report is not None else {}
    snapshot = _evidently(
        _drawn(reference, usable, numeric),
        _drawn(current, usable, numeric),
        {column: column in numeric for column in usable},
        {column: judged.get(f"{column}.values") for column in usable},
    )
    page: str = snapshot.get_html_str(as_iframe=False)
    rows = max(len(reference), len(current))
    if rows > PAGE_ROWS:
        note = f"Drawn from a random {PAGE_ROWS:,} rows of each side that has more, of {rows:,}."
        page = page.replace("<body>", f"<body><p>{note}</p>", 1)
    return {
        "evidently.html": page,
        "evidently.json": json.dumps(snapshot.dict(), default=str, indent=1),
    }


def _drawn(frame: "pd.DataFrame", columns: Sequence[str], numeric: Sequence[str]) -> "pd.DataFrame":
    import pandas as pd

    sample = frame if len(frame) <= PAGE_ROWS else frame.sample(PAGE_ROWS, random_state=0)
    return pd.DataFrame(
        {
            column: _numbers(sample[column])
            if column in numeric
            else _levels(sample[column]).to_numpy(dtype=object)
            for column in columns
        }
    )


def _evidently(
    reference: "pd.DataFrame",
    current: "pd.DataFrame",
    is_number: Mapping[str, bool],
    judged: Mapping[str, CheckResult | None],
) -> Any:
    # Read at import.
    os.environ.setdefault("DO_NOT_TRACK", "true")
    with warnings.catch_warnings():
        # Evidently imports what scipy and pydantic have renamed; nothing to do with the data.
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset
        from evidently import Report as EvidentlyReport
        from evidently.metrics import ValueDrift

        _register(judged)
        definition = DataDefinition(
            numerical_columns=[column for column, number in is_number.items() if number],
            categorical_columns=[column for column, number in is_number.items() if not number],
        )
        drawn = EvidentlyReport(
            [
                ValueDrift(column=column, method=_KS if number else _CHI_SQUARE)
                for column, number in is_number.items()
            ],
            include_tests=True,
        )
        return drawn.run(
            Dataset.from_pandas(current, data_definition=definition),
            Dataset.from_pandas(reference, data_definition=definition),
        )


def _register(judged: Mapping[str, CheckResult | None]) -> None:
    """Give Evidently our tests, or rather what they said of the whole of both samples."""
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    def decide(
        shift: Callable[[Any, Any], Shift | None],
        reference: "pd.Series[Any]",
        current: "pd.Series[Any]",
    ) -> tuple[float, bool]:
        check = judged.get(str(reference.name))
        if check is not None and "adjusted_p_value" in check.details:
            return check.details["adjusted_p_value"], check.status is Status.FAILED
        found = shift(reference, current)
        return (found.p_value, found.p_value < PAGE_ALPHA) if found else (1.0, False)

    def ks(
        reference: "pd.Series[Any]", current: "pd.Series[Any]", kind: Any, threshold: float
    ) -> tuple[float, bool]:
        return decide(ks_shift, reference, current)

    def chi_square(
        reference: "pd.Series[Any]", current: "pd.Series[Any]", kind: Any, threshold: float
    ) -> tuple[float, bool]:
        return decide(homogeneity_shift, reference, current)

    for name, label, kind, function in (
        (_KS, "two-sample Kolmogorov-Smirnov p-value", ColumnType.Numerical, ks),
        (_CHI_SQUARE, "chi-square homogeneity p-value", ColumnType.Categorical, chi_square),
    ):
        register_stattest(
            StatTest(
                name=name,
                display_name=label,
                allowed_feature_types=[kind],
                default_threshold=next(
                    (c.details["alpha"] for c in judged.values() if c and "alpha" in c.details),
                    PAGE_ALPHA,
                ),
            ),
            default_impl=function,
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


def _fault(
    reference: "pd.DataFrame", current: "pd.DataFrame", column: str, is_number: bool
) -> CheckResult | None:
    """Return what keeps a column from being compared; None where nothing does."""

    def fault(status: Status, reason: str, **details: Any) -> CheckResult:
        claim = f"The window has {column}, with values of its type"
        return CheckResult(f"{column}.broken", claim, status, reason=reason, details=details)

    if column not in reference.columns:
        return fault(
            Status.ERROR, f"The reference has no column {column}, so it cannot be compared."
        )
    if column not in current.columns:
        return fault(Status.FAILED, f"The window has no column {column}.")
    if reference[column].isna().all():
        return fault(
            Status.NOT_APPLICABLE, f"The reference has no value of {column} to compare with."
        )
    values = current[column]
    if values.isna().all():
        return fault(Status.FAILED, f"All {len(values)} values of {column} are missing.")
    if is_number:
        numbers = _numbers(values)
        strays = np.isinf(numbers) | (np.isnan(numbers) & values.notna().to_numpy())
        if strays.any():
            count = int(strays.sum())
            shown = [str(value)[:_MAXIMUM_TEXT] for value in values[strays].head(MAXIMUM_EXAMPLES)]
            return fault(
                Status.FAILED,
                f"{count} of {len(values)} values of {column} are not finite numbers: "
                + ", ".join(map(repr, shown)),
                count=count,
                share=count / len(values),
                examples=shown,
            )
    return None


def _numbers(values: "pd.Series[Any]") -> "NDArray[np.float64]":
    """Return the cells as numbers; NaN where there is none, or what is there is not one."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_timedelta64_dtype(values):
        # Nanoseconds are numbers, yet no value of this column.
        return np.full(len(values), np.nan)
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    numbers = pd.to_numeric(values, errors="coerce")
    return np.asarray(numbers.to_numpy(dtype=np.float64, na_value=np.nan))


def _levels(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return the cells as text, or None where missing.

    Whole numbers lose their ``.0``: a level keeps its name when its column, in one of the
    samples, holds a missing value and so became a column of decimals.
    """
    names = {
        value: str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        for value in values.dropna().unique()
    }
    found = values.astype(object).map(names)
    return found.where(found.notna(), None)


def _test(
    reference: "pd.Series[Any]",
    current: "pd.Series[Any]",
    settings: MonitorSettings,
    is_number: bool,
) -> list[_Tested]:
    column = str(reference.name)
    sides: list[Any]
    compare: Callable[[Any, Any], Shift | None]
    if is_number:
        sides = [numbers[~np.isnan(numbers)] for numbers in map(_numbers, (reference, current))]
        compare, method, floor = ks_shift, _KS_METHOD, settings.numeric_effect
    else:
        sides = [_levels(values).dropna() for values in (reference, current)]
        compare, method, floor = homogeneity_shift, _CHI_METHOD, settings.categorical_effect
    rows = (len(sides[0]), len(sides[1]))
    few = min(rows) < LEAST_VALUES
    return [
        _Tested(
            f"{column}.values",
            f"The values of {column} are distributed as in the reference",
            None if few else compare(*sides),
            floor,
            method,
            rows,
        ),
        _Tested(
            f"{column}.missing",
            f"As much of {column} is missing as in the reference",
            missing_shift(reference.isna().to_numpy(), current.isna().to_numpy()),
            settings.missing_effect,
            "Fisher's exact test",
            (len(reference), len(current)),
        ),
    ]


def _judge(tested: _Tested, adjusted: float | None, alpha: float) -> CheckResult:
    before, after = tested.rows
    details: dict[str, Any] = {
        "method": tested.method,
        "reference_rows": before,
        "current_rows": after,
    }
    if tested.shift is None or adjusted is None:
        return CheckResult(
            tested.id,
            tested.claim,
            Status.NOT_APPLICABLE,
            limit=tested.floor,
            reason=f"Too few values to tell: {before} in the reference, {after} in the window, "
            "or nearly each of them a level of its own.",
            details=details,
        )
    effect = tested.shift.effect
    is_sure, is_large = adjusted < alpha, effect >= tested.floor
    found = {
        (True, True): "moved",
        (True, False): "moved by less than counts",
        (False, True): "not told from chance",
        (False, False): "not moved",
    }[is_sure, is_large]
    return CheckResult(
        tested.id,
        tested.claim,
        Status.FAILED if is_sure and is_large else Status.PASSED,
        effect,
        tested.floor,
        f"{found.capitalize()}: {tested.method}, distance {effect:.3f} ({tested.floor:g} counts), "
        f"adjusted p {adjusted:.2g} (below {alpha:g} is sure).",
        details
        | {
            "p_value": tested.shift.p_value,
            "adjusted_p_value": adjusted,
            "alpha": alpha,
        },
    )
