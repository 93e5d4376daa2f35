"""Turns a published message into a stored request."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from msgspec.structs import replace

from events.config import Config
from events.envelope import Envelope, Event
from events.inference import InferenceRequested
from events.ingest import IngestReceived
from events.requests import RequestDocument, Versioned
from events.words import ApiKey, Invalid, Refusal, hashed_id
from functions.request.intake import Terms, accepted, refused, take
from functions.request.lifecycle import completed_event
from functions.request.submission import Options


class Requests(Protocol):
    """Where request documents are kept."""

    async def create(self, document: RequestDocument) -> Versioned:
        """Stores a new document; where the id is taken, the stored one is returned unchanged."""


class Bodies(Protocol):
    """Where sealed bodies are kept."""

    async def put(self, body_id: str, sealed: bytes, expire_at: datetime) -> None:
        """Stores a body, to be forgotten at `expire_at`; putting it again replaces it."""


class Sealer(Protocol):
    """Seals bodies under the tenant's key."""

    async def seal(self, tenant: str, kind: str, body_id: str, clear: bytes) -> bytes:
        """The sealed form."""

    async def open(self, tenant: str, kind: str, body_id: str, sealed: bytes) -> bytes:
        """The clear form; raises `Invalid` where it was sealed for anything else."""


class Keys(Protocol):
    """The key ring."""

    async def by_id(self, tenant: str, key_id: str) -> ApiKey | None:
        """A key by its public id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the request function needs."""

    requests: Requests
    bodies: Bodies
    sealer: Sealer
    keys: Keys
    config: Callable[[], Config]
    terms: Terms


async def handle(envelope: Envelope, ports: Ports) -> Sequence[Event]:
    """Admits, stores and announces one submission; the same message always names the same request."""
    received = envelope.event
    if not isinstance(received, IngestReceived):
        raise Invalid(f"The request function does not consume {envelope.type}.")
    await _check_key(received, envelope, ports)
    document = await _prepare(received, envelope, ports)
    stored = await ports.requests.create(document)
    return [_announcement(stored.document)]


def request_id(received: IngestReceived) -> str:
    """The request a message makes: named by its idempotency key, else by its message id."""
    return "req_" + hashed_id((received.tenant, "ingest", received.idempotency_key or received.message_id))


async def _check_key(received: IngestReceived, envelope: Envelope, ports: Ports) -> None:
    key = await ports.keys.by_id(received.tenant, received.key_id)
    if key is None or not key.usable_at(envelope.time):
        raise Invalid(f"Publishing to the ingest topic of {received.tenant} is not enabled, or was revoked.")


async def _prepare(received: IngestReceived, envelope: Envelope, ports: Ports) -> RequestDocument:
    body = received.body
    if received.sealed:
        body = await ports.sealer.open(received.tenant, "ingest", received.message_id, body)
    verdict = take(body, Options(), config=ports.config(), now=envelope.time, terms=ports.terms)
    identity = {
        "request_id": request_id(received),
        "tenant": received.tenant,
        "key_id": received.key_id,
    }
    if isinstance(verdict, Refusal):
        return refused(verdict, now=envelope.time, terms=ports.terms, **identity)
    document = accepted(
        verdict, now=envelope.time, terms=ports.terms, traceparent=envelope.traceparent, **identity
    )
    # Two messages may share an idempotency key: the later one's prompt must not replace the first one's.
    document = replace(document, body_id=f"{document.body_id}-{hashed_id((received.message_id,))}")
    sealed = await ports.sealer.seal(document.tenant, "prompt", document.body_id, verdict.submission.body)
    await ports.bodies.put(document.body_id, sealed, document.expire_at)
    return document


def _announcement(stored: RequestDocument) -> Event:
    if not stored.body_id:  # refused at the door
        return completed_event(stored)
    return InferenceRequested(
        request_id=stored.id, tenant=stored.tenant, model=stored.model, lane=stored.lane
    )
