"""A table becomes a project: its file and its data contract."""

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from pipelines.data import DataSettings, is_url, masked, read
from pipelines.errors import ProjectError, ServiceError
from pipelines.proposal import Proposal, propose

PROJECT, CONTRACT = "tidegate.toml", "contract.json"

_PASSWORD = (
    "the project file holds the database address without its password: give the whole address "
    "as TIDEGATE_DATA__SOURCE in the environment"
)


def init(
    data: str,
    target: str,
    *,
    time: str | None = None,
    query: str | None = None,
    folder: Path,
    force: bool = False,
) -> Proposal:
    """Infer a project from a table and write it.

    Parameters
    ----------
    data : str
        A file, relative to the current folder, or a database address with a `query`.
    target, time : str
        Column names.
    folder : Path
        The project's folder; made when it is not there.
    force : bool
        Replace the files of an earlier project.

    Returns
    -------
    Proposal
        What was written, guessed and deserves a look.

    Raises
    ------
    ProjectError
        The folder holds a project already, and `force` is not set; or the arguments do not
        fit together.
    DataError
        The table cannot be read, or not be learned from.
    ServiceError
        The folder cannot be written; it is left as it was.
    """
    folder = folder.expanduser().absolute()
    held = [name for name in (PROJECT, CONTRACT) if (folder / name).exists()]
    if held and not force:
        raise ProjectError(
            "init never overwrites a project.",
            found=f"{folder} holds {' and '.join(held)}",
            next_move="choose another folder with --dir, or replace them with --force",
        )
    source = data if is_url(data) else _relative(Path(data), folder)
    # Read from where the user stands: the project's folder may not be there yet.
    read_from = data if is_url(data) else str(Path(data).expanduser().absolute())
    try:
        settings = DataSettings.model_validate(
            {"source": read_from, "query": query, "target": target, "time": time}
        )
    except ValidationError as err:
        # Only the rule: pydantic's own text quotes the arguments, a password among them.
        raise ProjectError(
            "DATA, --target, --time and --query fit together.",
            found=err.errors()[0]["msg"].removeprefix("Value error, "),
            next_move="tidegate init --help shows an example",
        ) from None
    frame = read(settings, folder).frame
    proposal = propose(
        frame,
        # A password is for the environment; the file gets the address without it.
        source=masked(source),
        target=target,
        time=time,
        name=folder.name or "model",
        query=query,
    )
    if masked(source) != source:
        proposal = replace(proposal, warnings=(_PASSWORD, *proposal.warnings))
    contract = json.dumps(proposal.contract, indent=2, ensure_ascii=False, default=str) + "\n"
    _write(folder, {PROJECT: proposal.project_text, CONTRACT: contract})
    return proposal


def _relative(path: Path, folder: Path) -> str:
    """Return the path as the project's folder sees it, so that both can move together."""
    path = path.expanduser()
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        # Another drive, on Windows.
        return path.absolute().as_posix()


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Write all files or none: each whole beside its place, then moved there."""
    made: list[Path] = []
    before: dict[Path, bytes | None] = {}
    moved: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in files:
            path = folder / name
            before[path] = path.read_bytes() if path.exists() else None
        for name, text in files.items():
            descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
            made.append(Path(temporary))
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        for temporary_path, path in zip(made, before, strict=True):
            temporary_path.chmod(0o644)
            temporary_path.replace(path)
            moved.append(path)
    except OSError as err:
        for path in moved:
            _restore(path, before[path])
        raise ServiceError(
            "init writes the project file and the contract into the project's folder.",
            found=f"{folder}: {err.strerror or err}",
            next_move="check the folder's rights and the disk's free space",
        ) from err
    finally:
        for temporary_path in made:
            temporary_path.unlink(missing_ok=True)


def _restore(path: Path, content: bytes | None) -> None:
    with suppress(OSError):
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(content)
