"""pipelines.models.families: a project's own families beside the built-in ones."""

import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import ProjectError
from pipelines.models.declared import DeclaredModel
from pipelines.models.families import FAMILIES, Families
from pipelines.models.learner import Rows

OWN = """
from pipelines.models.family import Family
from pipelines.models.learner import Learner, Subsets
from pipelines.models.space import Dimension
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.naive_bayes import GaussianNB


class Centres(ClassifierMixin, BaseEstimator):
    def __init__(self, heat=1.0):
        self.heat = heat

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        self.centres_ = np.stack([X[y == label].mean(axis=0) for label in self.classes_])
        return self

    def predict_proba(self, X):
        far = ((X[:, None] - self.centres_) ** 2).sum(axis=2) / self.heat
        near = np.exp(far.min(axis=1, keepdims=True) - far)
        return near / near.sum(axis=1, keepdims=True)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class Base(Family):
    resource = "rows"

    def starts(self):
        return ({},)


class Near(Base):
    name = "near"

    def space(self):
        return {"heat": Dimension(log=(0.1, 10.0))}

    def build(self, params, *, seed, rows):
        return Centres(**params)


class Bayes(Base):
    name = "bayes"
    share = 2

    def space(self):
        return {}

    def build(self, params, *, seed, rows):
        return GaussianNB(**params)
"""

_X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
_codes = (_X[:, 0] > 0).astype(np.intp)
ROWS = Rows(_X, np.array(["a", "b"])[_codes], _codes, np.array(["a", "b"]))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Write a file of families, with an estimator of its own in it."""
    path = tmp_path / "families.py"
    path.write_text(OWN)
    return path


def test_the_built_in_ones_alone() -> None:
    """Without settings the families are those of the release."""
    assert dict(Families()) == dict(FAMILIES)
    assert Families().own == ()


def test_a_file_of_families(file: Path) -> None:
    """Concrete classes are taken under their names, and found beside the others."""
    families = Families.of({}, file)
    assert set(families) == {*FAMILIES, "near", "bayes"}
    assert families.own == ("near", "bayes")
    assert families["bayes"].share == 2
    assert families["near"].share == 1
    assert list(families.choose(("bayes", "mlp"))) == ["bayes", "mlp"]
    with pytest.raises(ProjectError, match="did you mean bayes"):
        families.choose(("bays",))


def test_a_built_in_family_to_derive_from(file: Path) -> None:
    """A family that the file imports is none of its own; one that derives from it is."""
    derived = "class Strong(Linear):\n    name = 'strong'\n"
    file.write_text(f"{OWN}\nfrom pipelines.models.linear import Linear\n\n{derived}")
    families = Families.of({}, file)
    assert families.own == ("near", "bayes", "strong")
    assert families["strong"].starts() == families["linear"].starts()


def test_declared_beside_a_file(file: Path) -> None:
    """Both come with their recipe through a pickle, and are known by their fingerprint."""
    knn = DeclaredModel(estimator="sklearn.neighbors.KNeighborsClassifier")
    families = Families.of({"knn": knn}, file)
    file.unlink()
    there = pickle.loads(pickle.dumps(families))
    assert set(there) == set(families)
    assert type(there["near"]) is type(families["near"])
    assert there.fingerprint == families.fingerprint
    other = Families({"knn": knn.model_copy(update={"share": 2})})
    assert len({families.fingerprint, other.fingerprint, Families().fingerprint}) == 3


def test_a_learner_comes_back_to_a_fresh_process(file: Path, tmp_path: Path) -> None:
    """What the file defines is unpickled where the recipe was, without the file."""
    families = Families.of({}, file)
    learner = families["near"].start({"heat": 2.0}, seed=0, rows=60)
    learner.advance(ROWS, 30)
    sent = tmp_path / "sent"
    sent.write_bytes(pickle.dumps(families) + pickle.dumps((learner, ROWS)))
    file.unlink()
    code = f"""
    import pickle, sys
    with open({str(sent)!r}, "rb") as stream:
        families = pickle.load(stream)
        learner, rows = pickle.load(stream)
    learner.advance(rows, 60)
    sys.stdout.buffer.write(pickle.dumps(learner))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, check=True
    )
    learner.advance(ROWS, 60)
    back = pickle.loads(done.stdout)
    assert type(back.model) is type(learner.model)
    np.testing.assert_array_equal(back.predict_proba(_X), learner.predict_proba(_X))


def test_the_same_text_is_loaded_once(file: Path) -> None:
    """In one process, so that its classes are the same; another text is another module."""
    first, again = Families.of({}, file), Families.of({}, file)
    assert type(first["near"]) is type(again["near"])
    file.write_text(OWN + "\n# changed\n")
    assert type(Families.of({}, file)["near"]) is not type(first["near"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = (\n", r"families.py, line 1: SyntaxError"),
        ("x = 1\nimport nothing_of_this_name\n", "line 2: ModuleNotFoundError"),
        ("def f():\n    return 1 / 0\nf()\n", "line 2: ZeroDivisionError"),
        ("x = 1\n", "defines at least one family(?s:.)*no such class"),
        (OWN.replace("def build", "def built"), "Near lacks build"),
        (OWN.replace('name = "bayes"', 'name = "near"'), "there is a family near already"),
        (OWN.replace('name = "near"', 'name = "mlp"'), "Near in .*: there is a family mlp already"),
        (OWN.replace('    name = "near"\n', ""), "name = None"),
        (OWN.replace('resource = "rows"', 'resource = "time"'), "give it one of epochs, trees"),
        (OWN.replace("share = 2", "share = 0"), "share = 0"),
        (
            OWN.replace('name = "near"', 'name = "near"\n    def __init__(self, x): ...'),
            "made without arguments",
        ),
    ],
)
def test_a_file_that_is_no_use(text: str, said: str, file: Path) -> None:
    """Each mistake is told with its place and what to do, and leaves nothing behind."""
    file.write_text(text)
    before = set(sys.modules)
    with pytest.raises(ProjectError, match=said) as caught:
        Families.of({}, file)
    assert caught.value.next_move
    if "line" in said:
        assert not {name for name in set(sys.modules) - before if name.startswith("tidegate")}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It is named with what the system says."""
    with pytest.raises(ProjectError, match="No such file"):
        Families.of({}, tmp_path / "families.py")
    with pytest.raises(ProjectError, match="directory"):
        Families.of({}, tmp_path)


def test_a_declared_name_that_is_taken(file: Path) -> None:
    """By a built-in family, or by one of the file's."""
    knn = DeclaredModel(estimator="sklearn.neighbors.KNeighborsClassifier")
    with pytest.raises(ProjectError, match=r"\[train.models.forest\]: there is a family"):
        Families({"forest": knn})
    with pytest.raises(ProjectError, match=r"Near in .*: there is a family near already"):
        Families.of({"near": knn}, file)
