"""An engine that has no room: who is refused is told when to come again, who is queued never hears of it.

Ollama queues without bound for a model that is loaded. It refuses only while it waits for another model's
end to make room, so both models are asked for.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.ollama.asking import body, client_of, counted, ended, queue
from tests.ollama.engines import FOREVER, HELLO
from tests.ollama.serving import BRIEF, ENDLESS
from tests.support import official
from tests.support.client import Response
from tests.support.platform import CHAT, Running, Watch
from tests.support.wire import request

pytestmark = [pytest.mark.anyio, pytest.mark.slow]  # all wait: for room, or to come again


@asynccontextmanager
async def busy(platform: Running) -> AsyncIterator[None]:
    """The engine works for a caller that leaves at the end."""
    async with platform.connected() as caller:
        await caller.send(request("POST", CHAT, body(ENDLESS, **FOREVER), platform.keyed()))
        assert await caller.is_told_nothing(0.5)
        yield


async def fill(platform: Running, **more: object) -> list[asyncio.Task[Response]]:
    """Calls until no further one finds room; most of them wait now."""
    calls: list[asyncio.Task[Response]] = []
    refused = 0
    while refused < 2:  # the first may come before the engine has taken up those that wait
        call = asyncio.create_task(platform.call("POST", CHAT, body(BRIEF, **more)))
        done, _ = await asyncio.wait([call], timeout=0.3)
        refused = refused + 1 if done else 0
        calls.append(call)
    return calls


@pytest.mark.parametrize("streamed", [True, False])
async def test_who_finds_no_room_is_told_so_and_pays_nothing(platform: Running, streamed: bool) -> None:
    async with busy(platform):
        calls = await fill(platform, stream=streamed)
    answers = await asyncio.gather(*calls)

    answered = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status != 200]
    assert len(answered) >= 2 <= len(refused)
    assert {(503, "engine_busy", "1")} == {
        (answer.status, answer.error["code"], answer.headers["retry-after"]) for answer in refused
    }
    assert 1 + len(answered) == (await counted(platform, 1 + len(answered))).requests


async def test_openais_client_comes_again_by_itself(platform: Running) -> None:
    async with client_of(platform, max_retries=10) as client:
        async with busy(platform):
            calls = await fill(platform)
            call = asyncio.create_task(client.chat.completions.create(model=BRIEF, messages=HELLO))
            await asyncio.sleep(0.3)
            assert not call.done()
        answer = await call
        await asyncio.gather(*calls)

    assert answer.choices[0].message.content


async def test_without_coming_again_it_raises(platform: Running) -> None:
    async with client_of(platform) as client:
        async with busy(platform):
            calls = await fill(platform)
            with pytest.raises(official.InternalServerError, match=f"The engine for {BRIEF} is busy"):
                await client.chat.completions.create(model=BRIEF, messages=HELLO)
        await asyncio.gather(*calls)


async def test_queued_requests_all_end_in_an_answer(platform: Running) -> None:
    async with platform.watching() as watch:
        async with busy(platform):
            names = [await queue(platform, model, max_tokens=5, **FOREVER) for model in [BRIEF, ENDLESS] * 3]
            await refused(watch)
        read = [await ended(platform, name) for name in names]

    assert {"completed"} == {one["status"] for one in read}
    assert 1 + len(names) == (await counted(platform, 1 + len(names))).requests


async def refused(watch: Watch) -> None:
    """Waits for an attempt that the engine refused."""
    while (await watch.record("completed"))["outcome"] != "engine_error":
        pass
