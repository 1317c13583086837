"""docs/models.md: what it says of families is so, and its examples run."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from pipelines.models.declared import Declared, DeclaredModel
from pipelines.models.families import DEFAULT_FAMILIES, FAMILIES, Families
from pipelines.models.family import Family
from pipelines.models.learner import Rows
from pipelines.models.rehearsal import rehearse
from pipelines.models.space import Dimension, merge

PAGE = Path(__file__).parents[3] / "docs" / "models.md"

pytestmark = pytest.mark.skipif(
    not PAGE.exists(), reason="the documentation is not part of the wheel"
)

_X = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
_codes = (_X[:, 0] * _X[:, 1] > 0).astype(np.intp)
ROWS = Rows(_X, np.array(["a", "b"])[_codes], _codes, np.array(["a", "b"]))


def blocks(language: str) -> list[str]:
    """Return the page's examples in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.M | re.S)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_every_family_stands_in_the_table(family: Family) -> None:
    """With its estimator, resource, share, and each parameter that it searches."""
    found = re.search(rf"^\| `{family.name}` \|.*$", PAGE.read_text(), re.M)
    assert found is not None
    row = found[0]
    estimator = type(family.build({}, seed=0, rows=9)).__name__
    assert f"| `{estimator}` | {family.resource} |" in row
    assert row.endswith(f"| {family.share} |")
    if family.name != "extra_trees":
        assert all(f"`{name}`" in row for name in family.space())


def test_the_first_three_are_the_default() -> None:
    """The page says which families are tried, by their place in its table."""
    rows = re.findall(r"^\| `(\w+)` \| `\w+` \| \w+ \|", PAGE.read_text(), re.M)
    assert tuple(rows[:3]) == DEFAULT_FAMILIES
    assert rows == list(FAMILIES)


def test_the_spaces_shown_can_be_declared() -> None:
    """Each dimension is one that its family takes."""
    for block in blocks("toml"):
        for name, space in tomllib.loads(block)["train"].get("space", {}).items():
            declared = {key: Dimension.model_validate(given) for key, given in space.items()}
            if name in FAMILIES:
                for key, dimension in declared.items():
                    FAMILIES[name].check(key, dimension)
                merge(FAMILIES[name].space(), declared)


def test_the_declared_model_shown_can_be_trained_and_stored() -> None:
    """From its table in the project file to a model file."""
    (train,) = [tomllib.loads(b)["train"] for b in blocks("toml") if "train.models" in b]
    (name,) = train["models"]
    family = Declared(name, DeclaredModel.model_validate(train["models"][name]))
    for key, given in train["space"][name].items():
        family.check(key, Dimension.model_validate(given))
    assert name in train["families"]
    rehearse(family, family.starts()[0], ROWS)


def test_the_family_shown_can_be_trained_and_stored(tmp_path: Path) -> None:
    """From its file to a model file."""
    (text,) = blocks("python")
    file = tmp_path / "families.py"
    file.write_text(text)
    (name,) = Families.of({}, file).own
    family = Families.of({}, file)[name]
    rehearse(family, family.starts()[0], ROWS)
    learner = family.start(family.starts()[0], seed=0, rows=300)
    learner.advance(ROWS, 300)
    assert (learner.predict_proba(_X).argmax(axis=1) == _codes).mean() > 0.9
