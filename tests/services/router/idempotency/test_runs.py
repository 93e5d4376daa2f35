"""Runs on stores that may be away, slow, or shared with other routers."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as changed

from events.usage import Started
from functions.request.idempotency import KeyedCall
from services.router.credentials import digest, mint, public_id
from services.router.order import Deadlines
from tests.support import client
from tests.support.client import Response
from tests.support.clock import now
from tests.support.keyed import QUICK, StoredRuns
from tests.support.platform import eventually
from tests.support.routing import Routed, routed
from tests.support.upstream import Upstream, answers, begins, closes, hangs, streams, waits_for
from tests.support.wire import DONE, chat, completion, delta, problem

pytestmark = pytest.mark.anyio

KEY = {"idempotency-key": "order-17"}
STREAM = (delta("Hel"), delta("lo."), DONE)


@pytest.fixture
def keyed(tmp_path: Path) -> StoredRuns:
    return StoredRuns(folder=tmp_path)


@pytest.fixture
async def router(engine: Upstream, keyed: StoredRuns) -> AsyncIterator[Routed]:
    async with routed(engine.url, keyed=keyed) as made:
        yield made


async def ask(router: Routed, text: str = "Hi.", key: str = "order-17", **more: Any) -> Response:
    return await router.call(chat(text, **more), {"idempotency-key": key})


def said(answer: Response) -> tuple[int, str]:
    return answer.status, answer.error["code"]


async def none_under_way(router: Routed) -> None:
    async def none() -> bool:
        return router.runs is not None and router.runs.under_way == 0

    await eventually(none)


def the_call(keyed: StoredRuns) -> KeyedCall:
    (stored,) = keyed.calls._calls.values()
    return stored.call


# --- what is kept, and when


async def test_an_answer_is_given_only_once_it_is_stored(
    router: Routed, engine: Upstream, keyed: StoredRuns
) -> None:
    keyed.bodies.door.clear()
    async with client.connected(router.port) as caller:
        await caller.send(router.request(chat(), KEY))
        await keyed.bodies.asked.wait()
        assert await caller.is_told_nothing()
        keyed.bodies.door.set()
        assert completion() == (await caller.response()).body


async def test_the_last_event_of_a_stream_is_given_only_once_it_is_stored(
    router: Routed, engine: Upstream, keyed: StoredRuns
) -> None:
    engine.will(streams(*STREAM))
    keyed.bodies.door.clear()
    async with client.connected(router.port) as caller:
        await caller.send(router.request(chat(stream=True), KEY))
        await caller.head()
        told = b""
        while not told.endswith(STREAM[1]):
            told += await caller.chunk()
        await keyed.bodies.asked.wait()
        assert await caller.is_told_nothing()
        keyed.bodies.door.set()
        while piece := await caller.chunk():
            told += piece

    assert b"".join(STREAM) == told


async def test_nothing_of_key_or_answer_is_stored_in_clear(
    router: Routed, engine: Upstream, keyed: StoredRuns
) -> None:
    await ask(router)
    (sealed,) = keyed.bodies.puts
    stored = repr(the_call(keyed))

    assert b"Hello" not in sealed
    assert "order-17" not in stored
    assert "acme" in stored


async def test_a_call_with_a_key_costs_two_writes_and_one_without_none(
    router: Routed, engine: Upstream, keyed: StoredRuns
) -> None:
    await router.call(chat())
    assert 0 == keyed.calls.writes
    await ask(router)
    assert 2 == keyed.calls.writes


async def test_a_key_is_free_again_after_its_time(engine: Upstream, tmp_path: Path) -> None:
    keyed = StoredRuns(folder=tmp_path, patience=replace(QUICK, keep_s=0.05))
    async with routed(engine.url, keyed=keyed) as router:
        first = await ask(router)
        await asyncio.sleep(0.06)
        second = await ask(router, "Something else.")

    assert (200, 200) == (first.status, second.status)
    assert 2 == len(engine.calls)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_too_large_to_be_kept_is_given_and_not_made_again(
    engine: Upstream, keyed: StoredRuns, stream: bool
) -> None:
    large = "x" * 4_000_000
    pieces = (delta(large), delta(large), DONE)
    engine.will(streams(*pieces) if stream else answers(completion(large * 2)))
    async with routed(engine.url, keyed=keyed, budget=2**26) as router:
        first, second = await ask(router, stream=stream), await ask(router, stream=stream)
        await none_under_way(router)
        assert 0 == router.budget.used

    assert (b"".join(pieces) if stream else completion(large * 2)) == first.body
    assert (410, "idempotency_result_not_kept") == said(second)
    assert "false" == second.headers["x-should-retry"]
    assert 1 == len(engine.calls)


async def test_a_stream_there_is_no_room_to_note_is_given_and_not_made_again(
    engine: Upstream, keyed: StoredRuns
) -> None:
    pieces = tuple(delta("x" * 30_000) for _ in range(40))
    engine.will(streams(*pieces, DONE))
    async with routed(engine.url, keyed=keyed, budget=300_000) as router:
        first, second = await ask(router, stream=True), await ask(router, stream=True)
        await none_under_way(router)
        assert 0 == router.budget.used

    assert b"".join((*pieces, DONE)) == first.body
    assert (410, "idempotency_result_not_kept") == said(second)


async def test_what_a_run_held_is_given_back(router: Routed, engine: Upstream) -> None:
    engine.will(streams(*STREAM), answers(), answers(problem(), 500))
    for number, stream in enumerate((True, False, False)):
        await ask(router, key=f"k{number}", stream=stream)
    await none_under_way(router)

    assert 0 == router.budget.used


# --- what is not kept


async def test_an_engines_error_leaves_the_key_free(router: Routed, engine: Upstream) -> None:
    engine.will(answers(problem(), 500), answers(problem(), 429), answers())
    told = [await ask(router) for _ in range(4)]

    assert [502, 429, 200, 200] == [one.status for one in told]
    assert [False, False, False, True] == ["idempotent-replayed" in one.headers for one in told]
    assert 3 == len(engine.calls)


async def test_a_refusal_leaves_the_key_free_for_a_mended_call(router: Routed, engine: Upstream) -> None:
    refused = await router.call(b'{"model": "gemma", "messages": []}', KEY)
    mended = await ask(router)

    assert (400, 200) == (refused.status, mended.status)


async def test_a_stream_that_broke_off_leaves_the_key_free(router: Routed, engine: Upstream) -> None:
    engine.will(begins(delta("Hel"), then=closes), streams(*STREAM))
    broken, whole = await ask(router, stream=True), await ask(router, stream=True)

    assert b"engine_died" in broken.body
    assert b"".join(STREAM) == whole.body
    assert 2 == len(engine.calls)


# --- stores that are away


async def test_while_the_store_is_away_nothing_is_dispatched(
    router: Routed, engine: Upstream, keyed: StoredRuns
) -> None:
    keyed.calls.away = True
    refused, plain = await ask(router), await router.call(chat())
    keyed.calls.away = False
    again = await ask(router)

    assert (503, "keys_unavailable") == said(refused)
    assert "1" == refused.headers["retry-after"]
    assert (200, 200) == (plain.status, again.status)
    assert 2 == len(engine.calls)


async def test_a_result_that_cannot_be_stored_at_once_is_stored_again(
    router: Routed, engine: Upstream, keyed: StoredRuns
) -> None:
    keyed.bodies.failures = 2
    first, second = await ask(router), await ask(router)

    assert (200, first.body, "true") == (second.status, second.body, second.headers["idempotent-replayed"])
    assert 1 == len(engine.calls)


async def test_an_answer_is_given_though_it_cannot_be_stored_at_all(
    router: Routed, engine: Upstream, keyed: StoredRuns
) -> None:
    keyed.bodies.failures = 100
    assert 200 == (await ask(router)).status
    keyed.bodies.failures = 0

    assert 200 == (await ask(router)).status  # by the same process, which knows that it runs no longer
    assert 2 == len(engine.calls)


# --- other routers on the same stores


@pytest.fixture
async def other(engine: Upstream, keyed: StoredRuns, router: Routed) -> AsyncIterator[Routed]:
    async with routed(engine.url, keyed=keyed) as made:
        await made.keys.makes(router.key)
        yield replace(made, key=router.key)


async def test_another_router_tells_the_same_answer(router: Routed, other: Routed, engine: Upstream) -> None:
    first, second = await ask(router), await ask(other)

    assert (first.body, "true") == (second.body, second.headers["idempotent-replayed"])
    assert first.headers["x-request-id"] == second.headers["x-request-id"]
    assert 1 == len(engine.calls)


async def test_another_router_waits_a_while_for_a_call_that_runs(
    router: Routed, other: Routed, engine: Upstream
) -> None:
    go = asyncio.Event()
    engine.will(waits_for(go, answers()))
    first = asyncio.create_task(ask(router))
    await engine.call()
    second = asyncio.create_task(ask(other))
    await asyncio.sleep(0.03)
    go.set()

    assert (await first).body == (await second).body
    assert 1 == len(engine.calls)


async def test_then_it_says_when_to_come_back(router: Routed, other: Routed, engine: Upstream) -> None:
    go = asyncio.Event()
    engine.will(waits_for(go, answers()))
    first = asyncio.create_task(ask(router))
    await engine.call()
    refused = await asyncio.gather(*(ask(other) for _ in range(3)))
    go.set()
    await first

    assert {(409, "idempotency_key_in_use")} == {said(one) for one in refused}
    assert {("2", "true")} == {(one.headers["retry-after"], one.headers["x-should-retry"]) for one in refused}
    assert 200 == (await ask(other)).status


async def test_at_two_routers_at_once_one_runs_it(router: Routed, other: Routed, engine: Upstream) -> None:
    told = await asyncio.gather(*(ask(which) for which in (router, other) for _ in range(5)))

    assert {200} == {one.status for one in told}
    assert 1 == len(engine.calls)


async def test_a_call_that_runs_long_stays_its_routers(
    router: Routed, other: Routed, engine: Upstream, keyed: StoredRuns
) -> None:
    go = asyncio.Event()
    engine.will(waits_for(go, answers()))
    first = asyncio.create_task(ask(router))
    await engine.call()
    lease = the_call(keyed).lease_until

    async def renewed() -> bool:
        return the_call(keyed).lease_until > lease

    await eventually(renewed)
    go.set()

    assert 200 == (await first).status
    assert "idempotent-replayed" in (await ask(other)).headers


async def dies(keyed: StoredRuns, *, ago_s: float) -> None:
    """A call that some router ran, and whose lease ended then."""
    call = the_call(keyed)
    (stored,) = keyed.calls._calls.values()
    lost = changed(call, owner="dead", run="req_dead", state="running")
    until = now() - timedelta(seconds=ago_s)
    await keyed.calls.replace(changed(lost, lease_until=until), stored.version)


async def test_a_call_whose_router_died_is_run_anew_once_its_lease_is_over(
    router: Routed, engine: Upstream, keyed: StoredRuns
) -> None:
    await ask(router)
    await dies(keyed, ago_s=-60)
    assert (409, "idempotency_key_in_use") == said(await ask(router))
    await dies(keyed, ago_s=1)
    told = await asyncio.gather(*(ask(router) for _ in range(4)))

    assert {200} == {one.status for one in told}
    assert 2 == len(engine.calls)
    assert "answered" == the_call(keyed).state


async def test_a_router_that_lost_its_call_overwrites_nothing(
    router: Routed, other: Routed, engine: Upstream, keyed: StoredRuns
) -> None:
    go = asyncio.Event()
    engine.will(waits_for(go, answers(completion("Late."))), answers(completion("In time.")))
    first = asyncio.create_task(ask(router))
    await engine.call()
    lost = the_call(keyed)
    (stored,) = keyed.calls._calls.values()
    await keyed.calls.replace(
        changed(lost, run="req_other", lease_until=now() - timedelta(seconds=9)), stored.version
    )
    second = await ask(other)
    go.set()
    late, again = await first, await ask(router)

    assert b"Late." in late.body  # it was made, and is billed
    assert second.body == again.body == completion("In time.")


async def test_tenants_do_not_see_each_others_keys(
    router: Routed, engine: Upstream, keyed: StoredRuns
) -> None:
    token = mint()
    mine = await router.keys.makes(token)
    await router.keys.keys.revoke(mine.id, now())
    stranger = mint()
    await router.keys.keys.add(
        changed(mine, hash=digest(stranger), id=public_id(stranger), tenant="other", revoked_at=None)
    )
    first = await ask(router)
    second = await ask(replace(router, key=stranger), "Something else.")
    third = await ask(replace(router, key=stranger), "Something else.")

    assert (200, 200) == (first.status, second.status)
    assert "idempotent-replayed" not in second.headers
    assert "idempotent-replayed" in third.headers
    assert 2 == len(engine.calls)


async def test_all_keys_of_a_tenant_share_theirs(router: Routed, engine: Upstream) -> None:
    second_key = mint()
    await router.keys.makes(second_key)
    first, second = await ask(router), await ask(replace(router, key=second_key))

    assert (first.body, "true") == (second.body, second.headers["idempotent-replayed"])


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
