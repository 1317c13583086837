"""Does a table keep its contract? Great Expectations, in one file.

A contract is a Great Expectations 1.x suite as JSON values: ``name``, ``expectations`` (each
``type``, ``kwargs``, ``meta``) and ``meta``. The schema is judged first and without that
library: it takes seconds to import, and a missing column makes each rule about it raise
rather than fail.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from checks.result import MAXIMUM_EXAMPLES, CheckResult, Report, Status

if TYPE_CHECKING:
    import pandas as pd

NAME = "data"
"""The name of every report made here."""

_MAXIMUM_NAMES = 10
_MAXIMUM_VALUE = 60
_MAXIMUM_MESSAGE = 240
# Great Expectations quotes the first offending values, not the first distinct ones.
_QUOTED = 50

_COLUMN_SETS = ("expect_table_columns_to_match_set", "expect_table_columns_to_match_ordered_list")
_EXISTS = "expect_column_to_exist"
_TYPES = (
    "expect_column_values_to_be_of_type",
    "expect_column_values_to_be_in_type_list",
)
_NOT_NULL = "expect_column_values_to_not_be_null"
_SCHEMA = (*_COLUMN_SETS, _EXISTS, *_TYPES)


class ValidateSettings(BaseModel):
    """``[validate]``: what the table must be before anything is learned from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    contract: str = Field(
        default="contract.json",
        min_length=1,
        description="The data contract, a Great Expectations 1.x suite as JSON; relative to "
        "the project's folder.",
    )


class ContractError(ValueError):
    """A contract that cannot be judged by: the contract is at fault, not the data."""


@dataclass(frozen=True)
class Validation:
    """What Great Expectations itself found, for `data_docs`.

    Parameters
    ----------
    result : great_expectations.core.ExpectationSuiteValidationResult
        Its result; only this module looks inside.
    """

    result: Any


