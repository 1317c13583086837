"""Which parameters the score hung on."""

import warnings

import optuna
from optuna.trial import TrialState


def importance(study: optuna.Study | None) -> dict[str, float]:
    """Return each parameter's share of what made trials good, largest first.

    PED-ANOVA [1]_ over the trials of one family at one rung: how differently each parameter
    is distributed among the best of them. The shares add up to 1 and rank the parameters; with
    tens of trials they are no more than a hint.

    Parameters
    ----------
    study : Study or None
        What is known of the trials at that rung; None where too little is.

    Returns
    -------
    dict of str to float
        Empty where too little is known, or when they are all alike.

    References
    ----------
    .. [1] S. Watanabe, A. Bansal and F. Hutter, "PED-ANOVA: Efficiently Quantifying
       Hyperparameter Importance in Arbitrary Subspaces", 2023,
       https://arxiv.org/abs/2304.10255
    """
    if study is None:
        return {}
    known = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len({trial.value for trial in known}) < 2:
        return {}
    with warnings.catch_warnings():
        # Of a parameter that few trials have it says that it can tell little.
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(study)
    return dict(sorted(found.items(), key=lambda item: -item[1]))
