import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from checks.data import ContractError, check_contract, check_schema, data_docs
from checks.result import CheckResult, Report, Status

NUMBERS = ["float64", "int64"]


def expect(kind: str, **kwargs: Any) -> dict[str, Any]:
    """Write one expectation."""
    return {"type": f"expect_{kind}", "kwargs": kwargs, "meta": {}}


def contract(*expectations: dict[str, Any]) -> dict[str, Any]:
    """Write a suite."""
    return {"name": "parcels", "expectations": list(expectations), "meta": {}}


def found(report: Report, name: str) -> CheckResult:
    """Find a result by its id."""
    return next(check for check in report.checks if check.id == name)


@pytest.fixture
def frame() -> pd.DataFrame:
    """A table that keeps the contract."""
    return pd.DataFrame(
        {
            "id": np.arange(200),
            "weight": np.linspace(0.5, 20.0, 200),
            "carrier": ["north", "south", "east", "west"] * 50,
            "sent": pd.date_range("2024-01-01", periods=200),
            "late": ["yes", "no"] * 100,
        }
    )


@pytest.fixture
def suite() -> dict[str, Any]:
    """A contract with every kind of rule that `init` proposes."""
    instants = [f"datetime64[{unit}]" for unit in ("s", "ms", "us", "ns")]
    return contract(
        expect(
            "table_columns_to_match_set",
            column_set=["id", "weight", "carrier", "sent", "late"],
            exact_match=True,
        ),
        expect("table_row_count_to_be_between", min_value=100),
        expect("column_values_to_be_in_type_list", column="weight", type_list=NUMBERS),
        expect("column_values_to_be_of_type", column="carrier", type_="str"),
        expect("column_values_to_be_in_type_list", column="sent", type_list=instants),
        expect("column_values_to_be_unique", column="id"),
        expect("column_values_to_not_be_null", column="weight", mostly=0.9),
        expect("column_values_to_be_between", column="weight", min_value=0, max_value=30),
        expect("column_values_to_be_between", column="sent", min_value="2024-01-01"),
        expect(
            "column_values_to_be_in_set",
            column="carrier",
            value_set=["north", "south", "east", "west"],
            mostly=0.95,
        ),
        expect("column_distinct_values_to_contain_set", column="late", value_set=["yes", "no"]),
    )


def test_a_table_that_keeps_its_contract_passes(frame: pd.DataFrame, suite: dict[str, Any]) -> None:
    """Every rule of the contract is judged once, and a table that keeps all of them passes."""
    report, validation = check_contract(suite, frame)
    assert report.passed
    assert {check.status for check in report.checks} == {Status.PASSED}
    assert len(report.checks) == len(suite["expectations"]) + 1  # one set: missing, and new
    assert validation.result.success


def test_ids_name_the_column_and_the_rule(frame: pd.DataFrame, suite: dict[str, Any]) -> None:
    """An id names the column and the rule, and a repeated rule is numbered."""
    suite["expectations"].append(
        expect("column_values_to_be_between", column="weight", max_value=25)
    )
    report, _ = check_contract(suite, frame)
    ids = [check.id for check in report.checks]
    assert len(set(ids)) == len(ids)
    assert {
        "weight.type",
        "weight.between",
        "weight.between[2]",
        "weight.not_null",
        "id.unique",
        "carrier.in_set",
        "late.distinct_values_contain_set",
        "table.row_count_between",
    } <= set(ids)


def test_schema_changes_come_first_and_together(frame: pd.DataFrame, suite: dict[str, Any]) -> None:
    """Missing, new and re-typed columns are reported together, before every other rule."""
    changed = frame.drop(columns="id").rename(columns={"late": "lates"})
    changed["weight"] = changed["weight"].astype(object)
    changed.loc[[3, 4], "weight"] = ["heavy", "?"]
    changed["weight"] = changed["weight"].astype(str)
    report, _ = check_contract(suite, changed)
    assert [check.id for check in report.checks[:3]] == [
        "schema.missing",
        "schema.new",
        "weight.type",
    ]
    assert report.checks[0].details["columns"] == ["id", "late"]
    assert "late (renamed to lates?)" in report.checks[0].reason
    assert report.checks[1].details["columns"] == ["lates"]
    assert [check.id for check in report.refusals] == [
        "schema.missing",
        "schema.new",
        "weight.type",
    ]
    assert check_schema(suite, changed).refusals == report.refusals


