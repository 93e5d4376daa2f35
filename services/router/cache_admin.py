"""`/admin/v1`: what is on and off for a tenant, and cached answers purged, for operators."""

import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol, TypeVar
from urllib.parse import unquote

import msgspec
from msgspec.structs import asdict, replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from events.bus import Publisher, message_of
from events.cache import CachePurged
from events.envelope import wrap
from events.words import Conflict, Invalid, Problem, Record, Refusal, Switch, Tenant
from functions.caching.generations import Generations, Scope, purged, told
from services.router.admin import guarded
from services.router.api import answer, refuse
from services.router.gate import AdminGate

SOURCE = "/router"
TRIES = 5  # operators may change things at the same moment
WITHIN_S = 10


class Store(Protocol):
    """What was purged so far."""

    async def generations(self) -> tuple[Generations, int]:
        """All of it, and the version of that."""

    async def put_generations(self, generations: Generations, version: int) -> None:
        """Stores it if what is stored still has `version`; else raises `Conflict`."""


class Tenants(Protocol):
    """Who pays, to be changed."""

    async def tenant(self, tenant_id: str) -> Tenant | None:
        """A tenant."""

    async def change_tenant(self, tenant: Tenant) -> bool:
        """Stores a tenant in place of the one of its id; False where there is none."""


class TenantChange(Record, forbid_unknown_fields=True):
    """The body of `POST /admin/v1/tenants/{id}`."""

    cache: Switch | None = None
    may_leave: Switch | None = None


class Purge(Record, forbid_unknown_fields=True):
    """The body of `POST /admin/v1/cache/purge`: one of the three."""

    tenant: str | None = None
    model: str | None = None
    key: str | None = None


class CacheApi:
    """The operators' endpoints about the cache. `changed` tells the router in this process."""

    def __init__(
        self,
        gate: AdminGate,
        store: Store,
        tenants: Tenants,
        publisher: Publisher,
        *,
        changed: Callable[[], Awaitable[None]],
        now: Callable[[], datetime],
    ) -> None:
        self._gate = gate
        self._store = store
        self._tenants = tenants
        self._publisher = publisher
        self._changed = changed
        self._now = now

    def routes(self) -> list[BaseRoute]:
        """Where everything is."""
        return guarded(
            self._gate,
            {("POST", "/tenants/{tenant}"): self.set_tenant, ("POST", "/cache/purge"): self.purge},
        )

    async def set_tenant(self, request: Request) -> Response:
        """Turns caching on or off, or lets prompts leave or not; other routers see it within ten seconds."""
        name = unquote(request.path_params["tenant"])
        asked = _read(await request.body(), TenantChange)
        tenant = await self._tenants.tenant(name)
        if tenant is None:
            problem = Problem(message=f"There is no tenant {name}.", code="tenant_not_found")
            return refuse(Refusal(status=404, problem=problem))
        given = {name: value for name, value in asdict(asked).items() if value is not None}
        if not given:
            raise Invalid("Say what to set: cache or may_leave, each on or off.")
        tenant = replace(tenant, **given)
        await self._tenants.change_tenant(tenant)
        await self._bring(told)
        return answer(asdict(tenant))

    async def purge(self, request: Request) -> Response:
        """Nothing kept for a tenant, of a model or under a key is given any more."""
        asked = _read(await request.body(), Purge)
        named: list[tuple[Scope, str | None]] = [
            ("tenant", asked.tenant),
            ("model", asked.model),
            ("key", asked.key),
        ]
        given = [(scope, name) for scope, name in named if name]
        if len(given) != 1:
            raise Invalid("Name one of tenant, model and key, to say what to purge.")
        ((scope, name),) = given
        now = self._now()
        await self._bring(lambda generations: purged(generations, scope, name, now))
        event = CachePurged(scope=scope, name=name)
        envelope = wrap(event, id=secrets.token_hex(16), source=SOURCE, time=now)
        await self._publisher.publish((message_of(envelope),))
        return answer({"scope": scope, "name": name, "effective_within_s": WITHIN_S}, 202)

    async def _bring(self, change: Callable[[Generations], Generations]) -> None:
        """Stores a change of the generations, which every router looks at."""
        for tries_left in reversed(range(TRIES)):
            generations, version = await self._store.generations()
            try:
                await self._store.put_generations(change(generations), version)
            except Conflict:
                if not tries_left:
                    raise
            else:
                break
        await self._changed()


T = TypeVar("T", TenantChange, Purge)


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"The body is not valid: {error}.") from error
