"""Journals of responses in memory."""

from collections.abc import Callable
from datetime import datetime

from events.journal import Entry
from events.words import Conflict


class MemoryJournal:
    """Entries by request and place, each until its `expire_at`; `now` is an aware clock."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._entries: dict[tuple[str, int], Entry] = {}

    async def append(self, entry: Entry) -> None:
        """Takes the entry's place for it; raises `Conflict` where another entry has it."""
        there = self._entries.setdefault((entry.request, entry.place), entry)
        if there != entry:
            raise Conflict(f"Place {entry.place} of the journal of {entry.request} is taken.")

    async def place_of(self, request: str, number: int) -> int | None:
        """The first place that tells events behind `number`, or has none where it ends behind it."""
        return next((entry.place for entry in self._of(request) if entry.next > number), None)

    async def read(self, request: str, place: int, limit: int) -> list[Entry]:
        """At most `limit` entries from a place on, in their order."""
        return [entry for entry in self._of(request) if entry.place >= place][:limit]

    async def remove(self, request: str) -> None:
        """Forgets a journal now; one that is not there is passed over."""
        for key in [key for key in self._entries if key[0] == request]:
            del self._entries[key]

    async def forget(self, now: datetime, limit: int) -> int:
        """Deletes at most `limit` entries whose time is over by `now`; returns how many."""
        over = [key for key, entry in self._entries.items() if entry.expire_at <= now][:limit]
        for key in over:
            del self._entries[key]
        return len(over)

    def _of(self, request: str) -> list[Entry]:
        mine = [entry for (name, _), entry in self._entries.items() if name == request]
        return sorted((one for one in mine if self._now() < one.expire_at), key=lambda one: one.place)
