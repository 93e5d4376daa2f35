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


@pytest.fixture(scope="module")
async def shared_engine() -> AsyncIterator[Upstream]:
    async with upstream() as made:
        yield made


@pytest.fixture(scope="module")
async def shared_platform(
    tmp_path_factory: pytest.TempPathFactory, shared_engine: Upstream
) -> AsyncIterator[Running]:
    """The same for all tests of a module, where none leaves anything the next could see."""
    folder = tmp_path_factory.mktemp("platform")
    async with running(folder, config=config_file(folder, shared_engine.url)) as made:
        yield made
