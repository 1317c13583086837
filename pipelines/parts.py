"""Predictions that outlive the process: finished batches beside the output, one rename at the end.

The folder ``.<output>.parts`` holds a journal, which says of what job the parts are, and a file
for each finished batch. A part is written aside and renamed: one that is there is whole.
"""

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from pipelines.errors import InputError, ServiceError
from pipelines.scoring import check_output, replacing, write_table

if TYPE_CHECKING:
    import pandas as pd

try:
    import fcntl
except ImportError:  # Windows: two processes on one output are not told apart there
    fcntl = None  # type: ignore[assignment]

_JOURNAL = "journal.json"


@dataclass(frozen=True)
class Parts:
    """The finished batches of one job.

    Parameters
    ----------
    output : Path
    folder : Path
    job : str
        12 hexadecimal digits: the same for a job that goes on, another for one that begins.
    """

    output: Path
    folder: Path
    job: str

    @classmethod
    @contextmanager
    def open(cls, output: Path, identity: Sequence[Any]) -> "Iterator[Self]":
        """Find the parts of a job that was cut short, or begin it.

        Parts of another job for the same output are removed. So are those of this one when it
        cannot be finished as it is; a process that is ended leaves them to the next.

        Parameters
        ----------
        output : Path
            .csv or .parquet.
        identity : sequence
            What makes the job the same: the table, the model, the size of a batch.

        Raises
        ------
        InputError
            There is no such place to write, or another process writes there.
        ServiceError
            The folder cannot be written.
        """
        check_output(output)
        folder = output.with_name(f".{output.name}.parts")
        key = hashlib.sha256(json.dumps(list(identity), default=str).encode()).hexdigest()
        try:
            folder.mkdir(exist_ok=True)
            lock = (folder / "lock").open("w")
        except OSError as err:
            raise _unwritable(output, err) from err
        with lock:
            _hold(lock, output)
            try:
                job = _job(folder, key)
            except OSError as err:
                raise _unwritable(output, err) from err
            try:
                yield cls(output, folder, job)
            except InputError:
                shutil.rmtree(folder, ignore_errors=True)
                raise

    def request_id(self, batch: int) -> str:
        """Return under which id a batch is in the prediction log."""
        return f"predict-{self.job}-{batch}"

    def finished(self, batch: int, asked: "pd.DataFrame") -> bool:
        """Say whether a batch need not be scored again.

        Raises
        ------
        InputError
            It was scored, and of other rows: a query without an order may give them so.
        """
        part = self._part(batch)
        if not part.exists():
            return False
        if self._content(batch).read_text(encoding="utf-8") != _content_of(asked):
            raise InputError(
                "A job that goes on is given the rows in the order in which it began.",
                found=f"batch {batch} has other rows than when it was scored",
                next_move="give the query an ORDER BY, and predict again: it begins anew",
            )
        return True

    def write(self, batch: int, frame: "pd.DataFrame", asked: "pd.DataFrame") -> None:
        """Keep a batch.

        Parameters
        ----------
        batch : int
        frame : DataFrame
            The rows with their answers.
        asked : DataFrame
            The rows as they came.

        Raises
        ------
        InputError, ServiceError
            As `pipelines.scoring.write_table`.
        """
        content = self._content(batch)
        try:
            content.write_text(_content_of(asked), encoding="utf-8")
        except OSError as err:
            raise _unwritable(self.output, err) from err
        write_table(frame, self._part(batch), header=batch == 0)

    def join(self, batches: int) -> None:
        """Make the output of the parts and remove them.

        Raises
        ------
        InputError
            Parquet cannot hold a column, whose type differs from part to part.
        ServiceError
            The folder cannot be written, or the disk is full.
        """
        parts = [self._part(batch) for batch in range(batches)]
        with replacing(self.output) as partial:
            if self.output.suffix.lower() == ".csv":
                with partial.open("wb") as out:
                    for part in parts:
                        with part.open("rb") as stream:
                            shutil.copyfileobj(stream, out)
            else:
                _join_parquet(parts, partial)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _content(self, batch: int) -> Path:
        return self._part(batch).with_suffix(".sha256")

    def _part(self, batch: int) -> Path:
        return self.folder / f"{batch:07d}{self.output.suffix.lower()}"


def _job(folder: Path, key: str) -> str:
    """Return the job that the journal names, if it is this one; else begin it anew."""
    journal = folder / _JOURNAL
    try:
        known = json.loads(journal.read_text(encoding="utf-8"))
        if known["key"] == key:
            return str(known["job"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass
    journal.unlink(missing_ok=True)
    for each in folder.iterdir():
        if each.name != "lock":
            each.unlink()
    # The same table scored again is asked again: it goes to the log under another id.
    job = hashlib.sha256(f"{key}{secrets.token_hex(8)}".encode()).hexdigest()[:12]
    partial = journal.with_suffix(".partial")
    partial.write_text(json.dumps({"key": key, "job": job}), encoding="utf-8")
    partial.replace(journal)
    return job


def _content_of(frame: "pd.DataFrame") -> str:
    import pandas as pd

    hashes = pd.util.hash_pandas_object(frame.astype(str), index=False)
    return hashlib.sha256(hashes.to_numpy().tobytes()).hexdigest()


def _hold(lock: IO[str], output: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        raise InputError(
            "One process writes an output.",
            found=f"another one writes {output}",
            next_move="wait for it, or name another file with -o",
        ) from err


def _join_parquet(parts: Sequence[Path], out: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    # A column that is empty in one part has its type from the others.
    schemas = [parquet.read_schema(part) for part in parts]
    schema = pa.unify_schemas(schemas, promote_options="permissive")
    with parquet.ParquetWriter(out, schema.with_metadata(schemas[0].metadata)) as writer:
        for part in parts:
            writer.write_table(parquet.read_table(part).cast(writer.schema))


def _unwritable(output: Path, err: OSError) -> ServiceError:
    return ServiceError(
        "Predictions are written to the file that -o names.",
        found=f"{output}: {err.strerror or err}",
        next_move="free some space, or name a folder that can be written",
    )
