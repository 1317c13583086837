"""Reading a table: CSV, Parquet or SQL to a frame, and the fingerprint of what was read."""

import codecs
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipelines.errors import DataError, ServiceError

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import CursorResult

SHOWN = 5
"""Most offending values quoted in an error."""

MINIMUM_ROWS = 10
"""Fewer rows than this cannot be split into three sides."""

_LARGEST_CELL = 10_000_000

_PASSWORD = re.compile(r"(?P<head>^[\w+.-]+://[^:/@?#]*:).+(?P<tail>@)")
# As a parameter of the address, also inside an ODBC string, whose "=" and ";" are quoted.
_PASSWORD_PARAMETER = re.compile(r"(?i)((?:password|passwd|pwd)(?:=|%3D))(?:(?!%3B)[^&#;])+")


class SplitSettings(BaseModel):
    """``[data.split]``: which rows are learned from, and which are sealed for the gate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["random", "time", "group"] = Field(
        "random",
        description="How a row's side is decided: hash of the id or content, time, or group.",
    )
    validation: float = Field(
        0.2, gt=0, lt=1, description="Share of rows that choose the configuration."
    )
    sealed: float = Field(0.2, gt=0, lt=1, description="Share of rows that only the gate reads.")
    seed: int = Field(0, ge=0, description="Salt of the hash: another seed, another split.")
    validation_from: date | datetime | None = Field(
        None, description="Instant from which rows are for validation (method time)."
    )
    sealed_from: date | datetime | None = Field(
        None, description="Instant from which rows are sealed (method time)."
    )
    until: date | datetime | None = Field(
        None, description="Instant from which rows are left out (method time)."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.validation + self.sealed >= 1:
            raise ValueError("validation and sealed leave rows to train on: their sum is below 1")
        instants = [i for i in (self.validation_from, self.sealed_from, self.until) if i]
        if self.method != "time":
            if instants:
                raise ValueError('validation_from, sealed_from and until go with method = "time"')
            return self
        if self.validation_from is None or self.sealed_from is None:
            raise ValueError("a split by time needs validation_from and sealed_from")
        moments = [_moment(instant) for instant in instants]
        if len({moment.tzinfo is None for moment in moments}) > 1:
            raise ValueError("either each instant of the split has a time zone, or none has")
        if moments != sorted(set(moments)):
            raise ValueError("validation_from comes before sealed_from, and that before until")
        return self


class DataSettings(BaseModel):
    """``[data]``: the table and what its columns are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(
        min_length=1,
        description="A .csv, .csv.gz or .parquet file, relative to the project, or a database "
        "address (SQLAlchemy URL; give one with a password as TIDEGATE_DATA__SOURCE).",
    )
    query: str | None = Field(
        None, description="SQL that gives the table, with a database address."
    )
    target: str = Field(min_length=1, description="The column to predict.")
    positive: bool | int | str | None = Field(
        None, description="The class that metrics of a binary target call positive."
    )
    time: str | None = Field(None, description="Column of when each row happened; no feature.")
    id: str | None = Field(None, description="Column that names each row once; no feature.")
    group: str | None = Field(
        None, description="Column whose rows of one value stay on one side; no feature."
    )
    drop: dict[str, str] = Field(
        default_factory=dict, description="Column to leave out: the reason why."
    )
    encoding: str = Field("utf-8", description="Text encoding of a CSV file.")
    split: SplitSettings = Field(default_factory=SplitSettings, description="See [data.split].")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if is_url(self.source) and not self.query:
            raise ValueError("a database address needs data.query, the SQL that gives the table")
        if self.query and not is_url(self.source):
            raise ValueError("data.query goes with a database address, not with a file")
        if self.split.method == "time" and self.time is None:
            raise ValueError("a split by time needs data.time, the column of when a row happened")
        if self.split.method == "group" and self.group is None:
            raise ValueError("a split by group needs data.group, the column that names the group")
        for column, reason in self.drop.items():
            if not reason.strip():
                raise ValueError(f"data.drop.{column} needs a reason: its readers will ask")
        if self.target in (self.time, self.id, self.group, *self.drop):
            raise ValueError("the target is neither the time, id or group column nor dropped")
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise ValueError("data.encoding is one that Python knows, such as latin-1") from None
        return self


@dataclass(frozen=True)
class Dataset:
    """A table to learn from.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        As read, with the time column as datetimes.
    settings : DataSettings
    fingerprint : str
        See `fingerprint`.
    origin : str
        The source as a reader may see it: without its password.
    """

    frame: "pd.DataFrame"
    settings: DataSettings
    fingerprint: str
    origin: str


