"""MLflow's store: opened, made when it is new, and its errors told as ours."""

import http.client
import logging
import os
import re
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from pipelines.errors import ProjectError, ServiceError, TidegateError

if TYPE_CHECKING:
    from mlflow import MlflowClient

REACH_SECONDS = 5.0
"""How long a tracking server or its database may take to say that it is there."""

LOCKED_SECONDS = 20.0
"""How long a SQLite file may be another process's own."""

SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")
"""The kinds of store that MLflow keeps both runs and models in."""


def set_environment() -> None:
    """Say what MLflow reads when it is imported, which `asking` does too."""
    for name, value in (
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("DO_NOT_TRACK", "true"),
        # By default a server that went away is asked for minutes, each time.
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "30"),
        ("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false"),
        ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),
    ):
        os.environ.setdefault(name, value)


def open_client(uri: str) -> "MlflowClient":
    """Open a store, which is made when it is a new file.

    Raises
    ------
    Exception
        It cannot be reached or made: whatever MLflow, its database or the disk raises.
    """
    if scheme(uri) in ("http", "https"):
        _reach_server(uri)
    elif scheme(uri) == "sqlite":
        _prepare(Path(uri.removeprefix("sqlite:///")))
    elif scheme(uri) != "databricks":
        _reach_database(uri)
    from mlflow import MlflowClient

    # It logs, with a traceback, what it also raises.
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    return MlflowClient(uri, registry_uri=uri)


@contextmanager
def asking(uri: str, rule: str) -> Iterator[None]:
    """Turn whatever MLflow, its database or the disk raises into a ServiceError."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except TidegateError:
        raise
    except (
        MlflowException,
        SQLAlchemyError,
        sqlite3.Error,
        ImportError,
        OSError,
        http.client.HTTPException,
    ) as err:
        found = _first_line(_cause(err))
        raise ServiceError(
            rule, found=f"{masked(uri)}: {masked(found)}", next_move=_next_move(uri, found)
        ) from err


@contextmanager
def tolerating(*codes: str) -> Iterator[None]:
    """Leave the block quietly when MLflow answers with one of these error codes."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as err:
        if err.error_code not in codes:
            raise


def _next_move(uri: str, found: str) -> str:
    if any(sign in found for sign in ("full", "No space", "too large", "disk")):
        return "see that the disk has room, then run the command again"
    if any(sign in found for sign in ("readonly", "ermission", "unable to open", "ot a directory")):
        return "make the folder writable, or name another in [tracking] folder"
    if "No module named" in found:
        return "install that driver beside tidegate, or name another in tracking.uri"
    if scheme(uri) == "sqlite":
        return "see that the file is whole and of this MLflow, then run the command again"
    return "see that tracking.uri is right and its server up, then run the command again"


def _cause(err: BaseException) -> BaseException:
    """Return the database driver's own error, which MLflow and SQLAlchemy wrap in prose."""
    link: BaseException | None = err
    while link is not None:
        driver: BaseException | None = getattr(link, "orig", None)
        if driver is not None:
            return driver
        link = link.__cause__
    return err


def _first_line(err: BaseException) -> str:
    lines = str(err).strip().splitlines() or [type(err).__name__]
    return lines[0][:300]


def scheme(uri: str) -> str:
    """Return what kind of store an address names, one of `SCHEMES` if MLflow knows it."""
    return uri.split("://")[0].split("+")[0] if "://" in uri else ""


def masked(uri: str) -> str:
    """Hide the password in a text with an address in it."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", uri)


def absolute(uri: str, folder: Path) -> str:
    """Anchor a SQLite file at the project: MLflow's own anchor is the working directory."""
    if scheme(uri) != "sqlite":
        return uri
    head, path = uri.split(":///", 1) if ":///" in uri else (uri, "")
    return f"{head}:///{(folder / path).resolve()}"


