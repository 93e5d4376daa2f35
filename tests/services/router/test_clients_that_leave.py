"""A client that leaves, in every phase: its engine stops at once, and what it cost is written down."""

from collections.abc import Callable

import pytest

from tests.support import wire
from tests.support.client import Client
from tests.support.platform import CHAT, Running, eventually
from tests.support.upstream import Script, Upstream, begins, hangs, never_ends, says
from tests.support.wire import chat, completion, delta, usage

pytestmark = pytest.mark.anyio

PHASES: dict[str, tuple[bool, Script]] = {
    "waiting": (False, hangs),
    "waiting for a stream": (True, hangs),
    "in the head": (True, says(b"HTTP/1.1 200 OK\r\n", then=hangs)),
    "in an answer": (False, says(wire.response(completion())[:-5], then=hangs)),
    "before the first event": (True, begins()),
    "between events": (True, begins(delta("a"), delta("b"))),
    "in an event": (True, begins(delta("a"), delta("b")[:9])),
    "in a flood": (True, never_ends(delta("a"))),
}


async def asked(platform: Running, engine: Upstream, client: Client, *, stream: bool) -> None:
    """Sends a request and waits until its engine has done what it does."""
    await client.send(wire.request("POST", CHAT, chat("x" * 40, stream=stream), platform.keyed()))
    await engine.call()


@pytest.mark.parametrize("leave", [Client.close, Client.reset, Client.half_close])
@pytest.mark.parametrize(("stream", "script"), PHASES.values(), ids=PHASES)
async def test_the_engine_stops_at_once_and_the_record_says_why(
    platform: Running, engine: Upstream, script: Script, stream: bool, leave: Callable[[Client], None]
) -> None:
    engine.will(script)
    async with platform.watching() as watch:
        async with platform.connected() as client:
            await asked(platform, engine, client, stream=stream)
            started = await watch.record("started")
            leave(client)
            await engine.calls[0].left()
        completed = await watch.record("completed")

    assert "client_gone" == completed["outcome"]
    assert started["attempt"] == completed["attempt"]
    assert completed["billed"]


async def test_what_was_heard_until_then_is_billed_as_an_estimate(
    platform: Running, engine: Upstream
) -> None:
    engine.will(begins(delta(""), delta("a"), delta("b")))
    async with platform.connected() as client:
        await asked(platform, engine, client, stream=True)
        await client.head()
        while b'"b"' not in await client.chunk():
            pass
        client.reset()

    row = await platform.usage()
    assert (10, 2, 12) == tuple(row[name] for name in ("input_tokens", "output_tokens", "estimated_tokens"))


async def test_usage_an_engine_told_before_is_billed_exactly(platform: Running, engine: Upstream) -> None:
    engine.will(begins(delta("a", usage=usage(7, 1)), delta("b", usage=usage(7, 2))))
    async with platform.connected() as client:
        await asked(platform, engine, client, stream=True)
        await client.head()
        while b'"b"' not in await client.chunk():
            pass
        client.reset()

    row = await platform.usage()
    assert (7, 2, 0) == tuple(row[name] for name in ("input_tokens", "output_tokens", "estimated_tokens"))


async def test_a_client_that_leaves_before_its_engine_is_reached_costs_nothing(
    platform: Running, engine: Upstream
) -> None:
    await engine.refuse()
    async with platform.connected() as client:
        await client.send(wire.request("POST", CHAT, chat(), platform.keyed()))
        client.reset()
    await engine.listen()
    await platform.chat()

    assert 1 == (await platform.usage())["requests"]


async def test_clients_that_leave_leave_nothing_behind(platform: Running, engine: Upstream) -> None:
    engine.always = begins(delta("a"))
    for number in range(20):
        async with platform.connected() as client:
            await client.send(wire.request("POST", CHAT, chat(stream=True), platform.keyed()))
            if number % 2:
                await client.head()
            client.reset()

    async def gone() -> bool:
        return engine.connections == 0

    await eventually(gone)
