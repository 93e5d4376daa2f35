"""When all is answered nothing is left of it: no exchange, no attempt, no connection, no task."""

import asyncio
import gc
from collections import Counter
from itertools import count
from pathlib import Path
from typing import cast

import pytest

from services.front.connection import Connection
from services.pool.flight import Flight
from services.router.attempt import Attempt
from services.router.exchange import Exchange
from tests.attack.mixed import traffic
from tests.attack.site import Site
from tests.kill.rig.processes import Platform
from tests.support.platform import eventually
from tests.support.rehearsing import rehearsing

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

KINDS = (Connection, Exchange, Attempt, Flight)


def alive() -> Counter[str]:
    gc.collect()
    found = Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, KINDS))
    found["task"] = len(asyncio.all_tasks())
    return found


async def test_ten_thousand_requests_leave_no_object_behind(tmp_path: Path) -> None:
    async with rehearsing(tmp_path) as platform:
        site, numbers = Site(platform=cast(Platform, platform)), count()
        await traffic(site, 500, numbers)
        await asyncio.sleep(1)
        before = alive()
        await traffic(site, 10_000, numbers)

        async def are_gone() -> bool:
            now = alive()
            return all(now[name] <= before[name] + 4 for name in now)  # housekeeping comes and goes

        await eventually(are_gone)
        assert 0 == alive()["Exchange"] == alive()["Flight"]
