"""ASGI applications behind the front: what they see, how they answer, and what happens where they fail."""

import asyncio
from typing import Any

import pytest

from services.front.asgi import App, AsgiBridge
from services.wire.errors import render_refusal
from tests.services.front.serving import serving
from tests.support.client import connected
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


async def test_an_application_that_fails_is_answered_for() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("a secret")

    async with serving(bridge(app)) as it, connected(it.port) as client:
        answer = await client.ask("GET", "/")

    assert (500, "internal_error") == (answer.status, answer.error["code"])
    assert b"secret" not in answer.body


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


async def test_an_application_learns_that_its_client_left() -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(2):
            seen.put_nowait((await receive())["type"])

    async with serving(bridge(app)) as it, connected(it.port) as client:
        await client.send(request("GET", "/"))
        assert "http.request" == await seen.get()
        client.reset()
        async with asyncio.timeout(10):
            assert "http.disconnect" == await seen.get()


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
