"""Calls under idempotency keys, in Firestore: one document each."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from events.words import Conflict, Unavailable
from functions.request.idempotency import KeyedCall, Stored
from services.adapters.firestore.database import Database, Moved
from services.adapters.firestore.documents import (
    ABSENT,
    Fields,
    Query,
    delete,
    document_id,
    new_mark,
    replace,
)
from services.adapters.firestore.documents import Stored as Document
from services.adapters.firestore.indexes import KEYED_CALLS, SPREADS, spread_of

SCHEMA = 1

_TRIES = 5

_call = msgspec.json.Decoder(KeyedCall)


class FirestoreKeyedCalls:
    """Calls by id, each until its `expire_at`; the version of one is when it last changed. `now` is an aware
    clock.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def create(self, call: KeyedCall) -> Stored:
        """Stores a new call; where the id is taken, the stored one is returned unchanged."""
        mark, version = new_mark(), ABSENT
        for _ in range(_TRIES):
            try:
                return Stored(call=call, version=await self._write(call, version, mark))
            except Moved:
                document = await self._database.get(_path(call.id))
            if document is not None:
                # Where an answer was lost, it is this very call that is there.
                found = _stored(document)
                if self._now() < found.call.expire_at or document.fields["mark"] == mark:
                    return found
            # In place of one whose time is over, the chain of versions goes on: its writers must not win.
            version = ABSENT if document is None else document.version
        raise Unavailable(f"The call {call.id} could not be stored: others write it all the time.")

    async def get(self, call_id: str) -> Stored | None:
        """A call and its version; None where there is none or its time is over."""
        document = await self._database.get(_path(call_id), fields=("body",))
        found = None if document is None else _stored(document)
        return found if found is not None and self._now() < found.call.expire_at else None

    async def replace(self, call: KeyedCall, version: int) -> int:
        """Writes the call if it still has `version`, and returns the new one; else raises `Conflict`."""
        mark = new_mark()
        try:
            return await self._write(call, version, mark)
        except Moved as moved:
            # An answer may have been lost: then it is this very write that is there.
            document = await self._database.get(_path(call.id), fields=("mark",))
            if document is not None and document.fields["mark"] == mark:
                return document.version
            raise Conflict(f"The call {call.id} no longer has version {version}.") from moved

    async def delete(self, call_id: str, version: int) -> None:
        """Forgets a call that still has `version`; where it has not, nothing happens."""
        await self._database.each([delete(_path(call_id), version)])

    async def forget(self, now: datetime, limit: int) -> int:
        """Deletes at most `limit` calls whose time is over by `now`; how many."""
        over = Query(
            collection=KEYED_CALLS,
            where=(("spread", "in", SPREADS), ("expire_at", "<=", now)),
            order=("expire_at",),
            limit=limit,
            fields=(),
        )
        found = await self._database.find(over)
        # At the version found: the key may have been used again meanwhile.
        return sum(await self._database.each([delete(one.path, one.version) for one in found]))

    async def _write(self, call: KeyedCall, version: int, mark: bytes) -> int:
        fields: Fields = {
            "expire_at": call.expire_at,
            "spread": spread_of(call.id),
            "mark": mark,
            "schema": SCHEMA,
            "body": msgspec.json.encode(call),
        }
        (written,) = await self._database.commit([replace(_path(call.id), fields, version)])
        return written


def _path(call_id: str) -> str:
    return f"{KEYED_CALLS}/{document_id(call_id)}"


def _stored(document: Document) -> Stored:
    body = document.fields["body"]
    assert isinstance(body, bytes)
    return Stored(call=_call.decode(body), version=document.version)
