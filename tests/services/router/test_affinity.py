"""Prompts that begin alike come to the same replica, while that has room; the caller is told."""

import asyncio
import re

import pytest

from events.config import Backend, Candidate, Config, Model
from tests.support.routing import Routed, routed
from tests.support.upstream import Upstream, answers, streams, upstream, waits_for
from tests.support.wire import DONE, MODEL, chat, delta

pytestmark = pytest.mark.anyio

ROUTE = re.compile(rf'"{MODEL}@pool";replica=([12]);of=2;picked=([a-z]+)')


def both(*engines: Upstream, slots: int = 4, affinity: float = 1.25) -> Config:
    replicas = tuple(engine.url for engine in engines)
    return Config(
        backends={"pool": Backend(replicas=replicas, affinity=affinity)},
        models={MODEL: Model(backend="pool", concurrency=slots)},
    )


async def told(it: Routed, body: bytes, headers: dict[str, str] | None = None) -> tuple[str, str]:
    """Which replica answered, and why that one."""
    answer = await it.call(body, headers)
    found = ROUTE.fullmatch(answer.headers["x-penstock-route"])
    assert (200, True) == (answer.status, found is not None)
    return (found[1], found[2]) if found else ("", "")


async def test_a_conversation_stays_at_one_replica_and_others_are_spread(engine: Upstream) -> None:
    async with upstream() as other, routed(config=both(engine, other)) as it:
        for number in range(24):
            assert 1 == len({await told(it, chat(f"I am {number}.")) for _ in range(3)})

    assert (72, 0, 0) == (
        len(engine.calls) + len(other.calls),
        len(engine.calls) % 3,
        len(other.calls) % 3,
    )
    assert engine.calls
    assert other.calls


@pytest.mark.parametrize("name", ["header", "user", "prompt_cache_key"])
async def test_a_conversation_may_be_named(engine: Upstream, name: str) -> None:
    more = {} if name == "header" else {name: "c1"}
    headers = {"x-penstock-conversation": "c1"} if name == "header" else {}
    async with upstream() as other, routed(config=both(engine, other)) as it:
        went = {await told(it, chat(f"I am {number}.", **more), headers) for number in range(8)}

    assert 1 == len(went)


async def test_where_a_replica_has_no_room_the_other_takes_it(engine: Upstream) -> None:
    go = asyncio.Event()
    async with upstream() as other, routed(config=both(engine, other, slots=1)) as it:
        for one in (engine, other):
            one.always = waits_for(go, answers())
        first = asyncio.create_task(told(it, chat()))
        while not engine.calls and not other.calls:
            await asyncio.sleep(0.001)
        second = asyncio.create_task(told(it, chat()))
        await asyncio.gather(engine.call(), other.call())
        go.set()
        went = [await first, await second]

    assert ["affinity", "spill"] == [why for _, why in went]
    assert {"1", "2"} == {replica for replica, _ in went}


async def test_it_can_be_turned_off(engine: Upstream) -> None:
    async with upstream() as other, routed(config=both(engine, other, affinity=0)) as it:
        went = [await told(it, chat()) for _ in range(4)]

    assert {("1", "least"), ("2", "least")} == set(went)


async def test_the_address_of_an_engine_is_told_to_nobody(engine: Upstream) -> None:
    async with upstream() as other, routed(config=both(engine, other)) as it:
        route = (await it.call(chat())).headers["x-penstock-route"]

    assert "127.0.0.1" not in route
    assert str(engine.port) not in route


async def test_of_two_backends_the_one_whose_streams_begin_sooner_is_preferred(engine: Upstream) -> None:
    async with upstream() as other:
        backends = {"pool": Backend(replicas=(engine.url,)), "spare": Backend(replicas=(other.url,))}
        of = (Candidate(backend="pool"), Candidate(backend="spare"))
        config = Config(backends=backends, models={MODEL: Model(backends=of, prefer="latency")})
        async with routed(config=config) as it:
            for one in (engine, other):
                one.always = streams(delta("a"), DONE)
            while len(it.pool.waits()) < 2:  # each is tried while nothing is known of it
                await it.call(chat(stream=True))
            (slow,), (fast,) = it.pool.replicas("pool"), it.pool.replicas("spare")
            for _ in range(20):
                slow.began_after(9.0)
                fast.began_after(0.1)
            route = (await it.call(chat())).headers["x-penstock-route"]

    assert f'"{MODEL}@spare";by=latency' == route
