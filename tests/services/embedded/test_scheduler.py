"""Jobs that are due, and the tasks that run until they are stopped."""

import asyncio
import logging
from datetime import UTC, datetime

import pytest

from events.catalog import JOBS, KNOWN, Job
from events.envelope import decode
from events.jobs import JobDue
from events.words import Invalid
from services.embedded.scheduler import Scheduler
from services.embedded.workers import Workers
from tests.services.dispatcher.world import Said
from tests.support.clock import now
from tests.support.platform import eventually

pytestmark = pytest.mark.anyio

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
QUICK = Job(name="quick", every_s=1, consumer="x", purpose="for a test")


def due(said: Said, topic: str) -> list[JobDue]:
    return [event for event in said.events(topic) if isinstance(event, JobDue)]


async def test_a_job_can_be_started_now() -> None:
    said = Said()
    await Scheduler(said, JOBS, now=lambda: NOON).start("settle-usage")

    assert [JobDue(job="settle-usage", slot=NOON)] == due(said, "job-settle-usage")


async def test_a_job_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(Invalid, match="Jobs: settle-usage, sweep-requests"):
        await Scheduler(Said(), JOBS, now=lambda: NOON).start("nothing")


async def test_one_slot_is_one_event_however_often_it_is_said() -> None:
    said = Said()
    for _ in range(2):
        await Scheduler(said, JOBS, now=lambda: NOON).start("settle-usage")

    assert 2 == len(said.messages)
    assert 1 == len({message.attributes["ce-id"] for message in said.messages})


async def test_jobs_are_due_again_and_again_even_if_the_bus_was_away() -> None:
    said = Said(away=True)
    task = asyncio.create_task(Scheduler(said, [QUICK], now=now, every_s=0.02).run())
    await asyncio.sleep(0.05)
    said.away = False

    async def twice() -> bool:
        return len(due(said, "job-quick")) >= 2

    await eventually(twice)
    task.cancel()
    slots = [event.slot.timestamp() for event in due(said, "job-quick")]
    assert slots == sorted(set(slots))
    assert all(decode(m.attributes, m.data, KNOWN).subject == "quick" for m in said.messages)


async def test_a_worker_that_fails_is_never_silent_and_leaves_the_others_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ran = asyncio.Event()

    async def fail() -> None:
        raise RuntimeError("a bug")

    async def work() -> None:
        await asyncio.sleep(0.01)
        ran.set()

    workers = Workers()
    workers.start(fail(), "the failing one")
    workers.start(work(), "the other one")
    await asyncio.wait_for(ran.wait(), 10)

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
