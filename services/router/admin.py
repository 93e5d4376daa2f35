"""`/admin/v1`: tenants, keys, usage and the system's conversation, for operators."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import date, datetime
from typing import Protocol, TypeVar
from urllib.parse import unquote

import msgspec
from msgspec.structs import asdict
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from events.bus import Message
from events.catalog import ingest_key, ingest_topic
from events.words import ApiKey, Invalid, Problem, Record, Refusal, Tenant
from functions.metering.bill import UsageSum
from services.requests.ingest import Ingested
from services.router.api import answer, refuse
from services.router.credentials import digest, mint, public_id
from services.router.gate import AdminGate

TENANT_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
MAX_NAME = 100


class KeyStore(Protocol):
    """The stored key ring, to be changed."""

    async def add(self, key: ApiKey) -> None:
        """Keeps a new key."""

    async def by_id(self, tenant: str, key_id: str) -> ApiKey | None:
        """A key by its public id."""

    async def list(self, tenant: str | None = None) -> Sequence[ApiKey]:
        """All keys, or a tenant's."""

    async def revoke(self, key_id: str, at: datetime) -> ApiKey | None:
        """Ends a key; the first revocation stands."""

    async def add_tenant(self, tenant: Tenant) -> None:
        """Keeps a new tenant; raises `Conflict` where it exists."""

    async def tenant(self, tenant_id: str) -> Tenant | None:
        """A tenant."""

    async def tenants(self) -> Sequence[Tenant]:
        """All of them."""


class UsageSums(Protocol):
    """The ledger's sums."""

    async def usage(
        self,
        *,
        tenant: str | None = None,
        key: str | None = None,
        model: str | None = None,
        since: date | None = None,
        until: date | None = None,
    ) -> Sequence[UsageSum]:
        """Those that match, by day."""


class Watch(Protocol):
    """Messages as they are published."""

    async def ready(self) -> None:
        """Returns once nothing that is published from now on will be missed; raises `Unavailable`."""

    def __aiter__(self) -> AsyncIterator[Message]:
        """The messages."""

    async def aclose(self) -> None:
        """Ends the watch."""


class Conversation(Protocol):
    """What the bus carries, to be watched."""

    def watch(self) -> Watch:
        """Every message from now on."""


class NewTenant(Record, forbid_unknown_fields=True):
    """The body of `POST /admin/v1/tenants`."""

    id: str
    name: str = ""


class NewKey(Record, forbid_unknown_fields=True):
    """The body of `POST /admin/v1/keys`."""

    tenant: str = "default"
    name: str = ""
    expires_at: datetime | None = None


class Ingest(Protocol):
    """The tenants' ingest topics."""

    async def open(self, tenant: str) -> None:
        """The tenant's apps may publish from now on; they act as a key of that topic."""

    async def publish(self, tenant: str, body: bytes, idempotency_key: str) -> Ingested:
        """Puts a body on the tenant's topic, as an app would."""


Endpoint = Callable[[Request], Awaitable[Response]]


def guarded(gate: AdminGate, table: Mapping[tuple[str, str], Endpoint]) -> list[BaseRoute]:
    """Routes below `/admin/v1` that ask for the admin key, by method and path."""

    def checking(endpoint: Endpoint) -> Endpoint:
        async def checked(request: Request) -> Response:
            if not gate.admits(request.headers.get("authorization", "").encode("latin-1")):
                message = "The admin key is missing or wrong: it lies in the data folder (admin-key)."
                return refuse(Refusal(status=401, problem=Problem(message=message, code="invalid_admin_key")))
            return await endpoint(request)

        return checked

    return [
        Route(f"/admin/v1{path}", checking(endpoint), methods=[method])
        for (method, path), endpoint in table.items()
    ]


