"""The facts of a report that can be drawn, read with care.

Facts are free: each check's author adds some, and a report may be older or newer than this
code. A fact of another shape than the one below is never drawn and never an error; it is
listed as it stands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Pair: TypeAlias = tuple[float, float]

MAXIMUM_DRAWN_CLASSES = 100
"""Most classes of a confusion matrix that is drawn: ten thousand cells."""

_LARGEST = 1e300
_LONGEST_NAME = 40
_LONGEST_SLICE = 120
_MOST_ROWS = 20
_MOST_EXAMPLES = 10
_MOST_POINTS = 201
_MOST_BINS = 30
_MOST_METRICS = 40
_MOST_CURVES = 4


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix: a row for each true class, a column for each answer.

    Parameters
    ----------
    rows, columns : tuple of str
        Class names; a last column more stands for the answers that are no class here.
    counts : tuple of tuples of int, shape (len(rows), len(columns))
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Part:
    """A slice of the rows, and the share of it that is answered right.

    Parameters
    ----------
    name : str
    rows : int or None
    share : float
        Of the candidate.
    against : float or None
        The champion's share on the same rows, for a segment.
    interval : tuple of two floats, optional
    p : float or None
    """

    name: str
    rows: int | None
    share: float
    against: float | None = None
    interval: Pair | None = None
    p: float | None = None


@dataclass(frozen=True)
class Champion:
    """What the comparison with the champion came to."""

    verdict: str
    version: str | None = None
    rows: int | None = None
    dropped: int | None = None
    matrix: Matrix | None = None
    helpful: int | None = None
    harmful: int | None = None
    p: float | None = None
    difference: float | None = None
    interval: Pair | None = None
    helpful_rows: tuple[str, ...] = ()
    harmful_rows: tuple[str, ...] = ()
    segments: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Bin:
    """The rows whose confidence lies between ``low`` and ``high``."""

    low: float
    high: float
    rows: int
    confidence: float | None
    accuracy: float | None
    interval: Pair | None


@dataclass(frozen=True)
class Reliability:
    """How often the model is right when it is so sure."""

    bins: tuple[Bin, ...]
    ece: float | None
    brier: float | None


@dataclass(frozen=True)
class Curve:
    """A curve of one class, both axes between 0 and 1, and the area below it."""

    name: str
    points: tuple[Pair, ...]
    area: float | None


@dataclass(frozen=True)
class Override:
    """Who let a refused model through, and why."""

    by: str
    reason: str


@dataclass(frozen=True)
class Facts:
    """What can be drawn; what is absent or strange is None or empty, and kept in ``rest``."""

    rows: int | None = None
    scoring: str | None = None
    on: str | None = None
    confidence: float | None = None
    look: int | None = None
    matrix: Matrix | None = None
    champion: Champion | None = None
    metrics: tuple[tuple[str, float | str], ...] = ()
    reliability: Reliability | None = None
    roc: tuple[Curve, ...] = ()
    precision_recall: tuple[Curve, ...] = ()
    slices: tuple[Part, ...] = ()
    override: Override | None = None
    rest: Mapping[str, Any] = field(default_factory=dict)


def read(facts: Mapping[str, Any]) -> Facts:
    """Read a report's facts.

    Parameters
    ----------
    facts : mapping
        As `Report` keeps them, JSON-able. Those that are drawn: ``rows``, ``scoring``, ``on``,
        ``confidence``, ``look`` (1 for the first time that the rows were read), ``labels`` and
        ``confusion``, ``champion``, ``metrics``, ``reliability``, ``curves`` (by class),
        ``slices`` (worst first) and ``override``.
    """
    confidence = _number(facts.get("confidence"))
    labels = facts.get("labels")
    curves = _mapping(facts.get("curves"))
    read_ = Facts(
        rows=_count(facts.get("rows")),
        scoring=_word(facts.get("scoring")),
        on=_word(facts.get("on")),
        confidence=confidence if confidence is not None and 0 < confidence < 1 else None,
        look=_count(facts.get("look")) or None,
        matrix=_matrix(labels, facts.get("confusion")),
        champion=_champion(facts.get("champion"), labels),
        metrics=_metrics(facts.get("metrics")),
        reliability=_reliability(facts.get("reliability")),
        roc=_curves(curves, "roc", "fpr", "tpr"),
        precision_recall=_curves(curves, "precision_recall", "recall", "precision"),
        slices=_parts(facts.get("slices"), "share"),
        override=_override(facts.get("override")),
    )
    drawn = {
        "rows": read_.rows is not None,
        "scoring": read_.scoring is not None,
        "on": read_.on is not None,
        "confidence": read_.confidence is not None,
        "look": read_.look is not None,
        "labels": read_.matrix is not None,
        "confusion": read_.matrix is not None,
        "champion": read_.champion is not None,
        "metrics": bool(read_.metrics),
        "reliability": read_.reliability is not None,
        "curves": bool(read_.roc or read_.precision_recall),
        "slices": bool(read_.slices),
        "override": read_.override is not None,
    }
    rest = {key: value for key, value in facts.items() if not drawn.get(key, False)}
    return Facts(**{**vars(read_), "rest": rest})


def shorten(name: str, longest: int = _LONGEST_NAME) -> str:
    """Cut a name that is longer than a reader wants to see."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


