"""Publishing: many messages a call, and a call that returned made them durable."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from events.bus import Message
from events.words import Invalid
from services.adapters.pubsub.calls import Call
from services.adapters.pubsub.connection import Channel, Place
from services.adapters.pubsub.messages import PublishRequest, PublishResponse, PubsubMessage

TIMEOUT_S = 10.0

# What one call takes and one message carries: https://cloud.google.com/pubsub/quotas#resource_limits
MAX_MESSAGES = 1_000
MAX_BYTES = 10_000_000
MAX_ATTRIBUTES = 100
MAX_NAME_BYTES = 256
MAX_VALUE_BYTES = 1_024


class PubSubPublisher:
    """`Publisher` on Pub/Sub.

    Messages of one topic arrive there in the order they were given, unless one comes again. What no call
    could carry is refused before anything is sent; where a call fails later, some messages may have been
    published, and whoever publishes them again makes duplicates with the same `ce-id`.
    """

    def __init__(self, channel: Channel, place: Place, *, timeout_s: float = TIMEOUT_S) -> None:
        self._place = place
        self._timeout_s = timeout_s
        self._publish = Call(channel, "Publisher/Publish", PublishRequest, PublishResponse)

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publishes by topic, in as few calls as the limits allow, within `timeout_s` altogether.

        Raises `Invalid` for a message or topic that can never be published, else `Unavailable`.
        """
        by_topic: dict[str, list[Message]] = {}
        for message in messages:
            by_topic.setdefault(message.topic, []).append(message)
        calls = [(topic, list(self._requests(topic, of_topic))) for topic, of_topic in by_topic.items()]
        until = asyncio.get_running_loop().time() + self._timeout_s
        # Nothing is under way any more when this returns, also where one topic failed.
        outcomes = await asyncio.gather(*(self._send(*call, until) for call in calls), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    def _requests(self, topic: str, messages: Iterable[Message]) -> Iterator[Any]:
        return requests(self._place.topic(topic), map(on_the_wire, messages))

    async def _send(self, topic: str, requests: Iterable[object], until: float) -> None:
        for request in requests:  # one after the other: that keeps their order
            await self._publish(request, f"topic {topic}", until=until)


def requests(full_topic: str, messages: Iterable[Any], max_bytes: int = MAX_BYTES) -> Iterator[Any]:
    """Cuts a topic's messages so that each request fits into one call; order is kept.

    Raises `Invalid` where a message alone does not fit.
    """
    request = PublishRequest(topic=full_topic)
    empty = size = request.ByteSize()
    for message in messages:
        weight = _size_within(message)
        if empty + weight > max_bytes:
            name = full_topic.rpartition("/")[2]
            raise Invalid(
                f"A message for the topic {name} has {weight} bytes; Pub/Sub takes {max_bytes} at most."
            )
        if len(request.messages) == MAX_MESSAGES or size + weight > max_bytes:
            yield request
            request, size = PublishRequest(topic=full_topic), empty
        request.messages.append(message)
        size += weight
    if request.messages:
        yield request


def _size_within(message: Any) -> int:
    """The bytes a message adds to a request: itself, its field's tag, and its length as a varint."""
    size = int(message.ByteSize())
    return 1 + max(1, -(-size.bit_length() // 7)) + size


def on_the_wire(message: Message) -> Any:
    """The message as Pub/Sub takes it; raises `Invalid` where it cannot.

    The emulator takes what Pub/Sub refuses here, and a refusal there would hit the whole request.
    """
    attributes = message.attributes
    if not message.data and not attributes:
        raise Invalid(f"A message for the topic {message.topic} has neither data nor attributes.")
    if len(attributes) > MAX_ATTRIBUTES:
        raise Invalid(
            f"A message for the topic {message.topic} has {len(attributes)} attributes; "
            f"Pub/Sub takes {MAX_ATTRIBUTES} at most."
        )
    for name, value in attributes.items():
        if not fits(name, value):
            raise Invalid(
                f"An attribute of a message for the topic {message.topic} is not text Pub/Sub takes: its "
                f"name has 1 to {MAX_NAME_BYTES} bytes and its value at most {MAX_VALUE_BYTES}, in UTF-8."
            )
    return PubsubMessage(data=message.data, attributes=attributes)


def fits(name: str, value: str) -> bool:
    """Whether Pub/Sub takes such an attribute."""
    try:
        return 1 <= len(name.encode()) <= MAX_NAME_BYTES and len(value.encode()) <= MAX_VALUE_BYTES
    except UnicodeEncodeError:  # half a surrogate pair
        return False
