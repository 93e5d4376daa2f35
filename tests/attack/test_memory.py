"""Under attack a process holds its budget and what it needs besides, and who asks politely is answered."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.attack.crowds import (
    churn,
    pipeline,
    send_large_bodies,
    send_large_heads,
    slow_heads,
    stalled_readers,
)
from tests.attack.site import CHAT, Site, attacked, chat, peak, resident

pytestmark = pytest.mark.anyio

MB = 2**20
BUDGET = 96 * MB
BESIDES = 64 * MB  # over what it had before: parsers, connections, one body more while it is put together
SPARE = 2 * BUDGET  # of streams: the allocator keeps the small pieces' room while they become large ones


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with attacked(tmp_path, MAX_HELD_BYTES=str(BUDGET), STALLED_CLIENT_TIMEOUT_S="5") as it:
        yield it


CI = pytest.param(1, marks=pytest.mark.slow, id="scaled")
SOAK = pytest.param(5, marks=pytest.mark.soak, id="full")


@pytest.mark.parametrize("scale", [CI, SOAK])
async def test_many_large_bodies_at_once(site: Site, scale: int) -> None:
    before = resident(site.pid)
    async with site.polite():
        became = await send_large_bodies(site, 60 * scale)

    assert {200, 503} >= became.keys()
    assert became[200] >= BUDGET // (11 * MB) // 2
    assert became[503]
    assert peak(site.pid) - before < BUDGET + BESIDES
    assert 200 == (await site.ask("POST", CHAT, chat())).status


@pytest.mark.parametrize("scale", [CI, SOAK])
async def test_many_readers_that_stall(site: Site, scale: int) -> None:
    before = resident(site.pid)
    async with stalled_readers(site, 100 * scale):
        await until_answered(site)  # they are cut off when they took nothing for long
        assert peak(site.pid) - before < BUDGET + BESIDES + SPARE


async def until_answered(site: Site) -> None:
    """Until who asks is answered: first there is no room, and so many streams at once keep us busy."""
    await asyncio.sleep(2)
    async with asyncio.timeout(120):
        while not await is_answered(site):
            await asyncio.sleep(0.2)


async def is_answered(site: Site) -> bool:
    try:
        return 200 == (await site.ask("POST", CHAT, chat())).status
    except TimeoutError:
        return False


@pytest.mark.parametrize("scale", [CI, SOAK])
async def test_crowds_of_small_offenders(site: Site, scale: int) -> None:
    before = resident(site.pid)
    async with site.polite(), slow_heads(site, 200 * scale):
        assert {431: 30 * scale} == await send_large_heads(site, 30 * scale)
        assert {16: 30 * scale} == await pipeline(site, 30 * scale)
        await churn(site, 600 * scale)

    assert {200} == {*site.statuses}
    assert peak(site.pid) - before < BESIDES


@pytest.mark.soak
async def test_an_hour_of_churn(site: Site) -> None:
    await churn(site, 5_000)
    before, began = resident(site.pid), time.monotonic()
    while time.monotonic() - began < 3_600:
        await churn(site, 5_000)
    assert resident(site.pid) - before < BESIDES / 4
