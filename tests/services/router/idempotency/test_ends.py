"""Runs whose process stops, whose client is gone, or whose key is no good."""

import asyncio
import json
from dataclasses import replace

import pytest

from events.usage import Started
from services.router.order import Deadlines
from tests.services.router.idempotency.asking import KEY, ask, none_under_way, said
from tests.support import client
from tests.support.keyed import QUICK, StoredRuns
from tests.support.routing import Routed, routed
from tests.support.upstream import Upstream, answers, hangs, waits_for
from tests.support.wire import chat

pytestmark = pytest.mark.anyio


# --- the end of a process, and bounds


async def test_an_attempt_under_a_key_that_is_lost_is_not_billed(router: Routed, engine: Upstream) -> None:
    await ask(router)
    await router.call(chat())
    records = await router.tap.has(4)

    assert [True, False] == [record.queued for record in records if isinstance(record, Started)]


async def test_what_waits_when_the_process_stops_is_told_so(engine: Upstream, keyed: StoredRuns) -> None:
    engine.will(hangs)
    async with routed(engine.url, keyed=keyed) as router:
        first, second = (asyncio.create_task(ask(router)) for _ in range(2))
        await engine.call()
        await asyncio.sleep(0.02)
    told = [await first, await second]

    assert [(503, "shutting_down")] * 2 == [said(one) for one in told]
    assert {} == keyed.calls._calls


async def test_where_there_is_no_room_a_call_does_not_go_on_without_its_client(
    engine: Upstream, keyed: StoredRuns
) -> None:
    engine.will(hangs)
    body = chat("x" * 6_000)
    async with routed(engine.url, keyed=keyed, budget=10_000) as router:
        async with client.connected(router.port) as gone:
            await gone.send(router.request(body, KEY))
            await engine.call()
            router.budget.count(router.budget.limit)
            gone.reset()
            await engine.calls[0].left()
        await none_under_way(router)
        router.budget.give_back(router.budget.limit)

    assert {} == keyed.calls._calls


async def test_deadlines_hold_without_a_client_too(engine: Upstream, keyed: StoredRuns) -> None:
    engine.will(hangs)
    async with routed(engine.url, keyed=keyed, deadlines=Deadlines(first_byte_s=0.1)) as router:
        async with client.connected(router.port) as gone:
            await gone.send(router.request(chat(), KEY))
            await engine.call()
            gone.reset()
        await engine.calls[0].left()
        await none_under_way(router)
        assert 200 == (await ask(router)).status


# --- keys and bodies


BAD: dict[str, str] = {
    "empty": "",
    "too long": "k" * 256,
    "not ASCII": "clé",
    "twice": "a, b",
}


@pytest.mark.parametrize("key", BAD.values(), ids=BAD)
async def test_a_malformed_key_is_refused_with_a_sentence(
    router: Routed, engine: Upstream, keyed: StoredRuns, key: str
) -> None:
    refused = await ask(router, key=key)

    assert (400, "invalid_idempotency_key") == said(refused)
    assert refused.error["message"].startswith("The header Idempotency-Key ")
    assert ("idempotency-key", "false") == (refused.error["param"], refused.headers["x-should-retry"])
    assert [] == engine.calls
    assert 0 == keyed.calls.writes


@pytest.mark.parametrize("key", ["k", "k" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "a b;c=d"])
async def test_other_keys_are_taken(router: Routed, key: str) -> None:
    assert 200 == (await ask(router, key=key)).status
    assert "idempotent-replayed" in (await ask(router, key=key)).headers


async def test_the_same_key_with_another_body_is_refused(router: Routed, engine: Upstream) -> None:
    await ask(router)
    refused = await ask(router, "Something else.")

    assert (422, "idempotency_key_reused") == said(refused)
    assert "false" == refused.headers["x-should-retry"]
    assert 1 == len(engine.calls)


async def test_also_while_the_first_call_runs(router: Routed, other: Routed, engine: Upstream) -> None:
    go = asyncio.Event()
    engine.will(waits_for(go, answers()))
    first = asyncio.create_task(ask(router))
    await engine.call()
    refused = [await ask(which, "Something else.") for which in (router, other)]
    go.set()

    assert [(422, "idempotency_key_reused")] * 2 == [said(one) for one in refused]
    assert 200 == (await first).status


async def test_a_call_with_a_wrong_key_comes_no_further(router: Routed, keyed: StoredRuns) -> None:
    refused = await ask(replace(router, key="sk-wrong"))

    assert 401 == refused.status
    assert 0 == keyed.calls.writes


async def test_an_answer_is_the_same_to_the_byte(router: Routed, engine: Upstream) -> None:
    odd = json.dumps({"choices": [], "odd": "  ü\u2028"}, ensure_ascii=False).encode()
    engine.will(answers(odd))

    assert odd == (await ask(router)).body == (await ask(router)).body


async def test_a_retry_does_not_wait_for_ever(engine: Upstream, keyed: StoredRuns) -> None:
    keyed.patience = replace(QUICK, here_s=0.05)
    engine.will(hangs)
    async with routed(engine.url, keyed=keyed) as router:
        first = asyncio.create_task(ask(router))
        await engine.call()
        refused = await ask(router)

    assert (409, "idempotency_key_in_use") == said(refused)
    assert (503, "shutting_down") == said(await first)
