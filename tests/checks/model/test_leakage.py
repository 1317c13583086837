"""A model that knows what it cannot know when it serves is refused."""

import numpy as np
import pytest

from checks.model.leakage import (
    check_columns_alone,
    check_duplicates,
    check_sealed,
    check_telling_columns,
)
from checks.result import Status


def marks(count: int, of: int = 1000) -> np.ndarray:
    """Mark the first rows."""
    return np.arange(of) < count


def test_one_sealed_row_learned_from_is_one_too_many() -> None:
    """Whoever learned from the sealed rows has read the answers."""
    assert check_sealed(marks(0)).status is Status.PASSED
    found = check_sealed(marks(1))
    assert (found.status, found.observed) == (Status.FAILED, 1)
    assert check_sealed("no record beside the model").status is Status.ERROR


def test_a_column_that_predicts_alone_is_a_leak_unless_it_is_known() -> None:
    """The strongest is named with what to do; a column declared as known may be strong."""
    columns = {"delay": 0.99, "paid": 1.0, "carrier": 0.6}
    found = check_columns_alone(columns, 0.98)
    assert found.status is Status.FAILED
    assert found.details["columns"] == ["delay", "paid"]
    assert "gate.leakage.known" in found.reason
    assert check_columns_alone(columns, 0.98, ("delay", "paid")).status is Status.PASSED
    assert check_columns_alone({"carrier": 0.6}, 0.98).status is Status.PASSED


@pytest.mark.parametrize("columns", ["not screened", {}, {"x": float("nan")}])
def test_columns_that_were_not_screened_are_an_error(columns: object) -> None:
    """An unknown power is no weak one."""
    assert check_columns_alone(columns, 0.98).status is Status.ERROR  # type: ignore[arg-type]


def test_copies_across_the_split_are_counted() -> None:
    """Few may be chance; many tell the answers. However few the rows, none is none."""
    assert check_duplicates(marks(0, of=100), 0.01).status is Status.PASSED
    assert check_duplicates(marks(10), 0.01).status is Status.PASSED
    assert check_duplicates(marks(11), 0.01).status is Status.FAILED
    assert check_duplicates(marks(2, of=100), 0.01).status is Status.FAILED
    assert check_duplicates(marks(0, of=0), 0.01).status is Status.ERROR
    assert check_duplicates("not looked for", 0.01).status is Status.ERROR


def test_an_id_or_a_clock_among_the_columns_is_a_leak_unless_it_is_known() -> None:
    """The sentence says how it shows, and what to do."""
    telling = {"row": "a different value in every row"}
    found = check_telling_columns(telling)
    assert found.status is Status.FAILED
    assert "'row': a different value in every row. Name it in data.drop" in found.reason
    assert check_telling_columns(telling, ("row",)).status is Status.PASSED
    assert check_telling_columns({}).status is Status.PASSED
    assert check_telling_columns("not screened").status is Status.ERROR
