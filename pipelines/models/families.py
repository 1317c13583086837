"""Every family that a sweep can try, by name: the built-in ones and a project's own."""

import hashlib
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import isabstract
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from pipelines.errors import ProjectError
from pipelines.models.boosting import Boosting
from pipelines.models.declared import Declared, DeclaredModel
from pipelines.models.family import Family, Resource
from pipelines.models.forest import ExtraTrees, Forest
from pipelines.models.linear import Linear
from pipelines.models.mlp import MLP
from pipelines.models.sgd import SGD
from pipelines.models.space import nearest

FAMILIES: Mapping[str, Family] = {
    family.name: family for family in (MLP(), Boosting(), Linear(), Forest(), ExtraTrees(), SGD())
}
"""The built-in families."""

DEFAULT_FAMILIES = (MLP.name, Boosting.name, Linear.name)
"""Those that are tried unless the project file says otherwise."""


@dataclass(frozen=True)
class Source:
    """A project's own file of families: its text goes where the file is not.

    Parameters
    ----------
    path : str
        As errors and tracebacks name it.
    text : bytes
    """

    path: str
    text: bytes

    @property
    def module(self) -> str:
        """The name that the file is loaded under: the same text has the same everywhere."""
        return f"tidegate_families_{hashlib.blake2b(self.text, digest_size=8).hexdigest()}"


class Families(Mapping[str, Family]):
    """The families of one project: built in, declared, and from its own file.

    Pickled as the recipe that it is made by, so that a worker, on another machine too, makes
    the same ones; what is defined in the file can then be unpickled there.

    Parameters
    ----------
    declared : mapping of str to DeclaredModel, optional
        The ``[train.models]`` of the project file.
    source : Source, optional

    Raises
    ------
    ProjectError
        A declared model cannot be built, or the file cannot be loaded; or a name is taken.
    """

    def __init__(
        self, declared: Mapping[str, DeclaredModel] | None = None, source: Source | None = None
    ) -> None:
        self._declared = dict(declared or {})
        self._source = source
        own: dict[str, Family] = {}
        for name, settings in self._declared.items():
            if name in FAMILIES:
                raise _taken(name, f"[train.models.{name}]")
            own[name] = Declared(name, settings)
        for family in _load(source) if source else ():
            if family.name in FAMILIES or family.name in own:
                assert source is not None
                raise _taken(family.name, f"{type(family).__name__} in {source.path}")
            own[family.name] = family
        self._families = {**FAMILIES, **own}
        self.own: tuple[str, ...] = tuple(own)

    @classmethod
    def of(
        cls, declared: Mapping[str, DeclaredModel] | None = None, file: Path | None = None
    ) -> "Families":
        """Make them from a project's settings.

        Raises
        ------
        ProjectError
            As the class does, and when the file cannot be read.
        """
        if file is None:
            return cls(declared)
        try:
            text = file.read_bytes()
        except OSError as err:
            raise ProjectError(
                "train.families_file is a Python file that defines families of models.",
                found=f"{file}: {err.strerror or err}",
                next_move="mend the path, which is read from the project file's folder",
            ) from err
        return cls(declared, Source(str(file), text))

    @property
    def fingerprint(self) -> str:
        """Of everything that the families are made by, beside the release: 16 hex digits."""
        digest = hashlib.blake2b(digest_size=8)
        for name, settings in sorted(self._declared.items()):
            digest.update(f"{name}={settings.model_dump_json()}\n".encode())
        digest.update(self._source.text if self._source else b"")
        return digest.hexdigest()

    def __getitem__(self, name: str) -> Family:
        return self._families[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._families)

    def __len__(self) -> int:
        return len(self._families)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Families, (self._declared, self._source))

    def choose(self, names: tuple[str, ...]) -> dict[str, Family]:
        """Return the families of these names.

        Raises
        ------
        ProjectError
            There is none of that name.
        """
        for name in names:
            if name not in self._families:
                raise ProjectError(
                    "train.families names families of models.",
                    found=f"{name}{nearest(name, self._families)}",
                    next_move="mend train.families, or define the family",
                )
        return {name: self._families[name] for name in names}


def _taken(name: str, where: str) -> ProjectError:
    return ProjectError(
        "Each family of models has a name of its own.",
        found=f"{where}: there is a family {name} already",
        next_move="give it another name",
    )


def _load(source: Source) -> list[Family]:
    """Run a project's file, once a process, and return what it defines."""
    module = sys.modules.get(source.module) or _run(source)
    kinds = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, Family)
        and kind.__module__ == source.module
        and not isabstract(kind)
    ]
    if not kinds:
        raise ProjectError(
            "train.families_file defines at least one family: a class that derives from "
            "pipelines.models.family.Family and has its methods.",
            found=f"{source.path}: {_near_misses(module, source)}",
            next_move="see docs/models.md for one to start from",
        )
    families = [_made(kind, source) for kind in dict.fromkeys(kinds)]
    names = [family.name for family in families]
    for name in names:
        if names.count(name) > 1:
            raise _taken(name, source.path)
    return families


def _run(source: Source) -> ModuleType:
    module = ModuleType(source.module)
    module.__file__ = source.path
    sys.modules[source.module] = module
    try:
        exec(compile(source.text, source.path, "exec"), module.__dict__)
    except Exception as err:
        del sys.modules[source.module]
        raise ProjectError(
            "train.families_file is a Python file that can be run.",
            found=f"{source.path}, line {_line(err, source)}: {type(err).__name__}: {err}",
            next_move="mend that line",
        ) from err
    return module


def _line(err: Exception, source: Source) -> int | None:
    if isinstance(err, SyntaxError) and err.filename == source.path:
        return err.lineno
    frames = traceback.extract_tb(err.__traceback__)
    return next((f.lineno for f in reversed(frames) if f.filename == source.path), None)


def _near_misses(module: ModuleType, source: Source) -> str:
    found = []
    for kind in vars(module).values():
        if isabstract(kind) and kind.__module__ == source.module:
            missing = sorted(vars(kind)["__abstractmethods__"])
            found.append(f"{kind.__name__} lacks {', '.join(missing)}")
    return "; ".join(found) or "no such class"


def _made(kind: type[Family], source: Source) -> Family:
    def refused(found: str, next_move: str) -> ProjectError:
        return ProjectError(
            "A family of models says what it is by class attributes.",
            found=f"{kind.__name__} in {source.path}: {found}",
            next_move=next_move,
        )

    name, resource = getattr(kind, "name", None), getattr(kind, "resource", None)
    if not isinstance(name, str) or not name.isidentifier():
        raise refused(f"name = {name!r}", 'give it a name such as name = "mine"')
    if resource not in get_args(Resource):
        known = ", ".join(get_args(Resource))
        raise refused(f"resource = {resource!r}", f"give it one of {known}")
    if not isinstance(kind.share, int) or kind.share < 1:
        raise refused(f"share = {kind.share!r}", "give it a whole number from 1")
    try:
        return kind()
    except Exception as err:
        raise refused(f"{type(err).__name__}: {err}", "let it be made without arguments") from err
