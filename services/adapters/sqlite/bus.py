"""A bus in a SQLite file: what was published is on the disk, and comes until it is acknowledged."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from secrets import token_hex
from typing import TypeAlias

from msgspec.structs import replace

from events.bus import Message
from events.catalog import Subscription
from events.words import Invalid
from services.adapters import redelivery
from services.adapters.dead_letter import DeadLetter
from services.adapters.sqlite import deliveries
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.deliveries import Leased, row
from services.adapters.sqlite.mailbox import Mailbox
from services.adapters.watch import Watch, Watchers

TIDY_EVERY = timedelta(hours=1)
TIDY_AT_ONCE = 100

# A message on its way to a mailbox, and whether it is stored leased.
_Parcel: TypeAlias = tuple[Mailbox, Message, bool]


class SqliteBus:
    """`Publisher` and `Inbox` of one process; at most one exists for a file.

    `now` is an aware clock. Nothing is polled: a receiver is woken by what is published, and by a
    timer set to the next lease or backoff that ends.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._boxes: dict[str, Mailbox] = {}
        self._by_topic: dict[str, list[Mailbox]] = {}
        self._watchers = Watchers()
        self._tidy_at = now()

    @classmethod
    async def open(cls, database: Database, now: Callable[[], datetime]) -> "SqliteBus":
        """A bus that knows the subscriptions declared earlier; leases of an earlier process are over."""
        bus = cls(database, now)
        bus._know(await database.read(deliveries.declared))
        await bus.release_all()
        return bus

    async def release_all(self) -> None:
        """Ends every lease; each delivery that was not answered still counts as an attempt."""
        await self._database.write(partial(deliveries.release_all, self._now()))

    async def ensure(self, subscriptions: Sequence[Subscription]) -> None:
        """Declares subscriptions, or changes their terms; they get what is published from now on."""
        await self._database.write(partial(deliveries.declare, subscriptions))
        self._know(subscriptions)

    def _know(self, subscriptions: Iterable[Subscription]) -> None:
        for subscription in subscriptions:
            box = self._boxes.get(subscription.name)
            if box is None:
                box = self._boxes[subscription.name] = Mailbox(subscription)
                self._by_topic.setdefault(subscription.topic, []).append(box)
            box.subscription = subscription

    async def publish(self, messages: Sequence[Message]) -> None:
        """Stores the messages for every subscription of their topics, in one commit.

        A topic without a subscription keeps nothing. Raises `Unavailable`; then nothing was stored.
        """
        now = self._now()
        stamped = [replace(message, id=token_hex(16), published_at=now, attempt=1) for message in messages]
        parcels = self._address(stamped)
        if not parcels:
            self._watchers.tell(stamped)
            return
        rows = [row(message, box.subscription, now, leased=leased) for box, message, leased in parcels]
        storing = self._database.write(partial(deliveries.insert, rows))
        storing.add_done_callback(partial(self._stored, stamped, parcels))
        # A publisher that stops waiting must not keep the others from hearing of its messages.
        await asyncio.shield(storing)

    def _address(self, messages: Iterable[Message]) -> list[_Parcel]:
        return [
            (box, message, box.reserve())
            for message in messages
            for box in self._by_topic.get(message.topic, ())
        ]

    def _stored(
        self, messages: Iterable[Message], parcels: Iterable[_Parcel], storing: asyncio.Future[None]
    ) -> None:
        stored = not storing.cancelled() and storing.exception() is None
        for box, message, leased in parcels:
            if leased:
                box.arrive(message if stored else None)
            box.bell.ring()
        if stored:
            self._watchers.tell(messages)

    async def receive(self, subscription_name: str, limit: int) -> list[Message]:
        """Waits until there is a message, and leases at most `limit` of them, oldest first."""
        box = self._box(subscription_name)
        while True:
            await self._tidy()
            stroke = box.bell.stroke
            if taken := box.take(limit, self._now()):
                return taken
            leased = await self._lease(box, limit)
            if leased.messages:
                return leased.messages
            await box.wait(stroke, limit, self._pause(box, leased.next_due))

    async def _tidy(self) -> None:
        """Forgets dead letters whose time is over, now and then; receivers wake often enough for that."""
        now = self._now()
        if now < self._tidy_at:
            return
        self._tidy_at = now + TIDY_EVERY
        forgotten = await self._database.write(partial(deliveries.forget_dead, now, TIDY_AT_ONCE))
        if forgotten == TIDY_AT_ONCE:  # the rest with the next look
            self._tidy_at = now

    async def _lease(self, box: Mailbox, limit: int) -> Leased:
        leasing = self._database.write(partial(deliveries.lease, box.subscription, limit, self._now()))
        try:
            return await asyncio.shield(leasing)
        except asyncio.CancelledError:
            leasing.add_done_callback(box.keep)
            raise

    def _pause(self, box: Mailbox, next_due: datetime | None) -> timedelta:
        """How long nothing can come due: a lease that begins later ends later than one begun now."""
        longest = redelivery.lease(box.subscription.retry)
        return longest if next_due is None else min(longest, next_due - self._now())

    async def ack(self, subscription_name: str, ids: Sequence[str]) -> None:
        """The messages are done with, and never come again."""
        box = self._box(subscription_name)
        await self._database.write(partial(deliveries.remove, box.name, ids))

    async def nack(self, subscription_name: str, id: str) -> None:
        """The message comes again after its backoff, or is given up where that was its last attempt."""
        box = self._box(subscription_name)
        try:
            await self._database.write(partial(deliveries.refuse, box.subscription, id, self._now()))
        finally:
            box.bell.ring()  # those who wait set their timer anew, after this write even if it is under way

    async def dead_letter(self, subscription_name: str, id: str, reason: str) -> None:
        """Nobody can handle the message: it is put aside at once, with the reason."""
        box = self._box(subscription_name)
        await self._database.write(partial(deliveries.bury, box.name, id, reason, self._now()))

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        """The newest dead letters, newest first."""
        topics = {name: box.subscription.topic for name, box in self._boxes.items()}
        return await self._database.read(partial(deliveries.dead_letters, topics, self._now(), limit))

    async def replay(self, dead_letter_id: str) -> bool:
        """Puts a dead letter back on its subscription as if new; False where there is none."""
        name = await self._database.write(partial(deliveries.unbury, dead_letter_id, self._now()))
        if name is not None:
            self._boxes[name].bell.ring()
        return name is not None

    async def backlog(self) -> dict[str, int]:
        """How many messages each subscription has that were not acknowledged, leased ones included."""
        counted = await self._database.read(deliveries.backlog)
        return {name: counted.get(name, 0) for name in self._boxes}

    def watch(self) -> Watch:
        """Every message published in this process from now on."""
        return self._watchers.add()

    def _box(self, subscription_name: str) -> Mailbox:
        try:
            return self._boxes[subscription_name]
        except KeyError:
            raise Invalid(f"There is no subscription {subscription_name!r}.") from None
