"""Idempotency keys with the official client, as docs/api.md shows it."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.support.platform import Running, config_file, running
from tests.support.upstream import Upstream, answers, streams, upstream, waits_for
from tests.support.wire import DONE, MODEL, completion, delta, usage

pytestmark = pytest.mark.anyio

HELLO: list[Any] = [{"role": "user", "content": "What is a penstock?"}]


@pytest.fixture
async def engine() -> AsyncIterator[Upstream]:
    async with upstream() as made:
        yield made


@pytest.fixture
async def platform(tmp_path: Path, engine: Upstream) -> AsyncIterator[Running]:
    async with running(tmp_path, config=config_file(tmp_path, engine.url)) as made:
        yield made


def client_of(platform: Running, **more: Any) -> AsyncOpenAI:
    options = {"base_url": f"{platform.url}/v1", "api_key": platform.key, "max_retries": 2}
    return AsyncOpenAI(**(options | more))


async def test_a_client_that_times_out_and_retries_by_itself_is_billed_once(
    platform: Running, engine: Upstream
) -> None:
    go = asyncio.Event()
    engine.will(waits_for(go, answers(completion("A pipe.", usage=usage(7, 3)))))
    async with client_of(platform, timeout=0.4) as client:
        asked = asyncio.create_task(
            client.chat.completions.create(
                model=MODEL, messages=HELLO, extra_headers={"Idempotency-Key": str(uuid.uuid4())}
            )
        )
        await engine.call()
        await asyncio.sleep(0.5)
        go.set()
        answer = await asked

    assert "A pipe." == answer.choices[0].message.content
    assert 1 == len(engine.calls)
    assert 1 == (await platform.usage())["requests"]


async def test_a_key_of_ones_own_is_good_across_programs(platform: Running, engine: Upstream) -> None:
    engine.will(streams(delta("A "), delta("pipe."), DONE))
    told = []
    for _ in range(2):
        async with client_of(platform) as client:
            stream = await client.chat.completions.create(
                model=MODEL, messages=HELLO, stream=True, extra_headers={"Idempotency-Key": "order-4711"}
            )
            told.append("".join([chunk.choices[0].delta.content or "" async for chunk in stream]))

    assert ["A pipe.", "A pipe."] == told
    assert 1 == len(engine.calls)


async def test_another_body_is_not_retried(platform: Running, engine: Upstream) -> None:
    async with client_of(platform) as client:
        key = {"Idempotency-Key": "order-4711"}
        await client.chat.completions.create(model=MODEL, messages=HELLO, extra_headers=key)
        with pytest.raises(openai.UnprocessableEntityError, match="used before"):
            await client.chat.completions.create(model=MODEL, messages=HELLO, extra_headers=key, seed=1)

    assert 1 == len(engine.calls)


async def test_a_response_too(platform: Running, engine: Upstream) -> None:
    engine.will(answers(completion("A pipe.")))
    async with client_of(platform) as client:
        key = {"Idempotency-Key": "order-4711"}
        first, second = [
            await client.responses.create(model=MODEL, input="What is it?", extra_headers=key)
            for _ in range(2)
        ]

    assert "A pipe." == first.output_text
    assert first == second
    assert 1 == len(engine.calls)
