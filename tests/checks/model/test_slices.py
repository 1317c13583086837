"""Slices in which a model does badly are found, and a good model is not refused for the search."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.model.answers import Answers, NotJudgedError
from checks.model.evidence import Champion
from checks.model.interval import share_interval
from checks.model.settings import SliceSettings
from checks.model.slices import (
    check_segments,
    check_slices,
    family_of,
    find_slices,
    holm,
    levels,
)
from checks.result import CheckResult, Status


def flights(rows: int = 8_000, seed: int = 0) -> pd.DataFrame:
    """Make features of every kind, some missing."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "carrier": rng.choice(["UA", "AA", "DL", "WN"], rows, p=[0.1, 0.3, 0.3, 0.3]),
            "origin": pd.Categorical(rng.choice(["EWR", "JFK", "LGA"], rows)),
            "distance": rng.gamma(2, 500, rows),
            "hour": rng.integers(5, 24, rows),
            "rain": np.where(rng.random(rows) < 0.1, np.nan, rng.exponential(size=rows)),
            "weekend": rng.random(rows) < 0.28,
        }
    )


def answered(right: np.ndarray, *, labels: Any = ("late", "on_time"), truth: Any = None) -> Answers:
    """Make answers of two classes that are right where told."""
    names = np.array(labels)
    if truth is None:
        truth = np.arange(len(right)) % 2
    codes = np.asarray(truth)
    return Answers(labels, names[codes], names[np.where(right, codes, 1 - codes)])


def asked(**how: Any) -> SliceSettings:
    """Ask for three quarters in each slice."""
    return SliceSettings(**{"minimum": 0.75, **how})


def searched(
    frame: pd.DataFrame, right: np.ndarray, confidence: float = 0.95, **how: Any
) -> CheckResult:
    """Return the result of the search alone."""
    results = check_slices(answered(right), frame, asked(**how), confidence=confidence)
    return results[-1]


# What is found


def test_a_bad_slice_is_found_and_named() -> None:
    """Of 300 rows half are right where three quarters are asked: the rule says which rows."""
    frame = flights()
    rng = np.random.default_rng(1)
    bad = ((frame.carrier == "UA") & (frame.origin == "EWR")).to_numpy()
    right = rng.random(len(frame)) < np.where(bad, 0.5, 0.9)
    found = searched(frame, right)
    rows, hits = int(bad.sum()), int(right[bad].sum())
    assert found.status is Status.FAILED
    assert found.observed == hits / rows
    assert found.limit == 0.75
    assert found.interval == pytest.approx(share_interval(hits, rows, 0.95))
    assert found.reason.startswith(
        f"carrier = UA and origin = EWR: of {rows} rows {hits} right: {hits / rows:.4f}, "
        "below the 0.7500 that is asked for"
    )
    first = found.details["slices"][0]
    assert (first["slice"], first["rows"]) == ("carrier = UA and origin = EWR", rows)
    assert first["p"] < first["adjusted"] < 0.05


def test_a_bad_value_is_not_told_again_in_pairs() -> None:
    """Every pair with the bad carrier is bad; the one condition says it all."""
    frame = flights()
    rng = np.random.default_rng(2)
    right = rng.random(len(frame)) < np.where(frame.carrier == "UA", 0.5, 0.9)
    found = searched(frame, right)
    assert found.details["below"] > 5
    assert [one["slice"] for one in found.details["slices"]] == ["carrier = UA"]
    named = [one.name for one in find_slices(frame, right, minimum_rows=50)]
    assert named[0] == "carrier = UA"
    assert not any("UA" in name for name in named[1:])


def test_a_pair_that_is_worse_than_its_parts_stays() -> None:
    """A value that is bad, and far worse together with another, is told both ways."""
    frame = flights()
    rng = np.random.default_rng(3)
    worst = (frame.carrier == "UA") & frame.weekend
    share = np.where(worst, 0.2, np.where(frame.carrier == "UA", 0.6, 0.9))
    named = [
        one.name
        for one in find_slices(frame, rng.random(len(frame)) < share, minimum_rows=50, minimum=0.75)
    ]
    assert {"carrier = UA and weekend = true", "carrier = UA"} == set(named[:2])


