"""What a router does with its cache where the shared tier is slow, away or behind."""

import asyncio
from pathlib import Path

import pytest

from events.usage import Completed
from events.words import Usage
from functions.caching.entry import Answer, Entry
from functions.caching.generations import Generations, purged
from services.front.limits import Budget
from services.router.cache import KNOWN_FOR_S
from services.router.cache_memory import OVERHEAD, MemoryTier
from services.router.tape import Recorded, Tape
from tests.support import client
from tests.support.caching import StoredCache
from tests.support.clock import now
from tests.support.platform import eventually
from tests.support.routing import Routed, routed
from tests.support.upstream import Upstream, answers, streams, upstream
from tests.support.wire import DONE, chat, completion, delta, event, usage

pytestmark = pytest.mark.anyio

BODY = chat(temperature=0)
END = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})


@pytest.fixture
async def engine() -> Upstream:
    async with upstream() as made:
        made.always = answers(completion(usage=usage(7, 3)))
        yield made


@pytest.fixture
def stored(tmp_path: Path) -> StoredCache:
    return StoredCache(folder=tmp_path)


async def share(stored: StoredCache, router: Routed, count: int = 1) -> None:
    """What the caching function does with offers."""

    async def came() -> bool:
        return len(router.tap.offered) >= count

    await eventually(came)
    for offered in router.tap.offered:
        await stored.cache.put(
            Entry(
                id=offered.entry_id,
                key=offered.key,
                tenant=offered.tenant,
                model=offered.model,
                expire_at=offered.expire_at,
                sealed=offered.sealed,
            )
        )


def said(answer: client.Response) -> str:
    return answer.headers["cache-status"]


async def test_what_one_router_offered_another_gives(engine: Upstream, stored: StoredCache) -> None:
    async with routed(engine.url, stored=stored) as one, routed(engine.url, stored=stored) as other:
        first = await one.call(BODY)
        await share(stored, one)
        second, third = await other.call(BODY), await other.call(BODY)
        (hit, _) = await other.tap.has(2)

    assert first.body == second.body == third.body
    assert ["shared", "memory"] == [said(answer).rpartition("=")[2] for answer in (second, third)]
    assert isinstance(hit, Completed)
    assert ("shared", Usage(input=7, cached=7), True) == (hit.hit, hit.usage, hit.billed)
    assert (1, 2) == (len(engine.calls), stored.reads)


async def test_an_offer_is_sealed(engine: Upstream, stored: StoredCache) -> None:
    async with routed(engine.url, stored=stored) as router:
        await router.call(BODY)
        await share(stored, router)

    assert b"Hello." not in router.tap.offered[0].sealed


async def test_what_comes_too_late_is_a_miss_now_and_a_hit_next_time(
    engine: Upstream, stored: StoredCache
) -> None:
    async with routed(engine.url, stored=stored) as one:
        await one.call(BODY)
        await share(stored, one)
    stored.door.clear()
    async with routed(engine.url, stored=stored, cache_wait_s=0.001) as router:
        late = await router.call(BODY)
        stored.door.set()
        await asyncio.sleep(0.01)
        early = await router.call(BODY)

    assert said(late).startswith("penstock; fwd=miss;") and said(late).endswith("; detail=late")
    assert said(early).endswith("detail=memory")
    assert 2 == len(engine.calls)


async def test_a_store_that_is_away_costs_hits_and_nothing_else(
    engine: Upstream, stored: StoredCache
) -> None:
    async with routed(engine.url, stored=stored) as router:
        stored.away = True
        answer, again = await router.call(BODY), await router.call(BODY)

    assert (200, 200) == (answer.status, again.status)
    assert "fwd=miss" in said(answer)
    assert said(again).endswith("detail=memory")


async def test_who_cannot_hear_of_purges_gives_nothing(engine: Upstream, stored: StoredCache) -> None:
    async with routed(engine.url, stored=stored) as router:
        assert router.cache is not None
        await router.call(BODY)
        stored.time += KNOWN_FOR_S + 1
        deaf = await router.call(BODY)
        await router.cache.refresh()
        heard = await router.call(BODY)

    assert "penstock; fwd=bypass" == said(deaf)
    assert said(heard).endswith("detail=memory")


async def test_a_purge_elsewhere_is_heard_of(engine: Upstream, stored: StoredCache) -> None:
    async with routed(engine.url, stored=stored) as router:
        assert router.cache is not None
        await router.call(BODY)
        await share(stored, router)
        await stored.cache.put_generations(purged(Generations(), "model", "gemma", now()), 0)
        await router.cache.refresh()
        anew = await router.call(BODY)

    assert "fwd=miss" in said(anew)
    assert router.cache.used > 0
    assert 2 == len(engine.calls)


