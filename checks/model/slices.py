"""Where does the model do worse than it seems to on all rows together?

A slice is the rows that one or two conditions choose: ``carrier = UA and distance <= 305``.
Many are tested, and of many some are bad by chance, so each rule corrects for all the slices
that it tested, whether the report shows them or not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from checks.model.answers import Answers, NotJudgedError
from checks.model.evidence import Champion
from checks.model.interval import Interval, share_interval
from checks.model.paired import Pair
from checks.model.rule import Finding, Rule
from checks.model.settings import SliceSettings
from checks.model.wording import apart, counted, nearest
from checks.result import CheckResult, Status

MOST_SHOWN = 20
"""Most slices that a result lists."""

_BINS = 5
_LEVELS = 20
# All pairs of more columns would take minutes; which columns are paired must not hang on how
# the model did there, or the correction for the number of tests would not hold.
_PAIRED = 100
_LONGEST_VALUE = 60


@dataclass(frozen=True)
class Slice:
    """Rows that one or two conditions choose, and how the model did there.

    Parameters
    ----------
    conditions : tuple of str
        Such as ``("carrier = UA", "distance <= 305")``.
    rows, right : int
        How many rows, and how many of them were answered rightly.
    share : float
        The one by the other.
    interval : tuple of two floats
        Wilson's, of this slice alone.
    p : float
        How probable so few right answers are, or fewer, were the true share what is asked;
        of this slice alone.
    """

    conditions: tuple[str, ...]
    rows: int
    right: int
    share: float
    interval: Interval
    p: float

    @property
    def name(self) -> str:
        """The conditions as one text."""
        return " and ".join(self.conditions)

    def to_dict(self) -> dict[str, Any]:
        """Return the slice as JSON-able values."""
        return {
            "slice": self.name,
            "rows": self.rows,
            "right": self.right,
            "share": self.share,
            "interval": list(self.interval),
            "p": self.p,
        }


@dataclass(frozen=True, eq=False)
class Levels:
    """A column cut into the conditions that its rows meet, one for each row.

    Parameters
    ----------
    conditions : tuple of str
    codes : ndarray of shape (n_rows,)
        Which of the conditions each row meets.
    """

    conditions: tuple[str, ...]
    codes: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Family:
    """The m slices that are tested together.

    Parameters
    ----------
    conditions : tuple of str
        Of all columns, one after the other.
    first, second : ndarrays of shape (m,)
        The conditions of each slice, as positions; the second is -1 where there is none.
    counts : ndarray of shape (m, n_outcomes)
        How many rows of each slice had each outcome.
    small : int
        How many single conditions have too few rows to be tested.
    """

    conditions: tuple[str, ...]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    counts: NDArray[np.int64]
    small: int

    def __len__(self) -> int:
        return len(self.first)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Shape (m,): the rows of each slice."""
        rows: NDArray[np.int64] = self.counts.sum(axis=1)
        return rows

    def named(self, number: int) -> tuple[str, ...]:
        """Return the conditions of a slice."""
        places = (int(self.first[number]), int(self.second[number]))
        return tuple(self.conditions[place] for place in places if place >= 0)

    def shortest(
        self, chosen: NDArray[np.int64], bad: NDArray[np.int64], alpha: float
    ) -> NDArray[np.int64]:
        """Leave out the pairs that only repeat what one of their conditions alone shows.

        A pair stays when it has significantly more bad rows than it would have at the rate of
        either single condition that is itself among those chosen.

        Parameters
        ----------
        chosen : ndarray of shape (n_chosen,)
            Positions of slices.
        bad : ndarray of shape (m,)
            Bad rows of each slice.
        alpha : float
        """
        from scipy.stats import binom

        single = self.second[chosen] < 0
        alone = np.full(len(self.conditions), -1)
        alone[self.first[chosen[single]]] = chosen[single]
        pairs = chosen[~single]
        stays = np.ones(len(chosen), dtype=bool)
        for side in (self.first, self.second):
            parent = alone[side[pairs]]
            rate = bad[parent] / self.rows[parent]
            worse = binom.sf(bad[pairs] - 1, self.rows[pairs], rate) * len(pairs) <= alpha
            stays[~single] &= (parent < 0) | worse
        return chosen[stays]


