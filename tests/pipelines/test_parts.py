"""Predictions that outlive the process."""

from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from pipelines.errors import InputError
from pipelines.parts import Parts

ASKED = pd.DataFrame({"a": [1, 2], "b": ["x", None]})


def answered(batch: int) -> pd.DataFrame:
    return ASKED.assign(prediction=["late", "on_time"], batch=batch)


def cut_short(output: Path, identity: list[object]) -> str:
    """Keep one batch and be interrupted; return the id of that batch."""
    id = ""
    with suppress(KeyboardInterrupt), Parts.open(output, identity) as parts:
        id = parts.request_id(0)
        parts.write(0, answered(0), ASKED)
        raise KeyboardInterrupt
    return id


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_a_job_goes_on_where_it_ended(tmp_path: Path, name: str) -> None:
    """The same job finds its parts and its id, and the output is whole, alone, and in order."""
    output = tmp_path / name
    first = cut_short(output, ["t", 1])
    assert not output.exists()
    with Parts.open(output, ["t", 1]) as parts:
        assert parts.request_id(0) == first
        assert [parts.finished(0, ASKED), parts.finished(1, ASKED)] == [True, False]
        parts.write(1, answered(1).assign(b=None), ASKED)
        parts.join(2)
    read = pd.read_csv(output) if name.endswith("csv") else pd.read_parquet(output)
    assert read["batch"].tolist() == [0, 0, 1, 1]
    assert read["b"].isna().tolist() == [False, True, True, True]
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_another_job_begins_anew(tmp_path: Path) -> None:
    """Parts of another table, version or batch are removed, and the id is another."""
    output = tmp_path / "out.csv"
    first = cut_short(output, ["t", 1])
    with Parts.open(output, ["t", 2]) as parts:
        assert parts.request_id(0) != first
        assert not parts.finished(0, ASKED)


def test_other_rows_than_before_are_refused(tmp_path: Path) -> None:
    """A batch that holds other rows than when it was scored is refused, and the parts removed."""
    output = tmp_path / "out.csv"
    cut_short(output, ["t"])
    with pytest.raises(InputError, match="ORDER BY"), Parts.open(output, ["t"]) as parts:
        parts.finished(0, ASKED[::-1])
    assert list(tmp_path.iterdir()) == []


def test_two_processes_cannot_mix(tmp_path: Path) -> None:
    """While one writes an output, another is refused, and the first is not disturbed."""
    output = tmp_path / "out.csv"
    with Parts.open(output, ["t"]) as parts:
        parts.write(0, answered(0), ASKED)
        with pytest.raises(InputError, match="another one"), Parts.open(output, ["t"]):
            pass
        assert parts.finished(0, ASKED)
