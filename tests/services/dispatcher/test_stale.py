"""Requests that were accepted and nobody routed: the sweep announces them again."""

from pathlib import Path
from typing import Any

import pytest

from events.envelope import wrap
from events.inference import InferenceRequested
from events.words import Unavailable
from functions.routing import handler as routing
from services.adapters.memory.keys import MemoryKeys
from tests.services.dispatcher.world import World, long_ago, world
from tests.support.clock import now
from tests.support.upstream import Upstream
from tests.support.wire import MODEL

pytestmark = pytest.mark.anyio


async def accepted(world: World, **fields: Any) -> str:
    """A request that was accepted long ago, the news of which is lost."""
    name = await world.submit()
    await world.change(
        name, **{"state": "accepted", "backend": None, "owed": (), "created_at": long_ago()} | fields
    )
    return name


def announced(world: World) -> list[tuple[str, str]]:
    """Event and request of every announcement, however often the same."""
    found = [m.attributes for m in world.said.messages if m.topic == "inference-requested-v1"]
    return [(attributes["ce-id"], attributes["ce-subject"]) for attributes in found]


async def test_a_request_nobody_routed_is_announced_again_and_run(world: World, engine: Upstream) -> None:
    name = await accepted(world)
    dispatcher = await world.dispatch()
    await world.sweep(dispatcher)
    (news,) = world.said.events("inference-requested-v1")
    assert InferenceRequested(request_id=name, tenant="acme", model=MODEL, lane="interactive") == news
    ports = routing.Ports(
        requests=world.requests, tenants=MemoryKeys(), config=lambda: world.config, keep_s=60
    )
    await routing.handle(wrap(news, id="1", source="/dispatcher", time=now()), ports)

    assert "completed" == (await world.ends(name)).state


async def test_it_is_announced_at_a_modest_pace_and_always_under_the_same_id(world: World) -> None:
    name = await accepted(world)
    first, second = await world.dispatch(), await world.dispatch("d2")
    for _ in range(3):
        await world.sweep(first)
    ((event_id, about),) = announced(world)
    assert name == about
    await world.sweep(second)

    assert [(event_id, name)] * 2 == announced(world)


async def test_it_is_announced_again_and_again_until_it_is_routed(tmp_path: Path, engine: Upstream) -> None:
    async with world(tmp_path, engine.url, stale_after_s=0) as made:
        name = await accepted(made)
        dispatcher = await made.dispatch()
        for _ in range(3):
            await made.sweep(dispatcher)
        assert 3 == len(announced(made))
        await made.change(name, state="routed", backend="pool")
        await made.sweep(dispatcher)

        assert 3 == len(announced(made))


async def test_a_request_just_accepted_is_given_time(world: World) -> None:
    await accepted(world, created_at=now())
    await world.sweep(await world.dispatch())

    assert [] == announced(world)


async def test_a_request_nobody_routed_expires_like_any_other(world: World) -> None:
    name = await accepted(world, deadline_at=long_ago())
    await world.sweep(await world.dispatch())

    assert ("expired", []) == ((await world.ends(name)).state, announced(world))


async def test_an_announcement_that_failed_is_made_by_the_next_sweep(world: World) -> None:
    await accepted(world)
    dispatcher = await world.dispatch()
    world.said.away = True
    with pytest.raises(Unavailable):
        await world.sweep(dispatcher)
    world.said.away = False
    await world.sweep(dispatcher)

    assert 1 == len(announced(world))


async def test_many_are_announced_at_once(world: World) -> None:
    names = [await accepted(world) for _ in range(250)]
    await world.sweep(await world.dispatch())

    assert sorted(names) == sorted(about for _, about in announced(world))
