"""Journals of responses in a SQLite file."""

import sqlite3
from collections.abc import Callable
from datetime import datetime
from functools import partial

from events.journal import Entry
from events.words import Conflict
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.schema import micros, moment

_COLUMNS = "request, place, attempt, first, next, expire_at, closed, sealed, body_id"
_APPEND = f"""
    INSERT INTO journal ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""  # noqa: S608  (our own words)
_AT = f"SELECT {_COLUMNS} FROM journal WHERE request = ? AND place = ?"  # noqa: S608
_PLACE = """
    SELECT place FROM journal WHERE request = ? AND next > ? AND expire_at > ?
    ORDER BY next, place LIMIT 1
"""
_READ = f"""
    SELECT {_COLUMNS} FROM journal WHERE request = ? AND place >= ? AND expire_at > ?
    ORDER BY place LIMIT ?
"""  # noqa: S608
_FORGET = """
    DELETE FROM journal WHERE seq IN
        (SELECT seq FROM journal WHERE expire_at <= ? ORDER BY expire_at LIMIT ?)
"""


class SqliteJournal:
    """Entries by request and place, each until its `expire_at`; `now` is an aware clock."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def append(self, entry: Entry) -> None:
        """Takes the entry's place for it; raises `Conflict` where another entry has it."""
        await self._database.write(partial(_append, entry))

    async def place_of(self, request: str, number: int) -> int | None:
        """The first place that tells events behind `number`, or has none where it ends behind it."""
        return await self._database.read(partial(_place_of, request, number, self._now()))

    async def read(self, request: str, place: int, limit: int) -> list[Entry]:
        """At most `limit` entries from a place on, in their order."""
        return await self._database.read(partial(_read, request, place, self._now(), limit))

    async def remove(self, request: str) -> None:
        """Forgets a journal now; one that is not there is passed over."""
        await self._database.write(partial(_remove, request))

    async def forget(self, now: datetime, limit: int) -> int:
        """Deletes at most `limit` entries whose time is over by `now`; returns how many."""
        return await self._database.write(partial(_forget, now, limit))


def _append(entry: Entry, connection: sqlite3.Connection) -> None:
    values = (
        *(entry.request, entry.place, entry.attempt, entry.first, entry.next),
        *(micros(entry.expire_at), entry.closed, entry.sealed, entry.body_id),
    )
    if connection.execute(_APPEND, values).rowcount:
        return
    there = connection.execute(_AT, (entry.request, entry.place)).fetchone()
    if _entry(there) != entry:  # else it was written before, and nobody heard of that
        raise Conflict(f"Place {entry.place} of the journal of {entry.request} is taken.")


def _place_of(request: str, number: int, now: datetime, connection: sqlite3.Connection) -> int | None:
    found = connection.execute(_PLACE, (request, number, micros(now))).fetchone()
    return None if found is None else int(found[0])


def _read(request: str, place: int, now: datetime, limit: int, connection: sqlite3.Connection) -> list[Entry]:
    return [_entry(row) for row in connection.execute(_READ, (request, place, micros(now), limit))]


def _entry(row: tuple[str, int, int, int, int, int, int, bytes, str]) -> Entry:
    request, place, attempt, first, following, expire_at, closed, sealed, body_id = row
    return Entry(
        request=request,
        place=place,
        attempt=attempt,
        first=first,
        next=following,
        expire_at=moment(expire_at),
        closed=bool(closed),
        sealed=bytes(sealed),
        body_id=body_id,
    )


def _remove(request: str, connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM journal WHERE request = ?", (request,))


def _forget(now: datetime, limit: int, connection: sqlite3.Connection) -> int:
    return connection.execute(_FORGET, (micros(now), limit)).rowcount
