"""checks.drift: the two-sample tests, Holm's correction, broken columns and Evidently's page."""

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from checks.drift import (
    PAGE_ROWS,
    MonitorSettings,
    check_drift,
    drift_pages,
    holm,
    homogeneity_shift,
    ks_shift,
    missing_shift,
)
from checks.result import CheckResult, Report, Status

ROWS = 1_000
LEVELS = (2, 5, 20, 50)
NUMERIC = ("delay", "seats")
CATEGORICAL = tuple(f"of_{levels}" for levels in LEVELS)


def ranked(random: np.random.Generator, levels: int, rows: int) -> np.ndarray:
    """Draw levels of which the second is half as frequent as the first, and so on (Zipf)."""
    shares = 1.0 / np.arange(1, levels + 1)
    names = np.array([f"level {level}" for level in range(levels)], dtype=object)
    return names[random.choice(levels, rows, p=shares / shares.sum())]


def sample(seed: int, rows: int = ROWS) -> pd.DataFrame:
    """Draw rows from one fixed distribution: numbers, ties, and 2 to 50 levels, some missing."""
    random = np.random.default_rng(seed)
    columns: dict[str, object] = {
        "delay": random.normal(size=rows),
        "seats": random.integers(1, 6, rows).astype(float),
    }
    for levels in LEVELS:
        columns[f"of_{levels}"] = ranked(random, levels, rows)
    frame = pd.DataFrame(columns)
    frame.loc[random.random(rows) < 0.1, "delay"] = np.nan
    return frame


def judged(
    current: pd.DataFrame, reference: pd.DataFrame | None = None, **settings: float
) -> Report:
    """Judge a window against the sample of seed 0."""
    return check_drift(
        sample(0) if reference is None else reference,
        current,
        MonitorSettings(**settings),
        numeric=NUMERIC,
        categorical=CATEGORICAL,
    )


def result(report: Report, id: str) -> CheckResult:
    """Find a result by its id."""
    return next(check for check in report.checks if check.id == id)


def test_equal_samples_seldom_alarm() -> None:
    """Two samples of one distribution alarm in at most alpha of the windows, floors or not."""
    # Without effect floors the tests stand alone: the error rate is theirs. Of 40 windows at
    # alpha 0.05, more than 7 have a chance below 0.001.
    open_floors = {"numeric_effect": 0.0, "categorical_effect": 0.0, "missing_effect": 0.0}
    bare = with_floors = 0
    for seed in range(40):
        before, after = sample(1_000 + seed), sample(5_000 + seed)
        bare += not judged(after, before, alpha=0.05, **open_floors).passed
        with_floors += not judged(after, before).passed
    assert bare <= 7
    assert with_floors == 0


@pytest.mark.parametrize("levels", LEVELS)
def test_homogeneity_p_values_are_uniform(levels: int) -> None:
    """Of equal samples of 1,000 rows about one in twenty has p below 0.05, at 2 to 50 levels."""
    random = np.random.default_rng(levels)
    p_values = []
    for _ in range(200):
        sides = [pd.Series(ranked(random, levels, ROWS)) for _ in range(2)]
        shift = homogeneity_shift(*sides)
        assert shift is not None
        p_values.append(shift.p_value)
    # Binomial(200, 0.05): 22 or more has a chance below 0.0005.
    assert np.mean(np.array(p_values) < 0.05) <= 21 / 200
    assert 0.4 < np.mean(p_values) < 0.6


@pytest.mark.parametrize(
    ("column", "move"),
    [
        ("delay", lambda values: values + 0.5),
        ("delay", lambda values: values * 2.0),
        ("seats", lambda values: np.minimum(values, 3.0)),
        ("of_50", lambda values: values.where(values != "level 0", "level 7")),
        ("of_2", lambda values: values.where(values.index % 2 == 0, "level 2")),
    ],
    ids=["moved mean", "wider", "cut", "one level gone", "a new level"],
)
def test_a_moved_column_is_named(column: str, move: Callable[[pd.Series], pd.Series]) -> None:
    """A column that moved fails, with sizes, p-value and effect; the others do not."""
    current = sample(1)
    current[column] = move(current[column])
    report = judged(current)
    assert [check.id for check in report.refusals] == [f"{column}.values"]
    found = report.refusals[0]
    assert found.status is Status.FAILED
    assert isinstance(found.observed, float)
    assert found.observed >= 0.1 == found.limit
    assert found.details["adjusted_p_value"] < found.details["alpha"]
    assert found.details["current_rows"] == current[column].notna().sum()
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_sure_but_small_move_is_no_finding() -> None:
    """A shift that 40,000 rows make certain passes as long as it is below the effect floor."""
    before, after = sample(0, 40_000), sample(1, 40_000)
    after["delay"] += 0.06
    report = judged(after, before)
    found = result(report, "delay.values")
    assert found.details["adjusted_p_value"] < found.details["alpha"]
    assert found.status is Status.PASSED
    assert "less than counts" in found.reason
    assert not judged(after, before, numeric_effect=0.01).passed


