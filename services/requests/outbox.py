"""Publishes the events a document owes, then forgets that it owes them."""

import contextlib
from typing import Protocol

from msgspec.structs import replace

from events.bus import Message, Publisher, message_of
from events.envelope import Envelope, Event, derive
from events.requests import Owed, RequestDocument, Versioned
from events.words import Conflict


class Requests(Protocol):
    """Where request documents are kept."""

    async def replace(self, document: RequestDocument, version: int) -> int:
        """Writes it if it still has `version`; else raises `Conflict`."""


def message(owed: Owed) -> Message:
    """The message of an event that is owed: the same, byte for byte, however often it is published."""
    return Message(topic=owed.topic, attributes=owed.attributes, data=owed.data)


def follows(consumed: Envelope, event: Event | Owed, *, index: int, source: str) -> Message:
    """The message of the `index`-th event a handler returned for `consumed`. What a document owes is said
    under the id it has there, whoever says it.
    """
    if isinstance(event, Owed):
        return message(event)
    return message_of(derive(consumed, event, index=index, source=source))


async def tell(document: RequestDocument, publisher: Publisher) -> None:
    """Publishes what the document owes; it goes on owing it. Raises `Unavailable`."""
    await publisher.publish([message(owed) for owed in document.owed])


async def pay(stored: Versioned, requests: Requests, publisher: Publisher) -> None:
    """Tells what the document owes, then forgets that. Raises `Unavailable`: the document owes it still.

    It publishes first: a crash in between means the events are published twice, with the same ids.
    """
    document = stored.document
    if not document.owed:
        return
    await tell(document, publisher)
    with contextlib.suppress(Conflict):  # somebody moved the document on; the sweep will look again
        await requests.replace(replace(document, owed=()), stored.version)
