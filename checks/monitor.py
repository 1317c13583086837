"""``[monitor]``: when traffic counts as drifted, and what comes of it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class PolicySettings(BaseModel):
    """``[monitor.policy]``: what a verdict leads to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    performance: Literal["alert", "retrain"] = Field(
        "retrain", description="What a confirmed loss of performance leads to."
    )
    drift: Literal["alert", "challenger"] = Field(
        "challenger",
        description="What confirmed drift without labels leads to: an alert, or also a "
        "challenger, which is trained and promoted by nobody but a person.",
    )
    minimum_labels: int = Field(
        500, ge=1, description="Fewest labelled rows, new since the last training, to retrain on."
    )
    cooldown_hours: float = Field(
        24.0, ge=0, description="Hours after a retraining in which there is no other."
    )
    most_a_day: int = Field(2, ge=1, description="Most retrainings within 24 hours.")
    maximum_age_days: float | None = Field(
        None,
        gt=0,
        description="Age of the champion at which it is retrained without any other reason.",
    )


class AlertSettings(BaseModel):
    """``[monitor.alerts]``: who is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    urls: tuple[str, ...] = Field(
        (),
        description="Where alerts go: https:// takes JSON, slack+https:// a webhook of Slack's "
        "shape, and mailto:// or whatever else apprise knows. With a secret in it, give it as "
        "TIDEGATE_MONITOR__ALERTS__URLS.",
    )
    link: str | None = Field(
        None, min_length=1, description="Address of your tracking pages, for the link in an alert."
    )
    repeat_hours: float = Field(
        24.0, ge=0, description="Hours in which an alert that was sent is not sent again."
    )


class MonitorSettings(BaseModel):
    """``[monitor]``: when traffic counts as drifted, and what comes of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum_rows: int = Field(
        200, ge=20, description="Fewest rows of a window that can tell anything."
    )
    alpha: float = Field(
        0.01, gt=0, lt=1, description="Highest chance of any false alarm in a window."
    )
    numeric_effect: float = Field(
        0.08, ge=0, le=1, description="Smallest Kolmogorov-Smirnov distance that counts."
    )
    categorical_effect: float = Field(
        0.1, ge=0, le=1, description="Smallest total variation distance that counts."
    )
    missing_effect: float = Field(
        0.05, ge=0, le=1, description="Smallest change of the missing share that counts."
    )
    level_effect: float = Field(
        0.02, ge=0, le=1, description="Smallest share of rows with a category never seen before."
    )
    score_effect: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Smallest Kolmogorov-Smirnov distance of a class's probabilities that counts.",
    )
    together: bool = Field(
        True,
        description="Whether a classifier tries to tell the window from the reference, which "
        "finds what no single column shows.",
    )
    together_effect: float = Field(
        0.6, ge=0.5, le=1, description="Smallest area under its ROC curve that counts."
    )
    in_a_row: int = Field(
        2, ge=1, description="Windows in a row that must show the same drift before it alarms."
    )
    uninformative: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Share of past windows in which a column moved from which its moving tells "
        "nothing.",
    )
    minimum_labels: int = Field(
        100, ge=20, description="Fewest labelled rows of a window by which performance is judged."
    )
    period_hours: float = Field(
        24.0, gt=0, description="How often traffic, labels and a monitoring run are expected."
    )
    silent_periods: int = Field(
        2, ge=1, description="Periods without one of them that are an alert of their own."
    )
    expect_labels: bool = Field(
        True, description="Whether labels are expected at all; silence alarms once one has come."
    )
    policy: PolicySettings = Field(
        default_factory=PolicySettings, description="See [monitor.policy]."
    )
    alerts: AlertSettings = Field(
        default_factory=AlertSettings, description="See [monitor.alerts]."
    )
