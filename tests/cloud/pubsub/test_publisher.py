import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as some

from events.bus import Message
from events.words import Invalid, Unavailable
from services.adapters.pubsub.connection import Place, connect
from services.adapters.pubsub.messages import PublishRequest, PubsubMessage
from services.adapters.pubsub.publisher import MAX_BYTES, MAX_MESSAGES, PubSubPublisher, requests
from tests.cloud.pubsub.opening import Project, message, receive_all, texts
from tests.support.pubsub_sink import PubSubSink, serving
from tests.support.upstream import unreachable

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_loop")]

TOPIC = "projects/test/topics/news"
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@asynccontextmanager
async def publishing(sink: PubSubSink, timeout_s: float = 5.0) -> AsyncIterator[PubSubPublisher]:
    async with serving(sink):
        place = Place(project="test", emulator=sink.address)
        channel = await connect(place)
        try:
            yield PubSubPublisher(channel, place, timeout_s=timeout_s)
        finally:
            await channel.close()


def sizes(cut: list[Any]) -> list[int]:
    return [len(request.messages) for request in cut]


@given(some.lists(some.sampled_from([0, 1, 100, 120, 127, 128, 16_370, 16_383, 16_384]), max_size=20))
def test_every_request_is_within_the_limit_to_the_byte_and_could_not_have_taken_the_next_message(
    lengths: list[int],
) -> None:
    limit = 16_500
    wished = [PubsubMessage(data=b"x" * length) for length in lengths]
    cut = list(requests(TOPIC, wished, limit))

    assert lengths == [len(one.data) for request in cut for one in request.messages]
    assert all(request.ByteSize() <= limit for request in cut)
    for request, following in itertools.pairwise(cut):
        both = PublishRequest(topic=TOPIC, messages=[*request.messages, following.messages[0]])
        assert both.ByteSize() > limit


def test_a_request_carries_at_most_a_thousand_messages() -> None:
    wished = [PubsubMessage(data=b"x") for _ in range(2 * MAX_MESSAGES + 1)]

    assert [MAX_MESSAGES, MAX_MESSAGES, 1] == sizes(list(requests(TOPIC, wished)))
    assert [] == list(requests(TOPIC, []))


def test_a_message_fits_up_to_the_last_byte() -> None:
    frame = (
        PublishRequest(topic=TOPIC, messages=[PubsubMessage(data=b"x" * 9_000_000)]).ByteSize() - 9_000_000
    )
    largest = MAX_BYTES - frame

    (request,) = requests(TOPIC, [PubsubMessage(data=b"x" * largest)])
    assert MAX_BYTES == request.ByteSize()
    with pytest.raises(Invalid, match=r"news has \d+ bytes"):
        list(requests(TOPIC, [PubsubMessage(data=b"x" * (largest + 1))]))


async def test_a_huge_batch_is_split_and_arrives_whole(project: Project) -> None:
    await project.ensure()
    sent = [Message(topic="news", attributes={"ce-id": str(n)}, data=b"%d" % n) for n in range(2_500)]
    await project.publisher(timeout_s=30.0).publish(sent)
    found = await receive_all(project.inbox(), 2_500)

    assert [str(number) for number in range(2_500)] == sorted(texts(found), key=int)


async def test_a_topics_calls_go_one_after_the_other() -> None:
    sink = PubSubSink(keep=True, delay_s=0.01)
    async with publishing(sink) as publisher:
        await publisher.publish([message(str(number)) for number in range(3_000)])

    assert [str(number).encode() for number in range(3_000)] == [
        one.data for request in sink.requests for one in request.messages
    ]


async def test_messages_travel_by_topic_in_one_call_each() -> None:
    sink = PubSubSink()
    async with publishing(sink) as publisher:
        await publisher.publish([message("a"), message("b", "jobs"), message("c")])
        await publisher.publish([])

    assert (2, {"news": 2, "jobs": 1}) == (sink.calls, dict(sink.messages))


