"""The number of replicas for a load, the plan over time, and the sentence."""

import math
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.config import Fleet
from events.fleet import Load
from functions.autoscale.advice import (
    HOLD_S,
    OVERDUE,
    Capacity,
    Plan,
    advise,
    asked_for,
    enough_with,
    work_ahead,
)
from tests.functions.autoscale.reports import NOON, SECOND, lane_load
from tests.functions.autoscale.reports import load as load_of

FLEET = Fleet(min=1, max=20, slots=4, boot_s=150)
IDLE = load_of()


def there(replicas: int, fleet: Fleet = FLEET) -> list[Capacity]:
    return [Capacity(in_s=0.0, slots=replicas * fleet.slots)]


# --- how many a load takes


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (0.0, 0),
        (0.0001, 1),
        (0.5, 1),  # 3 slots busy
        (8 / 15, 1),  # 3.2: exactly four fifths of 4
        (0.54, 2),
        (4.0, 8),  # 24
    ],
)
def test_slots_are_busy_four_fifths_of_the_time(rate: float, expected: int) -> None:
    assert expected == asked_for(load_of(rate), there(99), FLEET)


def test_fewer_are_enough_only_with_room_for_chance() -> None:
    assert (1, 2) == (asked_for(load_of(0.5), there(1), FLEET), enough_with(load_of(0.5), FLEET))


def test_synchronous_calls_keep_slots_busy_too() -> None:
    assert 8 == asked_for(load_of(in_flight=24), there(99), FLEET)
    assert 11 == asked_for(load_of(0.5, in_flight=30), there(99), FLEET)


def test_a_queue_is_drained_within_its_lanes_time_on_top_of_what_arrives() -> None:
    instant = Fleet(min=1, max=99, slots=4, boot_s=0)
    assert 5 == asked_for(load_of(queued=200), there(0), instant)  # 1,200 slot-seconds in 60 s
    assert 1 == asked_for(load_of(queued=200, lane="batch"), there(0), instant)  # in 600 s
    assert 13 == asked_for(load_of(4.0, queued=200), there(0), instant)


def test_no_replica_is_asked_for_that_would_come_too_late() -> None:
    assert 1 == asked_for(load_of(0.5, queued=20), there(2), FLEET)


def test_what_will_wait_by_the_time_a_replica_serves_counts() -> None:
    # 12 slots are needed and 4 there: after 150 s, 200 requests wait.
    assert 1200 == pytest.approx(work_ahead(load_of(2.0), there(1), 150)["interactive"])
    assert math.ceil((12 / 0.8 + 1200 / 60) / 4) == asked_for(load_of(2.0), there(1), FLEET)


def test_more_than_dispatchers_can_run_at_once_is_not_asked_for() -> None:
    assert 4 == asked_for(load_of(4.0, queued=10_000, dispatch_slots=16), there(1), FLEET)
    assert 14 == asked_for(load_of(4.0, queued=9_999, dispatch_slots=16, in_flight=32), there(1), FLEET)


def test_interactive_requests_are_served_before_those_of_a_batch() -> None:
    load = Load(
        lanes=(lane_load(0.5, queued=10), lane_load(0.1, lane="batch", queued=100)), dispatch_slots=99
    )
    assert {"interactive": 0, "batch": pytest.approx(600 + 60 - 40)} == work_ahead(load, there(1), 100)
    assert {"interactive": pytest.approx(60 - 5), "batch": pytest.approx(600 + 3)} == work_ahead(
        load, there(1), 5
    )


def test_what_boots_serves_once_it_is_there() -> None:
    steps = [Capacity(in_s=0, slots=4), Capacity(in_s=50, slots=8), Capacity(in_s=100, slots=20)]
    work = work_ahead(load_of(2.0, queued=100), steps, 150)["interactive"]
    assert 600 + 50 * 8 + 50 * 4 - 50 * 8 == pytest.approx(work)


def test_where_something_waited_far_too_long_the_forecast_is_not_believed() -> None:
    assert 1 == asked_for(load_of(0.5, queued=400, oldest_s=209), there(9), FLEET)
    assert 11 == asked_for(load_of(0.5, queued=400, oldest_s=211), there(9), FLEET)


# --- over time


class Adviser:
    """Advice given again and again; what is wanted is there after the boot time."""

    def __init__(self, replicas: int = 1, fleet: Fleet = FLEET, *, boots: bool = True) -> None:
        self.plan: Plan | None = None
        self.fleet = fleet
        self.replicas = replicas
        self.boots = boots
        self.since: datetime | None = NOON
        self.reason = ""
        self._coming: list[tuple[float, int]] = []

    def at(self, second: float, load: Load | None) -> int:
        self._boot(second)
        advice = advise(
            self.plan,
            load,
            there=self.replicas,
            fleet=self.fleet,
            at=NOON + second * SECOND,
            since=self.since,
        )
        self.plan, self.reason = advice.plan, advice.reason
        if advice.plan.wanted < self.replicas:
            self.replicas = advice.plan.wanted
        self._coming.append((second + self.fleet.boot_s, advice.plan.wanted))
        return advice.plan.wanted

    def _boot(self, second: float) -> None:
        assert self.plan is not None or not self._coming
        for when, wanted in self._coming:
            if self.boots and when <= second:
                self.replicas = min(wanted, self.plan.wanted if self.plan else wanted)


