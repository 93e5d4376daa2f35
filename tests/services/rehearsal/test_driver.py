"""The driver keeps a schedule's times, on both event loops there are."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from services.rehearsal.driver import Driver
from services.rehearsal.schedule.paced import PacedSchedule
from services.rehearsal.schedule.slots import Sequence, Slots

pytestmark = pytest.mark.anyio

PACE_S = 0.004


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


class Watched(Sequence):
    """Calls back when it is moved; a future tells when it has all it wants."""

    __slots__ = ("_then", "done")

    def __init__(self, goal: int, then: Callable[[], None] = lambda: None) -> None:
        super().__init__(goal=goal)
        self._then = then
        self.done = asyncio.get_running_loop().create_future()

    def moved(self) -> None:
        self._then()
        if self.produced == self.goal and not self.done.done():
            self.done.set_result(asyncio.get_running_loop().time())


def driver(pace_s: float = PACE_S, slots: int | None = None) -> Driver:
    return Driver(PacedSchedule(pace_s, Slots(slots)))


async def test_tokens_come_at_their_pace_and_lateness_does_not_add_up() -> None:
    moving = driver()
    began = asyncio.get_running_loop().time()
    sequence = Watched(goal=50)
    moving.join(sequence)
    took = await sequence.done - began
    assert 50 * PACE_S <= took + 0.001
    assert took < 50 * PACE_S * 3


async def test_many_join_at_any_time() -> None:
    moving = driver()
    sequences = []
    for _ in range(60):
        sequences.append(Watched(goal=5))
        moving.join(sequences[-1])
        await asyncio.sleep(0.0005)
    await asyncio.gather(*(sequence.done for sequence in sequences))
    assert {5} == {sequence.produced for sequence in sequences}


async def test_without_delays_all_is_done_on_return() -> None:
    moving = driver(pace_s=0.0)
    sequence = Watched(goal=500)
    moving.join(sequence)
    assert 500 == sequence.produced


async def test_who_is_told_may_join_extend_and_leave() -> None:
    moving = driver(pace_s=0.0, slots=1)
    following = Watched(goal=1)

    def told() -> None:
        if first.goal == 1:
            moving.join(following)
            moving.extend(first, 2)
        else:
            moving.leave(first)

    first = Watched(goal=1, then=told)
    moving.join(first)
    assert (2, 1) == (first.produced, following.produced)
    assert [following] == list(moving.slots.running)


async def test_who_leaves_is_not_told_any_more() -> None:
    moving = driver()
    sequence = Watched(goal=100)
    moving.join(sequence)
    await asyncio.sleep(3 * PACE_S)
    moving.leave(sequence)
    produced = sequence.produced
    await asyncio.sleep(3 * PACE_S)
    assert produced == sequence.produced < 100


async def test_a_sequence_that_fails_stops_no_other() -> None:
    moving, told = driver(), []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(str(context["exception"])))

    def fail() -> None:
        raise RuntimeError("no room on the disk")

    other = Watched(goal=5)
    moving.join(other)
    moving.join(Watched(goal=1, then=fail))  # last: a join does what is due, and would meet the failure
    await other.done
    loop.set_exception_handler(None)
    assert ["no room on the disk"] == told


async def test_who_takes_long_when_told_makes_others_late_and_no_more() -> None:
    moving = driver()
    slow = Watched(goal=5, then=lambda: time.sleep(2 * PACE_S))
    sequences = [slow, Watched(goal=5), Watched(goal=5)]
    moving.join(slow)
    # They join when the slow one has just been told, and its next step is already in the past.
    for sequence in sequences[1:]:
        asyncio.get_running_loop().call_later(1.5 * PACE_S, moving.join, sequence)
    await asyncio.gather(*(sequence.done for sequence in sequences))
    assert [5] * 3 == [sequence.produced for sequence in sequences]


async def test_after_the_close_nothing_moves() -> None:
    moving = driver()
    sequence = Watched(goal=5)
    moving.join(sequence)
    moving.close()
    await asyncio.sleep(3 * PACE_S)
    assert 0 == sequence.produced