@pytest.mark.parametrize(
    "bad",
    [
        Message(topic="news", attributes={"ce-id": "1"}, data=b"x" * 10_000_001),
        Message(topic="news", attributes={}, data=b""),
        Message(topic="news", attributes={"long": "x" * 1_025}, data=b"x"),
        Message(topic="news", attributes={"long": "ä" * 513}, data=b"x"),
        Message(topic="news", attributes={"x" * 257: ""}, data=b"x"),
        Message(topic="news", attributes={"": "x"}, data=b"x"),
        Message(topic="news", attributes={"half": "\ud800"}, data=b"x"),
        Message(topic="news", attributes={str(number): "" for number in range(101)}, data=b"x"),
    ],
    ids=["size", "empty", "value", "bytes", "name", "no name", "text", "count"],
)
async def test_what_pubsub_would_refuse_is_invalid_and_nothing_at_all_is_published(bad: Message) -> None:
    sink = PubSubSink()
    async with publishing(sink) as publisher:
        with pytest.raises(Invalid, match="news"):
            await publisher.publish([message("good"), message("good", "jobs"), bad])

    assert 0 == sink.calls


async def test_a_failure_that_passes_is_tried_again() -> None:
    sink = PubSubSink()
    sink.will(UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED)
    async with publishing(sink) as publisher:
        await publisher.publish([message("a")])

    assert (4, 1) == (sink.calls, sink.messages["news"])


@pytest.mark.parametrize(
    ("code", "kind", "told"),
    [
        (grpc.StatusCode.NOT_FOUND, Unavailable, "no topic news; make it with: penstock topics apply"),
        (grpc.StatusCode.PERMISSION_DENIED, Unavailable, r"topic news \(permission denied"),
        (grpc.StatusCode.UNAUTHENTICATED, Unavailable, r"topic news \(unauthenticated"),
        (grpc.StatusCode.INVALID_ARGUMENT, Invalid, r"topic news \(invalid argument"),
    ],
)
async def test_a_failure_that_stays_is_told_at_once_in_our_words(
    code: grpc.StatusCode, kind: type[Exception], told: str
) -> None:
    sink = PubSubSink()
    sink.will(code)
    async with publishing(sink) as publisher:
        with pytest.raises(kind, match=told):
            await publisher.publish([message("a")])

    assert 1 == sink.calls


async def test_an_error_tells_nothing_of_what_was_published() -> None:
    sink = PubSubSink()
    sink.will(grpc.StatusCode.INVALID_ARGUMENT)
    async with publishing(sink) as publisher:
        with pytest.raises(Invalid) as raised:
            await publisher.publish([message("a prompt")])

    assert "prompt" not in str(raised.value)


async def test_a_server_that_answers_late_is_unavailable_within_the_timeout() -> None:
    async with publishing(PubSubSink(delay_s=30.0), timeout_s=0.5) as publisher:
        began = time.monotonic()
        with pytest.raises(Unavailable, match=r"news \(deadline exceeded"):
            await publisher.publish([message(str(number)) for number in range(2_000)])

    assert time.monotonic() - began < 10.0


async def test_a_server_that_keeps_failing_is_unavailable_within_the_timeout() -> None:
    sink = PubSubSink()
    sink.will(*[UNAVAILABLE] * 1_000)
    async with publishing(sink, timeout_s=1.0) as publisher:
        began = time.monotonic()
        with pytest.raises(Unavailable, match="news"):
            await publisher.publish([message("a")])

    assert time.monotonic() - began < 10.0
    assert 3 <= sink.calls <= 8  # pauses that grow


async def test_a_refused_connection_is_unavailable_within_the_timeout() -> None:
    with unreachable() as url:
        place = Place(project="test", emulator=url.removeprefix("http://"))
        channel = await connect(place)
        began = time.monotonic()
        with pytest.raises(Unavailable, match="topic news"):
            await PubSubPublisher(channel, place, timeout_s=1.0).publish([message("a")])
        await channel.close()

    assert time.monotonic() - began < 10.0


async def test_where_one_topic_fails_nothing_is_under_way_when_it_is_told() -> None:
    sink = PubSubSink(delay_s=0.05)
    sink.will(grpc.StatusCode.NOT_FOUND)
    async with publishing(sink) as publisher:
        with pytest.raises(Unavailable):
            await publisher.publish([message("a"), message("b", "jobs")])
        calls, arrived = sink.calls, sum(sink.messages.values())

    assert (2, 1) == (calls, arrived)


async def test_a_topic_nobody_made_is_unavailable_and_says_how_to_make_it(project: Project) -> None:
    with pytest.raises(Unavailable, match="no topic nowhere; make it with: penstock topics apply"):
        await project.publisher().publish([message("a", "nowhere")])
