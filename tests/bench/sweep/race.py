"""One contestant after another, each in a process, with a store and a folder of its own."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sweep.contest import WORKERS
from sweep.session import end

ROOT = Path(__file__).parents[3]
BENCH_PYTHON = ROOT / "build" / "bench-venv" / "bin" / "python"

PHASES = ("cold", "warm")
START_SECONDS = 120.0
"""What a contestant may take to load, over and above its two searches."""

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1"
)
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "PYTHONWARNINGS": "ignore",
}


def environment() -> dict[str, str]:
    """Return the environment of every process of the bench."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = [*filter(None, given), str(ROOT), str(ROOT / "tests" / "bench")]
    return {**os.environ, **ONE_THREAD, **QUIET, "PYTHONPATH": os.pathsep.join(path)}


def python(product: bool) -> str:
    """Return the interpreter of a contestant."""
    return sys.executable if product else str(BENCH_PYTHON)


def migrated(folder: Path) -> Path:
    """Make an empty MLflow store, and return its file."""
    store = folder / "empty.db"
    program = (
        "import sys; from mlflow import MlflowClient; "
        "MlflowClient(sys.argv[1]).search_experiments()"
    )
    subprocess.run(
        [sys.executable, "-c", program, f"sqlite:///{store}"],
        check=True,
        env=environment(),
        cwd=folder,
        capture_output=True,
    )
    return store


def race(
    name: str, *, product: bool, table: Path, seed: int, target: float, seconds: float, store: Path
) -> dict[str, Any]:
    """Let one contestant search, cold and then warm.

    Parameters
    ----------
    name : str
        ``module:Class`` below `sweep.rivals`.
    product : bool
        Whether it runs in the product's environment.
    store : Path
        An empty and migrated MLflow store, which is copied.

    Raises
    ------
    RuntimeError
        Its process failed, or did not end.
    """
    with TemporaryDirectory(prefix="sweep-bench-") as made:
        folder = Path(made)
        for phase in PHASES:
            (folder / phase).mkdir()
            shutil.copy(store, folder / phase / "mlflow.db")
        order = folder / "order.json"
        given = {"table": str(table), "seed": seed, "target": target, "seconds": seconds}
        with (folder / "said").open("wb") as said:
            order.write_text(json.dumps({**given, "born": time.time()}))
            process = subprocess.Popen(
                [python(product), "-m", "sweep.start", name, str(order)],
                env=environment(),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
            try:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(START_SECONDS + len(PHASES) * (2 * seconds + 30))
            finally:
                # Whatever it left running would be in the way of the next.
                end(process.pid)
                process.wait()
        result = folder / "result.json"
        if process.returncode or not result.exists():
            tail = (folder / "said").read_text(errors="replace")[-3_000:]
            raise RuntimeError(f"{name} on {table.name}, seed {seed}: {process.returncode}\n{tail}")
        found: dict[str, Any] = json.loads(result.read_text())
        return found


def two_cores() -> None:
    """Keep this process and all that it starts on as many cores as there are workers."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:WORKERS])


def packages(names: Sequence[str], product: bool) -> dict[str, str]:
    """Return the versions of packages in an environment."""
    program = (
        "import json, sys; from importlib.metadata import version; "
        "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    )
    done = subprocess.run(
        [python(product), "-c", program, *names], check=True, capture_output=True, text=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found
