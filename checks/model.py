"""Is a model good enough to serve? The rules of ``[gate]``, over plain arrays.

Every check fails closed: it never raises, what cannot be judged is `Status.ERROR`, and a
report that holds an error does not pass.

Labels are booleans, integers or strings, and a rule names a class by its text: ``true`` and
``false``, ``3``, or the string itself (`class_name`). A TOML key is a string, whatever the
label is.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Annotated, Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from checks.result import MAXIMUM_EXAMPLES, CheckResult, Report, Status

NAME = "gate"
"""The name of every report made here."""

ARROW = "->"
"""Stands between the true and the predicted class in a confusion rule."""

METRICS: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(
        (
            "accuracy",
            "average_precision",
            "balanced_accuracy",
            *(
                f"{name}{average}"
                for name in ("f1", "jaccard", "precision", "recall")
                for average in ("", "_macro", "_micro", "_weighted")
            ),
            "roc_auc",
            "roc_auc_ovo",
            "roc_auc_ovo_weighted",
            "roc_auc_ovr",
            "roc_auc_ovr_weighted",
            "top_k_accuracy",
        ),
        (0.0, 1.0),
    ),
    "d2_brier_score": (-math.inf, 1.0),
    "d2_log_loss_score": (-math.inf, 1.0),
    "matthews_corrcoef": (-1.0, 1.0),
    "neg_brier_score": (-2.0, 0.0),
    "neg_log_loss": (-math.inf, 0.0),
    "neg_negative_likelihood_ratio": (-math.inf, 0.0),
    "positive_likelihood_ratio": (0.0, math.inf),
}
"""Every classification scorer of scikit-learn for one label a row, and its range."""

_OF_ONE_CLASS = frozenset(
    {
        "average_precision",
        "f1",
        "jaccard",
        "neg_negative_likelihood_ratio",
        "positive_likelihood_ratio",
        "precision",
        "recall",
    }
)
"""Two-class metrics that change when the other class is called positive."""

# Two ways to work out one share differ in the last digits; no limit is meant that finely.
_ROUNDING = 1e-12

# Probabilities in single precision add up to 1 no better than this.
_SUM_TOLERANCE = 1e-3

_LONGEST_NAME = 60

RESAMPLES = 1_000
"""Draws of the bootstrap: the ends of a 95% interval then lie among its 25 outermost."""

Interval: TypeAlias = tuple[float, float]

On: TypeAlias = Literal["estimate", "bound"]

Labels: TypeAlias = NDArray[Any]
"""Shape (n_rows,): booleans, integers or strings."""


def _known_metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError(
            f"{name!r} is no classification scorer of scikit-learn{_nearest(name, METRICS)}"
        )
    return name


def _confusion_key(key: str) -> str:
    sides = [side.strip() for side in key.split(ARROW)]
    if len(sides) < 2 or not all(sides):
        raise ValueError(f'a cell is written "true class {ARROW} predicted class"')
    if len(sides) == 2 and sides[0] == sides[1]:
        raise ValueError(f"{key} is no confusion; limit it in [gate.recall]")
    return key


Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
# A floor of zero, or a ceiling of one, would be a rule that nothing breaks.
Floor = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]
Ceiling = Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)]
Margin = Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)]
ClassName = Annotated[str, Field(min_length=1)]


class Limit(BaseModel):
    """The range that a metric must keep; at least one end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: Finite | None = Field(default=None, description="Lowest value that passes.")
    max: Finite | None = Field(default=None, description="Highest value that passes.")

    @model_validator(mode="before")
    @classmethod
    def _table(cls, value: Any) -> Any:
        if isinstance(value, int | float):
            raise ValueError(f"a limit says which end it is: {{ min = {value} }}")
        return value

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("a limit has min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}: nothing could pass")
        return self


