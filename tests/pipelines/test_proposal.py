import tomllib
from typing import Any

import numpy as np
import pandas as pd
import pytest

from checks.model.answers import class_name
from pipelines.data import DataSettings
from pipelines.errors import DataError
from pipelines.proposal import Proposal, propose

ROWS = 1200


@pytest.fixture
def frame() -> pd.DataFrame:
    """Parcels: weight tells something of being late, the rest nothing."""
    random = np.random.default_rng(0)
    weight = random.gamma(2.0, 3.0, ROWS)
    late = random.random(ROWS) < 1 / (1 + np.exp(2.5 - 0.3 * weight))
    return pd.DataFrame(
        {
            "parcel_id": random.permutation(ROWS) + 5000,
            "sent": pd.date_range("2024-01-01", periods=ROWS, freq="6h"),
            "weight": weight.round(6),
            "floor": random.integers(0, 9, ROWS),
            "carrier": random.choice(["north", "south", "east"], ROWS),
            "late": np.where(late, "yes", "no"),
        }
    )


def proposed(frame: pd.DataFrame, **changes: Any) -> tuple[Proposal, dict[str, Any]]:
    """Propose with the usual arguments; also give the project file, parsed."""
    given: dict[str, Any] = {
        "source": "parcels.csv",
        "target": "late",
        "time": None,
        "name": "parcels",
    }
    proposal = propose(frame, **{**given, **changes})
    return proposal, tomllib.loads(proposal.project_text)


def warned(proposal: Proposal, *words: str) -> bool:
    """Tell whether one warning says all these words."""
    return any(all(word in warning for word in words) for warning in proposal.warnings)


def rules(proposal: Proposal, column: str) -> dict[str, dict[str, Any]]:
    """Give the arguments of the contract's rules about one column, by rule."""
    return {
        each["type"].removeprefix("expect_column_"): each["kwargs"]
        for each in proposal.contract["expectations"]
        if each["kwargs"].get("column") == column
    }


def test_the_roles_are_inferred(frame: pd.DataFrame) -> None:
    """Id, positive class and a random split are inferred, and a clean table has no warning."""
    proposal, project = proposed(frame.drop(columns="sent"))
    settings = DataSettings.model_validate(project["data"])
    assert (settings.id, settings.positive, settings.drop) == ("parcel_id", "yes", {})
    assert settings.split.method == "random"
    assert proposal.warnings == ()
    assert any("parcel_id" in guess for guess in proposal.guesses)


def test_a_time_column_gives_instants(frame: pd.DataFrame) -> None:
    """With a time column the split is by turns of the month, in order, each side with rows."""
    _, project = proposed(frame, time="sent")
    split = DataSettings.model_validate(project["data"]).split
    assert split.method == "time"
    shares = [
        float((frame["sent"] < at).mean()) for at in (split.validation_from, split.sealed_from)
    ]
    assert 0.4 < shares[0] < shares[1] < 0.95
    assert (split.validation_from.day, split.sealed_from.day) == (1, 1)


def test_an_unused_date_is_pointed_out(frame: pd.DataFrame) -> None:
    """A date that could order the rows is pointed out where no time column is named."""
    proposal, project = proposed(frame)
    assert warned(proposal, "--time sent")
    assert "sent" in project["data"]["drop"]


def test_a_single_instant_cannot_split(frame: pd.DataFrame) -> None:
    """A time column with one instant is refused, with the way out."""
    with pytest.raises(DataError, match="leave out --time"):
        proposed(frame.assign(sent=pd.Timestamp("2024-01-01")), time="sent")


def test_a_leak_is_dropped_and_named(frame: pd.DataFrame) -> None:
    """A column that knows the answer is dropped with its reason, and named first."""
    frame["status"] = frame["late"].map({"yes": "claim filed", "no": "closed"})
    proposal, project = proposed(frame, time="sent")
    assert "alone" in project["data"]["drop"]["status"]
    assert proposal.warnings[0].startswith("status predicts late alone")


