"""Who becomes champion, who is asked before, and what is undone."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.engine import Engine

Command = Callable[..., Any]
REQUIRED = ("--set", "deploy.approval=required")
SIGNED = ("--by", "Ada", "--reason", "tried on last week")

pytestmark = pytest.mark.slow


def test_a_candidate_that_passed_becomes_champion(tidegate: Command, registry: Any) -> None:
    """Its version is the gate's, and the ledger tells the whole way."""
    judged = registry.judged()
    ended = tidegate("deploy", "--project", registry.folder, "--json")
    assert ended.code == 0
    assert ended.document["model"] == {
        "name": "flights",
        "version": judged.version,
        "alias": "champion",
    }
    assert registry.events(judged.version) == ["verdict", "promoting", "promoted"]


@pytest.mark.parametrize("verdict", ["failed", "error"])
def test_a_refused_candidate_is_not_deployed(
    tidegate: Command, registry: Any, verdict: str
) -> None:
    """It keeps its version, which no alias names."""
    registry.judged(verdict)
    ended = tidegate("deploy", "--project", registry.folder, "--json")
    assert ended.code == 1
    assert ended.document["reasons"][0].startswith("gate:")
    assert registry.aliases == {}


def test_a_champion_that_came_meanwhile_is_not_replaced(tidegate: Command, registry: Any) -> None:
    """Who was judged against another champion is told to be judged again."""
    first, second = registry.judged(), registry.judged()
    assert tidegate("deploy", "--run", first.run_id, "--project", registry.folder).code == 0
    late = tidegate("deploy", "--run", second.run_id, "--project", registry.folder, "--json")
    assert late.code == 1
    assert late.document["reasons"] == [
        "champion_unchanged: Version 1 was promoted meanwhile; judge again with `tidegate gate`."
    ]
    assert registry.aliases == {"champion": "1"}
    assert registry.events("2") == ["verdict", "promoting", "withdrawn"]


def test_a_model_file_that_was_changed_is_not_deployed(tidegate: Command, registry: Any) -> None:
    """What would be served is not what was judged."""
    judged = registry.judged()
    file = registry.model_file(judged)
    file.write_bytes(file.read_bytes() + b" ")
    ended = tidegate("deploy", "--project", registry.folder, "--json")
    assert ended.code == 1
    assert ended.document["reasons"][0].startswith("checksum:")
    assert registry.aliases == {}


def test_a_verdict_that_only_a_tag_claims_is_none(tidegate: Command, registry: Any) -> None:
    """Whoever sets the run's tag by hand, or a gate cut short after it, passes nothing."""
    judged = registry.judged("failed")
    registry.tracker.set_tags(judged.run_id, {"tidegate.verdict": "passed"})
    ended = tidegate("deploy", "--project", registry.folder, "--json")
    assert ended.code == 1
    assert ended.document["reasons"][0].startswith("gate: the gate's verdict is failed")
    assert registry.aliases == {}


@pytest.mark.parametrize("setting", ["gate.minimum_rows=1", "data.split.seed=9"])
def test_a_verdict_by_other_settings_is_not_taken(
    tidegate: Command, registry: Any, setting: str
) -> None:
    """A gate that was loosened by a flag, or whose settings changed since, is asked again."""
    registry.judged(settings=(setting,))
    ended = tidegate("deploy", "--project", registry.folder, "--json")
    assert ended.code == 1
    assert ended.document["reasons"][0].startswith("settings: It was judged by other settings")
    assert registry.aliases == {}
    verdict = registry.tracker.ledger("flights").entries()[-1]
    assert setting.partition("=")[0] in verdict.details["overridden"]


def test_a_gate_that_was_cut_short_lets_nothing_through(tidegate: Command, registry: Any) -> None:
    """Killed after it has opened the sealed rows again, it leaves no verdict to deploy by."""
    judged = registry.judged()
    ledger = registry.tracker.ledger("flights")
    ledger.append("look", details={"sealed": "f" * 64, "run_id": judged.run_id})
    ended = tidegate("deploy", "--project", registry.folder, "--json")
    assert ended.code == 1
    assert ended.document["reasons"][0].startswith("gate: the gate has not judged it")