@dataclass(frozen=True)
class _Clause:
    """One expectation of the contract."""

    position: int
    id: str
    type: str
    kwargs: Mapping[str, Any]
    description: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the expectation is about; none when it is about the table."""
        if self.type in _COLUMN_SETS:
            return ()
        named = [self.kwargs.get(key) for key in ("column", "column_A", "column_B")]
        listed = self.kwargs.get("column_list")
        if isinstance(listed, Sequence) and not isinstance(listed, str):
            named.extend(listed)
        return tuple(str(name) for name in named if name is not None)


def check_schema(contract: Mapping[str, Any], frame: pd.DataFrame) -> Report:
    """Judge which columns there are, and their types, all of them at once.

    Parameters
    ----------
    contract : mapping
        A Great Expectations 1.x suite.
    frame : pandas.DataFrame
        Shape (n_rows, n_columns).

    Returns
    -------
    Report
        ``schema.missing`` and ``schema.new``, then one ``<column>.type`` for each type that
        the contract states. A column without a single value has no type to judge and passes.

    Raises
    ------
    ContractError
        The contract is malformed.
    """
    return Report(NAME, tuple(_schema(_clauses(contract), frame)), _facts(contract, frame))


def check_contract(contract: Mapping[str, Any], frame: pd.DataFrame) -> tuple[Report, Validation]:
    """Judge a table by its contract: the schema, then every other expectation.

    What is said about a column that is missing or re-typed is not applicable until that is
    mended; the schema's results, which come first, have refused the table by then.

    Parameters
    ----------
    contract : mapping
        A Great Expectations 1.x suite.
    frame : pandas.DataFrame
        Shape (n_rows, n_columns).

    Returns
    -------
    report : Report
        The schema's results first, then the others in the contract's order, with ids such as
        ``delay.between`` and details ``count``, ``share`` and up to five ``examples``.
    validation : Validation
        For `data_docs`.

    Raises
    ------
    ContractError
        The contract is malformed: an unknown expectation, or arguments that it refuses.
    """
    clauses = _clauses(contract)
    frame = _plain(frame)
    schema = _schema(clauses, frame)
    missing = {name for clause in clauses for name in clause.columns} - set(map(str, frame.columns))
    retyped = {
        str(check.details["column"])
        for check in schema
        if check.status is Status.FAILED and "column" in check.details
    }
    judged = [
        clause
        for clause in clauses
        if missing.isdisjoint(clause.columns)
        and (clause.type in (*_SCHEMA, _NOT_NULL) or retyped.isdisjoint(clause.columns))
    ]
    result = _run(str(contract.get("name") or NAME), clauses, judged, frame)
    found = {each.expectation_config.meta["position"]: each for each in result.results}
    rest = [
        _explain(clause, found[clause.position])
        if clause.position in found
        else _unjudged(clause, missing)
        for clause in clauses
        if clause.type not in _SCHEMA
    ]
    return Report(NAME, (*schema, *rest), _facts(contract, frame)), Validation(result)


def data_docs(validation: Validation) -> dict[str, str]:
    """Render Great Expectations' own Data Docs page, and its result as JSON.

    Its page fetches styles and scripts from eight hosts; here it is one file that opens
    offline and asks nobody for anything.

    Returns
    -------
    dict
        ``data_docs.html`` and ``data_docs.json``.
    """
    _load()
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    document = ValidationResultsPageRenderer().render(validation.result)
    page = DefaultJinjaPageView().render(document)
    return {"data_docs.html": _offline(page), "data_docs.json": str(validation.result)}


def _facts(contract: Mapping[str, Any], frame: pd.DataFrame) -> dict[str, Any]:
    return {
        "contract": str(contract.get("name", "")),
        "rows": len(frame),
        "columns": [str(name) for name in frame.columns],
    }


def _clauses(contract: Mapping[str, Any]) -> list[_Clause]:
    listed = contract.get("expectations")
    if not isinstance(listed, list):
        raise ContractError(
            'A contract has a list "expectations"; found: '
            f"{_quote(listed) if listed is not None else ', '.join(contract) or 'nothing'}."
        )
    if not listed:
        raise ContractError("A contract states at least one expectation; found: none.")
    clauses: list[_Clause] = []
    used: Counter[str] = Counter()
    for position, each in enumerate(listed):
        where = f"expectation {position + 1}"
        if not isinstance(each, Mapping):
            raise ContractError(f"Every expectation is an object; {where} is {_quote(each)}.")
        if "expectation_type" in each:
            raise ContractError(
                f'Great Expectations 1.x calls it "type"; {where} has "expectation_type", '
                "as suites before 1.0 did."
            )
        kind, kwargs = each.get("type"), each.get("kwargs", {})
        if not isinstance(kind, str) or not isinstance(kwargs, Mapping):
            raise ContractError(
                f'Every expectation has a "type" and an object "kwargs"; {where} is {_quote(each)}.'
            )
        name = _short(kind, kwargs)
        used[name] += 1
        clauses.append(
            _Clause(
                position,
                name if used[name] == 1 else f"{name}[{used[name]}]",
                kind,
                kwargs,
                str(each.get("description") or ""),
            )
        )
    return clauses


def _short(kind: str, kwargs: Mapping[str, Any]) -> str:
    rule = (
        "type"
        if kind in _TYPES
        else re.sub(
            r"^expect_(table_|column_values_|column_|multicolumn_|select_)?(pair_(values_)?)?",
            "",
            kind,
        )
    )
    rule = re.sub(r"(^|_)to_(be_)?", r"\1", rule).replace("not_be_null", "not_null")
    subject = kwargs.get("column") or kwargs.get("column_A")
    return f"{subject if subject is not None else 'table'}.{rule}"


def _schema(clauses: Sequence[_Clause], frame: pd.DataFrame) -> list[CheckResult]:
    present = [str(name) for name in frame.columns]
    sets = [clause for clause in clauses if clause.type in _COLUMN_SETS]
    stated = [str(name) for clause in sets for name in _stated_columns(clause)]
    named = [name for clause in clauses for name in clause.columns]
    expected = list(dict.fromkeys([*stated, *named]))
    exact = any(clause.kwargs.get("exact_match", True) is not False for clause in sets)
    missing = [name for name in expected if name not in present]
    new = [name for name in present if name not in stated] if exact else []
    results = [
        CheckResult(
            "schema.missing",
            f"All {len(expected)} columns of the contract are there",
            Status.FAILED if missing else Status.PASSED,
            observed=len(missing),
            limit=0,
            reason=_missing_reason(missing, new),
            details={"columns": missing},
        )
    ]
    if exact:
        results.append(
            CheckResult(
                "schema.new",
                "Every column of the table is in the contract",
                Status.FAILED if new else Status.PASSED,
                observed=len(new),
                limit=0,
                reason=f"columns that the contract does not know: {_names(new)}" if new else "",
                details={"columns": new},
            )
        )
    if frame.empty:
        results.append(
            CheckResult(
                "table.rows",
                "The table has rows to judge",
                Status.ERROR,
                observed=0,
                limit=1,
                reason="the table has no rows, and every rule holds for none",
            )
        )
    for clause in clauses:
        if clause.type in _TYPES and set(clause.columns) <= set(present):
            results.append(_type_result(clause, frame))
    return results


def _stated_columns(clause: _Clause) -> Iterable[Any]:
    listed = clause.kwargs.get("column_set") or clause.kwargs.get("column_list")
    if isinstance(listed, str) or not isinstance(listed, Iterable):
        raise ContractError(f"{clause.type} lists the columns; found {_quote(listed)}.")
    return listed


def _missing_reason(missing: Sequence[str], new: Sequence[str]) -> str:
    if not missing:
        return ""
    said = []
    for name in missing[:_MAXIMUM_NAMES]:
        close = get_close_matches(name, new, n=1, cutoff=0.7)
        said.append(f"{name} (renamed to {close[0]}?)" if close else name)
    more = len(missing) - len(said)
    return "not in the table: " + ", ".join(said) + (f" and {more} more" if more else "")


def _type_result(clause: _Clause, frame: pd.DataFrame) -> CheckResult:
    column = clause.columns[0]
    series = frame[column]
    listed = clause.kwargs.get("type_list", clause.kwargs.get("type_"))
    allowed = [listed] if isinstance(listed, str) else [str(name) for name in listed or ()]
    if not allowed:
        raise ContractError(f"{clause.type} of {column} names a type; found {_quote(listed)}.")
    wanted = {_canonical(name) for name in allowed}
    kind = _kind(wanted)
    present = series.dropna()
    if series.dtype == object:
        names = present.map(lambda value: _canonical(type(value).__name__))
        strays = present[~names.isin(wanted)]
        found = ", ".join(sorted(set(names))[:_MAXIMUM_NAMES])
    else:
        found = str(series.dtype)
        strays = present if _canonical(found) not in wanted else present.iloc[:0]
    details: dict[str, Any] = {"column": column, "rule": clause.type, "type": found}
    if strays.empty:
        status, reason = Status.PASSED, ""
    else:
        status = Status.FAILED
        if kind == "numbers":
            strays = _words(strays)
        count, share = len(strays), len(strays) / len(series)
        details |= {"count": count, "share": share, "examples": _examples(strays.unique())}
        reason = (
            f"{column} is re-typed: {found} where the contract wants {kind}; "
            f"{count:,} of {len(series):,} values ({_percent(share)}) do not fit"
            + (f", such as {', '.join(details['examples'])}" if count else "")
        )
    return CheckResult(
        clause.id,
        clause.description or f"{column} holds {kind}",
        status,
        observed=found,
        limit=kind,
        reason=reason,
        details=details,
    )


def _words(strays: pd.Series[Any]) -> pd.Series[Any]:
    """Keep the values that are no numbers: one stray word makes text of a whole column."""
    import pandas as pd

    if strays.dtype != object and not pd.api.types.is_string_dtype(strays):
        return strays
    words = strays[pd.to_numeric(strays.astype(str), errors="coerce").isna()]
    return strays if words.empty else words


def _canonical(name: str) -> str:
    """Give one name to types that differ in storage alone: ``Int64``, ``string``, time units."""
    if name.startswith(("datetime64", "Timestamp", "datetime", "DatetimeTZ")):
        zoned = "," in name or "TZ" in name
        return "datetime with zone" if zoned else "datetime"
    plain = name.removesuffix("Type").removesuffix("Dtype").removesuffix("_").lower()
    return {
        "string": "str",
        "boolean": "bool",
        "int": "int64",
        "float": "float64",
        "categorical": "category",
    }.get(plain, plain)


def _kind(names: set[str]) -> str:
    if any(name.startswith("float") for name in names):
        return "numbers"
    if any(re.match(r"u?int\d", name) for name in names):
        return "whole numbers"
    words = {"str": "text", "bool": "true or false", "datetime": "dates and times"}
    return " or ".join(words.get(name, name) for name in sorted(names))


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return nullable columns as the numpy columns that a model sees.

    Great Expectations compares storage types by name. A column without values has whatever
    type its reader gave it: as objects, no type is held against it.
    """
    import pandas as pd

    changed: dict[Any, Any] = {}
    for name in frame.columns:
        series = frame[name]
        storage = getattr(series.dtype, "numpy_dtype", None)
        if storage is not None:
            partial = bool(series.isna().any())
            logical = pd.api.types.is_bool_dtype(series.dtype)
            wanted: Any = storage if not partial else object if logical else "float64"
            series = changed[name] = series.astype(wanted)
        if len(series) and series.dtype != object and series.isna().all():
            changed[name] = pd.Series([None] * len(series), index=series.index, dtype=object)
    return frame.assign(**changed) if changed else frame


