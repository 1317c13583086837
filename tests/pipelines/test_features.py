"""pipelines.features: roles, the frame that a model takes, its matrix, and labels."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from pipelines.data import DataSettings
from pipelines.errors import DataError
from pipelines.features import (
    MAXIMUM_CATEGORIES,
    MINIMUM_FREQUENCY,
    Roles,
    conform,
    labels,
    preprocessor,
    roles_of,
)

ROWS = 60


@pytest.fixture
def table() -> pd.DataFrame:
    """One column of every kind that a reader can give."""
    random = np.random.default_rng(0)
    half = ROWS // 2
    return pd.DataFrame(
        {
            "delay": random.normal(size=ROWS),
            "seats": random.integers(0, 5, ROWS),
            "charter": random.integers(0, 2, ROWS).astype(bool),
            "maybe": pd.array([True, None] * half, dtype="boolean"),
            "count": pd.array([1, None] * half, dtype="Int64"),
            "price": [Decimal("1.5")] * ROWS,
            "flag": [True, None] * half,
            "carrier": random.choice(["AA", "UA", "DL"], ROWS),
            "zone": pd.Categorical(random.integers(0, 3, ROWS)),
            "day": [dt.date(2013, 1, 1)] * ROWS,
            "elapsed": pd.to_timedelta(np.arange(ROWS), unit="min"),
            "empty": np.nan,
            "when": pd.date_range("2013-01-01", periods=ROWS),
            "number": np.arange(ROWS),
            "plane": random.integers(0, 9, ROWS),
            "arrival": random.normal(size=ROWS),
            "late": random.choice(["late", "on_time"], ROWS),
        }
    )


@pytest.fixture
def settings() -> DataSettings:
    """A section that names the columns without a role."""
    return DataSettings(
        source="x.csv",
        target="late",
        time="when",
        id="number",
        group="plane",
        drop={"arrival": "known after the fact"},
    )


def test_roles_by_kind(table: pd.DataFrame, settings: DataSettings) -> None:
    """Numbers and booleans are numeric, text and categories categorical, the rest has no role."""
    roles = roles_of(table, settings)
    assert roles.numeric == ("delay", "seats", "charter", "maybe", "count", "price", "flag")
    assert roles.categorical == ("carrier", "zone")
    assert roles.columns == roles.numeric + roles.categorical


def test_no_column_left(table: pd.DataFrame, settings: DataSettings) -> None:
    """A table of nothing but target, keys and empty columns is refused."""
    with pytest.raises(DataError, match="at least one column"):
        roles_of(table[["late", "when", "number", "plane", "arrival", "empty"]], settings)


def test_conform_types(table: pd.DataFrame, settings: DataSettings) -> None:
    """A conformed frame has the roles' columns in order, as float64 and as text, and no others."""
    roles = roles_of(table, settings)
    frame = conform(table.sample(frac=1, random_state=0), roles)
    assert tuple(frame.columns) == roles.columns
    assert {str(frame[c].dtype) for c in roles.numeric} == {"float64"}
    assert {type(v) for c in roles.categorical for v in frame[c]} == {str}
    assert frame.index.tolist() == table.sample(frac=1, random_state=0).index.tolist()


def test_conform_leaves_the_table_alone(table: pd.DataFrame, settings: DataSettings) -> None:
    """Conforming changes nothing in the table that it was given."""
    before = table.copy(deep=True)
    conform(table, roles_of(table, settings))
    pd.testing.assert_frame_equal(table, before)


def test_conform_twice(table: pd.DataFrame, settings: DataSettings) -> None:
    """Conforming a conformed frame changes nothing."""
    roles = roles_of(table, settings)
    once = conform(table, roles)
    pd.testing.assert_frame_equal(conform(once, roles), once)


def test_a_level_keeps_its_name() -> None:
    """A whole-number level is the same text once a missing value makes its column floats."""
    roles = Roles((), ("zone",))
    whole = conform(pd.DataFrame({"zone": [1, 2, 2]}), roles)
    holed = conform(pd.DataFrame({"zone": [1.0, 2.0, np.nan]}), roles)
    assert whole["zone"].tolist() == ["1", "2", "2"]
    assert holed["zone"].tolist()[:2] == ["1", "2"]
    assert pd.isna(holed["zone"][2])


def test_numbers_written_as_text() -> None:
    """A column of numbers that arrives as text is read as numbers, empty cells as missing."""
    frame = conform(pd.DataFrame({"delay": ["1.5", None, "-2"]}), Roles(("delay",), ()))
    np.testing.assert_array_equal(frame["delay"], [1.5, np.nan, -2.0])


def test_stray_words() -> None:
    """Words in a numeric column are refused with the column, their count and the first five."""
    words = [f"w{n}" for n in range(7)]
    table = pd.DataFrame({"delay": ["1", *words]})
    with pytest.raises(DataError, match="'delay' holds numbers") as caught:
        conform(table, Roles(("delay",), ()))
    assert "7 of 8 values: 'w0', 'w1', 'w2', 'w3', 'w4'" in caught.value.found
    assert "w5" not in caught.value.found


def test_infinite_values() -> None:
    """An infinite number is refused: no scaler can bring it near the others."""
    with pytest.raises(DataError, match="'delay' holds finite numbers"):
        conform(pd.DataFrame({"delay": [1.0, -np.inf]}), Roles(("delay",), ()))


def test_a_huge_cell_is_cut() -> None:
    """An offending value is quoted in part: an error fits on a screen."""
    with pytest.raises(DataError) as caught:
        conform(pd.DataFrame({"delay": ["x" * 10_000]}), Roles(("delay",), ()))
    assert len(caught.value.found) < 200


