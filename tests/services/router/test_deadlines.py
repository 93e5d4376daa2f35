"""Engines that take too long, in every phase, and clients that do not read what they asked for."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from events.usage import Completed
from services.front.limits import Limits
from services.router.order import Deadlines
from tests.services.router.refusing import refusal
from tests.support import wire
from tests.support.client import connected
from tests.support.platform import CHAT, Running, config_file, running
from tests.support.routing import routed
from tests.support.upstream import Script, Upstream, begins, hangs, never_ends, says, unreachable
from tests.support.wire import DONE, chat, completion, delta, usage_event

pytestmark = pytest.mark.anyio

LONG: dict[str, Any] = {  # each test shortens the one it is about
    "connect_timeout_s": 60,
    "first_byte_timeout_s": 60,
    "idle_timeout_s": 60,
    "total_timeout_s": 60,
}
SHORT = 0.1


def settings(folder: Path, engine: str, **short: float) -> dict[str, Any]:
    return {**LONG, **short, "config": config_file(folder, engine)}


async def test_an_engine_that_accepts_no_connection(tmp_path: Path) -> None:
    with unreachable() as url:
        async with running(tmp_path, **settings(tmp_path, url, connect_timeout_s=SHORT)) as platform:
            refusal(await platform.chat(), 504, "connect_timeout")
            assert [] == (await platform.admin("GET", "/usage"))["data"]


async def all_refused(platform: Running, engine: Upstream, scripts: Sequence[Script], code: str) -> str:
    """As many calls at once, streamed or not, as there are scripts; the message they are all refused with."""
    engine.will(*scripts)
    calls = [platform.chat(stream=bool(number % 2)) for number in range(len(scripts))]
    messages = {refusal(answer, 504, code) for answer in await asyncio.gather(*calls)}
    for call in engine.calls:
        await call.left()
    (message,) = messages
    return message


async def test_an_engine_that_does_not_begin(tmp_path: Path, engine: Upstream) -> None:
    silent = [hangs, says(b"HTTP/1.1 200 OK\r\n", then=hangs)]
    async with running(tmp_path, **settings(tmp_path, engine.url, first_byte_timeout_s=SHORT)) as platform:
        message = await all_refused(platform, engine, silent * 2, "first_byte_timeout")

    assert "within 0.1 s" in message


async def test_an_engine_that_falls_silent_before_there_is_anything_to_tell(
    tmp_path: Path, engine: Upstream
) -> None:
    silent = [
        says(wire.response(b"", headers={"content-length": "9"}), then=hangs),
        says(wire.response(completion())[:-9], then=hangs),
        begins(),
        begins(delta("a")[:9]),
    ]
    async with running(tmp_path, **settings(tmp_path, engine.url, idle_timeout_s=SHORT)) as platform:
        await all_refused(platform, engine, silent, "idle_timeout")


async def test_an_engine_that_falls_silent_in_the_middle_of_a_stream(
    tmp_path: Path, engine: Upstream
) -> None:
    engine.will(begins(delta("a"), delta("b")))
    async with running(tmp_path, **settings(tmp_path, engine.url, idle_timeout_s=SHORT)) as platform:
        answer = await platform.chat(stream=True)
        await engine.calls[0].left()
        row = await platform.usage()

    assert "ab" == wire.text_of(answer.body)
    assert "idle_timeout" == wire.events_of(answer.body)[-1]["error"]["code"]
    assert 0 < row["estimated_tokens"]


async def test_an_engine_that_falls_silent_when_all_was_said(tmp_path: Path, engine: Upstream) -> None:
    engine.will(begins(delta("a"), usage_event(7, 1), DONE))
    async with running(tmp_path, **settings(tmp_path, engine.url, idle_timeout_s=SHORT)) as platform:
        answer = await platform.chat(stream=True)
        row = await platform.usage()

    assert delta("a") + DONE == answer.body
    assert (7, 1, 0) == (row["input_tokens"], row["output_tokens"], row["estimated_tokens"])


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_goes_on_for_ever(tmp_path: Path, engine: Upstream, stream: bool) -> None:
    engine.will(never_ends(delta("a")) if stream else hangs)
    async with running(tmp_path, **settings(tmp_path, engine.url, total_timeout_s=0.3)) as platform:
        answer = await platform.chat(stream=stream)
        await engine.calls[0].left()

    if stream:
        assert "total_timeout" == wire.events_of(answer.body)[-1]["error"]["code"]
    else:
        refusal(answer, 504, "total_timeout")


async def test_a_client_that_does_not_read_holds_the_engine_back_and_is_cut(engine: Upstream) -> None:
    engine.will(never_ends(delta("x" * 50_000)))
    async with routed(engine.url, limits=Limits(stalled_s=SHORT)) as it:
        async with connected(it.port, receive_buffer=4096) as client:
            await client.send(it.request(chat(stream=True)))
            call = await engine.call()
            await call.left()
            assert not (await leftovers(client)).endswith(wire.LAST_CHUNK)
        completed = (await it.tap.has(2))[-1]

    assert isinstance(completed, Completed)
    assert ("client_gone", True) == (completed.outcome, completed.billed)


async def leftovers(client: Any) -> bytes:
    try:
        return bytes(await client.rest())
    except ConnectionResetError:
        return b""


async def test_a_slow_client_is_no_silent_engine(tmp_path: Path, engine: Upstream) -> None:
    async def says_much(call: Any) -> None:
        await call.send(wire.STREAM_HEAD, *[wire.chunk(delta("x" * 2**20))] * 8)
        await call.send(wire.chunk(DONE), wire.LAST_CHUNK)

    engine.will(says_much)
    short = settings(tmp_path, engine.url, idle_timeout_s=0.3)
    async with running(tmp_path, **short) as platform, platform.connected(receive_buffer=65_536) as client:
        await client.send(wire.request("POST", CHAT, chat(stream=True), platform.keyed()))
        await client.head()
        await asyncio.sleep(0.6)  # longer than the engine may be silent
        stream = b"".join([piece async for piece in pieces(client)])

    assert stream.endswith(DONE)
    assert 8 * 2**20 == len(wire.text_of(stream))


async def pieces(client: Any) -> Any:
    while piece := await client.chunk():
        yield piece


async def test_a_call_that_cannot_be_looked_at_keeps_no_other_from_its_deadline(
    engine: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        """In place of an exchange."""

        attempt = SimpleNamespace(id="req_1.1")

        def check(self, now: float) -> None:
            raise RuntimeError("It fails.")

        def shut_down(self) -> None: ...

    engine.will(hangs)
    async with routed(engine.url, deadlines=Deadlines(first_byte_s=SHORT)) as it:
        broken: Any = Broken()
        it.exchanges.open.add(broken)
        refusal(await it.call(chat()), 504, "first_byte_timeout")
        it.exchanges.open.discard(broken)

    assert "req_1.1" in caplog.text
