"""A bus in memory, with the leases, backoffs and dead letters of a real one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from secrets import token_hex

from msgspec.structs import replace

from events.bus import Message
from events.catalog import Subscription
from events.words import Invalid
from services.adapters import bell, redelivery
from services.adapters.bell import Bell
from services.adapters.dead_letter import KEPT, DeadLetter
from services.adapters.watch import Watch, Watchers


@dataclass(slots=True)
class _Delivery:
    """A message on its way to one subscription; while `due_at` is in the future it is not given out."""

    message: Message
    due_at: datetime
    attempt: int = 0
    leased: bool = False


@dataclass(slots=True)
class _Queue:
    """What one subscription has to deliver, oldest first, by message id."""

    subscription: Subscription
    deliveries: dict[str, _Delivery] = field(default_factory=dict)
    bell: Bell = field(default_factory=Bell)

    def add(self, message: Message, now: datetime) -> None:
        self.deliveries[message.id] = _Delivery(message=message, due_at=now)
        self.bell.ring()

    def due(self, now: datetime) -> list[_Delivery]:
        return [delivery for delivery in self.deliveries.values() if delivery.due_at <= now]

    def lease(self, limit: int, now: datetime) -> list[Message]:
        """Leases the oldest that are due."""
        leased = list(islice(self.due(now), limit))
        for delivery in leased:
            delivery.attempt += 1
            delivery.leased = True
            delivery.due_at = now + redelivery.lease(self.subscription.retry)
        return [replace(delivery.message, attempt=delivery.attempt) for delivery in leased]

    def pause(self, now: datetime) -> timedelta:
        """How long nothing can come due: a lease that begins later ends later than one begun now."""
        longest = now + redelivery.lease(self.subscription.retry)
        return min([longest, *(delivery.due_at for delivery in self.deliveries.values())]) - now


class MemoryBus:
    """`Publisher` and `Inbox` of one process; `now` is an aware clock."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._queues: dict[str, _Queue] = {}
        self._dead_letters: dict[str, DeadLetter] = {}
        self._watchers = Watchers()

    async def ensure(self, subscriptions: Sequence[Subscription]) -> None:
        """Declares subscriptions, or changes their terms; they get what is published from now on."""
        for subscription in subscriptions:
            queue = self._queues.setdefault(subscription.name, _Queue(subscription))
            queue.subscription = subscription

    async def release_all(self) -> None:
        """Ends every lease; each delivery that was not answered still counts as an attempt."""
        for queue in self._queues.values():
            for delivery in queue.deliveries.values():
                if delivery.leased:
                    delivery.leased, delivery.due_at = False, self._now()
            queue.bell.ring()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Keeps the messages for every subscription of their topics; a topic without one keeps nothing."""
        now = self._now()
        stamped = [replace(message, id=token_hex(16), published_at=now, attempt=1) for message in messages]
        for message in stamped:
            for queue in self._queues.values():
                if queue.subscription.topic == message.topic:
                    queue.add(message, now)
        self._watchers.tell(stamped)

    async def receive(self, subscription_name: str, limit: int) -> list[Message]:
        """Waits until there is a message, and leases at most `limit` of them, oldest first."""
        queue = self._queue(subscription_name)
        while True:
            stroke = queue.bell.stroke
            self._give_up_exhausted(queue)
            if leased := queue.lease(limit, self._now()):
                return leased
            await bell.wait(stroke, queue.pause(self._now()))

    async def ack(self, subscription_name: str, ids: Sequence[str]) -> None:
        """The messages are done with, and never come again."""
        deliveries = self._queue(subscription_name).deliveries
        for message_id in ids:
            deliveries.pop(message_id, None)

    async def nack(self, subscription_name: str, id: str) -> None:
        """The message comes again after its backoff, or is given up where that was its last attempt."""
        queue = self._queue(subscription_name)
        retry = queue.subscription.retry
        delivery = queue.deliveries.get(id)
        if delivery is not None and delivery.attempt >= retry.attempts:
            self._bury(queue, id, redelivery.refused(retry))
        elif delivery is not None:
            delivery.leased = False
            delivery.due_at = self._now() + redelivery.backoff(retry, delivery.attempt)
            queue.bell.ring()

    async def dead_letter(self, subscription_name: str, id: str, reason: str) -> None:
        """Nobody can handle the message: it is put aside at once, with the reason."""
        self._bury(self._queue(subscription_name), id, reason)

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        """The newest dead letters, newest first."""
        self._forget_dead()
        return list(islice(reversed(self._dead_letters.values()), limit))

    async def replay(self, dead_letter_id: str) -> bool:
        """Puts a dead letter back on its subscription as if new; False where there is none."""
        self._forget_dead()
        dead = self._dead_letters.pop(dead_letter_id, None)
        if dead is not None:
            self._queues[dead.subscription].add(dead.message, self._now())
        return dead is not None

    async def backlog(self) -> dict[str, int]:
        """How many messages each subscription has that were not acknowledged, leased ones included."""
        return {name: len(queue.deliveries) for name, queue in self._queues.items()}

    def watch(self) -> Watch:
        """Every message published from now on."""
        return self._watchers.add()

    def _queue(self, subscription_name: str) -> _Queue:
        try:
            return self._queues[subscription_name]
        except KeyError:
            raise Invalid(f"There is no subscription {subscription_name!r}.") from None

    def _give_up_exhausted(self, queue: _Queue) -> None:
        retry = queue.subscription.retry
        for delivery in queue.due(self._now()):
            if delivery.attempt >= retry.attempts:
                self._bury(queue, delivery.message.id, redelivery.unanswered(retry))

    def _forget_dead(self) -> None:
        until = self._now() - KEPT
        for dead in [dead for dead in self._dead_letters.values() if dead.dead_at <= until]:
            del self._dead_letters[dead.id]

    def _bury(self, queue: _Queue, id: str, reason: str) -> None:
        self._forget_dead()
        delivery = queue.deliveries.pop(id, None)
        if delivery is not None:
            dead = DeadLetter(
                id=token_hex(16),
                subscription=queue.subscription.name,
                reason=reason,
                dead_at=self._now(),
                message=replace(delivery.message, attempt=delivery.attempt),
            )
            self._dead_letters[dead.id] = dead
