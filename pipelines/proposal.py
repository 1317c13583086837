"""A first project from a table: roles, contract, split and limits, and what deserves a look.

Everything that depends on the target's values is measured on the rows to learn from; the
rows that the gate will seal lend their columns' types, ranges and levels to the contract,
and nothing else.
"""

import json
import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from pipelines.data import Dataset, DataSettings
from pipelines.errors import DataError
from pipelines.features import labels, roles_of
from pipelines.limits import Limits, Yardstick, measure, measure_earlier, propose_limits
from pipelines.screening import alone, screened
from pipelines.split import learning_rows

MAXIMUM_LEVELS = 50
"""Most levels that a contract lists; beyond, a new level is no news."""

SUSPECT, CERTAIN = 0.75, 0.995
"""Area under the ROC curve of one column alone: worth a question; too good to be known."""

_FEW = 20
_MOSTLY_DATES = _MOSTLY_NUMBERS = 0.9
_MOSTLY_MISSING = 0.5
_SCARCE_CLASS = 0.05
_SCARCE_ROWS = 30
_SHIFT = 0.10
_SHOWN = 5
_SHARES = (0.6, 0.8)
_NAMED_ID = re.compile(r"(^|_|\s)(id|uuid|guid|key)$|^index$|[a-z](ID|Id)$")
_POSITIVE = ("1", "true", "yes", "y", "positive", "t")


_PLAIN = {
    "minimum_support": "  # fewest sealed rows of each class",
    "overfit": "  # training score less sealed score, at most",
    "size_mb": "",
}
_SECTIONS = {
    "baseline": "Better than the commonest class, and not worse than an untuned logistic "
    "regression by two points and what chance may take; 0.0 asks that the search was worth it.",
    "slices": "Lowest share of right answers in any slice of one or two columns that is large "
    "enough to tell.",
    "calibration": "How far the probabilities may be from what happens.",
    "latency": "Medians of a freshly loaded copy, for one row and for 1,000, in milliseconds.",
    "robustness": "Share of answers that a little noise may change, and accuracy that may be "
    "lost with one cell in twenty empty.",
}


@dataclass(frozen=True)
class Proposal:
    """What `init` writes and says.

    Parameters
    ----------
    project_text : str
        ``tidegate.toml``, with comments where a human should decide.
    contract : dict
        A Great Expectations 1.x suite as JSON values.
    guesses : tuple of str
        What was inferred, one sentence each.
    warnings : tuple of str
        What deserves a look, the most serious first.
    """

    project_text: str
    contract: dict[str, Any]
    guesses: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass
class _Findings:
    """What the profile of the table adds up to, while it is being made."""

    id: str | None = None
    drop: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    dates: dict[str, "pd.Series[Any]"] = field(default_factory=dict)