def test_stray_words_are_counted_and_quoted(frame: pd.DataFrame, suite: dict[str, Any]) -> None:
    """A numeric column with stray words names their count, share and the words themselves."""
    words = frame["weight"].astype(str)
    words.iloc[[3, 4]] = ["heavy", "?"]
    check = found(check_schema(suite, frame.assign(weight=words)), "weight.type")
    assert check.status is Status.FAILED
    assert check.details["count"] == 2
    assert check.details["share"] == 0.01
    assert check.details["examples"] == ["'heavy'", "'?'"]


def test_rules_about_a_changed_column_wait(frame: pd.DataFrame, suite: dict[str, Any]) -> None:
    """A rule about a missing or re-typed column does not apply, and says why; none is an error."""
    report, _ = check_contract(suite, frame.drop(columns="id").assign(weight="heavy"))
    assert found(report, "id.unique").status is Status.NOT_APPLICABLE
    assert "id is missing" in found(report, "id.unique").reason
    assert found(report, "weight.between").status is Status.NOT_APPLICABLE
    assert "weight is re-typed" in found(report, "weight.between").reason
    assert report.verdict is Status.FAILED


@pytest.mark.parametrize(
    "weight",
    [
        np.arange(200),
        pd.array([None, *range(199)], dtype="Int64"),
        pd.array(np.arange(200.0), dtype="Float64"),
        [None] * 200,
    ],
    ids=["whole", "nullable whole", "nullable", "without a value"],
)
def test_storage_is_no_change_of_type(
    frame: pd.DataFrame, suite: dict[str, Any], weight: Any
) -> None:
    """Numbers in another storage, or a column without a value, are not a change of type."""
    report, validation = check_contract(suite, frame.assign(weight=weight))
    assert found(report, "weight.type").status is Status.PASSED
    by_type = {
        each.expectation_config.kwargs.get("column"): each.success
        for each in validation.result.results
        if each.expectation_config.type.endswith("type_list")
    }
    assert by_type["weight"] is True, "Great Expectations' own page says otherwise"


@pytest.mark.parametrize(
    ("change", "name", "count", "share", "examples"),
    [
        ({"weight": [-1.0, 99.0, 99.0]}, "weight.between", 3, 0.015, ["-1.0", "99.0"]),
        ({"carrier": ["up"] * 12}, "carrier.in_set", 12, 0.06, ["'up'"]),
        ({"id": [7, 7]}, "id.unique", 3, 0.015, ["7"]),
        ({"weight": [np.nan] * 30}, "weight.not_null", 30, 0.15, []),
        (
            {"sent": [pd.Timestamp("1999-12-31")]},
            "sent.between",
            1,
            0.005,
            ["1999-12-31 00:00:00"],
        ),
    ],
)
def test_a_breach_is_counted_and_quoted(
    frame: pd.DataFrame,
    suite: dict[str, Any],
    change: dict[str, list[Any]],
    name: str,
    count: int,
    share: float,
    examples: list[str],
) -> None:
    """A breach names column and rule, with count, share and distinct offending values."""
    for column, values in change.items():
        frame.loc[: len(values) - 1, column] = values
    report, _ = check_contract(suite, frame)
    assert [check.id for check in report.refusals] == [name]
    check = found(report, name)
    assert (check.details["count"], check.details["examples"]) == (count, examples)
    assert check.details["share"] == pytest.approx(share)
    assert name.partition(".")[0] in check.reason
    assert f"{count:,} of" in check.reason


def test_at_most_five_values_are_quoted(frame: pd.DataFrame, suite: dict[str, Any]) -> None:
    """Of many different offending values five are quoted."""
    frame.loc[:49, "weight"] = np.arange(100.0, 150.0)
    report, _ = check_contract(suite, frame)
    assert len(found(report, "weight.between").details["examples"]) == 5


def test_a_lost_class_is_named(frame: pd.DataFrame, suite: dict[str, Any]) -> None:
    """A class of the target that is gone is named."""
    report, _ = check_contract(suite, frame.assign(late="no"))
    assert "'yes'" in found(report, "late.distinct_values_contain_set").reason