class GateSettings(BaseModel):
    """``[gate]``: what a candidate must do on the sealed rows before it may be promoted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum_rows: int = Field(
        default=100,
        ge=1,
        strict=True,
        description="Fewest sealed rows on which a model is judged.",
    )
    metrics: dict[Annotated[str, AfterValidator(_known_metric)], Limit] = Field(
        default_factory=dict,
        description="Limits by scikit-learn's scorer names: accuracy = { min = 0.87 }.",
    )
    recall: dict[ClassName, Floor] = Field(
        default_factory=dict,
        description="Lowest share of a true class that must be found, by class name.",
    )
    precision: dict[ClassName, Floor] = Field(
        default_factory=dict,
        description="Lowest share of a predicted class that must be right, by class name.",
    )
    confusion: dict[Annotated[str, AfterValidator(_confusion_key)], Ceiling] = Field(
        default_factory=dict,
        description="Highest share of a true class that may be predicted as another: "
        '"late -> on_time" = 0.30.',
    )
    on: Literal["estimate", "bound"] = Field(
        default="estimate",
        description="What a limit is held against: the estimate, or the end of its confidence "
        "interval that is nearer to the limit, so that a lucky small test set does not pass.",
    )
    confidence: float = Field(
        default=0.95,
        gt=0.5,
        lt=1,
        strict=True,
        allow_inf_nan=False,
        description="Confidence of the intervals.",
    )
    scoring: Literal["accuracy", "balanced_accuracy"] = Field(
        default="accuracy",
        description="The scorer by which the baseline and the champion must be beaten; where "
        "one class is rare, balanced_accuracy.",
    )
    baseline_margin: Margin = Field(
        default=0.0,
        description="The candidate must beat the commonest class by more than this.",
    )
    champion_margin: Margin = Field(
        default=0.0,
        description="The candidate must be at least this much better than the champion.",
    )

    @field_validator("metrics")
    @classmethod
    def _within_range(cls, metrics: dict[str, Limit]) -> dict[str, Limit]:
        for name, limit in metrics.items():
            low, high = METRICS[name]
            span = f"{name} lies between {low:g} and {high:g}"
            for end, value in (("min", limit.min), ("max", limit.max)):
                if value is not None and not low <= value <= high:
                    raise ValueError(f"{span}; {end} = {value:g} is outside")
            if limit.min == low or limit.max == high:
                raise ValueError(f"{span}; a limit at the open end asks nothing")
        return metrics


class NotJudgedError(ValueError):
    """What keeps a check from being made, said for the reader of the report."""


def class_name(label: object) -> str:
    """Return the text by which rules and reports name a class.

    ``true`` and ``false`` for booleans as TOML writes them, the digits of an integer (also of
    a whole number kept as a float), a string as it is.

    Raises
    ------
    NotJudgedError
        Any other kind of label, a missing one among them.
    """
    if isinstance(label, np.generic):
        label = label.item()
    if isinstance(label, bool):
        return "true" if label else "false"
    if isinstance(label, str):
        return label
    if isinstance(label, int) or (isinstance(label, float) and label.is_integer()):
        return str(int(label))
    raise NotJudgedError(f"a label is a boolean, an integer or a string, not {label!r:.60}")


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model answered on rows whose truth is known.

    Parameters
    ----------
    labels : iterable of k labels
        Every class that the model can predict or that the rows hold, in the order of the
        columns of ``probabilities``.
    y_true, predictions : ndarray of shape (n_rows,)
    probabilities : ndarray of shape (n_rows, k), optional
        Some scorers need them.
    positive : label, optional
        The class that ``f1``, ``precision``, ``recall`` and their like are about. Without it
        ``True`` or 1 where the classes are ``False`` and ``True`` or 0 and 1.

    Notes
    -----
    Nothing is looked at before it is asked for. Each property raises `NotJudgedError` on
    arrays that it cannot use: other lengths, a missing label, one of another kind, one that
    is none of ``labels``.
    """

    labels: Iterable[Any]
    y_true: Labels
    predictions: Labels
    probabilities: NDArray[Any] | None = None
    positive: object = None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The k class names, in the order of ``labels``."""
        names = tuple(class_name(label) for label in self.labels)
        if len(set(names)) != len(names):
            raise NotJudgedError("two classes have the same name")
        return names

    @cached_property
    def kind(self) -> str:
        """What the labels are: booleans, integers or strings."""
        return _common_kind(self.labels)

    @cached_property
    def truth(self) -> NDArray[np.int64]:
        """Shape (n_rows,): the true classes as positions in ``names``."""
        return self.codes(self.y_true, "the truth")

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """Shape (n_rows,): the predicted classes as positions in ``names``."""
        return self.codes(self.predictions, "the model's answers", like=self.truth)

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Shape (k, k): rows are the true classes, columns the predicted ones."""
        k = len(self.names)
        counts: NDArray[np.int64] = np.bincount(self.truth * k + self.predicted, minlength=k * k)
        return counts.reshape(k, k)

    def codes(
        self,
        values: Labels,
        what: str,
        *,
        like: NDArray[np.int64] | None = None,
        others: bool = False,
    ) -> NDArray[np.int64]:
        """Return labels as positions in ``names``.

        Parameters
        ----------
        values : ndarray of shape (n_rows,)
        what : str
            What a reader calls them.
        like : ndarray of shape (n_rows,), optional
            What they must be as long as.
        others : bool
            Whether a class that is none of ``labels`` is -1 and not an error.
        """
        values = np.asarray(values)
        if values.ndim != 1 or not len(values):
            raise NotJudgedError(f"{what} of shape {values.shape}, not one label a row")
        if like is not None and len(values) != len(like):
            raise NotJudgedError(f"{len(values)} rows of {what}, but {len(like)} of the truth")
        if values.dtype == object:
            first = {(type(value), value): None for value in values.tolist()}
            place = {key: number for number, key in enumerate(first)}
            inverse = np.array([place[type(value), value] for value in values.tolist()])
            held = [value for _, value in first]
        else:
            unique, inverse = np.unique(values, return_inverse=True)
            held = unique.tolist()
        kind = _common_kind(held)
        if kind != self.kind:
            raise NotJudgedError(f"{what} are {kind}, but the classes are {self.kind}")
        code = {name: position for position, name in enumerate(self.names)}
        found = [class_name(value) for value in held]
        unknown = [name for name in found if name not in code]
        if unknown and (not others or len(unknown) == len(found)):
            raise NotJudgedError(f"{what} hold {_quoted(unknown)}, none of the classes")
        positions = np.array([code.get(name, -1) for name in found], dtype=np.int64)
        return np.take(positions, inverse)

    def named(self, name: str) -> int:
        """Return the position of the class that a rule names."""
        if name not in self.names:
            raise NotJudgedError(
                f"the rule names the class {name!r}, which is not there{_nearest(name, self.names)}"
            )
        return self.names.index(name)

    def cell(self, key: str) -> tuple[int, int]:
        """Return the positions that ``true -> predicted`` names.

        A class name may hold an arrow itself, so every arrow is tried as the one between.
        """
        parts = key.split(ARROW)
        sides = [
            (ARROW.join(parts[:cut]).strip(), ARROW.join(parts[cut:]).strip())
            for cut in range(1, len(parts))
        ]
        found = [
            (true, predicted)
            for one, other in sides
            for true, left in enumerate(self.names)
            if left.strip() == one
            for predicted, right in enumerate(self.names)
            if right.strip() == other
        ]
        if len(found) > 1:
            raise NotJudgedError(f"{key!r} can be read in {len(found)} ways")
        if not found:
            names = [name.strip() for name in self.names]
            missing = [side for side in sides[0] if side not in names] if sides else []
            raise NotJudgedError(
                f"the rule names {_quoted(missing or [key])}, no class that is there"
                f"{_nearest((missing or [key])[0], self.names)}"
            )
        if found[0][0] == found[0][1]:
            raise NotJudgedError(f"{key!r} is no confusion; limit it in [gate.recall]")
        return found[0]


