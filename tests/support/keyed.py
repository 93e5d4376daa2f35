"""Stores of calls under idempotency keys that may be away or slow, and a router's runs on them."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from events.words import Unavailable
from functions.request.idempotency import KeyedCall, Stored
from services.adapters.local.master_key import FileMasterKey
from services.adapters.memory.bodies import MemoryBodies
from services.adapters.memory.data_keys import MemoryDataKeys
from services.adapters.memory.keyed_calls import MemoryKeyedCalls
from services.front.limits import Budget
from services.router.idempotency.ports import Patience, Ports
from services.router.idempotency.runs import Runs
from services.router.metrics import Metrics
from services.sealing.sealer import Sealer
from tests.support.clock import now

QUICK = Patience(heartbeat_s=0.02, look_s=0.005, elsewhere_s=0.1, skew_s=0.0, store_again_s=0.001)


class Calls(MemoryKeyedCalls):
    """Away, every call fails. It counts its writes."""

    away = False
    writes = 0

    def _asked(self, writes: int = 0) -> None:
        if self.away:
            raise Unavailable("The store is away.")
        self.writes += writes

    async def create(self, call: KeyedCall) -> Stored:
        self._asked(1)
        return await super().create(call)

    async def get(self, call_id: str) -> Stored | None:
        self._asked()
        return await super().get(call_id)

    async def replace(self, call: KeyedCall, version: int) -> int:
        self._asked(1)
        return await super().replace(call, version)

    async def delete(self, call_id: str, version: int) -> None:
        self._asked(1)
        await super().delete(call_id, version)


class Bodies(MemoryBodies):
    """Behind a door: closed, every put waits. So many puts fail as `failures` says."""

    def __init__(self) -> None:
        super().__init__(now)
        self.door = asyncio.Event()
        self.door.set()
        self.asked = asyncio.Event()
        self.failures = 0
        self.puts: list[bytes] = []

    async def put(self, body_id: str, sealed: bytes, expire_at: datetime) -> None:
        self.asked.set()
        await self.door.wait()
        if self.failures:
            self.failures -= 1
            raise Unavailable("The store is away.")
        self.puts.append(sealed)
        await super().put(body_id, sealed, expire_at)


@dataclass(slots=True, kw_only=True)
class StoredRuns:
    """What routers share that know calls by their keys."""

    folder: Path
    patience: Patience = QUICK
    calls: Calls = field(default_factory=lambda: Calls(now))
    bodies: Bodies = field(default_factory=Bodies)
    data_keys: MemoryDataKeys = field(default_factory=MemoryDataKeys)
    owners: int = 0

    def router_runs(self, budget: Budget, metrics: Metrics) -> Runs:
        """Those of one more router."""
        self.owners += 1
        ports = Ports(
            calls=self.calls,
            bodies=self.bodies,
            sealer=Sealer(FileMasterKey(self.folder / "master-key"), self.data_keys),
            budget=budget,
            metrics=metrics,
            now=now,
            owner=f"router {self.owners}",
            patience=self.patience,
        )
        return Runs(ports)
