"""A stored model in a process of its own: does it load there, what does it say, how fast?

Only a process that has never seen the model in memory can tell. It runs beside its caller,
on another core, and is told nothing but the folder of the model and the rows.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pipelines.errors import ModelError
from pipelines.modelfile import MODEL, read_model, read_roles

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

TIMEOUT_SECONDS = 600.0
"""How long the process may take for everything: a model that takes longer is none to serve."""

BATCH_ROWS = 1_000

_FEWEST_TIMES = 30
_MOST_TIMES = 50
_TIMED_SECONDS = 0.5
_LONGEST_SECONDS = 20.0
_MOST_CHARACTERS = 300

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_ROWS, _ANSWERS, _TIMES, _ERRORS = "rows.parquet", "answers.npz", "times.json", "errors"


@dataclass(frozen=True, eq=False)
class Fresh:
    """What a fresh copy answered, and how fast.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
    predictions : ndarray of shape (n_rows,)
    probabilities : ndarray of shape (n_rows, n_classes)
        As the model gives them, in the order of ``classes``.
    row_ms, batch_ms : float
        Median wall clock of ``predict`` for one row, and for 1,000, in milliseconds.
    size : int
        Of the model file, in bytes.
    """

    classes: "NDArray[Any]"
    predictions: "NDArray[Any]"
    probabilities: "NDArray[Any]"
    row_ms: float
    batch_ms: float
    size: int


class FreshProcess:
    """A process that loads a model and answers; see `start`.

    As a context manager it leaves neither process nor file behind.
    """

    def __init__(self, model: Path, X: "pd.DataFrame", *, timeout: float) -> None:
        self._files = tempfile.TemporaryDirectory(prefix="tidegate-fresh-")
        self._folder = Path(self._files.name)
        self._deadline = time.monotonic() + timeout
        self._timeout = timeout
        texts = [column for column, dtype in X.dtypes.items() if dtype.kind not in "iufb"]
        rows = X.astype(dict.fromkeys(texts, "str"))
        rows.to_parquet(self._folder / _ROWS, index=False)
        with (self._folder / _ERRORS).open("wb") as errors:
            self._process = subprocess.Popen(
                # -P: a file in the user's folder that is named like a library stays out.
                [
                    *(sys.executable, "-P", "-c", "from pipelines.fresh import answer; answer()"),
                    *(str(model.absolute()), str(self._folder)),
                ],
                env={**os.environ, **dict.fromkeys(_THREADS, "1")},
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
            )

    def result(self) -> Fresh:
        """Wait for the process and return what it found.

        Raises
        ------
        ModelError
            It could not load the model or answer, died, or took too long.
        """
        import numpy as np

        try:
            code = self._process.wait(max(self._deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            raise _unanswered(f"none within {self._timeout:g} seconds") from None
        if code < 0:
            raise _unanswered(f"it was ended by {signal.Signals(-code).name}")
        if code > 0:
            raise _unanswered(self._last_words())
        times = json.loads((self._folder / _TIMES).read_text())
        with np.load(self._folder / _ANSWERS, allow_pickle=False) as kept:
            return Fresh(**{name: kept[name] for name in kept.files}, **times)

    def close(self) -> None:
        """End the process, whatever it is doing, and remove its files."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._files.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _last_words(self) -> str:
        said = (self._folder / _ERRORS).read_text(errors="replace").strip().splitlines()
        return said[-1][:_MOST_CHARACTERS] if said else "it said nothing"


def start(folder: Path, X: "pd.DataFrame", *, timeout: float = TIMEOUT_SECONDS) -> FreshProcess:
    """Start a process that loads a stored model and answers rows, and return at once.

    Parameters
    ----------
    folder : Path
        The model's, as `Tracker.candidate_folder` gives it; needed until the result is there.
    X : DataFrame of shape (n_rows, n_features)
        Conformed to the model's roles.
    timeout : float
        Seconds until it counts as hung.

    Raises
    ------
    OSError
        There is no room for the rows, or no process can be started.
    """
    return FreshProcess(folder, X, timeout=timeout)


def answer() -> None:
    """Load, answer and time: the whole life of the process. Internal."""
    threading.Thread(target=_follow_parent, daemon=True).start()
    try:
        _answer(Path(sys.argv[1]), Path(sys.argv[2]))
    except BaseException as err:
        sys.exit(f"{type(err).__name__}: {' '.join(str(err).split())}")


def _follow_parent() -> None:
    # Not through sys.stdin, whose lock this thread would still hold when the process ends.
    os.read(0, 1)
    os._exit(1)


def _answer(model_folder: Path, work: Path) -> None:
    import numpy as np
    import pandas as pd

    from pipelines.evaluation import ask
    from pipelines.features import conform

    model, roles = read_model(model_folder), read_roles(model_folder)
    X = conform(pd.read_parquet(work / _ROWS), roles)
    np.savez(
        work / _ANSWERS,
        classes=model.classes_,
        predictions=ask(model.predict, X),
        probabilities=ask(model.predict_proba, X),
    )
    some = np.linspace(0, len(X) - 1, _FEWEST_TIMES).astype(np.intp)
    batch = np.arange(BATCH_ROWS)
    batches = [X.iloc[(place + batch) % len(X)] for place in some]
    times = {
        "row_ms": _median_ms(model.predict, [X.iloc[[place]] for place in some]),
        "batch_ms": _median_ms(model.predict, batches),
        "size": (model_folder / MODEL).stat().st_size,
    }
    (work / _TIMES).write_text(json.dumps(times))


def _median_ms(ask: "Callable[[pd.DataFrame], Any]", frames: "Sequence[pd.DataFrame]") -> float:
    """Return the median time of a call: of thirty or more, unless they take too long."""
    for frame in frames[:3]:
        ask(frame)
    taken: list[float] = []
    began = time.perf_counter()
    while len(taken) < _MOST_TIMES:
        before = time.perf_counter()
        ask(frames[len(taken) % len(frames)])
        now = time.perf_counter()
        taken.append(now - before)
        if now - began > (_TIMED_SECONDS if len(taken) >= _FEWEST_TIMES else _LONGEST_SECONDS):
            break
    return 1_000 * statistics.median(taken)


def _unanswered(found: str) -> ModelError:
    return ModelError(
        "A fresh process loads the stored model and answers with it.",
        found=found,
        next_move="train again, or restore the model's files",
    )
