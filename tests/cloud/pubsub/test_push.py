"""What a consumer with a URL gets: from the emulator, over HTTP."""

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from events.bus import Message, message_of
from events.catalog import KNOWN, Retry, Subscription
from events.envelope import decode, wrap
from events.jobs import JobDue
from services.adapters.pubsub.topics.plan import plan
from services.adapters.pubsub.topics.state import Push
from services.adapters.pubsub.topics.wished import Consumer, on_emulator, wished
from tests.cloud.pubsub.opening import Project, message, soon
from tests.support.upstream import Upstream, answers, upstream

pytestmark = pytest.mark.anyio

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
QUICK = Retry(ack_deadline_s=10, min_backoff_s=0.1, max_backoff_s=0.2, attempts=5)
JOB = Subscription(topic="job-settle-usage", consumer="metering", retry=QUICK)
INGEST = Subscription(topic="ingest-acme", consumer="request", retry=QUICK)


@pytest.fixture
async def consumer(one_loop: None) -> AsyncIterator[Upstream]:
    async with upstream() as listening:
        listening.always = answers(b" ", 204)
        yield listening


async def test_an_internal_event_arrives_as_a_binary_cloudevent(project: Project, consumer: Upstream) -> None:
    await project.ensure(JOB, push=Push(endpoint=f"{consumer.url}/", service_account="a@b.c", audience="x"))
    envelope = wrap(
        JobDue(job="settle-usage", slot=NOW),
        id="1",
        source="/scheduler",
        time=NOW,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    await project.publisher().publish([message_of(envelope, JOB.topic)])
    call = await soon(consumer.call())
    found = decode(call.headers, call.body, KNOWN)

    assert call.head.startswith(b"POST / HTTP/1.1\r\n")
    assert envelope.attributes() == found.attributes()
    assert envelope.event == found.event
    assert call.headers["x-goog-pubsub-message-id"]


async def test_an_ingest_message_arrives_wrapped_and_its_attributes_are_no_headers(
    project: Project, consumer: Upstream
) -> None:
    await project.ensure(INGEST, push=Push(endpoint=f"{consumer.url}/ingest/acme", wrapped=True))
    attributes = {"authorization": "mine", "idempotency-key": "k", "wörd": "世界"}
    await project.publisher().publish([Message(topic=INGEST.topic, attributes=attributes, data=b"\x00\xff")])
    call = await soon(consumer.call())

    assert call.head.startswith(b"POST /ingest/acme HTTP/1.1\r\n")
    assert "authorization" not in call.headers
    wrapped = call.json["message"]
    assert (b"\x00\xff", attributes) == (base64.b64decode(wrapped["data"]), wrapped["attributes"])
    assert wrapped["messageId"]
    assert INGEST.name in call.json["subscription"]


async def test_a_push_that_is_refused_comes_again(project: Project, consumer: Upstream) -> None:
    consumer.will(answers(b"no", 500), answers(b"no", 503))
    await project.ensure(JOB, push=Push(endpoint=f"{consumer.url}/"))
    await project.publisher().publish([message("a", JOB.topic)])
    bodies = {(await soon(consumer.call(number))).body for number in (1, 2, 3)}

    assert {b"a"} == bodies


@pytest.mark.slow
async def test_a_push_refused_at_every_attempt_goes_to_the_dead_letter_topic(
    project: Project, consumer: Upstream
) -> None:
    consumer.always = answers(b"no", 500)
    await project.ensure(JOB, push=Push(endpoint=f"{consumer.url}/"))
    await project.publisher().publish([message("a", JOB.topic)])
    (dead,) = await project.dead_letters(1, JOB)

    assert b"a" == dead.data
    assert QUICK.attempts == len(consumer.calls)


@pytest.mark.slow
async def test_on_the_emulator_a_push_comes_again_for_as_long_as_it_takes(
    project: Project, consumer: Upstream
) -> None:
    consumer.will(*[answers(b"no", 503)] * 6)  # with a retry policy of seconds it gives up after three
    goal = wished(consumers={"metering": Consumer(url=consumer.url)})
    project.server.apply(plan(on_emulator(goal), project.server.read()))
    await project.publisher().publish([message("a", JOB.topic)])

    assert {b"a"} == {(await soon(consumer.call(number))).body for number in range(1, 8)}
