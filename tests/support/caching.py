"""A shared tier of the cache that may be away or slow, and a router's cache on it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from events.config import Config
from events.words import Tenant, Unavailable
from functions.caching.entry import Entry
from functions.caching.generations import Generations
from services.adapters.local.master_key import FileMasterKey
from services.adapters.memory.cache import MemoryCache
from services.adapters.memory.data_keys import MemoryDataKeys
from services.front.limits import Budget
from services.router.cache import AnswerCache, Ports
from services.router.metrics import Metrics
from services.sealing.sealer import Sealer
from services.usage.recorder import UsageRecorder
from tests.support.clock import now


@dataclass(slots=True, kw_only=True)
class StoredCache:
    """Entries behind a door: closed, every read of one waits; away, every read fails. `on` turned it on."""

    folder: Path
    cache: MemoryCache = field(default_factory=lambda: MemoryCache(now))
    on: tuple[str, ...] = ("acme",)
    reads: int = 0
    away: bool = False
    door: asyncio.Event = field(default_factory=asyncio.Event)
    time: float = 1_000_000.0
    data_keys: MemoryDataKeys = field(default_factory=MemoryDataKeys)

    def __post_init__(self) -> None:
        self.door.set()

    def clock(self) -> float:
        return self.time

    async def get(self, entry_id: str) -> Entry | None:
        self.reads += 1
        await self.door.wait()
        if self.away:
            raise Unavailable("The store is away.")
        return await self.cache.get(entry_id)

    async def generations(self) -> tuple[Generations, int]:
        if self.away:
            raise Unavailable("The store is away.")
        return await self.cache.generations()

    async def tenants(self) -> Sequence[Tenant]:
        return [Tenant(id=name, name=name, created_at=now(), cache="on") for name in self.on]

    async def router_cache(
        self, recorder: UsageRecorder, publisher: object, config: Config, budget: Budget, wait_s: float
    ) -> AnswerCache:
        """A cache of a router, which knows who turned it on."""
        sealer = Sealer(FileMasterKey(self.folder / "master-key"), self.data_keys)
        ports = Ports(
            store=self,
            tenants=self,
            sealer=sealer,
            publisher=publisher,  # type: ignore[arg-type]
            recorder=recorder,
            metrics=Metrics({}),
            budget=budget,
            config=lambda: config,
            now=now,
            wait_s=wait_s,
            clock=self.clock,
        )
        made = AnswerCache(ports)
        await made.refresh()
        return made
