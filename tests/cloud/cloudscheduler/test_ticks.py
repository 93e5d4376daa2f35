"""What Cloud Scheduler publishes, on its way through Pub/Sub to a function and to a process that pulls."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from events.bus import Message
from events.catalog import JOBS, Retry, Subscription
from events.envelope import Envelope, Event
from events.jobs import JobDue
from services.adapters.cloudscheduler.plan import wished
from services.adapters.pubsub.push import DONE, PushEndpoint
from services.adapters.pubsub.topics.state import Push
from services.jobs.starts import event_of
from tests.cloud.pubsub import opening
from tests.cloud.pubsub.opening import receive, soon
from tests.support.upstream import answers, upstream

pytestmark = pytest.mark.anyio

JOB = JOBS[0]
RETRY = Retry(ack_deadline_s=10, min_backoff_s=0.1, max_backoff_s=0.2, attempts=5)
PULLED = Subscription(topic=JOB.topic, consumer="pulls", retry=RETRY)
PUSHED = Subscription(topic=JOB.topic, consumer="is-pushed", retry=RETRY)


async def test_a_tick_arrives_as_the_start_of_this_minutes_slot() -> None:
    handled: list[Envelope] = []

    async def handle(envelope: Envelope) -> Sequence[Event]:
        handled.append(envelope)
        return []

    (tick,) = wished([JOB])
    async with upstream() as function, opening.project() as project:
        function.always = answers(b" ", 204)
        await project.ensure(PULLED)
        await project.ensure(PUSHED, push=Push(endpoint=f"{function.url}/"))
        message = Message(topic=tick.topic, attributes=tick.attributes, data=tick.data)
        await project.publisher().publish([message])
        (pulled,) = await receive(project.inbox(PULLED), name=PULLED.name)
        call = await soon(function.call())
        endpoint = PushEndpoint(
            handle, project.publisher(), source="/functions/metering", now=partial(datetime.now, UTC)
        )
        statuses = [await endpoint.internal(call.headers, call.body) for _ in range(2)]
    await opening.settle()

    first, again = handled
    event = first.event
    assert [DONE, DONE] == statuses
    assert isinstance(event, JobDue)
    assert (JOB.name, 0, 0) == (event.job, event.slot.second, event.slot.microsecond)
    assert abs(event.slot - datetime.now(UTC)) < timedelta(minutes=10)
    assert event_of(pulled).id == first.id == again.id
    assert event_of(pulled).event == first.event == again.event
