"""Clients that leave, that read slowly or not at all, and a server that stops under them."""

import asyncio
from collections.abc import Callable

import pytest

from services.front.call import Call, Reply
from services.wire.fields import JSON
from tests.services.front.serving import Held, Serving, echo, serving
from tests.support.client import PATIENCE_S, Client, connected
from tests.support.wire import request

pytestmark = pytest.mark.anyio

BIG = b"x" * 8 * 2**20  # more than sockets buffer
SMALL_BUFFER = 65_536


@pytest.mark.parametrize("leave", [Client.close, Client.reset, Client.half_close])
async def test_whoever_answers_hears_that_the_client_left(leave: Callable[[Client], None]) -> None:
    held = Held()
    async with serving(held) as it, connected(it.port) as client:
        await client.send(request("GET", "/"))
        await held.reply()
        leave(client)

        await held.hears("gone")
        await it.all_left()


async def test_what_is_written_to_a_client_that_left_is_dropped() -> None:
    held = Held()
    async with serving(held) as it, connected(it.port) as client:
        await client.send(request("POST", "/", b"body"))
        reply = await held.reply()
        client.reset()
        await held.hears("gone")
        reply.start(200, JSON)
        reply.write(b"late")
        reply.finish()

        assert 0 == it.budget.used
        assert ["gone"] == held.heard


async def test_requests_in_line_behind_a_client_that_left_are_never_begun() -> None:
    held = Held()
    async with serving(held) as it, connected(it.port) as client:
        await client.send(request("GET", "/") * 3)
        await held.reply()
        client.reset()
        await held.hears("gone")
        await it.all_left()

    assert 1 == len(held.calls)


async def test_a_reply_broken_off_is_never_mistaken_for_a_whole_one() -> None:
    held = Held()
    async with serving(held) as it, connected(it.port) as client:
        await client.send(request("GET", "/"))
        reply = await held.reply()
        reply.start(200, JSON)
        reply.write(b"half")
        await asyncio.sleep(0.01)
        reply.abort()
        await client.head()

        assert not (await rest(client)).endswith(b"0\r\n\r\n")


async def rest(client: Client) -> bytes:
    try:
        return await client.rest()
    except ConnectionResetError:
        return b""


async def test_a_client_that_reads_slowly_pauses_the_answer_until_it_caught_up() -> None:
    held = Held()
    async with serving(held) as it, connected(it.port, receive_buffer=SMALL_BUFFER) as client:
        await client.send(request("GET", "/"))
        reply = await held.reply()
        reply.start(200, JSON)
        reply.write(BIG)
        await held.hears("paused")
        reply.finish()
        answer = await client.response()

    assert len(BIG) == len(answer.body)


async def test_an_answer_goes_on_once_the_client_caught_up() -> None:
    held = Held()
    async with serving(held) as it, connected(it.port, receive_buffer=SMALL_BUFFER) as client:
        await client.send(request("GET", "/"))
        reply = await held.reply()
        reply.start(200, JSON)
        reply.write(BIG)
        await held.hears("paused")
        await client.head()
        await client.chunk()
        await held.hears("resumed")

    assert ["paused", "resumed"] == held.heard[:2]


async def test_a_client_that_does_not_read_gets_no_further_request_begun() -> None:
    begun: list[Call] = []

    def big(call: Call, reply: Reply) -> None:
        begun.append(call)
        reply.send(200, JSON, BIG)

    async with serving(big) as it, connected(it.port, receive_buffer=SMALL_BUFFER) as client:
        await client.send(request("GET", "/") * 2)
        await asyncio.sleep(0.05)
        assert 1 == len(begun)
        for _ in range(2):
            assert len(BIG) == len((await client.response()).body)

    assert 2 == len(begun)


class EndsOnceCaughtUp:
    """Answers with more than its client takes, and ends the moment it hears of room again."""

    def __init__(self, call: Call, reply: Reply) -> None:
        self.reply = reply
        reply.listener = self
        reply.start(200, JSON)
        reply.write(BIG)

    def client_gone(self) -> None: ...

    def client_paused(self) -> None: ...

    def client_resumed(self) -> None:
        self.reply.write(b"end")
        self.reply.finish()


async def test_a_reply_may_end_its_connection_the_moment_the_client_caught_up() -> None:
    async with serving(EndsOnceCaughtUp) as it, connected(it.port, receive_buffer=SMALL_BUFFER) as client:
        await client.send(request("GET", "/", headers={"connection": "close"}))
        answer = await client.response()

        assert BIG + b"end" == answer.body
        assert b"" == await client.rest()
        await it.all_left()


async def test_a_request_in_line_may_end_the_connection_the_moment_the_client_caught_up() -> None:
    def answers(call: Call, reply: Reply) -> None:
        reply.send(200, JSON, BIG if call.target == b"/big" else b"end")

    async with serving(answers) as it, connected(it.port) as client:
        await client.send(request("GET", "/big") + request("GET", "/", headers={"connection": "close"}))
        assert BIG == (await client.response()).body
        assert b"end" == (await client.response()).body
        assert b"" == await client.rest()
        await it.all_left()


# --- the end


async def stopping(it: Serving, grace_s: float = PATIENCE_S) -> asyncio.Task[None]:
    task = asyncio.create_task(it.front.close(grace_s))
    await asyncio.sleep(0.01)
    return task


async def test_a_front_that_stops_lets_the_call_under_way_end_and_says_close() -> None:
    held = Held()
    async with serving(held) as it, connected(it.port) as client:
        await client.send(request("GET", "/"))
        reply = await held.reply()
        stop = await stopping(it)
        reply.send(200, JSON, b"{}")
        answer = await client.response()

        assert "close" == answer.headers["connection"]
        assert b"" == await client.rest()
        await stop


async def test_a_front_that_stops_closes_idle_connections_and_takes_no_new_ones() -> None:
    async with serving(echo) as it, connected(it.port) as idle, connected(it.port) as fresh:
        await idle.ask("GET", "/")
        await stopping(it)

        assert b"" == await idle.rest()
        assert b"" == await fresh.rest()
        with pytest.raises(ConnectionRefusedError):
            async with connected(it.port):
                pass


async def test_a_front_that_stops_still_answers_a_request_it_was_reading() -> None:
    asked = request("POST", "/", b"body")
    async with serving(echo) as it, connected(it.port) as client:
        await client.send(asked[:-2])
        await asyncio.sleep(0.01)
        stop = await stopping(it)
        await client.send(asked[-2:])

        assert b"POST / body" == (await client.response()).body
        await stop


async def test_a_front_that_stops_cuts_what_outlasts_its_grace() -> None:
    held = Held()
    async with serving(held) as it, connected(it.port) as client:
        await client.send(request("GET", "/"))
        await held.reply()
        await it.front.close(0.05)

        assert ["gone"] == held.heard
        assert b"" == await rest(client)