def is_url(source: str) -> bool:
    """Tell a database address from a path."""
    return "://" in source


def masked(source: str) -> str:
    """Return an address with ``***`` for its password; one without a password, as it is."""
    if not is_url(source):
        return source
    return _PASSWORD_PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\g<head>***\g<tail>", source))


def read(settings: DataSettings, folder: Path) -> Dataset:
    """Read the project's table and check what its settings say of it.

    Raises
    ------
    DataError
        The table cannot be read, lacks a named column, or cannot be learned from.
    ServiceError
        The database does not answer.
    """
    frame = read_frame(settings, folder)
    named = {
        "target": settings.target,
        "time": settings.time,
        "id": settings.id,
        "group": settings.group,
    } | {f"drop.{column}": column for column in settings.drop}
    for role, column in named.items():
        if column is not None and column not in frame.columns:
            raise _no_column(f"data.{role}", column, frame)
    if len(frame) < MINIMUM_ROWS:
        raise DataError(
            f"A table to learn from has at least {MINIMUM_ROWS} rows.",
            found=f"{len(frame)} in {masked(settings.source)}",
            next_move="give the whole table",
        )
    _check_target(frame[settings.target], settings.positive)
    _check_finite(frame.drop(columns=list(settings.drop)))
    if settings.time is not None:
        frame[settings.time] = parse_time(frame[settings.time])
    return Dataset(frame, settings, fingerprint(frame), masked(settings.source))


def read_frame(
    settings: DataSettings, folder: Path, source: str | None = None, *, query: str | None = None
) -> "pd.DataFrame":
    """Read any table: the project's, or another that is scored or watched.

    Parameters
    ----------
    settings : DataSettings
        Says the encoding, and the table where ``source`` is absent.
    folder : Path
        Where a relative path starts.
    source, query : str, optional

    Raises
    ------
    DataError, ServiceError
        As `read`.
    """
    from pandas.api.types import is_object_dtype

    where = settings.source if source is None else source
    if is_url(where):
        frame = _read_sql(where, settings.query if source is None else query, folder)
    else:
        path = folder / where
        frame = _READERS[check_file(path)](path, settings.encoding)
    shown = masked(where)
    frame.columns = [str(name) for name in frame.columns]
    check_names(shown, list(frame.columns))
    if frame.empty:
        raise DataError(
            "A table has rows.",
            found=f"{shown} gives {len(frame.columns)} columns and no row",
            next_move="check the export or the query that makes it",
        )
    for column in frame.columns:
        if is_object_dtype(frame[column]) and frame[column].isna().all():
            frame[column] = frame[column].astype("float64")
    return frame


def fingerprint(frame: "pd.DataFrame") -> str:
    """Return a SHA-256 of the table's content, whatever the order of rows and columns.

    Any cell, a column's name and the number of equal rows change it. A wider type of the
    same values does not, so a table is the same from a file and from a database.
    """
    import numpy as np

    from pipelines.split import hash_rows

    digest = hashlib.sha256()
    for name in sorted(str(column) for column in frame.columns):
        digest.update(name.encode() + b"\0")
    digest.update(np.sort(hash_rows(frame)).tobytes())
    return digest.hexdigest()


def parse_time(values: "pd.Series") -> "pd.Series":
    """Read a column as datetimes: ISO 8601, else one format for the whole column.

    Raises
    ------
    DataError
        Some values are no dates, or all can be read both day first and month first.
    """
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(values):
        return values
    written = values.dropna()
    if written.empty or pd.api.types.infer_dtype(written) not in _WRITTEN_DATES:
        raise _no_dates(values, written)
    parsed = _parse(written, "ISO8601")
    if parsed.notna().all():
        return parsed.reindex(values.index)
    guesses = [_parse(written, form) for form in _formats(written.iloc[0])]
    whole = [guess for guess in guesses if guess.notna().all()]
    if len(whole) == 2 and not whole[0].equals(whole[1]):
        raise DataError(
            f"The time column {values.name!r} can be read in one way.",
            found=f"day first or month first: {_quote(written)}",
            next_move="write them as 2013-06-30 or 2013-06-30T17:45:00",
        )
    if not whole:
        parsed = max([parsed, *guesses], key=lambda guess: int(guess.notna().sum()))
        raise _no_dates(values, written[parsed.isna()])
    return whole[0].reindex(values.index)