def find_slices(
    frame: pd.DataFrame,
    right: NDArray[np.bool_],
    *,
    minimum_rows: int,
    columns: Sequence[str] | None = None,
    depth: int = 2,
    minimum: float | None = None,
    confidence: float = 0.95,
    most: int = MOST_SHOWN,
) -> tuple[Slice, ...]:
    """Return the slices in which a model does worst, the least probable by chance first.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        Numbers are cut at their fifths, of categories the 20 commonest values stand alone,
        and missing values are a slice of their own.
    right : ndarray of bool, shape (n_rows,)
        Which rows were answered rightly.
    minimum_rows : int
        Fewest rows of a slice.
    columns : sequence of str, optional
        Which to search, by default all.
    depth : {1, 2}
        Whether pairs of conditions are searched; of more than 100 columns, pairs of the first
        100.
    minimum : float, optional
        The share that `Slice.p` asks about; by default that of all rows.
    confidence : float
        Of the intervals, and of a pair being worse than its two conditions alone.
    most : int

    Raises
    ------
    NotJudgedError
        There is no such column, or not one answer for each row.
    """
    right = np.asarray(right, dtype=bool)
    family = _searched(frame, right.astype(np.int64), 2, minimum_rows, columns, depth)
    if not len(family):
        return ()
    p = _improbable(family, right.mean() if minimum is None else minimum)
    chosen = family.shortest(_worst_first(family, p), family.counts[:, 0], 1 - confidence)
    return tuple(_slice(family, number, p, confidence) for number in chosen[:most])


def check_slices(
    answers: Answers, frame: pd.DataFrame, settings: SliceSettings, *, confidence: float = 0.95
) -> tuple[CheckResult, ...]:
    """Judge whether the model does well enough in each declared slice and in each one found.

    A slice fails when an exact one-sided binomial test says that its true share is below the
    minimum, at a significance of 1 less ``confidence`` for all slices of the rule together
    (Holm 1979, Scand. J. Stat. 6, 65-70). So a model that does well enough everywhere is
    refused by chance with at most that probability, however many slices are searched.

    Parameters
    ----------
    answers : Answers
    frame : DataFrame of shape (n_rows, n_columns)
    settings : SliceSettings
    confidence : float

    Returns
    -------
    tuple of CheckResult
        ``slices[COLUMN]`` for each declared column, then ``slices`` for the search.
    """
    minimum = settings.minimum

    def find(columns: tuple[str, ...] | None) -> Finding:
        if minimum is None:
            raise NotJudgedError("gate.slices.minimum is not set")
        _refuse_other_length(frame, len(answers.truth))
        counted_rows = np.ones(len(frame), dtype=bool)
        if settings.recall is not None:
            counted_rows = answers.truth == answers.named(settings.recall)
        right = (answers.truth == answers.predicted)[counted_rows].astype(np.int64)
        rows = frame.loc[counted_rows]
        if columns is None:
            family = _searched(rows, right, 2, settings.minimum_rows, None, 2)
        else:
            family = _declared(rows, columns, right, 2, settings.minimum_rows)
        found = _judge_floor(family, minimum, settings, confidence)
        if columns is None or not family.small:
            return found
        have = "value has" if family.small == 1 else "values have"
        said = f"{family.small:,} {have} fewer than {settings.minimum_rows:,} rows: not judged."
        return replace(found, reason=f"{found.reason} {said}")

    of = "rows" if settings.recall is None else f"rows truly {settings.recall}"
    share = "" if minimum is None else f"{minimum:.4g} "
    declared = tuple(
        Rule(
            f"slices[{column}]",
            f"At least {share}of the {of} are right for each value of {column}",
            "at least",
            minimum,
        )
        for column in settings.columns
    )
    search = Rule(
        "slices", f"At least {share}of the {of} are right in every slice", "at least", minimum
    )
    if minimum is None:
        return tuple(rule.unasked("gate.slices.minimum") for rule in (*declared, search))
    results = [
        rule.judge(lambda column=column: find((column,)))  # type: ignore[misc]
        for rule, column in zip(declared, settings.columns, strict=True)
    ]
    if settings.search:
        results.append(search.judge(lambda: find(None)))
    else:
        results.append(search.beside("gate.slices.search is off in tidegate.toml."))
    return tuple(results)


