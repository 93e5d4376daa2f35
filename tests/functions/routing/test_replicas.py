"""Which replica takes a call: room, then what it knows, then load."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.routing.replicas import Asked, choose, load_limit, nearest, with_room

MANY = 10**9  # slots


@dataclass(eq=False)
class Engine:
    salt: int
    in_flight: int = 0


def engines(*in_flight: int) -> list[Engine]:
    salts = [blake2b(b"%d" % number, digest_size=8).digest() for number in range(len(in_flight))]
    return [
        Engine(salt=int.from_bytes(salt), in_flight=calls)
        for salt, calls in zip(salts, in_flight, strict=True)
    ]


def prefixes(number: int = 2000) -> list[int]:
    return Random(7).sample(range(1, 2**32), number)


LOADS = st.lists(st.integers(0, 50), min_size=1, max_size=12)
PREFIXES = st.integers(0, 2**32 - 1)
BOUNDS = st.one_of(st.just(0.0), st.floats(1.0, 4.0))


@given(LOADS, PREFIXES, st.integers(1, 60), BOUNDS, st.integers(0, 1000))
def test_the_choice_is_one_of_them_and_has_room_where_one_has(
    loads: list[int], prefix: int, slots: int, bound: float, turn: int
) -> None:
    some = engines(*loads)
    chosen, why = choose(some, Asked(prefix, slots, bound), turn)

    assert chosen in some
    assert why in ({"affinity", "spill"} if prefix and bound else {"least"})
    if min(loads) < slots:
        assert chosen.in_flight < slots


@given(LOADS, PREFIXES, st.integers(1, 60), st.floats(1.0, 4.0))
def test_nobody_is_given_more_than_the_bound_for_what_it_knows(
    loads: list[int], prefix: int, slots: int, bound: float
) -> None:
    some = engines(*loads)
    chosen, why = choose(some, Asked(prefix or 1, slots, bound), 0)

    assert why != "least"
    assert chosen.in_flight < max(bound * (sum(loads) + 1) / len(loads) + 1, slots / 2)


@given(LOADS, st.integers(0, 1000))
def test_without_a_prefix_it_is_the_least_busy(loads: list[int], turn: int) -> None:
    chosen, why = choose(engines(*loads), Asked(0, MANY, 1.25), turn)

    assert (min(loads), "least") == (chosen.in_flight, why)


@given(LOADS, PREFIXES)
def test_the_same_prefix_leads_to_the_same_replica(loads: list[int], prefix: int) -> None:
    some = engines(*loads)
    found, is_home = nearest(some, prefix, MANY)
    turned, _ = nearest(some[::-1], prefix, MANY)

    assert found is turned
    assert is_home


@given(LOADS, PREFIXES, st.data())
def test_who_goes_moves_only_its_own(loads: list[int], prefix: int, data: st.DataObject) -> None:
    some = engines(*loads, 0)
    gone = data.draw(st.sampled_from(some))
    before, _ = nearest(some, prefix, MANY)
    after, _ = nearest([one for one in some if one is not gone], prefix, MANY)

    assert before is gone or after is before


@pytest.mark.parametrize("number", [2, 3, 4, 5, 8, 16])
def test_prefixes_are_spread_evenly(number: int) -> None:
    some = engines(*[0] * number)
    counts = Counter(id(nearest(some, prefix, MANY)[0]) for prefix in prefixes(8000))

    assert number == len(counts)
    assert all(0.8 < count * number / 8000 < 1.2 for count in counts.values())


@pytest.mark.parametrize("number", [2, 4, 8])
def test_a_replica_that_comes_takes_its_share_and_no_more(number: int) -> None:
    grown = engines(*[0] * (number + 1))
    asked = prefixes(8000)
    moved = sum(nearest(grown[:-1], one, MANY)[0] is not nearest(grown, one, MANY)[0] for one in asked)

    assert 0.8 < moved * (number + 1) / len(asked) < 1.2


def served(some: Sequence[Engine], prefixes: Sequence[int], under_way: int, slots: int) -> Counter[int]:
    """How the calls fell that were made while so many were under way, the oldest ending first."""
    going: list[Engine] = []
    fell: Counter[int] = Counter()
    for turn, prefix in enumerate(prefixes):
        if len(going) == under_way:
            going.pop(0).in_flight -= 1
        chosen, _ = choose(some, Asked(prefix, slots, 1.25), turn)
        chosen.in_flight += 1
        going.append(chosen)
        fell[some.index(chosen)] += 1
    return fell


@pytest.mark.parametrize("under_way", [8, 40, 200])
def test_a_hot_prefix_does_not_overload_a_replica(under_way: int) -> None:
    some, most = engines(0, 0, 0, 0), 0
    fell = served(some, [42] * 4000, under_way, 4)
    most = max(one.in_flight for one in some)

    assert most <= 1.25 * (under_way + 1) / 4 + 1
    assert max(fell.values()) <= 0.4 * 4000


def test_one_conversation_at_a_time_stays_where_it_is() -> None:
    some = engines(0, 0, 0, 0)

    assert [2000] == list(served(some, [42] * 2000, 1, 4).values())


def test_half_its_slots_a_replica_gives_to_what_it_knows() -> None:
    some = engines(0, 0, 0, 0)
    home, _ = nearest(some, 42, MANY)
    assert home is not None
    home.in_flight = 3

    assert (home, "affinity") == choose(some, Asked(42, 8, 1.25), 0)
    assert "spill" == choose(some, Asked(42, 6, 1.25), 0)[1]


def test_what_spills_goes_to_the_next_nearest() -> None:
    some = engines(0, 0, 0)
    home, _ = nearest(some, 42, MANY)
    assert home is not None
    second, _ = nearest([one for one in some if one is not home], 42, MANY)
    home.in_flight = 9

    assert (second, "spill") == choose(some, Asked(42, 4, 1.25), 0)


def test_where_all_are_full_load_decides_how_many_more_each_gets() -> None:
    some = engines(9, 9, 9)

    assert some == with_room(some, 4)
    assert load_limit(some, 4, 1.25) == 12