async def test_an_answer_asked_for_before_a_purge_is_not_given_after_it(
    engine: Upstream, stored: StoredCache
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def answers_slowly(call: object) -> None:
        asked.set()
        await go_on.wait()
        await answers(completion())(call)  # type: ignore[arg-type]

    engine.will(answers_slowly)
    async with routed(engine.url, stored=stored) as router:
        assert router.cache is not None
        calling = asyncio.create_task(router.call(BODY))
        await asked.wait()
        await stored.cache.put_generations(purged(Generations(), "tenant", "acme", now()), 0)
        await router.cache.refresh()
        go_on.set()
        await calling
        await share(stored, router)
        after = await router.call(BODY)

    assert "fwd=miss" in said(after)


async def test_an_older_look_at_purges_does_not_undo_a_newer_one(
    engine: Upstream, stored: StoredCache
) -> None:
    async with routed(engine.url, stored=stored) as router:
        assert router.cache is not None
        await stored.cache.put_generations(purged(Generations(), "tenant", "acme", now()), 0)
        await router.cache.refresh()
        await router.call(BODY)
        stored.cache = type(stored.cache)(now)  # what a read says that began before the purge
        await router.cache.refresh()

    assert router.cache.used > 0


async def test_a_hit_that_cannot_be_counted_is_not_given(engine: Upstream, stored: StoredCache) -> None:
    async with routed(engine.url, stored=stored) as router:
        await router.call(BODY)
        router.tap.broken = True
        await router.call(chat("Other."))  # by which it is noticed
        assert router.recorder.failing
        refused = await router.call(BODY)

    assert 503 == refused.status


async def test_a_client_that_leaves_while_the_cache_is_asked_costs_no_engine(
    engine: Upstream, stored: StoredCache
) -> None:
    stored.door.clear()
    async with routed(engine.url, stored=stored) as router:
        async with client.connected(router.port) as connection:
            await connection.send(router.request(BODY))

            async def asked() -> bool:
                return stored.reads == 1

            await eventually(asked)
        await asyncio.sleep(0.01)
        stored.door.set()
        await router.call(chat("Other."))

    assert ["Other."] == [call.json["messages"][0]["content"] for call in engine.calls]


async def test_what_is_noted_of_a_stream_is_given_back(engine: Upstream, stored: StoredCache) -> None:
    engine.will(streams(delta("Hello."), END, DONE))
    async with routed(engine.url, stored=stored) as router:
        await router.call(chat(temperature=0, stream=True))

        async def free() -> bool:
            return router.budget.used == 0

        await eventually(free)
        again = await router.call(chat(temperature=0, stream=True))

    assert said(again).endswith("detail=memory")


class Ended:
    """An attempt that answered."""

    id = "req_1.1"
    answer = b"whole"
    usage = Usage(input=7, output=3)
    counted = True


def test_a_tape_holds_no_more_than_there_is_room_for() -> None:
    kept: list[Recorded] = []
    budget = Budget(10)
    tape = Tape(budget, kept.append)
    tape.add(b"12345678")
    tape.add(b"9abc")
    assert 0 == budget.used
    tape.add(b"d")
    tape.end("finished", Ended())

    assert ([], 0) == (kept, budget.used)


def test_a_tape_of_what_did_not_finish_is_thrown_away() -> None:
    kept: list[Recorded] = []
    budget = Budget(10)
    tape = Tape(budget, kept.append)
    tape.add(b"1234")
    tape.end("client_gone", Ended())

    assert ([], 0) == (kept, budget.used)


def test_a_tape_tells_what_the_client_got() -> None:
    kept: list[Recorded] = []
    for events in (b"", b"data: 1\n\n"):
        tape = Tape(Budget(10), kept.append)
        if events:
            tape.add(events)
        tape.end("finished", Ended())

    assert [(b"whole", False), (b"data: 1\n\n", True)] == [(one.body, one.stream) for one in kept]


def answer(size: int) -> Answer:
    return Answer(body=bytes(size), stream=False, usage=Usage(), counted=True, at=now())


def test_of_the_answers_in_memory_the_one_not_used_for_longest_goes_first() -> None:
    at = now()
    later = at.replace(year=at.year + 1)
    tier = MemoryTier(3 * (OVERHEAD + 100))
    for name in "abc":
        tier.put(name, answer(100), later)
    assert tier.get("a", at) is not None
    tier.put("d", answer(100), later)
    tier.put("e", answer(10_000), later)

    assert ["a", "c", "d"] == [name for name in "abcde" if tier.get(name, at) is not None]
    assert 3 * (OVERHEAD + 100) == tier.used
    assert tier.get("a", later) is None
    assert 2 * (OVERHEAD + 100) == tier.used
    tier.clear()
    assert 0 == tier.used


def test_without_room_nothing_is_kept_in_memory() -> None:
    tier = MemoryTier(0)
    tier.put("a", answer(0), now())

    assert 0 == tier.used
