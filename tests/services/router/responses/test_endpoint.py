"""`POST /v1/responses` on the hot path: what engines do, what clients are told, and what is kept."""

import json
from typing import Any

import pytest

from tests.services.router.refusing import refusal
from tests.support.client import Response
from tests.support.platform import CHAT, Running, eventually
from tests.support.upstream import Upstream, answers, begins, closes, streams
from tests.support.wire import DONE, MODEL, completion, delta, event, problem, usage, usage_event

pytestmark = pytest.mark.anyio

ENDED = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})


async def ask(platform: Running, **fields: Any) -> Response:
    body = json.dumps({"model": MODEL, "input": "Hi."} | fields).encode()
    return await platform.call("POST", "/v1/responses", body)


async def test_an_engine_is_asked_for_a_chat_and_its_answer_told(platform: Running, engine: Upstream) -> None:
    engine.will(answers(completion("Hello.", usage=usage(7, 3))))
    answer = await ask(platform)
    row = await platform.usage()

    assert (200, "response", "completed") == (answer.status, answer.json["object"], answer.json["status"])
    assert "Hello." == answer.json["output"][0]["content"][0]["text"]
    assert CHAT == engine.calls[0].head.split()[1].decode()
    assert {"model": MODEL, "messages": [{"role": "user", "content": "Hi."}]} == engine.calls[0].json
    assert (7, 3) == (row["input_tokens"], row["output_tokens"])


async def test_a_stream_that_breaks_off_is_a_failed_response(platform: Running, engine: Upstream) -> None:
    engine.will(begins(delta("Half "), then=closes))
    answer = await ask(platform, stream=True)
    last = _last(answer.body)

    assert ("response.failed", "engine_died") == (last["type"], last["response"]["error"]["code"])


def _last(stream: bytes) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(stream.strip().rpartition(b"data: ")[2])
    return told


async def test_an_answer_that_is_no_chat_is_the_engines_error(platform: Running, engine: Upstream) -> None:
    engine.will(answers(b'{"choices": [{"message": 5}]}'))

    refusal(await ask(platform), 502, "engine_error")


async def test_an_engines_refusal_keeps_its_words(platform: Running, engine: Upstream) -> None:
    engine.will(answers(problem("Too hot.", param="temperature"), 400))

    assert "Too hot." == (await ask(platform)).error["message"]


async def test_without_a_key_nothing_is_read(platform: Running) -> None:
    answer = await platform.call("POST", "/v1/responses", b"{", {"authorization": "Bearer x"})

    refusal(answer, 401, "invalid_api_key")


async def test_other_methods_are_refused(platform: Running) -> None:
    refusal(await platform.call("GET", "/v1/responses"), 405, "method_not_allowed")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_may_come_from_the_cache(platform: Running, engine: Upstream, stream: bool) -> None:
    await platform.admin("POST", "/tenants/default", {"cache": "on"})
    made = streams(delta("Hello."), ENDED, usage_event(7, 3), DONE)
    engine.always = made if stream else answers(completion("Hello."))
    asked = [await ask(platform, temperature=0, stream=stream)]

    async def is_hit() -> bool:  # the first ones may come before it is looked up in time
        asked.append(await ask(platform, temperature=0, stream=stream))
        return "hit" in asked[-1].headers["cache-status"]

    await eventually(is_hit)

    assert all(b"Hello." in answer.body for answer in asked)
    assert len(engine.calls) < len(asked)
    assert len(asked) == len({answer.body for answer in asked})  # each has an id of its own