def score(name: str, answers: Answers) -> float:
    """Return what scikit-learn's scorer of that name gives for these answers.

    Parameters
    ----------
    name : str
        One of `METRICS`.
    answers : Answers

    Raises
    ------
    NotJudgedError
        The score is not defined for these rows, or is no finite number.
    ValueError
        scikit-learn refuses the rows.
    """
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.exceptions import UndefinedMetricWarning
    from sklearn.metrics import get_scorer

    _known_metric(name)
    order = _order(name, answers)
    truth, predicted = order[answers.truth], order[answers.predicted]

    class Recorded(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        """A classifier that has already answered."""

        classes_ = np.arange(len(order))

        def __sklearn_is_fitted__(self) -> bool:
            return True

        def predict(self, X: object) -> NDArray[np.int64]:
            return predicted

        def predict_proba(self, X: object) -> NDArray[np.float64]:
            if answers.probabilities is None:
                raise NotJudgedError(f"{name} needs probabilities, and none are given")
            given = np.asarray(answers.probabilities, dtype=np.float64)
            if given.shape != (len(truth), len(order)):
                raise NotJudgedError(f"probabilities of shape {given.shape}")
            return given[:, np.argsort(order)]

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # An ill-defined score is set to a number that may well keep the limit.
            warnings.simplefilter("error", UndefinedMetricWarning)
            value = float(get_scorer(name)(Recorded(), np.empty((len(truth), 0)), truth))
    except UndefinedMetricWarning as err:
        raise NotJudgedError(f"{name} is not defined on these rows: {err}") from err
    if not math.isfinite(value):
        raise NotJudgedError(f"{name} is {value} on these rows")
    return value


def share_interval(count: int, of: int, confidence: float) -> Interval:
    """Return the confidence interval of a share.

    Wilson's score interval (Wilson 1927, J. Am. Stat. Assoc. 22, 209-212), as scipy has it: it
    holds for small counts and for shares near 0 and 1, where the normal one does not.
    """
    from scipy.stats import binomtest

    found = binomtest(count, of).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


def score_interval(name: str, answers: Answers, confidence: float) -> Interval:
    """Return the confidence interval of a score.

    Wilson's for accuracy, which is a share; for the rest the percentiles of `RESAMPLES`
    scores of rows drawn with replacement (Efron and Tibshirani 1993, chapter 13), seeded.

    Raises
    ------
    NotJudgedError
        The score is not defined for these rows, or for a draw of them.
    """
    truth, predicted = answers.truth, answers.predicted
    if name == "accuracy":
        return share_interval(int((truth == predicted).sum()), len(truth), confidence)
    order = _order(name, answers)
    # The draws are scored by position, where sklearn's own names for two classes mean nothing.
    one_class = len(order) == 2 and name in _OF_ONE_CLASS
    positive = int(np.flatnonzero(order == 1)[0]) if one_class else None
    given = answers.probabilities
    rng = np.random.default_rng(0)
    values = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, len(truth), len(truth))
        drawn = None if given is None else np.asarray(given)[rows]
        values.append(
            score(name, Answers(range(len(order)), truth[rows], predicted[rows], drawn, positive))
        )
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _order(name: str, answers: Answers) -> NDArray[np.int64]:
    """Return the place of each class for scikit-learn, to whom the second is the positive one."""
    k = len(answers.names)
    if k != 2 and name in (_OF_ONE_CLASS | {"roc_auc"}) - {"average_precision"}:
        raise NotJudgedError(
            f"{name} is for two classes, and there are {k}{_nearest(f'{name}_macro', METRICS)}"
        )
    if k != 2 or name not in _OF_ONE_CLASS:
        return np.arange(k)
    if answers.positive is not None:
        positive = answers.named(class_name(answers.positive))
    elif set(answers.names) in ({"false", "true"}, {"0", "1"}) and answers.kind != "strings":
        positive = answers.named("true" if answers.kind == "booleans" else "1")
    else:
        raise NotJudgedError(
            f"{name} is about one class: set data.positive, or limit the class that matters in "
            "[gate.recall] or [gate.precision]"
        )
    return np.array([0, 1]) if positive == 1 else np.array([1, 0])


