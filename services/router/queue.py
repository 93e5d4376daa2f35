"""Queued requests as callers see them: handed in, read, waited for, cancelled."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import msgspec
from msgspec.structs import replace

from events.answer import told
from events.bus import Publisher
from events.config import Config
from events.requests import FINAL, RequestDocument, Versioned, owed
from events.words import ApiKey, Conflict, Refusal, Unavailable
from functions.request.intake import Taken, Terms, accepted, take
from functions.request.lifecycle import cancel
from functions.request.submission import Options
from functions.routing.handler import routed_event
from services.requests.outbox import pay, tell
from services.requests.waiters import Waiters
from services.router.routes import Routes
from services.wire.ids import request_id

SOURCE = "/router"
FIRST_LOOK_S = 1.0  # an end in this process is heard at once; looking is for ends in others
LAST_LOOK_S = 2.0


class Requests(Protocol):
    """Where request documents are kept."""

    async def create(self, document: RequestDocument) -> Versioned:
        """Stores a new document."""

    async def get(self, request_id: str) -> Versioned | None:
        """A document and its version."""

    async def replace(self, document: RequestDocument, version: int) -> int:
        """Writes it if it still has `version`; else raises `Conflict`."""


class Bodies(Protocol):
    """Where sealed bodies are kept."""

    async def put(self, body_id: str, sealed: bytes, expire_at: datetime) -> None:
        """Stores a body."""

    async def get(self, body_id: str) -> bytes | None:
        """A body, if it is still kept."""


class Sealer(Protocol):
    """Seals bodies under the tenant's key."""

    async def seal(self, tenant: str, kind: str, body_id: str, clear: bytes) -> bytes:
        """The sealed form."""

    async def open(self, tenant: str, kind: str, body_id: str, sealed: bytes) -> bytes:
        """The clear form."""


class RequestQueue:
    """The requests API without its HTTP. `waiters`: rung by all in this process that end requests."""

    def __init__(
        self,
        requests: Requests,
        bodies: Bodies,
        sealer: Sealer,
        publisher: Publisher,
        *,
        config: Callable[[], Config],
        terms: Terms,
        now: Callable[[], datetime],
        waiters: Waiters | None = None,
        routes: Routes | None = None,
    ) -> None:
        self._requests = requests
        self._bodies = bodies
        self._sealer = sealer
        self._publisher = publisher
        self._config = config
        self._terms = terms
        self._now = now
        self._waiters = waiters or Waiters()
        self._routes = routes or Routes(config=config)

    async def submit(
        self, key: ApiKey, body: bytes, options: Options, traceparent: str
    ) -> RequestDocument | Refusal:
        """Takes a request: when this returns a document, it is stored and will run."""
        taken = self.judge(body, options)
        return taken if isinstance(taken, Refusal) else await self.enter(key, taken, traceparent)

    def judge(self, body: bytes, options: Options) -> Taken | Refusal:
        """Whether a body may be queued."""
        return take(body, options, config=self._config(), now=self._now(), terms=self._terms)

    async def enter(
        self, key: ApiKey, taken: Taken, traceparent: str, *, name: str = "", streamed: bool = False
    ) -> RequestDocument | Refusal:
        """Queues what may be, under this name or a new one. Where others queue under the same name, there is
        one request, which all of them get. `streamed`: what is said of it is journalled as it comes.
        """
        routed = self._route(key, taken, name, traceparent)
        if isinstance(routed, Refusal):
            return routed
        routed = replace(routed, streamed=streamed)
        if name:  # the prompts of others with this name are the same, but each is sealed by itself
            routed = replace(routed, body_id=f"{routed.body_id}-{request_id()}")
        sealed = await self._sealer.seal(key.tenant, "prompt", routed.body_id, taken.submission.body)
        await self._bodies.put(routed.body_id, sealed, routed.expire_at)
        stored = (await self._requests.create(routed)).document
        with contextlib.suppress(Unavailable):  # the document owes its bell until somebody claims it
            await tell(stored, self._publisher)
        return stored

    def _route(self, key: ApiKey, taken: Taken, name: str, traceparent: str) -> RequestDocument | Refusal:
        now = self._now()
        document = accepted(
            taken,
            request_id=name or request_id(),
            tenant=key.tenant,
            key_id=key.id,
            now=now,
            terms=self._terms,
            traceparent=traceparent,
        )
        places = self._routes.places(taken.admitted, key.tenant)
        if isinstance(places, Refusal):
            return places
        routed = replace(document, state="routed", model=places[0].model, backend=places[0].backend)
        return replace(routed, owed=(owed(routed, routed_event(routed), now, SOURCE),))

    async def read(self, tenant: str, name: str, wait_s: float = 0.0) -> RequestDocument | None:
        """A tenant's request; waits up to `wait_s` for its end. None where the tenant has no such request."""
        deadline = asyncio.get_running_loop().time() + wait_s
        pause_s = FIRST_LOOK_S
        with self._waiters.waiting(name) as ended:  # before it looks, or an end in between went unheard
            while True:
                ended.clear()
                found = await self._requests.get(name)
                if found is None or found.document.tenant != tenant:
                    return None
                left_s = deadline - asyncio.get_running_loop().time()
                if found.document.state in FINAL or left_s <= 0:
                    return found.document
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), min(pause_s, left_s))
                pause_s = LAST_LOOK_S

    async def cancel(self, tenant: str, name: str) -> RequestDocument | None:
        """Cancels what has not ended; what has is returned as it is."""
        while True:
            found = await self._requests.get(name)
            if found is None or found.document.tenant != tenant:
                return None
            ended = cancel(found.document, now=self._now(), keep_s=self._terms.keep_s, source=SOURCE)
            if ended is None:
                return found.document
            try:
                version = await self._requests.replace(ended, found.version)
            except Conflict:
                continue  # it moved while we looked; look again
            self._waiters.ring(name)
            with contextlib.suppress(Unavailable):  # it is cancelled, and the sweep tells what it owes
                await pay(Versioned(document=ended, version=version), self._requests, self._publisher)
            return ended

    async def resource(self, document: RequestDocument) -> bytes:
        """The JSON a caller reads."""
        return msgspec.json.encode(told(document, await self._body(document)))

    async def _body(self, document: RequestDocument) -> bytes | None:
        """What the engine said, where it is still kept."""
        answer = document.answer
        sealed = await self._bodies.get(answer.body_id) if answer else None
        if answer is None or sealed is None:
            return None
        return await self._sealer.open(document.tenant, "answer", answer.body_id, sealed)
