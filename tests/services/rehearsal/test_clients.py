"""The official client meets the engine."""

import asyncio
from typing import Any

import pytest

from services.rehearsal.profiles import QUICK
from services.rehearsal.said.prose import NOTICE
from tests.services.rehearsal.talk import Talk, engine
from tests.support import official

pytestmark = pytest.mark.anyio

MODEL = "gemma-3-4b-it"
MESSAGES: list[Any] = [{"role": "user", "content": "Why is there a gate?"}]


def client(talk: Talk) -> Any:
    return official.client(f"http://127.0.0.1:{talk.port}", "none")


async def test_an_answer_in_one_piece() -> None:
    async with engine() as talk, client(talk) as ai:
        answer = await ai.chat.completions.create(model=MODEL, messages=MESSAGES, n=2)
        assert ["stop", "stop"] == [choice.finish_reason for choice in answer.choices]
        assert all((choice.message.content or "").startswith(NOTICE) for choice in answer.choices)
        assert answer.usage is not None
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


@pytest.mark.parametrize("wants_usage", [True, False])
async def test_a_streamed_answer(wants_usage: bool) -> None:
    async with engine(profile=QUICK) as talk, client(talk) as ai:
        stream = await ai.chat.completions.create(
            model=MODEL,
            messages=MESSAGES,
            stream=True,
            max_completion_tokens=10,
            stream_options={"include_usage": wants_usage},
        )
        chunks = [chunk async for chunk in stream]
    assert ("assistant", "") == (chunks[0].choices[0].delta.role, chunks[0].choices[0].delta.content)
    told = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert wants_usage == bool(told)
    assert [10] * wants_usage == [usage.completion_tokens for usage in told]
    with_choices = [chunk for chunk in chunks if chunk.choices]
    assert "length" == with_choices[-1].choices[0].finish_reason
    assert 10 == sum(bool(chunk.choices[0].delta.content) for chunk in with_choices)


async def test_the_client_without_async() -> None:
    def talked(port: int) -> tuple[str, str]:
        with official.blocking_client(f"http://127.0.0.1:{port}", "none") as ai:
            whole = ai.chat.completions.create(model=MODEL, messages=MESSAGES)
            stream = ai.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
            pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
            return whole.choices[0].message.content or "", "".join(pieces)

    async with engine() as talk:
        whole, streamed = await asyncio.to_thread(talked, talk.port)
        assert whole == streamed != ""


async def test_models_are_listed() -> None:
    async with engine() as talk, client(talk) as ai:
        listed = [model async for model in ai.models.list()]
        assert [(MODEL, "penstock-rehearsal")] == [(model.id, model.owned_by) for model in listed]


@pytest.mark.parametrize(
    ("fields", "error", "code"),
    [
        ({"model": "other"}, "NotFoundError", "model_not_found"),
        ({"messages": [{"role": "user", "content": "x" * 8000}]}, "BadRequestError",
         "context_length_exceeded"),
        ({"extra_headers": {"x-rehearsal-fault": "status:429"}}, "RateLimitError", "rehearsed_fault"),
        ({"extra_headers": {"x-rehearsal-fault": "status:500"}}, "InternalServerError",
         "rehearsed_fault"),
    ],
)  # fmt: skip
async def test_errors_are_the_clients_own(fields: dict[str, Any], error: str, code: str) -> None:
    async with engine(context=1000) as talk, client(talk) as ai:
        with pytest.raises(getattr(official, error)) as raised:
            await ai.chat.completions.create(**{"model": MODEL, "messages": MESSAGES, **fields})
        assert code == raised.value.code


@pytest.mark.parametrize("fault", ["reset", "reset:3"])
async def test_a_broken_connection_is_an_error_to_the_client(fault: str) -> None:
    async with engine() as talk, client(talk) as ai:
        with pytest.raises(official.APIConnectionError):
            stream = await ai.chat.completions.create(
                model=MODEL, messages=MESSAGES, stream=True, extra_headers={"x-rehearsal-fault": fault}
            )
            async for _ in stream:
                pass