@dataclass(frozen=True)
class _Finding:
    """What a check came to."""

    status: Status
    observed: float | int
    reason: str
    limit: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    interval: Interval | None = None


@dataclass(frozen=True)
class _Rule:
    """What a check claims, known before anything is looked at."""

    id: str
    claim: str
    relation: str = ""
    limit: float | int | str | None = None

    def judge(self, find: Callable[[], _Finding]) -> CheckResult:
        """Make the check; whatever it raises is an error of its own, and refuses."""
        details: dict[str, Any] = {"relation": self.relation} if self.relation else {}
        try:
            found = find()
        except NotJudgedError as err:
            said = str(err)
        except Exception as err:  # the gate fails closed on whatever a check meets
            said = f"the check broke off with {type(err).__name__}: {err}"
        else:
            return CheckResult(
                self.id,
                self.claim,
                found.status,
                observed=found.observed,
                limit=self.limit if found.limit is None else found.limit,
                reason=found.reason,
                interval=found.interval,
                details={**details, **found.details},
            )
        return CheckResult(
            self.id,
            self.claim,
            Status.ERROR,
            limit=self.limit,
            reason=f"Could not be judged: {said.rstrip('.')}" + ("" if said.endswith("?") else "."),
            details=details,
        )


def check_limits(settings: GateSettings) -> CheckResult:
    """Judge whether anything is asked of the model at all."""

    def find() -> _Finding:
        count = sum(
            len(table)
            for table in (
                settings.metrics,
                settings.recall,
                settings.precision,
                settings.confusion,
            )
        )
        if not count:
            raise NotJudgedError(
                "[gate] has no limit, and a gate that asks nothing would let every model "
                "through; set some in [gate.metrics], [gate.recall], [gate.precision] or "
                "[gate.confusion]"
            )
        return _Finding(Status.PASSED, count, f"{_count(count, 'limit')} set.")

    return _Rule("limits", "The gate has a limit", "at least", 1).judge(find)


def check_enough_rows(answers: Answers, minimum: int) -> CheckResult:
    """Judge whether there are rows enough to say anything."""

    def find() -> _Finding:
        rows = len(answers.y_true)
        if rows >= minimum:
            return _Finding(Status.PASSED, rows, f"{rows:,} sealed rows.")
        said = f"{_count(rows, 'sealed row')}; fewer than {minimum:,} say too little to judge by."
        return _Finding(Status.ERROR, rows, said)

    return _Rule("rows", f"{minimum:,} sealed rows or more", "at least", minimum).judge(find)


