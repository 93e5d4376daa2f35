from collections.abc import AsyncIterator

import pytest

from services.pool.replica import Replica
from tests.support.upstream import Upstream, upstream


@pytest.fixture
async def engine() -> AsyncIterator[Upstream]:
    async with upstream() as made:
        yield made


@pytest.fixture
async def replica(engine: Upstream) -> AsyncIterator[Replica]:
    made = Replica(engine.url)
    yield made
    made.close()