def _matrix(labels: Any, confusion: Any) -> Matrix | None:
    names, rows = _list(labels), _list(confusion)
    if not names or len(rows) != len(names):
        return None
    counts = [[_count(cell) for cell in _list(row)] for row in rows]
    width = len(counts[0])
    if width not in (len(names), len(names) + 1) or any(len(row) != width for row in counts):
        return None
    known = tuple(tuple(cell for cell in row if cell is not None) for row in counts)
    if any(len(row) != width for row in known):
        return None
    shown = tuple(shorten(str(name)) for name in names)
    columns = shown if width == len(names) else (*shown, "(another class)")
    return Matrix(shown, columns, known)


def _champion(value: Any, labels: Any) -> Champion | None:
    found = _mapping(value)
    verdict = _word(found.get("verdict"))
    if verdict is None:
        return None
    examples = _mapping(found.get("examples"))
    version = found.get("version")
    return Champion(
        verdict=shorten(verdict),
        version=shorten(str(version)) if isinstance(version, str | int) else None,
        rows=_count(found.get("rows")),
        dropped=_count(found.get("dropped")),
        matrix=_matrix(labels, found.get("confusion")),
        helpful=_count(found.get("helpful")),
        harmful=_count(found.get("harmful")),
        p=_share(found.get("p")),
        difference=_number(found.get("difference")),
        interval=_interval(found.get("interval")),
        helpful_rows=_names(examples.get("helpful")),
        harmful_rows=_names(examples.get("harmful")),
        segments=_parts(found.get("segments"), "candidate", "champion"),
    )


def _metrics(value: Any) -> tuple[tuple[str, float | str], ...]:
    # A score that is no number is text by now, and worth seeing.
    found = list(_mapping(value).items())[:_MOST_METRICS]
    scores = [(name, _word(each) or _number(each)) for name, each in found]
    return tuple(
        (shorten(str(name)), shorten(each) if isinstance(each, str) else each)
        for name, each in scores
        if each is not None
    )


def _reliability(value: Any) -> Reliability | None:
    found = _mapping(value)
    bins = []
    for each in map(_mapping, _list(found.get("bins"))):
        low, high = _share(each.get("low")), _share(each.get("high"))
        rows = _count(each.get("rows"))
        if low is not None and high is not None and low < high and rows is not None:
            bins.append(
                Bin(
                    low,
                    high,
                    rows,
                    _share(each.get("confidence")),
                    _share(each.get("accuracy")),
                    _interval(each.get("interval")),
                )
            )
    if not any(each.rows for each in bins):
        return None
    return Reliability(
        tuple(bins[:_MOST_BINS]), _number(found.get("ece")), _number(found.get("brier"))
    )


def _curves(curves: Mapping[str, Any], kind: str, across: str, up: str) -> tuple[Curve, ...]:
    drawn = []
    for name, each in curves.items():
        found = _mapping(_mapping(each).get(kind))
        xs = [_share(x) for x in _list(found.get(across))]
        ys = [_share(y) for y in _list(found.get(up))]
        if len(xs) != len(ys):
            continue
        points = [(x, y) for x, y in zip(xs, ys, strict=True) if x is not None and y is not None]
        if len(points) == len(xs) >= 2:
            step = -(-len(points) // _MOST_POINTS)
            kept = [*points[:-1:step], points[-1]]
            drawn.append(Curve(shorten(str(name)), tuple(kept), _number(found.get("area"))))
    return tuple(drawn[:_MOST_CURVES])


def _parts(value: Any, share: str, against: str | None = None) -> tuple[Part, ...]:
    parts = []
    for each in map(_mapping, _list(value)):
        name, observed = each.get("slice"), _share(each.get(share))
        other = _share(each.get(against)) if against else None
        if name is None or observed is None or (against and other is None):
            continue
        parts.append(
            Part(
                shorten(str(name), _LONGEST_SLICE),
                _count(each.get("rows")),
                observed,
                other,
                _interval(each.get("interval")),
                _share(each.get("p")),
            )
        )
    return tuple(parts[:_MOST_ROWS])


def _override(value: Any) -> Override | None:
    found = _mapping(value)
    by, reason = _word(found.get("by")), _word(found.get("reason"))
    return Override(shorten(by, 80), shorten(reason or "–", 500)) if by else None


def _names(value: Any) -> tuple[str, ...]:
    return tuple(shorten(str(each), 60) for each in _list(value)[:_MOST_EXAMPLES])


def _interval(value: Any) -> Pair | None:
    ends = [_number(each) for each in _list(value)]
    if len(ends) != 2 or ends[0] is None or ends[1] is None or ends[0] > ends[1]:
        return None
    return ends[0], ends[1]


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _LARGEST else None


def _count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LARGEST:
        return None
    return value


def _share(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and 0 <= number <= 1 else None


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
