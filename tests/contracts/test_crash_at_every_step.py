"""A process may stop at any port call: once its event is delivered again, all is as if it had not.

A new handler is one more line in `HANDLED`, beside what is given and what it is called with.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from events.answer import AnswerDue
from events.catalog import ingest_key
from events.config import Backend, Config, Model
from events.envelope import Envelope, wrap
from events.inference import InferenceRequested
from events.ingest import IngestReceived
from events.requests import FINAL, Answer, Claim
from events.usage import Completed, Progress, Started, UsageRecord, UsageRecorded
from events.words import Usage
from functions.autoscale import handler as autoscale
from functions.delivery import handler as delivery
from functions.metering import handler as metering
from functions.metering.bill import increments
from functions.request import handler as request
from functions.request.intake import Terms
from functions.routing import handler as routing
from services.adapters.memory.attempt_counts import NoAttemptCounts
from services.adapters.memory.bus import MemoryBus
from services.adapters.memory.journal import MemoryJournal
from services.dispatcher.dispatcher import Dispatcher
from services.dispatcher.ports import Pace, Ports
from services.pool.pool import Pool
from services.usage.recorder import Lingers, UsageRecorder
from tests.contracts.adapters import START
from tests.contracts.crash_caching import HANDLED_BY_CACHING
from tests.contracts.crash_given import KEEP_S, LATER_S, TENANT, Arrives, arriving, document, due, end, store
from tests.contracts.crashing import (
    Handle,
    Handled,
    Life,
    LongLife,
    Process,
    State,
    Stop,
    World,
    consuming,
    empty_world,
)
from tests.functions.autoscale.reports import pressure
from tests.support.upstream import answers, upstream
from tests.support.wire import MODEL, chat, completion, usage

pytestmark = pytest.mark.anyio

PACE = Pace(look_every_s=0.01, keep_s=KEEP_S)
PLACE = {"tenant": TENANT, "key": "k1", "model": MODEL, "backend": "pool"}


# --- what arrives


def received(body: bytes) -> IngestReceived:
    return IngestReceived(tenant=TENANT, key_id=f"ingest-{TENANT}", message_id="m1", body=body, sealed=True)


def published(clear: bytes) -> Arrives:
    async def arrives(world: World) -> Envelope:
        sealed = await world.sealer.seal(TENANT, "ingest", "m1", clear)
        return await arriving(received(sealed))(world)

    return arrives


# --- what is there before


async def an_ingest_topic(world: World) -> None:
    await world.keys.add(ingest_key(TENANT, START))
    world.names.append(request.request_id(received(b"")))


async def an_accepted_request(world: World) -> None:
    await store(world, document("r1", state="accepted", backend=None))


async def one_whose_model_is_gone(world: World) -> None:
    await store(world, document("r1", state="accepted", backend=None, model="gone"))


async def a_routed_request(world: World) -> None:
    made = document("r1", attempts=world.lost)
    sealed = await world.sealer.seal(TENANT, "prompt", made.body_id, chat())
    await world.bodies.put(made.body_id, sealed, made.expire_at)
    await store(world, made)


async def a_routed_request_and_an_end_untold(world: World) -> None:
    """What a dispatcher may find when it starts."""
    await a_routed_request(world)
    await store(world, end(document("untold"), keep_s=KEEP_S))
    world.clock.forward(1)


async def an_answered_request(world: World) -> None:
    answer = Answer(status_code=200, body_id="r1-answer")
    made = replace(end(document("r1"), keep_s=KEEP_S, answer=answer), owed=())
    sealed = await world.sealer.seal(TENANT, "answer", answer.body_id, completion())
    await world.bodies.put(answer.body_id, sealed, made.expire_at)
    await store(world, made)


async def requests_of_every_need(world: World) -> None:
    """One that is overdue, one whose claim is lost, one that owes an event, one nobody needs any more,
    and one nobody routed.
    """
    soon = START + timedelta(seconds=LATER_S / 2)
    await store(
        world,
        document("overdue", deadline_at=soon),
        document("lost", state="running", attempts=1, claim=Claim(owner="dead", lease_until=soon)),
        end(document("owing"), keep_s=KEEP_S),
        replace(end(document("over"), keep_s=1), owed=()),
        document("stale", state="accepted", backend=None, created_at=START - timedelta(seconds=500)),
    )
    world.clock.forward(LATER_S)


async def attempts_in_every_state(world: World) -> None:
    """Some silent, one estimated before its completion came, and more pages than a sweep folds at once."""
    await page(world, "p1", started("late.1"))
    world.clock.forward(LATER_S)
    await metering_function(world, Life())(await due("settle-usage")(world))
    await page(world, "p2", completed("late.1"))
    await page(world, "p3", started("silent.1"), started("alive.1"), producer="other")
    await page(world, "p4", Progress(attempt="alive.1", at=START, usage=Usage(input=7, output=3)))
    for number in range(metering.PAGES_AT_ONCE):
        await page(world, f"many{number}", started(f"many{number}.1"), completed(f"many{number}.1"))
    world.clock.forward(LATER_S)


def started(attempt: str) -> Started:
    return Started(attempt=attempt, request=attempt[:-2], at=START, estimate=7, **PLACE)


def completed(attempt: str) -> Completed:
    used = Usage(input=7, output=5)
    return Completed(
        attempt=attempt, request=attempt[:-2], at=START, outcome="finished", usage=used, billed=True, **PLACE
    )


def page_of(*records: UsageRecord, producer: str = "p") -> UsageRecorded:
    return UsageRecorded(producer=producer, records=records)


async def page(world: World, name: str, *records: UsageRecord, producer: str = "p") -> None:
    made = page_of(*records, producer=producer)
    envelope = wrap(made, id=name, source="/test", time=world.clock())
    await world.ledger.append(name, envelope.data, producer, increments(records))


# --- who handles it


def request_function(world: World, life: Life) -> Handle:
    ports = request.Ports(
        requests=life.around(world.requests),
        bodies=life.around(world.bodies),
        sealer=life.around(world.sealer),
        keys=life.around(world.keys),
        config=lambda: world.config,
        terms=Terms(keep_s=KEEP_S),
    )
    return partial(request.handle, ports=ports)


def routing_function(world: World, life: Life) -> Handle:
    ports = routing.Ports(
        requests=life.around(world.requests), tenants=world.keys, config=lambda: world.config, keep_s=KEEP_S
    )
    return partial(routing.handle, ports=ports)


def delivery_function(world: World, life: Life) -> Handle:
    ports = delivery.Ports(
        requests=life.around(world.requests),
        bodies=life.around(world.bodies),
        sealer=life.around(world.sealer),
    )
    return partial(delivery.handle, ports=ports)


def metering_function(world: World, life: Life) -> Handle:
    ports = metering.Ports(
        ledger=life.around(world.ledger), counts=life.around(NoAttemptCounts()), silent_after_s=LATER_S / 2
    )
    return partial(metering.handle, ports=ports)


def autoscale_function(world: World, life: Life) -> Handle:
    ports = autoscale.Ports(advice=life.around(world.advice), config=lambda: world.config)
    return partial(autoscale.handle, ports=ports)


def dispatcher(world: World, life: Life, recorder: UsageRecorder) -> Dispatcher:
    ports = Ports(
        requests=life.around(world.requests),
        bodies=life.around(world.bodies),
        journal=life.around(MemoryJournal(world.clock)),
        sealer=life.around(world.sealer),
        publisher=life.around(world.bus),
        recorder=recorder,
        pool=lambda: world.pool,
        config=lambda: world.config,
        now=world.clock,
        owner="d1",
        pace=PACE,
    )
    return Dispatcher(ports, Random(0))


def records_elsewhere(world: World) -> UsageRecorder:
    """The records of attempts that were lost differ, and are no part of what is compared."""
    lingers = Lingers(started_s=0.0, other_s=0.0)
    return UsageRecorder(
        MemoryBus(world.clock), producer="d1", source="/test", lingers=lingers, now=world.clock
    )


def sweeping_dispatcher(world: World, life: Life) -> Handle:
    return dispatcher(world, life, records_elsewhere(world)).handle


async def running_dispatcher(world: World, life: Life, grace_s: float = 5.0) -> None:
    """Works until no request is left to run, or it has to stop."""
    recorder = records_elsewhere(world)
    process = dispatcher(world, life, recorder)
    await process.start(alone=True)
    while not life.over and any(made.state not in FINAL for made in await world.documents()):
        await asyncio.sleep(0)
    with suppress(Stop):
        await process.stop(grace_s)
    await recorder.close()


def later(process: Process) -> Process:
    """The same, some time after."""

    async def comes_later(world: World, life: Life) -> None:
        world.clock.forward(LATER_S)
        await process(world, life)

    return comes_later


settles = consuming(due("settle-usage"), metering_function)
sweeps = consuming(due("sweep-requests"), sweeping_dispatcher)
advises = consuming(due("advise"), autoscale_function)
asked = InferenceRequested(request_id="r1", tenant=TENANT, model=MODEL, lane="interactive")
paged = page_of(started("a.1"), completed("a.1"))
reported = pressure(queued=500, oldest_s=9, arrived=500)

RUNNING = Handled(
    name="dispatcher",
    given=a_routed_request_and_an_end_untold,
    process=running_dispatcher,
    later=later(sweeps),
)

HANDLED = (
    *HANDLED_BY_CACHING,
    Handled(name="request", given=an_ingest_topic, process=consuming(published(chat()), request_function)),
    Handled(
        name="refusal",
        given=an_ingest_topic,
        process=consuming(published(b'{"body": {}, "answer": "topic"}'), request_function),
        later=later(sweeps),
    ),
    Handled(
        name="delivery",
        given=an_answered_request,
        process=consuming(arriving(AnswerDue(request_id="r1", tenant=TENANT)), delivery_function),
    ),
    Handled(name="routing", given=an_accepted_request, process=consuming(arriving(asked), routing_function)),
    Handled(
        name="no route",
        given=one_whose_model_is_gone,
        process=consuming(arriving(asked), routing_function),
        later=later(sweeps),
    ),
    Handled(name="metering", process=consuming(arriving(paged), metering_function)),
    Handled(name="metering sweep", given=attempts_in_every_state, process=settles, later=later(settles)),
    Handled(
        name="autoscale",
        process=consuming(arriving(reported), autoscale_function),
        later=later(advises),
    ),
    Handled(name="autoscale job", process=advises, later=later(advises)),
    Handled(name="dispatcher sweep", given=requests_of_every_need, process=sweeps, later=later(sweeps)),
    RUNNING,
)


# --- the test

Make = Callable[[], Awaitable[World]]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with upstream() as engine:
        engine.always = answers(completion(usage=usage(7, 2)))
        backends, models = {"pool": Backend(replicas=(engine.url,))}, {MODEL: Model(backend="pool")}
        config = Config(backends=backends, models=models)
        pool = Pool(config)
        yield partial(empty_world, config, pool, tmp_path)
        pool.close()


async def undisturbed(handled: Handled, world: World, lost: int = 0) -> State:
    """What is left where nothing stops; `lost` attempts were made in vain before."""
    world.lost = lost
    await handled.given(world)
    await handled.process(world, Life())
    await handled.later(world, Life())
    return await world.state()


async def stopped(process: Process, world: World, life: Life) -> bool:
    """Whether a process stopped while it handled."""
    with suppress(Stop):
        await process(world, life)
    return life.over


async def mended(handled: Handled, world: World) -> State:
    """What is left once another process handled it too."""
    await handled.process(world, Life())
    await handled.later(world, Life())
    return await world.state()


WHEN = pytest.mark.parametrize("late", [False, True], ids=["before its effect", "after its effect"])


@WHEN
@pytest.mark.parametrize("handled", HANDLED, ids=lambda handled: handled.name)
async def test_stopping_at_any_port_call_changes_nothing(handled: Handled, late: bool, make: Make) -> None:
    at_once = await undisturbed(handled, await make())
    for last in count(1):
        world, life = await make(), Life(last, late=late)
        await handled.given(world)
        if not await stopped(handled.process, world, life):
            break
        found = await mended(handled, world)
        expected = await undisturbed(handled, await make(), lost=found.attempts - at_once.attempts)
        assert expected == found, f"it stopped at call {last}, {life.last_call}"
    assert last > 1, "it called no port"


@WHEN
async def test_a_dispatcher_may_be_asked_to_stop_at_any_port_call(late: bool, make: Make) -> None:
    asked_to_stop = partial(running_dispatcher, grace_s=0.0)
    for last in count(2):  # the first call is part of its start
        world, life = await make(), LongLife(last, late=late)
        await RUNNING.given(world)
        if not await stopped(asked_to_stop, world, life):
            break
        found = await mended(RUNNING, world)
        expected = await undisturbed(RUNNING, await make(), lost=found.attempts - 1)
        assert expected == found, f"it was asked to stop at call {last}, {life.last_call}"
    assert last > 2
