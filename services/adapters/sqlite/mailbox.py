"""What a process holds in memory of one subscription: who waits for it, and what is on its way to them."""

import asyncio
from collections import deque
from datetime import datetime, timedelta

from events.bus import Message
from events.catalog import Subscription
from services.adapters import bell, redelivery
from services.adapters.bell import Bell
from services.adapters.sqlite.deliveries import Leased


class Mailbox:
    """The short way from a publisher to a receiver who is already waiting.

    A message reserved for such a receiver is stored leased ("born leased") and handed over once
    its commit returned, so that nobody has to look for it in the file. What is handed over and
    not taken before its lease ended is dropped here; its row comes due like any other.
    """

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.bell = Bell()
        self._wanted = 0  # messages that waiting receivers can take
        self._coming = 0  # messages reserved for them whose commit has not returned
        self._handed: deque[tuple[datetime, Message]] = deque()  # each beside the end of its lease

    @property
    def name(self) -> str:
        """The subscription's."""
        return self.subscription.name

    def reserve(self) -> bool:
        """Whether a message about to be stored may be born leased; if so, it is expected from now on."""
        if self._wanted <= self._coming + len(self._handed):
            return False
        self._coming += 1
        return True

    def arrive(self, message: Message | None) -> None:
        """What became of a reserved message: it was stored, or (None) it could not be."""
        self._coming -= 1
        if message is not None and message.published_at is not None:
            lease_until = message.published_at + redelivery.lease(self.subscription.retry)
            self._handed.append((lease_until, message))

    def keep(self, leasing: asyncio.Future[Leased]) -> None:
        """Keeps what was leased for a receiver that left meanwhile, for the next one."""
        if not leasing.cancelled() and leasing.exception() is None:
            leased = leasing.result()
            self._handed.extendleft((leased.lease_until, message) for message in reversed(leased.messages))
            self.bell.ring()

    def take(self, limit: int, now: datetime) -> list[Message]:
        """What is at hand, its leases still running at `now`."""
        taken: list[Message] = []
        while self._handed and len(taken) < limit:
            lease_until, message = self._handed.popleft()
            if now < lease_until:
                taken.append(message)
        return taken

    async def wait(self, stroke: asyncio.Event, limit: int, pause: timedelta) -> None:
        """Waits for the stroke, at most for the pause, as a receiver of `limit` messages."""
        self._wanted += limit
        try:
            await bell.wait(stroke, pause)
        finally:
            self._wanted -= limit