def check_every_class_has_rows(answers: Answers) -> CheckResult:
    """Judge whether there are classes to tell apart, and a true row of each."""

    def find() -> _Finding:
        names = answers.names
        support = np.bincount(answers.truth, minlength=len(names))
        details = {"support": dict(zip(names, support.tolist(), strict=True))}
        fewest = int(support.min())
        if len(names) < 2:
            said = f"{_quoted(names)} is the only class, so there is nothing to tell apart."
            return _Finding(Status.ERROR, fewest, said, details=details)
        if not fewest:
            empty = [name for name, rows in zip(names, support, strict=True) if not rows]
            said = f"No sealed row is truly {_quoted(empty)}; how the model does there is unknown."
            return _Finding(Status.ERROR, fewest, said, details=details)
        rarest = names[int(support.argmin())]
        said = (
            f"{len(names)} classes; the rarest, {_quoted([rarest])}, has {_count(fewest, 'row')}."
        )
        return _Finding(Status.PASSED, fewest, said, details=details)

    return _Rule("classes", "Sealed rows of every class", "at least", 1).judge(find)


def check_probabilities(answers: Answers) -> CheckResult:
    """Judge whether the probabilities are probabilities: finite, 0 to 1, adding up to 1."""

    def find() -> _Finding:
        rows, k = len(answers.truth), len(answers.names)
        given = np.asarray(answers.probabilities, dtype=np.float64)
        if given.shape != (rows, k):
            raise NotJudgedError(
                f"the probabilities have shape {given.shape}, not ({rows}, {k}): "
                "a row for each row, a column for each class"
            )
        with np.errstate(invalid="ignore"):
            usable = ((given >= 0) & (given <= 1)).all(axis=1)
            usable &= np.abs(given.sum(axis=1) - 1) <= _SUM_TOLERANCE
        broken = np.flatnonzero(~usable)
        if not len(broken):
            return _Finding(Status.PASSED, 0, f"{rows:,} rows of {k} probabilities.")
        example = ", ".join(f"{value:.4g}" for value in given[broken[0]][:MAXIMUM_EXAMPLES])
        said = f"{len(broken):,} of {rows:,} rows hold none; the first, row {broken[0]}: {example}."
        details = {"examples": broken[:MAXIMUM_EXAMPLES]}
        return _Finding(Status.ERROR, len(broken), said, details=details)

    claim = "Probabilities lie between 0 and 1 and add up to 1"
    return _Rule("probabilities", claim, "at most", 0).judge(find)


def check_metric(
    answers: Answers,
    name: str,
    limit: Limit,
    *,
    on: On = "estimate",
    confidence: float = 0.95,
) -> CheckResult:
    """Judge one of scikit-learn's scores (`METRICS`) by its limit.

    Parameters
    ----------
    answers : Answers
    name : str
    limit : Limit
    on : {"estimate", "bound"}
        With ``bound`` the low end of the interval keeps ``min``, the high end ``max``.
    confidence : float
    """

    def find() -> _Finding:
        value = score(name, answers)
        # A bootstrap takes a thousand scores: where no limit asks for it, it is left out.
        wanted = on == "bound" or name == "accuracy"
        interval = score_interval(name, answers, confidence) if wanted else None
        low, high = interval if on == "bound" and interval is not None else (value, value)
        details = {"min": limit.min, "max": limit.max, "judged": on}
        if limit.min is not None and not low >= limit.min - _ROUNDING:
            observed, judged, asked = _apart(value, low, limit.min)
            said = f"{name} is {observed}{_perhaps(on, 'low', judged)}"
            said += f", below the {asked} that is asked for."
            return _Finding(Status.FAILED, value, said, details=details, interval=interval)
        if limit.max is not None and not high <= limit.max + _ROUNDING:
            observed, judged, allowed = _apart(value, high, limit.max)
            said = f"{name} is {observed}{_perhaps(on, 'high', judged)}"
            said += f", above the {allowed} that is allowed."
            return _Finding(Status.FAILED, value, said, details=details, interval=interval)
        said = f"{name} is {value:.4f}."
        return _Finding(Status.PASSED, value, said, details=details, interval=interval)

    if limit.max is None:
        rule = _Rule(name, f"{name} is at least {limit.min:g}", "at least", limit.min)
    elif limit.min is None:
        rule = _Rule(name, f"{name} is at most {limit.max:g}", "at most", limit.max)
    else:
        span = f"{limit.min:g} to {limit.max:g}"
        rule = _Rule(name, f"{name} is {span}", "between", span)
    return rule.judge(find)