def _load() -> Any:
    # Read when the library is imported; its usage statistics go to a host of its makers.
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    import great_expectations

    # It logs, with tracebacks, what its results hold as well.
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    return great_expectations


def _run(
    name: str, clauses: Sequence[_Clause], judged: Sequence[_Clause], frame: pd.DataFrame
) -> Any:
    gx = _load()
    # Every clause is built, so that a malformed one is found whatever the table holds.
    built = {clause.position: _build(clause, frame) for clause in clauses}
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batch = (
        context.data_sources.add_pandas(name)
        .add_dataframe_asset("table")
        .add_batch_definition_whole_dataframe("all rows")
        .get_batch({"dataframe": frame})
    )
    suite = gx.ExpectationSuite(
        name=name, expectations=[built[clause.position] for clause in judged]
    )
    result = batch.validate(
        suite, result_format={"result_format": "SUMMARY", "partial_unexpected_count": _QUOTED}
    )
    for each in result.results:
        # The page writes numpy's numbers as an error.
        each.result = {key: _jsonable(value) for key, value in each.result.items()}
    return result


def _build(clause: _Clause, frame: pd.DataFrame) -> Any:
    """Build one expectation; a suite built whole drops, in silence, what it cannot build."""
    from great_expectations.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    where = f"expectation {clause.position + 1} ({clause.id})"
    try:
        implementation = get_expectation_impl(clause.type)
    except ExpectationNotFoundError as err:
        known = list_registered_expectation_implementations()
        close = get_close_matches(clause.type, known, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ContractError(
            f"Great Expectations knows every expectation of the contract; {where} is of type "
            f"{_quote(clause.type)}{hint}"
        ) from err
    kwargs = dict(clause.kwargs)
    if clause.columns and clause.columns[0] in frame.columns:
        kwargs = _with_instants(kwargs, frame[clause.columns[0]], where)
    try:
        return implementation(**kwargs, meta={"position": clause.position})
    except (TypeError, ValueError) as err:
        raise ContractError(
            f"{clause.type} accepts its arguments; {where} has {_quote(dict(clause.kwargs))}: "
            f"{_first_error(err)}"
        ) from err


def _with_instants(kwargs: dict[str, Any], series: pd.Series[Any], where: str) -> dict[str, Any]:
    """Read limits of a column of instants as instants: JSON has none, and text would raise."""
    import pandas as pd

    if not pd.api.types.is_datetime64_any_dtype(series.dtype):
        return kwargs
    for key in ("min_value", "max_value"):
        if isinstance(kwargs.get(key), str):
            try:
                kwargs[key] = pd.Timestamp(kwargs[key]).to_pydatetime()
            except ValueError as err:
                raise ContractError(
                    f"{where} is about instants; {key} = {_quote(kwargs[key])} is none."
                ) from err
    return kwargs


def _first_error(err: Exception) -> str:
    errors = getattr(err, "errors", None)
    if callable(errors):
        listed = errors()
        if listed:
            path = ".".join(str(part) for part in listed[0]["loc"])
            return f"{path}: {listed[0]['msg']}"[:_MAXIMUM_MESSAGE]
    return str(err).splitlines()[0][:_MAXIMUM_MESSAGE]


def _jsonable(value: Any) -> Any:
    import numpy as np

    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _jsonable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(each) for each in value]
    return value


