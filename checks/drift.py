"""Is the traffic still like what the model learned from?

Evidently draws the page; the tests are ours, registered with it, since its own take the
reference for exact and alarm on two equal samples. Each column has a two-sample test of its
values and one of its missing share; Holm's correction holds the chance of any false alarm at
``alpha``, and a shift below the effect floor is no finding however sure it is.
"""

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from checks.result import CheckResult, Report, Status

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

LEAST_EXPECTED = 5.0
"""Fewest expected rows of a cell for which chi-square's approximation holds (Cochran 1954)."""

PAGE_ROWS = 5_000
"""Most rows of either side that the page is drawn from."""

_KS = "tidegate_ks"
_CHI_SQUARE = "tidegate_chi_square"
_OTHER = "(rare)"


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
    shift: Shift
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
        A failed check is drift or a broken column; with too few rows its only check is an
        error, since silence would read as all well.
    """
    facts = {"reference_rows": len(reference), "current_rows": len(current)}
    if min(len(reference), len(current)) < settings.minimum_rows:
        return Report("drift", (_too_few(reference, current, settings.minimum_rows),), facts)
    broken: list[CheckResult] = []
    tested: list[_Tested] = []
    for column in (*numeric, *categorical):
        is_number = column in numeric
        fault = _fault(reference, current, column, is_number)
        if fault is not None:
            broken.append(fault)
            continue
        tested.extend(_test(reference[column], current[column], settings, is_number))
    adjusted = holm([each.shift.p_value for each in tested])
    judged = [_judge(each, p, settings.alpha) for each, p in zip(tested, adjusted, strict=True)]
    return Report("drift", (*broken, *judged), facts)


def ks_shift(reference: "NDArray[np.float64]", current: "NDArray[np.float64]") -> Shift:
    """Compare two samples of numbers by the two-sample Kolmogorov-Smirnov test.

    With ties the p-value is conservative: never too small (scipy.stats.ks_2samp).
    """
    from scipy.stats import ks_2samp

    found = ks_2samp(reference, current, method="asymp")
    return Shift(float(found.pvalue), float(found.statistic))


def homogeneity_shift(reference: "pd.Series[Any]", current: "pd.Series[Any]") -> Shift:
    """Compare two samples of categories by chi-square's test of homogeneity.

    Both samples are random here: the reference is no exact distribution. Levels whose
    expected count is below `LEAST_EXPECTED` on either side are pooled (Cochran, "Some methods
    for strengthening the common chi-square tests", Biometrics 10, 1954). The effect is the
    total variation distance between the shares.
    """
    import pandas as pd
    from scipy.stats import chi2_contingency

    table = pd.DataFrame(
        {"reference": reference.value_counts(), "current": current.value_counts()}
    ).fillna(0.0)
    smaller = table.sum().min() / table.to_numpy().sum()
    rare = table.sum(axis=1) * smaller < LEAST_EXPECTED
    if rare.any():
        pooled = table[~rare]
        pooled.loc[_OTHER] = table[rare].sum()
        if pooled.loc[_OTHER].sum() * smaller < LEAST_EXPECTED and len(pooled) > 1:
            # Too few even together: they join the smallest level that is not rare.
            least = pooled.drop(_OTHER).sum(axis=1).idxmin()
            pooled.loc[least] += pooled.loc[_OTHER]
            pooled = pooled.drop(_OTHER)
        table = pooled
    if len(table) < 2:
        return Shift(1.0, 0.0)
    shares = table / table.sum()
    effect = float((shares["reference"] - shares["current"]).abs().sum() / 2)
    return Shift(float(chi2_contingency(table.to_numpy(), correction=False).pvalue), effect)


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
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
) -> dict[str, str]:
    """Let Evidently draw its page of the columns that can be compared.

    Returns
    -------
    dict
        ``evidently.html`` and ``evidently.json``; nothing where no column can be compared.
    """
    usable = [
        column
        for column in (*numeric, *categorical)
        if _fault(reference, current, column, column in numeric) is None
    ]
    if not usable or min(len(reference), len(current)) == 0:
        return {}
    import pandas as pd

    sides = []
    for frame in (reference, current):
        sample = frame if len(frame) <= PAGE_ROWS else frame.sample(PAGE_ROWS, random_state=0)
        sides.append(
            pd.DataFrame(
                {
                    column: pd.to_numeric(sample[column], errors="coerce").astype("float64")
                    if column in numeric
                    else sample[column].astype(object).where(sample[column].notna(), None)
                    for column in usable
                }
            )
        )
    snapshot = _evidently(
        sides[0],
        sides[1],
        [column for column in usable if column in numeric],
        [column for column in usable if column not in numeric],
    )
    return {
        "evidently.html": snapshot.get_html_str(as_iframe=False),
        "evidently.json": json.dumps(snapshot.dict(), default=str, indent=1),
    }


def _evidently(
    reference: "pd.DataFrame",
    current: "pd.DataFrame",
    numeric: Sequence[str],
    categorical: Sequence[str],
) -> Any:
    # Read at import.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    with warnings.catch_warnings():
        # Evidently imports what scipy and pydantic have renamed; nothing to do with the data.
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset
        from evidently import Report as EvidentlyReport
        from evidently.metrics import ValueDrift

        _register()
        definition = DataDefinition(
            numerical_columns=list(numeric), categorical_columns=list(categorical)
        )
        drawn = EvidentlyReport(
            [ValueDrift(column=column, method=_KS) for column in numeric]
            + [ValueDrift(column=column, method=_CHI_SQUARE) for column in categorical]
        )
        return drawn.run(
            Dataset.from_pandas(current, data_definition=definition),
            Dataset.from_pandas(reference, data_definition=definition),
        )


def _register() -> None:
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    def ks(
        reference: "pd.Series[Any]", current: "pd.Series[Any]", kind: Any, threshold: float
    ) -> tuple[float, bool]:
        p = ks_shift(reference.to_numpy(float), current.to_numpy(float)).p_value
        return p, p < threshold

    def chi_square(
        reference: "pd.Series[Any]", current: "pd.Series[Any]", kind: Any, threshold: float
    ) -> tuple[float, bool]:
        p = homogeneity_shift(reference, current).p_value
        return p, p < threshold

    for name, label, kind, function in (
        (_KS, "two-sample Kolmogorov-Smirnov p-value", ColumnType.Numerical, ks),
        (_CHI_SQUARE, "chi-square homogeneity p-value", ColumnType.Categorical, chi_square),
    ):
        register_stattest(
            StatTest(
                name=name,
                display_name=label,
                allowed_feature_types=[kind],
                default_threshold=0.01,
            ),
            default_impl=function,
        )


def _too_few(reference: "pd.DataFrame", current: "pd.DataFrame", least: int) -> CheckResult:
    rows = min(len(reference), len(current))
    which = "window" if len(current) <= len(reference) else "reference"
    return CheckResult(
        "rows",
        "there are enough rows to tell",
        Status.ERROR,
        rows,
        least,
        f"too few to tell: the {which} has {rows} rows, {least} are asked for",
    )


def _fault(
    reference: "pd.DataFrame", current: "pd.DataFrame", column: str, is_number: bool
) -> CheckResult | None:
    import pandas as pd

    claim = f"{column} is there, with values of its type"

    def fault(reason: str, **details: Any) -> CheckResult:
        return CheckResult(f"{column}.broken", claim, Status.FAILED, reason=reason, details=details)

    if column not in reference.columns:
        return CheckResult(
            f"{column}.broken",
            claim,
            Status.ERROR,
            reason=f"the reference has no column {column}, so it cannot be compared",
        )
    if column not in current.columns:
        return fault(f"the window has no column {column}")
    if reference[column].isna().all():
        return CheckResult(
            f"{column}.broken",
            claim,
            Status.NOT_APPLICABLE,
            reason=f"the reference has no value of {column} to compare with",
        )
    values = current[column]
    if values.isna().all():
        return fault(f"each of {len(values)} values of {column} is missing")
    if is_number:
        strays = values[pd.to_numeric(values, errors="coerce").isna() & values.notna()]
        if len(strays):
            shown = ", ".join(repr(str(value)[:40]) for value in strays.head(5))
            return fault(
                f"{len(strays)} of {len(values)} values of {column} are no numbers: {shown}",
                count=len(strays),
            )
    return None


def _test(
    reference: "pd.Series[Any]",
    current: "pd.Series[Any]",
    settings: MonitorSettings,
    is_number: bool,
) -> list[_Tested]:
    import pandas as pd

    column = str(reference.name)
    before, after = reference.dropna(), current.dropna()
    rows = (len(before), len(after))
    if is_number:
        numbers = [pd.to_numeric(side).to_numpy(dtype=np.float64) for side in (before, after)]
        shift = ks_shift(*numbers)
        method, floor = "two-sample Kolmogorov-Smirnov", settings.numeric_effect
    else:
        shift = homogeneity_shift(before.astype(str), after.astype(str))
        method, floor = "chi-square homogeneity", settings.categorical_effect
    return [
        _Tested(
            f"{column}.values",
            f"the values of {column} are distributed as in the reference",
            shift,
            floor,
            method,
            rows,
        ),
        _Tested(
            f"{column}.missing",
            f"as much of {column} is missing as in the reference",
            missing_shift(reference.isna().to_numpy(), current.isna().to_numpy()),
            settings.missing_effect,
            "Fisher exact",
            (len(reference), len(current)),
        ),
    ]


def _judge(tested: _Tested, adjusted: float, alpha: float) -> CheckResult:
    effect = tested.shift.effect
    drifted = adjusted < alpha and effect >= tested.floor
    sure = f"adjusted p {adjusted:.2g} against {alpha:g}"
    return CheckResult(
        tested.id,
        tested.claim,
        Status.FAILED if drifted else Status.PASSED,
        effect,
        tested.floor,
        f"{tested.method}: distance {effect:.3f} against {tested.floor:g}, {sure}",
        {
            "method": tested.method,
            "p_value": tested.shift.p_value,
            "adjusted_p_value": adjusted,
            "alpha": alpha,
            "reference_rows": tested.rows[0],
            "current_rows": tested.rows[1],
        },
    )
