"""ASGI applications behind the front: what they see, how they answer, and what happens where they fail."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from services.front.asgi import App, AsgiBridge
from services.front.limits import Limits
from services.wire.errors import render_refusal
from tests.services.front.serving import serving
from tests.support.client import Client, connected
from tests.support.wire import request

pytestmark = pytest.mark.anyio


def bridge(app: App) -> AsgiBridge:
    return AsgiBridge(app, render_refusal=render_refusal)


def starts(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def says(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def test_an_application_sees_the_request_as_it_was_sent() -> None:
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope, got=await receive())
        await send(starts())
        await send(says(b"ok"))

    async with serving(bridge(app)) as it, connected(it.port) as client:
        await client.ask("POST", "/a%20b?c=d%20e", b"body", {"X-Mixed": "Case"})

    assert ("POST", b"/a%20b", b"c=d%20e") == (seen["method"], seen["raw_path"], seen["query_string"])
    assert {"type": "http.request", "body": b"body", "more_body": False} == seen["got"]
    assert (b"x-mixed", b"Case") in seen["headers"]


async def test_a_reply_in_one_piece_has_its_length_and_the_applications_headers() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(starts(201, (b"x-one", b"1"), (b"content-length", b"99"), (b"connection", b"close")))
        await send(says(b"whole"))

    async with serving(bridge(app)) as it, connected(it.port) as client:
        answer = await client.ask("GET", "/")

    assert (201, b"whole", "1") == (answer.status, answer.body, answer.headers["x-one"])
    assert "5" == answer.headers["content-length"]
    assert "connection" not in answer.headers


async def test_a_reply_in_pieces_is_chunked() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(starts())
        await send(says(b"one ", more=True))
        await send(says(b"", more=True))
        await send(says(b"two"))

    async with serving(bridge(app)) as it, connected(it.port) as client:
        answer = await client.ask("GET", "/")

    assert ("chunked", b"one two") == (answer.headers["transfer-encoding"], answer.body)


async def rest(client: Client) -> bytes:
    try:
        return await client.rest()
    except ConnectionResetError:
        return b""


async def silent(scope: Any, receive: Any, send: Any) -> None:
    """Returns without an answer."""


async def fails(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError


@pytest.mark.parametrize("app", [silent, fails])
async def test_an_application_that_gives_no_answer_leaves_nobody_waiting(app: App) -> None:
    async with serving(bridge(app)) as it, connected(it.port) as client:
        await client.send(request("GET", "/"))

        assert b"" == await rest(client)


async def test_a_stream_whose_application_fails_is_broken_off() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(starts())
        await send(says(b"half", more=True))
        await asyncio.sleep(0.01)
        raise RuntimeError

    async with serving(bridge(app)) as it, connected(it.port) as client:
        await client.send(request("GET", "/"))
        await client.head()
        assert b"half" == await client.chunk()
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await client.chunk()


@pytest.mark.parametrize("leave", [Client.close, Client.reset, Client.half_close])
async def test_an_application_ends_where_its_client_left(leave: Callable[[Client], None]) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        begun.set()
        try:
            await receive()
        finally:
            ended.set()

    async with serving(bridge(app)) as it, connected(it.port) as client:
        await client.send(request("GET", "/"))
        await begun.wait()
        leave(client)
        async with asyncio.timeout(10):
            await ended.wait()


async def test_an_application_ends_where_its_client_does_not_read() -> None:
    ended = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(starts())
        try:
            while True:
                await send(says(b"x" * 2**20, more=True))
        finally:
            ended.set()

    async with (
        serving(bridge(app), Limits(stalled_s=0.1)) as it,
        connected(it.port, receive_buffer=4096) as client,
    ):
        await client.send(request("GET", "/"))
        async with asyncio.timeout(10):
            await ended.wait()


async def test_an_application_waits_for_a_client_that_reads_slowly() -> None:
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send(starts())
        for sent in range(1, 101):  # noqa: B007 - counted outside
            await send(says(b"x" * 2**20, more=True))
        await send(says(b""))

    async with serving(bridge(app)) as it, connected(it.port, receive_buffer=4096) as client:
        await client.send(request("GET", "/"))
        await asyncio.sleep(0.05)

        assert 0 < sent < 20
        client.reset()
        await it.all_left()


async def test_a_bridge_that_closes_tells_the_clients_still_waiting() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    made = bridge(app)
    async with serving(made) as it, connected(it.port) as client:
        await client.send(request("GET", "/"))
        await asyncio.sleep(0.01)
        await made.close()
        answer = await client.response()

    assert (503, "shutting_down") == (answer.status, answer.error["code"])
    assert "retry-after" in answer.headers


async def test_a_bridge_that_closes_breaks_off_what_has_begun() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(starts())
        await send(says(b"half", more=True))
        await asyncio.Event().wait()

    made = bridge(app)
    async with serving(made) as it, connected(it.port) as client:
        await client.send(request("GET", "/"))
        await client.head()
        await client.chunk()
        await made.close()

        await it.all_left()
