"""The project file: ``tidegate.toml``, the environment and the flags, as one frozen value.

A setting is taken from the first place that gives it: a flag (``--set train.trials=10``),
an environment variable (``TIDEGATE_TRAIN__TRIALS=10``), the project file, the default.
Each section is declared beside the code that uses it; this module alone knows them all.
"""

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self, cast

from pydantic import BaseModel, ValidationError

from checks.data import ValidateSettings
from checks.model.settings import GateSettings
from checks.monitor import MonitorSettings
from pipelines.data import DataSettings, is_url, masked
from pipelines.errors import ProjectError
from pipelines.promotion import DeploySettings
from pipelines.serving.settings import ServeSettings
from pipelines.sweep.settings import TrainSettings
from pipelines.tracking import TrackingSettings

FILE = "tidegate.toml"
PREFIX = "TIDEGATE_"

SECTIONS: dict[str, type[BaseModel]] = {
    "data": DataSettings,
    "validate": ValidateSettings,
    "train": TrainSettings,
    "gate": GateSettings,
    "deploy": DeploySettings,
    "serve": ServeSettings,
    "monitor": MonitorSettings,
    "tracking": TrackingSettings,
}

_URLS = ("data.source", "serve.log", "tracking.uri")
_MAXIMUM_VALUE = 80


@dataclass(frozen=True)
class Setting:
    """One resolved value and where it came from."""

    key: str
    value: Any
    origin: str


@dataclass(frozen=True)
class Project:
    """A user's folder and every setting in it, resolved and checked.

    Parameters
    ----------
    folder : Path
        Absolute; relative paths in the settings start here.
    data, validate, train, gate, deploy, serve, monitor, tracking
        The sections.
    origins : mapping
        Dotted key to the place that gave it; a key that is absent has its default.
    """

    folder: Path
    data: DataSettings
    validate: ValidateSettings
    train: TrainSettings
    gate: GateSettings
    deploy: DeploySettings
    serve: ServeSettings
    monitor: MonitorSettings
    tracking: TrackingSettings
    origins: Mapping[str, str]

    @property
    def model(self) -> str:
        """The registered model's name: ``deploy.model``, else the folder's name."""
        return self.deploy.model or self.folder.name

    @property
    def data_name(self) -> str:
        """What a reader calls the table: the file's stem, or the database's name."""
        return Path(masked(self.data.source).partition("?")[0]).stem

    @property
    def state(self) -> Path:
        """The folder of everything that tidegate writes on this machine."""
        return self.folder / self.tracking.folder

    @property
    def contract(self) -> Path:
        """The data contract's file."""
        return self.folder / self.validate.contract

    @classmethod
    def load(cls, start: str | Path | None = None, overrides: Iterable[str] = ()) -> Self:
        """Find the project and resolve its settings.

        Parameters
        ----------
        start : path, optional
            The project's folder, or its file. Without it ``TIDEGATE_PROJECT``, else the
            nearest folder upwards of the current one that holds ``tidegate.toml``.
        overrides : iterable of str
            Flags, each ``section.key=value``.

        Raises
        ------
        ProjectError
            No such file, not TOML, an unknown key, or a value that breaks its rule.
        """
        file = find(start)
        table, text = _parse(file)
        origins: dict[str, str] = {}
        for key, _ in _leaves(table):
            line = _line_of(text, key)
            origins[key] = f"{FILE}:{line}" if line else FILE
        _refuse_passwords(table, origins)
        for key, value, origin in [*_from_environment(os.environ), *_from_flags(overrides)]:
            _assign(table, key, value, origin)
            origins = {k: o for k, o in origins.items() if not k.startswith(f"{key}.")} | {
                key: origin
            }
        sections = _check(table, origins)
        return cls(folder=file.parent, origins=origins, **cast("Any", sections))

    @property
    def terms(self) -> str:
        """SHA-256, in hexadecimal, of the settings that a verdict depends on."""
        asked = {name: self.to_dict()[name] for name in ("data", "gate")}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    @property
    def overridden(self) -> tuple[str, ...]:
        """The settings that a flag or the environment gave instead of the file, sorted."""
        return tuple(sorted(k for k, origin in self.origins.items() if not origin.startswith(FILE)))

    def settings(self) -> list[Setting]:
        """Every resolved value, in the order of the sections, passwords masked."""
        found = []
        for name in SECTIONS:
            section = getattr(self, name)
            for key, value in _leaves({name: section.model_dump(mode="json")}):
                if key in _URLS and isinstance(value, str):
                    value = masked(value)
                found.append(Setting(key, value, self._origin(key)))
        return found

    def to_dict(self) -> dict[str, Any]:
        """The settings as nested JSON-able values, passwords masked."""
        nested = {name: getattr(self, name).model_dump(mode="json") for name in SECTIONS}
        for key in _URLS:
            section, name = key.split(".")
            if isinstance(nested[section][name], str):
                nested[section][name] = masked(nested[section][name])
        return nested

    def _origin(self, key: str) -> str:
        # A flag may have given a whole table of which this is a leaf.
        return next((self.origins[k] for k in _upwards(key) if k in self.origins), "default")


