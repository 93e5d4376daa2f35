"""Models at a hosted endpoint, on a whole platform: at once, by the queue, and with a key that stays here."""

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.services.router.refusing import refusal
from tests.support.client import Response
from tests.support.platform import Running, eventually, running
from tests.support.upstream import Upstream, answers, streams
from tests.support.wire import DONE, completion, event, usage

pytestmark = pytest.mark.anyio

KEY = "hush-hush-hush"
GREETING = {"model": "gem", "messages": [{"role": "user", "content": "Hi."}], "max_completion_tokens": 5}


@pytest.fixture
async def platform(
    tmp_path: Path, engine: Upstream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Running]:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("A_KEY", KEY)
    backend = {"url": f"{engine.url}/v1beta/openai", "kind": "gemini", "api_key": {"env": "A_KEY"}}
    models = {"gem": {"backend": "far", "served_as": "gemini-flash"}}
    config = tmp_path / "penstock.yaml"
    config.write_text(json.dumps({"backends": {"far": backend}, "models": models}))
    async with running(tmp_path, config=str(config)) as made:
        await made.admin("POST", "/tenants/default", {"may_leave": "on"})
        await eventually(lambda: listed(made))  # the key is there within milliseconds
        yield made
    assert KEY not in caplog.text
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes()


async def listed(platform: Running) -> bool:
    return b"gem" in (await platform.call("GET", "/v1/models")).body


async def test_a_call_goes_there_with_our_key_and_not_the_callers(
    platform: Running, engine: Upstream
) -> None:
    engine.will(answers(completion("Hello.", usage=usage(7, 3))))
    answer = await platform.chat(**GREETING)
    row = await platform.usage(1)

    assert 200 == answer.status
    assert KEY not in repr(answer)
    got = engine.calls[0]
    assert got.head.startswith(b"POST /v1beta/openai/chat/completions HTTP/1.1\r\n")
    assert f"Bearer {KEY}" == got.headers["authorization"]
    assert 1 == got.head.lower().count(b"authorization")
    assert platform.key.encode() not in got.head
    assert ("gemini-flash", 5) == (got.json["model"], got.json["max_completion_tokens"])
    assert "max_tokens" not in got.json
    assert ("gem", 7, 3) == (row["model"], row["input_tokens"], row["output_tokens"])


async def test_a_stream_is_told_in_openais_words(platform: Running, engine: Upstream) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    pieces: list[dict[str, Any]] = [{"delta": {"tool_calls": [call]}}, {"delta": {}, "finish_reason": "stop"}]
    chunks = [event({"choices": [{"index": 0, **one}], "usage": usage(7, 3)}) for one in pieces]
    engine.will(streams(*chunks, DONE))
    answer = await platform.chat(**GREETING, stream=True)
    row = await platform.usage(1)

    told = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: {")]
    assert [{**call, "index": 0}] == told[0]["choices"][0]["delta"]["tool_calls"]
    assert "tool_calls" == told[1]["choices"][0]["finish_reason"]
    assert 2 == len(told)
    assert b"usage" not in answer.body
    assert (7, 3) == (row["input_tokens"], row["output_tokens"])


LIMITED = b"""[{"error": {"code": 429, "message": "Slower.", "status": "RESOURCE_EXHAUSTED",
  "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}]}}]"""
WRONG = b'[{"error": {"code": 400, "message": "Unknown name \\"seed\\".", "status": "INVALID_ARGUMENT"}}]'


async def test_gemini_is_asked_again_when_it_says(platform: Running, engine: Upstream) -> None:
    engine.always = answers(LIMITED, 429)
    answer = await platform.chat(**GREETING)
    assert (429, "engine_busy") == (answer.status, answer.error["code"])
    assert "35" == answer.headers["retry-after"]


async def test_callers_mistakes_are_told_in_geminis_words(platform: Running, engine: Upstream) -> None:
    engine.will(answers(WRONG, 400))
    assert 'Unknown name "seed".' == refusal(await platform.chat(**GREETING), 400, "INVALID_ARGUMENT")


async def test_a_queued_request_goes_there_too(platform: Running, engine: Upstream) -> None:
    engine.will(answers(completion("Hello.", usage=usage(7, 3))))
    accepted: Response = await platform.call("POST", "/v1/requests", json.dumps(GREETING).encode())
    ended = await platform.call("GET", f"/v1/requests/{accepted.json['id']}?wait=20")

    assert "completed" == ended.json["status"]
    got = engine.calls[0]
    assert got.head.startswith(b"POST /v1beta/openai/chat/completions HTTP/1.1\r\n")
    assert (f"Bearer {KEY}", False) == (got.headers["authorization"], "max_tokens" in got.json)
