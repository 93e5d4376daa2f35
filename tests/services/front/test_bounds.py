"""How much a client may send, and what it gets when it is too much."""

import asyncio
import contextlib

import pytest

from services.front.call import Call, Reply
from services.front.limits import Budget, Limits
from services.wire.fields import JSON
from tests.services.front.serving import Held, echo, is_refusal, serving
from tests.support.client import Client, connected
from tests.support.wire import chunk, request

pytestmark = pytest.mark.anyio

CHUNKED = b"POST /x HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"a" * 2000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 500 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"a" * 2000 + b": x\r\n\r\n",
    ],
    ids=["path", "value", "number", "name"],
)
async def test_a_head_that_is_too_large_is_refused(head: bytes) -> None:
    async with serving(echo, Limits(head=1000)) as it, connected(it.port) as client:
        await client.send(head)

        assert is_refusal(await client.response(), 431, "invalid_request")
        assert b"" == await client.rest()


@pytest.mark.parametrize(
    "begin", [b"GET /", b"GET / HTTP/1.1\r\nx: ", b"GET / HTTP/1.1\r\n"], ids=["path", "value", "name"]
)
async def test_a_head_that_never_ends_is_refused_long_before_it_fills_the_memory(begin: bytes) -> None:
    async with serving(echo, Limits(head=1000)) as it, connected(it.port) as client:
        await client.send(begin, *[b"a" * 500] * 10)

        assert is_refusal(await client.response(), 431, "invalid_request")


async def test_a_large_body_right_before_the_next_head_does_not_count_as_head() -> None:
    asked = request("POST", "/1", b"x" * 5000) + request("GET", "/2")
    cut = len(asked) - 10
    async with serving(echo, Limits(head=1000)) as it, connected(it.port) as client:
        await client.send(asked[:cut])
        assert 200 == (await client.response()).status
        await client.send(asked[cut:])

        assert b"GET /2 " == (await client.response()).body


