"""Reading a table: CSV, Parquet or SQL to a frame, and the fingerprint of what was read."""

import hashlib
from dataclasses import dataclass
from datetime import date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipelines.errors import DataError, ServiceError

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 5
"""Most offending values quoted in an error."""

MINIMUM_ROWS = 10
"""Fewer rows than this cannot be split into three sides."""

_MOST_MISSING = 0.5
_BOMS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


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
        if self.method != "time":
            return self
        if self.validation_from is None or self.sealed_from is None:
            raise ValueError("a split by time needs validation_from and sealed_from")
        instants = [i for i in (self.validation_from, self.sealed_from, self.until) if i]
        moments = [str(instant) for instant in instants]
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
    """Return a database address without its password."""
    if not is_url(source):
        return source
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(source).render_as_string(hide_password=True)
    except ArgumentError:
        # An http address, of an MLflow server: the same place holds its password.
        head, at, tail = source.partition("://")[2].rpartition("@")
        user = head.partition(":")[0]
        hidden = f"{user}:***@" if ":" in head else f"{head}{at}"
        return f"{source.partition('://')[0]}://{hidden}{tail}"


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
    _check_target(frame[settings.target])
    _check_finite(frame)
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
    where = settings.source if source is None else source
    if is_url(where):
        return _read_sql(where, settings.query if source is None else query)
    path = folder / where
    _check_file(path)
    frame = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path, settings.encoding)
    duplicated = frame.columns[frame.columns.duplicated()]
    if len(duplicated):
        raise _duplicates(path, list(duplicated))
    if frame.empty:
        raise DataError(
            "A table has rows.",
            found=f"{path} has a header of {len(frame.columns)} columns and no row",
            next_move="check the export that wrote it",
        )
    return frame


def fingerprint(frame: "pd.DataFrame") -> str:
    """Return a SHA-256 of the table's content, whatever the order of rows and columns.

    Any cell, a column's name and the number of equal rows change it; a wider type of the
    same values does not.
    """
    import numpy as np

    from pipelines.split import hash_rows

    digest = hashlib.sha256()
    for name in sorted(str(column) for column in frame.columns):
        digest.update(name.encode() + b"\0")
    digest.update(np.sort(hash_rows(frame)).tobytes())
    return digest.hexdigest()


def parse_time(values: "pd.Series") -> "pd.Series":
    """Read a column as datetimes.

    Raises
    ------
    DataError
        Some values are no dates.
    """
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(values):
        return values
    parsed = pd.to_datetime(values, errors="coerce", format="ISO8601")
    if parsed.notna().sum() < values.notna().sum():
        parsed = pd.to_datetime(values, errors="coerce", format="mixed")
    broken = values[parsed.isna() & values.notna()]
    if len(broken) or pd.api.types.is_numeric_dtype(values):
        shown = broken if len(broken) else values
        raise DataError(
            f"The time column {values.name!r} holds dates.",
            found=f"{len(shown)} of {len(values)} values do not parse: {_quote(shown)}",
            next_move="write them as 2013-06-30 or 2013-06-30T17:45:00",
        )
    return parsed


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise DataError(
            "A table is one file.",
            found=f"{path} is a folder",
            next_move=f"name a file in it: {_listing(path)}",
        )
    if not path.exists():
        names = (
            [p.name for p in path.parent.glob("*") if p.is_file()] if path.parent.is_dir() else []
        )
        close = get_close_matches(path.name, names, n=1, cutoff=0.5)
        raise DataError(
            "The table's file exists.",
            found=f"no file {path}",
            next_move=f"did you mean {close[0]}?" if close else "check data.source, and its folder",
        )
    if path.suffix not in {".csv", ".parquet", ".gz"}:
        raise DataError(
            "A table is a .csv, .csv.gz or .parquet file, or a database address.",
            found=str(path),
            next_move="export it to one of these",
        )
    try:
        empty = path.stat().st_size == 0
        with path.open("rb"):
            pass
    except OSError as err:
        raise DataError(
            "The table's file can be read.",
            found=f"{path}: {err.strerror}",
            next_move="check its rights",
        ) from err
    if empty:
        raise DataError(
            "A table has a header and rows.",
            found=f"{path} is empty",
            next_move="check the export that wrote it",
        )


def _listing(folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir() if p.suffix in {".csv", ".parquet"})
    return ", ".join(names[:SHOWN]) or "it holds no .csv or .parquet file"


def _read_parquet(path: Path) -> "pd.DataFrame":
    import pandas as pd
    import pyarrow as pa

    try:
        return pd.read_parquet(path)
    except (pa.ArrowException, OSError, ValueError) as err:
        raise DataError(
            "A .parquet file holds Parquet.",
            found=f"{path}: {str(err).splitlines()[0][:200]}",
            next_move="write it again, or give it its true ending",
        ) from err


def _read_csv(path: Path, encoding: str) -> "pd.DataFrame":
    import pandas as pd

    if encoding.lower().replace("_", "-") in {"utf-8", "utf8"}:
        encoding = "utf-8-sig"
    _check_encoding(path, encoding)
    _check_shape(path, encoding)
    try:
        return pd.read_csv(path, encoding=encoding, low_memory=False, index_col=False)
    except pd.errors.EmptyDataError as err:
        raise DataError(
            "A table has a header and rows.",
            found=f"{path} holds no column",
            next_move="check the export that wrote it",
        ) from err


