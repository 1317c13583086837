"""pipelines.sweep.rungs: who is given more."""

import itertools
import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.models.family import Resource
from pipelines.sweep.rungs import WORST, Ladder, Rank, count_rungs, units_at

RANKS = st.one_of(
    st.just(WORST),
    # Few values, so that equals are the rule.
    st.tuples(st.sampled_from([0.0, 0.5, 0.9]), st.sampled_from([-2.0, -0.1])),
)


def best_third(ranks: dict[int, Rank], *, last_call: bool) -> set[int]:
    """Name the best third by counting, for each trial, who is before it: the rule, in one line."""
    third = math.ceil(len(ranks) / 3) if last_call else math.floor(len(ranks) / 3)

    def before(number: int) -> int:
        return sum(
            other > ranks[number] or (other == ranks[number] and n < number)
            for n, other in ranks.items()
        )

    return {n for n, rank in ranks.items() if rank != WORST and before(n) < third}


@given(
    ranks=st.lists(RANKS, max_size=25),
    order=st.randoms(use_true_random=False),
    ended=st.sets(st.integers(0, 24)),
    last_call=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_the_best_third_goes_on(
    ranks: list[Rank], order: random.Random, ended: set[int], last_call: bool
) -> None:
    """Those promoted are the best third of those known, the best first, each one once."""
    numbered = list(enumerate(ranks))
    order.shuffle(numbered)
    ladder = Ladder("mlp", 3)
    for number, rank in numbered:
        ladder.reached(number, 0, rank, ended=number in ended)
    promoted = []
    while (number := ladder.promotable(0, last_call=last_call)) is not None:
        ladder.promote(number, 0)
        promoted.append(number)
    expected = best_third(dict(numbered), last_call=last_call) - ended
    assert promoted == sorted(expected, key=lambda n: (*(-x for x in ranks[n]), n))
    assert ladder.promotable(1, last_call=True) is None


@given(
    ranks=st.lists(st.tuples(RANKS, RANKS, RANKS), min_size=1, max_size=40),
    order=st.randoms(use_true_random=False),
    rising=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_the_hopeless_never_go_on(
    ranks: list[tuple[Rank, ...]], order: random.Random, rising: bool
) -> None:
    """A trial once said to be hopeless is never promoted, whatever comes after it."""
    if rising:
        # Each better than those before it at the first rung: more than a third go on.
        ranks = [((number, 0.0), *above) for number, (_, *above) in enumerate(ranks)]
    ladder = Ladder("mlp", 3)
    coming = list(range(len(ranks)))
    flying: list[tuple[int, int]] = []
    hopeless: set[int] = set()
    while True:
        last_call = not coming
        for rung in (1, 0):
            under_way = not last_call or any(at <= rung for _, at in flying)
            number = ladder.promotable(rung, last_call=not under_way)
            if number is not None:
                assert number not in hopeless
                ladder.promote(number, rung)
                flying.append((number, rung + 1))
        if coming and len(flying) < 4:
            flying.append((coming.pop(0), 0))
        if not flying:
            break
        number, rung = flying.pop(order.randrange(len(flying)))
        failed = ranks[number][rung] == WORST
        ladder.reached(number, rung, ranks[number][rung], ended=failed or rung == 2)
        waiting = sum(at == 0 for _, at in flying)
        hopeless |= ladder.hopeless(len(coming) + waiting)


def test_a_small_share_waits() -> None:
    """Two at a rung are too few for a third of them; at the last call one goes on."""
    ladder = Ladder("mlp", 2)
    for number in (0, 1):
        ladder.reached(number, 0, (number / 10, 0.0), ended=False)
    assert ladder.promotable(0, last_call=False) is None
    assert ladder.promotable(0, last_call=True) == 1


def test_the_failed_count_and_never_go_on() -> None:
    """A trial that failed is one of those known, and not promoted even where all others failed."""
    ladder = Ladder("mlp", 2)
    for number in (0, 1):
        ladder.reached(number, 0, WORST, ended=True)
    assert ladder.promotable(0, last_call=True) is None
    ladder.reached(2, 0, (0.1, -1.0), ended=False)
    assert ladder.promotable(0, last_call=False) == 2


@given(
    resource=st.sampled_from(["epochs", "trees", "iterations", "rows"]),
    most=st.integers(1, 10**6),
)
def test_rungs_are_a_factor_apart(resource: Resource, most: int) -> None:
    """The top rung is all of the resource, and each below a third of the one above it."""
    rungs = count_rungs(resource, most)
    units = [units_at(rung, rungs, most) for rung in range(rungs)]
    assert 1 <= rungs <= 4
    assert units[-1] == most
    assert all(abs(low - high / 3) <= 2 or low == 1 for low, high in itertools.pairwise(units))
    if resource in ("epochs", "rows"):
        assert units == sorted(set(units))


def test_few_rows_are_learned_at_once() -> None:
    """No rung of rows has fewer than a thousand, or all where there are not so many."""
    assert [count_rungs("rows", n) for n in (10, 2_999, 3_000, 9_000, 10**6)] == [1, 1, 2, 3, 4]


def test_what_became_of_them() -> None:
    """Each rung tells how many were measured, went on, needed no more, and failed on the way."""
    ladder = Ladder("mlp", 2)
    for number in range(4):
        ladder.reached(number, 0, (number / 10, 0.0), ended=number == 0)
    ladder.promote(3, 0)
    ladder.promote(2, 0)
    ladder.reached(3, 1, (0.3, 0.0), ended=True)
    ladder.reached(2, 1, WORST, ended=True)
    low, high = ladder.told(lambda number, rung: (number, rung) == (2, 1))
    assert (low.entered, low.promoted, low.ended, low.failed) == (4, 2, 1, 0)
    assert (high.entered, high.promoted, high.ended, high.failed) == (2, 0, 1, 1)
    assert (low.share, high.share) == (1 / 3, 1)