def check_segments(
    answers: Answers,
    champion: Champion | str | None,
    frame: pd.DataFrame,
    settings: SliceSettings,
    *,
    confidence: float = 0.95,
    compared: NDArray[np.bool_] | None = None,
) -> CheckResult:
    """Judge whether the candidate is worse than the champion in no slice.

    A slice fails when more of its rows lost a right answer than won one, by more than
    ``gate.slices.behind`` of its rows, and an exact one-sided sign test on these two
    counts (McNemar 1947, Psychometrika 12, 153-157) says that it is no chance, at a
    significance of 1 less ``confidence`` for all slices together (Holm). Declared columns and
    found slices are tested as one.

    Parameters
    ----------
    answers : Answers
    champion : Champion, str or None
        None where none serves; a string says why it cannot be scored.
    frame : DataFrame of shape (n_rows, n_columns)
    settings : SliceSettings
    confidence : float
    compared : ndarray of bool, shape (n_rows,), optional
        On which rows the two are compared; by default those that the champion has not learned.
    """
    claim = "In no slice is the model worse than the champion"
    rule = Rule("segments", claim, "at most", settings.behind)
    if champion is None:
        return rule.beside("No champion serves yet.")
    if isinstance(champion, Champion) and champion.is_candidate:
        return rule.beside("The champion is the candidate itself.")
    if not settings.search and not settings.columns:
        return rule.beside("gate.slices.search is off in tidegate.toml, and no column is named.")

    def find() -> Finding:
        if isinstance(champion, str):
            raise NotJudgedError(champion)
        _refuse_other_length(frame, len(answers.truth))
        used = np.array(~champion.learned if compared is None else compared, dtype=bool)
        if settings.recall is not None:
            used &= answers.truth == answers.named(settings.recall)
        pair = Pair.of(answers, champion.predictions, "the champion's answers", used)
        outcome = 2 * pair.other_right + pair.right
        return _judge_behind(_compared(frame.loc[used], outcome, settings), settings, confidence)

    return rule.judge(find)


def _judge_floor(
    family: Family, minimum: float, settings: SliceSettings, confidence: float
) -> Finding:
    """Hold every slice against the lowest share."""
    _refuse_empty(family, settings.minimum_rows)
    p = _improbable(family, minimum)
    adjusted = holm(p)
    order = _worst_first(family, p)
    low = order[adjusted[order] <= 1 - confidence]
    listed = family.shortest(low if len(low) else order, family.counts[:, 0], 1 - confidence)
    shown = listed[:MOST_SHOWN]
    details = {
        "tested": len(family),
        "small": family.small,
        "below": len(low),
        "slices": [
            {**_slice(family, number, p, confidence).to_dict(), "adjusted": float(adjusted[number])}
            for number in shown
        ],
    }
    worst = _slice(family, int(shown[0]), p, confidence)
    of = counted(worst.rows, "row")
    if settings.recall is not None:
        of += f" truly {settings.recall}"
    said = f"{worst.name}: of {of} {worst.right:,} right"
    if len(low):
        observed, asked = apart(worst.share, minimum)
        said += f": {observed}, below the {asked} that is asked for"
        if len(listed) > 1:
            said += f"; {len(listed) - 1:,} more like it"
        said += f", of {counted(len(family), 'slice')} tested."
        return Finding(Status.FAILED, worst.share, said, minimum, details, worst.interval)
    said += f": {worst.share:.4f}"
    if worst.share < minimum:
        said += f", which may be chance among so many (p = {adjusted[shown[0]]:.2g})"
    said = f"{counted(len(family), 'slice')} tested. The worst, {said}."
    return Finding(Status.PASSED, worst.share, said, minimum, details, worst.interval)