def test_a_strong_column_is_kept_and_questioned(frame: pd.DataFrame) -> None:
    """A column that nearly knows the answer is questioned, and stays."""
    noise = np.random.default_rng(1).normal(0, 1, ROWS)
    frame["delay"] = (frame["late"] == "yes") * 2 + noise
    proposal, project = proposed(frame, time="sent")
    assert warned(proposal, "delay alone ranks late", "is it known")
    assert "delay" not in project["data"]["drop"]


def test_a_date_written_down_afterwards_is_named(frame: pd.DataFrame) -> None:
    """A date as text whose distance to the row's time tells the answer is named and dropped."""
    days = np.where(frame["late"] == "yes", 9, 2)
    frame["closed"] = (frame["sent"] + pd.to_timedelta(days, unit="D")).dt.strftime("%Y-%m-%d")
    proposal, project = proposed(frame, time="sent")
    assert warned(proposal, "from sent to closed", "afterwards")
    assert "closed" in project["data"]["drop"]


def test_many_levels_alone_are_no_leak(frame: pd.DataFrame) -> None:
    """A column of 400 levels that tells nothing is not taken for one that knows the answer."""
    frame["street"] = np.random.default_rng(2).integers(0, 400, ROWS).astype(str)
    frame["street"] = "street " + frame["street"]
    proposal, project = proposed(frame, time="sent")
    assert warned(proposal, "street has", "levels")
    assert not warned(proposal, "street", "ROC")
    assert "street" not in project["data"]["drop"]
    assert "values_to_be_in_set" not in rules(proposal, "street")


