"""A call with an idempotency key and its retries, as a client sees them: one answer, one bill."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.services.router.test_cache import ALL, caching
from tests.support import client
from tests.support.client import Client, Response
from tests.support.platform import CHAT, Running, config_file, eventually, running
from tests.support.upstream import Upstream, answers, begins, hangs, streams, waits_for
from tests.support.wire import (
    DONE,
    LAST_CHUNK,
    chat,
    chunk,
    completion,
    delta,
    events_of,
    problem,
    request,
    usage,
    usage_event,
)

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


# --- while the first one runs


@asynccontextmanager
async def impatient(folder: Path, engine: Upstream) -> AsyncIterator[Running]:
    """Soon a stream that waits is shown that it will come."""
    async with running(folder, config=config_file(folder, engine.url), commit_after_s=0.1) as platform:
        yield platform


@pytest.mark.parametrize("stream", [False, True])
async def test_those_that_come_while_it_runs_wait_for_it(
    platform: Running, engine: Upstream, stream: bool
) -> None:
    go = asyncio.Event()
    engine.will(waits_for(go, streams(*STREAM) if stream else answers()))
    first = asyncio.create_task(ask(platform, stream=stream))
    await engine.call()
    others = [asyncio.create_task(ask(platform, stream=stream)) for _ in range(4)]
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in (first, *others))
    go.set()
    told = await asyncio.gather(first, *others)

    assert {(200, told[0].body)} == {(one.status, one.body) for one in told}
    assert [None, *["true"] * 4] == [one.headers.get("idempotent-replayed") for one in told]
    assert 1 == len({one.headers["x-request-id"] for one in told})
    assert 1 == len(engine.calls)
    await is_billed_once(platform)


async def test_of_many_at_once_one_is_run(platform: Running, engine: Upstream) -> None:
    told = await asyncio.gather(*(ask(platform) for _ in range(20)))

    assert {200} == {one.status for one in told}
    assert 19 == sum("idempotent-replayed" in one.headers for one in told)
    assert 1 == len(engine.calls)


async def test_who_waits_for_a_stream_is_shown_that_it_comes(tmp_path: Path, engine: Upstream) -> None:
    go = asyncio.Event()
    engine.will(waits_for(go, streams(*STREAM)))
    async with impatient(tmp_path, engine) as platform, platform.connected() as other:
        first = asyncio.create_task(ask(platform, stream=True))
        await engine.call()
        await other.send(sent(platform, stream=True))
        head = await other.head()
        kept_alive = [await other.chunk(), await other.chunk()]
        go.set()
        rest = b""
        while piece := await other.chunk():
            rest += piece
        whole = await first

    assert (200, "text/event-stream; charset=utf-8") == (head.status, head.headers["content-type"])
    assert [b": keep-alive\n\n"] * 2 == kept_alive
    assert events_of(TOLD) == events_of(rest) == events_of(whole.body)


async def test_who_waited_for_a_stream_that_failed_has_it_made(tmp_path: Path, engine: Upstream) -> None:
    go = asyncio.Event()
    engine.will(waits_for(go, answers(problem(), 500)), streams(*STREAM))
    async with impatient(tmp_path, engine) as platform, platform.connected() as other:
        async with platform.connected() as first:
            await first.send(sent(platform, stream=True))
            await engine.call()
            await other.send(sent(platform, stream=True))
            await other.head()
            await other.chunk()
            go.set()
            failed = await first.response()
        rest = b""
        while piece := await other.chunk():
            rest += piece
        again = await ask(platform, stream=True)

    assert b"error" in failed.body
    assert events_of(TOLD) == events_of(rest) == events_of(again.body)
    assert "idempotent-replayed" in again.headers
    assert 2 == len(engine.calls)


async def test_who_waited_for_a_stream_is_refused_in_it(tmp_path: Path, engine: Upstream) -> None:
    go = asyncio.Event()
    engine.will(waits_for(go, answers(problem(), 500)), answers(problem("Still no."), 400))
    async with impatient(tmp_path, engine) as platform, platform.connected() as other:
        first = asyncio.create_task(ask(platform, stream=True))
        await engine.call()
        await other.send(sent(platform, stream=True))
        await other.head()
        await other.chunk()
        go.set()
        await first
        told = b""
        while piece := await other.chunk():
            told += piece

    assert "Still no." in events_of(told)[-1]["error"]["message"]


async def test_a_retry_that_leaves_disturbs_nobody(platform: Running, engine: Upstream) -> None:
    go = asyncio.Event()
    engine.will(waits_for(go, answers()))
    first = asyncio.create_task(ask(platform))
    await engine.call()
    async with platform.connected() as other:
        await other.send(sent(platform))
        await asyncio.sleep(0.02)
        other.reset()
    go.set()

    assert 200 == (await first).status
    await is_free(platform)


# --- clients that leave


@pytest.mark.parametrize("leave", [Client.close, Client.reset, Client.half_close])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_finds_its_answer_when_it_comes_back(
    platform: Running, engine: Upstream, stream: bool, leave: Any
) -> None:
    go = asyncio.Event()
    engine.will(waits_for(go, streams(*STREAM) if stream else answers()))
    async with platform.connected() as gone:
        await gone.send(sent(platform, stream=stream))
        await engine.call()
        leave(gone)
    await asyncio.sleep(0.02)
    assert not engine.calls[0].gone.is_set()
    go.set()
    again = await ask(platform, stream=stream)

    assert (200, TOLD if stream else completion()) == (again.status, again.body)
    assert "true" == again.headers["idempotent-replayed"]
    assert 1 == len(engine.calls)
    await is_billed_once(platform)


async def test_a_client_that_leaves_in_the_middle_of_a_stream_gets_all_of_it_later(
    platform: Running, engine: Upstream
) -> None:
    go = asyncio.Event()

    async def rest(call: Any) -> None:
        await go.wait()
        await call.send(*map(chunk, STREAM[1:]), LAST_CHUNK)

    engine.will(begins(STREAM[0], then=rest))
    async with platform.connected() as gone:
        await gone.send(sent(platform, stream=True))
        await gone.head()
        await gone.chunk()
        gone.reset()
    go.set()
    again = await ask(platform, stream=True)

    assert (TOLD, "true") == (again.body, again.headers["idempotent-replayed"])
    assert 1 == len(engine.calls)
    await is_billed_once(platform)


async def test_a_client_too_slow_to_read_holds_nothing_up_once_it_left(
    platform: Running, engine: Upstream
) -> None:
    pieces = [delta("x" * 10_000) for _ in range(100)]
    engine.will(streams(*pieces, *STREAM))
    async with platform.connected(receive_buffer=4096) as slow:
        await slow.send(sent(platform, stream=True))
        await slow.head()
        await asyncio.sleep(0.05)
        slow.reset()
    again = await ask(platform, stream=True)

    assert (b"".join((*pieces, TOLD)), "true") == (again.body, again.headers["idempotent-replayed"])
    assert 1 == len(engine.calls)


async def test_without_a_key_a_client_that_leaves_still_stops_its_engine(
    platform: Running, engine: Upstream
) -> None:
    engine.will(hangs)
    async with platform.connected() as gone:
        await gone.send(request("POST", CHAT, chat(), platform.keyed()))
        await engine.call()
        gone.reset()
    await engine.calls[0].left()


# --- together with the cache


async def test_an_answer_from_the_cache_is_kept_like_any_other(tmp_path: Path, engine: Upstream) -> None:
    engine.will(answers(completion("Hello.", usage=usage(7, 3))))
    async with caching(tmp_path, engine) as platform:
        await platform.chat(temperature=0)
        hit, again = await ask(platform, temperature=0), await ask(platform, temperature=0)

    assert "hit" in hit.headers["cache-status"]
    assert hit.headers["cache-status"] == again.headers["cache-status"]
    assert ("true", hit.body) == (again.headers["idempotent-replayed"], again.body)
    assert 1 == len(engine.calls)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_under_a_key_goes_to_the_cache_too(
    tmp_path: Path, engine: Upstream, stream: bool
) -> None:
    engine.will(streams(*STREAM) if stream else answers())
    async with caching(tmp_path, engine) as platform:
        first = await ask(platform, temperature=0, stream=stream)
        hit = await platform.chat(temperature=0, stream=stream)
        await platform.usage(2)

    assert "hit" in hit.headers["cache-status"]
    assert first.body == hit.body
    assert 1 == len(engine.calls)


async def test_a_client_that_leaves_while_the_cache_is_asked_loses_nothing(
    tmp_path: Path, engine: Upstream
) -> None:
    async with caching(tmp_path, engine) as platform:
        async with platform.connected() as gone:
            await gone.send(sent(platform, temperature=0))
            gone.reset()
        again = await ask(platform, temperature=0)

    assert 200 == again.status
    assert 1 == len(engine.calls)


# --- several in a row on one connection


async def test_the_connection_goes_on_behind_a_stored_answer(platform: Running, engine: Upstream) -> None:
    engine.will(streams(*STREAM), answers(completion("Next.")))
    async with platform.connected() as one:
        await one.send(sent(platform, stream=True) + sent(platform, stream=True))
        await one.send(request("POST", CHAT, chat("Next?"), platform.keyed()))
        told = [await one.response() for _ in range(3)]

    assert [TOLD, TOLD, completion("Next.")] == [answer.body for answer in told]
