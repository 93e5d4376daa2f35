"""The two sides of a bus: publishing messages, and handling an event that arrived."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from events.envelope import PREFIX, Envelope, Event
from events.words import Record

Ports_contra = TypeVar("Ports_contra", contravariant=True)


class Message(Record):
    """What a bus carries: attributes and bytes on a topic. `id` is the bus's own; `attempt` counts from 1."""

    topic: str
    attributes: dict[str, str]
    data: bytes
    id: str = ""
    published_at: datetime | None = None
    attempt: int = 1


class Publisher(Protocol):
    """Publishes messages; when it returns they are durable. Raises `Unavailable`."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Makes the messages durable, all or none."""


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


class Handler(Protocol[Ports_contra]):
    """Handles one event and returns what to publish.

    It is safe to call again with the same event: a handler that finds its effect already stored
    returns the same events. It raises `Invalid` for what no retry can mend.
    """

    async def __call__(self, envelope: Envelope, ports: Ports_contra) -> Sequence[Event]:
        """The events that follow from this one, in a fixed order."""


def topic_by_type(event_type: str) -> str:
    """The topic of a wire type: `penstock.usage.recorded.v1` → `usage-recorded-v1`."""
    return event_type.removeprefix(PREFIX).replace(".", "-")


def message_of(envelope: Envelope, topic: str = "") -> Message:
    """The message that carries an envelope, on its own topic unless another is named."""
    return Message(
        topic=topic or topic_by_type(envelope.type), attributes=envelope.attributes(), data=envelope.data
    )
