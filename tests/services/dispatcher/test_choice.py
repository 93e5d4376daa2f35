"""Whose request runs next."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.words import Lane
from services.dispatcher.choice import AMONG_FIRST, among_first, next_turn

TENANTS = ("acme", "bolt", "cern")
INTERACTIVE: list[tuple[str, Lane]] = [(tenant, "interactive") for tenant in TENANTS]


def test_nobody_waits() -> None:
    assert next_turn([], {}, {}) is None


def test_interactive_comes_before_batch_whoever_runs_more() -> None:
    waiting: list[tuple[str, Lane]] = [("acme", "batch"), ("bolt", "interactive")]

    assert ("bolt", "interactive") == next_turn(waiting, {"bolt": 9}, {})


def test_the_tenant_with_the_fewest_running_comes_next() -> None:
    assert ("bolt", "interactive") == next_turn(INTERACTIVE, {"acme": 2, "bolt": 1, "cern": 3}, {})


def test_of_equals_the_one_served_longest_ago_comes_next() -> None:
    assert ("cern", "interactive") == next_turn(INTERACTIVE, {}, {"acme": 3, "bolt": 2, "cern": 1})
    assert ("cern", "interactive") == next_turn(INTERACTIVE, {}, {"acme": 3, "bolt": 2})


@pytest.mark.parametrize("slots", [1, 2, 3, 5])
def test_tenants_get_equal_shares_however_few_slots_there_are(slots: int) -> None:
    running: Counter[str] = Counter()
    last: dict[str, int] = {}
    turns: list[str] = []
    for number in range(30 * slots):
        if running.total() == slots:
            running[turns[-slots]] -= 1
        turn = next_turn(INTERACTIVE, running, last)
        assert turn is not None
        turns.append(turn[0])
        running[turn[0]] += 1
        last[turn[0]] = number

    shares = Counter(turns)
    assert 10 * slots - 1 <= min(shares.values()) <= max(shares.values()) <= 10 * slots + 1


@given(st.lists(st.integers()), st.integers())
def test_dispatchers_choose_among_the_first_few(candidates: list[int], seed: int) -> None:
    chosen = among_first(candidates, Random(seed))

    assert chosen in candidates[:AMONG_FIRST] if candidates else chosen is None


def test_dispatchers_do_not_all_choose_the_same() -> None:
    assert set(range(AMONG_FIRST)) == {among_first(range(10), Random(seed)) for seed in range(50)}
