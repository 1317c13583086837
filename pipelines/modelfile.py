"""The files of a stored model, and how they are read: without MLflow, which takes seconds."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pipelines.errors import ModelError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from sklearn.base import ClassifierMixin

    from pipelines.features import Roles
    from pipelines.learned import Learned

TREE_TYPES = (
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
)
"""What is trusted by `pipelines.trees.load` alone, and not by skops."""

TRUSTED_TYPES = (
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    *TREE_TYPES,
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.utils._bunch.Bunch",
)
"""What a model file may hold beyond skops' own list. Each was read: a dtype or a holder of
arrays and numbers, whose making runs no code that the file names. Trees are followed without
bounds, so that `pipelines.trees.load` looks at each before it is used. scikit-learn's public
estimators need no entry, a `FixedThresholdClassifier` and the `FrozenEstimator` in it neither:
skops makes them without a call and sets their state."""

MODEL = "model.skops"
SIGNATURE = "MLmodel"
REFERENCE = "reference.parquet"
EXAMPLE = "example.parquet"
ANSWERS = "answers.json"
LEARNED = "learned.npz"

_MOST_CHARACTERS = 300


@dataclass(frozen=True)
class Candidate:
    """A model read back from the store, with what was kept beside it.

    Parameters
    ----------
    model : classifier
        Fitted.
    roles : Roles
        The columns that it reads.
    example : DataFrame
        The rows of the input example, conformed to the roles.
    answers : ndarray of shape (n_rows,)
        What the model said to the example when it was logged.
    fingerprints : Learned or None
        Of the rows that it learned from; None where none were kept.
    """

    model: "ClassifierMixin"
    roles: "Roles"
    example: "pd.DataFrame"
    answers: "NDArray[Any]"
    fingerprints: "Learned | None" = None

    @property
    def learned(self) -> "Learned":
        """Which rows the model learned from.

        Raises
        ------
        ModelError
            Nothing was kept of them. Serving does without; a fair comparison cannot.
        """
        if self.fingerprints is None:
            raise ModelError(
                "Beside a model it is kept which rows it learned from.",
                found=f"there is no {LEARNED}",
                next_move="train again",
            )
        return self.fingerprints


def read_roles(folder: Path) -> "Roles":
    """Read from a model's signature which columns it takes, and how.

    Numbers are doubles there, everything else is text.
    """
    import yaml

    from pipelines.features import Roles

    described = yaml.safe_load((folder / SIGNATURE).read_text(encoding="utf-8"))
    columns = json.loads(described["signature"]["inputs"])
    numeric = tuple(column["name"] for column in columns if column["type"] == "double")
    rest = tuple(column["name"] for column in columns if column["type"] != "double")
    return Roles(numeric, rest)


def read_model(folder: Path) -> "ClassifierMixin":
    """Load the model file, which may hold nothing but skops' own types and `TRUSTED_TYPES`."""
    from pipelines import trees

    # Our list, and not the one in the folder, which is no more to be trusted than the model
    # that it comes with.
    return cast("ClassifierMixin", trees.load(folder / MODEL, trusted=list(TRUSTED_TYPES)))


def read_candidate(folder: Path, location: str) -> Candidate:
    """Read a model and what was kept beside it.

    Parameters
    ----------
    folder : Path
    location : str
        Where the folder comes from, as an error names it.

    Raises
    ------
    ModelError
        A file is missing, damaged, or holds what is not trusted.
    OSError
        The disk does not let the files be read.
    """
    import numpy as np
    import pandas as pd

    from pipelines.features import conform
    from pipelines.learned import Learned

    try:
        roles, model = read_roles(folder), read_model(folder)
        answers = np.array(json.loads((folder / ANSWERS).read_text()))
        example = conform(pd.read_parquet(folder / EXAMPLE), roles)
        kept = folder / LEARNED
        fingerprints = Learned.load(kept) if kept.exists() else None
    except Exception as err:
        if isinstance(err, OSError) and not _is_of_the_file(err):
            raise
        raise ModelError(
            "A logged model can be read back.",
            found=f"{location}: {type(err).__name__}: {_first_line(err)}",
            next_move="train again, or restore the file",
        ) from err
    return Candidate(model, roles, example, answers, fingerprints)


def _is_of_the_file(err: OSError) -> bool:
    """Tell a file that is missing or damaged from a disk that fails.

    Arrow says damage as an OSError that no system call gave.
    """
    return err.errno is None or isinstance(
        err, FileNotFoundError | NotADirectoryError | IsADirectoryError
    )


def _first_line(err: BaseException) -> str:
    lines = str(err).strip().splitlines() or [type(err).__name__]
    return lines[0][:_MOST_CHARACTERS]
