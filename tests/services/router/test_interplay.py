"""Features that meet in one call: keys, guards, the cache and cold pools."""

import asyncio
from pathlib import Path

import pytest

from events.usage import Completed
from services.guarding.guard import Blocked
from tests.services.router.cold.pool import HOLD, cold_pool, config_of
from tests.services.router.guarded import reasons
from tests.services.router.idempotency.asking import KEY, ask, none_under_way, said
from tests.support.caching import StoredCache
from tests.support.client import connected
from tests.support.guards import Slow, blocking
from tests.support.keyed import StoredRuns
from tests.support.platform import eventually
from tests.support.routing import Routed, routed
from tests.support.upstream import Upstream, streams
from tests.support.wire import DONE, chat, delta, text_of

pytestmark = pytest.mark.anyio

REPLAYED = "idempotent-replayed"


@pytest.fixture
def keyed(tmp_path: Path) -> StoredRuns:
    return StoredRuns(folder=tmp_path)


def billed(it: Routed) -> int:
    return sum(isinstance(record, Completed) and record.billed for record in it.tap.records)


async def test_a_held_call_goes_on_for_its_retry(engine: Upstream, keyed: StoredRuns) -> None:
    async with cold_pool(config_of(engine), keyed=keyed) as cold:
        async with connected(cold.it.port) as gone:
            await gone.send(cold.it.request(chat(), HOLD | KEY))
            await eventually(lambda: _waits(cold.it))
            gone.reset()
        retried = asyncio.create_task(cold.it.call(chat(), HOLD | KEY))
        await cold.lists("127.0.0.1")
        assert 200 == (await retried).status
        await none_under_way(cold.it)
        await cold.it.tap.has(2)
        assert (1, 1, 0) == (len(engine.calls), billed(cold.it), cold.it.budget.used)


async def _waits(it: Routed) -> bool:
    return it.room.waiting == 1


async def test_a_stream_that_was_cut_is_told_again_as_it_was_cut(engine: Upstream, keyed: StoredRuns) -> None:
    engine.always = streams(delta("No "), delta("secret "), delta("is told."), DONE)
    async with routed(engine.url, keyed=keyed, guard=blocking("secret")) as it:
        first, again = await ask(it, stream=True), await ask(it, stream=True)
        await none_under_way(it)
        await it.tap.has(2)
        assert (1, 1, 0) == (len(engine.calls), billed(it), it.budget.used)

    assert first.body == again.body
    assert ("No ", ["content_filter"]) == (text_of(first.body), reasons(first.body))
    assert [False, True] == [REPLAYED in one.headers for one in (first, again)]


async def test_a_verdict_is_waited_for_without_a_client(engine: Upstream, keyed: StoredRuns) -> None:
    guard = Slow()
    async with routed(engine.url, keyed=keyed, guard=guard) as it:
        async with connected(it.port) as gone:
            await gone.send(it.request(chat(), KEY))
            await guard.asked.wait()
            gone.reset()
        retried = asyncio.create_task(it.call(chat(), KEY))
        guard.may.set()
        assert "true" == (await retried).headers[REPLAYED]
        assert 1 == len(engine.calls)


async def test_a_verdict_against_a_prompt_leaves_the_key_free(engine: Upstream, keyed: StoredRuns) -> None:
    guard = Slow(verdict=Blocked())
    guard.may.set()
    async with routed(engine.url, keyed=keyed, guard=guard) as it:
        assert (400, "content_filter") == said(await ask(it))
        await none_under_way(it)

    assert {} == keyed.calls._calls


async def test_an_answer_of_the_cache_is_kept_under_a_key_too(
    engine: Upstream, keyed: StoredRuns, tmp_path: Path
) -> None:
    async with routed(engine.url, keyed=keyed, stored=StoredCache(folder=tmp_path)) as it:
        answers = [await ask(it, key=key, temperature=0) for key in ("a", "b", "b")]
        await it.tap.has(3)
        hits = [record for record in it.tap.records if isinstance(record, Completed) and record.hit]
        assert (1, 1) == (len(engine.calls), len(hits))

    assert 1 == len({answer.body for answer in answers})
    assert [False, False, True] == [REPLAYED in answer.headers for answer in answers]
    assert answers[1].headers["cache-status"] == answers[2].headers["cache-status"]


async def test_a_hit_under_a_key_is_billed_once_it_is_kept(
    engine: Upstream, keyed: StoredRuns, tmp_path: Path
) -> None:
    """Else a death in between had its retry billed, too."""
    async with routed(engine.url, keyed=keyed, stored=StoredCache(folder=tmp_path)) as it:
        await it.call(chat(temperature=0))
        await it.tap.has(2)
        keyed.bodies.door.clear()
        asked = asyncio.create_task(ask(it, temperature=0))
        await keyed.bodies.asked.wait()
        await asyncio.sleep(0.02)
        assert 2 == len(it.tap.records)
        keyed.bodies.door.set()
        assert 200 == (await asked).status
        assert 3 == len(await it.tap.has(3))
