"""The data contract's file: a Great Expectations suite as JSON in the user's folder."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pipelines.errors import MissingError, ProjectError, ServiceError


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


def narrowed(contract: Mapping[str, Any], columns: Collection[str]) -> dict[str, Any]:
    """Return the contract of a table that has some of the columns: nothing is asked of others."""
    kept = []
    for expectation in contract.get("expectations", ()):
        asked = expectation.get("kwargs", {})
        named = [asked[key] for key in ("column", "column_A", "column_B") if key in asked]
        if not set(named + list(asked.get("column_list", ()))) <= set(columns):
            continue
        if "column_set" in asked:
            present = [name for name in asked["column_set"] if name in columns]
            expectation = {**expectation, "kwargs": {**asked, "column_set": present}}
        kept.append(expectation)
    return {**contract, "expectations": kept}


def write_contract(path: Path, contract: Mapping[str, Any]) -> None:
    """Write a contract whose folder is there.

    Raises
    ------
    ServiceError
        The file cannot be written.
    """
    try:
        path.write_text(json.dumps(contract, indent=2), encoding="utf-8")
    except OSError as err:
        raise ServiceError(
            "The contract of a table that tidegate makes is kept beside it.",
            found=f"{path}: {err.strerror}",
            next_move="free some space or make it writable, or set tracking.folder elsewhere",
        ) from err
