"""Looking on at topics: a subscription of one's own, for as long as one looks."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Iterable

from events.bus import Message
from events.catalog import Subscription
from events.words import PenstockError
from services.adapters.pubsub import messages
from services.adapters.pubsub.calls import Call
from services.adapters.pubsub.connection import Channel, Place
from services.adapters.pubsub.inbox import PubSubInbox
from services.adapters.pubsub.topics.state import KIND, MANAGED_BY, OURS, WATCH
from services.adapters.watch import Watch, Watchers

TIMEOUT_S = 10.0
LIFE_S = 86_400  # the shortest Pub/Sub allows; after that it deletes what nobody pulls
RETENTION_S = 600  # the shortest, too: whoever looks on reads at once
LABELS = {MANAGED_BY: OURS, KIND: WATCH}
AT_ONCE = 100
PAUSE_S = 1.0

log = logging.getLogger("penstock.pubsub")


class TemporarySubscription:
    """Everything published to a topic since it was opened, until `aclose`, which deletes it.

    Where its process dies before, Pub/Sub deletes it after a day.
    """

    def __init__(self, channel: Channel, place: Place, topic: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._place = place
        self._terms = Subscription(topic=topic, consumer=f"watch-{secrets.token_hex(8)}")
        self._timeout_s = timeout_s
        self._inbox = PubSubInbox(channel, place, [self._terms], timeout_s=timeout_s)
        self._create = Call(
            channel, "Subscriber/CreateSubscription", messages.Subscription, messages.Subscription
        )
        self._delete = Call(
            channel, "Subscriber/DeleteSubscription", messages.DeleteSubscriptionRequest, messages.Empty
        )

    async def open(self) -> None:
        """From now on nothing is missed; raises `Unavailable`."""
        request = messages.Subscription(
            name=self._place.subscription(self._terms.name),
            topic=self._place.topic(self._terms.topic),
            ack_deadline_seconds=self._terms.retry.ack_deadline_s,
            labels=LABELS,
        )
        request.message_retention_duration.FromSeconds(RETENTION_S)
        request.expiration_policy.ttl.FromSeconds(LIFE_S)
        await self._create(request, f"topic {self._terms.topic}", until=self._until())

    async def next(self) -> list[Message]:
        """Waits for messages, and acknowledges them; raises `Unavailable`."""
        found = await self._inbox.receive(self._terms.name, AT_ONCE)
        await self._inbox.ack(self._terms.name, [message.id for message in found])
        return found

    async def __aiter__(self) -> AsyncIterator[Message]:
        while True:
            for message in await self.next():
                yield message

    async def aclose(self) -> None:
        """Deletes the subscription."""
        await self._inbox.close()
        request = messages.DeleteSubscriptionRequest(subscription=self._place.subscription(self._terms.name))
        try:
            await self._delete(request, f"subscription {self._terms.name}", until=self._until())
        except PenstockError as error:
            log.info("%s was not deleted, and goes by itself within a day: %s", self._terms.name, error)

    def _until(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout_s


@contextlib.asynccontextmanager
async def watching(
    channel: Channel, place: Place, topics: Iterable[str], *, timeout_s: float = TIMEOUT_S
) -> AsyncIterator[Watch]:
    """Looks on at several topics at once; like any watch it keeps the newest 1000 that were not read.

    Raises `Unavailable` where one of the topics cannot be watched.
    """
    watchers = Watchers()
    opened: list[TemporarySubscription] = []
    feeds: list[asyncio.Task[None]] = []

    async def begin(topic: str) -> None:
        subscription = TemporarySubscription(channel, place, topic, timeout_s=timeout_s)
        await subscription.open()
        opened.append(subscription)
        feeds.append(asyncio.create_task(_feed(subscription, watchers)))

    try:
        async with contextlib.aclosing(watchers.add()) as watch:
            for outcome in await asyncio.gather(*map(begin, topics), return_exceptions=True):
                if outcome is not None:
                    raise outcome
            yield watch
    finally:
        for feed in feeds:
            feed.cancel()
        await asyncio.gather(*feeds, return_exceptions=True)
        await asyncio.gather(*(subscription.aclose() for subscription in opened))


async def _feed(subscription: TemporarySubscription, watchers: Watchers) -> None:
    while True:
        try:
            watchers.tell(await subscription.next())
        except PenstockError as error:
            log.warning("looking on pauses: %s", error)
            await asyncio.sleep(PAUSE_S)