def propose(
    frame: pd.DataFrame,
    *,
    source: str,
    target: str,
    time: str | None,
    name: str,
    query: str | None = None,
    encoding: str = "utf-8",
) -> Proposal:
    """Infer a project from a table.

    Parameters
    ----------
    frame : DataFrame, (n_rows, n_columns)
        As `pipelines.data.read` gives it: the time column holds instants.
    source, query, encoding : str
        As ``[data]`` will state them.
    target, time : str
        Column names.
    name : str
        Of the model and the contract.

    Returns
    -------
    Proposal

    Raises
    ------
    DataError
        The target is a measurement, or the table cannot be split or learned from.
    """
    _refuse_measurement(frame[target])
    found = _profile(frame, target, time)
    split, split_words = _split(frame, time)
    positive = _positive(frame[target])
    settings = DataSettings.model_validate(
        {
            "source": source,
            "query": query,
            "target": target,
            "positive": positive,
            "time": time,
            "id": found.id,
            "drop": found.drop,
            "encoding": encoding,
            "split": split,
        }
    )
    parts = learning_rows(Dataset(frame=frame, settings=settings, fingerprint="", origin=source))
    leaks, suspects = _leaks(parts.train, found, target, time, settings)
    settings = settings.model_copy(update={"drop": {**found.drop, **leaks}})
    roles = roles_of(frame, settings)
    yardsticks = [measure(parts.train, parts.validation, target, roles)]
    if time is not None:
        yardsticks += measure_earlier(parts.train, time, target, roles)
    yardstick = yardsticks[0]
    sealed = round(len(frame) * _sealed_share(frame, time, split))
    limits = propose_limits(yardsticks, sealed)
    notes = [
        *suspects,
        *_target_warnings(frame, target, parts.train, time),
        *found.warnings,
        *_row_warnings(frame, found.id, time),
        *_yardstick_warnings(yardstick, limits),
    ]
    guesses = (
        f"{len(frame):,} rows, {len(frame.columns)} columns; target {target} with "
        f"{frame[target].nunique()} classes: {_shares(frame[target])}",
        f"{len(roles.numeric)} columns are numbers: {_names(roles.numeric)}",
        f"{len(roles.categorical)} columns are text: {_names(roles.categorical)}",
        *([f"{found.id} names the row: unique in every one"] if found.id else []),
        *([f"dropped: {_names(list(settings.drop))}"] if settings.drop else []),
        f"split: {split_words}",
        f"an untuned logistic regression reaches accuracy {yardstick.accuracy:.3f} on the "
        f"{yardstick.rows:,} validation rows, where {yardstick.majority:.3f} are of one class; "
        "the gate's first limits lie between",
    )
    text = _project_text(settings, split, split_words, yardsticks, suspects, name, sealed, limits)
    return Proposal(text, _contract(frame, settings, name), guesses, tuple(notes))


def _refuse_measurement(target: "pd.Series[Any]") -> None:
    values = target.dropna()
    if types.is_float_dtype(values) and values.nunique() > _FEW and (values % 1 != 0).any():
        raise DataError(
            "The target is a class: a few values, each with many rows.",
            found=f"{target.name} is a measurement with {values.nunique():,} different values",
            next_move="name another column with --target, or cut this one into classes first",
        )


def _profile(frame: pd.DataFrame, target: str, time: str | None) -> _Findings:
    found = _Findings()
    candidates: list[str] = []
    for name in map(str, frame.columns):
        if name in (target, time):
            continue
        series = frame[name]
        present = series.dropna()
        levels = present.nunique()
        missing = 1 - len(present) / max(len(series), 1)
        if present.empty:
            found.drop[name] = "no value in any row"
            found.warnings.append(f"{name} is all missing: dropped")
        elif types.is_datetime64_any_dtype(series):
            found.dates[name] = series
            found.drop[name] = "a date, which no model here reads as it is"
        elif levels == 1 and missing == 0:
            found.drop[name] = "the same value in every row"
            found.warnings.append(f"{name} is constant ({_quote(present.iloc[0])}): dropped")
        elif levels == len(series) and not types.is_float_dtype(series):
            if _NAMED_ID.search(name):
                candidates.append(name)
            if _is_text(series):
                found.drop[name] = "a different value in every row"
                found.warnings.append(f"{name} looks like an id: a different value in every row")
            elif name not in candidates:
                found.warnings.append(
                    f"{name} counts every row once: an id or a row number teaches nothing "
                    "about new rows; drop it, or name it as the id"
                )
        elif _is_text(series):
            _profile_text(name, present, levels, len(series), found)
        if _MOSTLY_MISSING < missing < 1 and name not in found.drop:
            found.warnings.append(f"{name} is {_percent(missing)} missing")
    if candidates:
        found.id = candidates[0]
        found.drop.pop(found.id, None)
        found.warnings = [w for w in found.warnings if not w.startswith(f"{found.id} looks")]
        for name in candidates[1:]:
            found.drop.setdefault(name, "a different value in every row")
    return found


