"""Long-running tasks: whether all of them run is never a secret."""

import asyncio

import pytest

from services.embedded.workers import Workers

pytestmark = pytest.mark.anyio


async def works() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise RuntimeError("a bug")


async def returns() -> None:
    pass


async def test_nothing_is_missing_while_all_work(caplog: pytest.LogCaptureFixture) -> None:
    workers = Workers()
    workers.start(works(), "a")
    workers.start(works(), "b")
    await asyncio.sleep(0)
    assert await workers.missing() is None
    await workers.stop()

    assert await workers.missing() is None
    assert [] == caplog.records


async def test_who_fails_or_returns_is_missed_and_told_of(caplog: pytest.LogCaptureFixture) -> None:
    workers = Workers()
    workers.start(fails(), "a")
    workers.start(works(), "b")
    workers.start(returns(), "c")
    await asyncio.sleep(0.01)

    assert "a, c stopped" == await workers.missing()
    assert ["a stopped: a bug", "c stopped: it returned"] == [record.message for record in caplog.records]
    await workers.stop()
