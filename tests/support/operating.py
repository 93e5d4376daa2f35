"""The operators' endpoints about dead letters, served over a bus in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from events.bus import Message
from events.catalog import Subscription
from services.adapters.memory.bus import MemoryBus
from services.front.front import Front
from services.front.limits import Budget
from services.router.api import application
from services.router.credentials import ADMIN_PREFIX, digest, mint
from services.router.dead_letters import DeadLettersApi
from services.router.gate import AdminGate
from services.router.router import Router
from services.wire.errors import render_refusal
from tests.support import client
from tests.support.client import Response
from tests.support.clock import now

READER = Subscription(topic="inference-routed-v1", consumer="dispatcher")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operated:
    """What operators reach, and the bus behind it."""

    bus: MemoryBus
    port: int
    admin_key: str

    async def buries(self, subject: str, data: bytes, reason: str) -> Message:
        """A message becomes a dead letter."""
        attributes = {"ce-id": "e1", "ce-type": "penstock.inference.routed.v1", "ce-subject": subject}
        message = Message(topic=READER.topic, attributes=attributes | {"ce-tenant": "acme"}, data=data)
        await self.bus.publish([message])
        (found,) = await self.bus.receive(READER.name, 1)
        await self.bus.dead_letter(READER.name, found.id, reason)
        return found

    async def admin(self, method: str, path: str) -> Response:
        """One call of an operator."""
        headers = {"authorization": f"Bearer {self.admin_key}"}
        return await client.ask(self.port, method, f"/admin/v1{path}", headers=headers)


@asynccontextmanager
async def operated() -> AsyncIterator[Operated]:
    """Serves on a port of its own."""
    bus, admin_key = MemoryBus(now), mint(ADMIN_PREFIX)
    await bus.ensure([READER])
    router = Router({}, application(DeadLettersApi(AdminGate(digest(admin_key)), bus).routes()))
    front = Front(router, render_refusal=render_refusal, budget=Budget(2**20))
    port = await front.listen("127.0.0.1", 0)
    try:
        yield Operated(bus=bus, port=port, admin_key=admin_key)
    finally:
        await front.close(0)
        await router.close()
