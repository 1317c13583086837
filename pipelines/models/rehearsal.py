"""A rehearsal: what a sweep would find out at its end, found out before it begins.

A space may declare values that the classifier refuses: each trial would fail by one. A family of
the project's own may build a classifier that takes no weights, has no probabilities, or cannot
be stored: hours of a sweep would then be for nothing.
"""

import pickle
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import ProjectError
from pipelines.modelfile import MODEL, read_model
from pipelines.models.family import Family
from pipelines.models.learner import Learner, Rows, stratified
from pipelines.models.space import Dimension, Space, Value

ROWS = 200
"""Rows that are rehearsed with: of the sweep's own, as many columns decide how some fit."""


def check_values(family: Family, space: Space, declared: Mapping[str, Dimension]) -> None:
    """Ask a family's classifier for the ends of each declared dimension.

    Parameters
    ----------
    family : Family
    space : Space
        The whole of it, parents first.
    declared : mapping of str to Dimension
        What the project file puts in it.

    Raises
    ------
    ProjectError
        The classifier does not take a value, or cannot be fitted by steps with it.
    """
    for name, dimension in declared.items():
        for value in dimension.ends:
            params = _with(space, name, value)
            try:
                model = family.build(params, seed=0, rows=ROWS)
                validate = getattr(model, "_validate_params", None)
                if validate is not None:
                    validate()
                if family.resource == "epochs" and not hasattr(model, "partial_fit"):
                    raise ValueError("with it there are no epochs to go on by: no partial_fit")
            except (TypeError, ValueError, AttributeError) as err:
                raise ProjectError(
                    f"A space holds values that {family.name} takes.",
                    found=f"train.space.{family.name}.{name}, {value!r}: {_first_line(err)}",
                    next_move="leave the value out of the dimension",
                ) from err


def _with(space: Space, name: str, value: Value) -> dict[str, Value]:
    """Return a configuration that has a value, and what the value depends on."""
    wanted, asked = {name: value}, [name]
    while asked:
        for parent, chosen in space[asked.pop()].when.items():
            if parent not in wanted:
                wanted[parent] = chosen
                asked.append(parent)
    params: dict[str, Value] = {}
    for key, dimension in space.items():
        if key in wanted or dimension.exists(params):
            params[key] = wanted.get(key, dimension.first)
    return params


def rehearse(family: Family, params: Mapping[str, Value], rows: Rows) -> None:
    """Fit a family's model on a few rows, send it on a trip, and store it as a winner is.

    Parameters
    ----------
    family : Family
    params : mapping
        Of the first trial.
    rows : Rows
        The sweep's.

    Raises
    ------
    ProjectError
        It cannot be fitted on them, or not stored; it says why.
    """
    few = rows.take(np.sort(stratified(rows, seed=0)[: max(ROWS, len(rows.classes))]))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            learner = _learned(family, params, few)
            model = learner.estimator()
            found = model.predict_proba(few.X)
    except FloatingPointError:
        return  # That is these parameters' own; the sweep knows what to do.
    except Exception as err:
        raise _refused(
            family,
            f"{type(err).__name__}: {_first_line(err)}",
            "its build() returns a classifier of scikit-learn's that has predict_proba"
            + (" and whose fit takes sample_weight" if rows.weights is not None else ""),
        ) from err
    if found.shape != (len(few.X), len(few.classes)):
        raise _refused(
            family,
            f"predict_proba gives {found.shape}, of {len(few.classes)} classes",
            "let it give a probability of each class",
        )
    _store(family, model, few)


def _learned(family: Family, params: Mapping[str, Value], few: Rows) -> Learner:
    learner = family.start(params, seed=0, rows=len(few.X))
    learner.advance(few, 1 if family.resource != "rows" else len(few.X))
    learner.predict_proba(few.X)
    travelled: Learner = pickle.loads(pickle.dumps(learner))
    if family.resource != "rows":
        travelled.advance(few, 2)
    return travelled


def _store(family: Family, model: Any, few: Rows) -> None:
    import skops.io

    try:
        with tempfile.TemporaryDirectory() as folder:
            skops.io.dump(model, Path(folder) / MODEL)
            read_model(Path(folder)).predict_proba(few.X)
    except Exception as err:
        raise _refused(
            family,
            f"{type(model).__name__} cannot be stored: {_first_line(err)}",
            "build it of scikit-learn's own classifiers: a model file holds nothing that "
            "would run code of its own when it is served; see docs/models.md",
        ) from err


def _first_line(err: Exception) -> str:
    return (str(err).strip().splitlines() or ["no reason given"])[0][:300]


def _refused(family: Family, found: str, next_move: str) -> ProjectError:
    return ProjectError(
        f"The family {family.name} can be fitted, sent between processes and stored.",
        found=found,
        next_move=next_move,
    )