def check_recall(
    answers: Answers, name: str, minimum: float, *, on: On = "estimate", confidence: float = 0.95
) -> CheckResult:
    """Judge the share of a true class (its `class_name`) that is found."""

    def find() -> _Finding:
        code = answers.named(name)
        found, of = int(answers.confusion[code, code]), int(answers.confusion[code].sum())
        if not of:
            raise NotJudgedError(f"no sealed row is truly {name}, so its recall is unknown")
        said = f"Of {_count(of, 'row')} truly {name}, {found:,} found"
        return _floor(found, of, minimum, said, on, confidence)

    claim = f"At least {minimum:.4g} of the rows truly {name} are found"
    return _Rule(f"recall[{name}]", claim, "at least", minimum).judge(find)


def check_precision(
    answers: Answers, name: str, minimum: float, *, on: On = "estimate", confidence: float = 0.95
) -> CheckResult:
    """Judge the share of a predicted class (its `class_name`) that is right."""

    def find() -> _Finding:
        code = answers.named(name)
        right, of = int(answers.confusion[code, code]), int(answers.confusion[:, code].sum())
        if not of:
            raise NotJudgedError(f"the model never answers {name}, so there is nothing to be right")
        said = f"Of {_count(of, 'row')} predicted {name}, {right:,} right"
        return _floor(right, of, minimum, said, on, confidence)

    claim = f"At least {minimum:.4g} of the rows predicted {name} are right"
    return _Rule(f"precision[{name}]", claim, "at least", minimum).judge(find)


def check_confusion(
    answers: Answers, cell: str, maximum: float, *, on: On = "estimate", confidence: float = 0.95
) -> CheckResult:
    """Judge the share of a true class that is predicted as another.

    ``cell`` is written ``true class -> predicted class``.
    """

    def find() -> _Finding:
        true, predicted = answers.cell(cell)
        wrong, of = int(answers.confusion[true, predicted]), int(answers.confusion[true].sum())
        true_name, predicted_name = answers.names[true], answers.names[predicted]
        if not of:
            raise NotJudgedError(f"no sealed row is truly {true_name}, so the share is unknown")
        share = wrong / of
        interval = share_interval(wrong, of, confidence)
        judged = interval[1] if on == "bound" else share
        details = {"count": wrong, "of": of, "judged": on}
        said = f"Of {_count(of, 'row')} truly {true_name}, {wrong:,} predicted {predicted_name}"
        if judged <= maximum + _ROUNDING:
            said += f": {share:.4f}."
            return _Finding(Status.PASSED, share, said, details=details, interval=interval)
        observed, end, allowed = _apart(share, judged, maximum)
        said += f": {observed}{_perhaps(on, 'high', end)}, above the {allowed} that is allowed."
        return _Finding(Status.FAILED, share, said, details=details, interval=interval)

    sides = [side.strip() for side in cell.split(ARROW)]
    claim = f"At most {maximum:.4g} of a class in this cell of the confusion matrix"
    if len(sides) == 2:
        claim = f"At most {maximum:.4g} of the rows truly {sides[0]} are predicted {sides[1]}"
    return _Rule(f"confusion[{f' {ARROW} '.join(sides)}]", claim, "at most", maximum).judge(find)


def check_beats_baseline(
    answers: Answers, baseline: Labels, *, margin: float = 0.0, scoring: str = "accuracy"
) -> CheckResult:
    """Judge whether the model is worth more than always answering the commonest class.

    Parameters
    ----------
    answers : Answers
    baseline : ndarray of shape (n_rows,)
        The answers of a model that has learned nothing else.
    margin : float
        The model must be better by more than this.
    scoring : str
        One of `METRICS` that needs no probabilities.
    """

    def find() -> _Finding:
        model = score(scoring, answers)
        other, _ = _score_of(baseline, "the baseline's answers", answers, scoring)
        observed, asked, beaten = _apart(model, other + margin, other)
        said = f"{scoring} is {observed}; always answering the commonest class gives {beaten}"
        details = {"scoring": scoring, "baseline": other, "margin": margin}
        if model - other > margin + _ROUNDING:
            return _Finding(Status.PASSED, model, f"{said}.", other + margin, details)
        said += f", and more than {asked} is asked for."
        return _Finding(Status.FAILED, model, said, other + margin, details)

    claim = f"Better than always answering the commonest class, in {scoring}"
    claim += f" and by more than {margin:g}" if margin else ""
    return _Rule("baseline", claim, "more than").judge(find)


