"""Everything a caller can get wrong is answered in OpenAI's envelope with what to do; nothing is a 500."""

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.services.router.refusing import refusal
from tests.support.examples import at_most
from tests.support.platform import CHAT, Running, config_file, running
from tests.support.upstream import Upstream, answers, streams
from tests.support.wire import DONE, chat, delta

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def platform(shared_platform: Running) -> Running:
    return shared_platform


SYNTAX = {
    "nothing": b"",
    "a word": b"hello",
    "half an object": b'{"model": "gem',
    "more than an object": chat() + b"{}",
    "a comma too many": b'{"model": "gemma",}',
    "not UTF-8": b'{"model": "gemma", "messages": [{"role": "user", "content": "\xff\xfe"}]}',
    "UTF-16": '{"model": "gemma"}'.encode("utf-16"),
    "UTF-8 with a mark": b'\xef\xbb\xbf{"model": "gemma", "messages": [{"role": "user", "content": "x"}]}',
    "not UTF-8 where nobody looks": chat()[:-1] + b', "user": "\xff"}',
    "depth": b'{"model": "gemma", "x": ' + b"[" * 100_000,
    "depth in a message": b'{"model": "gemma", "messages": [{"role": "user", "content": ' + b"[" * 9000,
}


@pytest.mark.parametrize("body", SYNTAX.values(), ids=SYNTAX)
async def test_what_is_no_json_is_refused(platform: Running, body: bytes) -> None:
    refusal(await platform.call("POST", CHAT, body), 400, "invalid_json")


TYPE, MISSING = "invalid_type", "missing_required_parameter"
SHAPES = {
    "a list": (b"[]", TYPE, None),
    "a text": (b'"gemma"', TYPE, None),
    "null": (b"null", TYPE, None),
    "no model": (b'{"messages": []}', MISSING, "model"),
    "a model that is no text": (chat(model=5), TYPE, "model"),
    "no messages": (b'{"model": "gemma"}', MISSING, "messages"),
    "messages that are no list": (chat(messages="hello"), TYPE, "messages"),
    "a message that is no object": (chat(messages=["hello"]), TYPE, "messages[0]"),
    "a message without a role": (chat(messages=[{"content": "x"}]), MISSING, "messages[0].role"),
    "a role that is no text": (chat(messages=[{"role": 1}]), TYPE, "messages[0].role"),
    "a stream that is no yes or no": (chat(stream="yes"), TYPE, "stream"),
    "options that are no object": (chat(stream_options=[1]), TYPE, "stream_options"),
    "a wish that is no yes or no": (
        chat(stream_options={"include_usage": "x"}),
        TYPE,
        "stream_options.include_usage",
    ),
}


@pytest.mark.parametrize(("body", "code", "param"), SHAPES.values(), ids=SHAPES)
async def test_a_field_of_the_wrong_type_is_named(
    platform: Running, body: bytes, code: str, param: str | None
) -> None:
    refusal(await platform.call("POST", CHAT, body), 400, code, param)


async def test_empty_messages_are_refused(platform: Running) -> None:
    message = refusal(await platform.chat(messages=[]), 400, "empty_array", "messages")

    assert "send at least one message" in message


async def test_an_unknown_model_is_refused_with_those_there_are(platform: Running) -> None:
    message = refusal(await platform.chat(model="gpt-9"), 404, "model_not_found", "model")

    assert "'gpt-9'" in message
    assert "Models: gemma." in message


async def test_no_answer_repeats_a_long_text_to_its_end(platform: Running) -> None:
    long = "x" * 20_000
    answers = [
        await platform.chat(model=long),
        await platform.chat(headers={"content-type": long}),
        await platform.call("GET", f"/v1/models/{long}"),
        await platform.call("GET", f"/v1/requests/{long}"),
        await platform.call("GET", f"/v1/requests/req_1?wait={long}"),
        await platform.call("POST", "/v1/requests", chat(), {"content-type": long}),
        await platform.call("GET", f"/{long}"),
    ]

    for answer in answers:
        assert 400 <= answer.status < 500
        assert len(answer.body) < 500


