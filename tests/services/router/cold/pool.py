"""A pool whose engines DNS lists, or does not list yet."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from events.config import Backend, Config, Fleet, Model
from services.adapters.dns.names import DnsNames
from services.pool.outside import Outside
from tests.support.names import NameServer, name_server
from tests.support.routing import Routed, routed
from tests.support.upstream import Upstream
from tests.support.wire import MODEL

NAME = "engines.pool.svc"
HOLD = {"x-penstock-cold": "hold"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdPool:
    """A router whose pool has no engine; they come when the test says so."""

    it: Routed
    server: NameServer
    outside: Outside

    async def lists(self, *addresses: str) -> None:
        """DNS lists them, and the router has looked."""
        self.server.listed[NAME] = list(addresses)
        await self.outside.name(NAME).look()


def config_of(engine: Upstream, *, fallback: str = "", slots: int = 4, **model: Any) -> Config:
    """One model at a pool DNS knows; with a `fallback`, another one at that base URL."""
    pool = Backend(dns=f"{NAME}:{engine.port}", fleet=Fleet(slots=slots, boot_s=90))
    models = {MODEL: Model(backend="pool", fallback=("small",) if fallback else (), **model)}
    if not fallback:
        return Config(backends={"pool": pool}, models=models)
    spare = Backend(replicas=(fallback,))
    return Config(backends={"pool": pool, "spare": spare}, models=models | {"small": Model(backend="spare")})


@asynccontextmanager
async def cold_pool(config: Config, **more: Any) -> AsyncIterator[ColdPool]:
    """A router of that configuration."""
    async with name_server() as server:
        server.listed[NAME] = []
        outside = Outside(names=DnsNames(("127.0.0.1",), server.port))
        async with routed(config=config, outside=outside, **more) as it:
            yield ColdPool(it=it, server=server, outside=outside)