def find(start: str | Path | None = None) -> Path:
    """Return the project file's absolute path.

    Raises
    ------
    ProjectError
        There is none.
    """
    named = start or os.environ.get(f"{PREFIX}PROJECT")
    if named:
        path = Path(named).expanduser().resolve()
        file = path if path.is_file() else path / FILE
        if file.is_file():
            return file
        raise ProjectError(
            f"A project is a folder that holds {FILE}.",
            found=str(path) if path.exists() else f"{path} (no such folder)",
            next_move=f"tidegate init DATA --target COLUMN --dir {named}",
        )
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file():
            return folder / FILE
    raise ProjectError(
        f"tidegate works on a project: the nearest folder upwards that holds {FILE}.",
        found=f"none in {here} or above it",
        next_move="make one with `tidegate init DATA --target COLUMN`, or name one with --project",
    )


def schema() -> dict[str, Any]:
    """Return the JSON schema of the project file (draft 2020-12)."""
    properties: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    for name, section in SECTIONS.items():
        part = section.model_json_schema(ref_template="#/$defs/{model}")
        definitions |= part.pop("$defs", {})
        properties[name] = part
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": FILE,
        "type": "object",
        "properties": properties,
        "required": ["data"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _parse(file: Path) -> tuple[dict[str, Any], str]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
        return tomllib.loads(text), text
    except UnicodeDecodeError as err:
        raise ProjectError(
            f"{FILE} is UTF-8 text.",
            found=f"byte {err.start} of {file} is not UTF-8",
            next_move="save the file as UTF-8",
        ) from err
    except tomllib.TOMLDecodeError as err:
        raise ProjectError(
            f"{FILE} is TOML.", found=f"{file}: {err}", next_move="mend that line (toml.io)"
        ) from err
    except OSError as err:
        raise ProjectError(
            f"{FILE} can be read.", found=f"{file}: {err.strerror}", next_move="check its rights"
        ) from err


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in table.items():
        key = prefix + (name if re.fullmatch(r"[\w-]+", name) else f'"{name}"')
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value


def _upwards(key: str) -> Iterable[str]:
    """Yield a dotted key, then the tables that hold it."""
    while key:
        yield key
        key = key.rpartition(".")[0]


def _line_of(text: str, key: str) -> int | None:
    """Return the line that sets a dotted key; the parser gives lines for syntax alone."""
    table: list[str] = []
    wanted = _keys(key)
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\s*(?P<name>[^\[\]]+?)\s*\]\s*(#.*)?$", line)
        if header:
            table = _keys(header["name"])
            continue
        pair = re.match(r"""\s*(?P<name>("[^"]*"|'[^']*'|[\w.\s-])+?)\s*=""", line)
        if pair:
            path = table + _keys(pair["name"])
            if wanted[: len(path)] == path:
                return number
    return None


def _keys(name: str) -> list[str]:
    parts = re.findall(r"""\s*(?:"([^"]*)"|'([^']*)'|([\w-]+))\s*""", name)
    return [double or single or bare for double, single, bare in parts]


def _refuse_passwords(table: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    for key in _URLS:
        section, name = key.split(".")
        found = table.get(section)
        value = found.get(name) if isinstance(found, Mapping) else None
        if isinstance(value, str) and is_url(value) and masked(value) != value:
            variable = f"{PREFIX}{section.upper()}__{name.upper()}"
            raise ProjectError(
                "A password is never written in the project file.",
                found=f"{key} = {masked(value)!r} ({origins.get(key, FILE)})",
                next_move=f"give the whole address in the environment: {variable}",
            )


def _from_environment(environ: Mapping[str, str]) -> list[tuple[str, Any, str]]:
    found = []
    for variable, text in sorted(environ.items()):
        if variable.startswith(PREFIX) and "__" in variable:
            key = variable.removeprefix(PREFIX).lower().replace("__", ".")
            found.append((key, _value(text), f"environment {variable}"))
    return found


def _from_flags(overrides: Iterable[str]) -> list[tuple[str, Any, str]]:
    found = []
    for flag in overrides:
        key, equals, text = flag.partition("=")
        if not equals or "." not in key:
            raise ProjectError(
                "A setting on the command line is section.key=value.",
                found=flag,
                next_move="for example --set train.trials=10",
            )
        found.append((key.strip(), _value(text), "flag --set"))
    return found


def _value(text: str) -> Any:
    """Read a flag or variable as TOML; what is not TOML is a string without its quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _assign(table: dict[str, Any], key: str, value: Any, origin: str) -> None:
    *path, last = _keys(key) or [key]
    for part in path:
        below = table.setdefault(part, {})
        if not isinstance(below, dict):
            raise ProjectError(
                f"{key} names a setting below {part}, which is a single value.",
                found=f"{part} = {below!r} ({origin})",
                next_move="tidegate config lists the settings",
            )
        table = below
    table[last] = value


def _check(table: Mapping[str, Any], origins: Mapping[str, str]) -> dict[str, BaseModel]:
    problems: list[str] = []
    for name in table:
        if name not in SECTIONS:
            place = next((o for k, o in origins.items() if k.split(".")[0] == name), FILE)
            problems.append(f"[{name}] is no section{_nearest(name, SECTIONS)} ({place})")
    sections: dict[str, BaseModel] = {}
    for name, section in SECTIONS.items():
        try:
            sections[name] = section.model_validate(table.get(name, {}))
        except ValidationError as err:
            problems.extend(_explain(name, section, err, origins))
    if problems:
        raise ProjectError(
            "Every setting is known and keeps its rule.",
            found="\n       ".join(problems),
            next_move="mend the lines named; `tidegate config --schema` gives every key and rule",
        )
    return sections


def _explain(
    name: str, section: type[BaseModel], error: ValidationError, origins: Mapping[str, str]
) -> Iterable[str]:
    for problem in error.errors(include_url=False):
        parts = [str(part) for part in problem["loc"]]
        key = ".".join([name, *parts])
        place = _place(key, origins)
        value = repr(problem["input"])
        if len(value) > _MAXIMUM_VALUE:
            value = value[:_MAXIMUM_VALUE] + "…"
        if problem["type"] == "extra_forbidden":
            yield f"{key} is no setting{_nearest(parts[-1], _known(section, parts[:-1]))} ({place})"
        elif problem["type"] == "missing":
            yield f"{key} is required ({FILE})"
        else:
            said = problem["msg"].removeprefix("Value error, ")
            yield f"{key} = {value}: {said} ({place})"


def _place(key: str, origins: Mapping[str, str]) -> str:
    # Pydantic's location may name a union's branch below the key that the user wrote.
    for start in _upwards(key):
        for written, origin in origins.items():
            if written == start or written.startswith(f"{start}."):
                return origin
    return FILE


def _known(section: type[BaseModel], path: Sequence[str]) -> Iterable[str]:
    current: Any = section
    for part in path:
        field = current.model_fields.get(part)
        current = field.annotation if field else None
        if not (isinstance(current, type) and issubclass(current, BaseModel)):
            return ()
    return cast("type[BaseModel]", current).model_fields


def _nearest(word: str, known: Iterable[str]) -> str:
    names = list(known)
    close = get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known: {', '.join(names)}" if names else ""
