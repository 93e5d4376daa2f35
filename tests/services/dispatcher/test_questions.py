"""What dispatchers ask the store, which costs money there: no more than they need."""

import asyncio
from pathlib import Path

import pytest

from events.envelope import Envelope, wrap
from events.inference import InferenceRouted
from services.dispatcher.choice import AMONG_FIRST
from tests.services.dispatcher.world import world
from tests.support.clock import now
from tests.support.upstream import Upstream, hangs
from tests.support.wire import MODEL

pytestmark = pytest.mark.anyio


def bell(tenant: str = "acme") -> Envelope:
    rung = InferenceRouted(
        request_id="r", tenant=tenant, model=MODEL, backend="pool", lane="interactive", deadline_at=now()
    )
    return wrap(rung, id="1", source="/test", time=now())


async def test_many_requests_are_claimed_after_few_questions(tmp_path: Path, engine: Upstream) -> None:
    async with world(tmp_path, engine.url, look_every_s=60, slots=3) as made:
        names = [await made.submit(tenant=f"t{number % 2}") for number in range(40)]
        await made.dispatch()
        for name in names:
            await made.ends(name)

        assert 1 == made.requests.asked["waiting_tenants"]
        assert made.requests.asked["waiting"] <= 40 / AMONG_FIRST + 4


async def test_a_bell_costs_one_question_for_its_tenant(tmp_path: Path, engine: Upstream) -> None:
    async with world(tmp_path, engine.url, look_every_s=60) as made:
        dispatcher = await made.dispatch()
        await asyncio.sleep(0.02)
        name = await made.submit()
        await dispatcher.handle(bell())
        await made.ends(name)
        await asyncio.sleep(0.02)

        assert (1, 1) == (made.requests.asked["waiting_tenants"], made.requests.asked["waiting"])


async def test_a_look_finds_what_no_bell_told_of_however_often_others_ring(
    tmp_path: Path, engine: Upstream
) -> None:
    async with world(tmp_path, engine.url, look_every_s=0.05) as made:
        dispatcher = await made.dispatch()
        await asyncio.sleep(0.01)
        name = await made.submit(tenant="quiet")
        async with asyncio.timeout(10):
            while (await made.document(name)).state != "completed":
                await dispatcher.handle(bell("loud"))
                await asyncio.sleep(0.001)


async def test_a_full_dispatcher_asks_nothing(tmp_path: Path, engine: Upstream) -> None:
    engine.always = hangs
    async with world(tmp_path, engine.url, slots=1) as made:
        for _ in range(3):
            await made.submit()
        await made.dispatch()
        await engine.call()
        asked = made.requests.asked["waiting_tenants"] + made.requests.asked["waiting"]
        await asyncio.sleep(0.1)

        assert asked == made.requests.asked["waiting_tenants"] + made.requests.asked["waiting"]


async def test_a_bug_that_stays_is_met_at_a_modest_pace(tmp_path: Path, engine: Upstream) -> None:
    async with world(tmp_path, engine.url, look_every_s=60) as made:
        made.requests.breaks = [RuntimeError("a bug")] * 9
        dispatcher = await made.dispatch()
        for _ in range(20):
            await dispatcher.handle(bell())
            await asyncio.sleep(0.001)

        assert 8 == len(made.requests.breaks)