_WRITTEN_DATES = ("string", "date", "datetime", "mixed")


def _parse(written: "pd.Series", form: str) -> "pd.Series":
    import pandas as pd

    try:
        return pd.to_datetime(written, errors="coerce", format=form)
    except ValueError:
        # More than one offset from UTC, as across a change to summer time.
        return pd.to_datetime(written, errors="coerce", format=form, utc=True)


def _formats(example: Any) -> list[str]:
    import warnings

    from pandas.tseries.api import guess_datetime_format

    with warnings.catch_warnings():
        # pandas warns of the order that it was not told; both are tried here.
        warnings.filterwarnings("ignore", "Parsing dates in", UserWarning)
        guesses = [guess_datetime_format(str(example), dayfirst=first) for first in (False, True)]
    return list(dict.fromkeys(guess for guess in guesses if guess))


def _no_dates(values: "pd.Series", broken: "pd.Series") -> DataError:
    return DataError(
        f"The time column {values.name!r} holds dates.",
        found=f"{len(broken)} of {len(values)} values do not parse: {_quote(broken)}"
        if len(broken)
        else f"each of {len(values)} values is missing",
        next_move="write them as 2013-06-30 or 2013-06-30T17:45:00",
    )


def _moment(instant: date) -> datetime:
    if isinstance(instant, datetime):
        return instant
    return datetime(instant.year, instant.month, instant.day)  # noqa: DTZ001  local, as the column


def check_file(path: Path) -> str:
    """Return the ending that says how to read a file."""
    if path.is_dir():
        raise DataError(
            "A table is one file.",
            found=f"{path} is a folder",
            next_move=f"name a file in it: {_listing(path)}",
        )
    if not path.exists():
        names = [each.name for each in path.parent.glob("*") if each.is_file()]
        close = get_close_matches(path.name, names, n=1, cutoff=0.5)
        raise DataError(
            "The table's file exists.",
            found=f"no file {path}",
            next_move=f"did you mean {close[0]}?" if close else "check data.source, and its folder",
        )
    ending = next((end for end in _READERS if path.name.lower().endswith(end)), None)
    if ending is None:
        raise DataError(
            "A table is a .csv, .csv.gz or .parquet file, or a database address.",
            found=str(path),
            next_move="export it to one of these",
        )
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as err:
        raise DataError(
            "The table's file can be read.",
            found=f"{path}: {err.strerror}",
            next_move="check its rights",
        ) from err
    if empty:
        raise _no_header(path)
    return ending


def _listing(folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir() if p.name.lower().endswith(tuple(_READERS)))
    return ", ".join(names[:SHOWN]) or "it holds no .csv or .parquet file"


def _no_header(path: Path) -> DataError:
    return DataError(
        "A table has a header and rows.",
        found=f"{path} is empty",
        next_move="check the export that wrote it",
    )


def _read_parquet(path: Path, encoding: str) -> "pd.DataFrame":
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

    try:
        check_names(str(path), parquet.read_schema(path).names)
        frame = pd.read_parquet(path)
    except DataError:
        raise
    except (pa.ArrowException, OSError, ValueError) as err:
        raise DataError(
            "A .parquet file holds Parquet.",
            found=f"{path}: {first_line(err)}",
            next_move="write it again, or give it its true ending",
        ) from err
    # pandas keeps an index in the file: a named one is columns of the table.
    named = [name for name in frame.index.names if name is not None]
    return (
        frame.reset_index(level=named).reset_index(drop=True)
        if named
        else frame.reset_index(drop=True)
    )


def _read_csv(path: Path, encoding: str) -> "pd.DataFrame":
    import pandas as pd

    encoding = check_text(path, encoding)
    try:
        return pd.read_csv(path, encoding=encoding, low_memory=False, index_col=False)
    except pd.errors.EmptyDataError as err:
        raise _no_header(path) from err
    except pd.errors.ParserError as err:
        raise DataError(
            "A CSV file can be parsed.",
            found=f"{path}: {first_line(err)}",
            next_move="often a quote that opens a cell and never closes it",
        ) from err


_READERS = {".csv": _read_csv, ".csv.gz": _read_csv, ".parquet": _read_parquet}


def _open(path: Path) -> IO[bytes]:
    import gzip

    return (
        cast("IO[bytes]", gzip.open(path)) if path.name.lower().endswith(".gz") else path.open("rb")
    )