class AdminApi:
    """The operators' endpoints; every one asks for the admin key."""

    def __init__(
        self,
        gate: AdminGate,
        keys: KeyStore,
        sums: UsageSums,
        conversation: Conversation,
        *,
        ingest: Ingest,
        changed: Callable[[], None],
        now: Callable[[], datetime],
    ) -> None:
        self._gate = gate
        self._keys = keys
        self._sums = sums
        self._conversation = conversation
        self._ingest = ingest
        self._changed = changed  # tells the key ring in this process
        self._now = now

    def routes(self) -> list[BaseRoute]:
        """Where everything is."""
        table = {
            ("GET", "/tenants"): self.tenants,
            ("POST", "/tenants"): self.add_tenant,
            ("POST", "/tenants/{tenant}/ingest"): self.ingest,
            ("POST", "/tenants/{tenant}/enable-ingest"): self.enable_ingest,
            ("GET", "/keys"): self.keys,
            ("POST", "/keys"): self.add_key,
            ("POST", "/keys/{key}/revoke"): self.revoke_key,
            ("GET", "/usage"): self.usage,
            ("GET", "/events"): self.events,
        }
        return guarded(self._gate, table)

    async def tenants(self, request: Request) -> Response:
        """All tenants."""
        return answer({"data": [asdict(tenant) for tenant in await self._keys.tenants()]})

    async def add_tenant(self, request: Request) -> Response:
        """Makes a tenant."""
        asked = _read(await request.body(), NewTenant)
        if not TENANT_ID.fullmatch(asked.id):
            raise Invalid(f"The tenant id {asked.id!r} is not 1 to 40 lower-case letters, digits and dashes.")
        tenant = Tenant(id=asked.id, name=_name(asked.name) or asked.id, created_at=self._now())
        await self._keys.add_tenant(tenant)
        return answer(asdict(tenant), 201)

    async def keys(self, request: Request) -> Response:
        """All keys, or a tenant's; never the keys themselves."""
        found = await self._keys.list(request.query_params.get("tenant"))
        return answer({"data": [_key_view(key) for key in found]})

    async def add_key(self, request: Request) -> Response:
        """Makes a key; this answer is the only one that shows it."""
        asked = _read(await request.body(), NewKey)
        if await self._keys.tenant(asked.tenant) is None:
            raise Invalid(f"There is no tenant {asked.tenant!r}; make it with: penstock tenants create.")
        if asked.expires_at is not None and (
            asked.expires_at.tzinfo is None or asked.expires_at <= self._now()
        ):
            raise Invalid("expires_at must be a future time with its time zone.")
        secret = mint()
        key = ApiKey(
            hash=digest(secret),
            id=public_id(secret),
            tenant=asked.tenant,
            name=_name(asked.name) or "unnamed",
            created_at=self._now(),
            expires_at=asked.expires_at,
        )
        await self._keys.add(key)
        self._changed()
        return answer({**_key_view(key), "key": secret}, 201)

    async def revoke_key(self, request: Request) -> Response:
        """Ends a key at once."""
        name = unquote(request.path_params["key"])
        key = await self._keys.revoke(name, self._now())
        if key is None:
            problem = Problem(message=f"There is no key {name}.", code="key_not_found")
            return refuse(Refusal(status=404, problem=problem))
        self._changed()
        return answer(_key_view(key))

    async def usage(self, request: Request) -> Response:
        """Token sums by tenant, key, model and day."""
        query = request.query_params
        sums = await self._sums.usage(
            tenant=query.get("tenant"),
            key=query.get("key"),
            model=query.get("model"),
            since=_day(query.get("since")),
            until=_day(query.get("until")),
        )
        return answer({"data": [_sum_view(row) for row in sums]})

    async def ingest(self, request: Request) -> Response:
        """Publishes a body on a tenant's ingest topic, as an app would."""
        tenant = await self._tenant_of(request)
        key = request.headers.get("idempotency-key", "")
        return answer(asdict(await self._ingest.publish(tenant, await request.body(), key)), 202)

    async def enable_ingest(self, request: Request) -> Response:
        """Lets a tenant's apps publish: their topic acts as a key, to be revoked like any other."""
        tenant, now = await self._tenant_of(request), self._now()
        await self._ingest.open(tenant)
        key = await self._keys.by_id(tenant, ingest_key(tenant, now).id)
        if key is None or not key.usable_at(now):
            raise Invalid(f"Publishing to the ingest topic of {tenant} was revoked, and stays so.")
        return answer({"tenant": tenant, "topic": ingest_topic(tenant), "key": key.id})

    async def _tenant_of(self, request: Request) -> str:
        tenant = unquote(request.path_params["tenant"])
        if await self._keys.tenant(tenant) is None:
            raise Invalid(f"There is no tenant {tenant!r}; make it with: penstock tenants create.")
        return tenant

    async def events(self, request: Request) -> Response:
        """Every message of the bus from now on, a JSON line each; bodies stay sealed."""

        async def lines() -> AsyncIterator[bytes]:
            yield b"\n"
            async with aclosing(self._conversation.watch()) as watch:
                async for message in watch:
                    yield msgspec.json.encode(_message_view(message)) + b"\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")


Wanted = TypeVar("Wanted", NewTenant, NewKey)


def _read(body: bytes, kind: type[Wanted]) -> Wanted:
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"The body is not valid: {error}.") from error


def _name(text: str) -> str:
    if len(text) > MAX_NAME or not text.isprintable():
        raise Invalid(f"name must be at most {MAX_NAME} printable characters.")
    return text


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise Invalid(f"{text!r} is not a day like 2026-11-30.") from error


def _key_view(key: ApiKey) -> dict[str, object]:
    view = asdict(key)
    del view["hash"]
    return view


def _sum_view(row: UsageSum) -> dict[str, object]:
    return {
        **asdict(row.line),
        "requests": row.requests,
        "input_tokens": row.usage.input,
        "output_tokens": row.usage.output,
        "cached_tokens": row.usage.cached,
        "reasoning_tokens": row.usage.reasoning,
        "estimated_tokens": row.estimated,
    }


def _message_view(message: Message) -> dict[str, object]:
    shown = message.attributes.get("content-type") == "application/json"
    return {
        "topic": message.topic,
        "attributes": message.attributes,
        "data": msgspec.Raw(message.data) if shown else f"<{len(message.data)} bytes>",
    }