@pytest.mark.parametrize(
    ("column", "slice_name"),
    [
        ("rain", "rain is missing"),
        ("weekend", "weekend = true"),
        ("origin", "origin = LGA"),
        ("few", "few = 2"),
        ("nulls", "nulls is missing"),
        ("flag", "flag = false"),
        ("most", "most = 0"),
    ],
)
def test_each_kind_of_column_is_cut(column: str, slice_name: str) -> None:
    """Missing values, booleans, categories and few numbers are slices of their own."""
    frame = flights()
    rng = np.random.default_rng(4)
    frame["few"] = rng.integers(0, 4, len(frame))
    frame["nulls"] = pd.array(np.where(rng.random(len(frame)) < 0.2, None, 7), dtype="Int64")
    frame["flag"] = np.array([True, False, None], dtype=object)[rng.integers(0, 3, len(frame))]
    frame["most"] = np.where(rng.random(len(frame)) < 0.3, 0, rng.integers(0, 3, len(frame)))
    cut = levels(frame[column])
    bad = cut.codes == cut.conditions.index(slice_name)
    right = rng.random(len(frame)) < np.where(bad, 0.6, 0.9)
    assert searched(frame, right).reason.startswith(f"{slice_name}: ")


VALUES = {
    "floats": st.floats(width=32),
    "few floats": st.sampled_from([0.1, 0.2, np.nan, 1e9, -np.inf]),
    "integers": st.integers(-(2**40), 2**40),
    "close": st.integers(10**9, 10**9 + 9),
    "skewed": st.sampled_from([0] * 20 + list(range(1, 9))),
    "strings": st.text(max_size=3),
    "booleans": st.booleans(),
    "some booleans": st.sampled_from([True, False, None]),
    "mixed": st.sampled_from([True, 1, "1", 2.5, None]),
    "times": st.datetimes(
        min_value=pd.Timestamp("1990-01-01"), max_value=pd.Timestamp("2030-01-01")
    ),
}


@pytest.mark.parametrize("kind", VALUES)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), declared=st.booleans())
def test_each_row_meets_one_condition(kind: str, data: st.DataObject, declared: bool) -> None:
    """Whatever a column holds, its conditions part the rows, and equal values stay together."""
    values = data.draw(st.lists(VALUES[kind], max_size=60))
    column = pd.Series(values, name="x", dtype=object if kind in ("mixed", "strings") else None)
    cut = levels(column, declared=declared)
    assert len(cut.codes) == len(values)
    assert set(cut.codes) <= set(range(len(cut.conditions)))
    assert len(cut.conditions) <= (len(values) + 1 if declared else 22)
    missing = column.isna().to_numpy()
    for code in set(cut.codes[missing]):
        assert cut.conditions[code] == "x is missing"
        assert (cut.codes[~missing] != code).all()
    if kind in ("floats", "few floats", "integers", "close", "skewed", "times"):
        order = np.argsort(column[~missing].to_numpy(), kind="stable")
        assert (np.diff(cut.codes[~missing][order]) >= 0).all()


def test_numbers_are_cut_at_their_fifths() -> None:
    """Five bins of as many rows, and the condition says where they end."""
    cut = levels(pd.Series(np.arange(1000) / 8, name="x"))
    assert cut.conditions[0] == "x <= 24.875"
    assert cut.conditions[1] == "24.875 < x <= 49.875"
    assert np.bincount(cut.codes).tolist() == [200] * 5


@pytest.mark.parametrize("common", [0.0, 5.0, 10.0])
def test_a_common_number_is_a_bin_of_its_own(common: float) -> None:
    """What most rows hold is not thrown together with what they do not hold."""
    values = np.concatenate([np.full(900, common), np.linspace(0, 10, 101)])
    cut = levels(pd.Series(values, name="x"))
    code = cut.codes[0]
    assert np.unique(values[cut.codes == code]).tolist() == [common]


def test_the_commonest_categories_stand_alone() -> None:
    """Of fifty values twenty are slices and the others one; declared, each is its own."""
    values = [f"v{place:02}" for place in range(50) for _ in range(place + 1)]
    column = pd.Series(values, name="x")
    cut = levels(column)
    assert cut.conditions[0] == "x = v49"
    assert cut.conditions[-1] == "x is none of its 20 commonest values"
    assert np.bincount(cut.codes)[-1] == sum(range(1, 31))
    assert len(levels(column, declared=True).conditions) == 50


