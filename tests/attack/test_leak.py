"""A process that serves keeps its size: requests leave nothing behind; a kilobyte each would be found.

What each leaves is the slope of a line through the samples (tests/attack/slope.py), behind a warm-up.
"""

import asyncio
import time
from itertools import count
from pathlib import Path

import pytest

from tests.attack.mixed import traffic
from tests.attack.site import Site, attacked, resident
from tests.attack.slope import slope
from tests.kill.test_mutants import Mutant, loses_its_leases, mutated, requests_end_once
from tests.support.command import penstock

pytestmark = [pytest.mark.anyio]

FLAGGED = 512.0  # bytes per request: half of what is planted
BETWEEN = 200  # requests from sample to sample
LEAK = Mutant(
    name="1 KB is kept of every request",
    file="services/front/connection.py",
    text="        self._unread = 0  # what it has not taken yet is measured anew\n",
    instead="        self._unread = 0\n        log.__dict__.setdefault('kept', []).append(bytearray(1024))\n",
    scenario=loses_its_leases,
    found_by=requests_end_once,
)


async def left_by_each(site: Site, *, warm_up: int, requests: int, at_least_s: float = 0.0) -> float:
    data = str(site.platform.data)
    told = await asyncio.to_thread(penstock, "tenants", "set", "default", "--cache", "on", "--data-dir", data)
    assert 0 == told.code, told.err
    numbers = count()
    await traffic(site, warm_up, numbers)
    samples, began, done = [], time.monotonic(), 0
    while done < requests or time.monotonic() - began < at_least_s:
        await traffic(site, BETWEEN if not at_least_s else 10 * BETWEEN, numbers)
        done += BETWEEN if not at_least_s else 10 * BETWEEN
        samples.append((done, resident(site.pid)))
    return slope(samples)


def test_a_line_is_found_in_spite_of_jumps() -> None:
    samples = [(n * 100, 5_000_000 + n * 100 * 7 + (900_000 if n % 10 == 3 else 0)) for n in range(50)]

    assert 6.5 < slope(samples) < 7.5


@pytest.mark.slow
async def test_requests_leave_nothing_behind(tmp_path: Path) -> None:
    async with attacked(tmp_path) as site:
        assert await left_by_each(site, warm_up=4_000, requests=6_000) < FLAGGED


@pytest.mark.slow
async def test_a_leak_of_a_kilobyte_is_found(tmp_path: Path) -> None:
    code = mutated(tmp_path / "code", LEAK)
    async with attacked(tmp_path, code) as site:
        assert await left_by_each(site, warm_up=1_000, requests=2_000) > FLAGGED


@pytest.mark.soak
async def test_an_hour_leaves_nothing_behind(tmp_path: Path) -> None:
    async with attacked(tmp_path) as site:
        assert await left_by_each(site, warm_up=20_000, requests=0, at_least_s=3_600) < FLAGGED / 10