def _judge_behind(family: Family, settings: SliceSettings, confidence: float) -> Finding:
    """Hold what every slice lost against the champion against the highest loss."""
    from scipy.stats import binom

    _refuse_empty(family, settings.minimum_rows)
    helpful, harmful = family.counts[:, 1], family.counts[:, 2]
    right, was = helpful + family.counts[:, 3], harmful + family.counts[:, 3]
    loss = (harmful - helpful) / family.rows
    p = binom.sf(harmful - 1, helpful + harmful, 0.5)
    adjusted = holm(p)
    order = np.lexsort((-loss, p))
    worse = order[adjusted[order] <= 1 - confidence]
    far = worse[loss[worse] > settings.behind]
    listed = family.shortest(far if len(far) else worse, harmful, 1 - confidence)
    details = {
        "tested": len(family),
        "small": family.small,
        "worse": len(far),
        "segments": [
            {
                "slice": " and ".join(family.named(number)),
                "rows": int(family.rows[number]),
                "candidate": float(right[number] / family.rows[number]),
                "champion": float(was[number] / family.rows[number]),
                "helpful": int(helpful[number]),
                "harmful": int(harmful[number]),
                "p": float(p[number]),
                "adjusted": float(adjusted[number]),
            }
            for number in listed[:MOST_SHOWN]
        ],
    }
    number = int(listed[0]) if len(listed) else int(order[0])
    said = (
        f"{' and '.join(family.named(number))}: of {counted(int(family.rows[number]), 'row')} "
        f"{right[number]:,} right, {was[number]:,} by the champion"
    )
    behind = float(loss[number])
    if len(far):
        observed, allowed = apart(behind, settings.behind)
        said += f": {observed} behind, more than the {allowed} that is allowed"
        if len(listed) > 1:
            said += f"; {len(listed) - 1:,} more like it"
        said += f", of {counted(len(family), 'slice')} tested."
        return Finding(Status.FAILED, behind, said, details=details)
    if len(worse):
        said = f"{counted(len(family), 'slice')} tested. Behind by no more than is allowed, {said}."
    elif behind > 0:
        said += f", which may be chance among so many (p = {adjusted[number]:.2g})"
        said = f"{counted(len(family), 'slice')} tested. The worst, {said}."
    else:
        said = f"{counted(len(family), 'slice')} tested, and none of them is behind."
    return Finding(Status.PASSED, behind, said, details=details)


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p-values adjusted for their number (Holm 1979, Scand. J. Stat. 6, 65-70)."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def _refuse_other_length(frame: pd.DataFrame, rows: int) -> None:
    if len(frame) != rows:
        raise NotJudgedError(f"{len(frame):,} rows of features, but {rows:,} of the truth")


def _refuse_empty(family: Family, minimum_rows: int) -> None:
    if not len(family):
        raise NotJudgedError(
            f"no slice has {counted(minimum_rows, 'row')}: too few rows to judge by"
        )


def _improbable(family: Family, minimum: float) -> NDArray[np.float64]:
    """Return the p-values of so few right answers, were the true share the minimum."""
    from scipy.stats import binom

    p: NDArray[np.float64] = binom.cdf(family.counts[:, 1], family.rows, minimum)
    return p


def _worst_first(family: Family, p: NDArray[np.float64]) -> NDArray[np.int64]:
    order: NDArray[np.int64] = np.lexsort((family.counts[:, 1] / family.rows, p))
    return order


def _slice(family: Family, number: int, p: NDArray[np.float64], confidence: float) -> Slice:
    rows, right = int(family.rows[number]), int(family.counts[number, 1])
    return Slice(
        family.named(number),
        rows,
        right,
        right / rows,
        share_interval(right, rows, confidence),
        float(p[number]),
    )


def _searched(
    frame: pd.DataFrame,
    outcome: NDArray[np.int64],
    outcomes: int,
    minimum_rows: int,
    columns: Sequence[str] | None,
    depth: int,
) -> Family:
    """Return the slices of a search over single columns and pairs."""
    _refuse_other_length(frame, len(outcome))
    places = range(frame.shape[1]) if columns is None else _places(frame, columns)
    cut = [levels(frame.iloc[:, place]) for place in places]
    return family_of(cut, outcome, outcomes, minimum_rows, depth)


