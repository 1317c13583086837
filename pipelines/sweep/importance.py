"""Which parameters the score hung on."""

import optuna
from optuna.trial import TrialState

MINIMUM_TRIALS = 8
"""Fewer finished trials of a family say nothing about its parameters."""


def importance(study: optuna.Study) -> dict[str, float]:
    """Return each parameter's share of what made trials good, largest first.

    PED-ANOVA [1]_ over the finished trials of one family: how differently each parameter is
    distributed among the best of them. The shares add up to 1 and rank the parameters; with
    tens of trials they are no more than a hint.

    Returns
    -------
    dict of str to float
        Empty with fewer than `MINIMUM_TRIALS` finished trials, or when they are all alike.

    References
    ----------
    .. [1] S. Watanabe, A. Bansal and F. Hutter, "PED-ANOVA: Efficiently Quantifying
       Hyperparameter Importance in Arbitrary Subspaces", 2023,
       https://arxiv.org/abs/2304.10255
    """
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(finished) < MINIMUM_TRIALS or len({trial.value for trial in finished}) == 1:
        return {}
    found = optuna.importance.get_param_importances(study)
    return dict(sorted(found.items(), key=lambda item: -item[1]))
