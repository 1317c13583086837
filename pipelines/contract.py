"""The data contract's file: a Great Expectations suite as JSON in the user's folder."""

import json
from pathlib import Path
from typing import Any

from pipelines.errors import MissingError, ProjectError


def read_contract(path: Path) -> dict[str, Any]:
    """Return the contract as JSON values; what they mean is for `checks.data` to judge.

    Raises
    ------
    MissingError
        There is no such file.
    ProjectError
        It is not a JSON object.
    """
    try:
        contract = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as err:
        raise MissingError(
            "Data is validated against the project's contract.",
            found=f"no file {path}",
            next_move="write one with `tidegate init DATA --target COLUMN`, "
            "or name yours in [validate] contract",
        ) from err
    except (UnicodeDecodeError, json.JSONDecodeError) as err:
        raise ProjectError(
            "The contract is JSON, in UTF-8.",
            found=f"{path}: {err}",
            next_move="mend that line, or write the contract anew with `tidegate init --force`",
        ) from err
    if not isinstance(contract, dict):
        raise ProjectError(
            "The contract is a JSON object with a list of expectations.",
            found=f"{path} holds a {type(contract).__name__}",
            next_move="compare it with one that `tidegate init` writes",
        )
    return contract
