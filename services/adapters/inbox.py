"""The receiving side of a bus, as those who consume its subscriptions see it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from events.bus import Message
from events.words import Record


class Inbox(Protocol):
    """Leases the messages of a subscription; whoever leased one answers with an ack, a nack or a
    dead letter before its ack deadline, else it comes again.

    An answer that comes late or twice does no harm. A name never declared raises `Invalid`; a bus that
    cannot be reached or written raises `Unavailable`, and nothing was leased or answered.
    """

    async def receive(self, subscription_name: str, limit: int) -> list[Message]:
        """Waits until there is a message, and leases at most `limit` of them, oldest first."""

    async def ack(self, subscription_name: str, ids: Sequence[str]) -> None:
        """The messages are done with, and never come again."""

    async def nack(self, subscription_name: str, id: str) -> None:
        """The message comes again after its backoff, or is given up where that was its last attempt."""

    async def dead_letter(self, subscription_name: str, id: str, reason: str) -> None:
        """Nobody can handle the message: it is put aside at once, with the reason."""


class DeadLetter(Record):
    """A message that was given up: by which subscription, when and why; `id` is its own."""

    id: str
    subscription: str
    reason: str
    dead_at: datetime
    message: Message
