"""Evidently's page of the columns, drawn with our tests from a bounded sample."""

import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from checks.drift.cells import counts_of, known_numbers, levels_of, numbers_of
from checks.drift.fault import fault_of
from checks.drift.shift import Shift, homogeneity_shift, ks_shift
from checks.result import CheckResult, Report

if TYPE_CHECKING:
    import pandas as pd

PAGE_ROWS = 5_000
"""Most rows of either side that the page is drawn from."""

PAGE_ALPHA = 0.01
"""What a page without a report holds its uncorrected p-values against."""

_KS = "tidegate_ks"
_CHI_SQUARE = "tidegate_chi_square"


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
        Of `check_drift`: the page then shows its p-values, and which columns moved in it.
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
        if fault_of(reference, current, column, is_number=column in numeric) is None
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
            column: numbers_of(sample[column]) if column in numeric else levels_of(sample[column])
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
            return check.details["adjusted_p_value"], check.details["exceeded"]
        found = shift(reference, current)
        return (found.p_value, found.p_value < PAGE_ALPHA) if found else (1.0, False)

    def ks(
        reference: "pd.Series[Any]", current: "pd.Series[Any]", kind: Any, threshold: float
    ) -> tuple[float, bool]:
        return decide(lambda *sides: ks_shift(*map(known_numbers, sides)), reference, current)

    def chi_square(
        reference: "pd.Series[Any]", current: "pd.Series[Any]", kind: Any, threshold: float
    ) -> tuple[float, bool]:
        return decide(lambda *sides: homogeneity_shift(*map(counts_of, sides)), reference, current)

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