def _declared(
    frame: pd.DataFrame,
    columns: Sequence[str],
    outcome: NDArray[np.int64],
    outcomes: int,
    minimum_rows: int,
) -> Family:
    """Return the slices of declared columns, each value for itself."""
    cut = [levels(frame.iloc[:, place], declared=True) for place in _places(frame, columns)]
    return family_of(cut, outcome, outcomes, minimum_rows, 1, whole=True)


def _compared(frame: pd.DataFrame, outcome: NDArray[np.int64], settings: SliceSettings) -> Family:
    """Return the slices of declared columns and those of a search, each once."""
    declared = _declared(frame, settings.columns, outcome, 4, settings.minimum_rows)
    if not settings.search:
        return declared
    found = _searched(frame, outcome, 4, settings.minimum_rows, None, 2)
    single = np.flatnonzero(found.second < 0)
    known = {(found.named(int(number)), *found.counts[number]) for number in single}
    new = np.array(
        [
            (declared.named(number), *declared.counts[number]) not in known
            for number in range(len(declared))
        ],
        dtype=bool,
    )
    return Family(
        (*found.conditions, *declared.conditions),
        np.concatenate([found.first, declared.first[new] + len(found.conditions)]),
        np.concatenate([found.second, declared.second[new]]),
        np.concatenate([found.counts, declared.counts[new]]),
        found.small + declared.small,
    )


def _places(frame: pd.DataFrame, columns: Sequence[str]) -> list[int]:
    names = [str(name) for name in frame.columns]
    for column in columns:
        if column not in names:
            raise NotJudgedError(
                f"there is no column {column!r} to slice by{nearest(column, names)}"
            )
    return [names.index(column) for column in columns]


def family_of(
    columns: Sequence[Levels],
    outcome: NDArray[np.int64],
    outcomes: int,
    minimum_rows: int,
    depth: int = 2,
    *,
    whole: bool = False,
) -> Family:
    """Return the slices of some columns that have rows enough, and fewer than all.

    A pair that chooses the same rows as one of its conditions alone is left out. Nothing here
    looks at the outcomes to choose, so a correction for the number of slices holds.

    Parameters
    ----------
    columns : sequence of Levels
    outcome : ndarray of shape (n_rows,)
        From 0 to ``outcomes`` less 1.
    outcomes : int
    minimum_rows : int
    depth : {1, 2}
    whole : bool
        Whether a condition that all rows meet is a slice too.
    """
    offsets = np.cumsum([0, *(len(column.conditions) for column in columns)])
    tables = [
        np.bincount(
            column.codes * outcomes + outcome, minlength=len(column.conditions) * outcomes
        ).reshape(-1, outcomes)
        for column in columns
    ]
    sizes = [table.sum(axis=1) for table in tables]
    first, second, counts = [], [], [np.empty((0, outcomes), dtype=np.int64)]
    for offset, table, size in zip(offsets, tables, sizes, strict=False):
        kept = np.flatnonzero((size >= minimum_rows) & (whole | (size < len(outcome))))
        first.append(offset + kept)
        second.append(np.full(len(kept), -1))
        counts.append(table[kept])
    inner = [column.codes * outcomes + outcome for column in columns[:_PAIRED]]
    pairs = combinations(range(len(inner)), 2) if depth > 1 else ()
    for one, other in pairs:
        shape = (len(sizes[one]), len(sizes[other]), outcomes)
        cells = columns[one].codes * (shape[1] * outcomes) + inner[other]
        table = np.bincount(cells, minlength=shape[0] * shape[1] * outcomes).reshape(shape)
        size = table.sum(axis=2)
        good = (size >= minimum_rows) & (size < sizes[one][:, None]) & (size < sizes[other])
        left, right = np.nonzero(good)
        first.append(offsets[one] + left)
        second.append(offsets[other] + right)
        counts.append(table[left, right])
    none = np.empty(0, dtype=np.int64)
    return Family(
        tuple(condition for column in columns for condition in column.conditions),
        np.concatenate([none, *first]),
        np.concatenate([none, *second]),
        np.concatenate(counts),
        int(sum(((size > 0) & (size < minimum_rows)).sum() for size in sizes)),
    )