def test_smoke_check_that_fails_moves_the_alias_back(
    tidegate: Command, registry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the served copy answers otherwise after the move, the old champion is named again."""
    import flows.promotion
    from checks.model.fresh import check_answers

    registry.judged()
    assert tidegate("deploy", "--project", registry.folder).code == 0
    registry.judged()
    answers: Iterator[bool] = iter([True, False])

    def second_fails(given: Any, expected: Any) -> Any:
        return check_answers(given if next(answers) else given[::-1] + "?", expected)

    monkeypatch.setattr(flows.promotion, "check_answers", second_fails)
    ended = tidegate("deploy", "--project", registry.folder, "--json")
    assert ended.code == 1
    assert ended.document["reasons"][0].startswith("smoke:")
    assert registry.aliases == {"champion": "1"}
    assert registry.events("2") == ["verdict", "promoting", "promoted"]
    assert registry.events("1")[-1] == "restored"


# -- asked before -------------------------------------------------------------------------


def test_a_candidate_waits_where_approval_is_required(tidegate: Command, registry: Any) -> None:
    """It is the challenger until the deadline, however often it is deployed, and status says so."""
    registry.judged()
    for _ in range(2):
        ended = tidegate("deploy", "--project", registry.folder, "--json", *REQUIRED)
        assert ended.code == 0
        assert ended.document["verdict"] == "passed"
        assert ended.document["model"]["alias"] == "challenger"
    assert registry.aliases == {"challenger": "1"}
    assert registry.events("1") == ["verdict", "waiting"]
    challenger = tidegate("status", "--project", registry.folder, "--json").document["challenger"]
    assert (challenger["version"], challenger["state"]) == ("1", "waiting")
    assert challenger["deadline"] is not None


@pytest.mark.parametrize("waits", [False, True])
def test_an_approval_is_not_switched_off(tidegate: Command, registry: Any, waits: bool) -> None:
    """Required when it was judged, or already waited for, an answer is needed whatever the flag."""
    registry.judged(settings=() if waits else REQUIRED[1:])
    if waits:
        assert tidegate("deploy", "--project", registry.folder, *REQUIRED).code == 0
    off = ("--set", "deploy.approval=none")
    ended = tidegate("deploy", "--project", registry.folder, "--json", *off)
    assert ended.document["model"]["alias"] == "challenger"
    assert registry.aliases == {"challenger": "1"}


def test_without_an_answer_the_candidate_is_refused(tidegate: Command, registry: Any) -> None:
    """After the deadline an approval is refused, once and for all, and so is a deploy."""
    registry.judged()
    soon = ("--set", "deploy.approval_hours=1e-9")
    assert tidegate("deploy", "--project", registry.folder, *REQUIRED, *soon).code == 0
    for _ in range(2):
        late = tidegate("approve", "1", *SIGNED, "--project", registry.folder, "--json")
        assert late.code == 1
        assert late.document["reasons"][0].startswith("approval: Nobody answered")
    assert tidegate("deploy", "--project", registry.folder, *REQUIRED).code == 1
    assert tidegate("deploy", "--project", registry.folder).code == 1
    assert registry.aliases == {}
    assert registry.events("1") == ["verdict", "waiting", "expired"]


# -- through Prefect ----------------------------------------------------------------------


def waiting_deploy(registry: Any, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """Start a deploy that pauses, as a process of its own on the shared server."""
    command = [sys.executable, "-c", "from flows.cli import main; main()"]
    return subprocess.Popen(
        [*command, "deploy", "--project", registry.folder, "--json", *REQUIRED, *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def post(engine: Engine, path: str, **body: Any) -> Any:
    request = urllib.request.Request(
        f"{engine.url}/{path}",
        json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    # A server whose database is busy says 503, and Prefect's own client asks again.
    for _ in range(20):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as err:
            if err.code != 503:
                raise
        time.sleep(0.5)
    raise AssertionError("the server stays busy")


def paused_run(engine: Engine, registry: Any, process: "subprocess.Popen[str]") -> str:
    """Return the flow run that the version names, once it is paused."""
    deadline = time.monotonic() + 120
    while True:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.3)
        found = registry.tracker.version("flights", "1").tags.get("tidegate.flow_run")
        if found is not None:
            runs = post(engine, "flow_runs/filter", flow_runs={"id": {"any_": [found]}})
            if runs[0]["state"]["type"] == "PAUSED" and runs[0]["state"]["state_details"].get(
                "run_input_keyset"
            ):
                return str(found)


def ends(process: "subprocess.Popen[str]") -> tuple[int, dict[str, Any]]:
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err, err
    return process.returncode, json.loads(out)


def record(registry: Any) -> list[tuple[str, str, str, list[str]]]:
    """Return what the ledger says of version 1, without times and numbers."""
    return [
        (entry.event, entry.who, entry.reason, sorted(entry.details))
        for entry in registry.tracker.ledger("flights").entries()
        if entry.version == "1"
    ]


def test_an_answer_through_prefect_leaves_the_record_of_the_command_line(
    tidegate: Command, registry: Any, engine: Engine, tmp_path: Path
) -> None:
    """A paused deploy that is resumed with an approval promotes, and writes the same lines."""
    by_hand = type(registry)(Path(shutil.copytree(registry.folder, tmp_path / "by_hand")))
    registry.judged()
    process = waiting_deploy(registry, "--wait")
    flow_run = paused_run(engine, registry, process)
    unsigned = {"decision": "approve", "by": " ", "reason": "x"}
    refused = post(engine, f"flow_runs/{flow_run}/resume", run_input=unsigned)
    assert refused["status"] == "REJECT"
    answer = {"decision": "approve", "by": "Ada", "reason": "tried on last week"}
    assert post(engine, f"flow_runs/{flow_run}/resume", run_input=answer)["status"] == "ACCEPT"
    code, document = ends(process)
    assert (code, document["model"]["alias"]) == (0, "champion")
    assert registry.aliases == {"champion": "1"}

    by_hand.judged()
    assert tidegate("deploy", "--project", by_hand.folder, *REQUIRED).code == 0
    assert tidegate("approve", "1", *SIGNED, "--project", by_hand.folder).code == 0
    assert record(by_hand) == record(registry)


def test_a_deploy_that_a_worker_runs_pauses_and_can_be_rejected(
    registry: Any, engine: Engine
) -> None:
    """No flag is needed there; a rejection ends it with 1 and its reason."""
    registry.judged()
    process = waiting_deploy(registry, PREFECT__RUNTIME__DEPLOYMENT__ID="from-a-deployment")
    flow_run = paused_run(engine, registry, process)
    answer = {"decision": "reject", "by": "Ada", "reason": "too many false alarms"}
    assert post(engine, f"flow_runs/{flow_run}/resume", run_input=answer)["status"] == "ACCEPT"
    code, document = ends(process)
    assert code == 1
    assert document["reasons"] == [
        "approval: Ada rejected version 1: too many false alarms",
    ]
    assert registry.aliases == {}
    assert registry.events("1") == ["verdict", "waiting", "rejected"]


def test_an_answer_by_command_wakes_the_paused_deploy(
    tidegate: Command, registry: Any, engine: Engine
) -> None:
    """It takes over what the ledger says, and writes no second answer."""
    registry.judged()
    process = waiting_deploy(registry, "--wait")
    paused_run(engine, registry, process)
    assert tidegate("approve", "1", *SIGNED, "--project", registry.folder).code == 0
    code, document = ends(process)
    assert (code, document["model"]["alias"]) == (0, "champion")
    assert registry.events("1") == ["verdict", "waiting", "approved", "promoting", "promoted"]


def test_a_paused_deploy_ends_at_the_deadline(registry: Any, engine: Engine) -> None:
    """No answer is a refusal, written down as such, and the flow run says why."""
    registry.judged()
    code, document = ends(
        waiting_deploy(registry, "--wait", "--set", "deploy.approval_hours=0.001")
    )
    assert code == 1
    assert document["reasons"][0].startswith("approval: Nobody answered")
    assert registry.events("1") == ["verdict", "waiting", "expired"]
    assert registry.aliases == {}
    flow_run = registry.tracker.version("flights", "1").tags["tidegate.flow_run"]
    (run,) = post(engine, "flow_runs/filter", flow_runs={"id": {"any_": [flow_run]}})
    assert run["state"]["name"] == "Refused"