def test_missing_columns() -> None:
    """All columns that a table lacks are named at once."""
    with pytest.raises(DataError) as caught:
        conform(pd.DataFrame({"a": [1.0]}), Roles(("a", "b"), ("c",)))
    assert "2 missing: b, c" in caught.value.found


def test_matrix(table: pd.DataFrame, settings: DataSettings) -> None:
    """The matrix is dense, finite float32, with centred numbers and a column where missing."""
    roles = roles_of(table, settings)
    table.loc[3:7, ["delay", "carrier"]] = None
    frame = conform(table, roles)
    step = preprocessor(roles)
    X = step.fit_transform(frame)
    assert isinstance(X, np.ndarray)
    assert X.dtype == np.float32
    assert np.isfinite(X).all()
    names = list(step.get_feature_names_out())
    assert len(names) == X.shape[1]
    assert {"missingindicator_delay", "missingindicator_count", "carrier_nan"} <= set(names)
    assert X[:, names.index("delay")].mean() == pytest.approx(0, abs=1e-6)


def test_large_values_keep_their_digits() -> None:
    """Differences of one survive in a column near a billion: it is centred before float32."""
    roles = Roles(("stamp",), ())
    frame = pd.DataFrame({"stamp": 1e9 + np.arange(100.0)})
    assert len(np.unique(preprocessor(roles).fit_transform(conform(frame, roles)))) == 100


@pytest.mark.parametrize("roles", [Roles(("delay",), ()), Roles((), ("carrier",))])
def test_one_kind_alone(table: pd.DataFrame, roles: Roles) -> None:
    """A table of numbers alone, or of text alone, becomes a float32 matrix too."""
    X = preprocessor(roles).fit_transform(conform(table, roles))
    assert X.dtype == np.float32
    assert X.shape[0] == ROWS


def test_a_thousand_levels() -> None:
    """A category of a thousand levels stays within its bound, the rare ones together."""
    roles = Roles((), ("plane",))
    often = [f"N{n}" for n in range(1_000) for _ in range(MINIMUM_FREQUENCY)]
    X = preprocessor(roles).fit_transform(conform(pd.DataFrame({"plane": often}), roles))
    assert X.shape[1] == MAXIMUM_CATEGORIES
    np.testing.assert_array_equal(X.sum(axis=1), 1)


def test_a_level_never_seen(recwarn: pytest.WarningsRecorder) -> None:
    """A category never seen in training counts as a rare one, without an error or a warning."""
    roles = Roles((), ("carrier",))
    train = pd.DataFrame({"carrier": ["AA", "UA"] * 10 + ["rare"]})
    step = preprocessor(roles).fit(conform(train, roles))
    new = step.transform(conform(pd.DataFrame({"carrier": ["ZZ"]}), roles))
    rare = step.transform(conform(pd.DataFrame({"carrier": ["rare"]}), roles))
    np.testing.assert_array_equal(new, rare)
    assert new.sum() == 1
    assert not recwarn.list


def test_a_column_empty_in_training(recwarn: pytest.WarningsRecorder) -> None:
    """A column without a value in the training rows is filled, and keeps its place, silently."""
    roles = Roles(("gust", "delay"), ())
    train = pd.DataFrame({"gust": [np.nan, np.nan], "delay": [1.0, 2.0]})
    step = preprocessor(roles).fit(conform(train, roles))
    X = step.transform(conform(pd.DataFrame({"gust": [7.0], "delay": [1.0]}), roles))
    assert np.isfinite(X).all()
    assert list(step.get_feature_names_out())[:2] == ["gust", "delay"]
    assert not recwarn.list


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pd.Series(["late", "on_time"]), "<U7"),
        (pd.Series(["late", "on_time"], dtype=object), "<U7"),
        (pd.Series(pd.Categorical(["a", "b"])), "<U1"),
        (pd.Series(pd.Categorical([0, 1])), "<U1"),
        (pd.Series([0, 1], dtype="uint8"), "int64"),
        (pd.Series([0.0, 1.0]), "int64"),
        (pd.Series(pd.array([0, 1], dtype="Int64")), "int64"),
        (pd.Series([True, False]), "bool"),
        (pd.Series([True, False], dtype=object), "bool"),
        (pd.Series(pd.array([True, False], dtype="boolean")), "bool"),
    ],
)
def test_label_types(values: pd.Series, kind: str) -> None:
    """Labels become bool, int64 or fixed-width text, which numpy can map from a file."""
    found = labels(values)
    assert found.dtype == np.dtype(kind)
    assert [str(v) for v in found] == [str(int(v)) if kind == "int64" else str(v) for v in values]


def test_missing_labels() -> None:
    """A missing label is refused with the column and the count."""
    with pytest.raises(DataError, match="has a label") as caught:
        labels(pd.Series(["late", None, "on_time"], name="late"))
    assert "1 of 3 rows of 'late'" in caught.value.found


def test_numbers_with_decimals_are_no_classes() -> None:
    """A target of measurements is refused rather than made into a class a value."""
    with pytest.raises(DataError, match="names classes") as caught:
        labels(pd.Series([1.0, 2.5, 3.5], name="delay"))
    assert "2 of 3 values of 'delay'" in caught.value.found


def test_a_missing_text_cell_stays_missing() -> None:
    """Whatever type pandas keeps text in, nothing is not the word for it."""
    for dtype in ("str", "object", "category"):
        frame = pd.DataFrame({"carrier": pd.Series(["UA", None, "EV"], dtype=dtype)})
        found = conform(frame, Roles((), ("carrier",)))["carrier"]
        assert found.isna().tolist() == [False, True, False], dtype
        assert found.dropna().tolist() == ["UA", "EV"], dtype