def test_a_changed_missing_share_is_named() -> None:
    """A column that goes half missing fails by its missing share, not by its values."""
    current = sample(1)
    current.loc[::2, "of_20"] = np.nan
    report = judged(current)
    assert [check.id for check in report.refusals] == ["of_20.missing"]


@pytest.mark.parametrize(
    ("breakage", "said"),
    [
        (lambda frame: frame.drop(columns="delay"), "no column delay"),
        (lambda frame: frame.assign(delay=np.nan), "All 1000 values of delay are missing"),
        (lambda frame: frame.assign(delay=None), "All 1000 values of delay are missing"),
        (lambda frame: frame.assign(delay="late"), "not finite numbers: 'late'"),
        (lambda frame: frame.assign(delay=np.inf), "not finite numbers: 'inf'"),
        (
            lambda frame: frame.assign(delay=pd.Timestamp("2013-07-01")),
            "not finite numbers: '2013-07-01",
        ),
        (
            lambda frame: frame.assign(delay=pd.Categorical(["soon"] * len(frame))),
            "not finite numbers: 'soon'",
        ),
    ],
    ids=["absent", "all NaN", "all None", "words", "infinite", "times", "categories"],
)
def test_a_broken_column_is_a_finding(
    breakage: Callable[[pd.DataFrame], pd.DataFrame], said: str
) -> None:
    """An absent, empty or re-typed column fails by name, and the others are judged still."""
    report = judged(breakage(sample(1)))
    assert [check.id for check in report.refusals] == ["delay.broken"]
    assert said in report.refusals[0].reason
    assert result(report, "seats.values").status is Status.PASSED


def test_a_broken_categorical_column_is_a_finding() -> None:
    """A text column that comes as other values, or as none, is named."""
    for values in (np.arange(ROWS) % 7, np.nan):
        report = judged(sample(1).assign(of_5=values))
        assert {check.id.partition(".")[0] for check in report.refusals} == {"of_5"}


def test_a_broken_reference_does_not_crash() -> None:
    """A reference without a column is an error, one without its values does not apply."""
    report = judged(sample(1), sample(0).drop(columns="delay").assign(of_5=np.nan))
    assert result(report, "delay.broken").status is Status.ERROR
    assert result(report, "of_5.broken").status is Status.NOT_APPLICABLE
    assert report.verdict is Status.ERROR


@pytest.mark.parametrize("kind", ["Int64", "category", "boolean", "float32", "object"])
def test_other_types_of_numbers_are_compared(kind: str) -> None:
    """Nullable, categorical and object columns of numbers are compared as numbers."""
    values = sample(1)["seats"] if kind != "boolean" else sample(1)["seats"] > 3
    current = sample(1).assign(seats=values.astype(kind))
    reference = sample(0)
    if kind == "boolean":
        reference["seats"] = (reference["seats"] > 3).astype(float)
    current.loc[3, "seats"] = pd.NA if kind in {"Int64", "boolean"} else np.nan
    assert result(judged(current, reference), "seats.values").status is Status.PASSED


def test_a_whole_number_keeps_its_level_beside_a_missing_one() -> None:
    """Codes 0 and 1 that became 0.0 and 1.0 for one missing cell are the same levels."""
    codes = sample(0)["of_2"].str.removeprefix("level ")
    after = codes.astype(float).copy()
    after[0] = np.nan
    report = judged(sample(1).assign(of_2=after), sample(0).assign(of_2=codes))
    assert result(report, "of_2.values").status is Status.PASSED


def test_few_rows_are_too_few_to_tell() -> None:
    """Below the minimum nothing is said of drift, and what is broken still is."""
    current = sample(1, 199).drop(columns="seats")
    current["delay"] += 5.0
    report = judged(current)
    assert report.verdict is Status.ERROR
    assert [check.id for check in report.checks] == ["rows", "seats.broken"]
    assert "Too few to tell" in report.checks[0].reason
    assert judged(sample(1, 0)).reasons == (
        "rows: Too few to tell: the window has 0 rows, and 200 are asked for.",
    )


