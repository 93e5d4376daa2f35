"""Who leaves takes the work along: the engine stops."""

import asyncio
from pathlib import Path

import pytest

from tests.ollama.asking import body, client_of, counted, ended, queue
from tests.ollama.engines import FOREVER, HELLO, Engine
from tests.ollama.serving import ENDLESS
from tests.support import official
from tests.support.platform import CHAT, Running, running
from tests.support.wire import events_of, request

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def ready(engine: Engine) -> None:
    """It has loaded its model, so what is asked of it begins at once."""
    await engine.answers()


async def test_a_caller_that_leaves_in_the_middle_of_a_stream(platform: Running, engine: Engine) -> None:
    read = 0
    async with client_of(platform) as client:
        stream = await client.chat.completions.create(
            model=ENDLESS, messages=HELLO, stream=True, extra_body=FOREVER
        )
        async for _ in stream:
            read += 1
            if read == 20:
                break
        await stream.close()
        await engine.comes_to_rest()

    told = await counted(platform, 1)
    assert 1 == told.requests
    assert read - 1 <= told.output < 5000  # what it was told, and not what there would have been
    assert told.input + told.output == told.estimated


async def test_a_caller_that_has_no_patience_for_the_whole_answer(platform: Running, engine: Engine) -> None:
    async with client_of(platform, timeout=0.5) as client:
        with pytest.raises(official.APITimeoutError):
            await client.chat.completions.create(model=ENDLESS, messages=HELLO, extra_body=FOREVER)
    await engine.comes_to_rest()

    assert 1 == (await counted(platform, 1)).requests


async def test_a_caller_that_leaves_while_it_waits_in_the_engines_line(
    platform: Running, engine: Engine
) -> None:
    async with platform.connected() as first, platform.connected() as second:
        for caller in (first, second):
            asked = body(ENDLESS, stream=True, **FOREVER)
            await caller.send(request("POST", CHAT, asked, platform.keyed()))
            if caller is first:
                await caller.head()
        assert await second.is_told_nothing(0.5)
    await engine.comes_to_rest()

    assert 2 == (await counted(platform, 2)).requests


async def test_a_queued_request_that_is_cancelled(platform: Running, engine: Engine) -> None:
    async with platform.watching() as watch:
        name = await queue(platform, ENDLESS, **FOREVER)
        await watch.record("started")
        await asyncio.sleep(0.3)  # to be at it
    cancelled = await platform.call("POST", f"/v1/requests/{name}/cancel")
    await engine.comes_to_rest()

    assert "cancelled" == cancelled.json["status"]
    assert "cancelled" == (await ended(platform, name))["status"]


async def test_a_queued_request_whose_time_is_over(platform: Running, engine: Engine) -> None:
    name = await queue(platform, ENDLESS, deadline_s=1, **FOREVER)
    read = await ended(platform, name)
    await engine.comes_to_rest()

    assert "expired" == read["status"]


@pytest.mark.parametrize("streamed", [True, False])
async def test_an_answer_that_takes_too_long(tmp_path: Path, engine: Engine, streamed: bool) -> None:
    settings = {"config": engine.config(tmp_path), "total_timeout_s": 1.5}
    async with running(tmp_path, **settings) as platform:
        answer = await platform.call("POST", CHAT, body(ENDLESS, stream=streamed, **FOREVER))
        await engine.comes_to_rest()

    error = events_of(answer.body)[-1]["error"] if streamed else answer.error
    assert (200 if streamed else 504, "total_timeout") == (answer.status, error["code"])


async def test_a_platform_that_stops(tmp_path: Path, engine: Engine) -> None:
    async with running(tmp_path, config=engine.config(tmp_path)) as platform:
        calls = [body(ENDLESS, stream=streamed, **FOREVER) for streamed in (True, False)]
        asking = [asyncio.create_task(platform.call("POST", CHAT, asked)) for asked in calls]
        await queue(platform, ENDLESS, **FOREVER)
        await asyncio.sleep(0.5)
    await engine.comes_to_rest()
    answers = await asyncio.gather(*asking)

    assert {200, 503} >= {answer.status for answer in answers}
    assert all(b"shutting_down" in answer.body for answer in answers)
