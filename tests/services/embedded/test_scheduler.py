"""Jobs that are due, and the tasks that run until they are stopped."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from events.catalog import EVERY_MINUTE, KNOWN, Job, Subscription
from events.envelope import Envelope, Event, decode
from events.jobs import JobDue, JobRecord
from services.adapters.memory.bus import MemoryBus
from services.adapters.memory.job_runs import MemoryJobRuns
from services.delivery.consumer import Consumer
from services.embedded.scheduler import Scheduler
from services.embedded.workers import Workers
from services.jobs.once import RunOnce
from services.jobs.runs import change, ended, judge, paused
from services.jobs.starts import due as due_at
from tests.contracts.adapters import START, Clock
from tests.services.dispatcher.world import Said
from tests.support.clock import now
from tests.support.platform import eventually

pytestmark = pytest.mark.anyio

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
QUICK = Job(name="quick", schedule=EVERY_MINUTE, consumer="x", purpose="for a test")
NIGHTLY = Job(name="quick", schedule="30 2 * * *", zone="Europe/Berlin", consumer="x", purpose="for a test")


def due(said: Said) -> list[JobDue]:
    return [event for event in said.events("job-quick") if isinstance(event, JobDue)]


@asynccontextmanager
async def scheduling(*schedulers: Scheduler) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(scheduler.run()) for scheduler in schedulers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def ran(runs: MemoryJobRuns, job: Job, slot: datetime) -> None:
    """A run that a process made which is no more."""

    def decide(record: JobRecord) -> tuple[JobRecord, None]:
        return ended(judge(record, due_at(job, slot), "before", slot).record, "before", slot), None

    await change(runs, job.name, decide)


async def moment() -> None:
    """Long enough for what can happen now to happen."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_jobs_are_due_again_and_again_even_if_the_bus_was_away() -> None:
    said = Said(away=True)
    async with scheduling(Scheduler(said, [QUICK], now=now, every_s=0.02)):
        await asyncio.sleep(0.05)
        said.away = False

        async def twice() -> bool:
            return len(due(said)) >= 2

        await eventually(twice)
    slots = [event.slot.timestamp() for event in due(said)]
    assert slots == sorted(set(slots))
    assert all(decode(m.attributes, m.data, KNOWN).subject == "quick" for m in said.messages)


async def test_the_start_of_a_rare_job_is_said_once_the_bus_is_back() -> None:
    said, runs, clock = Said(away=True), MemoryJobRuns(), Clock()
    await ran(runs, NIGHTLY, clock.time - timedelta(days=3))
    async with scheduling(Scheduler(said, [NIGHTLY], now=clock, runs=runs)):
        await moment()
        said.away = False

        async def said_once() -> bool:
            return bool(due(said))

        await eventually(said_once)
    assert [datetime(2027, 3, 1, 1, 30, tzinfo=UTC)] == [event.slot for event in due(said)]


async def test_a_slot_that_comes_while_the_bus_is_away_is_not_passed_over() -> None:
    said, clock = Said(), Clock()
    clock.time = NOON - timedelta(seconds=0.01)
    async with scheduling(Scheduler(said, [QUICK], now=clock, nap_s=0.01)):
        said.away = True
        clock.forward(1)
        await asyncio.sleep(0.05)  # it tries, and waits for a second
        clock.forward(60)
        said.away = False

        async def said_once() -> bool:
            return bool(due(said))

        await eventually(said_once)
    assert [NOON + MINUTE] == [event.slot for event in due(said)]


async def test_a_clock_that_is_set_back_does_not_stop_the_jobs() -> None:
    said, clock = Said(), Clock()
    async with scheduling(Scheduler(said, [QUICK], now=clock, nap_s=0.01)):
        await moment()
        clock.forward(-3600)

        async def going_on() -> bool:
            clock.forward(30)
            return len(due(said)) >= 3

        await eventually(going_on)
    assert all(event.slot < START for event in due(said)[:3])


async def test_what_was_due_while_nobody_was_there_is_made_up_for_once_at_the_start() -> None:
    said, runs, clock = Said(), MemoryJobRuns(), Clock()
    clock.time = NOON + timedelta(seconds=10)
    await ran(runs, QUICK, NOON - 9 * MINUTE)
    async with scheduling(Scheduler(said, [QUICK], now=clock, runs=runs)):
        await moment()

    assert [due_at(QUICK, NOON)] == due(said)