def _unjudged(clause: _Clause, missing: set[str]) -> CheckResult:
    absent = [name for name in clause.columns if name in missing]
    why = f"{_names(absent)} is missing" if absent else f"{clause.columns[0]} is re-typed"
    return CheckResult(
        clause.id, _claim(clause), Status.NOT_APPLICABLE, reason=f"not judged: {why}"
    )


def _explain(clause: _Clause, each: Any) -> CheckResult:
    """Turn one result of the library into ours."""
    claim = _claim(clause)
    details: dict[str, Any] = {"rule": clause.type, "columns": list(clause.columns)}
    raised = _exception(each.exception_info or {})
    if raised:
        return CheckResult(
            clause.id,
            claim,
            Status.ERROR,
            reason=f"could not be judged: {raised}",
            details=details,
        )
    status = Status.PASSED if each.success else Status.FAILED
    result = each.result
    if "unexpected_count" not in result:
        return _explain_whole(clause, claim, status, result, details)
    count = int(result["unexpected_count"] or 0)
    cells = int(result.get("element_count") or 0)
    share = float(result.get("unexpected_percent") or 0.0) / 100
    mostly = clause.kwargs.get("mostly", 1.0)
    allowed = round(1 - float(mostly), 12) if isinstance(mostly, (int, float)) else 0.0
    examples = (
        [] if clause.type == _NOT_NULL else _examples(result.get("partial_unexpected_list", ()))
    )
    details |= {"count": count, "share": share, "examples": examples}
    reason = ""
    if status is Status.FAILED:
        judged = cells if clause.type == _NOT_NULL else cells - int(result["missing_count"] or 0)
        reason = (
            f"{'missing in' if clause.type == _NOT_NULL else 'broken by'} {count:,} of "
            f"{judged:,} values ({_percent(share)}; {_percent(allowed)} allowed)"
            + (f", such as {', '.join(examples)}" if examples else "")
            + f"; rule: {claim}"
        )
    return CheckResult(
        clause.id, claim, status, observed=share, limit=allowed, reason=reason, details=details
    )