def test_counts_are_those_of_pandas() -> None:
    """Rows and right answers of every slice agree with a group-by of the same conditions."""
    frame = flights(2_000)
    rng = np.random.default_rng(5)
    right = rng.random(len(frame)) < 0.8
    cut = {name: levels(frame[name]) for name in frame}
    names = pd.DataFrame(
        {name: np.array(one.conditions, object)[one.codes] for name, one in cut.items()}
    )
    family = family_of(list(cut.values()), right.astype(int), 2, 30)
    expected = {}
    columns = list(frame)
    groups = [[one] for one in columns]
    groups += [[one, two] for place, one in enumerate(columns) for two in columns[place + 1 :]]
    for by in groups:
        for key, held in names.groupby(by):
            if 30 <= len(held) < len(frame):
                expected[key] = (len(held), int(right[held.index].sum()))
    found = {
        family.named(number): (int(family.rows[number]), int(family.counts[number, 1]))
        for number in range(len(family))
    }
    assert found == expected


def test_a_pair_that_repeats_a_condition_is_not_tested() -> None:
    """A column and its copy make no pairs, and a column of one value no slice."""
    one = pd.Series(["a", "b"] * 100, name="one")
    frame = pd.DataFrame({"one": one, "copy": one, "same": "x"})
    cut = [levels(frame[name]) for name in frame]
    family = family_of(cut, np.zeros(200, int), 2, 10)
    assert [family.named(number) for number in range(len(family))] == [
        *([(f"{name} = {value}",) for name in ("one", "copy") for value in "ab"]),
    ]


def test_a_value_within_another_makes_no_pair() -> None:
    """A state chooses the same rows with its country as without it."""
    states = pd.Series(["TX", "NY", "QC"] * 100, name="state")
    country = states.map({"TX": "US", "NY": "US", "QC": "CA"}).rename("country")
    for columns in ([states, country], [country, states]):
        family = family_of([levels(one) for one in columns], np.zeros(300, int), 2, 10)
        assert (family.second < 0).all()
        assert len(family) == 5


def test_numbers_kept_as_objects_are_numbers() -> None:
    """A column of floats and None is cut at its fifths, not into categories."""
    column = pd.Series([*np.arange(100) / 7, None], name="x", dtype=object)
    assert len(levels(column).conditions) == 6


def test_a_condition_is_not_rounded_past_the_largest_value() -> None:
    """Where six digits would leave no row above the last cut, more are said."""
    values = [0.0, 1.0, 2.0, 3.0, 4.0, *[999_999.6] * 60, *[999_999.9] * 5]
    cut = levels(pd.Series(values, name="x"))
    assert cut.conditions[-1] == "x > 999999.6"
    assert np.bincount(cut.codes)[-1] == 5


# How surely


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_the_adjustment_is_that_of_statsmodels(p: list[float]) -> None:
    """Holm's p-values agree with another library's."""
    from statsmodels.stats.multitest import multipletests

    expected = multipletests(p, method="holm")[1]
    assert holm(np.array(p)) == pytest.approx(expected, abs=1e-12)


def test_the_adjustment_is_that_of_the_worked_example() -> None:
    """Holm's procedure on 0.01, 0.04, 0.03, 0.005 (Wikipedia, Holm-Bonferroni method)."""
    adjusted = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_the_p_value_is_that_of_scipy() -> None:
    """The exact one-sided binomial test, slice by slice."""
    from scipy.stats import binomtest

    frame = flights(2_000)
    right = np.random.default_rng(6).random(len(frame)) < 0.75
    found = find_slices(frame, right, minimum_rows=40, minimum=0.75, most=50)
    assert len(found) > 20
    for one in found:
        expected = binomtest(one.right, one.rows, 0.75, alternative="less").pvalue
        assert one.p == pytest.approx(expected, rel=1e-9)
        assert one.interval == share_interval(one.right, one.rows, 0.95)