def test_it_rises_at_once_and_falls_when_the_load_stayed_low_for_a_hold_time() -> None:
    adviser = Adviser()
    assert 8 == adviser.at(0, load_of(4.0, dispatch_slots=32))
    for second in range(10, 150, 10):
        assert 8 == adviser.at(second, IDLE)
    assert 1 == adviser.at(150, IDLE)


@pytest.mark.parametrize(("boot_s", "hold_s"), [(0, HOLD_S), (20, HOLD_S), (150, 150), (600, 600)])
def test_the_hold_time_is_a_boot_time_at_least(boot_s: float, hold_s: float) -> None:
    adviser = Adviser(fleet=Fleet(max=20, slots=4, boot_s=boot_s))
    adviser.at(0, load_of(0.0, in_flight=20))
    assert 7 == adviser.at(hold_s - 1, IDLE)
    assert 1 == adviser.at(hold_s, IDLE)


def test_one_busy_moment_begins_the_hold_time_anew() -> None:
    adviser = Adviser(8)
    adviser.at(0, load_of(in_flight=20))
    for second in range(10, 140, 10):
        adviser.at(second, IDLE)
    adviser.at(140, load_of(in_flight=12))  # takes 5 with room for chance
    assert 5 == adviser.at(160, IDLE)
    assert 5 == adviser.at(289, IDLE)
    assert 1 == adviser.at(290, IDLE)


def test_it_goes_down_as_far_as_was_enough_all_the_time() -> None:
    adviser = Adviser(9)
    for second, in_flight in ((0, 20), (50, 12), (100, 5), (160, 1), (210, 1), (260, 1)):
        adviser.at(second, load_of(in_flight=in_flight))
        expected = {0: 9, 50: 9, 100: 9, 160: 5, 210: 2, 260: 1}[second]
        assert expected == (adviser.plan.wanted if adviser.plan else None)


def test_a_queue_that_grows_while_replicas_boot_is_no_reason_to_ask_again() -> None:
    adviser, queued, asked = Adviser(), 0.0, []
    for second in range(0, 400, 10):
        asked.append(adviser.at(second, load_of(2.0, queued=round(queued))))
        queued = max(0.0, queued + 10 * (2.0 - adviser.replicas * 4 / 6))
    assert {asked[0]} == set(asked[:30])
    assert 0 == queued


def test_what_does_not_boot_is_not_counted_on_for_ever() -> None:
    adviser = Adviser(boots=False)
    asked = [adviser.at(second, load_of(2.0, queued=second)) for second in range(0, 600, 10)]
    assert {9} == set(asked[: int(OVERDUE * FLEET.boot_s / 10)])
    assert FLEET.max == asked[-1]


def test_it_takes_more_than_chance_to_bring_back_what_was_just_removed() -> None:
    rising = Load(in_flight=3.7, in_flight_ahead=7.0, dispatch_slots=99)
    adviser = Adviser(5)
    for second in (0, 150):
        adviser.at(second, load_of(in_flight=1.0))
    assert 1 == adviser.at(160, rising)
    assert 1 == adviser.at(299, rising)
    assert 3 == adviser.at(300, rising)


def test_a_burst_brings_back_what_was_just_removed() -> None:
    adviser = Adviser(5)
    for second in (0, 150):
        adviser.at(second, load_of(in_flight=1.0))
    assert 3 == adviser.at(160, load_of(in_flight=9.0))


def test_the_first_advice_does_not_take_away_what_is_there() -> None:
    adviser = Adviser(7)
    adviser.since = NOON
    assert 7 == adviser.at(0, IDLE)
    assert 7 == adviser.at(149, IDLE)
    assert 1 == adviser.at(150, IDLE)


def test_where_nothing_is_known_all_stays_as_it_is() -> None:
    adviser = Adviser(7)
    for second in range(0, 1000, 60):
        assert 7 == adviser.at(second, None)
    assert "7 replicas, as before: nobody reports the load now." == adviser.reason


def test_after_a_silence_the_hold_time_begins_anew() -> None:
    adviser = Adviser(7)
    adviser.at(0, load_of(in_flight=20))
    adviser.at(300, None)
    adviser.since = NOON + 400 * SECOND
    assert 7 == adviser.at(410, IDLE)
    assert 1 == adviser.at(550, IDLE)


def test_while_nobody_reports_the_queue_none_are_taken_away() -> None:
    adviser, unseen = Adviser(7), load_of(dispatch_slots=0, in_flight=1.0)
    for second in range(0, 1000, 10):
        assert 7 == adviser.at(second, unseen)
    assert "no dispatcher reports the queue" in adviser.reason
    assert 12 == adviser.at(1000, load_of(dispatch_slots=0, in_flight=38.0))


