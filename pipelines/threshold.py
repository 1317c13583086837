"""From which probability on a two-class model answers the positive class.

scikit-learn's `TunedThresholdClassifierCV` scores one threshold after the other, a second for
every few hundred; `confusion_matrix_at_thresholds` counts them all in one pass, and each
objective here follows from the counts. The model handed out is its `FixedThresholdClassifier`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipelines.errors import ProjectError, SweepError

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.model_selection import FixedThresholdClassifier
    from sklearn.pipeline import Pipeline

ARROW = "->"
"""Stands between the true and the predicted class, as in ``[gate.confusion]``."""

Counts = Any
"""A number, or an array of one number a threshold."""

_NEEDS = {"cost": "costs", "f_beta": "beta", "recall_at_precision": "precision"}
_SHOWN = 5


class ThresholdSettings(BaseModel):
    """``[train.threshold]``: what the decision threshold is tuned for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: Literal["none", "cost", "f_beta", "recall_at_precision"] = Field(
        "none",
        description="What the decision threshold of a two-class model is tuned for on the "
        "validation rows; none answers the likelier class.",
    )
    beta: float | None = Field(
        None,
        gt=0,
        strict=True,
        allow_inf_nan=False,
        description="With f_beta, how many times as much as precision recall weighs; 1 without it.",
    )
    precision: float | None = Field(
        None,
        gt=0,
        le=1,
        strict=True,
        allow_inf_nan=False,
        description="With recall_at_precision, the lowest precision.",
    )
    costs: dict[str, Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]] = Field(
        default_factory=dict,
        description='With cost, what each of the two mistakes costs: "late -> on_time" = 5.0.',
    )

    @field_validator("costs")
    @classmethod
    def _check_costs(cls, costs: dict[str, float]) -> dict[str, float]:
        for key in costs:
            sides = [side.strip() for side in key.split(ARROW)]
            if len(sides) < 2 or not all(sides):
                raise ValueError(f'{key!r}: a mistake is written "true class {ARROW} answer"')
            if len(sides) == 2 and sides[0] == sides[1]:
                raise ValueError(f"{key!r} is no mistake, and costs nothing")
        return costs

    @model_validator(mode="after")
    def _check_parameters(self) -> Self:
        needed = _NEEDS.get(self.objective)
        for objective, name in _NEEDS.items():
            if getattr(self, name) and name != needed:
                raise ValueError(f'{name} goes with objective = "{objective}"')
        if self.objective == "recall_at_precision" and self.precision is None:
            raise ValueError("recall_at_precision needs precision, the lowest that will do")
        if self.objective == "cost" and len(self.costs) != 2:
            # Were one mistake free, always making it would be cheapest.
            raise ValueError(f"cost needs costs of both mistakes, and {len(self.costs)} given")
        return self


@dataclass(frozen=True)
class Aim:
    """What a threshold is tuned for, in the target's own classes.

    Parameters
    ----------
    settings : ThresholdSettings
    positive : label
        The class whose probability is held against the threshold.
    negative : label
        The other one.
    missed, false_alarm : float
        What it costs to answer ``negative`` where ``positive`` is true, and the reverse; used
        by the objective ``cost`` alone.
    """

    settings: ThresholdSettings
    positive: Any
    negative: Any
    missed: float = 1.0
    false_alarm: float = 1.0

    def measures(self, tn: Counts, fp: Counts, fn: Counts, tp: Counts) -> dict[str, Counts]:
        """Return what the objective is about, the objective itself first.

        Parameters
        ----------
        tn, fp, fn, tp : int, or ndarray of shape (n_thresholds,)
            Rows truly negative answered negative and positive, then those truly positive.

        Returns
        -------
        dict
            ``cost_per_row``; or ``f_beta`` (van Rijsbergen 1979, Information Retrieval,
            chapter 7); or ``recall`` and ``precision``, which is 0 where nothing is answered
            positive.
        """
        if self.settings.objective == "cost":
            return {
                "cost_per_row": (self.missed * fn + self.false_alarm * fp) / (tn + fp + fn + tp)
            }
        if self.settings.objective == "f_beta":
            weight = (self.settings.beta or 1.0) ** 2
            return {"f_beta": (1 + weight) * tp / ((1 + weight) * tp + weight * fn + fp)}
        return {"recall": tp / (tp + fn), "precision": tp / np.maximum(tp + fp, 1)}

    def worth(self, measures: Mapping[str, Counts]) -> NDArray[np.float64]:
        """Return what is made as large as possible; minus infinity where it is not allowed."""
        if self.settings.objective == "cost":
            return -np.asarray(measures["cost_per_row"], dtype=np.float64)
        if self.settings.objective == "f_beta":
            return np.asarray(measures["f_beta"], dtype=np.float64)
        kept = np.asarray(measures["precision"]) >= (self.settings.precision or 0.0)
        return np.where(kept, measures["recall"], -np.inf)


