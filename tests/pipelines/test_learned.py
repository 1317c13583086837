"""Fingerprints of the rows that a model learned from."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.data import Dataset, DataSettings
from pipelines.errors import DataError
from pipelines.features import Roles, roles_of
from pipelines.learned import Learned, learned_of
from pipelines.split import learning_rows, sealed_rows

ROWS = 400
ROLES = Roles(("delay", "seats"), ("carrier",))


@pytest.fixture
def table() -> pd.DataFrame:
    """Rows with every kind of cell; no two are the same."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "flight": np.arange(ROWS) + 100,
            "when": pd.Timestamp("2013-01-01") + pd.to_timedelta(np.arange(ROWS), unit="h"),
            "delay": rng.normal(size=ROWS),
            "seats": rng.integers(20, 300, ROWS),
            "carrier": rng.choice(["AA", "UA", "DL"], ROWS),
            "late": rng.choice(["late", "on time"], ROWS),
        }
    )


def _settings(**changes: Any) -> DataSettings:
    return DataSettings(source="flights.csv", target="late", **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"time": "when"},
        {"id": "flight"},
        {"id": "flight", "time": "when"},
        {
            "time": "when",
            "split": {
                "method": "time",
                "validation_from": "2013-01-10",
                "sealed_from": "2013-01-13",
            },
        },
    ],
    ids=["content", "time", "id", "id-time", "by-time"],
)
def test_train_and_validation_rows_are_learned_and_sealed_ones_are_not(
    table: pd.DataFrame, changes: dict[str, Any]
) -> None:
    """Choosing a configuration by a row is learning from it too."""
    settings = DataSettings.model_validate(
        {"source": "flights.csv", "target": "late", "drop": {"flight": "a number"}, **changes}
        | ({"drop": {}} if "id" in changes else {})
    )
    dataset = Dataset(table, settings, "", "flights.csv")
    split = learning_rows(dataset)
    learned = learned_of(split.both, settings, roles_of(split.train, settings))
    assert learned.marks(split.train).all()
    assert learned.marks(split.validation).all()
    assert not learned.marks(sealed_rows(dataset)).any()


@pytest.mark.parametrize("changes", [{}, {"time": "when"}, {"id": "flight"}])
def test_a_row_is_known_again_in_a_table_that_has_grown(
    table: pd.DataFrame, changes: dict[str, Any]
) -> None:
    """More rows, more columns, another order and wider types change nothing."""
    learned = learned_of(table.head(100), _settings(**changes), ROLES)
    gap = table.iloc[[0]].assign(flight=99, seats=np.nan, delay=0.5, carrier=None)
    grown = pd.concat([gap, table]).assign(weather="fog").sample(frac=1, random_state=0)
    assert grown["seats"].dtype == np.float64
    expected = grown["flight"].between(100, 199).to_numpy()
    np.testing.assert_array_equal(learned.marks(grown[sorted(grown.columns)]), expected)


@pytest.mark.parametrize("column", ["delay", "seats", "carrier", "late", "when"])
def test_without_an_id_a_row_is_what_the_model_sees_of_it(table: pd.DataFrame, column: str) -> None:
    """Another feature, label or time is another row; a column that nobody reads is not."""
    learned = learned_of(table, _settings(time="when"), ROLES)
    changed = table.copy()
    changed[column] = np.roll(changed[column].to_numpy(), 1)
    same = (changed[column] == table[column]).to_numpy()
    np.testing.assert_array_equal(learned.marks(changed), same)
    assert learned.marks(table.assign(flight=0)).all()


def test_with_an_id_a_mended_row_is_still_the_same(table: pd.DataFrame) -> None:
    """A model that saw the flight saw it, whatever was corrected since."""
    learned = learned_of(table.head(100), _settings(id="flight"), ROLES)
    mended = table.assign(delay=0.0, late="late")
    assert learned.marks(mended).sum() == 100


def test_fingerprints_come_back_from_their_file(tmp_path: Path, table: pd.DataFrame) -> None:
    """What was written marks what the original marks."""
    learned = learned_of(table.head(50), _settings(), ROLES)
    learned.save(tmp_path / "learned.npz")
    found = Learned.load(tmp_path / "learned.npz")
    assert found.columns == ("carrier", "delay", "late", "seats")
    np.testing.assert_array_equal(found.marks(table), learned.marks(table))
    assert found.marks(table).sum() == 50


def test_a_row_that_was_given_twice_is_kept_once(table: pd.DataFrame) -> None:
    """Copies cost no space."""
    twice = pd.concat([table, table])
    assert len(learned_of(twice, _settings(), ROLES).hashes) == ROWS


def test_columns_that_are_gone_are_named(table: pd.DataFrame) -> None:
    """Nothing can be said of the rows then, and saying "not learned" would be a lie."""
    learned = learned_of(table, _settings(id="flight"), ROLES)
    with pytest.raises(DataError, match="1 missing: flight"):
        learned.marks(table.drop(columns="flight"))


def test_a_row_without_an_id_is_refused(table: pd.DataFrame) -> None:
    """All of them would look like one row, on either side."""
    gap = table.astype({"flight": "float64"})
    gap.loc[3, "flight"] = np.nan
    with pytest.raises(DataError, match="1 of 400 rows of 'flight'"):
        learned_of(gap, _settings(id="flight"), ROLES)
    with pytest.raises(DataError, match="1 of 400 rows of 'flight'"):
        learned_of(table, _settings(id="flight"), ROLES).marks(gap)
