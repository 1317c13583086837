"""pipelines.models.space: what a parameter may be, and when it exists."""

import tomllib

import pytest
from pydantic import ValidationError

from pipelines.models.space import Dimension, merge


def dimension(toml: str) -> Dimension:
    """Read a dimension as the project file gives it."""
    return Dimension.model_validate(tomllib.loads(f"it = {toml}")["it"])


@pytest.mark.parametrize(
    ("toml", "inside", "outside"),
    [
        ("{uniform = [0.1, 0.9]}", [0.1, 0.5, 0.9], [0.0, 1.0, "0.5", True]),
        ("{log = [1e-6, 1e-2]}", [1e-6, 1e-3, 1e-2], [0.0, 1.0]),
        ("{int = [1, 6]}", [1, 6], [0, 7, 2.5, True]),
        ('{choice = ["adam", "sgd"]}', ["adam", "sgd"], ["lbfgs", 1]),
        ("{choice = [64]}", [64], [65, "64"]),
    ],
)
def test_contains(toml: str, inside: list[object], outside: list[object]) -> None:
    """A dimension holds the values between its bounds, both included, and of its type alone."""
    found = dimension(toml)
    assert all(found.contains(value) for value in inside)
    assert not any(found.contains(value) for value in outside)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[1, 2]", "a table such as"),
        ("{}", "exactly one of uniform, log, int, choice is wanted: none given"),
        ("{when = {a = 1}}", "exactly one of"),
        ("{uniform = [0, 1], log = [1, 2]}", "exactly one of"),
        ("{unifrom = [0, 1]}", "did you mean uniform"),
        ("{uniform = [1, 0]}", "the lower bound comes first"),
        ("{int = [3, 3]}", r"fix a value with choice = \[3\]"),
        ("{int = [1, 2.5]}", "valid integer"),
        ("{log = [0, 1]}", "bounds above 0"),
        ("{uniform = [0]}", "Field required"),
        ("{uniform = [0, 1, 2]}", "at most 2 items"),
        ("{uniform = [0, inf]}", "finite number"),
        ('{uniform = ["a", "b"]}', "valid number"),
        ("{choice = []}", "at least 1 item"),
        ('{choice = ["a", "a"]}', "given twice"),
        ("{choice = [[1, 2]]}", "valid"),
    ],
)
def test_bad_dimensions(toml: str, said: str) -> None:
    """A dimension that cannot be meant is refused with a message that says what is wanted."""
    with pytest.raises(ValidationError, match=said):
        dimension(toml)


@pytest.mark.parametrize(
    "toml",
    [
        "{log = [1e-06, 0.01]}",
        "{int = [1, 6]}",
        '{choice = [2, true, "a"]}',
        '{uniform = [0.1, 0.9], when = {solver = "sgd"}}',
    ],
)
def test_round_trip(toml: str) -> None:
    """A dimension is written as it was declared, without what was not given."""
    assert dimension(toml).model_dump(mode="json") == tomllib.loads(f"it = {toml}")["it"]


def test_a_condition() -> None:
    """A conditional parameter exists when every parameter that it names has its value."""
    momentum = dimension('{uniform = [0, 1], when = {solver = "sgd", layers = 2}}')
    assert momentum.exists({"solver": "sgd", "layers": 2})
    assert not momentum.exists({"solver": "adam", "layers": 2})
    assert not momentum.exists({"solver": "sgd"})


OWN = {
    "momentum": dimension('{uniform = [0, 1], when = {solver = "sgd"}}'),
    "solver": dimension('{choice = ["adam", "sgd"]}'),
    "alpha": dimension("{log = [1e-6, 1]}"),
}


def test_merge_takes_the_place() -> None:
    """A declared dimension takes the place of the family's own, and the others stay."""
    alpha = dimension("{choice = [0.5]}")
    assert merge(OWN, {"alpha": alpha}) == {**OWN, "alpha": alpha}


def test_merge_orders() -> None:
    """A parameter comes after those that it depends on, whatever the order of declaration."""
    names = list(merge(OWN, {}))
    assert names.index("solver") < names.index("momentum")


def test_merge_drops_the_impossible() -> None:
    """A parameter of the family's own that can no longer exist is left out."""
    assert "momentum" not in merge(OWN, {"solver": dimension('{choice = ["adam"]}')})


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"alpha": '{log = [1, 2], when = {slover = "sgd"}}'}, "did you mean solver"),
        ({"alpha": '{log = [1, 2], when = {solver = "lbfgs"}}'}, "which it can never be"),
        (
            {
                "alpha": "{choice = [1], when = {beta = 1}}",
                "beta": "{choice = [1], when = {alpha = 1}}",
            },
            "each of alpha, beta depends on another",
        ),
    ],
)
def test_bad_conditions(declared: dict[str, str], said: str) -> None:
    """A declared condition that can never hold is refused rather than ignored."""
    with pytest.raises(ValueError, match=said):
        merge(OWN, {name: dimension(toml) for name, toml in declared.items()})
