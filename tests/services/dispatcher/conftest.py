from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.services.dispatcher.world import World
from tests.services.dispatcher.world import world as world_of
from tests.support.upstream import Upstream, upstream


@pytest.fixture
async def engine() -> AsyncIterator[Upstream]:
    async with upstream() as made:
        yield made


@pytest.fixture
async def world(tmp_path: Path, engine: Upstream) -> AsyncIterator[World]:
    async with world_of(tmp_path, engine.url) as made:
        yield made


@pytest.fixture
async def quick(tmp_path: Path, engine: Upstream) -> AsyncIterator[World]:
    """What is told is journalled at once, and nobody looks whether a request was cancelled."""
    slow = {"cancel_check_s": 60.0, "heartbeat_s": 60.0, "lease_s": 120.0}
    async with world_of(tmp_path, engine.url, journal_every_s=0.001, **slow) as made:
        yield made
