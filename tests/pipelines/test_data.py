import gzip
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import make_url

from pipelines.data import (
    DataSettings,
    SplitSettings,
    fingerprint,
    is_url,
    masked,
    parse_time,
    read,
    read_frame,
)
from pipelines.errors import DataError, ServiceError, TidegateError

SECRET = "s3cret-w0rd"
PINNED = "dc2fefe9e8a71c771ca67b2aba02b1e18216163a066cafb8daa435deaac08f8b"
UTF16_LE = "utf-16-le"


def table(rows: int = 40) -> pd.DataFrame:
    """Make a small table that can be learned from."""
    number = np.arange(rows)
    return pd.DataFrame(
        {
            "key": number,
            "when": pd.date_range("2013-01-01", periods=rows, freq="D").strftime("%Y-%m-%d"),
            "carrier": np.where(number % 3, "AA", "Ünited"),
            "delay": number / 2,
            "late": np.where(number % 4, "on_time", "late"),
        }
    )


def rich_table() -> pd.DataFrame:
    """Make the small table with datetimes and with a column that has gaps."""
    frame = table()
    return frame.assign(when=pd.to_datetime(frame["when"]), gap=[1.5, np.nan] * 20)


def settings_of(source: str = "flights.csv", **more: Any) -> DataSettings:
    """Make the settings of a file in the project's folder."""
    return DataSettings(source=source, target="late", **more)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file into the project's folder."""

    def writer(content: str | bytes, name: str = "flights.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return writer


def refused(
    folder: Path, given: DataSettings | None = None, kind: type[TidegateError] = DataError
) -> TidegateError:
    """Read a table that must be refused; the refusal has its three parts and is bounded."""
    with pytest.raises(kind) as caught:
        read(given or settings_of(), folder)
    err = caught.value
    assert err.rule
    assert err.found
    assert err.next_move
    assert len(str(err)) < 1_000
    return err


# What is read.


@pytest.mark.parametrize("name", ["flights.csv", "FLIGHTS.CSV", "flights.csv.gz"])
def test_a_csv_file_is_read_as_it_is(write: Callable[..., Path], tmp_path: Path, name: str) -> None:
    """Plain or compressed, whatever the case of its ending, a CSV file gives the same table."""
    text = table().to_csv(index=False).encode()
    write(gzip.compress(text) if name.endswith("gz") else text, name)
    pd.testing.assert_frame_equal(read_frame(settings_of(name), tmp_path), table())


def test_a_table_is_the_same_from_every_source(tmp_path: Path) -> None:
    """CSV, Parquet and SQLite give one fingerprint, narrow types in the file or not."""
    table().to_csv(tmp_path / "flights.csv", index=False)
    table().to_parquet(tmp_path / "flights.parquet", index=False)
    narrow = table().astype({"key": "int8", "delay": "float32", "carrier": "category"})
    narrow.to_parquet(tmp_path / "narrow.parquet", index=False)
    with sqlite3.connect(tmp_path / "flights.db") as connection:
        table().to_sql("flights", connection, index=False)
    connection.close()
    prints = {
        read(settings_of(name), tmp_path).fingerprint
        for name in ("flights.csv", "flights.parquet", "narrow.parquet")
    }
    base = settings_of("sqlite:///flights.db", query="select * from flights")
    assert prints == {read(base, tmp_path).fingerprint}


def test_an_index_kept_in_parquet_comes_back_as_columns(tmp_path: Path) -> None:
    """The id that pandas stored as an index is a column; rows that were left out leave no gaps."""
    table().iloc[5:].set_index("key").to_parquet(tmp_path / "named.parquet")
    table().iloc[5:].to_parquet(tmp_path / "gaps.parquet")
    for name in ("named", "gaps"):
        frame = read_frame(settings_of(f"{name}.parquet"), tmp_path)
        assert set(frame.columns) == set(table().columns)
        assert list(frame.index) == list(range(35))


def test_a_byte_order_mark_is_no_part_of_the_first_name(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    """A BOM is skipped in silence, whichever way UTF-8 is spelt."""
    write(table().to_csv(index=False), encoding="utf-8-sig")
    for encoding in ("utf-8", "UTF8", "utf_8"):
        frame = read_frame(settings_of(encoding=encoding), tmp_path)
        assert list(frame.columns) == list(table().columns)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252", UTF16_LE])
def test_an_encoding_that_is_named_is_used(
    write: Callable[..., Path], tmp_path: Path, encoding: str
) -> None:
    """data.encoding decides how text is read."""
    write(table().to_csv(index=False), encoding=encoding)
    frame = read_frame(settings_of(encoding=encoding), tmp_path)
    assert "Ünited" in set(frame["carrier"])


def test_a_cell_may_hold_commas_quotes_and_lines(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    """Quoted cells are one cell, and a blank line is no row."""
    write('late,note\n"late","a, ""b""\nc"\n\non_time,d\n')
    frame = read_frame(settings_of(), tmp_path)
    assert list(frame["note"]) == ['a, "b"\nc', "d"]


@pytest.mark.parametrize("kind", ["csv", "parquet", "sqlite"])
def test_a_column_without_a_value_is_read_as_missing_numbers(tmp_path: Path, kind: str) -> None:
    """A column all missing is the contract's business, and read alike from every source."""
    frame = table().assign(empty=[None] * 40)
    found = settings_of(f"f.{kind}")
    if kind == "sqlite":
        found = settings_of("sqlite:///f.db", query="select * from flights")
        with sqlite3.connect(tmp_path / "f.db") as connection:
            frame.to_sql("flights", connection, index=False)
        connection.close()
    else:
        getattr(frame, f"to_{kind}")(tmp_path / f"f.{kind}", index=False)
    empty = read(found, tmp_path).frame["empty"]
    assert empty.dtype == "float64"
    assert empty.isna().all()


def test_stray_words_leave_a_column_of_text(tmp_path: Path) -> None:
    """A numeric column with a word in it is read as text, for the contract to find."""
    frame = table().astype({"delay": object})
    frame.loc[6, "delay"] = "n.k."
    frame.to_csv(tmp_path / "flights.csv", index=False)
    delay = read(settings_of(), tmp_path).frame["delay"]
    assert delay.dtype == "str"
    assert list(delay[[0, 1, 6]]) == ["0.0", "0.5", "n.k."]


def test_the_time_column_is_read_as_datetimes(tmp_path: Path) -> None:
    """Dates written as text become datetimes in the column that data.time names."""
    table().to_csv(tmp_path / "flights.csv", index=False)
    frame = read(settings_of(time="when"), tmp_path).frame
    assert frame["when"].dtype.kind == "M"
    assert frame["when"].iloc[-1] == pd.Timestamp("2013-02-09")


def test_another_table_needs_no_target(tmp_path: Path) -> None:
    """Rows to score come without the target, and from another file than the project's."""
    table().drop(columns="late").to_csv(tmp_path / "new.csv", index=False)
    assert len(read_frame(settings_of(), tmp_path, "new.csv")) == 40
    assert len(read_frame(settings_of(), tmp_path, str(tmp_path / "new.csv"))) == 40


# Files that are refused.


def test_a_missing_file_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    """A misspelt file is answered with the one that was probably meant."""
    table().to_csv(tmp_path / "flights.csv", index=False)
    err = refused(tmp_path, settings_of("fligths.csv"))
    assert "fligths.csv" in err.found
    assert err.next_move == "did you mean flights.csv?"
    assert err.exit_code == 2
    assert "data.source" in refused(tmp_path, settings_of("none/such.csv")).next_move


def test_a_folder_is_refused_with_the_tables_in_it(tmp_path: Path) -> None:
    """A folder in place of a file is answered with its tables."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "may.csv").write_text("a\n1\n")
    assert "may.csv" in refused(tmp_path, settings_of("raw")).next_move


@pytest.mark.parametrize("name", ["flights.xlsx", "flights", "flights.json.gz"])
def test_an_unknown_ending_is_refused(
    write: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    """A file whose ending names no known format is not guessed at."""
    write("late\n", name)
    assert ".parquet" in refused(tmp_path, settings_of(name)).rule


@pytest.mark.parametrize("content", [b"", b"\n", b"\n\n\n"])
@pytest.mark.parametrize("end", ["csv", "csv.gz"])
def test_an_empty_file_is_refused(
    write: Callable[..., Path], tmp_path: Path, content: bytes, end: str
) -> None:
    """Nothing, or only blank lines, compressed or not, is no table."""
    write(gzip.compress(content) if end == "csv.gz" else content, f"flights.{end}")
    assert "is empty" in refused(tmp_path, settings_of(f"flights.{end}")).found


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_header_without_rows_is_refused(tmp_path: Path, kind: str) -> None:
    """A header only is told apart from an empty file."""
    getattr(table().head(0), f"to_{kind}")(tmp_path / f"flights.{kind}", index=False)
    assert "5 columns and no row" in refused(tmp_path, settings_of(f"flights.{kind}")).found


@pytest.mark.parametrize("rows", [1, 9])
def test_too_few_rows_are_refused(tmp_path: Path, rows: int) -> None:
    """One row, or too few for three sides, is refused with the count."""
    table().head(rows).to_csv(tmp_path / "flights.csv", index=False)
    err = refused(tmp_path)
    assert err.found.startswith(f"{rows} in ")
    assert "10 rows" in err.rule


@pytest.mark.parametrize(
    ("lines", "line", "cells"),
    [
        (["late,delay", "late,1", "late,1,2", "on_time,3"], 3, 3),
        (["late,delay", "late,1", "on_time,2", "late"], 4, 1),
        (["late,delay", '"la\nte",1', "late,1,2"], 4, 3),
        (["late,delay", "late,1", '"late,1', "on_time,3"], 3, 1),
    ],
)
def test_a_ragged_row_is_refused_with_its_line(
    write: Callable[..., Path], tmp_path: Path, lines: list[str], line: int, cells: int
) -> None:
    """A row too long or too short, or one whose quote never closes, is named by its first line."""
    write("\n".join(lines) + "\n")
    assert f"the row at line {line} has {cells}" in refused(tmp_path).found


def test_a_cell_without_an_end_is_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    """A quote that swallows the rest of a large file is no question of the encoding."""
    write('late,delay\nlate,1\nlate,"' + "x" * 10_000_001)
    err = refused(tmp_path)
    assert "line 3" in err.found
    assert "quote" in err.next_move


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_another_separator_is_refused_by_name(tmp_path: Path, separator: str) -> None:
    """A header without commas says which separator it has instead."""
    table().to_csv(tmp_path / "flights.csv", index=False, sep=separator)
    assert repr(separator) in refused(tmp_path).found


@pytest.mark.parametrize("end", ["csv", "csv.gz"])
@pytest.mark.parametrize(
    ("written", "read_as", "letter"),
    [
        ("utf-16", "utf-8", "Ü"),
        ("utf-16", "utf-8", "U"),
        (UTF16_LE, "utf-8", "Ü"),
        (UTF16_LE, "utf-8", "U"),
        ("utf-16-be", "utf-8", "Ü"),
        ("utf-16-be", "latin-1", "U"),
        ("latin-1", "utf-8", "Ü"),
        ("utf-8", "utf-16", "U"),
        ("utf-8", "ascii", "Ü"),
    ],
)
def test_a_wrong_encoding_is_refused_with_the_likely_one(
    write: Callable[..., Path], tmp_path: Path, written: str, read_as: str, letter: str, end: str
) -> None:
    """The message names an encoding, and setting that one reads the file."""
    content = table().to_csv(index=False).replace("Ü", letter).encode(written)
    name = f"flights.{end}"
    write(gzip.compress(content) if end == "csv.gz" else content, name)
    err = refused(tmp_path, settings_of(name, encoding=read_as))
    assert f"it looks like {written}" in err.found
    assert f'data.encoding = "{written}"' in err.next_move
    again = read_frame(settings_of(name, encoding=written), tmp_path)
    assert f"{letter}nited" in set(again["carrier"])


def test_typographic_quotes_look_like_windows(write: Callable[..., Path], tmp_path: Path) -> None:
    """Bytes that Latin-1 has no letter for are taken for cp1252, far into the file too."""
    write("late,delay\n" + "late,1\n" * 20_000 + "‘late’,2\n", encoding="cp1252")
    assert '"cp1252"' in refused(tmp_path).next_move


@pytest.mark.parametrize("kind", ["csv", "parquet", "sqlite"])
def test_duplicate_column_names_are_refused(tmp_path: Path, kind: str) -> None:
    """Two columns of one name are refused by that name, where pandas would rename one."""
    import pyarrow as pa
    from pyarrow import parquet

    source, query = f"flights.{kind}", None
    if kind == "csv":
        (tmp_path / source).write_text("late,delay,delay\nlate,1,2\n")
    elif kind == "parquet":
        cells = [pa.array(["late"]), pa.array([1]), pa.array([2])]
        parquet.write_table(pa.table(cells, ["late", "delay", "delay"]), tmp_path / source)
    else:
        sqlite3.connect(tmp_path / source).close()
        source, query = f"sqlite:///{source}", "select 'x' late, 1 delay, 2 delay"
    err = refused(tmp_path, settings_of(source, query=query))
    assert "more than one 'delay'" in err.found
    assert source in err.found


@pytest.mark.parametrize("content", [b"late,delay\nlate,1\n", b"PAR1" + b"\0" * 40 + b"PAR1"])
def test_a_false_parquet_file_is_refused(
    write: Callable[..., Path], tmp_path: Path, content: bytes
) -> None:
    """A file that is Parquet by name only is refused without a traceback of Arrow."""
    write(content, "flights.parquet")
    assert "holds Parquet" in refused(tmp_path, settings_of("flights.parquet")).rule


def test_a_cut_parquet_file_is_refused(tmp_path: Path) -> None:
    """A download that stopped half-way is refused."""
    path = tmp_path / "flights.parquet"
    table().to_parquet(path)
    path.write_bytes(path.read_bytes()[:-200])
    assert "holds Parquet" in refused(tmp_path, settings_of(path.name)).rule


@pytest.mark.parametrize("damage", ["not gzip", "cut", "flipped", "garbled"])
def test_a_broken_gzip_file_is_refused(
    write: Callable[..., Path], tmp_path: Path, damage: str
) -> None:
    """A .gz file that is not gzip, or not whole, is refused as such."""
    whole = gzip.compress(table(2_000).to_csv(index=False).encode())
    broken = {
        "not gzip": table().to_csv().encode(),
        "cut": whole[: len(whole) // 2],
        # The checksum: it is read last, when all the text has been seen.
        "flipped": whole[:-8] + bytes(255 - byte for byte in whole[-8:-4]) + whole[-4:],
        # The first byte after the header: a kind of block that does not exist.
        "garbled": whole[:10] + b"\x07" + whole[11:],
    }
    write(broken[damage], "flights.csv.gz")
    assert "gzip" in refused(tmp_path, settings_of("flights.csv.gz")).rule


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_rights_is_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    """A file that may not be read is refused with the system's reason."""
    write("late\n").chmod(0)
    assert "Permission denied" in refused(tmp_path).found


# Columns that are refused.


def test_an_absent_target_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    """A misspelt target is answered with the column that was probably meant."""
    table().rename(columns={"late": "lates"}).to_csv(tmp_path / "flights.csv", index=False)
    err = refused(tmp_path)
    assert "data.target" in err.rule
    assert err.next_move == "did you mean 'lates'?"


@pytest.mark.parametrize("role", ["time", "id", "group"])
def test_each_named_column_is_in_the_table(tmp_path: Path, role: str) -> None:
    """A time, id, group or dropped column that is absent is refused by its setting."""
    table().to_csv(tmp_path / "flights.csv", index=False)
    assert f"data.{role}" in refused(tmp_path, settings_of(**{role: "nowhere"})).rule
    assert "data.drop.x" in refused(tmp_path, settings_of(drop={"x": "unknown"})).rule


def test_a_constant_target_is_refused(tmp_path: Path) -> None:
    """One class cannot be learned from, and the message names it."""
    table().assign(late="late").to_csv(tmp_path / "flights.csv", index=False)
    err = refused(tmp_path)
    assert "two classes" in err.rule
    assert "'late'" in err.found


@pytest.mark.parametrize(("missing", "share"), [(1, "2%"), (20, "50%"), (30, "75%"), (40, "100%")])
def test_a_target_with_gaps_is_refused(tmp_path: Path, missing: int, share: str) -> None:
    """A target that is missing in some, half or all rows is refused with count and share."""
    frame = table()
    frame.loc[: missing - 1, "late"] = None
    frame.to_csv(tmp_path / "flights.csv", index=False)
    found = refused(tmp_path).found
    assert f"{missing} of 40" in found
    assert share in found


def test_the_positive_class_is_in_the_target(tmp_path: Path) -> None:
    """A positive class that no row has is refused with the nearest class."""
    table().to_csv(tmp_path / "flights.csv", index=False)
    assert read(settings_of(positive="late"), tmp_path)
    err = refused(tmp_path, settings_of(positive="Late"))
    assert err.next_move == "did you mean 'late'?"


@pytest.mark.parametrize(("classes", "positive"), [([0, 1], 1), ([False, True], True)])
def test_the_positive_class_may_be_no_text(
    tmp_path: Path, classes: list[Any], positive: bool | int
) -> None:
    """A class that is a number or a truth value is found under its TOML value."""
    table().assign(late=classes * 20).to_csv(tmp_path / "flights.csv", index=False)
    assert read(settings_of(positive=positive), tmp_path)


def test_infinite_values_are_refused_with_their_rows(tmp_path: Path) -> None:
    """Infinite values are named by column, count and first rows, all columns together."""
    frame = table().astype({"key": float})
    frame.loc[[2, 4, 5, 6, 7, 8], "delay"] = np.inf
    frame.loc[[0], "key"] = -np.inf
    frame.to_csv(tmp_path / "flights.csv", index=False)
    found = refused(tmp_path).found
    assert "6 in 'delay' (of the rows, number 3, 5, 6, 7, 8)" in found
    assert "1 in 'key' (of the rows, number 1)" in found


def test_infinite_values_in_a_dropped_column_do_no_harm(tmp_path: Path) -> None:
    """A column that is left out is not judged."""
    table().assign(ratio=np.inf).to_csv(tmp_path / "flights.csv", index=False)
    assert read(settings_of(drop={"ratio": "a division by zero"}), tmp_path)


def test_types_that_are_no_plain_numbers_do_no_harm(tmp_path: Path) -> None:
    """Durations, decimals, nullable numbers, lists and categories of a Parquet file are read."""
    table().assign(
        span=pd.Timedelta("1h"),
        price=Decimal("1.50"),
        seats=pd.array([1, None] * 20, dtype="Int64"),
        tags=[["a"]] * 40,
        level=pd.Categorical([1, None] * 20),
        sure=pd.array([True, None] * 20, dtype="boolean"),
    ).to_parquet(tmp_path / "flights.parquet")
    assert len(read(settings_of("flights.parquet"), tmp_path).fingerprint) == 64


# Time.


def test_dates_that_do_not_parse_are_refused_with_the_first_five(tmp_path: Path) -> None:
    """A broken time column is named with the count and five values, no more."""
    frame = table()
    frame.loc[frame.index[:7], "when"] = [f"soon {i}" for i in range(7)]
    frame.to_csv(tmp_path / "flights.csv", index=False)
    err = refused(tmp_path, settings_of(time="when"))
    assert "'when'" in err.rule
    assert err.found.startswith("7 of 40")
    assert "'soon 4'" in err.found
    assert "soon 5" not in err.found


@pytest.mark.parametrize("values", [[1, 2], [1.5, None], [None, None], [True, False], ["x", 3]])
def test_what_is_no_date_is_not_taken_for_one(values: list[Any]) -> None:
    """Numbers, truth values and nothing are no dates, although pandas would read 1 as 1970."""
    with pytest.raises(DataError, match="holds dates"):
        parse_time(pd.Series(values, name="when"))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("written", "day"),
    [
        (["2013-06-30", "2013-07-01T17:45:00", None], "2013-06-30"),
        (["20130630", "20130701"], "2013-06-30"),
        (["30/06/2013", "01/07/2013"], "2013-06-30"),
        (["06/30/2013", "07/01/2013"], "2013-06-30"),
        (["01/07/2013 10:00", "30/06/2013 11:00"], "2013-07-01 10:00"),
        (["Jun 30, 2013", "Jul 1, 2013"], "2013-06-30"),
        ([date(2013, 6, 30), None], "2013-06-30"),
        (["9999-12-31", "2013-06-30"], "9999-12-31"),
        (["2013-06-30T00:00:00Z", None], "2013-06-30T00:00:00Z"),
        (["2013-03-31T01:00:00+01:00", "2013-03-31T04:00:00+02:00"], "2013-03-31T00:00:00Z"),
    ],
)
def test_dates_are_read_in_one_format_for_the_column(written: list[Any], day: str) -> None:
    """ISO dates, or the one order of day and month that fits every row, across summer time."""
    parsed = parse_time(pd.Series(written, name="when"))
    assert parsed.iloc[0] == pd.Timestamp(day)
    assert parsed.notna().sum() == sum(value is not None for value in written)


def test_dates_that_fit_both_orders_are_refused() -> None:
    """Where day and month cannot be told apart, tidegate does not guess."""
    with pytest.raises(DataError, match="day first or month first"):
        parse_time(pd.Series(["01/02/2013", "03/04/2013"], name="when"))


# SQL.


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Make an SQLite database in the project's folder, and give the folder."""
    with sqlite3.connect(tmp_path / "flights.db") as connection:
        table().to_sql("flights", connection, index=False)
    connection.close()
    return tmp_path


@pytest.mark.parametrize("form", ["sqlite:///flights.db", "sqlite:///{folder}/flights.db"])
def test_a_query_on_sqlite_gives_the_table(
    database: Path,
    form: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A database file is found from the project's folder, wherever the command is given."""
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    found = settings_of(form.format(folder=database), query="select * from flights")
    pd.testing.assert_frame_equal(read(found, database).frame, table())


def test_a_colon_and_a_percent_sign_in_a_query_are_themselves(database: Path) -> None:
    """No part of a query is taken for a parameter."""
    query = "select late, ':x' colon, '12:30' clock from flights where late like '%time' -- :y"
    frame = read_frame(settings_of("sqlite:///flights.db", query=query), database)
    assert set(frame["late"]) == {"on_time"}
    assert frame.loc[0, "colon"] == ":x"
    assert frame.loc[0, "clock"] == "12:30"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select * from flight", "no such table"),
        ("select lat from flights", "no such column"),
        ("selekt 1", "syntax error"),
        ("delete from flights", "does not return rows"),
    ],
)
def test_a_bad_query_is_refused_with_the_databases_words(
    database: Path, query: str, said: str
) -> None:
    """A query that gives no table is the user's to mend, and changes nothing."""
    err = refused(database, settings_of("sqlite:///flights.db", query=query))
    assert said in err.found
    assert query in err.found
    with sqlite3.connect(database / "flights.db") as connection:
        assert connection.execute("select count(*) from flights").fetchone() == (40,)
    connection.close()


def test_a_query_without_rows_is_refused(database: Path) -> None:
    """A query whose conditions no row meets is refused as an empty table."""
    query = "select * from flights where delay < 0"
    assert "no row" in refused(database, settings_of("sqlite:///flights.db", query=query)).found


def test_a_missing_sqlite_file_is_refused_and_not_made(tmp_path: Path) -> None:
    """SQLite would make an empty database; tidegate leaves the folder as it was."""
    err = refused(tmp_path, settings_of("sqlite:///none.db", query="select 1"))
    assert "none.db" in err.found
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    """A text file named as a database is refused."""
    write("late,delay\n" * 200, "flights.db")
    found = refused(tmp_path, settings_of("sqlite:///flights.db", query="select * from a")).found
    assert "not a database" in found


def test_an_address_of_another_table_needs_its_query(database: Path) -> None:
    """Rows to score from a database come with their own query."""
    with pytest.raises(DataError, match="goes with a query"):
        read_frame(settings_of(), database, "sqlite:///flights.db")
    query = "select * from flights"
    assert len(read_frame(settings_of(), database, "sqlite:///flights.db", query=query)) == 40


@pytest.mark.parametrize(
    "address",
    [
        f"nodatabase://user:{SECRET}@host/db",
        f"mssql+nodriver://user:{SECRET}@host/db",
        f"postgresql+psycopg://user:{SECRET}@host:port/db",
        f"postgresql+psycopg://user:a@b:{SECRET}@host/db",
        f"postgresql+psycopg://host:port/db?password={SECRET}",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_its_password(
    tmp_path: Path, address: str
) -> None:
    """No driver, no port: the address is shown, and its password is not."""
    err = refused(tmp_path, settings_of(address, query="select 1"))
    assert "SQLAlchemy URL" in err.rule
    assert SECRET not in str(err)


def test_a_server_that_is_down_is_no_fault_of_the_table(tmp_path: Path) -> None:
    """A database that does not answer is a service's failure: exit code 3, no password shown."""
    address = f"postgresql+psycopg://user:{SECRET}@/db?host={tmp_path}"
    err = refused(tmp_path, settings_of(address, query="select 1"), ServiceError)
    assert err.exit_code == 3
    assert SECRET not in str(err)


@pytest.fixture(scope="module")
def flights_in_postgres(postgres: str) -> str:
    """Put the small table into Postgres, with types that no file has."""
    from sqlalchemy import create_engine, text

    engine = create_engine(postgres)
    with engine.begin() as connection:
        rich_table().to_sql("flights", connection, index=False)
        for column in (
            "price numeric(8, 2) default 1.25",
            "moment timestamptz default '2013-06-30T12:00:00+02:00'",
            "day date default '2013-06-30'",
            "sure boolean default true",
            "empty text",
        ):
            command = f"alter table flights add {column}".replace(":", r"\:")
            connection.execute(text(command))
    engine.dispose()
    return postgres


@pytest.mark.slow
def test_a_table_is_the_same_from_postgres(flights_in_postgres: str, tmp_path: Path) -> None:
    """A query on Postgres and a Parquet file of the same table have one fingerprint."""
    rich_table().to_parquet(tmp_path / "flights.parquet")
    columns = ", ".join(f'"{name}"' for name in rich_table().columns)
    found = settings_of(flights_in_postgres, query=f"select {columns} from flights", time="when")
    dataset = read(found, tmp_path)
    file = read(settings_of("flights.parquet", time="when"), tmp_path)
    assert dataset.fingerprint == file.fingerprint
    assert str(make_url(flights_in_postgres).password) not in dataset.origin


@pytest.mark.slow
def test_the_types_of_postgres_are_read(flights_in_postgres: str, tmp_path: Path) -> None:
    """Decimals are numbers, instants and dates are times, and a cast is no parameter."""
    query = "select *, ':x'::text colon from flights where carrier like '%A'"
    frame = read(settings_of(flights_in_postgres, query=query, time="moment"), tmp_path).frame
    assert set(frame["carrier"]) == {"AA"}
    assert frame["price"].dtype == "float64"
    assert frame["moment"].iloc[0] == pd.Timestamp("2013-06-30T10:00:00Z")
    assert frame["sure"].dtype == "bool"
    assert frame["empty"].dtype == "float64"
    assert set(frame["colon"]) == {":x"}
    frame = read(settings_of(flights_in_postgres, query=query, time="day"), tmp_path).frame
    assert frame["day"].iloc[0] == pd.Timestamp("2013-06-30")


@pytest.mark.slow
def test_a_bad_query_on_postgres_is_the_users_to_mend(
    flights_in_postgres: str, tmp_path: Path
) -> None:
    """A missing table is refused in the server's words."""
    missing = settings_of(flights_in_postgres, query="select * from flight")
    assert 'relation "flight" does not exist' in refused(tmp_path, missing).found


@pytest.mark.slow
def test_a_connection_that_is_cut_is_no_fault_of_the_query(
    flights_in_postgres: str, tmp_path: Path
) -> None:
    """A server that goes away in the middle of a query is a service's failure."""
    query = "select pg_terminate_backend(pg_backend_pid()), late from flights"
    err = refused(tmp_path, settings_of(flights_in_postgres, query=query), ServiceError)
    assert err.exit_code == 3


@pytest.mark.slow
def test_a_wrong_password_is_not_shown(postgres: str, tmp_path: Path) -> None:
    """A refused login names the user, and neither password."""
    held = make_url(postgres)
    address = held.set(password=f"other-{SECRET}").render_as_string(hide_password=False)
    err = refused(tmp_path, settings_of(address, query="select 1"), ServiceError)
    assert "tester" in err.found
    assert "password" in err.found
    assert SECRET not in str(err)


# Addresses.


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:word@host/db", "postgresql://me:***@host/db"),
        ("postgresql+psycopg://me:p@ss/w:rd@host:5/db", "postgresql+psycopg://me:***@host:5/db"),
        ("http://me:word@host:5000", "http://me:***@host:5000"),
        ("redis://:word@host", "redis://:***@host"),
        ("postgresql://h/db?password=word&a=b", "postgresql://h/db?password=***&a=b"),
        (
            "mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3Dword%3BDSN%3Dx",
            "mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3D***%3BDSN%3Dx",
        ),
    ],
)
def test_a_password_is_masked_wherever_an_address_has_it(address: str, shown: str) -> None:
    """The password alone is replaced, and masking again changes nothing."""
    assert masked(address) == shown
    assert masked(shown) == shown


@pytest.mark.parametrize(
    "address",
    [
        "flights.csv",
        "dir:a/b@c.csv",
        "sqlite:///flights.db",
        "sqlite:////data/a:b@c.db",
        "postgresql://me@host:5432/db?options=-csearch_path%3Dx",
        "http://127.0.0.1:5000",
    ],
)
def test_an_address_without_a_password_is_shown_as_it_is(address: str) -> None:
    """Nothing is masked where there is nothing to hide; the project file relies on it."""
    assert masked(address) == address
    assert is_url(address) == ("://" in address)


# The fingerprint.


def test_the_fingerprint_is_pinned() -> None:
    """A library or machine that hashed otherwise would call every table changed."""
    assert fingerprint(rich_table()) == PINNED


@given(st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_the_fingerprint_ignores_the_order_of_rows_and_columns(random: Any) -> None:
    """The same rows in another order are the same table."""
    frame = rich_table()
    rows, columns = list(range(40)), list(frame.columns)
    random.shuffle(rows)
    random.shuffle(columns)
    assert fingerprint(frame.iloc[rows][columns]) == fingerprint(frame)


def test_every_change_of_the_table_changes_the_fingerprint() -> None:
    """Any one cell, a name, a row more or twice, or two cells swapped, is seen."""
    frame = rich_table()
    variants = [
        frame.rename(columns={"delay": "Delay"}),
        frame.iloc[:-1],
        pd.concat([frame, frame.iloc[[0]]]),
        frame.rename(columns={"key": "delay", "delay": "key"}),
        frame.astype({"key": "str"}),
        frame.assign(carrier=frame["carrier"].replace("AA", "nan")),
        frame.assign(carrier=frame["carrier"].replace("AA", None)),
        frame.assign(delay=frame["delay"].to_numpy()[[1, 0, *range(2, 40)]]),
        *(frame.assign(**{name: frame[name].where(frame.index != 2)}) for name in frame),
    ]
    prints = {fingerprint(variant) for variant in [frame, *variants]}
    assert len(prints) == 1 + len(variants)


# Settings.


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"source": "postgresql://host/db"}, "needs data.query"),
        ({"source": "a.csv", "query": "select 1"}, "not with a file"),
        ({"time": "t", "split": {"method": "time"}}, "needs validation_from and sealed_from"),
        ({"split": {"method": "group"}}, "needs data.group"),
        ({"drop": {"key": " "}}, "needs a reason"),
        ({"id": "late"}, "the target is neither"),
        ({"drop": {"late": "why"}}, "the target is neither"),
        ({"encoding": "utf-99"}, "one that Python knows"),
        ({"sauce": "b.csv"}, "Extra inputs"),
        ({"source": ""}, "at least 1 character"),
        ({"split": {"validation": 0.6, "sealed": 0.4}}, "sum is below 1"),
        ({"split": {"sealed": 0}}, "greater than 0"),
        ({"split": {"seed": -1}}, "greater than or equal to 0"),
        ({"split": {"sealed_from": date(2013, 6, 1)}}, 'go with method = "time"'),
        (
            {
                "split": {
                    "method": "time",
                    "validation_from": date(2013, 5, 1),
                    "sealed_from": date(2013, 6, 1),
                }
            },
            "needs data.time",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given: dict[str, Any], said: str) -> None:
    """Each rule of [data] says what must hold, before any row is read."""
    with pytest.raises(ValidationError) as caught:
        DataSettings.model_validate({"source": "a.csv", "target": "late", **given})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("first", "second", "third", "fits"),
    [
        (date(2013, 5, 1), date(2013, 6, 1), None, True),
        (date(2013, 5, 1), datetime.fromisoformat("2013-05-01T12:00"), date(2013, 5, 2), True),
        (date(2013, 6, 1), date(2013, 5, 1), None, False),
        (date(2013, 5, 1), datetime.fromisoformat("2013-05-01"), None, False),
        (date(2013, 5, 1), date(2013, 6, 1), date(2013, 6, 1), False),
        (date(2013, 5, 1), datetime(2013, 6, 1, tzinfo=UTC), None, False),
        (datetime(2013, 5, 1, tzinfo=UTC), datetime(2013, 6, 1, tzinfo=UTC), None, True),
    ],
)
def test_the_instants_of_a_split_are_in_order(
    first: date, second: date, third: date | None, fits: bool
) -> None:
    """Validation starts before the sealed rows, those before the end; zones are not mixed."""
    given: dict[str, Any] = {"validation_from": first, "sealed_from": second, "until": third}
    if fits:
        assert SplitSettings(method="time", **given).sealed_from == second
    else:
        with pytest.raises(ValidationError):
            SplitSettings(method="time", **given)


def test_the_settings_import_light() -> None:
    """`tidegate --help` reads this module, and must not pay for pandas or SQLAlchemy."""
    heavy = "{'pandas', 'sqlalchemy', 'pyarrow'}"
    code = f"import sys, pipelines.data; print({heavy} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
