"""Publishes the events a document owes, then forgets that it owes them."""

import contextlib

from msgspec.structs import replace

from events.bus import Message
from events.requests import Versioned
from events.words import Conflict
from services.dispatcher.ports import Ports


async def pay(stored: Versioned, ports: Ports) -> None:
    """Publishes first: a crash in between means the events are published twice, with the same ids."""
    document = stored.document
    if not document.owed:
        return
    await ports.publisher.publish(
        [Message(topic=o.topic, attributes=o.attributes, data=o.data) for o in document.owed]
    )
    with contextlib.suppress(Conflict):  # somebody moved the document on; the sweep will look again
        await ports.requests.replace(replace(document, owed=()), stored.version)
