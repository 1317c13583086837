"""One version of a model in memory, ready to answer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from pipelines.features import Roles
from pipelines.modelfile import Candidate
from pipelines.scoring import answer
from pipelines.serving.rowmodel import (
    NotCompiledError,
    RowModel,
    as_columns,
    compile_model,
    known_levels,
)
from pipelines.serving.schema import Columns, RequestError, as_frame

if TYPE_CHECKING:
    import pandas as pd

AGREES = "agrees"
"""What the tag of a version begins with whose compiled form the gate saw to answer the same."""


class NotServedError(Exception):
    """A version that loads and does not answer as it did when it was logged."""


@dataclass(frozen=True, eq=False)
class Served:
    """One version of a model.

    It is never changed: a request that holds it is answered by one version from end to end.

    Parameters
    ----------
    model : classifier
        Fitted, over conformed frames.
    roles : Roles
        The columns that it reads: what a request is checked against.
    name, version, alias : str
        What it is called in the registry.
    example : DataFrame
        Conformed rows, for the page of the service.
    rows : RowModel or None
        The compiled model, where it may answer.
    path : str
        Why it may or may not.
    git : str or None
        The commit that it was trained at.
    levels : mapping of str to frozenset of str
        The categories that it saw in training, by column.
    """

    model: Any
    roles: Roles
    name: str
    version: str
    alias: str
    example: "pd.DataFrame"
    rows: RowModel | None = None
    path: str = "the pipeline answers"
    git: str | None = None
    levels: Mapping[str, frozenset[str]] | None = None

    @classmethod
    def of(
        cls,
        candidate: Candidate,
        *,
        name: str,
        version: str,
        alias: str,
        tag: str | None = None,
        fast: bool = True,
        git: str | None = None,
    ) -> Self:
        """Make a loaded model ready, and ask it what it was asked when it was logged.

        Parameters
        ----------
        candidate : Candidate
        name, version, alias : str
        tag : str or None
            What the gate found when it compared the compiled model with the pipeline.
        fast : bool
            Whether a compiled model is wanted.
        git : str or None

        Raises
        ------
        NotServedError
            It answers otherwise.
        """
        model, roles = candidate.model, candidate.roles
        rows, path = None, "off: serve.fast is false"
        if fast:
            path = tag or "off: the gate has not compared it"
            if path.startswith(AGREES):
                try:
                    rows = compile_model(model, roles)
                except NotCompiledError as err:
                    path = f"off: {err}"
        served = cls(
            model,
            roles,
            name,
            version,
            alias,
            candidate.example,
            rows,
            path,
            git,
            known_levels(model, roles),
        )
        served.warm(candidate.answers.tolist())
        return served

    def warm(self, expected: Sequence[Any]) -> None:
        """Answer the example, so that the first request finds everything loaded.

        Raises
        ------
        NotServedError
            The answers are not the expected ones.
        """
        given, _ = self.answer(as_columns(self.example, self.roles))
        wrong = sum(a != b for a, b in zip(given, expected, strict=False))
        if wrong or len(given) != len(expected):
            raise NotServedError(
                f"version {self.version} answers {wrong} of {len(expected)} rows of its example "
                "otherwise than when it was logged"
            )

    @property
    def classes(self) -> list[Any]:
        """The classes, as plain Python values, in the order of the probabilities."""
        found: list[Any] = self.model.classes_.tolist()
        return found

    def answer(self, columns: Columns) -> tuple[list[Any], NDArray[np.float64]]:
        """Return a class for each row, and the probability of each class.

        Parameters
        ----------
        columns : Columns
            Checked cells, as `pipelines.serving.schema.check_columns` gives them.

        Raises
        ------
        RequestError
            The numbers are so far from those of training that no probability comes of them.
        """
        if self.rows is not None:
            said, shares = self.rows.answer(columns)
        else:
            predictions, probabilities = answer(self.model, as_frame(columns, self.roles))
            said, shares = predictions.tolist(), np.asarray(probabilities, dtype=np.float64)
        # A sum shows an infinity or NaN in any of them, and is soon made.
        if not math.isfinite(shares.sum()):
            raise RequestError.of(
                "the numbers of a row are of a size that the model can tell something about"
            )
        return said, shares

    def flags(self, columns: Columns) -> list[tuple[str, ...]]:
        """Return, for each row, the columns whose level training never saw."""
        rows = len(next(iter(columns.values()), ()))
        found: list[list[str]] = [[] for _ in range(rows)]
        for name, known in (self.levels or {}).items():
            for row, cell in enumerate(columns[name]):
                if cell is not None and cell not in known:
                    found[row].append(name)
        return [tuple(columns) for columns in found]