@pytest.mark.parametrize("before", ["nothing", "the slot ran", "paused", "too late"])
async def test_there_is_not_always_something_to_make_up_for(before: str) -> None:
    said, runs, clock, job = Said(), MemoryJobRuns(), Clock(), QUICK
    clock.time = NOON + timedelta(seconds=10)
    if before != "nothing":
        await ran(runs, QUICK, NOON if before == "the slot ran" else NOON - MINUTE)
    if before == "paused":
        await change(runs, "quick", lambda record: (paused(record, NOON), None))
    if before == "too late":
        job = Job(name="quick", schedule=EVERY_MINUTE, late_s=5, consumer="x", purpose="for a test")
    async with scheduling(Scheduler(said, [job], now=clock, runs=runs)):
        await moment()

    assert [] == due(said)


async def test_a_paused_job_is_not_said_to_be_due() -> None:
    said, runs = Said(), MemoryJobRuns()
    await change(runs, "quick", lambda record: (paused(record, NOON), None))
    other = Job(name="other", schedule=EVERY_MINUTE, consumer="x", purpose="for a test")
    async with scheduling(Scheduler(said, [QUICK, other], now=now, runs=runs, every_s=0.02)):

        async def twice() -> bool:
            return len(said.messages) >= 2

        await eventually(twice)
    assert [] == due(said)


class World:
    """A bus with a consumer of the job, and the slots it ran."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.bus = MemoryBus(clock)
        self.runs = MemoryJobRuns()
        self.ran: list[datetime] = []

    async def handle(self, envelope: Envelope) -> list[Event]:
        assert isinstance(envelope.event, JobDue)
        self.ran.append(envelope.event.slot)
        return []

    def scheduler(self, **given: Any) -> Scheduler:
        return Scheduler(self.bus, [QUICK], now=self.clock, runs=self.runs, **given)

    @asynccontextmanager
    async def consuming(self) -> AsyncIterator[None]:
        feed = Subscription(topic=QUICK.topic, consumer="x")
        await self.bus.ensure([feed])
        handle = RunOnce(self.runs, self.clock).guard(self.handle)
        task = asyncio.create_task(Consumer(self.bus, self.bus, feed, handle, source="/x").run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_of_two_schedulers_each_slot_is_run_once() -> None:
    world = World(now)
    async with (
        world.consuming(),
        scheduling(world.scheduler(every_s=0.05), world.scheduler(every_s=0.05)),
    ):

        async def five() -> bool:
            return len(world.ran) >= 5

        await eventually(five)
    assert sorted(set(world.ran)) == world.ran


async def test_after_a_machine_slept_the_latest_slot_runs_and_the_others_are_recorded_as_missed() -> None:
    clock = Clock()
    clock.time = NOON + timedelta(seconds=10)
    world = World(clock)
    await ran(world.runs, QUICK, NOON)
    async with world.consuming(), scheduling(world.scheduler(nap_s=0.01)):
        await moment()
        clock.forward(3600)

        async def woke() -> bool:
            return bool(world.ran)

        await eventually(woke)
        await asyncio.sleep(0.05)
    record, _ = await world.runs.get("quick")
    assert [NOON + 60 * MINUTE] == world.ran
    assert [(NOON, NOON + 59 * MINUTE)] == [(gap.after, gap.last) for gap in record.missed]


async def test_a_worker_that_fails_is_never_silent_and_leaves_the_others_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ran = asyncio.Event()

    async def fail() -> None:
        raise RuntimeError("a bug")

    async def work() -> None:
        await asyncio.sleep(0.01)
        ran.set()
        await asyncio.Event().wait()

    workers = Workers()
    workers.start(fail(), "the failing one")
    workers.start(work(), "the other one")
    await asyncio.wait_for(ran.wait(), 10)
    await workers.stop()

    (told,) = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert "the failing one stopped: a bug" == told.getMessage()


async def test_workers_are_stopped_together() -> None:
    ended: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    workers = Workers()
    for name in ("a", "b"):
        workers.start(work(name), name)
    await asyncio.sleep(0)
    await workers.stop()

    assert ["a", "b"] == sorted(ended)
