"""Receiving by pulling: for processes that have no URL to be pushed to."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import islice

from events.bus import Message
from events.catalog import Subscription
from events.words import Invalid, Unavailable
from services.adapters.pubsub.connection import Channel, Place
from services.adapters.pubsub.publisher import MAX_ATTRIBUTES, PubSubPublisher
from services.adapters.pubsub.pulling.pull import Pull
from services.adapters.pubsub.pulling.service import Flow, Service

TIMEOUT_S = 10.0

REASON = "penstock-dead-reason"
REASON_BYTES = 1_000
SOURCE_ID = "penstock-dead-message-id"
ATTEMPTS = "penstock-dead-attempts"


class PubSubInbox:
    """`Inbox` on Pub/Sub: a subscription is pulled from its first `receive` on, until `close`.

    A lease is extended while a handler works, until `Flow.hold_s` after the message came; Pub/Sub counts
    the attempts, keeps the backoff and gives up by itself. Messages come roughly oldest first: it promises
    no order. A subscription that Pub/Sub does not have, or that could not be reached for `timeout_s`,
    raises `Unavailable` in `receive`; the stream is opened again all the while.
    """

    def __init__(
        self,
        channel: Channel,
        place: Place,
        subscriptions: Iterable[Subscription],
        *,
        flow: Flow | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._channel = channel
        self._place = place
        self._known = {subscription.name: subscription for subscription in subscriptions}
        self._flow = flow or Flow()
        self._timeout_s = timeout_s
        self._publisher = PubSubPublisher(channel, place, timeout_s=timeout_s)
        self._pulls: dict[str, Pull] = {}

    async def receive(self, subscription_name: str, limit: int) -> list[Message]:
        """Waits until there is a message, and leases at most `limit` of them."""
        pull = self._pulls.get(subscription_name)
        if pull is None:
            service = Service(self._channel, self._place, self._subscription(subscription_name))
            pull = self._pulls[subscription_name] = Pull(service, self._flow, timeout_s=self._timeout_s)
        return await pull.take(limit)

    async def ack(self, subscription_name: str, ids: Sequence[str]) -> None:
        """The messages are done with; acks given at the same time travel together."""
        if pull := self._pull(subscription_name):
            await pull.ack(ids)

    async def nack(self, subscription_name: str, id: str) -> None:
        """The message comes again after its backoff, which Pub/Sub keeps."""
        if pull := self._pull(subscription_name):
            await pull.nack(id)

    async def dead_letter(self, subscription_name: str, id: str, reason: str) -> None:
        """Published to the subscription's dead-letter topic with the reason, then acknowledged.

        Where that fails the message comes again; it may then be put aside twice.
        """
        pull = self._pull(subscription_name)
        message = pull.given(id) if pull else None
        if pull is None or message is None:
            return
        topic = self._subscription(subscription_name).dead_letter_topic
        try:
            await self._publisher.publish([dead_letter(message, topic, reason)])
        except Invalid:  # too large with its reason; in the end Pub/Sub puts it aside itself
            await pull.nack(id)
        except Unavailable:
            pull.let_go(id)
            raise
        else:
            await pull.ack([id])

    async def close(self) -> None:
        """Stops pulling and returns what was not answered, so that others get it at once."""
        await asyncio.gather(*(pull.close() for pull in self._pulls.values()))

    def _pull(self, subscription_name: str) -> Pull | None:
        self._subscription(subscription_name)
        return self._pulls.get(subscription_name)

    def _subscription(self, name: str) -> Subscription:
        try:
            return self._known[name]
        except KeyError:
            raise Invalid(f"There is no subscription {name!r}.") from None


def dead_letter(message: Message, topic: str, reason: str) -> Message:
    """The message put aside: its own attributes, as many as have room, and what became of it."""
    told = {
        REASON: reason.encode("ascii", "replace").decode()[:REASON_BYTES],
        SOURCE_ID: message.id,
        ATTEMPTS: str(message.attempt),
    }
    own = islice(message.attributes.items(), MAX_ATTRIBUTES - len(told))
    return Message(topic=topic, attributes={**dict(own), **told}, data=message.data)
