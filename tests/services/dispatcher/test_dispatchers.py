"""Dispatchers that start, stop, die, and share a queue with others."""

import asyncio
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from events.envelope import wrap
from events.inference import InferenceCompleted
from events.jobs import JobDue
from events.requests import Claim
from events.words import Invalid
from functions.request.lifecycle import finish
from services.dispatcher.dispatcher import Dispatcher
from tests.services.dispatcher.world import World, long_ago, world
from tests.support.clock import now
from tests.support.upstream import Call, Upstream, answers, hangs, waits_for
from tests.support.wire import completion

pytestmark = pytest.mark.anyio


class Counting:
    """A script that takes its time and notes how many calls of a request run at once."""

    def __init__(self) -> None:
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.began: list[str] = []

    async def __call__(self, call: Call) -> None:
        name = call.headers["x-penstock-attempt"].partition(".")[0]
        self.began.append(call.json["messages"][0]["content"])
        self.running[name] += 1
        self.most[name] = max(self.most[name], self.running[name])
        await asyncio.sleep(0.005)
        self.running[name] -= 1
        await answers(completion())(call)


async def test_two_dispatchers_never_run_a_request_twice_at_once(world: World, engine: Upstream) -> None:
    engine.always = script = Counting()
    names = [await world.submit(tenant=f"t{number % 3}") for number in range(40)]
    for owner in ("d1", "d2"):
        await world.dispatch(owner)
    documents = [await world.ends(name) for name in names]

    assert {"completed"} == {document.state for document in documents}
    assert {1} == set(script.most.values())
    assert 40 == len(engine.calls)
    assert 40 == len(world.said.events("inference-completed-v1"))


async def test_a_dispatcher_runs_no_more_at_once_than_it_has_slots(tmp_path: Path, engine: Upstream) -> None:
    go = asyncio.Event()
    engine.always = waits_for(go, answers())
    async with world(tmp_path, engine.url, slots=3) as made:
        names = [await made.submit() for _ in range(10)]
        dispatcher = await made.dispatch()
        await engine.call(3)
        await asyncio.sleep(0.05)
        assert (3, 3) == (len(engine.calls), dispatcher.running)
        go.set()
        for name in names:
            await made.ends(name)

    assert 10 == len(engine.calls)


@pytest.mark.parametrize("slots", [1, 2])
async def test_a_tenant_with_many_requests_does_not_keep_others_waiting(
    tmp_path: Path, engine: Upstream, slots: int
) -> None:
    engine.always = script = Counting()
    async with world(tmp_path, engine.url, slots=slots) as made:
        names = [await made.submit("many", tenant="acme") for _ in range(20)]
        names += [await made.submit(f"few{n}", tenant=f"zeta{n}") for n in range(3)]
        await made.dispatch()
        for name in names:
            await made.ends(name)

    assert {"few0", "few1", "few2"} <= set(script.began[: 4 * slots + 2])


async def test_interactive_requests_run_before_those_of_a_batch(tmp_path: Path, engine: Upstream) -> None:
    engine.always = script = Counting()
    async with world(tmp_path, engine.url, slots=1) as made:
        names = [await made.submit("batch", lane="batch") for _ in range(5)]
        names += [await made.submit("interactive") for _ in range(5)]
        await made.dispatch()
        for name in names:
            await made.ends(name)

    assert ["interactive"] * 5 + ["batch"] * 5 == script.began


# --- starting and stopping


async def test_a_dispatcher_that_is_alone_takes_over_what_the_dead_were_running(
    world: World, engine: Upstream
) -> None:
    name = await world.submit()
    await world.change(name, state="running", claim=Claim(owner="dead", lease_until=now()), attempts=1)
    await world.dispatch(alone=True)
    document = await world.ends(name)

    assert ("completed", 2) == (document.state, document.attempts)


