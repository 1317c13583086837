"""``[gate]``: every rule, as data."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from checks.model.answers import ARROW
from checks.model.scorers import METRICS, known_metric


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
SignedMargin = Annotated[float, Field(strict=True, gt=-1, lt=1, allow_inf_nan=False)]
Cost = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
ClassName = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A table of the gate: frozen, and no key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Limit(Section):
    """The range that a metric must keep; at least one end."""

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


class BaselineSettings(Section):
    """By how much the model must beat two that are easily had."""

    majority: Margin = Field(
        default=0.0, description="Margin over always answering the commonest training class."
    )
    yardstick: SignedMargin = Field(
        default=0.0,
        description="Margin over an untuned logistic regression fitted on the same rows; below "
        "zero, how much worse the model may be.",
    )


class ChampionSettings(Section):
    """When a candidate takes the champion's place."""

    minimum_effect: SignedMargin = Field(
        default=0.0,
        description="Smallest improvement that is worth a change; below zero, how much worse a "
        "fresh model may be.",
    )
    minimum_rows: int | None = Field(
        default=None,
        ge=1,
        strict=True,
        description="Fewest sealed rows that neither model has learned from; "
        "by default gate.minimum_rows.",
    )


class CostSettings(Section):
    """What mistakes cost."""

    matrix: dict[Annotated[str, AfterValidator(_confusion_key)], Cost] = Field(
        default_factory=dict,
        description='Cost of a cell of the confusion matrix: "late -> on_time" = 5.0; '
        "a right answer costs nothing, and every other cell that is not named 1.",
    )
    max: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] | None = Field(
        default=None, description="Highest expected cost per row."
    )

    @model_validator(mode="after")
    def _both(self) -> Self:
        if self.matrix and self.max is None:
            raise ValueError("costs without max ask nothing: set the highest cost per row")
        return self


class SliceSettings(Section):
    """How a model must do on parts of the rows."""

    minimum: Floor | None = Field(
        default=None, description="Lowest share of right answers in a slice."
    )
    recall: ClassName | None = Field(
        default=None,
        description="Class whose rows alone are counted, so that the share is its recall; "
        "by default all rows, and the share is the accuracy.",
    )
    columns: tuple[ClassName, ...] = Field(
        default=(), description="Columns each of whose values is a slice of its own."
    )
    search: bool = Field(
        default=True, description="Whether the worst slices of one and two columns are sought."
    )
    minimum_rows: int = Field(
        default=50, ge=2, strict=True, description="Fewest rows of a slice that is judged."
    )
    behind: Margin = Field(
        default=0.0,
        description="How far the model may be behind the champion in a slice before that counts.",
    )

    @model_validator(mode="after")
    def _asks(self) -> Self:
        if self.columns and self.minimum is None:
            raise ValueError("columns without minimum ask nothing: set the lowest share")
        return self


class CalibrationSettings(Section):
    """How far probabilities may be from what happens."""

    brier: Annotated[float, Field(strict=True, ge=0, lt=2, allow_inf_nan=False)] | None = Field(
        default=None,
        description="Highest Brier score: for two classes 0 to 1, for more up to 2.",
    )
    ece: Ceiling | None = Field(
        default=None, description="Highest expected calibration error of the answered class."
    )
    bins: int = Field(
        default=15, ge=2, le=100, strict=True, description="Bins of equal width, from 0 to 1."
    )


class LatencySettings(Section):
    """How long a freshly loaded copy may take on this machine."""

    row_ms: Positive | None = Field(
        default=None, description="Longest median time for one row, in milliseconds."
    )
    batch_ms: Positive | None = Field(
        default=None, description="Longest median time for 1,000 rows, in milliseconds."
    )


class InvarianceSettings(Section):
    """Columns that must not decide."""

    columns: tuple[ClassName, ...] = Field(
        default=(), description="Columns whose value must not change the answer."
    )
    flips: Ceiling = Field(
        default=0.0,
        description="Highest share of answers that may change when the column is shuffled.",
    )


class RobustnessSettings(Section):
    """How much the answers may suffer from rows that are a little off."""

    noise: Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)] = Field(
        default=0.01, description="Noise added to each number, in its standard deviations."
    )
    flips: Ceiling | None = Field(
        default=None, description="Highest share of answers that the noise may change."
    )
    missing: Annotated[float, Field(strict=True, gt=0, lt=1, allow_inf_nan=False)] = Field(
        default=0.05, description="Share of cells that are emptied."
    )
    drop: Ceiling | None = Field(
        default=None, description="Highest loss of accuracy that the empty cells may cause."
    )


class LeakageSettings(Section):
    """What would be too good to be true."""

    alone: Annotated[float, Field(strict=True, gt=0.5, le=1, allow_inf_nan=False)] = Field(
        default=0.98,
        description="Area under the ROC curve from which a column that predicts the label alone "
        "is taken for a leak.",
    )
    known: tuple[ClassName, ...] = Field(
        default=(),
        description="Columns that are known when a prediction is made, however well they predict.",
    )
    duplicates: Ceiling = Field(
        default=0.01,
        description="Highest share of sealed rows that stand among the learned ones, whatever "
        "their id and time.",
    )


class GateSettings(Section):
    """``[gate]``: what a candidate must do on the sealed rows before it may be promoted."""

    minimum_rows: int = Field(
        default=100,
        ge=1,
        strict=True,
        description="Fewest sealed rows on which a model is judged.",
    )
    metrics: dict[Annotated[str, AfterValidator(known_metric)], Limit] = Field(
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
    minimum_support: int = Field(
        default=10,
        ge=1,
        strict=True,
        description="Fewest sealed rows of each class.",
    )
    on: Literal["estimate", "bound"] = Field(
        default="bound",
        description="What a limit is held against: the end of the confidence interval that is "
        "nearer to the limit, so that a lucky small test set does not pass, or the estimate.",
    )
    confidence: float = Field(
        default=0.95,
        gt=0.5,
        lt=1,
        strict=True,
        allow_inf_nan=False,
        description="Confidence of the intervals and of the tests.",
    )
    scoring: Literal["accuracy", "balanced_accuracy"] = Field(
        default="accuracy",
        description="The scorer by which baselines and champion must be beaten, and by which "
        "overfitting shows; where one class is rare, balanced_accuracy.",
    )
    overfit: Ceiling | None = Field(
        default=None,
        description="Highest score on the training rows less that on the sealed ones.",
    )
    size_mb: Positive | None = Field(
        default=None, description="Largest model file, in megabytes of 1,000,000 bytes."
    )
    baseline: BaselineSettings = Field(
        default_factory=BaselineSettings, description="See [gate.baseline]."
    )
    champion: ChampionSettings = Field(
        default_factory=ChampionSettings, description="See [gate.champion]."
    )
    cost: CostSettings = Field(default_factory=CostSettings, description="See [gate.cost].")
    slices: SliceSettings = Field(default_factory=SliceSettings, description="See [gate.slices].")
    calibration: CalibrationSettings = Field(
        default_factory=CalibrationSettings, description="See [gate.calibration]."
    )
    latency: LatencySettings = Field(
        default_factory=LatencySettings, description="See [gate.latency]."
    )
    invariance: InvarianceSettings = Field(
        default_factory=InvarianceSettings, description="See [gate.invariance]."
    )
    robustness: RobustnessSettings = Field(
        default_factory=RobustnessSettings, description="See [gate.robustness]."
    )
    leakage: LeakageSettings = Field(
        default_factory=LeakageSettings, description="See [gate.leakage]."
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
