"""The methods of Pub/Sub that pulling needs, for one subscription."""

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from events.bus import Message
from events.catalog import Subscription
from services.adapters.pubsub.calls import Call
from services.adapters.pubsub.connection import Channel, Place
from services.adapters.pubsub.messages import (
    AcknowledgeRequest,
    Empty,
    ModifyAckDeadlineRequest,
    StreamingPullRequest,
    StreamingPullResponse,
)

SHORTEST_ACK_DEADLINE_S, LONGEST_ACK_DEADLINE_S = 10, 600  # what Pub/Sub takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """How much one process holds of a subscription, unread messages included, and for how long.

    The server stops sending at these limits; what is held here nobody else gets. `hold_s` is the longest
    a handler may take: until then its message's lease is extended, after that the message comes again.
    """

    max_messages: int = 200
    max_bytes: int = 20_000_000
    hold_s: float = 600.0


def ack_deadline_s(subscription: Subscription) -> int:
    """The subscription's ack deadline, within Pub/Sub's limits."""
    return min(LONGEST_ACK_DEADLINE_S, max(SHORTEST_ACK_DEADLINE_S, subscription.retry.ack_deadline_s))


class Service:
    """Streams and answers of one subscription."""

    def __init__(self, channel: Channel, place: Place, subscription: Subscription) -> None:
        self.what = f"subscription {subscription.name}"
        self.ack_deadline_s = ack_deadline_s(subscription)
        self._topic = subscription.topic
        self._full_name = place.subscription(subscription.name)
        self._client_id = secrets.token_hex(16)  # the same for every stream: one takes over from the other
        self._acknowledge = Call(channel, "Subscriber/Acknowledge", AcknowledgeRequest, Empty)
        self._modify = Call(channel, "Subscriber/ModifyAckDeadline", ModifyAckDeadlineRequest, Empty)
        self.stream = channel.stream_stream(
            "/google.pubsub.v1.Subscriber/StreamingPull",
            request_serializer=StreamingPullRequest.SerializeToString,
            response_deserializer=StreamingPullResponse.FromString,
        )

    def first_request(self, flow: Flow) -> Any:
        """What a stream begins with."""
        return StreamingPullRequest(
            subscription=self._full_name,
            stream_ack_deadline_seconds=self.ack_deadline_s,
            client_id=self._client_id,
            max_outstanding_messages=flow.max_messages,
            max_outstanding_bytes=flow.max_bytes,
        )

    def heartbeat(self) -> Any:
        """What a stream says when there is nothing to say."""
        return StreamingPullRequest(stream_ack_deadline_seconds=self.ack_deadline_s)

    def received(self, response: Any) -> Iterable[tuple[str, Message]]:
        """The ack ids of a response, and the messages under them."""
        return ((one.ack_id, self._message(one)) for one in response.received_messages)

    def _message(self, received: Any) -> Message:
        content = received.message
        return Message(
            topic=self._topic,
            attributes=dict(content.attributes),
            data=content.data,
            id=content.message_id,
            published_at=content.publish_time.ToDatetime(tzinfo=UTC),
            attempt=max(1, received.delivery_attempt),  # 0 where the subscription has no dead letter
        )

    async def acknowledge(self, ack_ids: Sequence[str], within_s: float) -> None:
        """The messages are done with."""
        request = AcknowledgeRequest(subscription=self._full_name, ack_ids=ack_ids)
        await self._acknowledge(request, self.what, until=_after(within_s))

    async def lease_for(self, ack_ids: Sequence[str], lease_s: int, within_s: float) -> None:
        """Their leases end so many seconds from now; 0 gives them back."""
        request = ModifyAckDeadlineRequest(
            subscription=self._full_name, ack_ids=ack_ids, ack_deadline_seconds=lease_s
        )
        await self._modify(request, self.what, until=_after(within_s))


def _after(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds
