"""The sweep forgets what was kept for a time, however much of it there is."""

from dataclasses import replace
from datetime import timedelta

import pytest
from msgspec.structs import replace as changed

from services.adapters.memory.keyed_calls import MemoryKeyedCalls
from services.dispatcher.sweep import AT_ONCE, Sweep
from tests.contracts.test_keyed_calls import CALL
from tests.services.dispatcher.world import World
from tests.support.clock import now

pytestmark = pytest.mark.anyio


async def test_keys_and_results_whose_time_is_over_are_forgotten(world: World) -> None:
    calls, over, later = MemoryKeyedCalls(now), now() - timedelta(seconds=1), now() + timedelta(hours=1)
    for number in range(AT_ONCE + 1):
        await calls.create(changed(CALL, id=f"over{number}", expire_at=over))
    await calls.create(changed(CALL, id="kept", expire_at=later))
    await world.bodies.put("over", b"sealed", over)
    await world.bodies.put("kept", b"sealed", later)
    await Sweep(replace(world.ports("d1"), keyed_calls=calls)).run()

    assert ["kept"] == list(calls._calls)
    assert ["kept"] == list(world.bodies._bodies)
