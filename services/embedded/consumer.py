"""Delivers a subscription's messages to a handler, publishes what it returns, and acknowledges."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from events.bus import Inbox, Message, Publisher, message_of
from events.catalog import KNOWN, Subscription
from events.envelope import Envelope, Event, decode, derive
from events.words import Invalid, PenstockError

AT_ONCE = 32
PAUSE_S = 1.0

Handle = Callable[[Envelope], Awaitable[Sequence[Event]]]
Decode = Callable[[Message], Envelope]

log = logging.getLogger("penstock.consumer")


def cloud_event(message: Message) -> Envelope:
    """The envelope of an internal message."""
    return decode(message.attributes, message.data, KNOWN)


class Consumer:
    """One subscription's worker: publish, then ack; what no retry can mend goes to the dead letter."""

    def __init__(
        self,
        inbox: Inbox,
        publisher: Publisher,
        subscription: Subscription,
        handle: Handle,
        *,
        source: str,
        decode: Decode = cloud_event,
    ) -> None:
        self._inbox = inbox
        self._publisher = publisher
        self._name = subscription.name
        self._handle = handle
        self._source = source
        self._decode = decode

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                messages = await self._inbox.receive(self._name, AT_ONCE)
                done = await asyncio.gather(*map(self._deliver, messages))
                await self._inbox.ack(self._name, [name for name in done if name])
            except PenstockError as error:
                log.warning("%s waits: %s", self._name, error)
                await asyncio.sleep(PAUSE_S)

    async def _deliver(self, message: Message) -> str | None:
        """Handles one message; its id where it is to be acknowledged."""
        try:
            envelope = self._decode(message)
            events = await self._handle(envelope)
            await self._publish(envelope, events)
        except Invalid as error:
            log.warning("%s: a message goes to the dead letter: %s", self._name, error)
            await self._inbox.dead_letter(self._name, message.id, str(error))
        except PenstockError as error:
            log.info("%s: a message will come again: %s", self._name, error)
            await self._inbox.nack(self._name, message.id)
        except Exception:
            log.exception("%s: the handler failed", self._name)
            await self._inbox.nack(self._name, message.id)
        else:
            return message.id
        return None

    async def _publish(self, consumed: Envelope, events: Sequence[Event]) -> None:
        if events:
            await self._publisher.publish(
                [
                    message_of(derive(consumed, event, index=index, source=self._source))
                    for index, event in enumerate(events)
                ]
            )