async def test_a_dispatcher_that_is_alone_tells_at_once_what_the_dead_could_not(
    tmp_path: Path, engine: Upstream
) -> None:
    async with world(tmp_path, engine.url, owed_after_s=3600) as made:
        names = [await ended_untold(made) for _ in range(250)]
        await made.dispatch(alone=True)
        assert [] == made.said.events("inference-completed-v1")  # its start did not wait for that
        for name in names:
            await made.ends(name)

        assert 250 == len(made.said.events("inference-completed-v1"))


async def test_a_dispatcher_among_others_leaves_them_time_to_tell(tmp_path: Path, engine: Upstream) -> None:
    async with world(tmp_path, engine.url, owed_after_s=3600) as made:
        name = await ended_untold(made)
        await made.dispatch()
        await asyncio.sleep(0.05)

        assert (await made.document(name)).owed


async def test_a_dispatcher_starts_although_nothing_can_be_told(world: World, engine: Upstream) -> None:
    untold, name = await ended_untold(world), await world.submit()
    world.said.away = True
    dispatcher = await world.dispatch(alone=True)
    await world.reaches(name, "completed")
    assert (await world.document(untold)).owed
    world.said.away = False
    await world.sweep(dispatcher)

    assert () == (await world.document(untold)).owed


async def ended_untold(world: World) -> str:
    """A request whose dispatcher died between its end and the telling of it."""
    name = await world.submit()
    stored = await world.stored(name)
    ended = finish(stored.document, "completed", now=now(), keep_s=60, source="/test")
    await world.requests.replace(ended, stored.version)
    return name


async def test_a_claim_that_ended_is_freed_by_the_sweep(world: World, engine: Upstream) -> None:
    name = await world.submit()
    await world.change(name, state="running", claim=Claim(owner="dead", lease_until=long_ago()), attempts=1)
    dispatcher = await world.dispatch()
    await asyncio.sleep(0.05)
    assert [] == engine.calls
    await world.sweep(dispatcher)

    assert "completed" == (await world.ends(name)).state


async def test_a_dispatcher_that_stops_lets_runs_end(world: World, engine: Upstream) -> None:
    go = asyncio.Event()
    engine.will(waits_for(go, answers()))
    name = await world.submit()
    dispatcher = await world.dispatch()
    await engine.call()
    stop = asyncio.create_task(dispatcher.stop(10))
    await asyncio.sleep(0.01)
    go.set()
    await stop

    assert "completed" == (await world.document(name)).state


async def test_a_dispatcher_that_stops_gives_back_what_does_not_end(world: World, engine: Upstream) -> None:
    engine.will(hangs, answers())
    name = await world.submit()
    dispatcher = await world.dispatch()
    call = await engine.call()
    await dispatcher.stop(0.01)
    await call.left()
    document = await world.document(name)

    assert ("routed", None, 0) == (document.state, document.claim, document.failures)
    assert ["shutdown"] == [done.outcome for done in await world.completions(1)]
    await world.dispatch("d2")
    assert "completed" == (await world.ends(name)).state


async def test_a_dispatcher_that_stops_begins_nothing_more(world: World, engine: Upstream) -> None:
    dispatcher = await world.dispatch()
    await dispatcher.stop(0)
    await world.submit()
    await asyncio.sleep(0.05)

    assert [] == engine.calls


async def test_a_dispatcher_stops_even_if_a_bell_rings_at_the_same_moment(
    world: World, engine: Upstream
) -> None:
    dispatcher = await world.dispatch()
    await asyncio.sleep(0.01)
    name = await world.submit()
    (bell,) = world.said.events("inference-routed-v1")
    await dispatcher.handle(wrap(bell, id="1", source="/test", time=now()))
    await dispatcher.stop(0)
    await asyncio.sleep(0.05)

    assert [] == engine.calls
    assert "routed" == (await world.document(name)).state


async def test_a_dispatcher_outlives_a_queue_that_is_away(world: World, engine: Upstream) -> None:
    name = await world.submit()
    world.requests.away = True
    dispatcher = await world.dispatch()
    await asyncio.sleep(0.05)
    world.requests.away = False

    assert "completed" == (await world.ends(name)).state
    assert await dispatcher.missing() is None


