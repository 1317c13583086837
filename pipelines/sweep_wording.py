"""A sweep in sentences, the same on the run's page and in the report."""

from collections.abc import Mapping, Sequence

from pipelines.explanation import Explanation, Survival, TurningPoint
from pipelines.parameters import Part
from pipelines.sweep.sweep import SweepResult

_MENTIONED = 3

_ENDS = {
    "trials": "all its trials were used",
    "seconds": "its time was up",
    "no improvement": "nothing better was found for too long",
    "target score": "a configuration was good enough",
    "interrupted": "it was interrupted",
}


def ended(result: SweepResult) -> str:
    """Say how much was tried, and why the sweep ended."""
    states = [trial.state for trial in result.trials]
    families = sorted({trial.family for trial in result.trials})
    return (
        f"{len(states):,} trials of {', '.join(families)} in {result.seconds:.0f} s: "
        f"{states.count('FINISHED'):,} finished, {states.count('KILLED'):,} stopped early, "
        f"{states.count('FAILED'):,} failed. The sweep ended because {_ENDS[result.stopped]}."
    )


def findings(result: SweepResult, told: Explanation) -> list[str]:
    """Say what the sweep found, a sentence each: what mattered, where, and at what price."""
    said = []
    if result.ensemble is not None:
        numbers = ", ".join(map(str, result.ensemble.trials))
        said.append(
            f"Trials {numbers} vote: together they have {result.ensemble.score:.4f}, more than "
            "the best one."
        )
    if result.importance:
        said.append(mattered(result.importance))
    if told.turning is not None:
        said.append(turned(told.turning, result.scoring))
    elif told.neurons is not None:
        said.append("From how many neurons on more of them do not help, these trials cannot tell.")
    alike = [each for each in told.survival if each.family == told.family]
    if alike:
        said.append(survived(alike))
    worked = sum(each.seconds for each in told.spent)
    full = sum(each.full_seconds for each in told.spent)
    if full > worked > 0:
        said.append(
            f"The workers were busy for {worked:,.0f} s; all trials, trained as far as the "
            f"furthest, would have taken about {full:,.0f} s."
        )
    if told.learned:
        count = sum(part.parameters for part in told.learned)
        said.append(
            f"The sweep chose {len(result.best.params)} hyperparameters; the winner learned "
            f"{count:,} parameters: {_parts(told.learned)}."
        )
    return said


def mattered(importance: Mapping[str, float]) -> str:
    """Say which hyperparameters mattered most."""
    named = sorted(importance.items(), key=lambda pair: -pair[1])[:_MENTIONED]
    return f"What mattered most: {', '.join(f'{name} {share:.0%}' for name, share in named)}."


def turned(turning: TurningPoint, scoring: str) -> str:
    """Say from where on more neurons are not better."""
    return (
        f"More than {turning.neurons:,} neurons are not better: beyond, {scoring} has a median "
        f"{turning.score.median:+.4f} ({turning.score.low:+.4f} to {turning.score.high:+.4f}), "
        f"and the gap between training and validation {turning.gap.median:+.4f} "
        f"({turning.gap.low:+.4f} to {turning.gap.high:+.4f})."
    )


def survived(alike: list[Survival]) -> str:
    """Say how many trials of one family entered each rung."""
    entered = " → ".join(f"{each.entered:,}" for each in alike)
    rest = [
        (sum(each.ended for each in alike), "ended when they got no better"),
        (sum(each.failed for each in alike), "failed"),
    ]
    more = "".join(f"; {count:,} {words}" for count, words in rest if count)
    return f"Of {alike[0].family}, {entered} trials entered rung after rung{more}."


def _parts(learned: Sequence[Part]) -> str:
    named = [f"{part.name} ({part.shape})" for part in learned[:_MENTIONED]]
    rest = len(learned) - len(named)
    return ", ".join(named) + (f" and {rest} more" if rest else "")