@dataclass(frozen=True, eq=False)
class Tuned:
    """A model with the threshold that was found for it.

    Parameters
    ----------
    model : FixedThresholdClassifier
        Around the fitted model.
    aim : Aim
    threshold : float
        The positive class is answered from this probability on.
    thresholds : ndarray of shape (n_thresholds,)
        All that were compared, falling.
    measures : mapping of str to ndarray of shape (n_thresholds,)
        The objective at each, and what it is held to; see `Aim.measures`.
    before, after : mapping of str to float
        The same of the model's own answers, and at ``threshold``.
    constant : label or None
        The class that would do at least as well if it were always answered.
    """

    model: "FixedThresholdClassifier"
    aim: Aim
    threshold: float
    thresholds: NDArray[np.floating[Any]]
    measures: Mapping[str, NDArray[np.float64]]
    before: Mapping[str, float]
    after: Mapping[str, float]
    constant: Any


def named(label: object) -> str:
    """Return the text by which settings name a class: booleans as TOML writes them."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def read_aim(settings: ThresholdSettings, y_train: NDArray[Any], positive: object) -> Aim | None:
    """Read the settings with the target's classes; None where no threshold is asked for.

    Parameters
    ----------
    settings : ThresholdSettings
    y_train : ndarray of shape (n_rows,)
    positive : label or None
        ``data.positive``. Without it ``True`` or 1 where the classes are ``False`` and
        ``True`` or 0 and 1; a cost needs none.

    Raises
    ------
    ProjectError
        The target has not two classes, none is known to be the positive one, or the costs
        are about others.
    """
    if settings.objective == "none":
        return None
    classes = np.unique(y_train).tolist()
    if len(classes) != 2:
        shown = ", ".join(map(named, classes[:_SHOWN])) + (", ..." if classes[_SHOWN:] else "")
        raise ProjectError(
            "A decision threshold is for a target of two classes.",
            found=f"{len(classes)} in the training rows: {shown}",
            next_move="leave [train.threshold] out",
        )
    found = _positive(settings, classes, positive)
    other = classes[1] if found == classes[0] else classes[0]
    if settings.objective != "cost":
        return Aim(settings, found, other)
    missed, false_alarm = (
        f"{named(found)} {ARROW} {named(other)}",
        f"{named(other)} {ARROW} {named(found)}",
    )
    given = {_cell(key): cost for key, cost in settings.costs.items()}
    if set(given) != {_cell(missed), _cell(false_alarm)}:
        raise ProjectError(
            "The costs are those of the target's two mistakes.",
            found=", ".join(f'"{key}"' for key in settings.costs),
            next_move=f'name "{missed}" and "{false_alarm}" in [train.threshold.costs]',
        )
    return Aim(settings, found, other, given[_cell(missed)], given[_cell(false_alarm)])


def tune(model: "Pipeline", X: "pd.DataFrame", y: NDArray[Any], aim: Aim) -> Tuned:
    """Find the threshold that serves the aim best on these rows.

    Compared is one threshold for each way in which these rows' probabilities can be parted
    in two, half-way between neighbours: a row served alone may differ from the same row in a
    table in its last digit, so none lies on a probability. Of equals, the one with the higher
    precision where that is asked for, then the one nearest to 0.5. A threshold that gives all
    rows one class is none.

    Parameters
    ----------
    model : Pipeline
        A fitted classifier of the two classes.
    X : DataFrame of shape (n_rows, n_columns)
        Conformed rows that the model has not learned from.
    y : ndarray of shape (n_rows,)
    aim : Aim

    Raises
    ------
    ProjectError
        No threshold reaches the precision that is asked for.
    SweepError
        The model gives each row the same probability.
    """
    from sklearn.frozen import FrozenEstimator
    from sklearn.metrics import confusion_matrix, confusion_matrix_at_thresholds
    from sklearn.model_selection import FixedThresholdClassifier

    place = int(np.flatnonzero(model.classes_ == aim.positive)[0])
    scores = model.predict_proba(X)[:, place]
    tn, fp, fn, tp, reached = confusion_matrix_at_thresholds(y, scores, pos_label=aim.positive)
    if len(reached) < 2:
        raise SweepError(
            "A threshold parts rows by their probability.",
            found=f"the winner gives all {len(y)} validation rows {reached[0]:.4g} "
            f"of {named(aim.positive)}",
            next_move="see that the columns say anything about the target; try more trials",
        )
    between = reached[1:] + (reached[:-1] - reached[1:]) / 2
    # Between two neighbouring numbers of the machine there is none.
    thresholds = np.where(between > reached[1:], between, reached[:-1])
    measures = aim.measures(tn[:-1], fp[:-1], fn[:-1], tp[:-1])
    worth = aim.worth(measures)
    if not np.isfinite(worth).any():
        precision, recall = measures["precision"], measures["recall"]
        highest = int(np.argmax(precision))
        raise ProjectError(
            "A threshold reaches the precision that is asked for, on the validation rows.",
            found=f"{aim.settings.precision} is asked for; the highest is {precision[highest]:.4f}"
            f", with a recall of {recall[highest]:.4f}",
            next_move="lower train.threshold.precision, or find a better model: more trials, "
            "better columns",
        )
    best = np.lexsort(
        (-np.abs(thresholds - 0.5), measures.get("precision", np.zeros_like(worth)), worth)
    )[-1]
    # A number of Python's own, which a model file holds as it is.
    threshold = float(thresholds[best])
    tuned = FixedThresholdClassifier(
        FrozenEstimator(model),
        threshold=threshold,
        pos_label=aim.positive,
        response_method="predict_proba",
    )
    own = confusion_matrix(y, model.predict(X), labels=[aim.negative, aim.positive]).ravel()
    positives, negatives = tp[-1], fp[-1]
    constants = {
        aim.positive: aim.worth(aim.measures(0, negatives, 0, positives)),
        aim.negative: aim.worth(aim.measures(negatives, 0, positives, 0)),
    }
    richest = max(constants, key=lambda label: float(constants[label]))
    return Tuned(
        # Nothing is learned here; a model that was never told to is called unfitted by others.
        model=tuned.fit(X, y),
        aim=aim,
        threshold=threshold,
        thresholds=thresholds,
        measures=measures,
        before={name: float(value) for name, value in aim.measures(*own).items()},
        after={name: float(values[best]) for name, values in measures.items()},
        constant=richest if constants[richest] >= worth[best] else None,
    )


def _positive(settings: ThresholdSettings, classes: list[Any], positive: object) -> Any:
    if positive is not None:
        for label in classes:
            if named(label) == named(positive):
                return label
        raise ProjectError(
            "The positive class is one of the target's two.",
            found=f"data.positive = {positive!r}, and {' and '.join(map(named, classes))}",
            next_move="name one of the two in data.positive",
        )
    if settings.objective == "cost" or classes == [0, 1]:
        return classes[1]
    raise ProjectError(
        f"The objective {settings.objective} is about one class.",
        found=f"{' and '.join(map(named, classes))}, and no data.positive",
        next_move="say which of the two matters in data.positive",
    )


def _cell(key: str) -> str:
    """Return a mistake without the spaces beside its arrow; a class may hold an arrow itself."""
    return ARROW.join(side.strip() for side in key.split(ARROW))
