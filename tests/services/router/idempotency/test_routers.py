"""Routers that share their stores, and tenants that share routers."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from msgspec.structs import replace as changed

from services.router.credentials import digest, mint, public_id
from tests.services.router.idempotency.asking import KEY, ask, said, the_call
from tests.support import client
from tests.support.client import PATIENCE_S
from tests.support.clock import now
from tests.support.keyed import QUICK, StoredRuns
from tests.support.platform import eventually
from tests.support.routing import Routed, routed
from tests.support.upstream import Upstream, answers, waits_for
from tests.support.wire import chat, completion

pytestmark = pytest.mark.anyio


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


async def test_who_leaves_takes_nobody_along_that_waits_for_another_router(
    engine: Upstream, keyed: StoredRuns
) -> None:
    keyed.patience = replace(QUICK, elsewhere_s=PATIENCE_S)
    go = asyncio.Event()
    engine.will(waits_for(go, answers()))
    async with routed(engine.url, keyed=keyed) as first, routed(engine.url, keyed=keyed) as made:
        await made.keys.makes(first.key)
        other = replace(made, key=first.key)
        running = asyncio.create_task(ask(first))
        await engine.call()
        async with client.connected(other.port) as gone:
            await gone.send(other.request(chat(), KEY))
            await eventually(lambda: _under_way(other, 1))
            waiting = asyncio.create_task(ask(other))
            await eventually(lambda: _under_way(other, 2))
            gone.reset()
        await eventually(lambda: _under_way(other, 1))
        go.set()
        answered = [await running, await waiting]

    assert [200, 200] == [one.status for one in answered]


async def _under_way(router: Routed, calls: int) -> bool:
    return router.runs is not None and router.runs.under_way == calls
