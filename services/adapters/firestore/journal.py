"""Journals of responses in Firestore: a document for each entry, named by request and place."""

from collections.abc import Callable
from datetime import datetime

from events.journal import Entry
from events.words import Conflict
from services.adapters.firestore.database import Database, Moved
from services.adapters.firestore.documents import Fields, Query, Stored, create, delete, document_id
from services.adapters.firestore.indexes import JOURNAL, SPREADS, spread_of

SCHEMA = 1


class FirestoreJournal:
    """Entries by request and place, each until its `expire_at`; `now` is an aware clock."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def append(self, entry: Entry) -> None:
        """Takes the entry's place for it; raises `Conflict` where another entry has it."""
        path = _path(entry)
        try:
            await self._database.commit([create(path, _fields(entry))])
        except Moved as moved:
            there = await self._database.get(path)
            if there is None or _entry(there) != entry:  # else its answer was not heard
                message = f"Place {entry.place} of the journal of {entry.request} is taken."
                raise Conflict(message) from moved

    async def place_of(self, request: str, number: int) -> int | None:
        """The first place that tells events behind `number`, or has none where it ends behind it."""
        query = Query(
            collection=JOURNAL,
            where=(("request", "==", request), ("next", ">", number)),
            order=("next", "place"),
            limit=1,
        )
        found = [entry.place for entry in await self._find(query)]
        return found[0] if found else None

    async def read(self, request: str, place: int, limit: int) -> list[Entry]:
        """At most `limit` entries from a place on, in their order."""
        query = Query(
            collection=JOURNAL,
            where=(("request", "==", request), ("place", ">=", place)),
            order=("place",),
            limit=limit,
        )
        return await self._find(query)

    async def remove(self, request: str) -> None:
        """Forgets a journal now; one that is not there is passed over."""
        mine = Query(collection=JOURNAL, where=(("request", "==", request),), order=("place",), fields=())
        found = await self._database.find(mine)
        await self._database.each([delete(stored.path) for stored in found])

    async def forget(self, now: datetime, limit: int) -> int:
        """Deletes at most `limit` entries whose time is over by `now`; returns how many."""
        over = Query(
            collection=JOURNAL,
            where=(("spread", "in", SPREADS), ("expire_at", "<=", now)),
            order=("expire_at",),
            limit=limit,
            fields=(),
        )
        found = await self._database.find(over)
        return sum(await self._database.each([delete(stored.path) for stored in found]))

    async def _find(self, query: Query) -> list[Entry]:
        entries = [_entry(stored) for stored in await self._database.find(query)]
        return [entry for entry in entries if self._now() < entry.expire_at]


def _path(entry: Entry) -> str:
    return f"{JOURNAL}/{document_id(f'{entry.request}-{entry.place}')}"


def _fields(entry: Entry) -> Fields:
    return {
        "request": entry.request,
        "place": entry.place,
        "attempt": entry.attempt,
        "first": entry.first,
        "next": entry.next,
        "expire_at": entry.expire_at,
        "closed": entry.closed,
        "sealed": entry.sealed,
        "body_id": entry.body_id,
        "spread": spread_of(f"{entry.request}-{entry.place}"),
        "schema": SCHEMA,
    }


def _entry(stored: Stored) -> Entry:
    told = {name: stored.fields[name] for name in Entry.__struct_fields__}
    return Entry(**told)  # type: ignore[arg-type]  # as they were written
