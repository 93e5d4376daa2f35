"""The worker of every subscription, on Pub/Sub."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from events.bus import message_of
from events.catalog import Retry, Subscription
from events.envelope import Envelope, Event, wrap
from events.jobs import JobDue
from events.words import Unavailable
from services.delivery.consumer import Consumer
from services.jobs.starts import event_of
from tests.cloud.pubsub.opening import Project, message, receive

pytestmark = pytest.mark.anyio

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
RETRY = Retry(ack_deadline_s=10, min_backoff_s=0.1, max_backoff_s=0.2, attempts=5)
JOB = Subscription(topic="job-settle-usage", consumer="metering", retry=RETRY)
FOLLOWS = Subscription(topic="job-due-v1", consumer="reader", retry=RETRY)


async def test_a_consumer_handles_publishes_acks_retries_and_puts_aside(project: Project) -> None:
    await project.ensure(JOB, FOLLOWS)
    tries = 0

    async def handle(envelope: Envelope) -> Sequence[Event]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise Unavailable("The store was away.")
        return [envelope.event]

    consumer = Consumer(project.inbox(JOB), project.publisher(), JOB, handle, source="/metering")
    running = asyncio.create_task(consumer.run())
    due = wrap(JobDue(job="settle-usage", slot=NOW), id="1", source="/scheduler", time=NOW)
    await project.publisher().publish([message_of(due, JOB.topic), message("no event", JOB.topic)])
    (found,) = await receive(project.inbox(FOLLOWS), name=FOLLOWS.name)
    (dead,) = await project.dead_letters(1, JOB)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert due.event == event_of(found).event
    assert (b"no event", 2) == (dead.data, tries)
    assert "ce-specversion" in dead.attributes["penstock-dead-reason"]
