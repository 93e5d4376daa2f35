"""Tenants' ingest topics: who may publish there, and what a message says. Bodies of ours are sealed."""

import contextlib
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from events.bus import Message, Publisher
from events.catalog import ingest_key, ingest_topic
from events.envelope import Envelope, type_of
from events.ingest import IngestReceived
from events.words import ApiKey, Conflict, Invalid, Record
from functions.request.handler import request_id
from functions.request.intake import trace_of
from services.sealing.sealer import Sealer

SEALED = "application/vnd.penstock.sealed"
SOURCE = "/ingest"


class Keys(Protocol):
    """The key ring."""

    async def by_id(self, tenant: str, key_id: str) -> ApiKey | None:
        """A key by its public id."""

    async def add(self, key: ApiKey) -> None:
        """Keeps a new key; raises `Conflict` where it exists."""


class Ingested(Record):
    """What became of a message published for an app: it waits on the ingest topic."""

    message_id: str
    request_id: str


class IngestTopics:
    """Publishes on tenants' ingest topics as their apps do; the topics themselves are made by others."""

    def __init__(
        self, publisher: Publisher, sealer: Sealer, keys: Keys, *, now: Callable[[], datetime]
    ) -> None:
        self._publisher = publisher
        self._sealer = sealer
        self._keys = keys
        self._now = now
        self._open: set[str] = set()

    async def open(self, tenant: str) -> None:
        """The tenant's apps may publish from now on: their topic has its key."""
        if tenant in self._open:
            return
        with contextlib.suppress(Conflict):
            await self._keys.add(ingest_key(tenant, self._now()))
        self._open.add(tenant)

    async def publish(self, tenant: str, body: bytes, idempotency_key: str) -> Ingested:
        """Puts a body on the tenant's ingest topic; the request it will make can be named already.

        Raises `Invalid` where the topic's key was revoked: nobody could ever read what became of it.
        """
        await self.open(tenant)
        await self._check_key(tenant)
        message_id = secrets.token_hex(16)
        attributes = {"ce-id": message_id, "content-type": SEALED}
        if idempotency_key:
            attributes["idempotency-key"] = idempotency_key
        sealed = await self._sealer.seal(tenant, "ingest", message_id, body)
        message = Message(topic=ingest_topic(tenant), attributes=attributes, data=sealed)
        await self._publisher.publish([message])
        return Ingested(message_id=message_id, request_id=request_id(received(tenant, message)))

    async def _check_key(self, tenant: str) -> None:
        now = self._now()
        key = await self._keys.by_id(tenant, ingest_key(tenant, now).id)
        if key is None or not key.usable_at(now):
            raise Invalid(f"Publishing to the ingest topic of {tenant} was revoked.")


def received(tenant: str, message: Message) -> IngestReceived:
    """What a message on a tenant's ingest topic says. Only these attributes are read."""
    attributes = message.attributes
    return IngestReceived(
        tenant=tenant,
        key_id=f"ingest-{tenant}",
        message_id=attributes.get("ce-id") or message.id,
        body=message.data,
        idempotency_key=attributes.get("idempotency-key", ""),
        sealed=attributes.get("content-type") == SEALED,
    )


def ingest_envelope(tenant: str, message: Message, now: datetime) -> Envelope:
    """The same as the envelope the request function consumes; its time is that of publishing."""
    event = received(tenant, message)
    return Envelope(
        id=event.message_id,
        type=type_of(IngestReceived),
        source=SOURCE,
        time=message.published_at or now,
        data=b"",
        event_class=IngestReceived,
        event=event,
        subject=event.message_id,
        tenant=tenant,
        traceparent=trace_of(message.attributes.get("traceparent", "")),
    )
