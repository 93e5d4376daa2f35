"""Sealed bodies in a SQLite file."""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from services.adapters.sqlite.database import Database
from services.adapters.sqlite.schema import micros

_PUT = """
    INSERT INTO bodies (id, expire_at, sealed) VALUES (?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET expire_at = excluded.expire_at, sealed = excluded.sealed
"""
_GET = "SELECT sealed FROM bodies WHERE id = ? AND expire_at > ?"
_FORGET = """
    DELETE FROM bodies WHERE seq IN
        (SELECT seq FROM bodies WHERE expire_at <= ? ORDER BY expire_at LIMIT ?)
"""


class SqliteBodies:
    """Bodies by id, each until its `expire_at`; `now` is an aware clock."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def put(self, body_id: str, sealed: bytes, expire_at: datetime) -> None:
        """Stores a body, to be forgotten at `expire_at`; putting it again replaces it."""
        await self._database.write(partial(_put, body_id, sealed, expire_at))

    async def get(self, body_id: str) -> bytes | None:
        """The body; None where there is none or its time is over."""
        return await self._database.read(partial(_get, body_id, self._now()))

    async def delete(self, body_ids: Sequence[str]) -> None:
        """Forgets bodies now; those that are not there are passed over."""
        await self._database.write(partial(_delete, body_ids))

    async def forget(self, now: datetime, limit: int) -> int:
        """Deletes at most `limit` bodies whose time is over by `now`; returns how many."""
        return await self._database.write(partial(_forget, now, limit))


def _put(body_id: str, sealed: bytes, expire_at: datetime, connection: sqlite3.Connection) -> None:
    connection.execute(_PUT, (body_id, micros(expire_at), sealed))


def _get(body_id: str, now: datetime, connection: sqlite3.Connection) -> bytes | None:
    found = connection.execute(_GET, (body_id, micros(now))).fetchone()
    return None if found is None else bytes(found[0])


def _delete(body_ids: Sequence[str], connection: sqlite3.Connection) -> None:
    connection.executemany("DELETE FROM bodies WHERE id = ?", [(body_id,) for body_id in body_ids])


def _forget(now: datetime, limit: int, connection: sqlite3.Connection) -> int:
    return connection.execute(_FORGET, (micros(now), limit)).rowcount