def _explain_whole(
    clause: _Clause,
    claim: str,
    status: Status,
    result: Mapping[str, Any],
    details: dict[str, Any],
) -> CheckResult:
    """Explain a result about the column or the table as a whole."""
    observed = result.get("observed_value")
    limit = _range(clause.kwargs) or None
    absent = _examples(result.get("partial_missing_list") or ())
    if absent:
        details |= {"count": int(result.get("missing_count") or len(absent)), "examples": absent}
        said = f"not there: {', '.join(absent)}"
    else:
        said = f"found {_quote(observed)}"
    if not isinstance(observed, (int, float, str)):
        observed = None
    return CheckResult(
        clause.id,
        claim,
        status,
        observed=observed,
        limit=limit,
        reason="" if status is Status.PASSED else f"{said}; rule: {claim}",
        details=details,
    )


def _exception(info: Mapping[str, Any]) -> str:
    """Return the exception's first line; it lies flat, or below each metric's id."""
    for part in (info, *(value for value in info.values() if isinstance(value, Mapping))):
        if part.get("raised_exception"):
            lines = str(part.get("exception_message") or "no message").splitlines()
            return lines[0][:_MAXIMUM_MESSAGE]
    return ""


def _claim(clause: _Clause) -> str:
    if clause.description:
        return clause.description
    kwargs, column = clause.kwargs, clause.kwargs.get("column")
    mostly = kwargs.get("mostly", 1)
    most = (
        f" in at least {_percent(mostly)} of rows"
        if isinstance(mostly, (int, float)) and mostly < 1
        else ""
    )
    span = _range(kwargs)
    match clause.type:
        case "expect_table_row_count_to_be_between":
            return f"The table has {span} rows"
        case "expect_column_values_to_not_be_null":
            return f"{column} is filled{most}" if most else f"{column} is never missing"
        case "expect_column_values_to_be_unique":
            return f"No value of {column} comes twice{most}"
        case "expect_column_values_to_be_between":
            return f"{column} is {span}{most}"
        case "expect_column_values_to_be_in_set":
            return f"{column} is one of {_listed(kwargs.get('value_set'))}{most}"
        case "expect_column_distinct_values_to_contain_set":
            return f"{column} takes each of {_listed(kwargs.get('value_set'))}"
    words = re.sub(r"^expect_(column_)?", "", clause.type).replace("_", " ")
    given = ", ".join(
        f"{key} = {_quote(value)}" for key, value in kwargs.items() if key not in ("column",)
    )
    return f"{column or 'The table'}: {words}" + (f" ({given})" if given else "")