def test_a_search_rarely_refuses_a_model_that_does_well_enough_everywhere() -> None:
    """Exactly what is asked in each of hundreds of slices: at most one model in ten is refused.

    400 models; the bound is alpha and four standard errors.
    """
    frame = flights(1_500)
    rng = np.random.default_rng(7)
    refused = [
        searched(frame, rng.random(len(frame)) < 0.75, confidence=0.9).status for _ in range(400)
    ]
    assert refused.count(Status.ERROR) == 0
    assert refused.count(Status.FAILED) / 400 <= 0.1 + 4 * (0.1 * 0.9 / 400) ** 0.5


def test_a_search_finds_what_is_there() -> None:
    """A slice of 500 rows that is half right is found every time, where 0.75 is asked."""
    frame = flights(5_000)
    rng = np.random.default_rng(9)
    bad = ((frame.carrier == "UA") & (rng.random(5_000) < 2)).to_numpy()
    assert 400 < bad.sum() < 600
    for _ in range(20):
        right = rng.random(5_000) < np.where(bad, 0.5, 0.85)
        found = searched(frame, right)
        assert found.status is Status.FAILED
        assert found.details["slices"][0]["slice"] == "carrier = UA"


# The rule


def test_each_declared_column_is_a_rule_of_its_own() -> None:
    """The rules are named by column, the search comes last, and each says what it is about."""
    frame = flights()
    right = np.random.default_rng(1).random(len(frame)) < 0.9
    results = check_slices(answered(right), frame, asked(columns=("carrier", "hour")))
    assert [one.id for one in results] == ["slices[carrier]", "slices[hour]", "slices"]
    assert all(one.status is Status.PASSED for one in results)
    assert results[0].details["tested"] == 4
    assert results[1].details["tested"] == 19
    assert "each value of carrier" in results[0].claim


def test_a_declared_column_fails_by_its_own_slices() -> None:
    """A small slice that the search cannot tell from chance shows where it alone is asked for."""
    frame = flights(3_000)
    frame["fair"] = np.where(np.arange(3_000) < 60, "few", "many")
    rng = np.random.default_rng(3)
    right = rng.random(3_000) < 0.9
    right[:60] = np.arange(60) < 36
    declared, search = check_slices(answered(right), frame, asked(columns=("fair",)))
    assert declared.status is Status.FAILED
    assert declared.reason.startswith("fair = few: of 60 rows 36 right")
    assert search.status is Status.PASSED
    assert "may be chance among so many" in search.reason


def test_small_values_of_a_declared_column_are_said() -> None:
    """What has too few rows to be judged is counted, never passed over in silence."""
    frame = pd.DataFrame({"carrier": ["UA"] * 100 + ["AA"] * 9 + ["DL"] * 3})
    declared, _ = check_slices(answered(np.ones(112, bool)), frame, asked(columns=("carrier",)))
    assert declared.status is Status.PASSED
    assert declared.reason.endswith("2 values have fewer than 50 rows: not judged.")
    assert declared.details["small"] == 2


def test_a_declared_column_of_one_value_is_judged() -> None:
    """All rows are one slice then."""
    frame = pd.DataFrame({"carrier": ["UA"] * 100})
    declared, search = check_slices(
        answered(np.arange(100) < 40), frame, asked(columns=("carrier",))
    )
    assert (declared.status, declared.observed) == (Status.FAILED, 0.4)
    assert search.status is Status.ERROR


def test_recall_counts_the_rows_of_its_class_alone() -> None:
    """With a class named, a slice's share is the share of that class that is found."""
    frame = flights(4_000)
    truth = np.arange(4_000) % 2
    bad = (frame.carrier == "AA").to_numpy() & (truth == 0)
    right = ~bad | (np.arange(4_000) % 3 == 0)
    by_recall = check_slices(
        answered(right, truth=truth), frame, asked(recall="late", columns=("carrier",))
    )[0]
    assert by_recall.status is Status.FAILED
    rows = int(((frame.carrier == "AA") & (truth == 0)).sum())
    assert f"carrier = AA: of {rows:,} rows truly late" in by_recall.reason
    other = check_slices(answered(right, truth=truth), frame, asked(recall="on_time"))[-1]
    assert (other.status, other.observed) == (Status.PASSED, 1.0)


