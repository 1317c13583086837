"""Training learns from the rows that it may see, and from no others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.project import Project
from pipelines.data import read
from pipelines.split import sides
from pipelines.tracking import Tracker

Command = Callable[..., Any]


def trained(tidegate: Command, folder: Path) -> tuple[dict[str, str], dict[str, float]]:
    """Train with a threshold, and return what was chosen and how it scored."""
    ended = tidegate(
        *("train", "--project", folder, "--json", "--set", "train.trials=4"),
        *("--set", 'train.threshold.objective="f_beta"'),
    )
    assert ended.code == 0, ended.err
    project = Project.load(folder)
    tracker = Tracker.open(project.tracking, folder, experiment=project.model)
    run = tracker.run(ended.document["run_id"])
    params = {key: value for key, value in run.params.items() if "fingerprint" not in key}
    return params, {key: value for key, value in run.metrics.items() if "seconds" not in key}


@pytest.mark.slow
def test_the_sealed_rows_decide_nothing_before_the_gate(
    tidegate: Command, project: Callable[[str], Path]
) -> None:
    """With every sealed row turned into nonsense the same model, threshold and scores come out."""
    folder = project("flights")
    first = trained(tidegate, folder)
    loaded = Project.load(folder)
    file = folder / loaded.data.source
    table = pd.read_csv(file)
    sealed = sides(read(loaded.data, folder)) == "sealed"
    assert sealed.sum() > 100
    target = loaded.data.target
    numbers = table.select_dtypes("number").columns.difference([loaded.data.id or ""])
    table[numbers] = table[numbers].astype(float)
    table.loc[sealed, numbers] = table.loc[sealed, numbers] * -1_000 + 7
    table.loc[sealed, target] = np.where(table.loc[sealed, target] == "late", "on_time", "late")
    table.to_csv(file, index=False)
    assert trained(tidegate, folder) == first