def _range(kwargs: Mapping[str, Any]) -> str:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if low is not None and high is not None:
        return f"between {_number(low)} and {_number(high)}"
    if low is not None:
        return f"at least {_number(low)}"
    return f"at most {_number(high)}" if high is not None else ""


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


def _listed(values: Any) -> str:
    listed = list(values) if isinstance(values, Iterable) else []
    shown = ", ".join(_quote(value) for value in listed[:MAXIMUM_EXAMPLES])
    more = len(listed) - MAXIMUM_EXAMPLES
    return f"{shown} and {more} more" if more > 0 else shown


def _names(names: Sequence[str]) -> str:
    more = len(names) - _MAXIMUM_NAMES
    return ", ".join(names[:_MAXIMUM_NAMES]) + (f" and {more} more" if more > 0 else "")


def _examples(values: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(_quote(_jsonable(value)) for value in values))[:MAXIMUM_EXAMPLES]


def _quote(value: Any) -> str:
    text = repr(value) if not hasattr(value, "isoformat") else str(value)
    return text if len(text) <= _MAXIMUM_VALUE else text[: _MAXIMUM_VALUE - 1] + "…"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


_STYLE = """
<style>
/* The part of Bootstrap 4's grid and tables that this page needs, so that it opens offline. */
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: #212529; background: #fff; }
.container, .container-fluid { width: 100%; max-width: 1400px; margin: 0 auto; padding: 0 15px; }
.row { display: flex; flex-wrap: wrap; margin: 0 -15px; }
.row > * { padding: 0 15px; width: 100%; }
@media (min-width: 900px) {
  .col-lg-2, .col-2 { flex: 0 0 17%; max-width: 17%; }
  .col-lg-10, .col-10 { flex: 0 0 83%; max-width: 83%; }
  .col-md-6, .col-lg-6, .col-6 { flex: 0 0 50%; max-width: 50%; }
  .col-md-4, .col-lg-4, .col-4 { flex: 0 0 33.3%; max-width: 33.3%; }
  .col-md-8, .col-lg-8, .col-8 { flex: 0 0 66.6%; max-width: 66.6%; }
}
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { padding: .4rem .7rem; border-top: 1px solid #dee2e6; text-align: left; }
th, td { vertical-align: top; overflow-wrap: anywhere; }
td:first-child { white-space: nowrap; }
th { white-space: nowrap; }
h1, h2, h3, h4, h5, h6 { margin: 1rem 0 .4rem; line-height: 1.25; }
h5 { font-size: 1.15rem; } h6 { font-size: 1rem; }
.badge { padding: .1rem .4rem; border-radius: .25rem; font-size: 85%; background: #e9ecef; }
.badge-secondary { background: #6c757d; color: #fff; }
.alert { padding: .6rem 1rem; margin: .5rem 0; border-radius: .25rem; background: #f1f3f5; }
.text-success { color: #1e7e34; } .text-danger, .text-warning { color: #bd2130; }
.fa-check-circle::before { content: "\\2714"; } .fa-times::before { content: "\\2718"; }
.fa-exclamation-triangle::before { content: "\\26A0"; }
.list-unstyled, .nav { list-style: none; padding: 0; }
a { color: #0056b3; text-decoration: none; }
.sticky { top: 10px; max-height: 95vh; overflow: auto; }
.d-none:not(.d-md-block) { display: none; }
/* What needs scripts, or leads to pages that are not kept. */
footer, .navbar.sticky-top, .card.mb-3, [data-toggle="collapse"] { display: none; }
</style>
"""


def _offline(page: str) -> str:
    """Drop what the page would fetch, and what only works with it."""
    page = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)
    page = re.sub(r"<link\b[^>]*>", "", page)
    page = re.sub(r"<img\b[^>]*>", "", page)
    page = re.sub(r"url\('https?:[^']*'\)", "none", page)
    page = re.sub(r'<a\b[^>]*href="(\.\./|https?:)[^>]*>(.*?)</a>', r"\2", page, flags=re.DOTALL)
    return page.replace("</head>", f"{_STYLE}</head>", 1)
