"""What a dispatcher says of its pressure: counted in windows without a gap, however reports fail."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime

import pytest

from events.envelope import wrap
from events.fleet import LanePressure, PressureReported
from events.requests import CHAT, RequestDocument
from events.usage import Completed, Outcome
from events.words import Lane, Unavailable, Usage
from services.dispatcher.dispatcher import Dispatcher
from services.dispatcher.pressure import Counts, Ports, PressureReporter, Tally
from tests.services.dispatcher.world import World
from tests.support.client import PATIENCE_S
from tests.support.clock import now
from tests.support.upstream import Upstream, answers, resets, waits_for
from tests.support.wire import MODEL, completion, problem, usage

pytestmark = pytest.mark.anyio

TOPIC = "pressure-reported-v1"


class Ticking:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def document(lane: Lane = "interactive", backend: str = "pool") -> RequestDocument:
    return RequestDocument(
        id="r1", tenant="acme", key_id="k", url="/", model="m", lane=lane, state="running", created_at=now(),
        deadline_at=now(), expire_at=now(), body_id="b", backend=backend,
    )  # fmt: skip


def completed(outcome: Outcome = "finished", duration_ms: int = 6_000) -> Completed:
    return Completed(
        attempt="r1.1", request="r1", tenant="acme", key="k", model="m", backend="pool", at=now(),
        outcome=outcome, usage=Usage(input=5, output=9), billed=True, duration_ms=duration_ms,
    )  # fmt: skip


# --- counting


def test_what_happens_in_a_window_is_counted_where_it_happens() -> None:
    tally = Tally(Ticking())
    tally.arrived("pool", "interactive")
    tally.arrived("pool", "interactive")
    tally.arrived("gemini", "batch")
    for outcome in ("finished", "engine_error", "superseded"):
        tally.began(document())
        tally.ended(document(), completed(outcome))
    tally.began(document())
    tally.ended(document(), None)
    counts = tally.take().counts

    assert Counts(arrived=2, finished=1, service_s=6.0, output=9) == counts["pool", "interactive"]
    assert Counts(arrived=1) == counts["gemini", "batch"]


def test_what_runs_is_counted_by_the_time_it_runs_in_each_window() -> None:
    clock = Ticking()
    tally = Tally(clock)
    tally.began(document())
    clock.time += 4
    tally.began(document())
    clock.time += 6
    first = tally.take()
    clock.time += 5
    tally.ended(document(), completed())
    clock.time += 5
    second = tally.take()

    assert (10, 4 + 2 * 6) == (first.length_s, first.counts["pool", "interactive"].ran_s)
    assert (10, 2 * 5 + 5) == (second.length_s, second.counts["pool", "interactive"].ran_s)


def test_a_window_nobody_heard_of_is_part_of_the_next() -> None:
    clock = Ticking()
    tally = Tally(clock)
    tally.arrived("pool", "batch")
    tally.began(document("batch"))
    clock.time += 10
    window = tally.take()
    clock.time += 1
    tally.arrived("pool", "batch")
    tally.put_back(window)
    clock.time += 9
    tally.ended(document("batch"), completed())
    merged = tally.take()

    assert 20 == merged.length_s
    assert Counts(arrived=2, finished=1, service_s=6, output=9, ran_s=20) == merged.counts["pool", "batch"]


# --- reporting


def reporter(world: World, dispatcher: Dispatcher, every_s: float = 60) -> PressureReporter:
    ports = Ports(
        queue=world.requests,
        publisher=world.said,
        pool=lambda: world.pool,
        config=lambda: world.config,
        now=now,
        producer="d1",
        slots=world.pace.slots,
    )
    return PressureReporter(dispatcher.tally, ports, every_s)


def told(world: World) -> list[PressureReported]:
    return [event for event in world.said.events(TOPIC) if isinstance(event, PressureReported)]


def lane_of(report: PressureReported, name: Lane = "interactive") -> LanePressure:
    (backend,) = report.backends
    return next(lane for lane in backend.lanes if lane.lane == name)


async def rings(world: World, dispatcher: Dispatcher) -> None:
    """The bells of all requests queued so far."""
    for number, bell in enumerate(world.said.events("inference-routed-v1")):
        await dispatcher.handle(wrap(bell, id=f"bell{number}", source="/test", time=now()))


async def test_a_report_tells_what_arrived_runs_waits_and_was_finished(
    world: World, engine: Upstream
) -> None:
    go = asyncio.Event()
    engine.always = waits_for(go, answers(completion(usage=usage(7, 3))))
    dispatcher = await world.dispatch()
    reports = reporter(world, dispatcher)
    began = now()
    names = [await world.submit() for _ in range(6)]
    await rings(world, dispatcher)
    await engine.call(3)  # of six, four run
    await asyncio.sleep(0.05)
    await reports.report()
    go.set()
    await rests(world, dispatcher, names)
    await reports.report()
    first, second = told(world)
    busy, idle = lane_of(first), lane_of(second)

    assert ("d1", 4, "pool", 1) == (
        first.producer, first.slots, first.backends[0].backend, first.backends[0].replicas
    )  # fmt: skip
    assert (6, 2, 0, 0.0) == (busy.arrived, busy.queued, busy.finished, busy.service_s)
    assert 0 < busy.running <= 4
    assert 0 <= busy.oldest_s <= (now() - began).total_seconds()
    assert (0, 0, 6, 18, 0.0) == (idle.arrived, idle.queued, idle.finished, idle.output, idle.oldest_s)
    assert 0.01 <= idle.service_s <= (now() - began).total_seconds()
    assert LanePressure(lane="batch") == lane_of(first, "batch")
    assert 0 < first.window_s + second.window_s <= (now() - began).total_seconds() + 1


async def test_an_attempt_that_fails_is_no_service(world: World, engine: Upstream) -> None:
    engine.will(resets, answers(b"{}", 400), answers())
    dispatcher = await world.dispatch()
    names = [await world.submit() for _ in range(2)]
    await rests(world, dispatcher, names)
    await reporter(world, dispatcher).report()
    assert 1 == lane_of(told(world)[0]).finished


async def test_it_reports_again_and_again_also_where_nothing_happens(world: World) -> None:
    dispatcher = await world.dispatch()
    task = asyncio.create_task(reporter(world, dispatcher, every_s=0.01).run())
    await until(world, 3)
    task.cancel()
    assert {0} == {lane_of(report).arrived for report in told(world)}


async def test_what_could_not_be_told_is_told_later(world: World, caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = await world.dispatch()
    reports = reporter(world, dispatcher, every_s=0.01)
    await world.submit()
    await rings(world, dispatcher)
    world.said.away = True
    with pytest.raises(Unavailable):
        await reports.report()
    task = asyncio.create_task(reports.run())
    await asyncio.sleep(0.05)
    world.said.away = False
    await until(world, 2)
    task.cancel()

    assert 1 == sum(lane_of(report).arrived for report in told(world))
    assert any("not reported" in record.message for record in caplog.records)


async def test_a_fault_of_ours_is_told_in_the_log_and_ends_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty:
        async def queued(self, backend: str, lane: Lane) -> tuple[int, datetime | None]:
            raise RuntimeError("a fault")

    ports = Ports(
        queue=Faulty(), publisher=world.said, pool=lambda: world.pool, config=lambda: world.config, now=now,
        producer="d1", slots=1,
    )  # fmt: skip
    tally = Tally()
    task = asyncio.create_task(PressureReporter(tally, ports, 0.001).run())
    async with asyncio.timeout(PATIENCE_S):
        while sum(record.levelno == logging.ERROR for record in caplog.records) < 2:
            await asyncio.sleep(0.001)
    assert not task.done()
    task.cancel()


async def rests(world: World, dispatcher: Dispatcher, names: Sequence[str]) -> None:
    """Waits until these have ended and nothing runs."""
    for name in names:
        await world.ends(name)
    async with asyncio.timeout(PATIENCE_S):
        while dispatcher.running:
            await asyncio.sleep(0.001)


async def until(world: World, count: int) -> None:
    """Waits for so many reports."""
    async with asyncio.timeout(PATIENCE_S):
        while len(told(world)) < count:
            await asyncio.sleep(0.001)


async def test_every_attempt_is_counted_by_how_it_ended(world: World, engine: Upstream) -> None:
    engine.will(answers(problem(), 500), answers(completion(usage=usage(7, 3))))
    name = await world.submit()
    dispatcher = await world.dispatch()
    await world.ends(name)
    await dispatcher.stop(PATIENCE_S)
    counted = world.metrics.ran[MODEL, "pool", CHAT].fold()

    assert {"engine_error": 1, "finished": 1} == {
        outcome: sum(durations.counts) for outcome, durations in counted.durations.items()
    }
    assert 3 == counted.output.total