def check_beats_champion(
    answers: Answers,
    champion: Labels | str | None,
    *,
    margin: float = 0.0,
    scoring: str = "accuracy",
) -> CheckResult:
    """Judge whether the model is at least as good as the one that serves now.

    Parameters
    ----------
    answers : Answers
    champion : ndarray of shape (n_rows,), str or None
        What the champion answers on the same rows now; the reason why it cannot be scored; or
        None where there is no champion yet.
    margin : float
        The model must be better by at least this.
    scoring : str
        One of `METRICS` that needs no probabilities.
    """
    claim = f"At least as good as the champion, in {scoring}"
    claim += f" and better by {margin:g}" if margin else ""
    if champion is None:
        said = "There is no champion yet; the other rules decide."
        return CheckResult("champion", claim, Status.NOT_APPLICABLE, reason=said)

    def find() -> _Finding:
        if isinstance(champion, str):
            raise NotJudgedError(f"there is a champion that cannot be scored ({champion})")
        model = score(scoring, answers)
        other, unknown = _score_of(champion, "the champion's answers", answers, scoring)
        observed, asked, beaten = _apart(model, other + margin, other)
        said = f"{scoring} is {observed}; the champion has {beaten} on the same rows"
        details = {"scoring": scoring, "champion": other, "margin": margin, "unknown": unknown}
        details |= _flips(answers, champion)
        if model - other >= margin - _ROUNDING:
            return _Finding(Status.PASSED, model, f"{said}.", other + margin, details)
        said += f", and at least {asked} is asked for."
        return _Finding(Status.FAILED, model, said, other + margin, details)

    return _Rule("champion", claim, "at least").judge(find)


def check_answers(given: Labels, expected: Labels) -> CheckResult:
    """Judge whether a freshly loaded copy gives the answers that the model gave.

    Parameters
    ----------
    given, expected : ndarray of shape (n_rows,)
        Predicted labels, now and when the model was logged.
    """

    def find() -> _Finding:
        then = [class_name(label) for label in np.asarray(expected).tolist()]
        now = [class_name(label) for label in np.asarray(given).tolist()]
        if not then:
            raise NotJudgedError("there is no answer to compare with")
        if len(now) != len(then):
            raise NotJudgedError(f"{len(now)} answers, where {len(then)} are expected")
        kinds = [_common_kind(np.asarray(labels).tolist()) for labels in (given, expected)]
        if kinds[0] != kinds[1]:
            raise NotJudgedError(f"the answers are {kinds[0]}, where {kinds[1]} are expected")
        other = [row for row, (a, b) in enumerate(zip(now, then, strict=True)) if a != b]
        if not other:
            return _Finding(Status.PASSED, 0, f"{_count(len(now), 'answer')}, all the same.")
        examples = [
            {"row": row, "given": now[row], "expected": then[row]}
            for row in other[:MAXIMUM_EXAMPLES]
        ]
        said = (
            f"{len(other):,} of {_count(len(now), 'answer')} differ; the first, of row "
            f"{other[0]}, is {_quoted([now[other[0]]])} and was {_quoted([then[other[0]]])}."
        )
        return _Finding(Status.FAILED, len(other), said, details={"examples": examples})

    claim = "A freshly loaded copy gives the answers that the candidate gave"
    return _Rule("smoke", claim, "at most", 0).judge(find)


