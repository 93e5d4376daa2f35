"""The addresses DNS lists under a name, looked up again and again."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from events.words import Record, Unavailable
from services.pool.held import Background

LOOKUP_S = 5.0
LEAST_S = 1.0
MOST_S = 30.0
AGAIN_S = 2.0  # after a lookup that failed
KEPT_S = 60.0  # for so long what DNS said last goes on while it says nothing

log = logging.getLogger("penstock.pool")


class Found(Record):
    """The addresses of a name, and for how long they may be kept."""

    addresses: tuple[str, ...]
    ttl_s: float


class Names(Protocol):
    """DNS."""

    async def find(self, host: str) -> Found:
        """What it lists; raises `Unavailable` with the reason where that is nothing."""


class WatchedName(Background):
    """A name's addresses as far as they are known. A name that is gone, or DNS that does not answer, leaves
    them as they were for `KEPT_S`, because that passes more often than it is true.
    """

    def __init__(self, host: str, names: Names, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._host = host
        self._names = names
        self._clock = clock
        self.addresses: tuple[str, ...] = ()
        self._seen_at = float("-inf")
        self._why = "it was not looked up yet"

    def lacking(self) -> str:
        """See `Held`."""
        if self.addresses:
            return ""
        return f"an engine, and DNS lists none under {self._host}: {self._why}"

    async def run(self) -> None:
        """See `Background`."""
        while True:
            pause_s = await self.look()
            await asyncio.sleep(pause_s)

    async def look(self) -> float:
        """Looks it up; after so many seconds it should be looked up again."""
        try:
            async with asyncio.timeout(LOOKUP_S):
                found = await self._names.find(self._host)
        except (Unavailable, TimeoutError) as error:
            self._missed(str(error) or f"it did not answer within {LOOKUP_S:g} s")
            return AGAIN_S
        self._seen_at, self._why = self._clock(), ""
        addresses = tuple(sorted(set(found.addresses)))
        if addresses != self.addresses:
            log.info("DNS lists %d engines under %s", len(addresses), self._host)
            self.addresses = addresses
        return min(max(found.ttl_s, LEAST_S), MOST_S)

    def _missed(self, why: str) -> None:
        if why != self._why:
            self._why = why
            log.warning("%s: %s", self._host, why)
        if self.addresses and self._clock() - self._seen_at >= KEPT_S:
            log.error("%s listed nothing for %g s: its engines are given up", self._host, KEPT_S)
            self.addresses = ()
