"""A burst, a drain and a cold boot in virtual time: the advice follows, and never flaps."""

from collections.abc import Sequence
from itertools import pairwise

import pytest

from events.config import Fleet
from functions.autoscale.advice import DRAIN_S, hold_time_s
from functions.autoscale.measurement import LEVEL_S
from tests.support.fleet import Moment, Rate, Simulation

pytestmark = pytest.mark.anyio

FLEET = Fleet(min=1, max=8, slots=4, boot_s=120)
NOTICED_S = 30  # until the burst is seen for what it is
SLOW = pytest.mark.slow
SEEDS = pytest.mark.parametrize("seed", [0, pytest.param(1, marks=SLOW)])
TRICKLE = 0.02


def burst(rate: float, begin: int = 300, end: int = 900) -> Rate:
    return lambda second: rate if begin <= second < end else TRICKLE


def changes(moments: Sequence[Moment]) -> list[tuple[int, int]]:
    """When more (or fewer, below 0) replicas were wanted, and how many."""
    return [
        (later.second, later.wanted - earlier.wanted)
        for earlier, later in pairwise(moments)
        if later.wanted != earlier.wanted
    ]


def flaps(moments: Sequence[Moment], boot_s: float) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Changes of direction within the boot time."""
    return [
        (one, other)
        for one, other in pairwise(changes(moments))
        if one[1] * other[1] < 0 and other[0] - one[0] < boot_s
    ]


def drained_at(moments: Sequence[Moment]) -> int:
    """When nothing waited any more, after the most had waited."""
    longest = max(moments, key=lambda moment: moment.queued)
    return next(moment.second for moment in moments[longest.second :] if not moment.queued)


@SEEDS
async def test_a_burst_is_followed_its_queue_drained_in_time_and_all_is_as_before(seed: int) -> None:
    pool = Simulation(fleet=FLEET, rate=burst(2.0), seed=seed)
    moments = await pool.run(2400)
    wanted = {moment.second: moment.wanted for moment in moments}

    assert drained_at(moments) - 300 <= NOTICED_S + FLEET.boot_s + DRAIN_S["interactive"] + NOTICED_S
    assert 8 == max(wanted.values())
    assert {4, 5} >= {wanted[second] for second in range(750, 900)}  # 12 slots busy need 3.75 replicas
    assert 1 == wanted[int(900 + LEVEL_S["interactive"] + hold_time_s(FLEET) + 10)]
    assert {1} == {wanted[second] for second in range(1200, 2400)}
    assert [] == flaps(moments, FLEET.boot_s)


@SEEDS
async def test_a_queue_that_was_there_before_is_drained(seed: int) -> None:
    pool = Simulation(fleet=FLEET, rate=lambda second: 300.0 if second == 5 else TRICKLE, seed=seed)
    moments = await pool.run(1200)

    assert drained_at(moments) <= FLEET.boot_s + DRAIN_S["interactive"] + NOTICED_S
    assert 1 == moments[-1].wanted
    assert [] == flaps(moments, FLEET.boot_s)


@SEEDS
async def test_a_batch_has_more_time_and_takes_fewer(seed: int) -> None:
    pool = Simulation(fleet=FLEET, rate=lambda s: 300.0 if s == 5 else 0.0, seed=seed, lane="batch")
    moments = await pool.run(1800)

    assert max(moment.wanted for moment in moments) in (2, 3)
    assert drained_at(moments) <= FLEET.boot_s + DRAIN_S["batch"]


@SEEDS
async def test_a_cold_fleet_boots_with_the_first_request_and_ends_when_it_is_idle(seed: int) -> None:
    fleet = Fleet(min=0, max=4, slots=4, boot_s=120)
    pool = Simulation(fleet=fleet, rate=lambda second: 0.3 if 60 <= second < 600 else 0.0, there=0, seed=seed)
    moments = await pool.run(1200)

    assert {0} == {moment.wanted for moment in moments[:59]}
    first = next(moment.second for moment in moments if moment.queued)
    assert next(moment.second for moment in moments if moment.wanted) - first <= 10
    assert drained_at(moments) - first <= fleet.boot_s + DRAIN_S["interactive"] + NOTICED_S
    assert (0, 0) == (moments[-1].wanted, moments[-1].there)
    assert [] == flaps(moments, fleet.boot_s)


@SEEDS
@pytest.mark.parametrize("lateness", [pytest.param(0.7, marks=SLOW), 1.3])
async def test_replicas_that_boot_sooner_or_later_than_they_should_do_not_make_it_flap(
    lateness: float, seed: int
) -> None:
    pool = Simulation(fleet=FLEET, rate=burst(1.5), seed=seed, boots_in_s=lateness * FLEET.boot_s)
    moments = await pool.run(1800)

    late_s = max(0.0, lateness - 1) * FLEET.boot_s
    assert drained_at(moments) - 300 <= FLEET.boot_s + 2 * late_s + DRAIN_S["interactive"] + 2 * NOTICED_S
    assert 1 == moments[-1].wanted
    assert [] == flaps(moments, FLEET.boot_s)


@SEEDS
@pytest.mark.parametrize("rate", [pytest.param(0.3, marks=SLOW), 1.0, pytest.param(3.0, marks=SLOW)])
async def test_steady_load_is_served_by_a_fleet_that_hardly_changes(rate: float, seed: int) -> None:
    fleet = Fleet(min=1, max=20, slots=4, boot_s=120)
    moments = await Simulation(fleet=fleet, rate=lambda second: rate, seed=seed).run(3600)
    settled = moments[600:]
    busy = rate * 6 / fleet.slots

    assert [] == flaps(settled, fleet.boot_s)
    assert len(changes(settled)) <= 10
    assert busy < sum(moment.wanted for moment in settled) / len(settled) <= busy / 0.6 + 1
    assert sum(moment.queued for moment in settled) / len(settled) < 1


@SLOW
async def test_several_dispatchers_are_told_apart_and_may_restart() -> None:
    alone = await Simulation(fleet=FLEET, rate=burst(2.0)).run(1800)
    pool = Simulation(fleet=FLEET, rate=burst(2.0), dispatchers=3)
    moments = await pool.run(450)
    pool.restart()
    moments += await pool.run(150)
    pool.restart()
    moments += await pool.run(1200)

    assert abs(drained_at(alone) - drained_at(moments)) <= 2 * NOTICED_S
    assert alone[-1].wanted == moments[-1].wanted == 1
    assert [] == flaps(moments, FLEET.boot_s)


async def test_advice_nobody_follows_stays_within_its_bounds_and_is_steady() -> None:
    pool = Simulation(fleet=FLEET, rate=burst(2.0), obeyed=False)
    moments = await pool.run(900)

    assert {1} == {moment.there for moment in moments}
    assert {8} == {moment.wanted for moment in moments[600:]}
    assert all(change > 0 for _, change in changes(moments))


async def test_everything_that_is_told_is_within_the_bounds_and_says_why() -> None:
    pool = Simulation(fleet=FLEET, rate=burst(6.0))
    await pool.run(1800)

    assert all(FLEET.min <= told.wanted <= FLEET.max for told in pool.told)
    assert all(told.reason.startswith(str(told.wanted)) and told.reason.endswith(".") for told in pool.told)
    assert any("the most it may have" in told.reason for told in pool.told)
    told_at = [told for told in pool.told if told.wanted == 1]
    assert 2 < len(told_at)