def test_few_values_of_a_column_do_not_apply() -> None:
    """A column with hardly a value, or a level for each row, is not judged by its values."""
    mostly_missing = sample(0)["delay"].where(sample(0).index < 10)
    before = sample(0).assign(delay=mostly_missing, of_5=[f"a{row}" for row in range(ROWS)])
    after = sample(1).assign(delay=mostly_missing, of_5=[f"b{row}" for row in range(ROWS)])
    report = judged(after, before)
    assert result(report, "delay.values").status is Status.NOT_APPLICABLE
    assert result(report, "delay.missing").status is Status.PASSED
    assert result(report, "of_5.values").status is Status.NOT_APPLICABLE


def test_rare_levels_are_pooled() -> None:
    """Levels too rare for chi-square count together; alone they join the rarest kept one."""
    before = pd.Series(["a"] * 500 + ["b"] * 480 + ["x", "y"] * 4)
    after = pd.Series(["a"] * 500 + ["b"] * 480 + ["z", "w"] * 4)
    shift = homogeneity_shift(before, after)
    assert shift is not None
    assert shift.effect == 0.0
    assert shift.p_value == pytest.approx(1.0)
    alone = homogeneity_shift(pd.Series(["a"] * 99 + ["b"]), pd.Series(["a"] * 100))
    assert alone is None
    assert homogeneity_shift(pd.Series(["a"] * 9), pd.Series(["a"] * 9)).effect == 0.0


def test_known_values() -> None:
    """The statistics agree with values worked out by hand."""
    assert ks_shift(np.arange(10.0), np.arange(5.0, 15.0)).effect == pytest.approx(0.5)
    shift = homogeneity_shift(
        pd.Series(["a"] * 30 + ["b"] * 70), pd.Series(["a"] * 50 + ["b"] * 50)
    )
    assert shift is not None
    # Chi-square of the table 30, 70, 50, 50 is 8.333, of one degree of freedom.
    assert shift.p_value == pytest.approx(0.0038924, rel=1e-4)
    assert shift.effect == pytest.approx(0.2)
    # One missing of four against none of four: 2 * 4/8, both tails.
    found = missing_shift(np.array([True, False, False, False]), np.zeros(4, dtype=bool))
    assert found.p_value == pytest.approx(1.0)
    assert found.effect == 0.25


def test_holm_is_the_published_procedure() -> None:
    """Adjusted p-values follow Holm's steps, never fall along the order, and stop at one."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_evidently_draws_the_verdict_of_the_report() -> None:
    """Evidently's page carries our p-values and verdicts, and leaves broken columns out."""
    reference, current = sample(0), sample(1)
    reference["empty"] = 1.0
    current["empty"] = np.nan
    current["delay"] += 0.5
    current["of_5"] = current["of_5"].astype("category")
    numeric = (*NUMERIC, "empty")
    report = check_drift(
        reference, current, MonitorSettings(), numeric=numeric, categorical=CATEGORICAL
    )
    pages = drift_pages(reference, current, report, numeric=numeric, categorical=CATEGORICAL)
    drawn = json.loads(pages["evidently.json"])
    values = {metric["config"]["column"]: metric["value"] for metric in drawn["metrics"]}
    assert values == pytest.approx(
        {
            column: result(report, f"{column}.values").details["adjusted_p_value"]
            for column in (*NUMERIC, *CATEGORICAL)
        }
    )
    failed = [test["name"] for test in drawn["tests"] if test["status"] == "FAIL"]
    assert len(drawn["tests"]) == len(values)
    assert len(failed) == 1
    assert "delay" in failed[0]
    assert "<html" in pages["evidently.html"]
    assert "Drawn from" not in pages["evidently.html"]


def test_the_page_of_a_large_window_says_that_it_is_a_sample() -> None:
    """A page is drawn from a bounded sample and says so; without a report it judges alone."""
    reference, current = sample(0), sample(1, PAGE_ROWS + 1)
    current["delay"] += 0.5
    pages = drift_pages(reference, current, numeric=NUMERIC, categorical=())
    assert "Drawn from a random 5,000 rows" in pages["evidently.html"]
    statuses = [test["status"] for test in json.loads(pages["evidently.json"])["tests"]]
    assert statuses == ["FAIL", "SUCCESS"]


def test_nothing_to_compare_draws_no_page() -> None:
    """An empty window, or one with broken columns alone, gives no page and no crash."""
    columns = {"numeric": NUMERIC, "categorical": CATEGORICAL}
    assert drift_pages(sample(0), sample(1, 0), **columns) == {}
    assert drift_pages(sample(0), pd.DataFrame({"other": [1.0]}), **columns) == {}
