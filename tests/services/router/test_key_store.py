"""The store of keys on the hot path: asked once for a key, and never a reason to let somebody wait."""

import asyncio
from collections.abc import Callable

import pytest

from services.router.credentials import mint
from tests.services.router.refusing import refusal
from tests.support.client import Client, connected
from tests.support.platform import eventually
from tests.support.routing import routed
from tests.support.upstream import Upstream
from tests.support.wire import chat

pytestmark = pytest.mark.anyio


async def test_a_key_is_read_once_for_all_calls_with_it(engine: Upstream) -> None:
    async with routed(engine.url) as it:
        answers = await asyncio.gather(*(it.call(chat()) for _ in range(20)))
        await it.call(chat())

        assert {200} == {answer.status for answer in answers}
        assert 1 == it.keys.reads


async def test_a_store_that_is_away_is_told_as_such(engine: Upstream) -> None:
    async with routed(engine.url) as it:
        it.keys.away = True
        refusal(await it.call(chat()), 503, "keys_unavailable")
        it.keys.away = False

        assert 200 == (await it.call(chat())).status


async def test_nobody_is_left_waiting_where_a_key_cannot_be_made_out(engine: Upstream) -> None:
    async with routed(engine.url) as it:
        it.keys.odd = True
        refusal(await it.call(chat()), 500, "internal_error")
        it.keys.odd = False

        assert 200 == (await it.call(chat())).status


async def test_a_key_that_is_known_needs_no_store(engine: Upstream) -> None:
    async with routed(engine.url) as it:
        await it.call(chat())
        it.keys.away = True

        assert 200 == (await it.call(chat())).status


async def test_what_cannot_be_a_key_needs_no_store_either(engine: Upstream) -> None:
    async with routed(engine.url) as it, connected(it.port) as client:
        it.keys.away = True
        await client.send(it.request(chat()).replace(it.key.encode(), mint("pak_").encode()))

        refusal(await client.response(), 401, "invalid_api_key")


@pytest.mark.parametrize("leave", [Client.close, Client.reset])
async def test_a_client_that_leaves_while_its_key_is_read_costs_no_attempt(
    engine: Upstream, leave: Callable[[Client], None]
) -> None:
    async with routed(engine.url) as it:
        it.keys.door.clear()
        async with connected(it.port) as client:
            await client.send(it.request(chat()))

            async def asked() -> bool:
                return it.keys.reads > 0

            await eventually(asked)
            leave(client)
            await asyncio.sleep(0.02)
        it.keys.door.set()
        assert 200 == (await it.call(chat())).status

    assert 1 == len(engine.calls)
