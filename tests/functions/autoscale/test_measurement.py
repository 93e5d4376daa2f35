"""Reports become a load, however late, often, wrong or from whomever they come."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.fleet import LaneLoad, Load
from functions.autoscale.measurement import (
    ASSUMED_S,
    SILENT_S,
    STEEPEST,
    Measured,
    Window,
    hear_dispatcher,
    hear_router,
)
from functions.autoscale.measurement import load as load_of
from tests.functions.autoscale.reports import NOON, SECOND, calls, pressure


class World:
    """What is measured, and reports that add to it."""

    def __init__(self) -> None:
        self.measured = Measured()

    def dispatcher(self, second: float, producer: str = "d1", **said: Any) -> bool:
        """A report of the window that ends then; whether it said something new."""
        report = pressure(producer, **said)
        window = Window(producer=producer, at=NOON + second * SECOND, length_s=report.window_s)
        (part,) = report.backends
        return self._hear(hear_dispatcher(self.measured, part, window, slots=report.slots, replica_slots=4))

    def router(self, second: float, producer: str = "r1", *in_flight: float) -> bool:
        """The same of a router."""
        report = calls(producer, *in_flight)
        window = Window(producer=producer, at=NOON + second * SECOND, length_s=report.window_s)
        return self._hear(hear_router(self.measured, report.backends[0], window))

    def _hear(self, measured: Measured | None) -> bool:
        self.measured = self.measured if measured is None else measured
        return measured is not None

    def load(self, second: float, ahead_s: float = 150) -> Load:
        found = load_of(self.measured, NOON + second * SECOND, ahead_s)
        assert found is not None
        return found

    def lane(self, second: float, ahead_s: float = 150) -> LaneLoad:
        """The interactive one."""
        return next(lane for lane in self.load(second, ahead_s).lanes if lane.lane == "interactive")


@pytest.fixture
def world() -> World:
    return World()


def steadily(world: World, seconds: int, begin: int = 0, producer: str = "d1", **said: Any) -> None:
    """The same report every ten seconds."""
    for second in range(begin + 10, begin + seconds + 1, 10):
        world.dispatcher(second, producer, **said)


# --- rates


def test_a_rate_is_what_arrived_in_the_last_minute(world: World) -> None:
    steadily(world, 300, arrived=20)
    steadily(world, 60, begin=300, arrived=7)
    assert 0.7 == pytest.approx(world.lane(360).arrivals_per_s)


def test_a_batch_is_no_flood_because_it_comes_at_once(world: World) -> None:
    world.dispatcher(10, lane="batch", arrived=600)
    steadily(world, 300, begin=10, lane="batch")
    (batch,) = (lane for lane in world.load(310).lanes if lane.lane == "batch")
    assert 1.0 == pytest.approx(batch.arrivals_per_s) == pytest.approx(batch.ahead_per_s)


@pytest.mark.parametrize("window_s", [1e-9, 0.5, 10, 0, -1])
def test_the_first_report_is_not_taken_for_a_burst_or_a_rise(world: World, window_s: float) -> None:
    world.dispatcher(10, arrived=20, window_s=window_s)
    lane = world.lane(10)
    assert 20 / 60 == pytest.approx(lane.arrivals_per_s) == pytest.approx(lane.ahead_per_s)


def test_what_a_long_window_counted_is_spread_over_it(world: World) -> None:
    steadily(world, 60, arrived=10)
    world.dispatcher(180, arrived=120, window_s=120)
    assert 1.0 == pytest.approx(world.lane(180).arrivals_per_s)


def test_windows_need_not_begin_on_the_tens(world: World) -> None:
    for number in range(40):
        world.dispatcher(3.7 + number * 9.3, arrived=9, window_s=9.3)
    assert 9 / 9.3 == pytest.approx(world.lane(3.7 + 39 * 9.3).arrivals_per_s)


def test_dispatchers_are_added_up_but_the_queue_is_one(world: World) -> None:
    for second in range(10, 100, 10):
        world.dispatcher(second, "d1", arrived=10, running=3.5, queued=40, oldest_s=7, slots=16)
        world.dispatcher(second + 1, "d2", arrived=10, running=2.5, queued=42, oldest_s=8, slots=8)
    lane = world.lane(91)

    assert 2.0 == pytest.approx(lane.arrivals_per_s, rel=0.02)
    assert (6.0, 42, 8) == (lane.running, lane.queued, lane.oldest_s)
    assert 24 == world.load(91).dispatch_slots


def test_synchronous_calls_of_all_routers_and_replicas_are_added_up(world: World) -> None:
    for second in range(10, 130, 10):
        world.router(second, "r1", 1.5, 2.5)
        world.router(second, "r2", 1.0, 0.0)
    assert 5.0 == pytest.approx(world.load(120).in_flight)
    assert 2 == world.measured.replicas


def test_a_router_that_says_nothing_has_no_calls(world: World) -> None:
    for second in range(10, 130, 10):
        world.dispatcher(second)
        if second <= 60:
            world.router(second, "r1", 6.0)
    assert 0.0 == world.load(120).in_flight


# --- rises


def test_a_rise_is_thought_to_go_on(world: World) -> None:
    for second in range(10, 310, 10):
        world.dispatcher(second, arrived=second)
    lane = world.lane(300, ahead_s=120)

    assert lane.arrivals_per_s < lane.ahead_per_s <= STEEPEST * lane.arrivals_per_s
    assert lane.arrivals_per_s < world.lane(300, ahead_s=60).ahead_per_s < lane.ahead_per_s
    assert lane.arrivals_per_s == world.lane(300, ahead_s=0).ahead_per_s


def test_synchronous_calls_that_rise_are_thought_to_go_on(world: World) -> None:
    for second in range(10, 130, 10):
        world.router(second, "r1", 2.0 if second <= 90 else 20.0)
    load = world.load(120)
    assert 20.0 == pytest.approx(load.in_flight)
    assert 40.0 == pytest.approx(load.in_flight_ahead)


@pytest.mark.parametrize("later", [4, 5, 6])
def test_a_rise_that_chance_explains_is_none(world: World, later: int) -> None:
    steadily(world, 120, arrived=4)
    steadily(world, 60, begin=120, arrived=later)
    lane = world.lane(180)
    assert lane.arrivals_per_s == lane.ahead_per_s


def test_a_fall_is_not_thought_to_go_on(world: World) -> None:
    steadily(world, 120, arrived=40)
    steadily(world, 60, begin=120, arrived=10)
    lane = world.lane(180)
    assert 1.0 == pytest.approx(lane.arrivals_per_s)
    assert lane.arrivals_per_s == lane.ahead_per_s


# --- how long an attempt takes


def test_while_nobody_knows_how_long_an_attempt_takes_it_is_assumed(world: World) -> None:
    world.dispatcher(10, arrived=3, queued=3)
    lane = world.lane(10)
    assert (ASSUMED_S, True) == (lane.service_s, lane.assumed)


def test_attempts_take_what_they_took_lately(world: World) -> None:
    steadily(world, 60, finished=10, service_s=4)
    assert (4.0, False) == (world.lane(60).service_s, world.lane(60).assumed)
    steadily(world, 200, begin=60, finished=10, service_s=9)
    assert 9.0 == pytest.approx(world.lane(260).service_s, rel=0.05)
    steadily(world, 600, begin=260)
    assert 9.0 == pytest.approx(world.lane(860).service_s, rel=0.05)  # it is remembered while nothing ends


def test_one_lane_knows_from_the_other(world: World) -> None:
    world.dispatcher(10, lane="batch", finished=10, service_s=4)
    assert (4.0, False) == (world.lane(10).service_s, world.lane(10).assumed)


def test_the_time_attempts_take_turns_in_a_full_engine_is_no_service(world: World) -> None:
    steadily(world, 60, finished=10, service_s=24, running=16, replicas=1)  # a replica has 4 slots
    assert 6.0 == pytest.approx(world.lane(60).service_s)


# --- who reports


def test_a_report_counts_once_however_often_it_comes(world: World) -> None:
    assert world.dispatcher(10, arrived=20)
    assert not world.dispatcher(10, arrived=20)
    assert world.router(10, "r1", 3.0)
    assert not world.router(10, "r1", 3.0)
    assert (20, 30) == pytest.approx((60 * world.lane(10).arrivals_per_s, 30 * world.load(10).in_flight))


def test_reports_may_overtake_each_other(world: World) -> None:
    calm = World()
    for second in (10, 20, 30, 40, 50, 60):
        calm.dispatcher(second, f"d{second}", arrived=second)
    for second in (40, 10, 60, 50, 30):
        world.dispatcher(second, f"d{second}", arrived=second)
    world.dispatcher(30, "d30", arrived=30)
    assert not world.dispatcher(20, "d60", arrived=500)  # older than what is known of that one
    world.dispatcher(30 + 1e-6, "d20", arrived=0)

    assert calm.measured.replicas == world.measured.replicas
    expected = calm.lane(60).arrivals_per_s - 20 / 60
    assert expected * 60 == pytest.approx(world.lane(60).arrivals_per_s * 60)


def test_a_report_of_a_process_that_must_be_gone_says_nothing(world: World) -> None:
    world.dispatcher(100, "d1", queued=5)
    assert not world.dispatcher(100 - SILENT_S - 1, "d2", queued=900, arrived=900)
    assert 5 == world.lane(100).queued


def test_a_dispatcher_that_fell_silent_is_forgotten(world: World) -> None:
    world.dispatcher(10, "d1", running=9, slots=16, queued=7)
    for second in range(10, 60, 10):
        world.dispatcher(second + 1, "d2", running=1, slots=8, queued=3)
    lane = world.lane(51)
    assert (1.0, 3, 8) == (lane.running, lane.queued, world.load(51).dispatch_slots)
    assert ["d2"] == list(world.measured.dispatchers)


def test_a_restarted_dispatcher_goes_on_where_the_one_before_ended(world: World) -> None:
    steadily(world, 100, arrived=10, slots=16)
    steadily(world, 100, begin=101, producer="d2", arrived=10, slots=16)
    assert 1.0 == pytest.approx(world.lane(201).arrivals_per_s, rel=0.02)
    assert 16 == world.load(201).dispatch_slots
    assert NOON + 10 * SECOND == world.measured.queue_since


def test_where_nobody_reports_nothing_is_known(world: World) -> None:
    assert load_of(world.measured, NOON, 150) is None
    world.dispatcher(10)
    assert load_of(world.measured, NOON + (10 + SILENT_S) * SECOND, 150) is not None
    assert load_of(world.measured, NOON + (11 + SILENT_S) * SECOND, 150) is None


def test_after_a_silence_measuring_begins_anew(world: World) -> None:
    steadily(world, 60, arrived=10)
    world.dispatcher(200, arrived=40)
    assert NOON + 190 * SECOND == world.measured.since
    assert NOON + 200 * SECOND == world.measured.queue_since
    assert world.lane(200).arrivals_per_s == world.lane(200).ahead_per_s


def test_only_dispatchers_see_the_queue(world: World) -> None:
    world.router(10, "r1", 2.0)
    assert world.measured.queue_since is None
    world.dispatcher(20)
    assert NOON + 20 * SECOND == world.measured.queue_since
    for second in range(30, 130, 10):
        world.router(second, "r1", 2.0)
    world.dispatcher(130)
    assert NOON + 130 * SECOND == world.measured.queue_since
    assert NOON == world.measured.since


# --- whatever is said

ODD = st.sampled_from([0, -1, math.nan, math.inf, -math.inf, 1e308, 0.5, 3, 10**18])
ODD_WHOLE = st.sampled_from([0, -1, 1, 3, 10**18, -(10**18)])
SECONDS = st.integers(0, 400) | st.floats(0, 400)


@st.composite
def reports(draw: st.DrawFn) -> tuple[float, str, dict[str, Any]]:
    lane = st.fixed_dictionaries(
        {
            "lane": st.sampled_from(["interactive", "batch"]),
            "queued": ODD_WHOLE,
            "oldest_s": ODD,
            "running": ODD,
            "arrived": ODD_WHOLE,
            "finished": ODD_WHOLE,
            "service_s": ODD,
            "window_s": ODD,
            "slots": ODD_WHOLE,
            "replicas": ODD_WHOLE,
        }
    )
    return draw(SECONDS), draw(st.sampled_from(["d1", "d2", "d3"])), draw(lane)


@given(st.lists(reports(), max_size=20), SECONDS, st.sampled_from([0, 150, 3600]))
def test_whatever_is_reported_the_load_is_finite_and_can_be_stored(
    said: list[tuple[float, str, dict[str, Any]]], second: float, ahead_s: float
) -> None:
    world = World()
    for at, producer, report in said:
        world.dispatcher(at, producer, **report)
        world.router(at, producer, *(report[name] for name in ("running", "oldest_s")))
    found = load_of(world.measured, NOON + second * SECOND, ahead_s)
    figures = [found.in_flight, found.in_flight_ahead] if found else []
    for lane in found.lanes if found else ():
        figures += [lane.arrivals_per_s, lane.ahead_per_s, lane.service_s, lane.queued, lane.running]

    assert all(math.isfinite(figure) and figure >= 0 for figure in figures)
    stored = msgspec.json.encode(world.measured)
    assert world.measured == msgspec.json.decode(stored, type=Measured)
    assert len(stored) < 12_000
