"""Hands the answer of a queued request to the topic its caller asked for it on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from events.answer import AnswerDue, ready, ready_elsewhere
from events.catalog import answers_topic
from events.envelope import Envelope
from events.requests import FINAL, Owed, RequestDocument, Versioned, owed
from events.words import Invalid

SOURCE = "/functions/delivery"
MOST_BYTES = 7_000_000  # Pub/Sub takes 10 MB a call


class Requests(Protocol):
    """Where request documents are kept."""

    async def get(self, request_id: str) -> Versioned | None:
        """A document and its version."""


class Bodies(Protocol):
    """Where sealed bodies are kept."""

    async def get(self, body_id: str) -> bytes | None:
        """A body, if it is still kept."""


class Sealer(Protocol):
    """Seals bodies under the tenant's key."""

    async def open(self, tenant: str, kind: str, body_id: str, sealed: bytes) -> bytes:
        """The clear form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the delivery function needs. `most_bytes`: larger answers are only told of."""

    requests: Requests
    bodies: Bodies
    sealer: Sealer
    most_bytes: int = MOST_BYTES


async def handle(envelope: Envelope, ports: Ports) -> Sequence[Owed]:
    """Says what a caller would read; nothing where the request was forgotten meanwhile."""
    due = envelope.event
    if not isinstance(due, AnswerDue):
        raise Invalid(f"The delivery function does not consume {envelope.type}.")
    found = await ports.requests.get(due.request_id)
    if found is None or found.document.state not in FINAL or found.document.answer_to != "topic":
        return []
    document = found.document
    topic = answers_topic(document.tenant)
    message = owed(document, ready(document, await _body(document, ports)), envelope.time, SOURCE, topic)
    if len(message.data) > ports.most_bytes:
        message = owed(document, ready_elsewhere(document), envelope.time, SOURCE, topic)
    return [message]


async def _body(document: RequestDocument, ports: Ports) -> bytes | None:
    answer = document.answer
    sealed = await ports.bodies.get(answer.body_id) if answer else None
    if answer is None or sealed is None:
        return None
    return await ports.sealer.open(document.tenant, "answer", answer.body_id, sealed)
