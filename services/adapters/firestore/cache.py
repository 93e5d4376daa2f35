"""The shared tier of the cache in Firestore: one document for each sealed answer."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec

from events.words import Conflict
from functions.caching.entry import Entry
from functions.caching.generations import Generations, Scope
from services.adapters.firestore.database import Database, Moved
from services.adapters.firestore.documents import Fields, Query, Stored, delete, document_id, new_mark, put
from services.adapters.firestore.documents import replace as put_at
from services.adapters.firestore.indexes import CACHED, GENERATIONS, SPREADS, spread_of

SCHEMA = 1

_GENERATIONS: Final = f"{GENERATIONS}/cache"

_generations = msgspec.json.Decoder(Generations)


class FirestoreCache:
    """Sealed answers by id, each until its `expire_at`; `now` is an aware clock."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def get(self, entry_id: str) -> Entry | None:
        """An entry; None where there is none or its time is over."""
        stored = await self._database.get(_path(entry_id))
        entry = None if stored is None else _entry(entry_id, stored)
        return entry if entry is not None and self._now() < entry.expire_at else None

    async def put(self, entry: Entry) -> None:
        """Keeps an entry until its time is over; one of the same id is replaced."""
        fields: Fields = {
            "key": entry.key,
            "tenant": entry.tenant,
            "model": entry.model,
            "expire_at": entry.expire_at,
            "spread": spread_of(entry.id),
            "sealed": entry.sealed,
            "schema": SCHEMA,
        }
        await self._database.commit([put(_path(entry.id), fields)])

    async def remove(self, scope: Scope, name: str, limit: int) -> int:
        """Deletes at most `limit` entries of a tenant, a model or a key; how many."""
        return await self._delete(
            Query(collection=CACHED, where=((scope, "==", name),), limit=limit, fields=())
        )

    async def forget(self, now: datetime, limit: int) -> int:
        """Deletes at most `limit` entries whose time is over by `now`; how many."""
        over = Query(
            collection=CACHED,
            where=(("spread", "in", SPREADS), ("expire_at", "<=", now)),
            order=("expire_at",),
            limit=limit,
            fields=(),
        )
        return await self._delete(over)

    async def _delete(self, query: Query) -> int:
        found = await self._database.find(query)
        # At the version found: it may have been put again meanwhile, with another time.
        return sum(await self._database.each([delete(stored.path, stored.version) for stored in found]))

    async def generations(self) -> tuple[Generations, int]:
        """What was purged so far, and the version of that (0: nothing yet)."""
        stored = await self._database.get(_GENERATIONS, fields=("body",))
        if stored is None:
            return Generations(), 0
        return _generations.decode(_bytes(stored, "body")), stored.version

    async def put_generations(self, generations: Generations, version: int) -> None:
        """Stores it if what is stored still has `version`; else raises `Conflict`."""
        mark = new_mark()
        fields: Fields = {"mark": mark, "schema": SCHEMA, "body": msgspec.json.encode(generations)}
        try:
            await self._database.commit([put_at(_GENERATIONS, fields, version)])
        except Moved as moved:
            # An answer may have been lost: then it is this very write that is there.
            stored = await self._database.get(_GENERATIONS, fields=("mark",))
            if stored is None or stored.fields["mark"] != mark:
                raise Conflict(f"The generations no longer have version {version}.") from moved


def _path(entry_id: str) -> str:
    return f"{CACHED}/{document_id(entry_id)}"


def _entry(entry_id: str, stored: Stored) -> Entry:
    expire_at = stored.fields["expire_at"]
    assert isinstance(expire_at, datetime)
    return Entry(
        id=entry_id,
        key=str(stored.fields["key"]),
        tenant=str(stored.fields["tenant"]),
        model=str(stored.fields["model"]),
        expire_at=expire_at,
        sealed=_bytes(stored, "sealed"),
    )


def _bytes(stored: Stored, field: str) -> bytes:
    value = stored.fields[field]
    assert isinstance(value, bytes)
    return value
