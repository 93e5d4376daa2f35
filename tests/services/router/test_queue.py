"""The queue behind the requests API: what was committed is never answered as if it had failed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from events.bus import Message
from events.requests import RequestDocument
from events.words import ApiKey
from functions.request.submission import Options
from services.router.queue import FIRST_LOOK_S
from tests.services.dispatcher import world as worlds
from tests.services.dispatcher.world import Said, World
from tests.support.clock import now
from tests.support.upstream import Upstream, answers, upstream, waits_for
from tests.support.wire import chat

pytestmark = pytest.mark.anyio

KEY = ApiKey(hash="h", id="key_1", tenant="acme", name="", created_at=now())
AT_ONCE_S = FIRST_LOOK_S * 0.9


@pytest.fixture
async def engine() -> AsyncIterator[Upstream]:
    async with upstream() as made:
        yield made


@pytest.fixture
async def world(tmp_path: Path, engine: Upstream) -> AsyncIterator[World]:
    async with worlds.world(tmp_path, engine.url) as made:
        yield made


async def cancelled(world: World, name: str) -> RequestDocument:
    document = await world.queue().cancel("acme", name)
    assert document is not None
    assert "cancelled" == document.state == (await world.document(name)).state
    return document


# --- a bus that is away


async def test_a_request_whose_bell_cannot_be_rung_is_taken_and_run(world: World) -> None:
    world.said.away = True
    taken = await world.queue().submit(KEY, chat(), Options(), "")
    assert isinstance(taken, RequestDocument)
    assert 1 == len((await world.document(taken.id)).owed)
    world.said.away = False
    await world.dispatch()

    assert "completed" == (await world.ends(taken.id)).state


async def test_a_bell_that_was_rung_is_owed_until_the_request_is_claimed(world: World) -> None:
    name = await world.submit()
    assert 1 == len(world.said.events("inference-routed-v1"))
    assert 1 == len((await world.document(name)).owed)


async def test_a_cancellation_that_cannot_be_told_takes_effect_and_is_told_later(world: World) -> None:
    name = await world.submit()
    world.said.away = True
    await cancelled(world, name)
    assert 1 == len((await world.document(name)).owed)
    world.said.away = False
    dispatcher = await world.dispatch()
    await world.sweep(dispatcher)

    assert () == (await world.document(name)).owed
    assert 1 == len(world.said.events("inference-completed-v1"))


class SweptMeanwhile(Said):
    """Between the publishing of an end and its being noted, the sweep has paid it as well."""

    world: World

    async def publish(self, messages: Sequence[Message]) -> None:
        self.messages += messages
        stored = await self.world.stored(messages[0].attributes["ce-subject"])
        await self.world.requests.replace(replace(stored.document, owed=()), stored.version)


async def test_a_cancellation_that_the_sweep_told_as_well_succeeds(world: World) -> None:
    name = await world.submit()
    world.said = said = SweptMeanwhile()
    said.world = world
    await cancelled(world, name)

    assert 1 == len(said.events("inference-completed-v1"))


# --- waiting


async def waiting(world: World, name: str, wait_s: float = 60) -> asyncio.Task[RequestDocument | None]:
    """Somebody who waits, and has found that the request has not ended."""
    before = world.requests.asked["get"]
    task = asyncio.create_task(world.queue().read("acme", name, wait_s))
    async with asyncio.timeout(10):
        while world.requests.asked["get"] == before:
            await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    return task


async def test_who_waits_hears_of_a_cancellation_at_once(world: World) -> None:
    name = await world.submit()
    reads = [await waiting(world, name) for _ in range(3)]
    asked = world.requests.asked["get"]
    async with asyncio.timeout(AT_ONCE_S):
        await cancelled(world, name)
        ends = await asyncio.gather(*reads)

    assert ["cancelled"] * 3 == [document.state for document in ends if document]
    assert asked + 1 + 3 == world.requests.asked["get"]
    assert 0 == world.waiters.count


async def test_who_waits_hears_of_an_answer_at_once(world: World, engine: Upstream) -> None:
    go = asyncio.Event()
    engine.will(waits_for(go, answers()))
    world.pace = worlds.replace(world.pace, cancel_check_s=60)
    name = await world.submit()
    await world.dispatch()
    await engine.call()
    read = await waiting(world, name)
    async with asyncio.timeout(AT_ONCE_S):
        go.set()
        document = await read

    assert document is not None
    assert "completed" == document.state


async def test_an_end_in_another_process_is_found_by_looking(world: World) -> None:
    name = await world.submit()
    read = await waiting(world, name)
    await world.change(name, state="cancelled")
    async with asyncio.timeout(10):
        document = await read

    assert document is not None
    assert "cancelled" == document.state


async def test_who_waits_asks_the_store_seldom(world: World) -> None:
    name = await world.submit()
    world.requests.asked.clear()
    document = await world.queue().read("acme", name, wait_s=0.3)

    assert document is not None
    assert ("routed", 2) == (document.state, world.requests.asked["get"])


async def test_who_leaves_asks_nothing_more(world: World) -> None:
    name = await world.submit()
    read = await waiting(world, name)
    assert 1 == world.waiters.count
    read.cancel()
    await asyncio.gather(read, return_exceptions=True)

    assert 0 == world.waiters.count


@pytest.mark.parametrize(("tenant", "name"), [("acme", "req_none"), ("umbrella", "")])
async def test_nobody_waits_for_what_is_not_theirs(world: World, tenant: str, name: str) -> None:
    mine = await world.submit()
    async with asyncio.timeout(AT_ONCE_S):
        assert await world.queue().read(tenant, name or mine, wait_s=60) is None
    assert 0 == world.waiters.count
