"""checks.drift: the two-sample tests, Holm's correction, broken columns and Evidently's page."""

import json
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from checks.drift import check_drift, drift_pages
from checks.drift.cells import counts_of
from checks.drift.holm import holm
from checks.drift.page import PAGE_ROWS
from checks.drift.scores import drift_scores
from checks.drift.shift import homogeneity_shift, ks_shift, missing_shift, new_levels_shift
from checks.drift.together import together_shift
from checks.monitor import MonitorSettings
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
    """Judge one window against the sample of seed 0, by its columns, and alarm at once."""
    settings = {"in_a_row": 1, "together": False} | settings
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
        sides = [counts_of(pd.Series(ranked(random, levels, ROWS))) for _ in range(2)]
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
    assert {check.id.partition(".")[0] for check in report.refusals} == {column}
    found = result(report, f"{column}.values")
    assert found.status is Status.FAILED
    assert isinstance(found.observed, float)
    floors = MonitorSettings()
    is_number = column in NUMERIC
    assert found.limit == (floors.numeric_effect if is_number else floors.categorical_effect)
    assert found.observed >= found.limit
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
    """A text column that comes as numbers, or as nothing, is named in the first window."""
    for values in (np.arange(ROWS) % 7, (np.arange(ROWS) % 7).astype(str), np.nan):
        report = judged(sample(1).assign(of_5=values), in_a_row=2)
        assert [check.id for check in report.refusals] == ["of_5.broken"]
    codes = sample(0)["of_5"].str.removeprefix("level ")
    report = judged(sample(1), sample(0).assign(of_5=codes), in_a_row=2)
    assert [check.id for check in report.refusals] == ["of_5.broken"]
    assert "values of of_5 are words, 'level " in report.refusals[0].reason


def test_other_words_are_drift_and_not_broken() -> None:
    """A window of levels that the reference has never seen is drift, of values and levels."""
    report = judged(sample(1).assign(of_5=sample(1)["of_5"].str.upper()))
    assert [check.id for check in report.refusals] == ["of_5.values", "of_5.levels"]


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
    common = {"a": 500, "b": 480}
    shift = homogeneity_shift(common | {"x": 4, "y": 4}, common | {"z": 4, "w": 4})
    assert shift is not None
    assert shift.effect == 0.0
    assert shift.p_value == pytest.approx(1.0)
    assert homogeneity_shift({"a": 99, "b": 1}, {"a": 100}) is None
    one = homogeneity_shift({"a": 9}, {"a": 9})
    assert one is not None
    assert one.effect == 0.0


def test_known_values() -> None:
    """The statistics agree with values worked out by hand."""
    assert ks_shift(np.arange(10.0), np.arange(5.0, 15.0)).effect == pytest.approx(0.5)
    shift = homogeneity_shift({"a": 30, "b": 70}, {"a": 50, "b": 50})
    assert shift is not None
    # Chi-square of the table 30, 70, 50, 50 is 8.333, of one degree of freedom.
    assert shift.p_value == pytest.approx(0.0038924, rel=1e-4)
    assert shift.effect == pytest.approx(0.2)
    # One missing of four against none of four: 2 * 4/8, both tails.
    found = missing_shift((1, 0), (4, 4))
    assert found.p_value == pytest.approx(1.0)
    assert found.effect == 0.25
    # All three rows of the one level that can be new, in a window of 5 of 10: 5·4·3 / 10·9·8.
    assert new_levels_shift({"a": 5}, {"a": 2, "b": 3}).p_value == pytest.approx(1 / 12, rel=1e-3)


@pytest.mark.parametrize("sizes", [(400, 400), (5_000, 250), (90, 3_000)])
@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_the_distance_of_numbers_is_the_one_that_scipy_finds(
    sizes: tuple[int, int], decimals: int
) -> None:
    """Distance and p-value are those of scipy's test, with many ties and with none."""
    random = np.random.default_rng(decimals)
    before, after = (random.normal(0.1, 1, size).round(decimals) for size in sizes)
    found, expected = ks_shift(before, after), ks_2samp(before, after, method="asymp")
    assert found.effect == pytest.approx(expected.statistic, abs=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)


@pytest.mark.parametrize("levels", [20, 200])
def test_new_levels_seldom_alarm_where_rare_ones_are_usual(levels: int) -> None:
    """Halves of one sample with many rare levels have p below 0.05 in at most 1 of 20 cuts."""
    random = np.random.default_rng(levels)
    p_values, effects = [], []
    for _ in range(200):
        before, after = (
            counts_of(pd.Series(ranked(random, levels, rows))) for rows in (300, 1_000)
        )
        shift = new_levels_shift(before, after)
        p_values.append(shift.p_value)
        effects.append(shift.effect)
    # Binomial(200, 0.05): 22 or more has a chance below 0.0005.
    assert np.mean(np.array(p_values) < 0.05) <= 21 / 200
    assert levels == 20 or max(effects) > 0.1