@pytest.mark.parametrize(
    ("labels", "recall"), [(("late", "on_time"), "late"), ((False, True), "true"), ((3, 7), "7")]
)
def test_a_class_is_named_by_its_text(labels: Any, recall: str) -> None:
    """Strings, booleans and integers are named as the project file can."""
    right = np.ones(400, bool)
    results = check_slices(
        answered(right, labels=labels), flights(400), asked(recall=recall, minimum_rows=20)
    )
    assert [one.status for one in results] == [Status.PASSED]


FRAME = flights(200)
GOOD = np.ones(200, dtype=bool)


@pytest.mark.parametrize(
    ("frame", "how", "says"),
    [
        (FRAME, {"columns": ("carier",)}, "there is no column 'carier' to slice by; did you mean"),
        (FRAME, {"columns": ("carrier",), "minimum_rows": 150}, "too few rows to judge by"),
        (FRAME, {"recall": "early"}, "'early', which is not there"),
        (FRAME[:150], {}, "150 rows of features, but 200 of the truth"),
        (FRAME[[]], {}, "too few rows to judge by"),
        (FRAME, {"minimum_rows": 201}, "no slice has 201 rows"),
    ],
)
def test_what_cannot_be_judged_is_an_error(
    frame: pd.DataFrame, how: dict[str, Any], says: str
) -> None:
    """No such column or class, no slice with rows enough, other rows: refused, with the reason."""
    result = check_slices(answered(GOOD), frame, asked(**how))[0]
    assert result.status is Status.ERROR
    assert says in result.reason


def test_missing_labels_are_an_error() -> None:
    """A truth with a hole refuses in every rule, and raises in none."""
    truth = np.array(["late", None] * 100, dtype=object)
    broken = Answers(("late", "on_time"), truth, np.array(["late"] * 200))
    results = check_slices(broken, FRAME, asked(columns=("carrier",)))
    assert [one.status for one in results] == [Status.ERROR] * 2
    assert check_segments(broken, serving(GOOD), FRAME, asked()).status is Status.ERROR


def test_what_is_not_asked_does_not_apply() -> None:
    """Without a minimum, or with the search off, the result says so."""
    (unset,) = check_slices(answered(GOOD), FRAME, SliceSettings())
    assert unset.status is Status.NOT_APPLICABLE
    assert "gate.slices.minimum" in unset.reason
    (off,) = check_slices(answered(GOOD), FRAME, asked(search=False))
    assert off.status is Status.NOT_APPLICABLE
    assert "gate.slices.search" in off.reason


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 500), low=st.floats(0.3, 0.9), more=st.floats(0, 0.1))
def test_a_higher_minimum_never_passes_what_a_lower_one_refuses(
    seed: int, low: float, more: float
) -> None:
    """Raising the limit makes no refusal a pass."""
    rng = np.random.default_rng(seed)
    right = rng.random(200) < rng.uniform(0.3, 0.95)
    lower, higher = (
        searched(FRAME, right, minimum=minimum, minimum_rows=20) for minimum in (low, low + more)
    )
    assert not (lower.status is Status.FAILED and higher.status is Status.PASSED)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 500))
def test_the_order_of_the_rows_changes_nothing(seed: int) -> None:
    """Rows in another order are the same slices and the same verdict."""
    rng = np.random.default_rng(1_000 + seed)
    right = rng.random(200) < 0.7
    other = rng.permutation(200)
    moved = searched(FRAME.iloc[other], right[other], minimum_rows=20)
    assert searched(FRAME, right, minimum_rows=20) == moved


def test_a_column_that_is_not_there_is_named() -> None:
    """A search over named columns says which one it does not find."""
    with pytest.raises(NotJudgedError, match="did you mean 'origin'"):
        find_slices(FRAME, GOOD, minimum_rows=10, columns=["orign"])
    assert find_slices(FRAME, GOOD, minimum_rows=500) == ()


