"""Which code and libraries made a run."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

LIBRARIES = (
    "tidegate",
    "mlflow",
    "prefect",
    "great-expectations",
    "evidently",
    "scikit-learn",
    "optuna",
    "pandas",
    "numpy",
)


def libraries() -> dict[str, str]:
    """Return the versions that a result depends on, Python's first."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def git_commit(folder: Path) -> str | None:
    """Return the commit of the project's folder, with ``-dirty`` when files differ from it.

    None outside a repository, or without git.
    """
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
