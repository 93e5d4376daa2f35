from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.platform import Running, config_file, running
from tests.support.upstream import Upstream, upstream


@pytest.fixture
async def engine() -> AsyncIterator[Upstream]:
    async with upstream() as made:
        yield made


@pytest.fixture
async def platform(tmp_path: Path, engine: Upstream) -> AsyncIterator[Running]:
    """A whole platform whose one model is served by the programmable engine."""
    async with running(tmp_path, config=config_file(tmp_path, engine.url)) as made:
        yield made
