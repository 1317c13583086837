"""What can go wrong, as one tree.

::

    TidegateError                     exit code 3 unless a branch says otherwise
    ├── InputError (ValueError)       exit code 2: the user can mend it
    │   ├── ProjectError              tidegate.toml, a flag or a TIDEGATE_ variable
    │   ├── DataError                 the table, its columns or its rows
    │   └── MissingError (LookupError)  a run, a model or a report that is not there yet
    ├── ServiceError (OSError)        exit code 3: a server, a database or the disk
    ├── ModelError (ValueError)       exit code 3: the files of a stored model
    └── SweepError (RuntimeError)     exit code 3: no trial gave a usable model

A refused model is not here: that is a verdict, and verdicts are values
(`checks.result.Report`).
"""

from typing import ClassVar


class TidegateError(Exception):
    """An error with the three parts that a reader needs.

    Parameters
    ----------
    rule : str
        What must hold, or what could not be done.
    found : str, optional
        The offending value, bounded in size.
    next_move : str, optional
        What to do now.
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, rule: str, *, found: str = "", next_move: str = "") -> None:
        super().__init__(rule, found, next_move)
        self.rule = rule
        self.found = found
        self.next_move = next_move

    def __str__(self) -> str:
        lines = [self.rule]
        if self.found:
            lines.append(f"found: {self.found}")
        if self.next_move:
            lines.append(f"next:  {self.next_move}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments are lost by the default reduction; workers send errors home.
        return (_rebuild, (type(self), self.rule, self.found, self.next_move))


def _rebuild(kind: type[TidegateError], rule: str, found: str, next_move: str) -> TidegateError:
    return kind(rule, found=found, next_move=next_move)


class InputError(TidegateError, ValueError):
    """Something that the user gave and can mend."""

    exit_code = 2


class ProjectError(InputError):
    """The project file, a flag or an environment variable."""


class DataError(InputError):
    """The table, its columns or its rows."""


class MissingError(InputError, LookupError):
    """A run, a model or a report that is not there yet."""


class ServiceError(TidegateError, OSError):
    """A server, a database or the disk did not do its part."""


class ModelError(TidegateError, ValueError):
    """The files of a stored model, which are there for good or bad: trying again cannot help."""


class SweepError(TidegateError, RuntimeError):
    """No trial gave a usable model."""
