"""The document of ``--json``."""

import json
from pathlib import Path

import jsonschema
import pytest

from checks.result import CheckResult, Report, Status
from flows.outcome import Outcome, rules_schema

PUBLISHED = Path(__file__).parents[2] / "docs" / "gate-rules.schema.json"


@pytest.mark.checkout
def test_the_published_schema_of_the_rules_is_the_functions() -> None:
    """docs/gate-rules.schema.json is what `rules_schema` gives, and a schema."""
    jsonschema.Draft202012Validator.check_schema(rules_schema())
    written = json.dumps(rules_schema(), indent=2) + "\n"
    assert PUBLISHED.read_text() == written, f"the file must hold:\n{written}"


@pytest.mark.parametrize("status", list(Status))
def test_the_rules_of_a_gate_are_valid_by_their_schema(status: Status) -> None:
    """Each rule has the keys that the schema names and no other, whatever it came to."""
    check = CheckResult("a", "c", status, 0.5, 0.4, "why", {"of": 9}, (0.4, float("inf")))
    bare = CheckResult("b", "c", status)
    outcome = Outcome(Status.PASSED, judged=(Report("gate", (check, bare)),))
    rules = json.loads(json.dumps(outcome.to_dict()["rules"], allow_nan=False))
    validator = jsonschema.Draft202012Validator(rules_schema())
    validator.validate(rules)
    assert [rule["id"] for rule in rules] == ["a", "b"]
    for key in rules[0]:
        assert not validator.is_valid([{k: v for k, v in rules[0].items() if k != key}])
    assert not validator.is_valid([{**rules[0], "claim": "c"}])


def test_only_the_gate_has_rules() -> None:
    """The checks of a data contract are no rules of the gate."""
    report = Report("data", (CheckResult("a", "c", Status.PASSED),))
    assert Outcome(Status.PASSED, judged=(report,)).rules == []


def test_a_score_that_is_no_number_is_null() -> None:
    """JSON has no NaN, and a strict reader of ``--json`` refuses the whole document."""
    document = Outcome(Status.ERROR, metrics={"roc_auc": float("nan"), "f1": 0.5}).to_dict()
    assert json.loads(json.dumps(document, allow_nan=False))["metrics"]["roc_auc"] is None
    assert document["metrics"]["f1"] == 0.5
