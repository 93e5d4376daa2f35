"""How long a client may take for what it says, how long it may say nothing, and how long not read."""

import asyncio

import pytest

from services.front.call import Call, Reply
from services.front.limits import Limits
from services.wire.fields import JSON
from tests.services.front.serving import Held, echo, is_refusal, serving
from tests.support.client import connected
from tests.support.wire import request

pytestmark = pytest.mark.anyio

BIG = b"x" * 8 * 2**20  # more than sockets buffer
SMALL_BUFFER = 4096


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop is enough where what takes time is the housekeeping's next look."""
    return "asyncio", {"use_uvloop": True}


BEGINS = {
    "in the first line": b"GET / HT",
    "behind empty lines": b"\r\n\r\nG",
    "in a header": b"GET / HTTP/1.1\r\nhost:",
    "in the body": b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\nabc",
    "in a second head": request("GET", "/first") + b"GET /sec",
}


async def test_what_does_not_arrive_in_time_is_refused() -> None:
    async def refused(port: int, begin: bytes) -> bool:
        async with connected(port) as client:
            await client.send(begin)
            answer = await client.response()
            if answer.status == 200:  # to a first, whole request
                answer = await client.response()
            return is_refusal(answer, 408, "request_timeout") and b"" == await client.rest()

    async with serving(echo, Limits(head_timeout_s=0.1, body_timeout_s=0.1)) as it:
        refusals = await asyncio.gather(*(refused(it.port, begin) for begin in BEGINS.values()))

    assert dict.fromkeys(BEGINS, True) == dict(zip(BEGINS, refusals, strict=True))


async def test_a_body_may_take_longer_than_a_head() -> None:
    limits = Limits(head_timeout_s=0.1, body_timeout_s=60)
    async with serving(echo, limits) as it, connected(it.port) as client:
        asked = request("POST", "/slow", b"body")
        await client.send(asked[:-1])
        await asyncio.sleep(0.6)
        await client.send(asked[-1:])

        assert b"POST /slow body" == (await client.response()).body


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
        await asyncio.sleep(0.6)  # longer than between two looks of the housekeeping
        reply.send(200, b"", b"late")

        assert b"late" == (await client.response()).body


async def test_a_client_that_goes_on_sending_after_its_refusal_is_cut() -> None:
    async with serving(echo, Limits(body=10, linger_s=0.1)) as it, connected(it.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 10000000\r\n\r\n")
        await client.response()

        await it.all_left()


def big(call: Call, reply: Reply) -> None:
    reply.send(200, JSON, BIG)


async def test_a_client_that_only_asks_and_never_reads_is_let_go() -> None:
    limits = Limits(pipelined=3, linger_s=0.1, stalled_s=0.1)
    async with serving(big, limits) as it, connected(it.port, receive_buffer=SMALL_BUFFER) as client:
        await client.send(request("GET", "/") * 10)

        await it.all_left()


async def test_a_client_that_never_reads_its_answer_is_cut() -> None:
    async with (
        serving(big, Limits(stalled_s=0.1)) as it,
        connected(it.port, receive_buffer=SMALL_BUFFER) as kept,
        connected(it.port, receive_buffer=SMALL_BUFFER) as closing,
    ):
        await kept.send(request("GET", "/"))
        await closing.send(request("GET", "/", headers={"connection": "close"}))

        await it.all_left()


async def test_a_client_that_does_not_read_a_stream_is_cut_and_whoever_answers_hears_of_it() -> None:
    held = Held()
    async with (
        serving(held, Limits(stalled_s=0.1)) as it,
        connected(it.port, receive_buffer=SMALL_BUFFER) as client,
    ):
        await client.send(request("GET", "/"))
        reply = await held.reply()
        reply.start(200, JSON)
        reply.write(BIG)

        await held.hears("gone")


async def test_a_client_that_reads_slowly_but_reads_is_neither_idle_nor_stalled() -> None:
    limits = Limits(idle_timeout_s=0.1, stalled_s=1.0)
    async with serving(big, limits) as it, connected(it.port, receive_buffer=65_536) as client:
        await client.send(request("GET", "/"))
        await client.head()
        got = 0
        while got < len(BIG):  # for twice as long as it may take nothing, and not faster
            got += len(await client.reader.readexactly(len(BIG) // 16))
            await asyncio.sleep(0.15)

        assert len(BIG) == got


async def test_a_stream_that_waits_for_its_endpoint_is_not_stalled() -> None:
    held = Held()
    async with serving(held, Limits(stalled_s=0.1)) as it, connected(it.port) as client:
        await client.send(request("GET", "/"))
        reply = await held.reply()
        reply.start(200, JSON)
        await asyncio.sleep(1.2)
        reply.write(b"late")
        reply.finish()

        assert b"late" == (await client.response()).body