def test_what_is_said_to_be_seen_is_seen() -> None:
    """A shift of the smallest size that is said to be seen is significant at that level."""
    for alpha in (0.01, 1e-5):
        least = ks_shift(np.zeros(400), np.zeros(900)).seen_from(alpha)
        moved = np.where(np.arange(900) < np.ceil(least * 900), 1.0, 0.0)
        assert ks_shift(np.zeros(400), moved).p_value < alpha
        before = {"a": 500, "b": 300, "c": 200}
        shift = homogeneity_shift(before, before)
        assert shift is not None
        rows = int(np.ceil(shift.seen_from(alpha) * 1_000)) + 1
        for one, other in (("a", "b"), ("b", "c"), ("a", "c")):
            after = before | {one: before[one] - rows, other: before[other] + rows}
            seen = homogeneity_shift(before, after)
            assert seen is not None
            assert seen.p_value < alpha
        new = int(np.ceil(new_levels_shift(before, before).seen_from(alpha) * 1_000))
        assert new_levels_shift(before, {"a": 1_000 - new, "z": new}).p_value < alpha * 1.001
        empty = int(np.ceil(missing_shift((100, 100), (2_000, 1_000)).seen_from(alpha) * 1_000))
        assert missing_shift((100, 50 + empty + 10), (2_000, 1_000)).p_value < alpha * 1.5


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


def shifted(seed: int, by: float = 0.5) -> pd.DataFrame:
    """Draw a window in which one column moved."""
    frame = sample(seed)
    frame["delay"] += by
    return frame


def month(past: list[Report], window: pd.DataFrame, **settings: float) -> CheckResult:
    """Judge one more window, and return what is said of the column that moves."""
    report = check_drift(
        sample(0),
        window,
        MonitorSettings(together=False, **settings),
        numeric=NUMERIC,
        categorical=CATEGORICAL,
        past=past,
    )
    # As a report that was read back from where it was kept.
    past.append(Report.from_dict(json.loads(json.dumps(report.to_dict()))))
    return result(report, "delay.values")


def test_it_takes_two_windows_in_a_row_to_alarm() -> None:
    """A first window that moved passes and says so; the second alarms; a calm one starts anew."""
    past: list[Report] = []
    windows = [shifted(1), shifted(2), sample(3), shifted(4), shifted(5)]
    found = [month(past, window) for window in windows]
    assert [check.status for check in found] == [
        Status.PASSED,
        Status.FAILED,
        Status.PASSED,
        Status.PASSED,
        Status.FAILED,
    ]
    assert [check.details["windows"] for check in found] == [1, 2, 0, 1, 2]
    assert [check.details["exceeded"] for check in found] == [True, True, False, True, True]
    assert found[0].reason.startswith("Moved, in one window; 2 in a row alarm: ")
    assert found[1].reason.startswith("Moved, in 2 windows in a row: ")


def test_a_window_that_could_not_tell_does_not_end_a_row() -> None:
    """Too few rows, or a broken column, between two windows that moved still lets them alarm."""
    past: list[Report] = []
    month(past, shifted(1))
    for nothing in (sample(2, 50), sample(3).drop(columns="delay")):
        report = check_drift(
            sample(0),
            nothing,
            MonitorSettings(),
            numeric=NUMERIC,
            categorical=CATEGORICAL,
            past=past,
        )
        assert "delay.values" not in {check.id for check in report.checks}
        past.append(report)
    assert month(past, shifted(4)).status is Status.FAILED


def test_a_stream_that_moves_by_itself_does_not_alarm() -> None:
    """Where half of six windows moved, another such move tells nothing; a larger one does."""
    past: list[Report] = []
    for seed in range(1, 7):
        month(past, shifted(seed) if seed % 2 else sample(seed))
    found = month(list(past), shifted(8), in_a_row=1)
    assert found.status is Status.NOT_APPLICABLE
    assert found.reason.startswith(
        "Marginal drift uninformative here: moved in 3 of 6 earlier windows"
    )
    assert found.details["exceeded"]
    assert month(list(past), shifted(8, 2.0), in_a_row=1).status is Status.FAILED
    assert month(past[1:], shifted(8), in_a_row=1).status is Status.FAILED
    assert month(list(past), shifted(8), in_a_row=1, uninformative=0.6).status is Status.FAILED


def scored(seed: int, rows: int = ROWS, odds: float = 0.0) -> pd.DataFrame:
    """Draw rows with what a model said of them."""
    random = np.random.default_rng(seed)
    late = 1 / (1 + np.exp(-random.normal(odds, 1, rows)))
    answer = np.where(late > 0.5, "late", "on time")
    return sample(seed, rows).assign(
        prediction=answer, **{"probability_late": late, "probability_on time": 1 - late}
    )


