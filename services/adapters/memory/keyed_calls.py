"""Calls under idempotency keys, in memory."""

from collections.abc import Callable
from datetime import datetime
from itertools import count

from events.words import Conflict
from functions.request.idempotency import KeyedCall, Stored


class MemoryKeyedCalls:
    """Calls by id, each until its `expire_at`, and their versions; `now` is an aware clock."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._calls: dict[str, Stored] = {}
        self._versions = count(1)  # one chain for all: no version comes twice, whatever was deleted

    async def create(self, call: KeyedCall) -> Stored:
        """Stores a new call; where the id is taken, the stored one is returned unchanged."""
        found = await self.get(call.id)
        if found is not None:
            return found
        return self._write(call)

    async def get(self, call_id: str) -> Stored | None:
        """A call and its version; None where there is none or its time is over."""
        stored = self._calls.get(call_id)
        return stored if stored is not None and self._now() < stored.call.expire_at else None

    async def replace(self, call: KeyedCall, version: int) -> int:
        """Writes the call if it still has `version`, and returns the new one; else raises `Conflict`."""
        stored = self._calls.get(call.id)
        if stored is None or stored.version != version:
            raise Conflict(f"The call {call.id} no longer has version {version}.")
        return self._write(call).version

    def _write(self, call: KeyedCall) -> Stored:
        stored = self._calls[call.id] = Stored(call=call, version=next(self._versions))
        return stored

    async def delete(self, call_id: str, version: int) -> None:
        """Forgets a call that still has `version`; where it has not, nothing happens."""
        stored = self._calls.get(call_id)
        if stored is not None and stored.version == version:
            del self._calls[call_id]

    async def forget(self, now: datetime, limit: int) -> int:
        """Deletes at most `limit` calls whose time is over by `now`; how many."""
        over = [name for name, stored in self._calls.items() if stored.call.expire_at <= now][:limit]
        for name in over:
            del self._calls[name]
        return len(over)
