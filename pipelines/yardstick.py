"""The simple model that a better one has to beat."""

import warnings

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from pipelines.features import Roles, preprocessor


def fit_yardstick(X: pd.DataFrame, y: NDArray[np.generic], roles: Roles) -> Pipeline:
    """Fit an untuned logistic regression.

    Parameters
    ----------
    X : DataFrame of shape (n_rows, n_features)
        Conformed to the roles.
    y : ndarray of shape (n_rows,)
    roles : Roles

    Returns
    -------
    Pipeline
        From a conformed frame to a label. It stops early: two digits of its score are
        enough, and it is no model to keep.
    """
    model = Pipeline(
        [
            ("preprocess", preprocessor(roles)),
            ("model", LogisticRegression(max_iter=100, tol=1e-2)),
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, y)
