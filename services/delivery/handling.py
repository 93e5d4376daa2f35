"""One event through one handler."""

from collections.abc import Awaitable, Callable, Sequence

from events.bus import Publisher
from events.envelope import Envelope, Event
from events.requests import Owed
from services.requests.outbox import follows

Handle = Callable[[Envelope], Awaitable[Sequence[Event | Owed]]]


async def carry_out(envelope: Envelope, handle: Handle, publisher: Publisher, source: str) -> None:
    """Handles an event and publishes what follows; the same event gives the same ids."""
    events = await handle(envelope)
    if events:
        await publisher.publish(
            [follows(envelope, event, index=index, source=source) for index, event in enumerate(events)]
        )
