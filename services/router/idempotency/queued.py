"""Calls with an idempotency key that queue a request: all with the same key name the same request."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from events.requests import RequestDocument
from events.words import ApiKey, Refusal
from functions.request.idempotency import KIND, OTHER_BODY, KeyedCall, fingerprint, named, read_key
from functions.request.intake import Taken
from functions.request.submission import Options
from services.router.idempotency.ports import KeyedCalls
from services.wire.ids import request_id


class Secrets(Protocol):
    """What only a tenant's key leads to."""

    async def secret(self, tenant: str, purpose: str) -> bytes:
        """32 bytes, always the same."""


class Queue(Protocol):
    """Where requests are queued."""

    def judge(self, body: bytes, options: Options) -> Taken | Refusal:
        """Whether a body may be queued."""

    async def enter(
        self, key: ApiKey, taken: Taken, traceparent: str, *, name: str = ""
    ) -> RequestDocument | Refusal:
        """Queues it under this name, or a new one; where that is taken, the stored one is returned."""

    async def read(self, tenant: str, name: str) -> RequestDocument | None:
        """A tenant's request."""


class QueuedOnce:
    """Before the queue. The key is stored first, with the name of the request it makes: whoever comes with it
    after a crash in between makes that request, and no other.
    """

    def __init__(
        self, calls: KeyedCalls, secrets: Secrets, queue: Queue, *, keep_s: float, now: Callable[[], datetime]
    ) -> None:
        self._calls = calls
        self._secrets = secrets
        self._queue = queue
        self._keep_s = keep_s
        self._now = now

    async def submit(
        self, key: ApiKey, header: str | None, path: str, body: bytes, options: Options, traceparent: str
    ) -> tuple[RequestDocument | Refusal, bool]:
        """The request of the key in this header, and whether it was there; without one, a new one. Raises
        `Unavailable`.
        """
        taken = self._queue.judge(body, options)
        if header is None:
            if isinstance(taken, Refusal):
                return taken, False
            return await self._queue.enter(key, taken, traceparent), False
        name = read_key(header)
        if isinstance(name, Refusal):
            return name, False
        mine = await self._mine(key.tenant, name, path, body)
        if isinstance(taken, Refusal):  # as it may be by now, where it was not at first
            stored = await self._calls.get(mine.id)
            if stored is None:
                return taken, False
        else:
            stored = await self._calls.create(mine)
        if stored.call.fingerprint != mine.fingerprint:
            return OTHER_BODY, False
        if stored.call.run != mine.run:
            found = await self._queue.read(key.tenant, stored.call.run)
            if found is not None:
                return found, True
        if isinstance(taken, Refusal):
            return taken, False
        return await self._queue.enter(key, taken, traceparent, name=stored.call.run), False

    async def _mine(self, tenant: str, name: str, path: str, body: bytes) -> KeyedCall:
        secret, now = await self._secrets.secret(tenant, KIND), self._now()
        return KeyedCall(
            id=named(secret, name),
            tenant=tenant,
            fingerprint=fingerprint(secret, path.encode(), body),
            owner="",
            run=request_id(),
            lease_until=now,
            expire_at=now + timedelta(seconds=self._keep_s),
            state="queued",
        )
