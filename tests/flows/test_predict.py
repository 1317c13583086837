"""A table scored by `tidegate predict`, to the end or killed on the way."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

BATCH = 100
ROWS = 1_200


def ids(folder: Path) -> Counter[str]:
    """Return how many rows the log holds under each id."""
    log = folder / ".tidegate" / "predictions.db"
    if not log.exists():
        return Counter()
    with closing(sqlite3.connect(log)) as connection:
        rows = connection.execute(
            "SELECT request_id FROM predictions WHERE request_id LIKE 'predict-%'"
        )
        return Counter(id for (id,) in rows)


@pytest.mark.live
def test_a_killed_job_goes_on_and_logs_each_row_once(
    served: Any, tidegate: Callable[..., Any], tmp_path: Path
) -> None:
    """Killed or interrupted, predict leaves no output; given again, it ends as if never ended."""
    folder = served.folder
    source = tmp_path / "many.csv"
    rows = pd.read_csv(folder / "flights.csv", dtype=str)
    pd.concat([rows] * 10).to_csv(source, index=False)
    whole, output = tmp_path / "whole.csv", tmp_path / "out.csv"
    before = ids(folder)
    asked = ["predict", source, "--project", folder, "--batch", str(BATCH)]
    assert tidegate(*asked, "-o", whole, "--no-log").code == 0
    assert ids(folder) == before

    parts = tmp_path / ".out.csv.parts"
    command = [sys.executable, "-c", "from flows.cli import main; main()", *map(str, asked)]
    for end in (signal.SIGKILL, signal.SIGINT):
        kept = len(list(parts.glob("*.csv")))
        process = subprocess.Popen([*command, "-o", str(output)], stderr=subprocess.DEVNULL)
        while len(list(parts.glob("*.csv"))) < kept + 3:
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, end)
        process.wait()
        assert not output.exists()
        assert len(list(parts.glob("*.csv"))) >= kept + 3
    assert tidegate(*asked, "-o", output).code == 0
    assert output.read_bytes() == whole.read_bytes()
    assert not parts.exists()
    logged = ids(folder) - before
    assert len(logged) == 10 * ROWS // BATCH
    assert set(logged.values()) == {BATCH}
    assert len({id.split("-")[1] for id in logged}) == 1


@pytest.mark.live
def test_batches_answer_as_the_whole(
    served: Any, tidegate: Callable[..., Any], tmp_path: Path
) -> None:
    """Scored in one batch or in many, as Parquet, each row is answered the same."""
    found = []
    for batch in (7 * BATCH, 2 * ROWS):
        output = tmp_path / f"{batch}.parquet"
        options = ("--batch", batch, "--no-log", "-o", output, "--project", served.folder)
        assert tidegate("predict", served.folder / "flights.csv", *options).code == 0
        found.append(pd.read_parquet(output))
    pd.testing.assert_frame_equal(*found)
    assert len(found[0]) == ROWS


def test_a_batch_that_was_logged_and_not_kept_is_logged_once(tmp_path: Path) -> None:
    """Killed between the log and the part, a batch is scored again and not logged again."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    from flows.predict import score_batch
    from pipelines.features import Roles, conform, preprocessor
    from pipelines.parts import Parts
    from pipelines.serving.log import PredictionLog
    from pipelines.serving.served import Served

    roles = Roles(("delay",), ())
    frame = pd.DataFrame({"delay": [1.0, 2.0, 30.0, 40.0]})
    model = Pipeline([("preprocess", preprocessor(roles)), ("model", LogisticRegression())])
    model.fit(conform(frame, roles), ["on_time", "on_time", "late", "late"])
    served = Served(model, roles, "flights", "1", "champion", frame)
    log = PredictionLog.open(f"sqlite:///{tmp_path / '.tidegate' / 'predictions.db'}")
    with closing(log), Parts.open(tmp_path / "out.csv", ["t"]) as parts:
        score_batch(served, frame, parts, 0, log)
        (part,) = parts.folder.glob("*.csv")
        part.unlink()
        score_batch(served, frame, parts, 0, log)
        assert parts.finished(0, frame)
    assert ids(tmp_path) == {parts.request_id(0): len(frame)}
