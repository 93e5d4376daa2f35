from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.services.dispatcher import world as worlds
from tests.services.dispatcher.world import World
from tests.support.upstream import Upstream, upstream


@pytest.fixture
async def engine() -> AsyncIterator[Upstream]:
    async with upstream() as made:
        yield made


@pytest.fixture
async def world(tmp_path: Path, engine: Upstream) -> AsyncIterator[World]:
    async with worlds.world(tmp_path, engine.url) as made:
        yield made
