"""Completions and embeddings take the way of chats: relayed, metered, refused and queued alike."""

import json
from typing import Any

import pytest

from tests.services.router.refusing import refusal
from tests.support.platform import CHAT, Running
from tests.support.upstream import Call, Upstream, answers, begins, closes, streams
from tests.support.wire import DONE, MODEL, chat, event, events_of, usage

pytestmark = pytest.mark.anyio

COMPLETIONS, EMBEDDINGS = "/v1/completions", "/v1/embeddings"
COMPLETION = {"object": "text_completion", "choices": [{"index": 0, "text": "Hi.", "finish_reason": "stop"}]}
EMBEDDING = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.5]}]}
READ = {"prompt_tokens": 7, "total_tokens": 7}


def body(**fields: Any) -> bytes:
    return json.dumps({"model": MODEL, **fields}).encode()


def encoded(*contents: dict[str, Any]) -> bytes:
    merged: dict[str, Any] = {}
    for content in contents:
        merged |= content
    return json.dumps(merged).encode()


def path_of(call: Call) -> str:
    return call.head.split()[1].decode()


def piece(text: str, finish: str | None = None) -> bytes:
    return event({"choices": [{"index": 0, "text": text, "finish_reason": finish}]})


CALLS = {
    "completion": (
        COMPLETIONS,
        body(prompt="Say hi.", best_of=2),
        encoded(COMPLETION, {"usage": usage(7, 3)}),
        3,
    ),
    "embedding": (EMBEDDINGS, body(input=["a", "b"], dimensions=2), encoded(EMBEDDING, {"usage": READ}), 0),
}


@pytest.mark.parametrize(("path", "asked", "answered", "output"), CALLS.values(), ids=CALLS)
async def test_both_ways_pass_untouched_and_are_counted_once(
    platform: Running, engine: Upstream, path: str, asked: bytes, answered: bytes, output: int
) -> None:
    engine.will(answers(answered))
    answer = await platform.call("POST", path, asked)
    row = await platform.usage()

    assert (200, answered) == (answer.status, answer.body)
    assert (path, asked) == (path_of(engine.calls[0]), engine.calls[0].body)
    assert (1, 7, output) == (row["requests"], row["input_tokens"], row["output_tokens"])


async def test_an_embedding_that_tells_no_usage_has_no_output(platform: Running, engine: Upstream) -> None:
    engine.will(answers(encoded(EMBEDDING)))
    await platform.call("POST", EMBEDDINGS, body(input="x" * 40))
    row = await platform.usage()

    assert (10, 0) == (row["input_tokens"], row["output_tokens"])


async def test_a_streamed_completion_is_relayed_without_a_usage_nobody_asked_for(
    platform: Running, engine: Upstream
) -> None:
    told = event({"choices": [], "usage": usage(7, 2)})
    engine.will(streams(piece("Hi"), piece(".", "stop"), told, DONE))
    answer = await platform.call("POST", COMPLETIONS, body(prompt="x", stream=True))
    row = await platform.usage()

    assert piece("Hi") + piece(".", "stop") + DONE == answer.body
    assert {"include_usage": True} == json.loads(engine.calls[0].body)["stream_options"]
    assert (7, 2) == (row["input_tokens"], row["output_tokens"])


async def test_a_completion_that_breaks_off_says_so_in_band(platform: Running, engine: Upstream) -> None:
    engine.will(begins(piece("Hi"), then=closes))
    answer = await platform.call("POST", COMPLETIONS, body(prompt="x", stream=True))

    assert "engine_died" == events_of(answer.body)[-1]["error"]["code"]


@pytest.mark.parametrize(("path", "field"), [(COMPLETIONS, "prompt"), (EMBEDDINGS, "input")])
async def test_what_is_wrong_is_refused_in_the_envelope(platform: Running, path: str, field: str) -> None:
    refusal(await platform.call("POST", path, body()), 400, "missing_required_parameter", field)
    refusal(await platform.call("POST", path, body(**{field: {}})), 400, "invalid_type", field)
    refusal(await platform.call("GET", path), 405, "method_not_allowed")
    refusal(await platform.call("POST", path, b"{}", {"authorization": "Bearer x"}), 401, "invalid_api_key")


@pytest.mark.parametrize(("path", "asked", "answered", "output"), CALLS.values(), ids=CALLS)
async def test_they_are_never_given_again(
    platform: Running, engine: Upstream, path: str, asked: bytes, answered: bytes, output: int
) -> None:
    await platform.admin("POST", "/tenants/default", {"cache": "on"})
    certain = json.dumps(json.loads(asked) | {"temperature": 0, "messages": []}).encode()
    engine.will(answers(answered), answers(answered))
    for _ in range(2):
        answer = await platform.call("POST", path, certain)
        assert answer.headers["cache-status"].endswith("fwd=bypass")
    only = await platform.call("POST", path, certain, {"cache-control": "only-if-cached"})

    assert (504, "not_cached") == (only.status, only.error["code"])
    assert 2 == len(engine.calls)


@pytest.mark.parametrize(("path", "asked", "answered", "output"), CALLS.values(), ids=CALLS)
async def test_they_are_queued_and_run_where_they_belong(
    platform: Running, engine: Upstream, path: str, asked: bytes, answered: bytes, output: int
) -> None:
    engine.will(answers(answered))
    envelope = b'{"url": "%b", "body": %b}' % (path.encode(), asked)
    queued = await platform.call("POST", "/v1/requests", envelope)
    assert 202 == queued.status, queued.body
    done = await platform.call("GET", f"/v1/requests/{queued.json['id']}?wait=30")
    row = await platform.usage()

    assert {"status_code": 200, "body": json.loads(answered)} == done.json["response"]
    assert (path, asked) == (path_of(engine.calls[0]), engine.calls[0].body)
    assert (1, 7, output) == (row["requests"], row["input_tokens"], row["output_tokens"])


async def test_a_queued_completion_cannot_stream(platform: Running) -> None:
    envelope = b'{"url": "%b", "body": %b}' % (COMPLETIONS.encode(), body(prompt="x", stream=True))
    refusal(await platform.call("POST", "/v1/requests", envelope), 400, "stream_not_supported", "stream")


STATEFUL = {
    "store": (True, "leave store out"),
    "previous_response_id": ("resp_1", "all of its turns"),
    "conversation": ("conv_1", "all of its turns"),
}


@pytest.mark.parametrize("param", STATEFUL)
async def test_a_chat_that_counts_on_a_memory_is_refused(platform: Running, param: str) -> None:
    value, told = STATEFUL[param]
    message = refusal(
        await platform.call("POST", CHAT, chat(**{param: value})), 400, "unsupported_parameter", param
    )

    assert told in message


async def test_a_conversation_may_be_an_object_and_none_of_these_may_be_nothing(
    platform: Running, engine: Upstream
) -> None:
    named = await platform.call("POST", CHAT, chat(conversation={"id": "conv_1"}))
    nothing = chat(store=False, previous_response_id=None, conversation=None)

    refusal(named, 400, "unsupported_parameter", "conversation")
    assert 200 == (await platform.call("POST", CHAT, nothing)).status
    assert nothing == engine.calls[0].body