async def test_a_body_announced_too_large_is_refused_before_it_is_sent() -> None:
    async with serving(echo, Limits(body=10)) as it, connected(it.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 11\r\n\r\n")

        assert is_refusal(await client.response(), 413, "request_too_large")
        assert b"" == await client.rest()


async def test_a_chunked_body_is_refused_where_it_grows_too_large() -> None:
    async with serving(echo, Limits(body=10)) as it, connected(it.port) as client:
        await client.send(CHUNKED, chunk(b"x" * 10))
        await client.send(chunk(b"x"))

        assert is_refusal(await client.response(), 413, "request_too_large")


async def test_a_body_of_just_the_limit_is_taken() -> None:
    async with serving(echo, Limits(body=10)) as it, connected(it.port) as client:
        assert 200 == (await client.ask("POST", "/", b"x" * 10)).status


async def test_a_client_gets_its_refusal_although_it_is_still_sending() -> None:
    async with serving(echo, Limits(body=1000)) as it, connected(it.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 10000000\r\n\r\n")
        for _ in range(100):  # far more than sockets buffer: it is read and dropped
            await client.send(b"x" * 100_000)
            await client.writer.drain()

        assert is_refusal(await client.response(), 413, "request_too_large")


async def test_a_body_there_is_no_memory_for_is_refused_as_it_comes() -> None:
    held = Held()
    async with serving(held, budget=100) as it, connected(it.port) as one, connected(it.port) as other:
        await one.send(request("POST", "/", b"x" * 60))
        reply = await held.reply()
        await other.send(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 60\r\n\r\n", b"x" * 41)
        refused = await other.response()

        assert is_refusal(refused, 503, "overloaded")
        assert "1" == refused.headers["retry-after"]
        assert "x-should-retry" not in refused.headers
        assert 60 == it.budget.used
        reply.send(200, b"", b"")
        await one.response()
        assert 0 == it.budget.used


async def test_bodies_that_are_only_announced_lock_nobody_out() -> None:
    async with serving(echo, budget=100) as it, contextlib.AsyncExitStack() as stack:
        for _ in range(5):
            boaster = await stack.enter_async_context(connected(it.port))
            await boaster.send(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 90\r\n\r\nabc")
        await used(it.budget, 15)
        client = await stack.enter_async_context(connected(it.port))

        assert 200 == (await client.ask("POST", "/", b"x" * 80)).status


async def test_a_chunked_body_there_is_no_memory_for_is_refused_where_it_grows_too_large() -> None:
    async with serving(echo, budget=100) as it, connected(it.port) as client:
        await client.send(CHUNKED, chunk(b"x" * 90), chunk(b"x" * 20))

        assert is_refusal(await client.response(), 503, "overloaded")
        assert 0 == it.budget.used


async def test_memory_is_given_back_at_once_when_a_body_is_refused() -> None:
    async with serving(echo, Limits(body=50), budget=100) as it, connected(it.port) as client:
        await client.send(CHUNKED, chunk(b"x" * 40), chunk(b"x" * 20))

        assert is_refusal(await client.response(), 413, "request_too_large")
        assert (0, 1) == (it.budget.used, it.front.connections)


async def test_memory_is_given_back_when_a_client_leaves_in_the_middle_of_its_body() -> None:
    async with serving(echo, budget=100) as it, connected(it.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 60\r\n\r\nabc")
        await used(it.budget, 3)
        client.reset()
        await used(it.budget, 0)


async def test_memory_is_given_back_for_requests_that_waited_in_line() -> None:
    held = Held()
    async with serving(held, budget=1000) as it, connected(it.port) as client:
        await client.send(request("POST", "/", b"x" * 100) * 5)
        await used(it.budget, 500)
        client.reset()
        await used(it.budget, 0)


async def used(budget: Budget, size: int) -> None:
    async with asyncio.timeout(10):
        while budget.used != size:
            await asyncio.sleep(0.001)


async def test_more_requests_in_line_than_allowed_end_the_connection_after_the_answer_under_way() -> None:
    held = Held()
    async with serving(held, Limits(pipelined=2)) as it, connected(it.port) as client:
        await client.send(request("POST", "/", b"x" * 10) * 4)
        reply = await held.reply()
        await used(it.budget, 10)  # only the one under way is still held
        reply.send(200, b"", b"first")

        assert b"first" == (await client.response()).body
        assert await ended(client)
        assert 1 == len(held.calls)


async def ended(client: Client) -> bool:
    try:
        return b"" == await client.rest()
    except ConnectionResetError:
        return True


# --- what a client has not read

MUCH = b"x" * 16 * 2**20  # more than sockets buffer


async def test_an_answer_a_client_is_slow_to_read_counts_until_it_has_read_it() -> None:
    def answers(call: Call, reply: Reply) -> None:
        reply.send(200, JSON, MUCH)

    async with serving(answers, budget=10) as it, connected(it.port, receive_buffer=65_536) as client:
        await client.send(request("GET", "/"))
        await client.head()
        assert 2**20 < it.budget.used <= len(MUCH) + 1000
        assert len(MUCH) == len(await client.reader.readexactly(len(MUCH)))
        await used(it.budget, 0)


async def test_what_is_written_behind_it_counts_too() -> None:
    held = Held()
    async with serving(held, budget=10) as it, connected(it.port, receive_buffer=65_536) as client:
        await client.send(request("GET", "/"))
        reply = await held.reply()
        reply.start(200, JSON)
        reply.write(MUCH)
        await held.hears("paused")
        before = it.budget.used
        reply.write(MUCH)
        await used(it.budget, before + len(MUCH) + len(b"1000000\r\n\r\n"))
        client.reset()
        await used(it.budget, 0)


async def test_memory_is_given_back_when_a_client_leaves_before_it_has_read_its_answer() -> None:
    def answers(call: Call, reply: Reply) -> None:
        reply.send(200, JSON, MUCH)

    async with serving(answers) as it, connected(it.port, receive_buffer=65_536) as client:
        await client.send(request("GET", "/"))
        await client.head()
        assert it.budget.used
        client.reset()
        await used(it.budget, 0)
