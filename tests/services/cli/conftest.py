from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio.to_thread
import pytest

from tests.support.command import Ended, penstock
from tests.support.platform import Running
from tests.support.rehearsing import rehearsing

Command = Callable[..., Awaitable[Ended]]


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Running]:
    """A platform in this process, found by commands through its data folder."""
    async with rehearsing(tmp_path) as made:
        yield made


@pytest.fixture
def command(platform: Running) -> Command:
    """Runs `penstock ...` against the platform, while the platform goes on in this process."""

    async def run(*arguments: str, given: bytes = b"", **variables: str) -> Ended:
        where = ("--data-dir", str(platform.folder))
        return await anyio.to_thread.run_sync(partial(penstock, *arguments, *where, given=given, **variables))

    return run
