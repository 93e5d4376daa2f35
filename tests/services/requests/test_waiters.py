"""Who waits for the end of a request hears of it, and leaves nothing behind."""

import asyncio

import pytest

from services.requests.waiters import Waiters

pytestmark = pytest.mark.anyio


async def test_a_ring_wakes_all_who_wait_for_that_request() -> None:
    waiters = Waiters()
    with waiters.waiting("r1") as first, waiters.waiting("r1") as second, waiters.waiting("r2") as other:
        waiters.ring("r1")
        async with asyncio.timeout(5):
            await first.wait()
            await second.wait()
        assert not other.is_set()


async def test_a_ring_for_nobody_does_no_harm() -> None:
    waiters = Waiters()
    waiters.ring("r1")
    with waiters.waiting("r1") as rung:
        assert not rung.is_set()


async def test_who_left_is_forgotten() -> None:
    waiters = Waiters()
    with waiters.waiting("r1"):
        with waiters.waiting("r1"):
            assert 2 == waiters.count
        assert 1 == waiters.count
    assert 0 == waiters.count
