"""The page that a reviewer reads first: a run's description, as markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.explanation import Explanation
from pipelines.sweep.sweep import SweepResult
from pipelines.sweep.trial import Trial
from pipelines.sweep_wording import ended, findings
from pipelines.threshold import Tuned, named

_BEST = 5
_AIMS = {
    "cost": "the lowest cost",
    "f_beta": "the highest F-beta (beta {beta:g})",
    "recall_at_precision": "the highest recall at a precision of {precision:g} or more",
}


def data_section(facts: Mapping[str, Any]) -> str:
    """Say which data the run learned from; ``facts`` is a two-column table."""
    rows = [f"| {_cell(name)} | {_cell(value)} |" for name, value in facts.items()]
    return "\n".join(["## The data", "", "| | |", "|---|---|", *rows, ""])


def sweep_section(result: SweepResult, told: Explanation) -> str:
    """Say what was tried, which trial won and why, and what the trials taught.

    Parameters
    ----------
    result : SweepResult
    told : Explanation
        From `pipelines.explanation.explain`.
    """
    best = result.best
    scored = sorted(
        (t for t in result.trials if t.state != "FAILED" and t.score is not None),
        key=lambda t: (-(t.score or 0.0), t is not best, t.number),
    )
    plain = next((t.score for t in scored if t.family == "linear"), None)
    lines = [
        "## What was tried",
        "",
        ended(result),
        "",
        f"**Trial {best.number} ({_cell(best.family)}) won**: its {result.scoring} on the "
        f"validation rows, {best.score:.4f}, is the highest of {len(scored):,}"
        + (
            f"; the best plain linear model has {plain:.4f}."
            if plain is not None and best.family != "linear"
            else "."
        ),
        "",
        f"| trial | family | {result.scoring} | on training rows | configuration |",
        "|---:|---|---:|---:|---|",
        *[_trial(trial) for trial in scored[:_BEST]],
        "",
    ]
    found = findings(result, told)
    if found:
        lines += [*(f"- {_cell(each)}" for each in found), ""]
    return "\n".join(lines)


def threshold_section(tuned: Tuned) -> str:
    """Say from which probability on the model answers the positive class, and what that brought."""
    settings, positive = tuned.aim.settings, named(tuned.aim.positive)
    sought = _AIMS[settings.objective].format(
        beta=settings.beta or 1.0, precision=settings.precision or 0.0
    )
    brought = ", ".join(
        f"{name.replace('_', ' ')} {tuned.before[name]:.4f} before, {value:.4f} after"
        for name, value in tuned.after.items()
    )
    constant = (
        ""
        if tuned.constant is None
        else f" **To answer {named(tuned.constant)} always would do as well or better.**"
    )
    return (
        "## The threshold\n\n"
        f"The model answers {positive} from a probability of {tuned.threshold:.4g} on, found on "
        f"the validation rows for {sought}: {brought}.{constant}\n"
    )


def compose(title: str, sections: Sequence[str]) -> str:
    """Put a page together."""
    return "\n".join([f"# {title}", "", *sections])


def _trial(trial: Trial) -> str:
    given = _cell(", ".join(f"{name}={_value(value)}" for name, value in trial.params.items()))
    learned = "" if trial.train_score is None else f"{trial.train_score:.4f}"
    return f"| {trial.number} | {_cell(trial.family)} | {trial.score:.4f} | {learned} | {given} |"


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
