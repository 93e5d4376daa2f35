"""Runs whose stores are away for a moment, or for good, or did what nobody heard of."""

import asyncio
from pathlib import Path

import pytest

from tests.services.dispatcher.world import World, world
from tests.support.upstream import Upstream, answers, hangs, waits_for
from tests.support.wire import completion, usage

pytestmark = pytest.mark.anyio

ANSWER = answers(completion("Hello.", usage=usage(7, 3)))


@pytest.mark.parametrize("during", ["prompt", "answer"])
async def test_bodies_that_are_away_for_a_moment_cost_no_attempt(
    tmp_path: Path, engine: Upstream, during: str
) -> None:
    go = asyncio.Event()
    engine.will(waits_for(go, ANSWER))
    async with world(tmp_path, engine.url, heartbeat_s=0.01) as made:
        name = await made.submit()
        made.bodies.fails = 2 * (during == "prompt")
        await made.dispatch()
        await engine.call()
        made.bodies.fails = 2 * (during == "answer")
        go.set()
        document = await made.ends(name)

        assert ("completed", 1, 1) == (document.state, document.attempts, len(engine.calls))
        assert "Hello." in str(await made.answer(name))


async def test_a_store_that_is_away_for_a_moment_costs_no_attempt(tmp_path: Path, engine: Upstream) -> None:
    go = asyncio.Event()
    engine.will(waits_for(go, ANSWER))
    async with world(tmp_path, engine.url, heartbeat_s=0.01) as made:
        name = await made.submit()
        await made.dispatch()
        await engine.call()
        made.requests.away = True
        await asyncio.sleep(0.05)
        go.set()
        await asyncio.sleep(0.05)
        made.requests.away = False
        document = await made.ends(name)

        assert ("completed", 1, 1) == (document.state, document.attempts, len(engine.calls))
        assert ["finished"] == [done.outcome for done in made.said.completions()]


async def test_writes_that_nobody_heard_of_cost_no_attempt(tmp_path: Path, engine: Upstream) -> None:
    go = asyncio.Event()
    engine.will(waits_for(go, ANSWER))
    async with world(tmp_path, engine.url, heartbeat_s=0.01) as made:
        name = await made.submit()
        await made.dispatch()
        await engine.call()
        made.requests.unheard = True
        await asyncio.sleep(0.05)
        go.set()
        await made.reaches(name, "completed")
        made.requests.unheard = False
        document = await made.ends(name)

        assert (1, 1) == (document.attempts, len(engine.calls))
        assert 1 == len(made.said.events("inference-completed-v1"))
        assert ["finished"] == [done.outcome for done in made.said.completions()]


async def test_a_run_that_cannot_renew_its_lease_leaves_its_engine_and_is_made_again(
    tmp_path: Path, engine: Upstream
) -> None:
    engine.will(hangs, ANSWER)
    async with world(tmp_path, engine.url, lease_s=0.2, heartbeat_s=0.01) as made:
        name = await made.submit()
        dispatcher = await made.dispatch()
        call = await engine.call()
        made.requests.away = True
        await call.left()
        made.requests.away = False
        await made.sweep(dispatcher)
        document = await made.ends(name)

        assert ("completed", 2, 0) == (document.state, document.attempts, document.failures)
        outcomes = [(done.outcome, done.billed) for done in await made.completions(2)]
        assert [("superseded", False), ("finished", True)] == outcomes


async def test_a_dispatcher_stops_although_the_store_is_away(world: World, engine: Upstream) -> None:
    engine.will(hangs)
    name = await world.submit()
    dispatcher = await world.dispatch()
    await engine.call()
    world.requests.away = True
    async with asyncio.timeout(10):
        await dispatcher.stop(0)

    assert "running" == (await world.document(name)).state
    assert ["shutdown"] == [done.outcome for done in await world.completions(1)]


async def test_an_end_wakes_who_waits_for_it_although_it_cannot_be_told(
    world: World, engine: Upstream
) -> None:
    engine.will(ANSWER)
    name = await world.submit()
    with world.waiters.waiting(name) as rung:
        world.said.away = True
        await world.dispatch()
        async with asyncio.timeout(10):
            await rung.wait()

    assert "completed" == (await world.document(name)).state
