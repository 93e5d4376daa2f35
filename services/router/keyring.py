"""The API keys a router has seen, in memory; a key not seen yet costs one read, shared by all who wait."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from events.words import ApiKey, Unavailable
from services.router.credentials import digest, well_formed

REMEMBERED = 100_000
UNKNOWN_FOR_S = 5.0
GRACE_S = 300.0

log = logging.getLogger("penstock.router")


class Keys(Protocol):
    """The stored key ring."""

    async def by_hash(self, key_hash: str) -> ApiKey | None:
        """A key by the SHA-256 of it."""

    async def revision(self) -> int:
        """Grows with every change."""


class KeyRing:
    """Answers from memory; `find` is for the hot path, `fetch` for the first time.

    While the store is away, known keys go on for `grace_s` seconds; then nobody can be let in or turned away.
    """

    def __init__(self, keys: Keys, *, clock: Callable[[], float], grace_s: float = GRACE_S) -> None:
        self._keys = keys
        self._clock = clock
        self._grace_s = grace_s
        self._current_at = clock()  # when the store was last known to say the same
        self._revision = -1
        self.forget()

    def find(self, token: str) -> ApiKey | None:
        """The key, if it is known here already."""
        return self._known.get(digest(token))

    async def fetch(self, token: str) -> ApiKey | None:
        """The key, from the store if need be; None where there is no such key. Raises `Unavailable`."""
        if not well_formed(token):
            return None
        name = digest(token)
        if name in self._known:
            return self._known[name]
        if self._unknown.get(name, 0.0) > self._clock():
            return None
        read = self._reads.get(name)
        if read is None:
            read = asyncio.create_task(self._read(name))
            self._reads[name] = read
        return await asyncio.shield(read)

    async def _read(self, name: str) -> ApiKey | None:
        # Should all be forgotten meanwhile, what was read before is forgotten too.
        known, unknown, reads = self._known, self._unknown, self._reads
        try:
            key = await self._keys.by_hash(name)
        finally:
            reads.pop(name, None)
        if key is None:
            unknown[name] = self._clock() + UNKNOWN_FOR_S
            _trim(unknown)
        else:
            known[name] = key
            _trim(known)
        return key

    async def refresh(self) -> None:
        """Forgets what was seen if the stored ring changed since; called every few seconds."""
        asked_at = self._clock()
        revision = await self._keys.revision()
        self._current_at = asked_at
        if revision != self._revision:
            self._revision = revision
            self.forget()

    async def follow(self, every_s: float) -> None:
        """Refreshes for ever; a store that is away is asked again."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.refresh()
            except Unavailable as error:
                log.warning("changes of the key ring cannot be read: %s", error)
                if self._clock() - self._current_at > self._grace_s:
                    self.forget()  # one of them may have been revoked meanwhile

    def forget(self) -> None:
        """Everything is read again when it is next needed."""
        self._known: OrderedDict[str, ApiKey] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._reads: dict[str, asyncio.Task[ApiKey | None]] = {}


def _trim(cache: "OrderedDict[str, ApiKey] | OrderedDict[str, float]") -> None:
    while len(cache) > REMEMBERED:
        cache.popitem(last=False)


def usable(key: ApiKey, now: Callable[[], datetime]) -> bool:
    """Whether the key may act now; the clock is read only where it matters."""
    return (key.revoked_at is None and key.expires_at is None) or key.usable_at(now())
