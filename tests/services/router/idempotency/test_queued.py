"""Queued requests under idempotency keys: the same key names the same request."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from events.requests import RequestDocument
from events.words import ApiKey, Refusal, Unavailable
from functions.request.submission import Options
from services.adapters.memory.keyed_calls import MemoryKeyedCalls
from services.router.idempotency.queued import QueuedOnce
from tests.services.dispatcher import world as worlds
from tests.services.dispatcher.world import World
from tests.support.client import Response
from tests.support.clock import now
from tests.support.platform import CHAT, Running
from tests.support.upstream import Upstream, answers, hangs, upstream
from tests.support.wire import chat, completion, usage

pytestmark = pytest.mark.anyio

REQUESTS = "/v1/requests"
KEY = ApiKey(hash="h", id="key_1", tenant="acme", name="", created_at=now())


async def submit(platform: Running, text: str = "Hi.", key: str = "order-17", **more: Any) -> Response:
    return await platform.call("POST", REQUESTS, chat(text), {"idempotency-key": key, **more})


def said(answer: Response) -> tuple[int, str]:
    return answer.status, answer.error["code"]


async def test_a_request_that_is_handed_in_again_is_the_same(platform: Running, engine: Upstream) -> None:
    engine.will(answers(completion("Hello.", usage=usage(7, 3))))
    first, second = await submit(platform), await submit(platform)
    ended = await platform.call("GET", f"{first.headers['location']}?wait=10")
    third = await submit(platform)

    assert (202, 202, 202) == (first.status, second.status, third.status)
    assert first.headers["location"] == second.headers["location"] == third.headers["location"]
    assert [None, "true", "true"] == [
        one.headers.get("idempotent-replayed") for one in (first, second, third)
    ]
    assert ended.json == third.json  # as it is by now
    assert 1 == len(engine.calls)
    assert 1 == (await platform.usage())["requests"]


async def test_many_at_once_are_one(platform: Running, engine: Upstream) -> None:
    told = await asyncio.gather(*(submit(platform) for _ in range(10)))
    name = told[0].json["id"]
    ended = await platform.call("GET", f"{REQUESTS}/{name}?wait=10")

    assert {(202, name)} == {(one.status, one.json["id"]) for one in told}
    assert "completed" == ended.json["status"]
    assert 1 == len(engine.calls)


async def test_another_body_or_endpoint_is_refused(platform: Running, engine: Upstream) -> None:
    await submit(platform)
    other_body = await submit(platform, "Something else.")
    other_endpoint = await platform.call("POST", CHAT, chat(), {"idempotency-key": "order-17"})
    await platform.call("POST", CHAT, chat(), {"idempotency-key": "order-18"})
    and_back = await submit(platform, key="order-18")

    for refused in (other_body, other_endpoint, and_back):
        assert (422, "idempotency_key_reused") == said(refused)
        assert "false" == refused.headers["x-should-retry"]


async def test_a_malformed_key_is_refused(platform: Running) -> None:
    assert (400, "invalid_idempotency_key") == said(await submit(platform, key=""))


async def test_a_refused_body_leaves_the_key_free(platform: Running) -> None:
    headers = {"idempotency-key": "order-17"}
    refused = await platform.call("POST", REQUESTS, chat(stream=True), headers)

    assert (400, "stream_not_supported") == said(refused)
    assert 202 == (await submit(platform)).status


async def test_a_retry_after_its_deadline_still_finds_the_request(
    platform: Running, engine: Upstream
) -> None:
    engine.will(hangs)
    deadline = {"x-penstock-deadline": (now() + timedelta(seconds=0.5)).isoformat()}
    first = await submit(platform, **deadline)
    await asyncio.sleep(0.6)
    late = await submit(platform, **deadline)

    assert (202, first.json["id"]) == (late.status, late.json["id"])


# --- a process that dies in between


@pytest.fixture
async def world(tmp_path: Path) -> Any:
    async with upstream() as engine, worlds.world(tmp_path, engine.url) as made:
        yield made


def once(world: World, calls: MemoryKeyedCalls) -> QueuedOnce:
    return QueuedOnce(calls, world.sealer, world.queue(), keep_s=60, now=now)


async def handed_in(once: QueuedOnce) -> RequestDocument:
    document, _ = await once.submit(KEY, "order-17", REQUESTS, chat(), Options(), "")
    assert isinstance(document, RequestDocument)
    return document


async def test_what_was_named_and_not_queued_is_queued_under_that_name(world: World) -> None:
    calls = MemoryKeyedCalls(now)
    world.requests.away = True
    with pytest.raises(Unavailable):
        await handed_in(once(world, calls))
    (named,) = calls._calls.values()
    world.requests.away = False
    first, second = await handed_in(once(world, calls)), await handed_in(once(world, calls))

    assert named.call.run == first.id == second.id
    assert "queued" == named.call.state


async def test_a_key_without_its_store_queues_nothing(world: World) -> None:
    class Away(MemoryKeyedCalls):
        async def create(self, call: Any) -> Any:
            raise Unavailable("The store is away.")

    with pytest.raises(Unavailable):
        await handed_in(once(world, Away(now)))
    told, _ = await once(world, Away(now)).submit(KEY, "a, b", REQUESTS, chat(), Options(), "")

    assert isinstance(told, Refusal)
