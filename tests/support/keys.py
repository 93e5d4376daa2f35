"""A stored key ring that counts its reads, and may be away or slow."""

import asyncio
from dataclasses import dataclass, field

from events.words import ApiKey, Unavailable
from services.adapters.memory.keys import MemoryKeys
from services.router.credentials import digest, public_id
from services.router.keyring import KeyRing
from tests.support.clock import now


@dataclass(slots=True)
class StoredKeys:
    """Keys in memory behind a door: closed, every read waits; away, reads fail; odd, as none should."""

    keys: MemoryKeys = field(default_factory=MemoryKeys)
    reads: int = 0
    away: bool = False
    odd: bool = False
    door: asyncio.Event = field(default_factory=asyncio.Event)
    time: float = 0.0

    def __post_init__(self) -> None:
        self.door.set()

    def clock(self) -> float:
        return self.time

    def ring(self, grace_s: float = 300.0) -> KeyRing:
        """A key ring that reads here."""
        return KeyRing(self, clock=self.clock, grace_s=grace_s)

    async def by_hash(self, key_hash: str) -> ApiKey | None:
        self.reads += 1
        await self.door.wait()
        if self.away:
            raise Unavailable("The store is away.")
        if self.odd:
            raise ValueError("This is no key.")
        return await self.keys.by_hash(key_hash)

    async def revision(self) -> int:
        if self.away:
            raise Unavailable("The store is away.")
        return await self.keys.revision()

    async def makes(self, token: str) -> ApiKey:
        """Keeps a key of the tenant acme."""
        key = ApiKey(hash=digest(token), id=public_id(token), tenant="acme", name="test", created_at=now())
        await self.keys.add(key)
        return key
