"""Answers whole and streamed, one after another, and whether the ledger says of them what the engine does."""

import json
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.ollama.asking import body, client_of, counted, ended, queue
from tests.ollama.engines import FOREVER, HELLO, Engine
from tests.ollama.serving import BRIEF, ENDLESS, Ollama
from tests.support.platform import Running

pytestmark = pytest.mark.anyio

TURNS: list[Any] = [
    {"role": "system", "content": "You speak of water."},
    {"role": "user", "content": [{"type": "text", "text": "What is a penstock?"}]},
    {"role": "assistant", "content": "A pipe."},
    *HELLO,
]


async def test_an_answer_in_one_piece(platform: Running) -> None:
    async with client_of(platform) as client:
        answer = await client.chat.completions.create(model=BRIEF, messages=HELLO)

    (choice,) = answer.choices
    assert ("assistant", "stop") == (choice.message.role, choice.finish_reason)
    assert choice.message.content
    assert answer.usage is not None
    told = await counted(platform, 1)
    assert (1, answer.usage.prompt_tokens, answer.usage.completion_tokens, 0) == (
        told.requests,
        told.input,
        told.output,
        told.estimated,
    )


async def test_a_stream(platform: Running) -> None:
    async with client_of(platform) as client:
        stream = await client.chat.completions.create(model=BRIEF, messages=HELLO, stream=True)
        chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert "stop" == chunks[-1].choices[0].finish_reason
    assert not any(chunk.usage for chunk in chunks)  # nobody asked, but the ledger knows
    told = await counted(platform, 1)
    assert 0 == told.estimated
    assert 0 < told.output


async def test_a_stream_with_its_usage(platform: Running) -> None:
    async with client_of(platform) as client:
        stream = await client.chat.completions.create(
            model=BRIEF, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]

    assert [] == chunks[-1].choices
    assert chunks[-1].usage is not None
    told = await counted(platform, 1)
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens, 0) == (
        told.input,
        told.output,
        told.estimated,
    )


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
async def test_an_answer_is_no_longer_than_its_caller_allows(platform: Running, limit: str) -> None:
    async with client_of(platform) as client:
        ask = {"messages": HELLO, "extra_body": {limit: 7, **FOREVER}}
        whole = await client.chat.completions.create(model=ENDLESS, **ask)
        stream = await client.chat.completions.create(model=ENDLESS, stream=True, **ask)
        chunks = [chunk async for chunk in stream]

    assert ["length", "length"] == [
        whole.choices[0].finish_reason,
        chunks[-1].choices[0].finish_reason,
    ]
    told = await counted(platform, 2)
    assert (2 * 7, 0) == (told.output, told.estimated)


async def test_a_prompt_that_the_engine_remembers_is_counted_whole(platform: Running) -> None:
    async with client_of(platform) as client:
        told = [(await client.chat.completions.create(model=BRIEF, messages=TURNS)).usage for _ in range(3)]

    prompts = {usage.prompt_tokens for usage in told if usage}
    assert 1 == len(prompts)
    assert 3 * prompts.pop() == (await counted(platform, 3)).input


async def test_a_queued_answer(platform: Running) -> None:
    read = await ended(platform, await queue(platform, BRIEF))

    assert ("completed", 200) == (read["status"], read["response"]["status_code"])
    answer = read["response"]["body"]
    assert answer["choices"][0]["message"]["content"]
    told = await counted(platform, 1)
    assert (1, answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"], 0) == (
        told.requests,
        told.input,
        told.output,
        told.estimated,
    )


async def test_a_queued_answer_is_no_longer_than_its_caller_allows(platform: Running) -> None:
    name = await queue(platform, ENDLESS, max_completion_tokens=7, **FOREVER)

    assert "completed" == (await ended(platform, name))["status"]
    assert 7 == (await counted(platform, 1)).output


async def test_both_models_are_there(platform: Running, engine: Engine) -> None:
    async with client_of(platform) as client:
        assert [*engine.serves] == [model.id async for model in client.models.list()]


@pytest.mark.slow
async def test_ollama_itself_counts_the_same_prompt(tmp_path_factory: Any, ollama: Ollama) -> None:
    asked = json.loads(body(BRIEF, stream=False))
    compatible = _post(f"{ollama.url}/v1/chat/completions", asked)
    native = _post(f"{ollama.url}/api/chat", asked)

    assert compatible["usage"]["prompt_tokens"] == native["prompt_eval_count"]


def _post(url: str, content: object) -> Any:
    headers = {"content-type": "application/json"}
    with urlopen(Request(url, json.dumps(content).encode(), headers), timeout=30) as answer:
        return json.load(answer)