def judge(
    settings: GateSettings,
    *,
    labels: Sequence[Any],
    y_true: Labels,
    predictions: Labels,
    probabilities: NDArray[Any],
    baseline_predictions: Labels,
    champion: Labels | str | None,
    positive: object = None,
) -> Report:
    """Judge a candidate by every rule of the gate.

    Parameters
    ----------
    settings : GateSettings
    labels, y_true, predictions, probabilities, positive
        As for `Answers`.
    baseline_predictions : ndarray of shape (n_rows,)
        As for `check_beats_baseline`.
    champion : ndarray of shape (n_rows,), str or None
        As for `check_beats_champion`.

    Returns
    -------
    Report
        One result for each rule, whatever happens. Its facts are ``rows``, ``scoring``,
        ``labels`` (class names), ``confusion`` and ``metrics`` (those that are limited).
    """
    answers = Answers(labels, y_true, predictions, probabilities, positive)
    how: dict[str, Any] = {"on": settings.on, "confidence": settings.confidence}
    checks = (
        check_limits(settings),
        check_enough_rows(answers, settings.minimum_rows),
        check_every_class_has_rows(answers),
        check_probabilities(answers),
        *(check_metric(answers, name, limit, **how) for name, limit in settings.metrics.items()),
        *(check_recall(answers, name, share, **how) for name, share in settings.recall.items()),
        *(
            check_precision(answers, name, share, **how)
            for name, share in settings.precision.items()
        ),
        *(
            check_confusion(answers, cell, share, **how)
            for cell, share in settings.confusion.items()
        ),
        check_beats_baseline(
            answers,
            baseline_predictions,
            margin=settings.baseline_margin,
            scoring=settings.scoring,
        ),
        check_beats_champion(
            answers, champion, margin=settings.champion_margin, scoring=settings.scoring
        ),
    )
    facts: dict[str, Any] = {
        "scoring": settings.scoring,
        "on": settings.on,
        "confidence": settings.confidence,
        "metrics": {
            check.id: check.observed
            for check in checks
            if check.id in settings.metrics and check.observed is not None
        },
    }
    try:
        facts |= {
            "rows": len(answers.truth),
            "labels": answers.names,
            "confusion": answers.confusion,
        }
    except NotJudgedError as err:
        facts["no_confusion"] = str(err)
    return Report(NAME, checks, facts)


def _score_of(values: Labels, what: str, answers: Answers, scoring: str) -> tuple[float, int]:
    """Score other answers on the same rows; count those that name a class not known here."""
    codes = answers.codes(values, what, like=answers.truth, others=True)
    # A class that has gone since that model learned is an answer like any other, and wrong.
    k = len(answers.names)
    gone = codes < 0
    labels = np.arange(k + 1 if gone.any() else k)
    other = Answers(labels, answers.truth, np.where(gone, k, codes))
    return score(scoring, other), int(gone.sum())


def _flips(answers: Answers, champion: Labels) -> dict[str, Any]:
    """Count the rows that one of the two models has right and the other wrong.

    The p-value is that of the exact McNemar test (McNemar 1947, Psychometrika 12, 153-157):
    were the models equally good, a flip would help as often as harm.
    """
    from scipy.stats import binomtest

    codes = answers.codes(champion, "the champion's answers", like=answers.truth, others=True)
    right, was_right = answers.predicted == answers.truth, codes == answers.truth
    helpful, harmful = int((right & ~was_right).sum()), int((~right & was_right).sum())
    flips = helpful + harmful
    p = float(binomtest(helpful, flips, 0.5).pvalue) if flips else 1.0
    return {"helpful": helpful, "harmful": harmful, "mcnemar_p": p}


def _floor(count: int, of: int, minimum: float, said: str, on: On, confidence: float) -> _Finding:
    share = count / of
    interval = share_interval(count, of, confidence)
    judged = interval[0] if on == "bound" else share
    details = {"count": count, "of": of, "judged": on}
    if judged >= minimum - _ROUNDING:
        said += f": {share:.4f}."
        return _Finding(Status.PASSED, share, said, details=details, interval=interval)
    observed, end, asked = _apart(share, judged, minimum)
    said += f": {observed}{_perhaps(on, 'low', end)}, below the {asked} that is asked for."
    return _Finding(Status.FAILED, share, said, details=details, interval=interval)


def _perhaps(on: On, end: str, value: str) -> str:
    """Name the end of the interval that was judged, where it was."""
    if on == "estimate":
        return ""
    return f" and may be as {end} as {value}"


def _apart(*values: float) -> list[str]:
    """Write numbers with as many digits as tell those apart that differ."""
    for digits in (4, 6, 9, 12):
        said = [f"{value:.{digits}f}" for value in values]
        if len(set(said)) == len(set(values)):
            break
    return said


def _common_kind(labels: Iterable[Any]) -> str:
    kinds = {_kind(label) for label in labels}
    if len(kinds) != 1:
        raise NotJudgedError(
            f"labels are of one kind, not {' and '.join(sorted(kinds))}"
            if kinds
            else "there is no class to judge"
        )
    return kinds.pop()


def _kind(label: object) -> str:
    name = class_name(label)
    if isinstance(label, bool | np.bool_):
        return "booleans"
    return "strings" if isinstance(label, str) and name == label else "integers"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _quoted(names: Sequence[str]) -> str:
    said = ", ".join(repr(name[:_LONGEST_NAME]) for name in names[:MAXIMUM_EXAMPLES])
    more = len(names) - MAXIMUM_EXAMPLES
    return f"{said} and {more} more" if more > 0 else said


def _nearest(word: str, known: Iterable[str]) -> str:
    names = list(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {_quoted(names)}" if names else ""