@pytest.mark.parametrize(
    ("values", "words", "dropped"),
    [
        ([np.nan] * ROWS, ("extra is all missing",), True),
        (["same"] * ROWS, ("extra is constant", "'same'"), True),
        ([f"note {i}" for i in range(ROWS)], ("extra looks like an id",), True),
        (list(range(ROWS)), ("extra counts every row",), False),
        (["1.5", "2"] * (ROWS // 2 - 1) + ["heavy", "?"], ("stray words in 2", "'heavy'"), False),
        (["2024-02-01"] * (ROWS - 2) + ["soon", "2024-02-31"], ("do not parse", "'soon'"), True),
        ([np.nan] * 900 + [1.0, 2.0, 3.0] * 100, ("extra is 75 % missing",), False),
    ],
    ids=["missing", "constant", "text id", "row number", "stray words", "bad dates", "sparse"],
)
def test_an_odd_column_is_named(
    frame: pd.DataFrame, values: list[Any], words: tuple[str, ...], dropped: bool
) -> None:
    """A column that deserves a look is named, and dropped where no model can use it."""
    proposal, project = proposed(frame.assign(extra=values), time="sent")
    assert warned(proposal, "extra", *words)
    assert ("extra" in project["data"]["drop"]) is dropped


def test_repeated_rows_and_a_scarce_class_are_named(frame: pd.DataFrame) -> None:
    """Duplicate rows and a class with few rows are named; the search then balances classes."""
    few = frame["late"].eq("no") | (np.arange(ROWS) % 20 == 0)
    scarce = frame[few].drop(columns=["parcel_id", "sent"])
    proposal, project = proposed(pd.concat([scarce, scarce.head(50)], ignore_index=True))
    assert warned(proposal, "rows repeat an earlier one")
    assert warned(proposal, "the class 'yes' has")
    assert project["train"]["scoring"] == "balanced_accuracy"


def test_a_measurement_is_no_target(frame: pd.DataFrame) -> None:
    """A target that is a measurement is refused, with the number of its values."""
    with pytest.raises(DataError, match="measurement"):
        proposed(frame, target="weight")


def test_the_limits_lie_between_chance_and_the_yardstick(frame: pd.DataFrame) -> None:
    """Limits are below what the yardstick reached, and what is balanced not below a guess."""
    proposal, project = proposed(frame, time="sent")
    gate = project["gate"]
    said = next(guess for guess in proposal.guesses if "logistic" in guess)
    accuracy, _ = (float(word) for word in said.replace(",", "").split() if "." in word)
    assert 0.5 <= gate["metrics"]["accuracy"]["min"] < accuracy
    assert gate["metrics"]["balanced_accuracy"]["min"] >= 0.5
    assert set(gate["recall"]) == {"yes", "no"}
    assert all(0 < floor < 1 for floor in gate["recall"].values())


def test_the_sealed_rows_answers_are_not_read(frame: pd.DataFrame) -> None:
    """Other answers in the sealed rows change neither a limit nor a leak."""
    proposal, project = proposed(frame, time="sent")
    sealed = frame["sent"] >= project["data"]["split"]["sealed_from"]
    frame.loc[sealed, "late"] = frame.loc[sealed, "late"].to_numpy()[::-1]
    other, again = proposed(frame, time="sent")
    for gate in (again["gate"], project["gate"]):
        # A busy machine is slower the second time.
        del gate["latency"]
    assert again["gate"] == project["gate"]
    assert other.warnings == proposal.warnings


def test_the_contract_states_what_was_seen(frame: pd.DataFrame) -> None:
    """The contract states columns, rows, types, ranges with slack, levels, gaps and classes."""
    frame.loc[:119, "floor"] = np.nan
    proposal, _ = proposed(frame, time="sent")
    table = {each["type"]: each["kwargs"] for each in proposal.contract["expectations"]}
    assert table["expect_table_columns_to_match_set"]["column_set"] == list(frame.columns)
    assert table["expect_table_row_count_to_be_between"]["min_value"] == ROWS // 2
    weight = rules(proposal, "weight")["values_to_be_between"]
    assert weight["min_value"] == 0.0
    assert frame["weight"].max() < weight["max_value"] < 1.5 * frame["weight"].max()
    assert rules(proposal, "floor")["values_to_not_be_null"]["mostly"] == pytest.approx(0.84)
    assert rules(proposal, "carrier")["values_to_be_in_set"]["value_set"] == [
        "east",
        "north",
        "south",
    ]
    assert "values_to_be_unique" in rules(proposal, "parcel_id")
    assert rules(proposal, "late")["distinct_values_to_contain_set"]["value_set"] == ["no", "yes"]
    assert rules(proposal, "late")["values_to_not_be_null"] == {"column": "late"}


def test_odd_names_survive_in_the_project_file(frame: pd.DataFrame) -> None:
    """Quotes, dots and line breaks in column names survive in the project file."""
    odd = 'a "b".c\nd é'
    frame[odd] = "same"
    frame["x\ny"] = frame["late"]
    _, project = proposed(frame.rename(columns={"late": "l.ate ="}), target="l.ate =")
    assert {odd, "x\ny"} <= set(project["data"]["drop"])
    assert project["data"]["target"] == "l.ate ="


@pytest.mark.parametrize("values", [(True, False), (1, 0), ("on", "off"), ("a", "b", "c")])
def test_any_labels_will_do(frame: pd.DataFrame, values: tuple[Any, ...]) -> None:
    """Classes may be true and false, whole numbers or text, two or more."""
    weight = frame["weight"].rank(pct=True) + np.random.default_rng(3).normal(0, 0.2, ROWS)
    cut = np.clip((weight * len(values)).astype(int), 0, len(values) - 1)
    frame["late"] = [values[i] for i in cut]
    _, project = proposed(frame, time="sent")
    settings = DataSettings.model_validate(project["data"])
    assert (settings.positive in values) is (len(values) == 2)
    assert set(project["gate"]["recall"]) <= {class_name(value) for value in values}


def test_columns_that_tell_nothing_are_no_excuse(frame: pd.DataFrame) -> None:
    """Where the columns tell nothing, that is said, and the commonest class must be beaten."""
    frame["late"] = np.where(np.random.default_rng(4).random(ROWS) < 0.3, "yes", "no")
    proposal, project = proposed(frame, time="sent")
    assert warned(proposal, "does not beat")
    assert warned(proposal, "'yes'", "what a model must find")
    assert project["gate"]["baseline"]["majority"] == 0
