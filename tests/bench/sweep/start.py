"""The process of one contestant: a search from a cold start, and the same again, warm."""

import json
import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from sweep.contest import Contestant, Task, result
from sweep.session import cpu_seconds


def main(name: str, order: str) -> None:
    """Run contestant ``name`` as the file ``order`` says, and write what came of it beside it."""
    path = Path(order)
    given = json.loads(path.read_text())
    folder = path.parent
    module, _, sort = name.partition(":")
    found: type[Contestant] = getattr(import_module(f"sweep.rivals.{module}"), sort)
    task = Task(Path(given["table"]), given["seed"], given["target"], given["seconds"], "", folder)
    contestant = found(task.table, folder)
    ready = time.time()
    outcome = {"ready": ready - given["born"]}
    try:
        for phase in ("cold", "warm"):
            scratch = folder / phase
            store = f"sqlite:///{scratch / 'mlflow.db'}"
            task = replace(task, scratch=scratch, store=store)
            contestant.prepare(task)
            used = 0.0 if phase == "cold" else cpu_seconds()
            began = time.time()
            contestant.search(task)
            returned = time.time()
            clock = given["born"] if phase == "cold" else began
            outcome[phase] = result(task, clock, began, returned)
            outcome[phase]["cpu"] = cpu_seconds() - used
    finally:
        contestant.close()
    path.with_name("result.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(*sys.argv[1:])