def outputs(reference: pd.DataFrame, current: pd.DataFrame, *classes: str) -> Report:
    """Judge what the model said."""
    return check_drift(
        reference,
        current,
        MonitorSettings(in_a_row=1, together=False),
        numeric=NUMERIC,
        categorical=CATEGORICAL,
        scores=[f"probability_{label}" for label in classes],
        prediction="prediction",
    )


def test_moved_answers_are_named() -> None:
    """Scores and predictions are watched too; of two scores, which mirror each other, one is."""
    report = outputs(scored(0), scored(1, odds=1.0), "late", "on time")
    assert [check.id for check in report.refusals] == [
        "score[on time].values",
        "prediction.values",
    ]
    assert "score[late].values" not in {check.id for check in report.checks}
    several = outputs(scored(0), scored(1), "late", "on time", "late")
    assert "score[late].values" in {check.id for check in several.checks}
    assert several.passed


def test_rows_that_were_not_scored_are_judged_by_their_columns() -> None:
    """A window that could not be scored, for want of a column, has that one finding."""
    report = outputs(scored(0), sample(1).drop(columns="seats"), "late", "on time")
    assert [check.id for check in report.refusals] == ["seats.broken"]
    assert not any(check.id.startswith(("score", "prediction")) for check in report.checks)


def paired(seed: int, sign: float, rows: int = ROWS) -> pd.DataFrame:
    """Draw two columns that each look the same whatever the sign of their correlation."""
    random = np.random.default_rng(seed)
    x = random.normal(size=rows)
    kind = np.where(sign * x + 0.5 * random.normal(size=rows) > 0, "high", "low")
    return pd.DataFrame({"x": x, "y": random.normal(size=rows), "kind": kind})


def test_columns_that_no_longer_go_together_are_found() -> None:
    """Where each column looks as before and only their relation changed, the rows tell."""
    judge = {"numeric": ("x", "y"), "categorical": ("kind",)}
    settings = MonitorSettings(in_a_row=1)
    report = check_drift(paired(0, 1), paired(1, -1), settings, **judge)
    assert [check.id for check in report.refusals] == ["rows.together"]
    assert report.refusals[0].details["current_rows"] == ROWS / 2
    assert check_drift(paired(0, 1), paired(1, 1), settings, **judge).passed
    alone = check_drift(paired(0, 1), paired(1, -1), MonitorSettings(together=False), **judge)
    assert alone.passed


def test_equal_rows_are_seldom_told_apart() -> None:
    """The classifier's p-values on rows of one distribution are uniform, rare levels or not."""
    p_values = []
    for seed in range(60):
        shift, _ = together_shift(
            sample(2_000 + seed, 600),
            sample(3_000 + seed, 300),
            numeric=NUMERIC,
            categorical=CATEGORICAL,
        )
        p_values.append(shift.p_value)
    # Binomial(60, 0.1): 15 or more has a chance below 0.001.
    assert np.mean(np.array(p_values) < 0.1) <= 14 / 60
    assert 0.35 < np.mean(p_values) < 0.65


def test_a_column_that_is_never_missing_costs_the_others_nothing() -> None:
    """What cannot be a finding is no part of the family that Holm corrects for."""
    report = judged(sample(1))
    assert result(report, "seats.missing").details["adjusted_p_value"] == 1.0
    # Six tests of values, four of levels, and the missing share of delay alone.
    assert report.facts["tests"] == 11


def test_a_finding_keeps_what_it_was_judged_by() -> None:
    """Each tested check keeps method, sizes, p-values, effect, floor and what it can see."""
    for check in judged(sample(1), together=True).checks:
        assert set(check.details) == {
            "method",
            "reference_rows",
            "current_rows",
            "p_value",
            "adjusted_p_value",
            "alpha",
            "effect",
            "threshold",
            "smallest",
            "exceeded",
            "windows",
        }
        assert check.details["threshold"] <= check.details["smallest"] <= 1.0


@pytest.mark.parametrize("rows", [1_500, 2_000])
def test_scores_are_those_of_evidently(rows: int) -> None:
    """Scores equal those of Evidently's preset to 1e-9, whatever the sizes of the samples."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset
        from evidently import Report as EvidentlyReport
        from evidently.presets import DataDriftPreset

        reference, current = sample(0, 2_000), sample(1, rows)
        definition = DataDefinition(
            numerical_columns=list(NUMERIC), categorical_columns=list(CATEGORICAL)
        )
        drawn = EvidentlyReport([DataDriftPreset()]).run(
            *(
                Dataset.from_pandas(side, data_definition=definition)
                for side in (current, reference)
            )
        )
    theirs = {
        metric["config"]["column"]: metric["value"]
        for metric in drawn.dict()["metrics"]
        if "column" in metric["config"]
    }
    ours = drift_scores(reference, current, numeric=NUMERIC, categorical=CATEGORICAL)
    assert ours == pytest.approx(theirs, abs=1e-9)
