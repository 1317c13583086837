"""pipelines.serving.rowmodel: what is compiled answers as the pipeline does, or is not used."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from pipelines.features import Roles, conform, preprocessor
from pipelines.models.families import FAMILIES
from pipelines.scoring import answer
from pipelines.serving.rowmodel import (
    LEAST_ROWS,
    Agreement,
    NotCompiledError,
    as_columns,
    compare,
    compile_model,
    known_levels,
)
from pipelines.serving.schema import check_columns

ROLES = Roles(numeric=("delay", "seats", "paid"), categorical=("carrier", "tail"))


def table(rows: int = 400, classes: int = 2) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows with missing cells and with rare, common and absent levels."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "delay": random.normal(size=rows),
            "seats": random.integers(50, 300, rows).astype(float),
            "paid": random.random(rows) < 0.5,
            "carrier": random.choice(["AA", "UA", "DL"], rows),
            "tail": [f"N{int(n)}" for n in random.exponential(12, rows)],
        }
    )
    frame.loc[::10, "seats"] = np.nan
    frame.loc[::15, "carrier"] = None
    score = frame["delay"] + (frame["carrier"] == "AA")
    return conform(frame, ROLES), pd.qcut(score, classes, labels=False).to_numpy()


def fitted(estimator: Any, classes: int = 2, names: Any = None) -> Pipeline:
    """Fit a pipeline on the table."""
    rows, y = table(classes=classes)
    truth = y if names is None else np.array(names)[y]
    return Pipeline([("prepare", preprocessor(ROLES)), ("model", estimator)]).fit(rows, truth)


SHIPPED = {
    "mlp": MLPClassifier((8, 4), max_iter=5),
    "boosting": HistGradientBoostingClassifier(max_iter=5),
    "linear": LogisticRegression(),
    "forest": RandomForestClassifier(8),
    "extra_trees": ExtraTreesClassifier(8),
    "sgd": SGDClassifier(loss="log_loss"),
}


def test_every_family_is_here() -> None:
    """The families of this test are those that the sweep tries."""
    assert SHIPPED.keys() == FAMILIES.keys()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("family", SHIPPED)
def test_every_family_agrees(family: str, classes: int) -> None:
    """On 1,000 rows, with missing cells and unseen levels, no answer differs."""
    model = fitted(SHIPPED[family], classes)
    found = compare(model, ROLES, table(300)[0])
    assert found.agrees, str(found)
    assert found.rows >= LEAST_ROWS
    assert str(found).startswith("agrees: ")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
def test_every_activation_agrees(activation: str) -> None:
    """A network of each activation is compiled."""
    model = fitted(MLPClassifier((8, 8), activation=activation, max_iter=3), 3)
    assert compare(model, ROLES, table()[0]).agrees


@pytest.mark.parametrize("names", [["late", "on_time"], [False, True], [7, 3]])
def test_labels_keep_their_type(names: list[Any]) -> None:
    """Classes are plain Python values of the kind that was learned."""
    model = fitted(LogisticRegression(), names=names)
    compiled = compile_model(model, ROLES)
    labels, _ = compiled.answer(as_columns(table(20)[0], ROLES))
    assert {type(label) for label in labels} == {type(names[0])}
    assert compiled.classes == sorted(names)


@pytest.mark.parametrize("positive", ["late", "on_time"])
def test_a_threshold_is_kept(positive: str) -> None:
    """A tuned threshold decides the class in the compiled model too."""
    inner = fitted(LogisticRegression(), names=["late", "on_time"])
    rows, _ = table()
    model = FixedThresholdClassifier(FrozenEstimator(inner), threshold=0.8, pos_label=positive)
    model.fit(rows, inner.predict(rows))
    found = compare(model, ROLES, rows)
    assert found.agrees, str(found)
    plain, _ = compile_model(inner, ROLES).answer(as_columns(rows, ROLES))
    tuned, _ = compile_model(model, ROLES).answer(as_columns(rows, ROLES))
    assert plain != tuned


def test_an_ensemble_agrees() -> None:
    """Models that vote together are given the prepared matrix."""
    rows, y = table()
    step = preprocessor(ROLES).fit(rows)
    matrix = step.transform(rows)
    members = [
        (name, FrozenEstimator(model.fit(matrix, y)))
        for name, model in (("a", LogisticRegression()), ("b", RandomForestClassifier(5)))
    ]
    vote = VotingClassifier(members, voting="soft").fit(matrix, y)
    assert compare(Pipeline([("prepare", step), ("model", vote)]), ROLES, rows).agrees


@pytest.mark.parametrize(
    "roles", [Roles(("delay",), ()), Roles((), ("tail",)), Roles(("seats",), ("carrier",))]
)
def test_columns_of_one_kind(roles: Roles) -> None:
    """A model of numbers alone, or of text alone, is compiled."""
    rows, y = table()
    model = Pipeline([("prepare", preprocessor(roles)), ("model", LogisticRegression())])
    found = compare(model.fit(rows[list(roles.columns)], y), roles, rows[list(roles.columns)])
    assert found.agrees, str(found)


MODEL = fitted(LogisticRegression(), names=["late", "on_time"])
COMPILED = compile_model(MODEL, ROLES)
NUMBER = st.none() | st.floats(-1e9, 1e9) | st.integers(-(10**9), 10**9) | st.booleans()
TEXT = st.none() | st.sampled_from(["AA", "UA", "N1", "N2", "N99", ""]) | st.text(max_size=4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NUMBER, NUMBER, NUMBER, TEXT, TEXT), min_size=1, max_size=5))
def test_any_row_is_answered_alike(sent: list[tuple[Any, ...]]) -> None:
    """Whatever a checked request holds, both answer it the same."""
    cells = dict(zip(ROLES.columns, map(list, zip(*sent, strict=True)), strict=True))
    columns = check_columns(cells, ROLES)
    frame = pd.DataFrame(
        {
            name: pd.Series(
                [math.nan if cell is None else cell for cell in columns[name]],
                dtype=float if name in ROLES.numeric else object,
            )
            for name in ROLES.columns
        }
    )
    labels, shares = COMPILED.answer(columns)
    expected, probabilities = answer(MODEL, frame)
    assert labels == expected.tolist()
    np.testing.assert_allclose(shares, probabilities, atol=1e-6)


def test_levels_are_those_of_training() -> None:
    """The known levels are the categories that were seen, the rare ones too."""
    rows, _ = table()
    for levels in (COMPILED.levels, known_levels(MODEL, ROLES)):
        assert levels["carrier"] == {"AA", "UA", "DL"}
        assert levels["tail"] == set(rows["tail"].dropna())
    assert known_levels(object(), ROLES) == {}


def test_what_is_not_known_is_not_compiled() -> None:
    """A pipeline of another shape is left as it is, with the reason."""
    rows, y = table()
    numbers = rows[["delay"]]
    other = Pipeline([("scale", StandardScaler()), ("model", GaussianNB())]).fit(numbers, y)
    with pytest.raises(NotCompiledError, match="StandardScaler"):
        compile_model(other, Roles(("delay",), ()))
    found = compare(other, Roles(("delay",), ()), numbers)
    assert not found.agrees
    assert str(found) == "no: NotCompiledError: the first step is a StandardScaler"


class Odd(Pipeline):
    """A pipeline that answers its last row otherwise than its steps say."""

    moved = 2e-6

    def predict_proba(self, X: Any) -> np.ndarray:
        """Move one probability."""
        shares = np.array(super().predict_proba(X), dtype=float)
        shares[-1] += [self.moved, -self.moved]
        return shares


@pytest.mark.parametrize(("moved", "agrees"), [(2e-6, False), (1e-9, True), (-1.0, False)])
def test_a_difference_in_one_row_is_seen(moved: float, agrees: bool) -> None:
    """One probability, or one answer, that differs is enough."""
    rows, _ = table()
    odd = Odd(MODEL.steps)
    odd.moved = moved
    found = compare(odd, ROLES, rows)
    assert found.agrees is agrees, str(found)


@pytest.mark.parametrize(
    "found",
    [
        Agreement(999, 0, 0.0),
        Agreement(1000, 1, 0.0),
        Agreement(1000, 0, 2e-6),
        Agreement(1000, 0, math.nan),
        Agreement(1000, 0, 0.0, "why"),
        Agreement(),
    ],
)
def test_what_does_not_agree(found: Agreement) -> None:
    """Too few rows, one flip, a difference, a NaN or a reason: the pipeline answers."""
    assert not found.agrees
    assert str(found).startswith("no: ")
    assert Agreement(1000, 0, 1e-6).agrees