async def test_a_dispatcher_outlives_a_bug_and_says_so(
    world: World, engine: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    name = await world.submit()
    world.requests.breaks = [RuntimeError("a bug"), RuntimeError("a bug")]
    dispatcher = await world.dispatch()

    assert "completed" == (await world.ends(name)).state
    assert await dispatcher.missing() is None
    assert ["RuntimeError('a bug')"] * 2 == [repr(r.exc_info[1]) for r in caplog.records if r.exc_info]


async def test_who_asks_hears_whether_a_dispatcher_claims_anything(world: World) -> None:
    dispatcher = Dispatcher(world.ports(), Random(0))
    assert "it claims nothing" == await dispatcher.missing()
    await dispatcher.start(alone=True)
    assert await dispatcher.missing() is None
    await dispatcher.stop(0)
    assert "it claims nothing" == await dispatcher.missing()


async def test_an_end_that_could_not_be_told_is_told_by_the_sweep(world: World, engine: Upstream) -> None:
    name = await world.submit()
    world.said.away = True
    dispatcher = await world.dispatch()
    await world.reaches(name, "completed")
    await asyncio.sleep(0.02)
    assert (await world.document(name)).owed
    world.said.away = False
    await world.sweep(dispatcher)

    assert () == (await world.document(name)).owed
    assert 1 == len(world.said.events("inference-completed-v1"))
    assert 1 == sum(done.billed for done in await world.completions(1))


# --- the sweep


async def test_a_request_that_was_not_begun_in_time_expires(world: World, engine: Upstream) -> None:
    name = await world.submit()
    await world.change(name, deadline_at=long_ago())
    dispatcher = await world.dispatch()
    await world.sweep(dispatcher)
    document = await world.ends(name)
    (told,) = world.said.events("inference-completed-v1")

    assert ("expired", []) == (document.state, engine.calls)
    assert isinstance(told, InferenceCompleted)
    assert "expired" == told.status


async def test_who_waits_for_a_request_that_expires_is_woken(world: World, engine: Upstream) -> None:
    name = await world.submit()
    dispatcher = await world.dispatch()
    await dispatcher.stop(0)
    await world.change(name, state="routed", deadline_at=long_ago())
    with world.waiters.waiting(name) as rung:
        await world.sweep(dispatcher)

        assert rung.is_set()


async def test_a_lost_claim_whose_deadline_passed_expires_with_the_same_sweep(
    world: World, engine: Upstream
) -> None:
    name = await world.submit()
    dead = Claim(owner="dead", lease_until=long_ago())
    await world.change(name, state="running", claim=dead, attempts=1, deadline_at=long_ago())
    await world.sweep(await world.dispatch())

    assert ("expired", []) == ((await world.document(name)).state, engine.calls)


async def test_what_has_ended_is_forgotten_when_its_time_is_over(world: World, engine: Upstream) -> None:
    name = await world.submit()
    dispatcher = await world.dispatch()
    await world.ends(name)
    await world.change(name, expire_at=long_ago())
    await world.sweep(dispatcher)

    assert await world.requests.get(name) is None
    assert [] == await world.requests.forget(now(), 10)


async def test_many_are_swept_at_once(world: World, engine: Upstream) -> None:
    names = [await world.submit() for _ in range(250)]
    for name in names:
        await world.change(name, deadline_at=long_ago())
    dispatcher = await world.dispatch()
    await world.sweep(dispatcher)

    assert {"expired"} == {(await world.document(name)).state for name in names}


async def test_a_dispatcher_consumes_nothing_else(world: World) -> None:
    dispatcher = await world.dispatch()
    other = wrap(JobDue(job="settle-usage", slot=now()), id="1", source="/test", time=now())

    with pytest.raises(Invalid):
        await dispatcher.handle(other)