def _check_shape(path: Path, encoding: str) -> None:
    """Refuse what pandas would mend in silence: a repeated name, a long or a short row."""
    import csv
    import gzip

    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding=encoding, newline="") as stream:
            rows = csv.reader(stream)
            header = next(rows, [])
            repeated = [name for name in dict.fromkeys(header) if header.count(name) > 1]
            if repeated:
                raise _duplicates(path, repeated)
            width = len(header)
            ragged = ((rows.line_num, len(row)) for row in rows if row and len(row) != width)
            for line, cells in ragged:
                raise DataError(
                    f"Each row has as many cells as the header ({width}).",
                    found=f"{path}: line {line} has {cells}",
                    next_move="mend that line: often a comma inside a cell that lacks quotes",
                )
    except DataError:
        raise
    except (UnicodeError, LookupError, csv.Error) as err:
        raise _encoding_error(path, encoding, str(err)) from err
    except OSError as err:
        raise DataError(
            "A .gz file is compressed with gzip.",
            found=f"{path}: {err}",
            next_move="write it again, or give it its true ending",
        ) from err


def _check_encoding(path: Path, encoding: str) -> None:
    if path.suffix == ".gz":
        return
    with path.open("rb") as stream:
        start = stream.read(4096)
    for mark, name in _BOMS:
        if start.startswith(mark) and "16" not in encoding:
            raise _encoding_error(path, encoding, f"it starts with the mark of {name}", name)
    if b"\0" in start and "16" not in encoding and "32" not in encoding:
        raise _encoding_error(path, encoding, "it holds zero bytes", "utf-16")


def _encoding_error(path: Path, encoding: str, why: str, looks_like: str = "latin-1") -> DataError:
    return DataError(
        f"A CSV file is text in the encoding of data.encoding ({encoding.removesuffix('-sig')}).",
        found=f"{path}: {why}; it looks like {looks_like}",
        next_move=f'set data.encoding = "{looks_like}", or save the file as UTF-8',
    )


def _read_sql(url: str, query: str | None) -> "pd.DataFrame":
    import pandas as pd
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import (
        ArgumentError,
        InterfaceError,
        NoSuchModuleError,
        OperationalError,
        SQLAlchemyError,
    )

    if not query:
        raise DataError(
            "A database address goes with a query.",
            found=masked(url),
            next_move="give the SQL with --query, or data.query in tidegate.toml",
        )
    sqlite_file = url.removeprefix("sqlite:///") if url.startswith("sqlite:///") else ""
    if sqlite_file and not Path(sqlite_file).exists():
        raise DataError(
            "The SQLite database exists.",
            found=f"no file {sqlite_file}",
            next_move="check data.source; four slashes start an absolute path",
        )
    try:
        engine = create_engine(url)
    except (ArgumentError, NoSuchModuleError, ImportError) as err:
        raise DataError(
            "A database address is a SQLAlchemy URL whose driver is installed.",
            found=f"{masked(url)}: {err}",
            next_move="for example postgresql+psycopg://user@host/database",
        ) from err
    try:
        with engine.connect() as connection:
            try:
                frame = pd.read_sql(text(query), connection)
            except SQLAlchemyError as err:
                raise DataError(
                    "The query gives a table.",
                    found=f"{query.strip()[:200]}: {_first_line(err)}",
                    next_move="try the query in the database's own shell",
                ) from err
    except (OperationalError, InterfaceError) as err:
        raise ServiceError(
            "The database answers.",
            found=f"{masked(url)}: {_first_line(err)}",
            next_move="check that it runs, and the address and rights in data.source",
        ) from err
    finally:
        engine.dispose()
    if frame.empty:
        raise DataError(
            "A table has rows.",
            found=f"the query gave {len(frame.columns)} columns and no row",
            next_move="check its conditions",
        )
    duplicated = list(frame.columns[frame.columns.duplicated()])
    if duplicated:
        raise _duplicates(Path(masked(url)), duplicated)
    return frame


def _first_line(err: Any) -> str:
    return str(getattr(err, "orig", None) or err).strip().splitlines()[0][:200]


def _check_target(target: "pd.Series") -> None:
    absent = int(target.isna().sum())
    if absent > _MOST_MISSING * len(target):
        raise DataError(
            "At least half of the rows have a target.",
            found=f"{absent} of {len(target)} values of {target.name!r} are missing",
            next_move="check the join or export that fills it",
        )
    if absent:
        raise DataError(
            "Each row to learn from has a target.",
            found=f"{absent} of {len(target)} values of {target.name!r} are missing",
            next_move="leave such rows out at the source",
        )
    classes = target.unique()
    if len(classes) < 2:
        raise DataError(
            "A target has at least two classes.",
            found=f"each of {len(target)} values of {target.name!r} is {str(classes[0])!r}",
            next_move="check the filter that made the table, or name another target",
        )


def _check_finite(frame: "pd.DataFrame") -> None:
    import numpy as np

    numbers = frame.select_dtypes("number")
    infinite = {
        column: int(np.isinf(numbers[column].to_numpy(dtype="float64", na_value=np.nan)).sum())
        for column in numbers
    }
    found = [f"{count} in {column!r}" for column, count in infinite.items() if count]
    if found:
        raise DataError(
            "Numbers are finite.",
            found=f"infinite values: {', '.join(found[:SHOWN])}",
            next_move="mend them at the source, often a division by zero; "
            "leave a cell empty where nothing is known",
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


def _duplicates(path: Path, names: list[Any]) -> DataError:
    return DataError(
        "Each column has a name of its own.",
        found=f"{path}: more than one {', '.join(repr(name) for name in names[:SHOWN])}",
        next_move="rename or drop the others at the source",
    )


def _quote(values: "pd.Series") -> str:
    return ", ".join(repr(str(value)[:40]) for value in values.head(SHOWN))