def test_a_search_of_single_columns_finds_no_pairs() -> None:
    """``depth`` 1 looks at one condition at a time, in the named columns alone."""
    bad = ((FRAME.carrier == "AA") & (FRAME.origin == "JFK")).to_numpy()
    named = [one.name for one in find_slices(FRAME, ~bad, minimum_rows=10)]
    assert named[0] == "carrier = AA and origin = JFK"
    found = find_slices(FRAME, ~bad, minimum_rows=10, columns=["origin", "carrier"], depth=1)
    assert {one.conditions[0].split(" = ")[0] for one in found} == {"origin", "carrier"}
    assert all(len(one.conditions) == 1 for one in found)


# Against the champion


def serving(right: np.ndarray, learned: np.ndarray | None = None, **how: Any) -> Champion:
    """Make a champion that is right where told."""
    none = np.zeros(len(right), dtype=bool)
    return Champion("4", answered(right).predictions, none if learned is None else learned, **how)


def test_a_segment_that_lost_is_found_while_the_whole_won() -> None:
    """A candidate that is better on all rows and worse for one carrier is refused for it."""
    frame = flights()
    rng = np.random.default_rng(1)
    was = rng.random(len(frame)) < 0.8
    lost = (frame.carrier == "UA").to_numpy()
    now = np.where(lost, was & (rng.random(len(frame)) < 0.7), was | (rng.random(len(frame)) < 0.5))
    assert now.mean() > was.mean()
    found = check_segments(answered(now), serving(was), frame, SliceSettings())
    assert found.status is Status.FAILED
    (segment,) = found.details["segments"]
    rows = int(lost.sum())
    assert segment["slice"] == "carrier = UA"
    assert segment["candidate"] == pytest.approx(now[lost].mean())
    assert segment["champion"] == pytest.approx(was[lost].mean())
    assert (segment["helpful"], segment["harmful"]) == (0, int((was & ~now)[lost].sum()))
    assert found.observed == pytest.approx((was[lost].sum() - now[lost].sum()) / rows)
    assert f"of {rows} rows {now[lost].sum()} right, {was[lost].sum()} by the champion" in (
        found.reason
    )


def test_segments_count_the_rows_of_the_named_class_alone() -> None:
    """A loss among the other class's rows is none of the recall's."""
    frame = pd.DataFrame({"part": ["a", "a", "b", "b"] * 100})
    now = np.tile([True, False, True, True], 100)
    for recall, status in (("late", Status.PASSED), ("on_time", Status.FAILED)):
        found = check_segments(
            answered(now), serving(np.ones(400, bool)), frame, SliceSettings(recall=recall)
        )
        assert found.status is status


def test_the_sign_test_is_that_of_scipy() -> None:
    """One-sided exact McNemar: harmful flips of all flips, as a fair coin has them."""
    from scipy.stats import binomtest

    frame = pd.DataFrame({"part": ["a"] * 200 + ["b"] * 200})
    was, now = np.ones(400, bool), np.ones(400, bool)
    now[:30] = False
    was[30:40] = False
    found = check_segments(answered(now), serving(was), frame, SliceSettings())
    (segment,) = found.details["segments"]
    expected = binomtest(30, 40, alternative="greater").pvalue
    assert segment["p"] == pytest.approx(expected)
    assert segment["adjusted"] == pytest.approx(2 * expected)


def test_segments_rarely_refuse_an_equal_model() -> None:
    """A model that wins and loses alike everywhere is refused one time in ten at most."""
    frame = flights(1_500)
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(300):
        was, now = rng.random((2, 1_500)) < 0.8
        result = check_segments(answered(now), serving(was), frame, SliceSettings(), confidence=0.9)
        assert result.status is not Status.ERROR
        refused += result.status is Status.FAILED
    assert refused / 300 <= 0.1 + 4 * (0.1 * 0.9 / 300) ** 0.5


def test_a_loss_within_what_is_allowed_passes_and_is_listed() -> None:
    """``behind`` lets a small loss through, however sure it is; the segment is still shown."""
    frame = pd.DataFrame({"part": ["a"] * 1000 + ["b"] * 1000})
    was, now = np.ones(2000, bool), np.ones(2000, bool)
    now[:40] = False
    strict = check_segments(answered(now), serving(was), frame, SliceSettings())
    assert (strict.status, strict.observed) == (Status.FAILED, 0.04)
    mild = check_segments(answered(now), serving(was), frame, SliceSettings(behind=0.04))
    assert mild.status is Status.PASSED
    assert [one["slice"] for one in mild.details["segments"]] == ["part = a"]
    assert "Behind by no more than is allowed" in mild.reason


