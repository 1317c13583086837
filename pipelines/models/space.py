"""Search spaces: what a parameter may be, and when it exists at all."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

Value = bool | int | float | str
"""What one parameter of one trial can be."""

_SORTS = ("uniform", "log", "int", "choice")


class Dimension(BaseModel):
    """The values that one parameter may take: exactly one sort, and perhaps a condition."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, serialize_by_alias=True
    )

    uniform: tuple[FiniteFloat, FiniteFloat] | None = Field(
        None, description="Lowest and highest value, each value between them equally likely."
    )
    log: tuple[FiniteFloat, FiniteFloat] | None = Field(
        None, description="Lowest and highest value, each order of magnitude equally likely."
    )
    integer: tuple[int, int] | None = Field(
        None, alias="int", description="Lowest and highest whole number, both included."
    )
    choice: tuple[Value, ...] | None = Field(
        None, min_length=1, description="The values to choose from; one value fixes the parameter."
    )
    when: dict[str, Value] = Field(
        default_factory=dict,
        description="Other parameters of the family and the value each must have for this one "
        "to exist.",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_known_sort(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            raise ValueError(f"a table such as {{log = [1e-6, 1e-2]}} is wanted: {given!r}")
        known = (*_SORTS, "when", "integer")
        for key in given:
            if key not in known:
                raise ValueError(
                    f"{key} is no way to declare values{nearest(key, (*_SORTS, 'when'))}"
                )
        if len([key for key in given if key != "when"]) != 1:
            raise ValueError(
                f"exactly one of {', '.join(_SORTS)} is wanted: {', '.join(given) or 'none'} given"
            )
        return given

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name, bounds in (("uniform", self.uniform), ("log", self.log), ("int", self.integer)):
            if bounds is not None and bounds[0] >= bounds[1]:
                raise ValueError(
                    f"{name} = {list(bounds)}: the lower bound comes first; "
                    f"fix a value with choice = [{bounds[0]}]"
                )
        if self.log is not None and self.log[0] <= 0:
            raise ValueError(f"log = {list(self.log)}: a logarithm needs bounds above 0")
        if self.choice is not None and len(set(self.choice)) < len(self.choice):
            raise ValueError(f"choice = {list(self.choice)}: a value is given twice")
        return self

    @model_serializer(mode="wrap")
    def _only_given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if value not in (None, {})}

    @property
    def types(self) -> set[type]:
        """The types of the values."""
        if self.choice is not None:
            return {type(value) for value in self.choice}
        return {int} if self.integer is not None else {float}

    @property
    def first(self) -> Value:
        """The first of the values, or the lowest."""
        if self.choice is not None:
            return self.choice[0]
        return (self.integer or self.log or self.uniform or (0,))[0]

    @property
    def ends(self) -> tuple[Value, ...]:
        """Each of the values where they are named, else the lowest and the highest."""
        return self.choice or self.integer or self.log or self.uniform or ()

    def contains(self, value: Value) -> bool:
        """Tell whether the parameter may have this value."""
        if self.choice is not None:
            return value in self.choice
        if isinstance(value, (bool, str)):
            return False
        low, high = self.uniform or self.log or self.integer or (0, 0)
        return low <= value <= high and (self.integer is None or isinstance(value, int))

    def exists(self, chosen: Mapping[str, Value]) -> bool:
        """Tell whether the parameter exists beside those already chosen."""
        return all(name in chosen and chosen[name] == value for name, value in self.when.items())


Space = dict[str, Dimension]
"""Parameters by name, each after those that its condition names."""


def merge(own: Space, declared: Mapping[str, Dimension]) -> Space:
    """Put declared dimensions in the place of a family's own.

    A dimension of the family's own whose condition can no longer hold is left out: with the
    solver fixed to another one there is no momentum.

    Raises
    ------
    ValueError
        A declared condition names no parameter, or a value that it cannot have; or
        conditions go round in a circle.
    """
    space = {**own, **declared}
    for name in own.keys() - declared.keys():
        if any(not _possible(space, parent, value) for parent, value in own[name].when.items()):
            del space[name]
    for name, dimension in declared.items():
        for parent, value in dimension.when.items():
            if parent not in space:
                raise ValueError(
                    f"{name} depends on {parent}, which is not searched{nearest(parent, space)}"
                )
            if not _possible(space, parent, value):
                raise ValueError(f"{name} depends on {parent} = {value!r}, which it can never be")
    return _parents_first(space)


def _possible(space: Space, parent: str, value: Value) -> bool:
    return parent in space and space[parent].contains(value)


def _parents_first(space: Space) -> Space:
    ordered: Space = {}
    while len(ordered) < len(space):
        ready = [
            name
            for name, dimension in space.items()
            if name not in ordered and dimension.when.keys() <= ordered.keys()
        ]
        if not ready:
            circle = ", ".join(name for name in space if name not in ordered)
            raise ValueError(f"each of {circle} depends on another of them")
        ordered |= {name: space[name] for name in ready}
    return ordered


def nearest(word: str, known: Iterable[str]) -> str:
    """Say which known name was likely meant, or which there are."""
    names = list(known)
    close = get_close_matches(word, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(names)}"
