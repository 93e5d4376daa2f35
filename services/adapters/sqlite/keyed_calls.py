"""Calls under idempotency keys, in a SQLite file."""

import secrets
import sqlite3
from collections.abc import Callable
from datetime import datetime
from functools import partial

import msgspec

from events.words import Conflict
from functions.request.idempotency import KeyedCall, Stored
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.schema import micros

_GET = "SELECT body, version FROM keyed_calls WHERE id = ?"
_PUT = """
    INSERT INTO keyed_calls (id, version, expire_at, body) VALUES (?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE
    SET version = excluded.version, expire_at = excluded.expire_at, body = excluded.body
"""
_REPLACE = "UPDATE keyed_calls SET version = ?, expire_at = ?, body = ? WHERE id = ? AND version = ?"
_DELETE = "DELETE FROM keyed_calls WHERE id = ? AND version = ?"
_FORGET = """
    DELETE FROM keyed_calls WHERE id IN
        (SELECT id FROM keyed_calls WHERE expire_at <= ? ORDER BY expire_at LIMIT ?)
"""

VERSION_BITS = 60

_call = msgspec.json.Decoder(KeyedCall)


class SqliteKeyedCalls:
    """Calls by id, each until its `expire_at`, and their versions; `now` is an aware clock."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def create(self, call: KeyedCall) -> Stored:
        """Stores a new call; where the id is taken, the stored one is returned unchanged."""
        return await self._database.write(partial(_create, call, self._now()))

    async def get(self, call_id: str) -> Stored | None:
        """A call and its version; None where there is none or its time is over."""
        found = await self._database.read(partial(_get, call_id))
        return found if found is not None and self._now() < found.call.expire_at else None

    async def replace(self, call: KeyedCall, version: int) -> int:
        """Writes the call if it still has `version`, and returns the new one; else raises `Conflict`."""
        return await self._database.write(partial(_replace, call, version))

    async def delete(self, call_id: str, version: int) -> None:
        """Forgets a call that still has `version`; where it has not, nothing happens."""
        await self._database.write(partial(_delete, call_id, version))

    async def forget(self, now: datetime, limit: int) -> int:
        """Deletes at most `limit` calls whose time is over by `now`; how many."""
        return await self._database.write(partial(_forget, now, limit))


def _create(call: KeyedCall, now: datetime, connection: sqlite3.Connection) -> Stored:
    found = _get(call.id, connection)
    if found is not None and now < found.call.expire_at:
        return found
    # In place of one whose time is over the chain of versions goes on, and in place of one that was deleted a
    # new one begins somewhere else: whoever wrote those before must not win.
    version = secrets.randbits(VERSION_BITS) if found is None else found.version + 1
    connection.execute(_PUT, (call.id, version, micros(call.expire_at), msgspec.json.encode(call)))
    return Stored(call=call, version=version)


def _get(call_id: str, connection: sqlite3.Connection) -> Stored | None:
    found = connection.execute(_GET, (call_id,)).fetchone()
    return None if found is None else Stored(call=_call.decode(found[0]), version=found[1])


def _replace(call: KeyedCall, version: int, connection: sqlite3.Connection) -> int:
    row = (version + 1, micros(call.expire_at), msgspec.json.encode(call), call.id, version)
    if not connection.execute(_REPLACE, row).rowcount:
        raise Conflict(f"The call {call.id} no longer has version {version}.")
    return version + 1


def _delete(call_id: str, version: int, connection: sqlite3.Connection) -> None:
    connection.execute(_DELETE, (call_id, version))


def _forget(now: datetime, limit: int, connection: sqlite3.Connection) -> int:
    return connection.execute(_FORGET, (micros(now), limit)).rowcount