def _prepare(path: Path) -> None:
    """Make a SQLite file whose readers and one writer do not wait for each other.

    MLflow makes a new store in dozens of steps that two processes cannot take at once, and
    that an end in their midst leaves broken. Here they are taken in memory, and what comes
    of them is copied in one transaction.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=LOCKED_SECONDS, isolation_level=None)) as database:
        # The mode is kept in the file; MLflow never sets it. A file system without
        # shared memory refuses, and everything works, slower.
        _keep_a_log(database)
        if not _is_empty(database):
            return
        _, *statements, _ = _schema()
        database.execute("BEGIN IMMEDIATE")
        if _is_empty(database):
            for statement in statements:
                database.execute(statement)
        database.execute("COMMIT")


def _keep_a_log(database: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; whoever else does so holds the whole file meanwhile.

    For that lock SQLite does not wait as for others, in whatever time-out it was opened with.
    """
    until = time.monotonic() + LOCKED_SECONDS
    while True:
        try:
            (mode,) = database.execute("PRAGMA journal_mode").fetchone()
            if mode != "wal":
                database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as err:
            if "locked" not in str(err) or time.monotonic() > until:
                raise
            time.sleep(0.05)


def _is_empty(database: sqlite3.Connection) -> bool:
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return int(tables) == 0


@cache
def _schema() -> tuple[str, ...]:
    import sqlalchemy
    from mlflow.store.db import utils
    from sqlalchemy.pool import StaticPool

    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    memory = sqlalchemy.create_engine("sqlite://", poolclass=StaticPool)
    utils._initialize_tables(memory)  # type: ignore[no-untyped-call]
    connection = cast("sqlite3.Connection", memory.raw_connection().driver_connection)
    statements = tuple(connection.iterdump())
    memory.dispose()
    return statements


def _reach_server(uri: str) -> None:
    parts = urlsplit(uri)
    page = parts._replace(
        netloc=parts.netloc.rpartition("@")[2], path=parts.path.rstrip("/") + "/health"
    )
    try:
        urllib.request.urlopen(page.geturl(), timeout=REACH_SECONDS).close()
    except urllib.error.HTTPError as err:
        # Any other answer is an answer; whether we are let in shows at the first request.
        if err.code >= 500:
            raise


def _reach_database(uri: str) -> None:
    """Connect once: MLflow itself tries ten times, for more than a minute."""
    import sqlalchemy

    limit = {"connect_timeout": int(REACH_SECONDS)} if scheme(uri) != "mssql" else {}
    engine = sqlalchemy.create_engine(uri, connect_args=limit)
    engine.connect().close()
    engine.dispose()


def open_experiment(
    client: "MlflowClient", name: str, artifacts: str | None, state: Path | None
) -> str:
    """Find an experiment that takes runs, or make it, and return its id.

    Parameters
    ----------
    client : MlflowClient
    name : str
    artifacts : str or None
        URL under which a new one keeps its files; None: the server's own.
    state : Path or None
        The folder that the store is in, where its files are to be in it too.

    Raises
    ------
    ProjectError
        It was deleted, or keeps its files elsewhere.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        with tolerating("RESOURCE_ALREADY_EXISTS"):
            return str(client.create_experiment(name, artifact_location=artifacts))
        found = client.get_experiment_by_name(name)
    if found.lifecycle_stage != "active":
        raise ProjectError(
            "The experiment takes new runs.",
            found=f"{name!r} was deleted",
            next_move=f"restore it with `mlflow experiments restore -x {found.experiment_id}`, "
            "or name another in [tracking] experiment",
        )
    if state is not None and found.artifact_location != artifacts:
        raise ProjectError(
            "A store keeps its models and reports where it was made.",
            found=f"{state} was made elsewhere: its files are in {found.artifact_location}",
            next_move="move the folder back, remove it to start anew, "
            "or name the place of its files in [tracking] artifacts",
        )
    return str(found.experiment_id)
