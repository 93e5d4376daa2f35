"""The shared tier of the cache, in a SQLite file."""

import sqlite3
from collections.abc import Callable
from datetime import datetime
from functools import partial

import msgspec

from events.words import Conflict
from functions.caching.entry import Entry
from functions.caching.generations import Generations, Scope
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.schema import micros, moment

_GET = "SELECT key, tenant, model, expire_at, sealed FROM cached WHERE id = ? AND expire_at > ?"
_PUT = """
    INSERT INTO cached (id, key, tenant, model, expire_at, sealed) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET expire_at = excluded.expire_at, sealed = excluded.sealed
"""
_REMOVE: dict[Scope, str] = {
    "tenant": "DELETE FROM cached WHERE seq IN (SELECT seq FROM cached WHERE tenant = ? LIMIT ?)",
    "model": "DELETE FROM cached WHERE seq IN (SELECT seq FROM cached WHERE model = ? LIMIT ?)",
    "key": "DELETE FROM cached WHERE seq IN (SELECT seq FROM cached WHERE key = ? LIMIT ?)",
}
_FORGET = """
    DELETE FROM cached WHERE seq IN
        (SELECT seq FROM cached WHERE expire_at <= ? ORDER BY expire_at LIMIT ?)
"""
_GENERATIONS = "SELECT version, body FROM generations"
_PUT_GENERATIONS = """
    INSERT INTO generations (one, version, body) VALUES (1, ?, ?)
    ON CONFLICT (one) DO UPDATE SET version = excluded.version, body = excluded.body
"""

_generations = msgspec.json.Decoder(Generations)


class SqliteCache:
    """Sealed answers by id, each until its `expire_at`; `now` is an aware clock."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def get(self, entry_id: str) -> Entry | None:
        """An entry; None where there is none or its time is over."""
        return await self._database.read(partial(_get, entry_id, self._now()))

    async def put(self, entry: Entry) -> None:
        """Keeps an entry until its time is over; one of the same id is replaced."""
        await self._database.write(partial(_put, entry))

    async def remove(self, scope: Scope, name: str, limit: int) -> int:
        """Deletes at most `limit` entries of a tenant, a model or a key; how many."""
        return await self._database.write(partial(_delete, _REMOVE[scope], name, limit))

    async def forget(self, now: datetime, limit: int) -> int:
        """Deletes at most `limit` entries whose time is over by `now`; how many."""
        return await self._database.write(partial(_delete, _FORGET, micros(now), limit))

    async def generations(self) -> tuple[Generations, int]:
        """What was purged so far, and the version of that (0: nothing yet)."""
        return await self._database.read(_read_generations)

    async def put_generations(self, generations: Generations, version: int) -> None:
        """Stores it if what is stored still has `version`; else raises `Conflict`."""
        await self._database.write(partial(_write_generations, generations, version))


def _get(entry_id: str, now: datetime, connection: sqlite3.Connection) -> Entry | None:
    found = connection.execute(_GET, (entry_id, micros(now))).fetchone()
    if found is None:
        return None
    key, tenant, model, expire_at, sealed = found
    return Entry(
        id=entry_id, key=key, tenant=tenant, model=model, expire_at=moment(expire_at), sealed=bytes(sealed)
    )


def _put(entry: Entry, connection: sqlite3.Connection) -> None:
    row = (entry.id, entry.key, entry.tenant, entry.model, micros(entry.expire_at), entry.sealed)
    connection.execute(_PUT, row)


def _delete(query: str, which: str | int, limit: int, connection: sqlite3.Connection) -> int:
    return connection.execute(query, (which, limit)).rowcount


def _read_generations(connection: sqlite3.Connection) -> tuple[Generations, int]:
    found = connection.execute(_GENERATIONS).fetchone()
    return (Generations(), 0) if found is None else (_generations.decode(found[1]), found[0])


def _write_generations(generations: Generations, version: int, connection: sqlite3.Connection) -> None:
    _, current = _read_generations(connection)
    if current != version:
        raise Conflict(f"The generations have version {current}, not {version}.")
    connection.execute(_PUT_GENERATIONS, (version + 1, msgspec.json.encode(generations)))
