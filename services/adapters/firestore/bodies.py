"""Sealed bodies in Firestore: in one document while that is large enough, else in chunks beside it.

Chunks are written before the document that names them, and a reader goes by that document only: it
finds a body whole or not at all. A chunk has the body's time and is forgotten by it, also where it never
came to that document.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime

from events.requests import LARGEST_BODY
from events.words import Invalid, Unavailable
from services.adapters.firestore.database import AT_ONCE, Database
from services.adapters.firestore.documents import (
    PIECE,
    Fields,
    Query,
    Stored,
    delete,
    document_id,
    new_mark,
    pieces,
    put,
)
from services.adapters.firestore.indexes import BODIES, CHUNKS, SPREADS, spread_of

SCHEMA = 1
LARGEST = LARGEST_BODY + 1_000  # bytes; sealing adds a few

_TRIES = 3


class FirestoreBodies:
    """Bodies by id, each until its `expire_at`; `now` is an aware clock."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def put(self, body_id: str, sealed: bytes, expire_at: datetime) -> None:
        """Stores a body, to be forgotten at `expire_at`; putting it again replaces it.

        Raises `Invalid` beyond `LARGEST` bytes.
        """
        if len(sealed) > LARGEST:
            raise Invalid(f"A body of {len(sealed)} bytes is larger than the {LARGEST} that can be stored.")
        times: Fields = {"expire_at": expire_at, "spread": spread_of(body_id)}
        whole = len(sealed) <= PIECE
        chunks = [] if whole else pieces(sealed)
        named = new_mark().hex()  # of each put its own: a reader of the one before must not find ours
        path = _path(body_id)
        writes = [put(_chunk(path, named, n), {"sealed": chunk, **times}) for n, chunk in enumerate(chunks)]
        await _all(self._database.commit([write]) for write in writes)
        manifest: Fields = {"sealed": sealed if whole else b"", "put": named, "chunks": len(chunks)}
        await self._database.commit([put(path, {**manifest, **times, "schema": SCHEMA})])

    async def get(self, body_id: str) -> bytes | None:
        """The body; None where there is none or its time is over."""
        path = _path(body_id)
        for _ in range(_TRIES):
            manifest = await self._database.get(path)
            if manifest is None or self._over(manifest):
                return None
            sealed = await self._whole(manifest)
            if sealed is not None:
                return sealed  # else it was put again or deleted meanwhile
        raise Unavailable(f"Body {body_id} lacks chunks that it should have.")

    async def delete(self, body_ids: Sequence[str]) -> None:
        """Forgets bodies now; those that are not there are passed over."""
        await _all(self._delete(_path(body_id)) for body_id in body_ids)

    async def forget(self, now: datetime, limit: int) -> int:
        """Deletes at most `limit` bodies whose time is over by `now`; returns how many.

        Chunks whose time is over go with them, whomever they belong to.
        """
        while await self._forget(CHUNKS, now, AT_ONCE, group=True) == AT_ONCE:
            pass
        return await self._forget(BODIES, now, limit)

    async def _delete(self, path: str) -> None:
        # Every chunk that is there, not only those that are named: also of a put that broke off.
        chunks = await self._database.find(Query(collection=CHUNKS, under=path, fields=()))
        await self._database.commit([delete(path), *(delete(chunk.path) for chunk in chunks)])

    async def _whole(self, manifest: Stored) -> bytes | None:
        paths = _chunks(manifest)
        if not paths:
            return _bytes(manifest)
        found = await self._database.get_all(paths, fields=("sealed",))
        return b"".join(_bytes(found[path]) for path in paths) if len(found) == len(paths) else None

    async def _forget(self, collection: str, now: datetime, limit: int, *, group: bool = False) -> int:
        over = Query(
            collection=collection,
            where=(("spread", "in", SPREADS), ("expire_at", "<=", now)),
            order=("expire_at",),
            limit=limit,
            fields=(),
            group=group,
        )
        found = await self._database.find(over)
        # At the version found: it may have been put again meanwhile, with another time.
        return sum(await self._database.each([delete(stored.path, stored.version) for stored in found]))

    def _over(self, manifest: Stored) -> bool:
        expire_at = manifest.fields["expire_at"]
        assert isinstance(expire_at, datetime)
        return expire_at <= self._now()


async def _all(calls: Iterable[Awaitable[object]]) -> None:
    """At once, and to the end of each: where one fails, none goes on unwatched."""
    for ended in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(ended, BaseException):
            raise ended


def _path(body_id: str) -> str:
    return f"{BODIES}/{document_id(body_id)}"


def _chunk(path: str, named: str, number: int) -> str:
    return f"{path}/{CHUNKS}/{named}-{number}"


def _chunks(manifest: Stored) -> list[str]:
    count, named = manifest.fields["chunks"], manifest.fields["put"]
    assert isinstance(count, int)
    return [_chunk(manifest.path, str(named), number) for number in range(count)]


def _bytes(stored: Stored) -> bytes:
    sealed = stored.fields["sealed"]
    assert isinstance(sealed, bytes)
    return sealed
