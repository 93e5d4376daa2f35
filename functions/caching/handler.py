"""Copies answers to the shared tier of the cache, and deletes those that are purged or too old."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from events.cache import CacheOffered, CachePurged
from events.config import Config, Model
from events.envelope import Envelope, Event
from events.inference import InferenceCompleted
from events.jobs import JobDue
from events.requests import CHAT, RequestDocument, Versioned
from events.words import Invalid, Tenant, Usage
from functions.caching.entry import KIND, Answer, Entry, packed
from functions.caching.generations import Generations, Scope, entry_id, is_since
from functions.caching.key import fields_of, framing_of, key_of
from functions.caching.rule import may_ask, may_keep, ttl_of

DELETED_AT_ONCE = 300


class Cache(Protocol):
    """The shared tier."""

    async def put(self, entry: Entry) -> None:
        """Keeps an entry until its time is over; one of the same id is replaced."""

    async def remove(self, scope: Scope, name: str, limit: int) -> int:
        """Deletes at most `limit` entries of a tenant, a model or a key; how many."""

    async def forget(self, now: datetime, limit: int) -> int:
        """Deletes at most `limit` entries whose time is over; how many."""

    async def generations(self) -> tuple[Generations, int]:
        """What was purged so far, and the version of that."""


class Tenants(Protocol):
    """Who pays, and what they turned on."""

    async def tenant(self, tenant_id: str) -> Tenant | None:
        """A tenant."""


class Requests(Protocol):
    """Queued requests."""

    async def get(self, request_id: str) -> Versioned | None:
        """A document."""


class Bodies(Protocol):
    """Sealed prompts and answers of queued requests."""

    async def get(self, body_id: str) -> bytes | None:
        """A body, if it is still kept."""


class Sealer(Protocol):
    """Seals under the tenant's key."""

    async def seal(self, tenant: str, kind: str, body_id: str, clear: bytes) -> bytes:
        """The sealed form."""

    async def open(self, tenant: str, kind: str, body_id: str, sealed: bytes) -> bytes:
        """The clear form."""

    async def secret(self, tenant: str, purpose: str) -> bytes:
        """What only the tenant's key leads to, another for each purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the caching function needs. `usage_of` reads the usage a whole answer reports."""

    cache: Cache
    tenants: Tenants
    requests: Requests
    bodies: Bodies
    sealer: Sealer
    config: Callable[[], Config]
    usage_of: Callable[[bytes], Usage | None]


async def handle(envelope: Envelope, ports: Ports) -> Sequence[Event]:
    """Keeps an answer, or deletes what is not to be given any more."""
    match envelope.event:
        case CacheOffered() as offered:
            if envelope.time < offered.expire_at:
                await ports.cache.put(_entry(offered))
        case InferenceCompleted() as completed:
            await _keep_queued(completed, envelope.time, ports)
        case CachePurged() as purged:
            while await ports.cache.remove(purged.scope, purged.name, DELETED_AT_ONCE) == DELETED_AT_ONCE:
                pass
        case JobDue(job="sweep-cache"):
            while await ports.cache.forget(envelope.time, DELETED_AT_ONCE) == DELETED_AT_ONCE:
                pass
        case _:
            raise Invalid(f"The caching function does not consume {envelope.type} ({envelope.subject}).")
    return []


def _entry(offered: CacheOffered) -> Entry:
    return Entry(
        id=offered.entry_id,
        key=offered.key,
        tenant=offered.tenant,
        model=offered.model,
        expire_at=offered.expire_at,
        sealed=offered.sealed,
    )


async def _keep_queued(completed: InferenceCompleted, at: datetime, ports: Ports) -> None:
    """Keeps the answer of a queued request, for those who ask the same over HTTP."""
    if completed.status != "completed" or completed.status_code != 200 or completed.body_id is None:
        return
    tenant = await ports.tenants.tenant(completed.tenant)
    if tenant is None or tenant.cache == "off":
        return
    # Read before the rest: what is purged from now on stays purged. What was purged before, it cannot tell.
    generations, _ = await ports.cache.generations()
    found = await ports.requests.get(completed.request_id)
    model = ports.config().models.get(completed.model)
    if found is None or model is None or not _is_served(found.document, model):
        return  # forgotten meanwhile, or what the name stands for has changed
    if found.document.url != CHAT:
        return  # a key does not tell the endpoint: all are of chats
    if not is_since(generations, found.document.created_at):
        return
    key = await _key(found.document, model, ports)
    body = await _open(completed.tenant, "answer", completed.body_id, ports)
    if key is None or body is None or not may_keep(body, stream=False):
        return
    usage = ports.usage_of(body)
    answer = Answer(body=body, stream=False, usage=usage or Usage(), counted=usage is not None, at=at)
    name = entry_id(key, completed.tenant, completed.model, generations)
    entry = Entry(
        id=name,
        key=key,
        tenant=completed.tenant,
        model=completed.model,
        expire_at=at + ttl_of(model),
        sealed=await ports.sealer.seal(completed.tenant, KIND, name, packed(answer)),
    )
    await ports.cache.put(entry)


def _is_served(document: RequestDocument, model: Model) -> bool:
    return any(one.backend == document.backend for one in model.candidates)


async def _key(document: RequestDocument, model: Model, ports: Ports) -> str | None:
    """The key of a queued request, or None where its answer is not to be kept."""
    prompt = await _open(document.tenant, "prompt", document.body_id, ports)
    if prompt is None:
        return None
    fields = fields_of(prompt)
    if not may_ask(fields, wished=False):
        return None
    secret = await ports.sealer.secret(document.tenant, KIND)
    framing = framing_of(stream=False, wants_usage=False)
    return key_of(secret, document.tenant, document.model, model, framing, fields)


async def _open(tenant: str, kind: str, body_id: str, ports: Ports) -> bytes | None:
    sealed = await ports.bodies.get(body_id)
    return None if sealed is None else await ports.sealer.open(tenant, kind, body_id, sealed)
