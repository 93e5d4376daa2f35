"""The shared tier of the cache, in memory."""

from collections.abc import Callable
from datetime import datetime

from events.words import Conflict
from functions.caching.entry import Entry
from functions.caching.generations import Generations, Scope


class MemoryCache:
    """Sealed answers by id, each until its `expire_at`; `now` is an aware clock."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._entries: dict[str, Entry] = {}
        self._generations = (Generations(), 0)

    async def get(self, entry_id: str) -> Entry | None:
        """An entry; None where there is none or its time is over."""
        entry = self._entries.get(entry_id)
        return entry if entry is not None and self._now() < entry.expire_at else None

    async def put(self, entry: Entry) -> None:
        """Keeps an entry until its time is over; one of the same id is replaced."""
        self._entries[entry.id] = entry

    async def remove(self, scope: Scope, name: str, limit: int) -> int:
        """Deletes at most `limit` entries of a tenant, a model or a key; how many."""
        found = [entry.id for entry in self._entries.values() if getattr(entry, scope) == name]
        return self._delete(found[:limit])

    async def forget(self, now: datetime, limit: int) -> int:
        """Deletes at most `limit` entries whose time is over by `now`; how many."""
        found = [entry.id for entry in self._entries.values() if entry.expire_at <= now]
        return self._delete(found[:limit])

    def _delete(self, ids: list[str]) -> int:
        for entry_id in ids:
            del self._entries[entry_id]
        return len(ids)

    def entries(self) -> list[Entry]:
        """All of them, also those whose time is over."""
        return list(self._entries.values())

    async def generations(self) -> tuple[Generations, int]:
        """What was purged so far, and the version of that (0: nothing yet)."""
        return self._generations

    async def put_generations(self, generations: Generations, version: int) -> None:
        """Stores it if what is stored still has `version`; else raises `Conflict`."""
        _, current = self._generations
        if current != version:
            raise Conflict(f"The generations have version {current}, not {version}.")
        self._generations = (generations, version + 1)
