"""A table larger than memory: the rows of a file or a query, some thousands at a time.

A whole table's types are those of all its rows: a column of whole numbers with one empty cell
in the last row is one of decimals from the first. So each source is gone through twice, first
for the types and then for the rows, and each batch has the types of the whole.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.data import (
    DataSettings,
    ask,
    check_file,
    check_names,
    check_text,
    first_line,
    is_url,
    masked,
)
from pipelines.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    _Opened = tuple[int, Callable[[], Iterator[pd.DataFrame]]]


@dataclass(frozen=True)
class Batches:
    """The rows of a table in their order, a batch at a time.

    Parameters
    ----------
    identity : tuple
        What tells this reading of this table from others: its address and query, or its path,
        size and time of change; and the size of a batch.
    size : int
        Rows of each batch; the last one may have fewer.
    rows : int
        Of the whole table.
    frames : callable
        Gives an iterator from the first batch on.
    """

    identity: tuple[Any, ...]
    size: int
    rows: int
    frames: "Callable[[], Iterator[pd.DataFrame]]" = field(repr=False)

    def __len__(self) -> int:
        return -(-self.rows // self.size)

    def __iter__(self) -> "Iterator[pd.DataFrame]":
        return self.frames()


@dataclass
class _Kinds:
    """What was seen of a column: the types of its cells, and whether one was missing."""

    seen: set[str] = field(default_factory=set)
    missing: bool = False
    negative: bool = False

    def add(self, values: "pd.Series") -> None:
        from pandas.api import types

        self.missing = self.missing or bool(values.isna().any())
        if values.isna().all():
            return
        kind = str(values.dtype)
        if types.is_object_dtype(values):
            boolean = types.infer_dtype(values, skipna=True) == "boolean"
            kind = "bool" if boolean else "object"
        if kind == "int64":
            self.negative = self.negative or bool((values < 0).any())
        self.seen.add(kind)

    @property
    def kind(self) -> str | None:
        """The type of the whole column; None where cells of several types are in it."""
        if not self.seen:
            return "float64"
        if self.seen == {"bool"}:
            return "object" if self.missing else "bool"
        if self.seen == {"int64"}:
            return "float64" if self.missing else "int64"
        if self.seen <= {"int64", "float64"}:
            return "float64"
        if self.seen <= {"int64", "uint64"}:
            # pandas has no type for these with a sign or with a missing value.
            return None if self.missing or self.negative else "uint64"
        if self.seen <= {"int64", "uint64", "float64"}:
            return "float64"
        return next(iter(self.seen)) if len(self.seen) == 1 else None


def open_batches(
    settings: DataSettings, folder: Path, source: str, size: int, *, query: str | None = None
) -> Batches:
    """Look through a table, and get ready to read it in batches.

    The columns have the types that `pipelines.data.read_frame` gives them.

    Parameters
    ----------
    settings : DataSettings
        Says the encoding of a CSV file.
    folder : Path
        Where a relative path starts.
    source : str
        A file, or a database address.
    size : int
        Rows of a batch.
    query : str, optional

    Raises
    ------
    DataError
        The table cannot be read, or has no row.
    ServiceError
        The database does not answer.
    """
    if is_url(source):
        rows, frames = _open_sql(source, query, folder, size)
        identity: tuple[Any, ...] = (source, query, size)
    else:
        path = folder / source
        ending = check_file(path)
        about = path.stat()
        identity = (str(path.resolve()), about.st_size, about.st_mtime_ns, size)
        rows, frames = (
            _open_parquet(path, size)
            if ending == ".parquet"
            else _open_csv(path, settings.encoding, size)
        )
    if not rows:
        raise DataError(
            "A table has rows.",
            found=f"{masked(source)} gives no row",
            next_move="check the export or the query that makes it",
        )
    return Batches(identity, size, rows, frames)


def _open_csv(path: Path, encoding: str, size: int) -> "_Opened":
    import numpy as np
    import pandas as pd

    encoding = check_text(path, encoding)

    def chunks(types: dict[str, Any] | None) -> "Iterator[pd.DataFrame]":
        try:
            with pd.read_csv(
                path,
                encoding=encoding,
                low_memory=False,
                index_col=False,
                chunksize=size,
                dtype=types,
            ) as reader:
                for chunk in reader:
                    yield chunk.reset_index(drop=True)
        except pd.errors.ParserError as err:
            raise DataError(
                "A CSV file can be parsed.",
                found=f"{path}: {first_line(err)}",
                next_move="often a quote that opens a cell and never closes it",
            ) from err

    rows, kinds = _look(chunks(None))
    # Cells of several types are text, as they are written.
    types = {
        name: {"object": "boolean", None: str}.get(each.kind, each.kind)
        if each.seen == {"bool"} or each.kind != "object"
        else str
        for name, each in kinds.items()
    }

    def frames() -> "Iterator[pd.DataFrame]":
        for chunk in chunks(types):
            for name, kind in types.items():
                if kind == "boolean":
                    cells = chunk[name].astype(object)
                    chunk[name] = cells.where(chunk[name].notna(), np.nan)
            yield chunk

    return rows, frames


def _open_parquet(path: Path, size: int) -> "_Opened":
    import pyarrow as pa
    from pandas.api import types
    from pyarrow import parquet

    def broken(err: Exception) -> DataError:
        return DataError(
            "A .parquet file holds Parquet.",
            found=f"{path}: {first_line(err)}",
            next_move="write it again, or give it its true ending",
        )

    try:
        with parquet.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
            check_names(str(path), schema.names)
            missing = {name: _nulls(file, name) for name in schema.names}
    except (pa.ArrowException, OSError, ValueError) as err:
        if isinstance(err, DataError):
            raise
        raise broken(err) from err

    def frames() -> "Iterator[pd.DataFrame]":
        try:
            # Buffered beforehand, every column of every group would be held to the end.
            with parquet.ParquetFile(path, pre_buffer=False) as file:
                for batch in file.iter_batches(batch_size=size):
                    table = pa.Table.from_batches([batch])
                    yield whole(table.replace_schema_metadata(schema.metadata).to_pandas())
        except (pa.ArrowException, OSError) as err:
            raise broken(err) from err

    def whole(frame: "pd.DataFrame") -> "pd.DataFrame":
        # pandas keeps an index in the file: a named one is columns of the table.
        named = [name for name in frame.index.names if name is not None]
        frame = (frame.reset_index(level=named) if named else frame).reset_index(drop=True)
        frame.columns = [str(name) for name in frame.columns]
        for name in frame.columns:
            values, nulls = frame[name], missing.get(name, 0)
            if nulls == rows and types.is_object_dtype(values):
                frame[name] = values.astype("float64")
            elif nulls and str(values.dtype) == "bool":
                frame[name] = values.astype(object)
            elif nulls and values.dtype.kind in "iu" and not types.is_extension_array_dtype(values):
                frame[name] = values.astype("float64")
        return frame

    return rows, _even(frames, size)


def _nulls(file: Any, name: str) -> int:
    """Return how many cells of a Parquet column are null."""
    metadata = file.metadata
    places = [
        place for place in range(metadata.num_columns) if metadata.schema.column(place).path == name
    ]
    if places:
        found = [
            metadata.row_group(group).column(places[0]).statistics
            for group in range(metadata.num_row_groups)
        ]
        if all(each is not None and each.has_null_count for each in found):
            return sum(each.null_count for each in found)
    return sum(batch.column(0).null_count for batch in file.iter_batches(columns=[name]))


def _open_sql(address: str, query: str | None, folder: Path, size: int) -> "_Opened":
    import pandas as pd

    def parts() -> "Iterator[tuple[list[tuple[Any, ...]], pd.DataFrame]]":
        with ask(address, query, folder, at_once=size) as result:
            names = [str(name) for name in result.keys()]  # noqa: SIM118  a result is no mapping
            check_names(masked(address), names)
            for part in result.partitions(size):
                rows = [tuple(row) for row in part]
                yield rows, pd.DataFrame.from_records(rows, columns=names, coerce_float=True)

    rows, kinds = _look(frame for _, frame in parts())

    def frames() -> "Iterator[pd.DataFrame]":
        for cells, frame in parts():
            for place, (name, each) in enumerate(kinds.items()):
                kind = each.kind or "object"
                if kind == "object" and str(frame[name].dtype) != "object":
                    raw = [row[place] for row in cells]
                    frame[name] = pd.Series(raw, index=frame.index, dtype=object)
                elif str(frame[name].dtype) != kind:
                    frame[name] = frame[name].astype(pd.api.types.pandas_dtype(kind))
            yield frame

    return rows, frames


def _look(frames: "Iterator[pd.DataFrame]") -> tuple[int, dict[str, _Kinds]]:
    rows, kinds = 0, dict[str, _Kinds]()
    for frame in frames:
        rows += len(frame)
        for name in frame.columns:
            kinds.setdefault(str(name), _Kinds()).add(frame[name])
    return rows, kinds


def _even(
    frames: "Callable[[], Iterator[pd.DataFrame]]", size: int
) -> "Callable[[], Iterator[pd.DataFrame]]":
    """Return the same rows in batches of one size; Parquet's end with their row group."""
    import pandas as pd

    def evened() -> "Iterator[pd.DataFrame]":
        held: list[pd.DataFrame] = []
        for frame in frames():
            held.append(frame)
            if sum(map(len, held)) >= size:
                whole = pd.concat(held, ignore_index=True)
                yield whole.iloc[:size]
                held = [whole.iloc[size:]] if len(whole) > size else []
        if held:
            yield pd.concat(held, ignore_index=True)

    return evened