def _profile_text(
    name: str, present: "pd.Series[Any]", levels: int, rows: int, found: _Findings
) -> None:
    text = present.astype(str)
    numbers = pd.to_numeric(text, errors="coerce")
    words = text[numbers.isna()]
    if _MOSTLY_NUMBERS <= 1 - len(words) / len(text) < 1:
        found.warnings.append(
            f"{name} holds numbers, and stray words in {len(words):,} of {rows:,} rows: "
            f"{_quoted(words)}; read as text until they are mended"
        )
        return
    dates = _as_dates(text) if numbers.isna().any() else None
    if dates is not None:
        strays = text[dates.isna()]
        found.dates[name] = dates
        found.drop[name] = "a date as text, which no model here reads as it is"
        if len(strays):
            found.warnings.append(
                f"{name} holds dates, and {len(strays):,} of {rows:,} rows that do not parse: "
                f"{_quoted(strays)}"
            )
    elif levels > max(MAXIMUM_LEVELS, rows // 2):
        found.drop[name] = "a different value in nearly every row"
        found.warnings.append(
            f"{name} looks like an id or free text: {levels:,} different values in "
            f"{rows:,} rows; dropped"
        )
    elif levels > MAXIMUM_LEVELS:
        found.warnings.append(
            f"{name} has {levels:,} levels: the rare ones are learnt as one, and the contract "
            "does not list them"
        )


def _as_dates(text: "pd.Series[Any]") -> "pd.Series[Any] | None":
    """Return the instants that most of a column's text stands for, if it is dates."""
    first = text.iloc[:: max(len(text) // 200, 1)]
    if not first.str.contains(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}").mean() >= _MOSTLY_DATES:
        return None
    for form in ("ISO8601", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%Y/%m/%d"):
        dates = pd.to_datetime(text, errors="coerce", format=form, utc=True)
        if dates.notna().mean() >= _MOSTLY_DATES:
            return dates.dt.tz_localize(None)
    return None


def _split(frame: pd.DataFrame, time: str | None) -> tuple[dict[str, Any], str]:
    if time is None:
        return (
            {"method": "random", "validation": 0.2, "sealed": 0.2},
            "random, 60 % to learn from, 20 % to choose by, 20 % sealed for the gate",
        )
    instants = frame[time].dropna().sort_values()
    validation, sealed = (_boundary(instants, share) for share in _SHARES)
    if validation >= sealed or validation <= instants.iloc[0]:
        validation, sealed = (instants.iloc[int(len(instants) * share)] for share in _SHARES)
    if not instants.iloc[0] < validation < sealed:
        raise DataError(
            "A split by time needs three stretches of time, one after the other.",
            found=f"{time} has {instants.nunique():,} different instants in {len(instants):,} rows",
            next_move="leave out --time for a random split, or give a finer time column",
        )
    return (
        {
            "method": "time",
            "validation_from": validation.to_pydatetime(),
            "sealed_from": sealed.to_pydatetime(),
        },
        f"by {time}: choose on the rows from {_instant(validation)}, seal those from "
        f"{_instant(sealed)} for the gate, learn from what came before",
    )


def _boundary(instants: "pd.Series[Any]", share: float) -> pd.Timestamp:
    """Return the turn of a month, a day or an hour that is nearest in rows to a share."""
    at = pd.Timestamp(instants.iloc[int(len(instants) * share)])
    span = instants.iloc[-1] - instants.iloc[0]
    if span >= pd.Timedelta(days=150):
        start = at.normalize().replace(day=1)
        turns = [start, start + pd.DateOffset(months=1)]
    elif span >= pd.Timedelta(days=6):
        turns = [at.normalize(), at.normalize() + pd.Timedelta(days=1)]
    else:
        turns = [at.floor("h"), at.ceil("h")]
    return min(turns, key=lambda turn: abs(float((instants < turn).mean()) - share))


def _sealed_share(frame: pd.DataFrame, time: str | None, split: Mapping[str, Any]) -> float:
    if time is None:
        return float(split["sealed"])
    return float((frame[time] >= split["sealed_from"]).mean())


def _positive(target: "pd.Series[Any]") -> bool | int | str | None:
    """Guess the class of interest: the one that says yes, else the rarer."""
    counts = target.value_counts()
    if len(counts) != 2 or types.is_float_dtype(target):
        return None
    named = [label for label in map(_item, counts.index) if str(label).lower() in _POSITIVE]
    return named[0] if named else _item(counts.index[-1])


def _item(label: Any) -> bool | int | str:
    """Return a label as the project file can write it."""
    value: Any = label.item() if isinstance(label, np.generic) else label
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, (bool, int, str)) else str(value)


def _leaks(
    train: pd.DataFrame,
    found: _Findings,
    target: str,
    time: str | None,
    settings: DataSettings,
) -> tuple[dict[str, str], list[str]]:
    """Find columns that know the answer; the certain ones are to be dropped."""
    train = train.iloc[screened(len(train))]
    answers = labels(train[target])
    skipped = {target, time, settings.id, *settings.drop}
    scores = alone(train, answers, [str(name) for name in train.columns if name not in skipped])
    leaks: dict[str, str] = {}
    said: list[tuple[float, str]] = []
    for name, score in scores.items():
        if score >= CERTAIN:
            leaks[name] = f"predicts {target} alone (area under the ROC curve {score:.3f})"
            said.append(
                (
                    score,
                    f"{name} predicts {target} alone (area under the ROC curve {score:.3f}), as "
                    "what is written down afterwards does: dropped; keep it if it is known "
                    "when a prediction is made",
                )
            )
        elif score >= SUSPECT:
            said.append(
                (
                    score,
                    f"{name} alone ranks {target} with area under the ROC curve {score:.2f}: "
                    "is it known when a prediction is made? if not, drop it",
                )
            )
    said.extend(_date_leaks(train, found, target, time, answers))
    if set(scores) <= set(leaks):
        leaks = {}
    return leaks, [text for _, text in sorted(said, key=lambda pair: -pair[0])]


def _date_leaks(
    train: pd.DataFrame,
    found: _Findings,
    target: str,
    time: str | None,
    answers: np.ndarray,
) -> Iterable[tuple[float, str]]:
    """Find dates that lie after the row's own time, or whose distance to another date tells."""
    dates = {name: values.reindex(train.index) for name, values in found.dates.items()}
    if time is not None:
        dates = {time: train[time], **dates}
    # Two dates at a time: what leaks is how long something lasted, not when it was.
    for position, later in enumerate(dates):
        best, partner = 0.0, ""
        for earlier in list(dates)[:position]:
            lasted = (_naive(dates[later]) - _naive(dates[earlier])).dt.total_seconds()
            score = alone(pd.DataFrame({earlier: lasted}), answers, [earlier])[earlier]
            if score > best:
                best, partner = score, earlier
        after = 0.0
        if time is not None and later != time:
            after = float((_naive(dates[later]) > _naive(train[time])).mean())
        if best >= SUSPECT:
            yield (
                best,
                f"the time from {partner} to {later} ranks {target} with area under the ROC "
                f"curve {best:.3f}: {later} seems to be written down afterwards; it is dropped "
                "and should stay so",
            )
        elif after > 0:
            yield (
                SUSPECT,
                f"{later} lies after {time} in {_percent(after)} of rows: is it known when a "
                "prediction is made?",
            )


def _naive(instants: "pd.Series[Any]") -> "pd.Series[Any]":
    zoned = isinstance(instants.dtype, pd.DatetimeTZDtype)
    return instants.dt.tz_convert("UTC").dt.tz_localize(None) if zoned else instants


def _target_warnings(
    frame: pd.DataFrame, target: str, train: pd.DataFrame, time: str | None
) -> Iterable[str]:
    series = frame[target]
    counts = series.value_counts()
    rarest, count = counts.index[-1], int(counts.iloc[-1])
    if count / len(series) < _SCARCE_CLASS or count < _SCARCE_ROWS:
        yield (
            f"the class {_quote(rarest)} has {count:,} of {len(series):,} rows "
            f"({_percent(count / len(series))}): accuracy says little about it, its recall does"
        )
    if time is not None:
        ordered = train.sort_values(time)[target]
        fifth = max(len(ordered) // 5, 1)
        first = ordered.iloc[:fifth].value_counts(normalize=True)
        last = ordered.iloc[-fifth:].value_counts(normalize=True)
        moved = last.sub(first, fill_value=0.0).abs()
        most: Any = moved.idxmax()
        if moved.max() >= _SHIFT:
            yield (
                f"the share of {_quote(most)} in {target} moves over time, from "
                f"{_percent(float(first.get(most, 0.0)))} to {_percent(float(last.get(most, 0.0)))}"
                " between the first and the last fifth of the rows to learn from"
            )


def _row_warnings(frame: pd.DataFrame, id_column: str | None, time: str | None) -> Iterable[str]:
    rows = frame.drop(columns=id_column) if id_column else frame
    duplicates = int(rows.duplicated().sum())
    if duplicates:
        yield (
            f"{duplicates:,} of {len(frame):,} rows repeat an earlier one: "
            "copies share a side of the split, and count more than once in every score"
        )
    if time is None:
        dates = [str(n) for n in frame.columns if types.is_datetime64_any_dtype(frame[n])]
        if dates:
            yield (
                f"{_names(dates)} could order the rows: with --time {dates[0]} the gate judges "
                "the future by the past, as use will"
            )


def _yardstick_warnings(yardstick: Yardstick, limits: Limits) -> Iterable[str]:
    if yardstick.accuracy <= yardstick.majority:
        yield (
            f"a logistic regression ({yardstick.accuracy:.3f}) does not beat always naming the "
            f"most frequent class ({yardstick.majority:.3f}): the columns may not tell"
        )
    for label in sorted(yardstick.recall.keys() - limits.recall.keys()):
        yield (
            f"the yardstick finds next to nothing of the class {label!r}: decide in "
            "[gate.recall] what a model must find"
        )


def _contract(frame: pd.DataFrame, settings: DataSettings, name: str) -> dict[str, Any]:
    columns = [str(column) for column in frame.columns]
    expectations = [
        _expectation("expect_table_columns_to_match_set", column_set=columns, exact_match=True),
        _expectation("expect_table_row_count_to_be_between", min_value=max(len(frame) // 2, 1)),
    ]
    for column in columns:
        series = frame[column]
        if series.isna().all():
            continue
        kind = _type(series)
        if kind:
            expectations.append(kind)
        if column in settings.drop:
            continue
        expectations.extend(_column_rules(column, series, settings))
    return {"name": name, "expectations": expectations, "meta": {"written_by": "tidegate init"}}


def _column_rules(
    column: str, series: "pd.Series[Any]", settings: DataSettings
) -> Iterable[dict[str, Any]]:
    missing = float(series.isna().mean())
    named = column in (settings.target, settings.time, settings.id)
    # A share may vary from file to file; where there was none, one cell in a hundred may go.
    allowed = 0.0 if named else min(math.ceil(round(missing * 150 + 1, 9)) / 100, 1.0)
    if allowed < 1:
        yield _expectation("expect_column_values_to_not_be_null", column=column, **_mostly(allowed))
    if column == settings.id:
        yield _expectation("expect_column_values_to_be_unique", column=column)
    elif column == settings.target:
        classes = _levels(series)
        yield _expectation("expect_column_values_to_be_in_set", column=column, value_set=classes)
        yield _expectation(
            "expect_column_distinct_values_to_contain_set", column=column, value_set=classes
        )
    elif _is_text(series):
        levels = _levels(series)
        if len(levels) <= MAXIMUM_LEVELS:
            yield _expectation(
                "expect_column_values_to_be_in_set",
                column=column,
                value_set=levels,
                **_mostly(0.01),
            )
    elif types.is_numeric_dtype(series) and not types.is_bool_dtype(series):
        low, high = _range(series)
        yield _expectation(
            "expect_column_values_to_be_between",
            column=column,
            min_value=low,
            max_value=high,
            **_mostly(0.01),
        )


def _expectation(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": kwargs, "meta": {}}


def _mostly(allowed: float) -> dict[str, float]:
    """Return the share that must hold; rounded down, so that the data itself passes."""
    return {"mostly": math.floor((1 - allowed) * 1e4) / 1e4} if allowed > 0 else {}


def _type(series: "pd.Series[Any]") -> dict[str, Any] | None:
    """State the type by the names that Great Expectations knows for it.

    Whole numbers may come as floats, since one missing cell makes them so.
    """
    column, dtype = str(series.name), series.dtype
    of_type = "expect_column_values_to_be_of_type"
    any_of = "expect_column_values_to_be_in_type_list"
    if types.is_bool_dtype(dtype) or types.infer_dtype(series, skipna=True) == "boolean":
        return _expectation(of_type, column=column, type_="bool")
    if isinstance(dtype, pd.CategoricalDtype):
        return _expectation(of_type, column=column, type_="CategoricalDtypeType")
    if isinstance(dtype, pd.DatetimeTZDtype):
        return None
    if types.is_datetime64_any_dtype(dtype):
        units = [f"datetime64[{unit}]" for unit in ("s", "ms", "us", "ns")]
        return _expectation(any_of, column=column, type_list=units)
    if types.is_numeric_dtype(dtype):
        names = sorted({"int64", "float64", str(dtype).lower()})
        return _expectation(any_of, column=column, type_list=names)
    if types.infer_dtype(series, skipna=True) == "string":
        return _expectation(of_type, column=column, type_="str")
    return None


def _levels(series: "pd.Series[Any]") -> list[Any]:
    values = [_item(value) for value in series.dropna().unique()]
    return sorted(values, key=lambda value: (str(type(value)), value))


def _range(series: "pd.Series[Any]") -> tuple[float | int, float | int]:
    """Widen what was seen by a quarter; what is never negative stays so."""
    low, high = float(series.min()), float(series.max())
    values = series.dropna()
    whole = bool((values % 1 == 0).all())
    if whole and low == 0 and high == 1:
        return 0, 1
    # A narrow range far from zero, such as years, is given a hundredth of its size.
    slack = max((high - low) / 4, max(abs(low), abs(high)) / 100)
    bottom = low - slack if low < 0 else max(low - slack, 0.0)
    top = min(high + slack, 0.0) if high <= 0 else high + slack
    if whole:
        return math.floor(bottom), math.ceil(top)
    digits = 2 - math.floor(math.log10(slack)) if slack > 0 else 0
    scale = 10.0 ** min(max(digits, -12), 12)
    return math.floor(bottom * scale) / scale, math.ceil(top * scale) / scale


def _project_text(
    settings: DataSettings,
    split: Mapping[str, Any],
    split_words: str,
    yardsticks: Sequence[Yardstick],
    suspects: Sequence[str],
    name: str,
    sealed: int,
    limits: Limits,
) -> str:
    yardstick = yardsticks[0]
    balanced = len(yardstick.recall) * min(c for _, c in yardstick.recall.values())
    scarce = balanced / yardstick.rows < 0.4
    earlier = "".join(
        f"On the latest rows to learn from, learning from those before: {each.accuracy:.3f} and "
        f"{each.balanced_accuracy:.3f}. "
        for each in yardsticks[1:]
    )
    lines = [
        "# Written by `tidegate init`; yours to change. Every setting, with its default and",
        "# where it came from: tidegate config",
        "",
        "[data]",
        f"source = {_toml(settings.source)}",
        *([f"query = {_toml(settings.query)}"] if settings.query else []),
        *([f"encoding = {_toml(settings.encoding)}"] if settings.encoding != "utf-8" else []),
        f"target = {_toml(settings.target)}",
        *(
            [f"positive = {_toml(settings.positive)}  # the class that matters: check the guess"]
            if settings.positive is not None
            else []
        ),
        *([f"time = {_toml(settings.time)}"] if settings.time else []),
        *([f"id = {_toml(settings.id)}"] if settings.id else []),
    ]
    if suspects:
        lines += ["", "# Look at these before you trust a result:"]
        for suspect in suspects:
            lines += _comment(f"- {suspect}", indent="  ")
    lines += [
        "",
        "# Columns that no model sees, each with its reason. Add what is not yet known when a",
        "# prediction is made.",
        "[data.drop]",
        *(f"{_key(column)} = {_toml(reason)}" for column, reason in settings.drop.items()),
        "",
        *_comment(f"{split_words[0].upper()}{split_words[1:]}."),
        "[data.split]",
        *(f"{key} = {_toml(value)}" for key, value in split.items()),
        "",
        "[validate]",
        'contract = "contract.json"',
        "",
        "[train]",
        "trials = 40",
        "seed = 0",
        f"scoring = {_toml('balanced_accuracy' if scarce else 'accuracy')}",
        "",
        *_comment(
            "The sealed rows judge the model once. The first limits come from an untuned "
            f"logistic regression on the {yardstick.rows:,} validation rows: accuracy "
            f"{yardstick.accuracy:.3f}, balanced accuracy {yardstick.balanced_accuracy:.3f}, "
            f"where {yardstick.majority:.3f} are of one class. {earlier}They keep out a broken "
            "model; what a good one must reach is your decision."
        ),
        "[gate]",
        f"minimum_rows = {_rounded_down(sealed / 2)}",
        *(['scoring = "balanced_accuracy"  # one class is rare'] if scarce else []),
        *(
            f"{key} = {limits.values[key]:g}{says}"
            for key, says in _PLAIN.items()
            if key in limits.values
        ),
        "",
        "# Each limit is held against the end of its 95% interval: a lucky set does not pass.",
        "[gate.metrics]",
        *(f"{metric} = {{ min = {limit:.2f} }}" for metric, limit in limits.metrics.items()),
    ]
    if limits.recall:
        lines += [
            "",
            "# Lowest share of each class that must be found.",
            "[gate.recall]",
            *(f"{_key(label)} = {limit:.2f}" for label, limit in limits.recall.items()),
        ]
    for section, says in _SECTIONS.items():
        values = {
            key.partition(".")[2]: value
            for key, value in limits.values.items()
            if key.startswith(f"{section}.")
        }
        if values:
            lines += ["", *_comment(says), f"[gate.{section}]"]
            lines += ["majority = 0.0"] if section == "baseline" else []
            lines += [f"{key} = {value:g}" for key, value in values.items()]
    lines += ["", "[deploy]", f"model = {_toml(name)}", ""]
    return "\n".join(lines)


def _rounded_down(value: float) -> int:
    if value < 20:
        return max(int(value), 2)
    scale = 10 ** (int(math.log10(value)) - 1)
    return int(value // scale * scale)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return str(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _comment(text: str, *, indent: str = "") -> list[str]:
    # A column's name may hold a line break, which would end the comment.
    printable = "".join(c if c.isprintable() else " " for c in text)
    lines = textwrap.wrap(printable, 90, subsequent_indent=indent, break_on_hyphens=False)
    return [f"# {line}" for line in lines]


def _is_text(series: "pd.Series[Any]") -> bool:
    return (
        types.is_object_dtype(series)
        or types.is_string_dtype(series)
        or isinstance(series.dtype, pd.CategoricalDtype)
    ) and types.infer_dtype(series, skipna=True) != "boolean"


def _instant(value: pd.Timestamp) -> str:
    return value.date().isoformat() if value == value.normalize() else value.isoformat(sep=" ")


def _shares(target: "pd.Series[Any]") -> str:
    shares = target.value_counts(normalize=True)
    said = [f"{_quote(label)} {_percent(share)}" for label, share in shares.iloc[:_SHOWN].items()]
    return ", ".join(said) + (", ..." if len(shares) > _SHOWN else "")


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[: 2 * _SHOWN])
    more = len(names) - 2 * _SHOWN
    return (f"{shown} and {more} more" if more > 0 else shown) or "none"


def _quoted(values: "pd.Series[Any]") -> str:
    return ", ".join(_quote(value) for value in values.unique()[:_SHOWN])


def _quote(value: Any) -> str:
    text = repr(_item(value))
    return text if len(text) <= 40 else text[:39] + "…"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