def test_too_few_rows_fail(frame: pd.DataFrame, suite: dict[str, Any]) -> None:
    """A table with fewer rows than agreed fails, and the count is said."""
    report, _ = check_contract(suite, frame.head(20))
    check = found(report, "table.row_count_between")
    assert check.status is Status.FAILED
    assert check.observed == 20


def test_no_rows_prove_nothing(frame: pd.DataFrame) -> None:
    """A table without rows passes no contract, though no row breaks a rule."""
    rule = expect("column_values_to_be_between", column="weight", min_value=0)
    report, _ = check_contract(contract(rule), frame.head(0))
    assert report.verdict is Status.ERROR


def test_a_rule_that_raises_is_an_error(frame: pd.DataFrame) -> None:
    """A rule that cannot be judged is an error with its reason, never a pass."""
    rule = expect("column_values_to_be_between", column="carrier", min_value=0)
    report, _ = check_contract(contract(rule), frame)
    assert report.verdict is Status.ERROR
    assert "could not be judged" in found(report, "carrier.between").reason


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({}, "expectations"),
        ({"expectations": []}, "at least one"),
        ({"expectations": ["weight"]}, "expectation 1"),
        ({"expectations": [{"expectation_type": "x", "kwargs": {}}]}, "before 1.0"),
        (contract(expect("column_values_to_be_betwen", column="weight")), "to_be_between?"),
        (contract(expect("column_values_to_be_unique")), "column"),
        (contract(expect("column_values_to_be_unique", column="id", mosty=0.9)), "mosty"),
        (contract(expect("column_values_to_be_unique", column="id", mostly=9)), "mostly"),
        (contract(expect("column_values_to_be_unique", column="gone", mostly=9)), "mostly"),
        (
            contract(expect("column_values_to_be_between", column="sent", min_value="soon")),
            "'soon'",
        ),
    ],
)
def test_a_malformed_contract_is_refused(
    frame: pd.DataFrame, broken: dict[str, Any], said: str
) -> None:
    """A rule that cannot be built refuses the contract; left out, it would always hold."""
    with pytest.raises(ContractError, match=said.replace("?", r"\?")):
        check_contract(broken, frame)


def test_the_report_is_json(frame: pd.DataFrame, suite: dict[str, Any]) -> None:
    """A report on failures survives JSON unchanged."""
    frame.loc[0, "sent"] = pd.Timestamp("1999-12-31")
    frame.loc[0, "weight"] = -1
    report, _ = check_contract(suite, frame)
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_the_table_is_left_as_it_was(frame: pd.DataFrame, suite: dict[str, Any]) -> None:
    """Judging changes nothing in the table."""
    frame["weight"] = frame["weight"].astype("Float64")
    before = frame.copy(deep=True)
    check_contract(suite, frame)
    pd.testing.assert_frame_equal(frame, before)


def test_data_docs_open_offline(frame: pd.DataFrame, suite: dict[str, Any]) -> None:
    """The page is Great Expectations' own, shows the breach and fetches nothing."""
    frame.loc[:2, "weight"] = [-1.0, 99.0, 99.0]
    suite["expectations"].append(
        expect("column_mean_to_be_between", column="weight", min_value=1000)
    )
    _, validation = check_contract(suite, frame)
    docs = data_docs(validation)
    page = docs["data_docs.html"]
    assert "Expectation Validation Result" in page
    assert "3 unexpected values found" in page
    assert f"{frame['weight'].mean():.4f}" in page
    assert "https://" not in page
    assert "<script" not in page
    assert "<link" not in page
    assert len(page) < 1_000_000
    assert json.loads(docs["data_docs.json"])["success"] is False


@pytest.mark.slow
def test_the_module_imports_light_and_judges_quietly() -> None:
    """Neither the import nor a schema check loads a heavy library, and a check prints nothing."""
    code = """
import sys, checks.data as data
assert not {"pandas", "great_expectations"} & set(sys.modules), "heavy import"
import pandas as pd
frame = pd.DataFrame({"a": [1.0, 2.0]})
rules = [{"type": "expect_column_mean_to_be_between", "kwargs": {"column": "a", "min_value": 9}}]
data.check_schema({"name": "t", "expectations": rules}, frame)
assert "great_expectations" not in sys.modules, "heavy schema check"
report, validation = data.check_contract({"name": "t", "expectations": rules}, frame)
data.data_docs(validation)
assert not report.passed
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