def check_text(path: Path, encoding: str) -> str:
    """Refuse what pandas would mend in silence: a repeated name, a long or a short row.

    Returns
    -------
    str
        The encoding to read the file in.
    """
    import csv
    import io
    import zlib

    if codecs.lookup(encoding).name == "utf-8":
        encoding = "utf-8-sig"  # skips the mark that some programs start a file with
    csv.field_size_limit(_LARGEST_CELL)
    line = 1
    try:
        with _open(path) as stream, io.TextIOWrapper(stream, encoding, newline="") as text:
            rows = csv.reader(text)
            header = next(rows, [])
            if any("\0" in name for name in header):
                raise _wrong_encoding(path, encoding, "its header holds zero bytes")
            check_names(str(path), header)
            if len(header) == 1 and (other := re.search(r"[;\t|]", header[0])):
                raise DataError(
                    "Commas separate the cells of a CSV file.",
                    found=f"{path}: the header has no comma, and {other[0]!r}",
                    next_move="export it with commas",
                )
            line = rows.line_num + 1
            for row in rows:
                if row and len(row) != len(header):
                    raise DataError(
                        f"Each row has as many cells as the header ({len(header)}).",
                        found=f"{path}: the row at line {line} has {len(row)}",
                        next_move="mend that line: often a comma in a cell without quotes, "
                        "or a quote that is never closed",
                    )
                line = rows.line_num + 1
    except DataError:
        raise
    except UnicodeError as err:
        raise _wrong_encoding(path, encoding, str(err)) from err
    except csv.Error as err:
        raise DataError(
            "A CSV file can be parsed.",
            found=f"{path}: the row at line {line}: {err}",
            next_move="often a quote that opens a cell and never closes it",
        ) from err
    except (OSError, EOFError, zlib.error) as err:
        raise DataError(
            "A .gz file is whole, and compressed with gzip.",
            found=f"{path}: {err}",
            next_move="write it again, or give it its true ending",
        ) from err
    return encoding


def _wrong_encoding(path: Path, encoding: str, why: str) -> DataError:
    with _open(path) as stream:
        found = _encoding_of(stream.read())
    return DataError(
        "A CSV file is text in the encoding that data.encoding names "
        f"({encoding.removesuffix('-sig')}).",
        found=f"{path}: {why}; it looks like {found}",
        next_move=f'set data.encoding = "{found}", or save the file as UTF-8',
    )


