from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.keyed import StoredRuns
from tests.support.routing import Routed, routed
from tests.support.upstream import Upstream


@pytest.fixture
def keyed(tmp_path: Path) -> StoredRuns:
    return StoredRuns(folder=tmp_path)


@pytest.fixture
async def router(engine: Upstream, keyed: StoredRuns) -> AsyncIterator[Routed]:
    async with routed(engine.url, keyed=keyed) as made:
        yield made


@pytest.fixture
async def other(engine: Upstream, keyed: StoredRuns, router: Routed) -> AsyncIterator[Routed]:
    async with routed(engine.url, keyed=keyed) as made:
        await made.keys.makes(router.key)
        yield replace(made, key=router.key)