def test_a_fleet_may_have_none_and_comes_back_with_the_first_request() -> None:
    adviser = Adviser(2, Fleet(min=0, max=3, slots=4, boot_s=30))
    adviser.at(0, IDLE)
    assert 0 == adviser.at(120, IDLE)
    assert 1 == adviser.at(130, load_of(0.01, queued=1))


@pytest.mark.parametrize(("lowest", "most", "expected"), [(2, 4, 4), (9, 12, 9)])
def test_bounds_that_changed_hold_at_once(lowest: int, most: int, expected: int) -> None:
    adviser = Adviser(6)
    adviser.at(0, load_of(in_flight=19))
    adviser.fleet = Fleet(min=lowest, max=most, slots=4, boot_s=150)
    assert expected == adviser.at(10, load_of(in_flight=19))
    assert expected == adviser.at(20, None)


# --- the sentence

SENTENCES: dict[str, tuple[int, dict[str, Any]]] = {
    "2 replicas: 41 requests a minute at 6.2 s each keep 4.2 slots busy, 18 wait (the oldest for 34 s); "
    "a replica has 4 slots, 1 is there.": (
        1,
        {"rate": 41 / 60, "service_s": 6.2, "queued": 18, "oldest_s": 34.2},
    ),
    "20 replicas, the most it may have though 52 are needed: 600 requests a minute at 6 s each keep 60 slots "
    "busy; a replica has 4 slots, 2 are there.": (2, {"rate": 10.0}),
    "3 replicas: synchronous calls keep 2.5 slots busy; a replica has 4 slots, and 1 will do once the load "
    "has been so low for 150 s.": (3, {"in_flight": 2.5}),
    "1 replica, the fewest it may have: nothing arrives and nothing waits; a replica has 4 slots.": (1, {}),
    "2 replicas: 30 requests a minute at an assumed 10 s each keep 5 slots busy, dispatchers run 3 at once "
    "and no more; a replica has 4 slots, and 1 will do once the load has been so low for 150 s.": (
        2,
        {"rate": 0.5, "service_s": 10.0, "assumed": True, "dispatch_slots": 3},
    ),
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_the_sentence_says_what_was_measured_and_what_follows(sentence: str) -> None:
    replicas, given_load = SENTENCES[sentence]
    adviser = Adviser(replicas)
    adviser.at(0, load_of(**given_load))
    assert sentence == adviser.reason


# --- whatever the load

FIGURES = st.floats(0, 1e9)
LOADS = st.builds(
    load_of,
    FIGURES,
    in_flight=FIGURES,
    service_s=FIGURES,
    queued=st.integers(0, 10**9),
    oldest_s=FIGURES,
    dispatch_slots=st.integers(0, 10**9),
    lane=st.sampled_from(["interactive", "batch"]),
)
FLEETS = st.builds(
    lambda low, more, slots, boot_s: Fleet(min=low, max=max(1, low + more), slots=slots, boot_s=boot_s),
    st.integers(0, 9),
    st.integers(0, 990),
    st.integers(1, 4096),
    st.floats(0, 3600),
)
GROWTH = st.floats(0, 100)


@given(st.lists(st.tuples(st.none() | LOADS, st.integers(0, 900)), max_size=8), FLEETS, st.integers(0, 2000))
def test_advice_is_always_within_the_bounds_and_a_whole_sentence(
    loads: list[tuple[Load | None, int]], fleet: Fleet, replicas: int
) -> None:
    adviser, second = Adviser(replicas, fleet), 0
    for load, pause in loads:
        second += pause
        assert fleet.min <= adviser.at(second, load) <= fleet.max
        assert adviser.reason.endswith(".")
        assert not {"nan", "inf"} & set(adviser.reason.replace(".", " ").split())


@given(LOADS, GROWTH, GROWTH, st.integers(0, 1000), FLEETS, st.integers(0, 50))
def test_more_load_never_takes_fewer(
    load: Load, more_rate: float, more_in_flight: float, more_queued: int, fleet: Fleet, replicas: int
) -> None:
    (lane,) = load.lanes
    more = load_of(
        lane.arrivals_per_s + more_rate,
        in_flight=load.in_flight + more_in_flight,
        dispatch_slots=load.dispatch_slots,
        lane=lane.lane,
        service_s=lane.service_s,
        queued=lane.queued + more_queued,
        oldest_s=lane.oldest_s,
    )
    assert asked_for(load, there(replicas, fleet), fleet) <= asked_for(more, there(replicas, fleet), fleet)
    assert enough_with(load, fleet) <= enough_with(more, fleet)


@given(st.lists(st.tuples(LOADS, st.integers(1, 200)), min_size=1, max_size=12), FLEETS)
def test_nothing_is_taken_away_within_the_hold_time_after_it_was_needed(
    loads: list[tuple[Load, int]], fleet: Fleet
) -> None:
    adviser, second, rose_at, before = Adviser(fleet=fleet), 0, 0, 1
    for load, pause in loads:
        second += pause
        wanted = adviser.at(second, load)
        assert wanted >= before or second - rose_at >= max(HOLD_S, fleet.boot_s)
        rose_at, before = (second if wanted > before else rose_at), wanted
