"""How long a client may take for what it says, how long it may say nothing, and how long not read."""

import asyncio

import pytest

from services.front.call import JSON, Call, Reply
from services.front.limits import Limits
from tests.services.front.serving import Held, echo, is_refusal, serving
from tests.support.client import connected
from tests.support.wire import request

pytestmark = pytest.mark.anyio

BIG = b"x" * 4 * 2**20  # more than sockets buffer
SMALL_BUFFER = 4096


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop is enough where what takes time is the housekeeping's next look."""
    return "asyncio", {"use_uvloop": True}


@pytest.mark.parametrize("begin", [b"GET / HT", b"\r\n\r\nG", b"GET / HTTP/1.1\r\nhost:"])
async def test_a_head_that_does_not_arrive_in_time_is_refused(begin: bytes) -> None:
    async with serving(echo, Limits(head_timeout_s=0.1)) as it, connected(it.port) as client:
        await client.send(begin)

        assert is_refusal(await client.response(), 408, "request_timeout")
        assert b"" == await client.rest()


async def test_a_second_head_that_does_not_arrive_in_time_is_refused_too() -> None:
    async with serving(echo, Limits(head_timeout_s=0.1)) as it, connected(it.port) as client:
        await client.send(request("GET", "/first") + b"GET /sec")
        assert 200 == (await client.response()).status

        assert is_refusal(await client.response(), 408, "request_timeout")


async def test_a_body_that_does_not_arrive_in_time_is_refused() -> None:
    limits = Limits(head_timeout_s=60, body_timeout_s=0.1)
    async with serving(echo, limits) as it, connected(it.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\nabc")

        assert is_refusal(await client.response(), 408, "request_timeout")


async def test_an_idle_connection_is_closed_silently() -> None:
    async with serving(echo, Limits(idle_timeout_s=0.1)) as it, connected(it.port) as client:
        await client.ask("GET", "/")
        await client.send(b"\r\n")  # old clients end a body with a line of its own: it begins nothing

        assert b"" == await client.rest()


async def test_a_connection_is_not_idle_while_its_call_is_answered() -> None:
    held = Held()
    async with serving(held, Limits(idle_timeout_s=0.1)) as it, connected(it.port) as client:
        await client.send(request("GET", "/"))
        reply = await held.reply()
        await asyncio.sleep(1.1)  # two looks of the housekeeping
        reply.send(200, b"", b"late")

        assert b"late" == (await client.response()).body


async def test_a_client_that_goes_on_sending_after_its_refusal_is_cut() -> None:
    async with serving(echo, Limits(body=10, linger_s=0.1)) as it, connected(it.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 10000000\r\n\r\n")
        await client.response()

        await it.all_left()


async def test_a_client_that_only_asks_and_never_reads_is_let_go() -> None:
    def big(call: Call, reply: Reply) -> None:
        reply.send(200, JSON, BIG)

    limits = Limits(pipelined=3, linger_s=0.1)
    async with serving(big, limits) as it, connected(it.port, receive_buffer=SMALL_BUFFER) as client:
        await client.send(request("GET", "/") * 10)

        await it.all_left()


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
async def test_a_client_that_never_reads_its_answer_is_cut(connection: str) -> None:
    def big(call: Call, reply: Reply) -> None:
        reply.send(200, JSON, BIG)

    limits = Limits(idle_timeout_s=0.1)
    async with serving(big, limits) as it, connected(it.port, receive_buffer=SMALL_BUFFER) as client:
        await client.send(request("GET", "/", headers={"connection": connection}))

        await it.all_left()
