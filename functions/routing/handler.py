"""Gives an accepted request its backend and rings the dispatchers' bell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from msgspec.structs import replace

from events.answer import owed_at_the_end
from events.config import Config
from events.envelope import Envelope, Event
from events.inference import InferenceRequested, InferenceRouted
from events.requests import Owed, RequestDocument, Versioned
from events.words import Invalid, Refusal, Tenant
from functions.routing.policy import Ask, choose

SOURCE = "/functions/routing"


class Requests(Protocol):
    """Where request documents are kept."""

    async def get(self, request_id: str) -> Versioned | None:
        """A document and its version."""

    async def replace(self, document: RequestDocument, version: int) -> int:
        """Writes the document if it still has `version`, and returns the new one; else raises `Conflict`."""


class Tenants(Protocol):
    """Who pays."""

    async def tenant(self, tenant_id: str) -> Tenant | None:
        """A tenant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the routing function needs; results of failed requests are kept `keep_s`."""

    requests: Requests
    tenants: Tenants
    config: Callable[[], Config]
    keep_s: int


async def handle(envelope: Envelope, ports: Ports) -> Sequence[Event | Owed]:
    """Routes a request once; asked again, it tells again what it decided."""
    asked = envelope.event
    if not isinstance(asked, InferenceRequested):
        raise Invalid(f"The routing function does not consume {envelope.type}.")
    found = await ports.requests.get(asked.request_id)
    if found is None:
        return []  # forgotten since: its deadline and its keeping time are over
    document = found.document
    if document.state == "accepted":
        document = decide(document, envelope, ports, may_leave=await _may_leave(document, ports))
        await ports.requests.replace(document, found.version)
    return announcement(document)


async def _may_leave(document: RequestDocument, ports: Ports) -> bool:
    """Whether the tenant's prompts may leave the VPC; asked only where one could."""
    config = ports.config()
    plan = config.plans.get(document.model)
    if plan is None or not any(config.backends[place.backend].leaves for place in plan.places):
        return False
    tenant = await ports.tenants.tenant(document.tenant)
    return tenant is not None and tenant.may_leave == "on"


def decide(
    document: RequestDocument, envelope: Envelope, ports: Ports, *, may_leave: bool = False
) -> RequestDocument:
    """The routed document, or the failed one where no model fits any more. What a backend lacks is known
    where it is called, not here.
    """
    ask = Ask(needs=document.needs, may_leave=may_leave, seed=document.id)
    route = choose(document.model, ports.config(), ask)
    if isinstance(route, Refusal):
        expire_at = envelope.time + timedelta(seconds=ports.keep_s)
        failed = replace(document, state="failed", problem=route.problem, expire_at=expire_at)
        return replace(failed, owed=owed_at_the_end(failed, envelope.time, SOURCE))
    return replace(document, state="routed", model=route.model, backend=route.backend)


def announcement(document: RequestDocument) -> Sequence[Event | Owed]:
    """The bell of a document that was routed; else what the document owes still."""
    return document.owed if document.backend is None else [routed_event(document)]


def routed_event(document: RequestDocument) -> InferenceRouted:
    """The doorbell of a routed request."""
    assert document.backend is not None
    return InferenceRouted(
        request_id=document.id,
        tenant=document.tenant,
        model=document.model,
        backend=document.backend,
        lane=document.lane,
        deadline_at=document.deadline_at,
    )
