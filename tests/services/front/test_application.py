"""The same endpoints as an ASGI application, under uvicorn."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from services.front.application import Application
from services.front.asgi import Message
from services.front.call import Call, Reply
from services.front.limits import Budget, Limits
from services.front.under_uvicorn import UvicornFront
from services.wire.errors import render_refusal
from services.wire.fields import JSON
from tests.architecture.source import ROOT
from tests.services.front.serving import PLENTY, Held, echo, serving
from tests.support.client import Client, connected
from tests.support.wire import request

BIG = 8 * 2**20  # bytes, more than sockets buffer
SUITES = ("tests/services/router", "tests/faults")

pytestmark = pytest.mark.anyio


async def test_a_call_is_answered_and_the_connection_kept() -> None:
    async with serving(echo, kind=UvicornFront) as it, connected(it.port) as client:
        answers = [await client.ask("POST", "/a?b=c", b"body") for _ in range(2)]

        assert [b"POST /a?b=c body"] * 2 == [answer.body for answer in answers]
        assert {"16"} == {answer.headers["content-length"] for answer in answers}
        await it.all_given_back()


async def test_headers_sent_twice_are_joined() -> None:
    held = Held()
    async with serving(held, kind=UvicornFront) as it, connected(it.port) as client:
        await client.send(b"GET / HTTP/1.1\r\nhost: t\r\nX-A: 1\r\nx-a: 2\r\n\r\n")
        (await held.reply()).send(200, JSON, b"{}")
        await client.response()

    assert b"1, 2" == held.calls[0].header(b"x-a")


async def test_a_stream_goes_out_as_it_is_written() -> None:
    held = Held()
    async with serving(held, kind=UvicornFront) as it, connected(it.port) as client:
        await client.send(request("GET", "/"))
        reply = await held.reply()
        reply.start(200, JSON)
        await client.head()
        for piece in (b"a", b"b"):
            reply.write(piece)
            assert piece == await client.chunk()
        reply.finish()
        assert b"" == await client.chunk()

    assert [] == held.heard


@pytest.mark.parametrize("leave", [Client.close, Client.reset])
async def test_whoever_answers_hears_that_the_client_left(leave: Callable[[Client], None]) -> None:
    held = Held()
    async with serving(held, kind=UvicornFront) as it, connected(it.port) as client:
        await client.send(request("POST", "/", b"body"))
        reply = await held.reply()
        leave(client)
        await held.hears("gone")
        reply.start(200, JSON)
        reply.write(b"late")
        reply.finish()
        await it.all_left()
        await it.all_given_back()
    assert ["gone"] == held.heard


@pytest.mark.parametrize(
    "framing",
    [b"content-length: 11\r\n\r\n", b"transfer-encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n"],
    ids=["told", "chunked"],
)
async def test_a_body_that_is_too_large_is_refused(framing: bytes) -> None:
    async with serving(echo, Limits(body=10), kind=UvicornFront) as it, connected(it.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nhost: t\r\n" + framing)
        answer = await client.response()

        assert (413, "request_too_large") == (answer.status, answer.error["code"])
        await it.all_given_back()


async def test_a_body_there_is_no_memory_for_is_refused() -> None:
    async with serving(echo, budget=3, kind=UvicornFront) as it, connected(it.port) as client:
        answer = await client.ask("POST", "/", b"body")

        assert (503, "overloaded") == (answer.status, answer.error["code"])
        await it.all_given_back()


async def test_whoever_answers_a_slow_client_is_paused_until_it_caught_up() -> None:
    held = Held()
    async with serving(held, budget=2 * BIG, kind=UvicornFront) as it, connected(it.port) as client:
        await client.send(request("GET", "/"))
        reply = await held.reply()
        reply.start(200, JSON)
        await client.head()
        for _ in range(2):
            reply.write(bytes(BIG))
        await held.hears("paused")
        assert BIG == len(await client.chunk()) == len(await client.chunk())
        await held.hears("resumed")
        reply.finish()
        assert b"" == await client.chunk()
        await it.all_given_back()


async def test_a_client_that_takes_nothing_is_cut() -> None:
    held, limits = Held(), Limits(stalled_s=0.05)
    async with (
        serving(held, limits, kind=UvicornFront) as it,
        connected(it.port, receive_buffer=4096) as client,
    ):
        await client.send(request("GET", "/"))
        reply = await held.reply()
        reply.start(200, JSON)
        for _ in range(3):
            reply.write(bytes(BIG))
        await held.hears("gone")
        await it.all_left()
        await it.all_given_back()


async def test_a_reply_broken_off_is_never_mistaken_for_a_whole_one() -> None:
    held = Held()
    async with serving(held, kind=UvicornFront) as it, connected(it.port) as client:
        await client.send(request("GET", "/"))
        reply = await held.reply()
        reply.start(200, JSON)
        reply.write(b"half")
        await client.head()
        assert b"half" == await client.chunk()
        reply.abort()

        assert b"" == await client.rest()


async def test_an_endpoint_that_fails_is_answered_for() -> None:
    def fails(call: Call, reply: Reply) -> None:
        raise RuntimeError("oh")

    async with serving(fails, kind=UvicornFront) as it, connected(it.port) as client:
        answer = await client.ask("GET", "/")

    assert (500, "internal_error") == (answer.status, answer.error["code"])


async def test_what_is_no_call_is_answered_as_asgi_asks() -> None:
    app = Application(echo, render_refusal=render_refusal, limits=Limits(), budget=Budget(PLENTY))
    told: list[Message] = []
    asked = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Message:
        return next(asked)

    async def send(message: Message) -> None:
        told.append(message)

    await app({"type": "lifespan"}, receive, send)
    await app({"type": "websocket"}, receive, send)

    types = ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]
    assert types == [message["type"] for message in told]


@pytest.mark.slow
def test_the_suites_of_the_endpoints_pass_there_too() -> None:
    command = (sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2")
    chosen = ("-m", "not slow and not soak and not own_front", *SUITES)
    ended = subprocess.run(
        (*command, *chosen),
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PENSTOCK_TEST_FRONT": "uvicorn", "PYTHONPATH": str(ROOT)},
    )

    assert 0 == ended.returncode, ended.stdout[-5000:]