def levels(column: "pd.Series[Any]", *, declared: bool = False) -> Levels:
    """Cut a column into conditions that a reader can check.

    Numbers and times are cut at their fifths, at a value that the condition gives in full;
    where a few values are common the cut is before and after them. Where there are no more
    than 5 numbers, each is its own. Of categories the 20 commonest values are, and the others
    are one condition. Missing values are another.

    Parameters
    ----------
    column : Series of shape (n_rows,)
    declared : bool
        Each category is its own, however many there are, and so is each of up to 20 numbers.
    """
    name = str(column.name)
    if column.dtype == object:
        column = column.infer_objects()
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return _cut(name, values, _LEVELS if declared else _BINS)
    if pd.api.types.is_datetime64_any_dtype(column):
        instants = column.dt.tz_localize(None) if column.dt.tz is not None else column
        known = instants.to_numpy(dtype="datetime64[us]").astype(np.int64).astype(np.float64)
        values = np.where(column.isna().to_numpy(), np.nan, known)
        return _cut(name, values, _LEVELS if declared else _BINS, times=True)
    codes, held = pd.factorize(column)
    texts = np.array([_text(value)[:_LONGEST_VALUE] for value in held], dtype=object)
    rows = np.bincount(codes[codes >= 0], minlength=len(held))
    # By name where two are as common, so that the order of the rows changes nothing.
    ranked = sorted(range(len(held)), key=lambda place: (-rows[place], texts[place]))
    alone = ranked if declared else ranked[:_LEVELS]
    conditions = [f"{name} = {texts[place]}" for place in alone]
    place_of = np.full(len(held) + 1, len(conditions))
    place_of[alone] = np.arange(len(alone))
    if len(alone) < len(held):
        conditions.append(f"{name} is none of its {len(alone)} commonest values")
    place_of[-1] = len(conditions)
    if (codes < 0).any():
        conditions.append(f"{name} is missing")
    return Levels(tuple(conditions), place_of[codes])


def _cut(name: str, values: NDArray[np.float64], most: int, *, times: bool = False) -> Levels:
    missing = np.isnan(values)
    distinct, rows = np.unique(values[~missing], return_counts=True)
    if len(distinct) <= most:
        conditions = [f"{name} = {_number(value, times)}" for value in distinct]
        codes = np.searchsorted(distinct, values)
    else:
        edges = _edges(distinct, rows, times)
        said = [_number(edge, times) for edge in edges]
        between = [f"{low} < {name} <= {high}" for low, high in pairwise(said)]
        conditions = [f"{name} <= {said[0]}", *between, f"{name} > {said[-1]}"]
        codes = np.searchsorted(edges, values)
    codes = np.where(missing, len(conditions), codes)
    if missing.any():
        conditions.append(f"{name} is missing")
    return Levels(tuple(conditions), codes.astype(np.int64))


def _edges(
    distinct: NDArray[np.float64], rows: NDArray[np.int64], times: bool
) -> NDArray[np.float64]:
    """Return at most four values at which more than five distinct ones are cut."""
    upto = np.cumsum(rows)
    fifths = np.searchsorted(upto, upto[-1] * np.arange(1, _BINS) / _BINS)
    places, hits = np.unique(fifths, return_counts=True)
    # A value so common that two fifths end at it gets a bin of its own.
    before = places[(hits > 1) | (places == len(distinct) - 1)] - 1
    chosen = distinct[np.union1d(places, before[before >= 0])]
    chosen = chosen[chosen < distinct[-1]]
    short: NDArray[np.float64] = chosen
    # What the condition says is what is cut: few digits, if they tell the edges apart.
    for digits in () if times else (6, 9, 12, 17):
        short = np.array([float(f"{value:.{digits}g}") for value in chosen])
        inside = (short >= distinct[0]) & (short < distinct[-1])
        if inside.all() and len(np.unique(short)) == len(chosen):
            break
    return short


def _number(value: float, times: bool) -> str:
    if times:
        return str(pd.Timestamp(int(value), unit="us"))
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(float(value))


def _text(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return _number(float(value), times=False)
    return str(value)
