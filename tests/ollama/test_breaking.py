"""An Ollama whose runner dies, as it does where memory runs out: Ollama goes on and starts another one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.ollama.asking import body, counted, ended, queue
from tests.ollama.engines import Engine, real
from tests.ollama.serving import ENDLESS, Ollama
from tests.support.platform import CHAT, Running, running
from tests.support.wire import events_of, request

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
async def engine(ollama: Ollama) -> Engine:
    return real(ollama)


@pytest.fixture
async def platform(tmp_path: Path, engine: Engine) -> AsyncIterator[Running]:
    async with running(tmp_path, config=engine.config(tmp_path)) as made:
        await engine.answers()  # so its runner is there
        yield made


async def test_in_the_middle_of_a_stream(platform: Running, engine: Engine, ollama: Ollama) -> None:
    async with platform.connected() as caller:
        await caller.send(request("POST", CHAT, body(ENDLESS, stream=True), platform.keyed()))
        await caller.head()
        await caller.chunk()
        ollama.kill_runners()
        said = b""
        while piece := await caller.chunk():
            said += piece
    last = events_of(said)[-1]
    told = await counted(platform, 1)
    await engine.answers()

    assert ("engine_died", "server_error") == (last["error"]["code"], last["error"]["type"])
    assert told.input + told.output == told.estimated


async def test_before_a_whole_answer(platform: Running, engine: Engine, ollama: Ollama) -> None:
    async with platform.watching() as watch:
        call = asyncio.create_task(platform.call("POST", CHAT, body(ENDLESS)))
        await watch.record("started")
        await asyncio.sleep(0.2)
        ollama.kill_runners()
        answer = await call
        ended = await watch.record("completed")
    await engine.answers()

    assert (502, "engine_error") == (answer.status, answer.error["code"])
    assert not ended["billed"]


async def test_while_a_queued_request_runs(platform: Running, ollama: Ollama) -> None:
    async with platform.watching() as watch:
        name = await queue(platform, ENDLESS, max_tokens=3000)
        first = await watch.record("started")
        await asyncio.sleep(0.2)
        ollama.kill_runners()
        second = await watch.record("started")
    read = await ended(platform, name)

    assert first["attempt"] != second["attempt"]
    assert "completed" == read["status"]
    told = await counted(platform, 1)
    assert (1, 3000, 0) == (told.requests, told.output, told.estimated)