def test_rows_that_the_champion_has_learned_are_left_out() -> None:
    """Its answers there are memory; with other rows named, those are compared."""
    frame = pd.DataFrame({"part": ["a"] * 300 + ["b"] * 300})
    was, now = np.ones(600, bool), np.ones(600, bool)
    now[:300] = False
    learned = np.arange(600) < 260
    few = check_segments(
        answered(now), serving(was, learned), frame, SliceSettings(minimum_rows=50)
    )
    assert few.status is Status.PASSED
    every = check_segments(
        answered(now), serving(was, learned), frame, SliceSettings(), compared=np.ones(600, bool)
    )
    assert every.status is Status.FAILED


def test_declared_columns_are_compared_value_by_value() -> None:
    """A value that the search throws in with others is a segment where it is declared."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"airport": [f"v{place:02}" for place in rng.integers(0, 40, 8_000)]})
    rows = frame.airport.value_counts()
    lost = (frame.airport == rows.index[-1]).to_numpy()
    was, now = np.ones(8_000, bool), ~lost
    found = check_segments(
        answered(now), serving(was), frame, SliceSettings(minimum=0.5, columns=("airport",))
    )
    assert found.details["tested"] == 20 + 1 + 20
    assert found.details["segments"][0]["slice"] == f"airport = {rows.index[-1]}"
    alone = check_segments(
        answered(now),
        serving(was),
        frame,
        SliceSettings(minimum=0.5, columns=("airport",), search=False),
    )
    assert alone.details["tested"] == 40


@pytest.mark.parametrize(
    ("champion", "how", "status", "says"),
    [
        (None, {}, Status.NOT_APPLICABLE, "No champion"),
        (serving(GOOD, is_candidate=True), {}, Status.NOT_APPLICABLE, "candidate itself"),
        ("its file is gone", {}, Status.ERROR, "its file is gone"),
        (serving(GOOD[:100]), {}, Status.ERROR, "100 rows of the champion's answers"),
        (serving(GOOD, GOOD), {}, Status.ERROR, "too few rows"),
        (serving(GOOD), {"minimum_rows": 201}, Status.ERROR, "too few rows"),
        (
            serving(GOOD),
            {"minimum": 0.5, "columns": ("car",)},
            Status.ERROR,
            "there is no column 'car'",
        ),
        (serving(GOOD), {"search": False}, Status.NOT_APPLICABLE, "gate.slices.search"),
        (serving(GOOD), {}, Status.PASSED, "none of them is behind"),
    ],
)
def test_segments_are_judged_or_said_why_not(
    champion: Any, how: dict[str, Any], status: Status, says: str
) -> None:
    """No champion is no refusal; one that cannot be compared is."""
    found = check_segments(answered(GOOD), champion, FRAME, SliceSettings(**how))
    assert (found.id, found.status) == ("segments", status)
    assert says in found.reason


def test_classes_that_the_champion_alone_knows_are_compared() -> None:
    """It may answer a class that the candidate never saw: that is a wrong answer of its own."""
    candidate = answered(GOOD)
    truth = candidate.y_true
    old = Answers(("late", "on_time", "early"), truth, np.where(np.arange(200) < 9, "early", truth))
    champion = Champion("4", old.predictions, np.zeros(200, bool))
    found = check_segments(candidate, champion, FRAME, SliceSettings(minimum_rows=20))
    assert found.status is Status.PASSED
    back = check_segments(old, serving(GOOD), FRAME, SliceSettings(minimum_rows=20))
    assert back.details["tested"] == found.details["tested"]


def test_results_survive_json() -> None:
    """A result read back from its document is the same, its slices included."""
    rng = np.random.default_rng(1)
    right = rng.random(200) < 0.6
    result = searched(FRAME, right, minimum_rows=20)
    assert result.details["slices"]
    assert CheckResult.from_dict(result.to_dict()) == result
    (first, *_) = find_slices(FRAME, right, minimum_rows=20)
    assert set(first.to_dict()) == {"slice", "rows", "right", "share", "interval", "p"}
