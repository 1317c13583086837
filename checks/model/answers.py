"""What a model answered, by class.

Labels are booleans, integers or strings, and a rule names a class by its text: ``true`` and
``false``, ``3``, or the string itself (`class_name`). A TOML key is a string, whatever the
label is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from checks.model.wording import nearest, quoted

ARROW = "->"
"""Stands between the true and the predicted class in a confusion rule."""

Labels: TypeAlias = NDArray[Any]
"""Shape (n_rows,): booleans, integers or strings."""


class NotJudgedError(ValueError):
    """What keeps a check from being made, said for the reader of the report."""


def class_name(label: object) -> str:
    """Return the text by which rules and reports name a class.

    ``true`` and ``false`` for booleans as TOML writes them, the digits of an integer (also of
    a whole number kept as a float), a string as it is.

    Raises
    ------
    NotJudgedError
        Any other kind of label, a missing one among them.
    """
    if isinstance(label, np.generic):
        label = label.item()
    if isinstance(label, bool):
        return "true" if label else "false"
    if isinstance(label, str):
        return label
    if isinstance(label, int) or (isinstance(label, float) and label.is_integer()):
        return str(int(label))
    raise NotJudgedError(f"a label is a boolean, an integer or a string, not {label!r:.60}")


class _Unscored(tuple[Any, ...]):
    """The classes of a model that gave no answer."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model answered on rows whose truth is known.

    Parameters
    ----------
    labels : iterable of k labels
        Every class that the model can predict or that the rows hold, in the order of the
        columns of ``probabilities``.
    y_true, predictions : ndarray of shape (n_rows,)
    probabilities : ndarray of shape (n_rows, k), optional
        Some scorers need them.
    positive : label, optional
        The class that ``f1``, ``precision``, ``recall`` and their like are about. Without it
        ``True`` or 1 where the classes are ``False`` and ``True`` or 0 and 1.

    Notes
    -----
    Nothing is looked at before it is asked for. Each property raises `NotJudgedError` on
    arrays that it cannot use: other lengths, a missing label, one of another kind, one that
    is none of ``labels``.
    """

    labels: Iterable[Any]
    y_true: Labels
    predictions: Labels
    probabilities: NDArray[Any] | None = None
    positive: object = None

    @classmethod
    def unscored(cls, rows: int) -> Self:
        """Stand for the answers of a model that gave none: each use is a `NotJudgedError`."""
        return cls(_Unscored(), np.empty(rows, dtype=object), np.empty(rows, dtype=object))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The k class names, in the order of ``labels``."""
        if isinstance(self.labels, _Unscored):
            raise NotJudgedError("the candidate could not be scored")
        names = tuple(class_name(label) for label in self.labels)
        if len(set(names)) != len(names):
            raise NotJudgedError("two classes have the same name")
        return names

    @cached_property
    def kind(self) -> str:
        """What the labels are: booleans, integers or strings."""
        return common_kind(self.labels)

    @cached_property
    def truth(self) -> NDArray[np.int64]:
        """Shape (n_rows,): the true classes as positions in ``names``."""
        return self.codes(self.y_true, "the truth")

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """Shape (n_rows,): the predicted classes as positions in ``names``."""
        return self.codes(self.predictions, "the model's answers", like=self.truth)

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Shape (k, k): rows are the true classes, columns the predicted ones."""
        k = len(self.names)
        counts: NDArray[np.int64] = np.bincount(self.truth * k + self.predicted, minlength=k * k)
        return counts.reshape(k, k)

    def codes(
        self,
        values: Labels,
        what: str,
        *,
        like: NDArray[np.int64] | None = None,
        others: bool = False,
    ) -> NDArray[np.int64]:
        """Return labels as positions in ``names``.

        Parameters
        ----------
        values : ndarray of shape (n_rows,)
        what : str
            What a reader calls them.
        like : ndarray of shape (n_rows,), optional
            What they must be as long as.
        others : bool
            Whether a class that is none of ``labels`` is -1 and not an error.
        """
        names = self.names
        values = np.asarray(values)
        if values.ndim != 1 or not len(values):
            raise NotJudgedError(f"{what} of shape {values.shape}, not one label a row")
        if like is not None and len(values) != len(like):
            raise NotJudgedError(f"{len(values)} rows of {what}, but {len(like)} of the truth")
        if values.dtype == object:
            first = {(type(value), value): None for value in values.tolist()}
            place = {key: number for number, key in enumerate(first)}
            inverse = np.array([place[type(value), value] for value in values.tolist()])
            held = [value for _, value in first]
        else:
            unique, inverse = np.unique(values, return_inverse=True)
            held = unique.tolist()
        kind = common_kind(held)
        if kind != self.kind:
            raise NotJudgedError(f"{what} are {kind}, but the classes are {self.kind}")
        code = {name: position for position, name in enumerate(names)}
        found = [class_name(value) for value in held]
        unknown = [name for name in found if name not in code]
        if unknown and (not others or len(unknown) == len(found)):
            raise NotJudgedError(f"{what} hold {quoted(unknown)}, none of the classes")
        positions = np.array([code.get(name, -1) for name in found], dtype=np.int64)
        return np.take(positions, inverse)

    def named(self, name: str) -> int:
        """Return the position of the class that a rule names."""
        if name not in self.names:
            raise NotJudgedError(
                f"the rule names the class {name!r}, which is not there{nearest(name, self.names)}"
            )
        return self.names.index(name)

    def cell(self, key: str) -> tuple[int, int]:
        """Return the positions that ``true -> predicted`` names.

        A class name may hold an arrow itself, so every arrow is tried as the one between.
        """
        parts = key.split(ARROW)
        sides = [
            (ARROW.join(parts[:cut]).strip(), ARROW.join(parts[cut:]).strip())
            for cut in range(1, len(parts))
        ]
        found = [
            (true, predicted)
            for one, other in sides
            for true, left in enumerate(self.names)
            if left.strip() == one
            for predicted, right in enumerate(self.names)
            if right.strip() == other
        ]
        if len(found) > 1:
            raise NotJudgedError(f"{key!r} can be read in {len(found)} ways")
        if not found:
            names = [name.strip() for name in self.names]
            missing = [side for side in sides[0] if side not in names] if sides else []
            raise NotJudgedError(
                f"the rule names {quoted(missing or [key])}, no class that is there"
                f"{nearest((missing or [key])[0], self.names)}"
            )
        if found[0][0] == found[0][1]:
            raise NotJudgedError(f"{key!r} is no confusion; limit it in [gate.recall]")
        return found[0]


def common_kind(labels: Iterable[Any]) -> str:
    """Return what all labels are: booleans, integers or strings.

    Raises
    ------
    NotJudgedError
        They are of several kinds, or there are none.
    """
    kinds = {_kind(label) for label in labels}
    if len(kinds) != 1:
        raise NotJudgedError(
            f"labels are of one kind, not {' and '.join(sorted(kinds))}"
            if kinds
            else "there is no class to judge"
        )
    return kinds.pop()


def _kind(label: object) -> str:
    name = class_name(label)
    if isinstance(label, bool | np.bool_):
        return "booleans"
    return "strings" if isinstance(label, str) and name == label else "integers"