async def test_a_prompt_far_over_the_models_context_is_refused(tmp_path: Path, engine: Upstream) -> None:
    async with running(tmp_path, config=config_file(tmp_path, engine.url, context=100)) as platform:
        message = refusal(await platform.chat("x" * 1000), 400, "context_length_exceeded", "messages")
        assert 200 == (await platform.chat("x" * 400)).status

    assert "takes 100. Shorten the messages." in message
    assert 1 == len(engine.calls)


async def test_a_body_over_the_limit_is_refused_before_anything_else(
    tmp_path: Path, engine: Upstream
) -> None:
    settings = {"config": config_file(tmp_path, engine.url), "max_body_bytes": 1000}
    async with running(tmp_path, **settings) as platform:
        message = refusal(await platform.chat("x" * 1000), 413, "request_too_large")

    assert "1000 bytes" in message


async def test_a_body_there_is_no_memory_for_may_be_sent_again(tmp_path: Path, engine: Upstream) -> None:
    settings = {"config": config_file(tmp_path, engine.url), "max_held_bytes": 1000}
    async with running(tmp_path, **settings) as platform:
        refusal(await platform.chat("x" * 1000), 503, "overloaded")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_an_unsupported_method_is_refused_with_the_one_to_use(platform: Running, method: str) -> None:
    answer = await platform.call(method, CHAT)

    assert "use POST" in refusal(answer, 405, "method_not_allowed")
    assert "POST" == answer.headers["allow"]


@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonl"]
)
async def test_an_unsupported_media_type_is_refused_with_the_one_to_use(
    platform: Running, media: str
) -> None:
    answer = await platform.chat(headers={"content-type": media})

    assert "send application/json" in refusal(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("media", ["application/json; charset=utf-8", "Application/JSON"])
async def test_json_in_other_letters_is_taken(platform: Running, media: str) -> None:
    assert 200 == (await platform.chat(headers={"content-type": media})).status


PATHS = ["/", "/v1", "/v1/nothing", "/v1/chat/completions/", "/v1//models", "/%ff", "/%00", "/../etc"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_path_is_refused(platform: Running, method: str, path: str) -> None:
    refusal(await platform.call(method, path, b"{}"), 404, "not_found")


@pytest.mark.own_front
async def test_a_path_that_is_not_ascii_is_no_http(platform: Running) -> None:
    refusal(await platform.call("GET", "/caf\xe9"), 400, "invalid_request")


async def test_an_unknown_path_is_refused_whatever_the_host_is_called(platform: Running) -> None:
    for host in ("[", "[::1", "%", ""):
        refusal(await platform.call("GET", "/nothing", headers={"host": host}), 404, "not_found")


KNOWN = {"/v1/models": "POST", "/v1/models/gemma": "DELETE", "/v1/requests": "GET", "/health": "POST"}


@pytest.mark.parametrize(("path", "method"), KNOWN.items())
async def test_an_unsupported_method_on_other_paths_is_refused(
    platform: Running, path: str, method: str
) -> None:
    answer = await platform.call(method, path)

    refusal(answer, 405, "method_not_allowed")
    assert answer.headers["allow"]


async def test_a_path_with_a_slash_too_many_is_refused_not_redirected(platform: Running) -> None:
    for path in ("/v1/requests/", "/health/"):
        refusal(await platform.call("GET", path), 404, "not_found")


async def test_the_same_mistake_twice_has_two_request_ids(platform: Running) -> None:
    first, second = await asyncio.gather(platform.chat(messages=[]), platform.chat(messages=[]))

    assert first.headers["x-request-id"] != second.headers["x-request-id"]


VALID = json.loads(chat())


@at_most(40)
@given(
    field=st.sampled_from(["model", "messages", "stream", "stream_options"]),
    value=st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers()),
)
async def test_no_value_of_a_field_is_ever_a_500(
    platform: Running, shared_engine: Upstream, field: str, value: object
) -> None:
    streamed = field == "stream" and value is True
    shared_engine.always = streams(delta("Hello."), DONE) if streamed else answers()
    answer = await platform.call("POST", CHAT, json.dumps(VALID | {field: value}).encode())

    assert answer.status in (200, 400, 404), answer.body
