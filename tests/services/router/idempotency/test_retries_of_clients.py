"""A call with an idempotency key and its retries, as a client sees them: one answer, one bill."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.services.router.test_cache import ALL, caching
from tests.support import client
from tests.support.client import Client, Response
from tests.support.platform import CHAT, Running, config_file, eventually, running
from tests.support.upstream import Upstream, answers, begins, closes, hangs, says, streams, waits_for
from tests.support.wire import DONE, chat, chunk, completion, delta, events_of, problem, request, response
from tests.support.wire import LAST_CHUNK, STREAM_HEAD, text_of, usage, usage_event

pytestmark = pytest.mark.anyio

KEY = {"idempotency-key": "order-17"}
STREAM = (*ALL, usage_event(7, 2), DONE)
TOLD = b"".join((*ALL, DONE))


async def ask(platform: Running, text: str = "Hi.", key: str = "order-17", **more: Any) -> Response:
    return await platform.chat(text, headers={"idempotency-key": key}, **more)


def said(answer: Response) -> tuple[int, str]:
    return answer.status, answer.error["code"]


def sent(platform: Running, text: str = "Hi.", **more: Any) -> bytes:
    return request("POST", CHAT, chat(text, **more), platform.keyed(KEY))


async def is_free(platform: Running) -> None:
    """Waits until no call with a key is under way."""

    async def none() -> bool:
        text = await client.ask(int(platform.metrics_url.rpartition(":")[2]), "GET", "/metrics")
        return b"penstock_keyed_calls 0.0" in text.body

    await eventually(none)


async def is_billed_once(platform: Running, requests: int = 1) -> None:
    await platform.chat("Another one, that whatever came before it is counted.")
    assert requests + 1 == (await platform.usage(requests + 1))["requests"]
    await asyncio.sleep(0.05)
    assert requests + 1 == (await platform.usage(requests + 1))["requests"]


# --- once it was answered


async def test_a_retry_gets_the_stored_answer_and_costs_nothing(platform: Running, engine: Upstream) -> None:
    engine.will(answers(completion("Hello.", usage=usage(7, 3))))
    first, second = await ask(platform), await ask(platform)

    assert (200, first.body) == (second.status, second.body)
    assert first.body == completion("Hello.", usage=usage(7, 3))
    assert "idempotent-replayed" not in first.headers
    assert "true" == second.headers.pop("idempotent-replayed")
    assert {**first.headers, "date": ""} == {**second.headers, "date": ""}
    assert 1 == len(engine.calls)
    await is_billed_once(platform)


async def test_a_stream_is_told_again_event_for_event(platform: Running, engine: Upstream) -> None:
    engine.will(streams(*STREAM))
    first, second = await ask(platform, stream=True), await ask(platform, stream=True)

    assert TOLD == first.body == second.body
    assert ("text/event-stream; charset=utf-8", "true") == (
        second.headers["content-type"],
        second.headers["idempotent-replayed"],
    )
    assert first.headers["x-request-id"] == second.headers["x-request-id"]
    await is_billed_once(platform)


ENDPOINTS: dict[str, tuple[str, dict[str, Any], bytes]] = {
    "completions": ("/v1/completions", {"prompt": "Hi."}, b""),
    "embeddings": (
        "/v1/embeddings",
        {"input": "Hi."},
        json.dumps({"object": "list", "data": [{"embedding": [1.0]}]}).encode(),
    ),
    "responses": ("/v1/responses", {"input": "Hi."}, b""),
}


@pytest.mark.parametrize(("path", "asked", "answered"), ENDPOINTS.values(), ids=ENDPOINTS)
async def test_at_every_endpoint(
    platform: Running, engine: Upstream, path: str, asked: dict[str, Any], answered: bytes
) -> None:
    engine.will(answers(answered))
    body = json.dumps({"model": "gemma", **asked}).encode()
    first, second = [await platform.call("POST", path, body, KEY) for _ in range(2)]

    assert (200, first.body, "true") == (second.status, second.body, second.headers["idempotent-replayed"])
    assert 1 == len(engine.calls)


async def test_a_response_that_is_streamed_is_told_again(platform: Running, engine: Upstream) -> None:
    engine.will(streams(*STREAM))
    body = json.dumps({"model": "gemma", "input": "Hi.", "stream": True}).encode()
    first, second = [await platform.call("POST", "/v1/responses", body, KEY) for _ in range(2)]

    assert b"event: response.completed" in first.body
    assert (first.body, "true") == (second.body, second.headers["idempotent-replayed"])
    assert 1 == len(engine.calls)


async def test_another_process_on_the_same_data_tells_it_again(tmp_path: Path, engine: Upstream) -> None:
    engine.will(streams(*STREAM))
    config = config_file(tmp_path, engine.url)
    async with running(tmp_path, config=config) as platform:
        first = await ask(platform, stream=True)
    async with running(tmp_path, config=config) as platform:
        second = await ask(platform, stream=True)

    assert (TOLD, TOLD, "true") == (first.body, second.body, second.headers["idempotent-replayed"])
    assert 1 == len(engine.calls)
    assert not [file for file in tmp_path.glob("data.db*") if b"order-17" in file.read_bytes()]
    assert not [file for file in tmp_path.glob("data.db*") if b'"Hel"' in file.read_bytes()]
