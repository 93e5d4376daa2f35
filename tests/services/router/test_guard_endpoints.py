"""A guard on a whole platform: every endpoint passes it, and so does what is given again or queued."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from services.guarding.guard import Guard
from tests.services.router.refusing import refusal
from tests.support.client import Response
from tests.support.guards import REDACTED, Failing, Redacting, TestGuard, blocking, redacting
from tests.support.platform import CHAT, Running, config_file, eventually, running
from tests.support.rehearsing import MODEL as REHEARSED
from tests.support.rehearsing import rehearsing
from tests.support.upstream import Upstream, answers, streams
from tests.support.wire import DONE, MODEL, chat, completion, delta, event, events_of, text_of, usage

pytestmark = pytest.mark.anyio

WORD = "secret"
STOP = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
SAID = (delta("a sec"), delta("ret b"), STOP, DONE)

Guarded = Callable[[Guard], AbstractAsyncContextManager[Running]]


@pytest.fixture
def guarded(tmp_path: Path, engine: Upstream) -> Guarded:
    """A whole platform with a guard, whose one model is served by the programmable engine."""

    @asynccontextmanager
    async def make(guard: Guard) -> AsyncIterator[Running]:
        config = config_file(tmp_path, engine.url)
        async with running(tmp_path, guard=guard, config=config, cache_wait_ms=1000) as made:
            yield made

    return make


async def ask(platform: Running, path: str, **fields: Any) -> Response:
    return await platform.call("POST", path, json.dumps({"model": MODEL} | fields).encode())


PROMPTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "a chat": (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "text", "text": WORD}]}]},
        "messages",
    ),
    "a system message": (CHAT, {"messages": [{"role": "system", "content": WORD}]}, "messages"),
    "a tool": (
        CHAT,
        {
            "messages": [{"role": "user", "content": "Hi."}],
            "tools": [{"type": "function", "function": {"name": "f", "description": WORD}}],
        },
        "messages",
    ),
    "a completion": ("/v1/completions", {"prompt": ["Hi.", WORD]}, "prompt"),
    "an embedding": ("/v1/embeddings", {"input": WORD}, "input"),
    "a response": ("/v1/responses", {"input": WORD}, "input"),
    "instructions": ("/v1/responses", {"input": "Hi.", "instructions": WORD, "stream": True}, "input"),
}


@pytest.mark.parametrize(("path", "fields", "param"), PROMPTS.values(), ids=PROMPTS)
async def test_every_prompt_is_judged(
    guarded: Guarded, engine: Upstream, path: str, fields: dict[str, Any], param: str
) -> None:
    async with guarded(blocking(WORD)) as platform:
        refusal(await ask(platform, path, **fields), 400, "content_filter", param)

    assert [] == engine.calls


async def test_completions_pass_the_guard(guarded: Guarded, engine: Upstream) -> None:
    def said(text: str, finish: str | None = None) -> dict[str, Any]:
        return {"object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": finish}]}

    whole = answers(json.dumps(said(f"a {WORD} b", "stop") | {"usage": usage(7, 3)}).encode())
    stream = streams(event(said("a sec")), event(said("ret b")), event(said("", "stop")), DONE)
    engine.will(whole, stream)
    async with guarded(redacting(WORD)) as platform:
        first = await ask(platform, "/v1/completions", prompt="Hi.")
        second = await ask(platform, "/v1/completions", prompt="Hi.", stream=True)

    assert f"a {REDACTED} b" == first.json["choices"][0]["text"]
    told = [one["choices"][0]["text"] for one in events_of(second.body)[:-1]]
    assert f"a {REDACTED} b" == "".join(told)


async def test_embeddings_pass_as_they_are(guarded: Guarded, engine: Upstream) -> None:
    body = b'{"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}]}'
    engine.will(answers(body))
    async with guarded(redacting(WORD)) as platform:
        assert body == (await ask(platform, "/v1/embeddings", input="Hi.")).body


async def test_responses_are_redacted_whole_and_streamed(guarded: Guarded, engine: Upstream) -> None:
    engine.will(answers(completion(f"a {WORD} b", usage=usage(7, 3))), streams(*SAID))
    guard = redacting(WORD)
    async with guarded(guard) as platform:
        first = await ask(platform, "/v1/responses", input="Hi.")
        second = await ask(platform, "/v1/responses", input="Hi.", stream=True)

    assert f"a {REDACTED} b" == first.json["output"][0]["content"][0]["text"]
    events = [json.loads(part.partition(b"\ndata: ")[2]) for part in second.body.split(b"\n\n") if part]
    deltas = [one["delta"] for one in events if one["type"] == "response.output_text.delta"]
    assert f"a {REDACTED} b" == "".join(deltas)
    assert f"a {REDACTED} b" == events[-1]["response"]["output"][0]["content"][0]["text"]
    assert WORD.encode() not in second.body
    assert [CHAT, CHAT] == [prompt.endpoint for prompt in guard.prompts]  # in the form an engine is asked
    assert {"Hi."} == {json.loads(prompt.body)["messages"][0]["content"] for prompt in guard.prompts}


async def test_blocked_responses_are_incomplete_and_say_why(guarded: Guarded, engine: Upstream) -> None:
    engine.will(answers(completion(f"a {WORD} b")), streams(*SAID))
    async with guarded(blocking(WORD)) as platform:
        first = (await ask(platform, "/v1/responses", input="Hi.")).json
        second = await ask(platform, "/v1/responses", input="Hi.", stream=True)

    last = json.loads(second.body.strip().rpartition(b"data: ")[2])
    assert "response.incomplete" == last["type"]
    for response in (first, last["response"]):
        assert ("incomplete", {"reason": "content_filter"}) == (
            response["status"],
            response["incomplete_details"],
        )
        assert "a " == response["output"][0]["content"][0]["text"]


async def test_what_is_kept_is_what_was_released(guarded: Guarded, engine: Upstream) -> None:
    engine.will(streams(*SAID), answers(completion(f"a {WORD}")))
    async with guarded(redacting(WORD)) as platform:
        await platform.admin("POST", "/tenants/default", {"cache": "on"})
        for stream in (True, False):
            first = await platform.chat(temperature=0, stream=stream)
            again = await platform.chat(temperature=0, stream=stream)

            assert "hit" in again.headers["cache-status"]
            assert first.body == again.body
            assert WORD.encode() not in again.body
            assert REDACTED.encode() in again.body

    assert 2 == len(engine.calls)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_blocked_answer_is_not_kept(guarded: Guarded, engine: Upstream, stream: bool) -> None:
    engine.always = streams(*SAID) if stream else answers(completion(f"a {WORD}"))
    async with guarded(blocking(WORD)) as platform:
        await platform.admin("POST", "/tenants/default", {"cache": "on"})
        for _ in range(2):
            answer = await platform.chat(temperature=0, stream=stream)
            assert "fwd=miss" in answer.headers["cache-status"]

    assert 2 == len(engine.calls)


async def test_a_prompt_is_judged_before_the_cache_is_asked(guarded: Guarded, engine: Upstream) -> None:
    guard = TestGuard()
    async with guarded(guard) as platform:
        await platform.admin("POST", "/tenants/default", {"cache": "on"})
        assert 200 == (await platform.chat(WORD, temperature=0)).status
        guard.words = (WORD,)
        refusal(await platform.chat(WORD, temperature=0), 400, "content_filter", "messages")


async def test_queued_requests_pass_the_guard(guarded: Guarded, engine: Upstream) -> None:
    engine.will(answers(completion(f"a {WORD}", usage=usage(7, 3))))
    async with guarded(TestGuard(watch=redacting(WORD).watch, words=("bees",))) as platform:
        read = [await queued(platform, text) for text in ("Hi.", "bees")]

    message = read[0]["response"]["body"]["choices"][0]["message"]["content"]
    assert ("completed", f"a {REDACTED}") == (read[0]["status"], message)
    assert ("failed", "content_filter") == (read[1]["status"], read[1]["error"]["code"])
    assert 1 == len(engine.calls)


async def queued(platform: Running, text: str) -> Any:
    taken = (await platform.call("POST", "/v1/requests", chat(text))).json
    return (await platform.call("GET", f"/v1/requests/{taken['id']}?wait=10")).json


async def test_openais_client_reads_what_a_guard_leaves_of_an_engines_answer(tmp_path: Path) -> None:
    async with rehearsing(tmp_path, guard=redacting("rehearsal")) as platform:
        client = openai.AsyncOpenAI(api_key=platform.key, base_url=f"{platform.url}/v1", max_retries=0)
        async with client:
            asked: dict[str, Any] = {"model": REHEARSED, "messages": [{"role": "user", "content": "Hi."}]}
            whole = await client.chat.completions.create(**asked, temperature=0)
            stream = await client.chat.completions.create(**asked, temperature=0, stream=True)
            pieces = [part.choices[0].delta.content or "" async for part in stream if part.choices]

    text = whole.choices[0].message.content
    assert text is not None
    assert text == "".join(pieces)
    assert REDACTED in text


async def test_openais_client_is_told_of_a_blocked_prompt_and_a_blocked_answer(
    guarded: Guarded, engine: Upstream
) -> None:
    engine.will(streams(*SAID))
    async with guarded(blocking(WORD)) as platform:
        client = openai.AsyncOpenAI(api_key=platform.key, base_url=f"{platform.url}/v1", max_retries=0)
        async with client:
            with pytest.raises(openai.BadRequestError) as caught:
                await client.chat.completions.create(
                    model=MODEL, messages=[{"role": "user", "content": WORD}]
                )
            stream = await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "Hi."}], stream=True
            )
            parts = [part.choices[0] async for part in stream]

    assert ("content_filter", "messages") == (caught.value.code, caught.value.param)
    assert "a " == "".join(part.delta.content or "" for part in parts)
    assert "content_filter" == parts[-1].finish_reason


async def test_a_chat_passes_a_guard_on_the_whole_platform(guarded: Guarded, engine: Upstream) -> None:
    engine.will(streams(*SAID))
    async with guarded(redacting(WORD)) as platform:
        assert f"a {REDACTED} b" == text_of((await platform.chat(stream=True)).body)


@pytest.mark.parametrize("stream", [False, True])
async def test_responses_in_the_background_pass_the_guard(
    guarded: Guarded, engine: Upstream, stream: bool
) -> None:
    engine.will(streams(*SAID) if stream else answers(completion(f"a {WORD} b", usage=usage(7, 3))))
    async with guarded(TestGuard(watch=redacting(WORD).watch, words=("bees",))) as platform:
        first = await background(platform, "Hi.", stream=stream)
        second = await background(platform, "bees", stream=stream)

    assert f"a {REDACTED} b" == first["output"][0]["content"][0]["text"]
    assert ("failed", "content_filter") == (second["status"], second["error"]["code"])
    assert 1 == len(engine.calls)


@pytest.mark.parametrize("stream", [False, True])
async def test_blocked_responses_in_the_background_are_incomplete(
    guarded: Guarded, engine: Upstream, stream: bool
) -> None:
    engine.will(streams(*SAID) if stream else answers(completion(f"a {WORD} b", usage=usage(7, 3))))
    async with guarded(blocking(WORD)) as platform:
        response = await background(platform, "Hi.", stream=stream)

    assert ("incomplete", "a ") == (response["status"], response["output"][0]["content"][0]["text"])
    assert {"reason": "content_filter"} == response["incomplete_details"]


async def test_a_background_stream_a_guard_fails_on_is_tried_again(
    guarded: Guarded, engine: Upstream
) -> None:
    engine.always = streams(*SAID)
    watches = iter([Failing(), Redacting(WORD)])
    async with guarded(TestGuard(watch=lambda: next(watches))) as platform:
        response = await background(platform, "Hi.", stream=True)

    assert ("completed", f"a {REDACTED} b") == (
        response["status"],
        response["output"][0]["content"][0]["text"],
    )
    assert 2 == len(engine.calls)


async def background(platform: Running, text: str, *, stream: bool) -> Any:
    """A response in the background, once it ended; nothing of what was told has the word in it."""
    taken = await ask(
        platform, "/v1/responses", input=text, background=True, store=True, stream=stream, temperature=0
    )
    assert WORD.encode() not in taken.body
    told = taken.body.partition(b"data: ")[2].partition(b"\n")[0]
    name = json.loads(told)["response"]["id"] if stream else taken.json["id"]
    found: list[Any] = []

    async def is_over() -> bool:
        found[:] = [(await platform.call("GET", f"/v1/responses/{name}")).json]
        return found[0]["status"] not in ("queued", "in_progress")

    await eventually(is_over)
    return found[0]
