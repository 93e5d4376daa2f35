"""The official client, as callers use it: sync and async, streamed or not, with its own error classes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import official
from tests.support.platform import Running, config_file, running
from tests.support.rehearsing import MODEL, rehearsing
from tests.support.upstream import Upstream, answers, begins, closes, hangs, says, upstream
from tests.support.wire import MODEL as GEMMA
from tests.support.wire import completion, delta, problem

pytestmark = pytest.mark.anyio

HELLO: list[Any] = [{"role": "user", "content": "What is a penstock?"}]
NOTICE = "This is a rehearsal"


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Running]:
    async with rehearsing(tmp_path) as made:
        yield made


@pytest.fixture
async def engine() -> AsyncIterator[Upstream]:
    async with upstream() as made:
        yield made


@pytest.fixture
async def troubled(tmp_path: Path, engine: Upstream) -> AsyncIterator[Running]:
    """A platform whose engine does as it is told."""
    async with running(tmp_path, config=config_file(tmp_path, engine.url)) as made:
        yield made


def client_of(platform: Running, **more: Any) -> Any:
    return official.client(platform.url, platform.key, **more)


def sync_client_of(platform: Running) -> Any:
    return official.blocking_client(platform.url, platform.key)


async def test_a_completion(platform: Running) -> None:
    async with client_of(platform) as client:
        answer = await client.chat.completions.create(model=MODEL, messages=HELLO)

    assert answer.choices[0].message.content is not None
    assert answer.choices[0].message.content.startswith(NOTICE)
    assert answer.usage is not None
    assert 0 < answer.usage.prompt_tokens < answer.usage.total_tokens
    row = await platform.usage()
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, 0) == (
        row["input_tokens"],
        row["output_tokens"],
        row["estimated_tokens"],
    )


async def test_a_stream(platform: Running) -> None:
    async with client_of(platform) as client:
        whole = await client.chat.completions.create(model=MODEL, messages=HELLO)
        stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
        chunks = [chunk async for chunk in stream]

    assert whole.choices[0].message.content == "".join(
        chunk.choices[0].delta.content or "" for chunk in chunks
    )
    assert "stop" == chunks[-1].choices[0].finish_reason
    assert not any(chunk.usage for chunk in chunks)


async def test_a_stream_with_its_usage(platform: Running) -> None:
    async with client_of(platform) as client:
        stream = await client.chat.completions.create(
            model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]

    assert [] == chunks[-1].choices
    assert chunks[-1].usage is not None
    row = await platform.usage()
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (
        row["input_tokens"],
        row["output_tokens"],
    )


async def test_the_sync_client_too(platform: Running) -> None:
    def talk() -> tuple[str | None, str]:
        with sync_client_of(platform) as client:
            whole = client.chat.completions.create(model=MODEL, messages=HELLO)
            stream = client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
            streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
            return whole.choices[0].message.content, streamed

    whole, streamed = await asyncio.to_thread(talk)
    assert whole == streamed


async def test_the_streaming_helper(platform: Running) -> None:
    async with (
        client_of(platform) as client,
        client.chat.completions.stream(model=MODEL, messages=HELLO) as stream,
    ):
        final = await stream.get_final_completion()

    assert final.choices[0].message.content is not None
    assert final.choices[0].message.content.startswith(NOTICE)


async def test_options_reach_the_engine(platform: Running) -> None:
    async with client_of(platform) as client:
        answer = await client.chat.completions.create(
            model=MODEL, messages=HELLO, max_completion_tokens=3, n=2, extra_body={"top_k": 40}
        )

    assert ["length", "length"] == [choice.finish_reason for choice in answer.choices]
    assert answer.usage is not None
    assert 6 == answer.usage.completion_tokens


async def test_models(platform: Running) -> None:
    async with client_of(platform) as client:
        listed = [model.id async for model in client.models.list()]
        model = await client.models.retrieve(MODEL)

    assert [MODEL] == listed
    assert (MODEL, "rehearsal") == (model.id, model.owned_by)


async def test_an_answer_says_that_it_was_rehearsed_and_names_its_request(platform: Running) -> None:
    async with client_of(platform) as client:
        raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO)

    assert "rehearsal" == raw.headers["x-penstock-engine"]
    assert raw.parse()._request_id == raw.headers["x-request-id"]


async def test_many_calls_at_once(platform: Running) -> None:
    async with client_of(platform) as client:
        calls = (
            client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": f"Number {number}."}]
            )
            for number in range(40)
        )
        answers_ = await asyncio.gather(*calls)

    for number, answer in enumerate(answers_):
        assert f"“Number {number}.”" in (answer.choices[0].message.content or "")
    assert 40 == (await platform.usage(40))["requests"]


# --- errors, as the classes callers catch


async def test_a_wrong_key(platform: Running) -> None:
    async with client_of(platform, api_key="sk-wrong") as client:
        with pytest.raises(official.AuthenticationError, match="mistyped or no Penstock key"):
            await client.chat.completions.create(model=MODEL, messages=HELLO)
        with pytest.raises(official.AuthenticationError):
            await client.models.list()


async def test_an_unknown_model(platform: Running) -> None:
    async with client_of(platform) as client:
        with pytest.raises(official.NotFoundError, match=f"Models: {MODEL}") as caught:
            await client.chat.completions.create(model="gpt-9", messages=HELLO)
        with pytest.raises(official.NotFoundError):
            await client.models.retrieve("gpt-9")

    assert ("model_not_found", "model") == (caught.value.code, caught.value.param)
    assert caught.value.request_id


async def test_a_bad_request(platform: Running) -> None:
    async with client_of(platform) as client:
        with pytest.raises(official.BadRequestError, match="send at least one message"):
            await client.chat.completions.create(model=MODEL, messages=[])
        with pytest.raises(official.BadRequestError, match="Shorten the messages") as caught:
            long: Any = [{"role": "user", "content": "word " * 200_000}]
            await client.chat.completions.create(model=MODEL, messages=long)

    assert "context_length_exceeded" == caught.value.code


STATUSES = {
    400: "BadRequestError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    500: "InternalServerError",
    503: "InternalServerError",
}


@pytest.mark.parametrize(("status", "kind"), STATUSES.items())
async def test_an_engines_error(troubled: Running, engine: Upstream, status: int, kind: str) -> None:
    engine.will(answers(problem(), status))
    async with client_of(troubled) as client:
        with pytest.raises(getattr(official, kind)):
            await client.chat.completions.create(model=GEMMA, messages=HELLO)


async def test_what_may_pass_is_tried_again_by_the_client_itself(troubled: Running, engine: Upstream) -> None:
    engine.will(says(b"HTTP/1.1", then=closes), answers(completion("At last.")))
    async with client_of(troubled, max_retries=2) as client:
        answer = await client.chat.completions.create(model=GEMMA, messages=HELLO)

    assert "At last." == answer.choices[0].message.content


async def test_what_cannot_pass_is_not_tried_again(troubled: Running, engine: Upstream) -> None:
    engine.will(answers(problem(), 422))
    async with client_of(troubled, max_retries=5) as client:
        with pytest.raises(official.UnprocessableEntityError):
            await client.chat.completions.create(model=GEMMA, messages=HELLO)

    assert 1 == len(engine.calls)


async def test_a_stream_that_is_cut_raises_where_it_is_read(troubled: Running, engine: Upstream) -> None:
    engine.will(begins(delta("Half "), delta("an answer"), then=closes))
    told = ""
    async with client_of(troubled) as client:
        stream = await client.chat.completions.create(model=GEMMA, messages=HELLO, stream=True)
        with pytest.raises(official.APIError, match="broke off"):
            async for chunk in stream:
                told += chunk.choices[0].delta.content or ""

    assert "Half an answer" == told


async def test_a_caller_that_stops_reading_stops_the_engine(troubled: Running, engine: Upstream) -> None:
    engine.will(begins(delta("Half an answer")))
    async with client_of(troubled) as client:
        stream = await client.chat.completions.create(model=GEMMA, messages=HELLO, stream=True)
        async for _ in stream:
            break
        await stream.close()
        await engine.calls[0].left()


async def test_a_caller_with_no_patience_stops_the_engine(troubled: Running, engine: Upstream) -> None:
    engine.will(hangs)
    async with client_of(troubled, timeout=0.1) as client:
        with pytest.raises(official.APITimeoutError):
            await client.chat.completions.create(model=GEMMA, messages=HELLO)
        await engine.calls[0].left()