def _encoding_of(content: bytes) -> str:
    """Guess an encoding that can read these bytes, the likeliest first."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in content:
        # Text is mostly ASCII: of its two bytes, the zero comes second in little-endian.
        little = content[1::2].count(0) >= content[::2].count(0)
        return "utf-16-le" if little else "utf-16-be"
    try:
        content.decode()
    except UnicodeDecodeError:
        # Windows puts quotes and the euro sign where Latin-1 has control characters.
        return "cp1252" if re.search(rb"[\x80-\x9f]", content) else "latin-1"
    return "utf-8"


def _read_sql(address: str, query: str | None, folder: Path) -> "pd.DataFrame":
    import pandas as pd

    with ask(address, query, folder) as result:
        rows, names = [tuple(row) for row in result], list(result.keys())
    return pd.DataFrame.from_records(rows, columns=names, coerce_float=True)


@contextmanager
def ask(
    address: str, query: str | None, folder: Path, *, at_once: int | None = None
) -> "Iterator[CursorResult[Any]]":
    """Put a query to a database and give its rows while they are read.

    Parameters
    ----------
    address : str
    query : str or None
    folder : Path
        Where a relative SQLite path starts.
    at_once : int, optional
        Rows that are held in memory, where the driver has a cursor on the server; else all.

    Raises
    ------
    DataError
        There is no query, the address is none, or the query gives no table.
    ServiceError
        The database does not answer.
    """
    from sqlalchemy import create_engine, make_url, text
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    shown = masked(address)
    if not query:
        raise DataError(
            "A database address goes with a query.",
            found=shown,
            next_move="give the SQL with --query, or data.query in tidegate.toml",
        )
    try:
        url = make_url(address)
        if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
            # A relative file starts where other relative paths start: in the project.
            url = url.set(database=str(folder / str(url.database)))
            _check_sqlite(Path(str(url.database)))
        engine = create_engine(url)
    except DataError:
        raise
    except (SQLAlchemyError, ImportError, ValueError) as err:
        raise DataError(
            "A database address is a SQLAlchemy URL whose driver is installed.",
            # A ValueError is of the port, and may quote a password that holds an @ or a colon.
            found=shown if isinstance(err, ValueError) else f"{shown}: {first_line(err)}",
            next_move="for example postgresql+psycopg://user@host:5432/database",
        ) from err
    try:
        with engine.connect() as connection:
            try:
                # A colon in the query is a colon: in a time, a JSON path or a Postgres cast.
                asked = text(query.replace(":", r"\:"))
                if at_once:
                    asked = asked.execution_options(stream_results=True, max_row_buffer=at_once)
                with connection.execute(asked) as result:
                    result.keys()
                    yield result
            except SQLAlchemyError as err:
                if isinstance(err, DBAPIError) and err.connection_invalidated:
                    raise
                raise DataError(
                    "The query gives a table.",
                    found=f"{query.strip()[:200]}: {first_line(err)}",
                    next_move="try the query in the database's own shell",
                ) from err
    except SQLAlchemyError as err:
        raise ServiceError(
            "The database answers.",
            found=f"{shown}: {first_line(err)}",
            next_move="check that it runs, and the address and rights in data.source",
        ) from err
    finally:
        engine.dispose()


def _check_sqlite(path: Path) -> None:
    if not path.is_file():  # SQLite would make an empty one
        raise DataError(
            "The SQLite database exists.",
            found=f"no file {path}",
            next_move="check data.source: sqlite:///data.db is in the project's folder, "
            "and a fourth slash starts an absolute path",
        )


def first_line(err: Any) -> str:
    """Return what a driver or a parser says, short."""
    lines = str(getattr(err, "orig", None) or err).strip().splitlines()
    return lines[0][:200] if lines else type(err).__name__


def _check_target(target: "pd.Series", positive: bool | int | str | None) -> None:
    absent = int(target.isna().sum())
    if absent:
        raise DataError(
            "Each row to learn from has a target.",
            found=f"{absent} of {len(target)} values of {target.name!r} are missing "
            f"({absent / len(target):.0%})",
            next_move="leave such rows out at the source; if they are many, "
            "check the join or export that fills the column",
        )
    classes = target.unique().tolist()
    if len(classes) < 2:
        raise DataError(
            "A target has at least two classes.",
            found=f"each of {len(target)} values of {target.name!r} is {str(classes[0])!r}",
            next_move="check the filter that made the table, or name another target",
        )
    if positive is not None and str(positive) not in {str(label) for label in classes}:
        names = [str(label) for label in classes]
        close = get_close_matches(str(positive), names, n=1, cutoff=0.5)
        raise DataError(
            "data.positive is a class of the target.",
            found=f"{positive!r}, and {target.name!r} holds {_quote(target.drop_duplicates())}",
            next_move=f"did you mean {close[0]!r}?" if close else "name one of its classes",
        )


def _check_finite(frame: "pd.DataFrame") -> None:
    import numpy as np

    found = []
    for column in frame.select_dtypes("number", exclude="timedelta"):
        values = frame[column].to_numpy(dtype="float64", na_value=np.nan)
        rows = np.flatnonzero(np.isinf(values)) + 1
        if rows.size:
            first = ", ".join(map(str, rows[:SHOWN]))
            found.append(f"{rows.size} in {column!r} (of the rows, number {first})")
    if found:
        raise DataError(
            "Numbers are finite.",
            found=f"infinite values: {'; '.join(found[:SHOWN])}",
            next_move="mend them at the source, often a division by zero: leave the cell empty "
            "where nothing is known; or drop the column in [data.drop]",
        )


def _no_column(setting: str, column: str, frame: "pd.DataFrame") -> DataError:
    names = [str(name) for name in frame.columns]
    close = get_close_matches(column, names, n=1, cutoff=0.5)
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return DataError(
        f"The table has the column that {setting} names.",
        found=f"no column {column!r} among {len(names)}: {shown}",
        next_move=f"did you mean {close[0]!r}?" if close else f"name one of them in {setting}",
    )


def check_names(shown: str, names: list[str]) -> None:
    """Refuse a table two of whose columns share a name."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(
            "Each column has a name of its own.",
            found=f"{shown}: more than one {', '.join(repr(name) for name in repeated[:SHOWN])}",
            next_move="rename or drop the others at the source",
        )


def _quote(values: "pd.Series") -> str:
    return ", ".join(repr(str(value)[:40]) for value in values.head(SHOWN))
