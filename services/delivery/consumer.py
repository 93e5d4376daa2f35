"""Delivers a subscription's messages to a handler, publishes what it returns, and acknowledges."""

import asyncio
import logging
from collections.abc import Callable

from events.bus import Inbox, Message, Publisher
from events.catalog import Subscription
from events.envelope import Envelope
from events.words import Invalid, PenstockError
from services.delivery.handling import Handle, carry_out
from services.jobs.starts import event_of

AT_ONCE = 32
PAUSE_S = 1.0

Decode = Callable[[Message], Envelope]

log = logging.getLogger("penstock.consumer")


class Consumer:
    """One subscription's worker: publish, then ack; what no retry can mend goes to the dead letter. Where
    nobody waits for it, `gathers_s` between batches make fewer and larger ones, and fewer commits.
    """

    def __init__(
        self,
        inbox: Inbox,
        publisher: Publisher,
        subscription: Subscription,
        handle: Handle,
        *,
        source: str,
        decode: Decode = event_of,
        gathers_s: float = 0.0,
    ) -> None:
        self._inbox = inbox
        self._publisher = publisher
        self._name = subscription.name
        self._handle = handle
        self._source = source
        self._decode = decode
        self._gathers_s = gathers_s

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                messages = await self._inbox.receive(self._name, AT_ONCE)
                done = await asyncio.gather(*map(self._deliver, messages))
                await self._inbox.ack(self._name, [name for name in done if name])
                if self._gathers_s:
                    await asyncio.sleep(self._gathers_s)
            except PenstockError as error:
                log.warning("%s waits: %s", self._name, error)
                await asyncio.sleep(PAUSE_S)
            except Exception:
                log.exception("%s waits", self._name)
                await asyncio.sleep(PAUSE_S)

    async def _deliver(self, message: Message) -> str | None:
        """One message; its id where it is to be acknowledged."""
        try:
            return await self._handled(message)
        except PenstockError as error:  # the bus is away; the message comes again when its lease is over
            log.warning("%s: a message was not answered: %s", self._name, error)
            return None

    async def _handled(self, message: Message) -> str | None:
        try:
            await carry_out(self._decode(message), self._handle, self._publisher, self._source)
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
