"""Turns a published message into a stored request."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec
from msgspec.structs import asdict, replace

from events.config import Config
from events.envelope import Envelope, Event
from events.inference import InferenceRequested
from events.ingest import IngestReceived
from events.requests import AnswerTo, Owed, RequestDocument, Versioned
from events.words import ApiKey, Invalid, Problem, Refusal, hashed_id
from functions.request.intake import Taken, Terms, accepted, refused, take
from functions.request.submission import Options, asked_for

SOURCE = "/functions/request"


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


async def handle(envelope: Envelope, ports: Ports) -> Sequence[Event | Owed]:
    """Admits, stores and announces one submission; the same message always names the same request.

    Whatever is wrong with a submission, its publisher can read it from the request it made. `Invalid`
    where it cannot belong to anybody.
    """
    received = envelope.event
    if not isinstance(received, IngestReceived):
        raise Invalid(f"The request function does not consume {envelope.type}.")
    key = await ports.keys.by_id(received.tenant, received.key_id)
    if key is None:
        raise Invalid(f"Publishing to the ingest topic of {received.tenant} is not enabled.")
    body = await _body(received, ports)
    verdict = _judge(body, key, envelope, ports)
    if isinstance(verdict, Refusal):
        answer_to = None if isinstance(body, Refusal) else asked_for(body)
        document = await _refuse(verdict, answer_to, received, envelope, ports)
    else:
        document = await _accept(verdict, received, envelope, ports)
    stored = await ports.requests.create(document)
    return _announcement(stored.document)


def request_id(received: IngestReceived) -> str:
    """The request a message makes: named by its idempotency key, else by its message id."""
    return "req_" + hashed_id((received.tenant, "ingest", received.idempotency_key or received.message_id))


def _judge(body: bytes | Refusal, key: ApiKey, envelope: Envelope, ports: Ports) -> Taken | Refusal:
    if not key.usable_at(envelope.time):
        message = f"Publishing to the ingest topic of {key.tenant} was revoked."
        return Refusal(status=403, problem=Problem(message=message, code="ingest_revoked"))
    if isinstance(body, Refusal):
        return body
    return take(body, Options(), config=ports.config(), now=envelope.time, terms=ports.terms)


async def _body(received: IngestReceived, ports: Ports) -> bytes | Refusal:
    if not received.sealed:
        return received.body
    try:
        return await ports.sealer.open(received.tenant, "ingest", received.message_id, received.body)
    except Invalid as error:
        return Refusal(status=400, problem=Problem(message=str(error), code="invalid_body"))


async def _accept(
    taken: Taken, received: IngestReceived, envelope: Envelope, ports: Ports
) -> RequestDocument:
    document = accepted(
        taken,
        request_id=request_id(received),
        tenant=received.tenant,
        key_id=received.key_id,
        now=envelope.time,
        terms=ports.terms,
        traceparent=envelope.traceparent,
    )
    document = replace(document, body_id=_of_message(document.body_id, received))
    sealed = await ports.sealer.seal(document.tenant, "prompt", document.body_id, taken.submission.body)
    await ports.bodies.put(document.body_id, sealed, document.expire_at)
    return document


async def _refuse(
    refusal: Refusal,
    answer_to: AnswerTo | None,
    received: IngestReceived,
    envelope: Envelope,
    ports: Ports,
) -> RequestDocument:
    """Why may quote the body, and is sealed like one."""
    name = request_id(received)
    document = refused(
        refusal,
        request_id=name,
        tenant=received.tenant,
        key_id=received.key_id,
        body_id=_of_message(f"{name}-refusal", received),
        now=envelope.time,
        terms=ports.terms,
        source=SOURCE,
        traceparent=envelope.traceparent,
        answer_to=answer_to,
    )
    assert document.answer is not None
    body_id = document.answer.body_id
    told = msgspec.json.encode({"error": asdict(refusal.problem)})
    sealed = await ports.sealer.seal(document.tenant, "answer", body_id, told)
    await ports.bodies.put(body_id, sealed, document.expire_at)
    return document


def _of_message(body_id: str, received: IngestReceived) -> str:
    """Two messages may share an idempotency key: the later one's body must not replace the first one's."""
    return f"{body_id}-{hashed_id((received.message_id,))}"


def _announcement(stored: RequestDocument) -> Sequence[Event | Owed]:
    if not stored.body_id:  # refused at the door: what tells of its end is owed until it was told
        return stored.owed
    return [
        InferenceRequested(request_id=stored.id, tenant=stored.tenant, model=stored.model, lane=stored.lane)
    ]
