"""Documents of queued requests in a SQLite file, with an index for every question asked of them."""

import sqlite3
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TypeAlias

import msgspec

from events.requests import RequestDocument, Versioned
from events.words import Conflict, Lane
from services.adapters.reading import Reading, Row
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.schema import micros, moment

_Values: TypeAlias = tuple[str | int, ...]

_BY_ID = "SELECT id, version, body FROM requests WHERE id = ?"
_GET = "SELECT id, version, body FROM requests WHERE id = ? AND expire_at > ?"
_STORE = """
    INSERT OR REPLACE INTO requests (
        state, tenant, lane, backend, created_at, deadline_at, expire_at,
        not_before, lease_until, owing, written_at, body, id, version
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_REPLACE = """
    UPDATE requests SET (
        state, tenant, lane, backend, created_at, deadline_at, expire_at,
        not_before, lease_until, owing, written_at, body, version
    ) = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    WHERE id = ? AND version = ?
"""
# One step of an index for each tenant that waits, however many requests each has.
_WAITING_TENANTS = """
    WITH RECURSIVE
        queued (tenant) AS (
            SELECT min(tenant) FROM requests WHERE state = 'routed'
            UNION ALL
            SELECT (SELECT min(tenant) FROM requests WHERE state = 'routed' AND tenant > queued.tenant)
            FROM queued WHERE tenant IS NOT NULL
        ),
        lanes (lane) AS (VALUES ('batch'), ('interactive'))
    SELECT tenant, lane FROM queued, lanes
    WHERE EXISTS (
        SELECT 1 FROM requests
        WHERE state = 'routed' AND requests.tenant = queued.tenant AND requests.lane = lanes.lane
            AND deadline_at > ?1 AND not_before <= ?1
    )
"""
_WAITING = """
    SELECT id, version, body FROM requests
    WHERE state = 'routed' AND tenant = ? AND lane = ? AND deadline_at > ? AND not_before <= ?
    ORDER BY deadline_at, created_at, seq LIMIT ?
"""
_QUEUED = """
    SELECT count(*), min(created_at) FROM requests WHERE state = 'routed' AND backend = ? AND lane = ?
"""
_OVERDUE = """
    SELECT id, version, body FROM requests WHERE state IN ('accepted', 'routed') AND deadline_at <= ?
    ORDER BY deadline_at LIMIT ?
"""
_LOST = """
    SELECT id, version, body FROM requests WHERE state = 'running' AND lease_until < ?
    ORDER BY lease_until LIMIT ?
"""
_RUNNING = """
    SELECT id, version, body FROM requests WHERE state = 'running' ORDER BY lease_until LIMIT ?
"""
_STALE = """
    SELECT id, version, body FROM requests WHERE state = 'accepted' AND created_at < ?
    ORDER BY created_at LIMIT ?
"""
_OWING = """
    SELECT id, version, body FROM requests WHERE owing = 1 AND written_at < ? ORDER BY written_at LIMIT ?
"""
_ENDED = """
    SELECT id FROM requests
    WHERE owing = 0 AND state IN ('completed', 'failed', 'cancelled', 'expired') AND expire_at <= ?
    ORDER BY expire_at LIMIT ?
"""


class SqliteRequests:
    """Request documents and their versions; `now` is an aware clock.

    A document whose `expire_at` passed cannot be got any more. The sweeps still see it: a request
    that outlived it while the platform was off is to end first.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._reading = Reading()

    @property
    def unreadable(self) -> int:
        """How many documents were met that do not decode."""
        return self._reading.unreadable

    async def create(self, document: RequestDocument) -> Versioned:
        """Stores a new document; where the id is taken, the stored one is returned unchanged."""
        return await self._database.write(partial(_create, document, self._now(), self._reading))

    async def get(self, request_id: str) -> Versioned | None:
        """A document and its version; None where there is none or its time is over."""
        values = (request_id, micros(self._now()))
        return await self._database.read(partial(_one, _GET, values, self._reading))

    async def replace(self, document: RequestDocument, version: int) -> int:
        """Writes the document if it still has `version`, and returns the new one; else raises `Conflict`."""
        return await self._database.write(partial(_replace, document, version, self._now()))

    async def waiting_tenants(self, now: datetime) -> list[tuple[str, Lane]]:
        """The tenants and lanes that have a request to claim at `now`, in their order."""
        return await self._database.read(partial(_waiting_tenants, now))

    async def waiting(self, tenant: str, lane: Lane, now: datetime, limit: int) -> list[Versioned]:
        """Requests to claim at `now`, by deadline, then by creation."""
        return await self._list(limit, _WAITING, tenant, lane, micros(now), micros(now))

    async def queued(self, backend: str, lane: Lane) -> tuple[int, datetime | None]:
        """How many requests wait there for a slot, and when the oldest of them was created."""
        return await self._database.read(partial(_queued, backend, lane))

    async def overdue(self, now: datetime, limit: int) -> list[Versioned]:
        """Requests whose deadline passed before they were begun, by deadline."""
        return await self._list(limit, _OVERDUE, micros(now))

    async def lost(self, before: datetime, limit: int) -> list[Versioned]:
        """Running requests whose lease ended before `before`, by its end."""
        return await self._list(limit, _LOST, micros(before))

    async def running(self, limit: int) -> list[Versioned]:
        """Running requests, by the end of their lease."""
        return await self._list(limit, _RUNNING)

    async def stale(self, before: datetime, limit: int) -> list[Versioned]:
        """Requests created before `before` and not routed yet, by creation."""
        return await self._list(limit, _STALE, micros(before))

    async def owing(self, before: datetime, limit: int) -> list[Versioned]:
        """Documents that owe events and were last written before `before`, by that time."""
        return await self._list(limit, _OWING, micros(before))

    async def forget(self, now: datetime, limit: int) -> list[str]:
        """Deletes documents whose time is over by `now`, and returns their ids.

        Those that did not end, or still owe an event, are left for the sweep that ends them.
        """
        return await self._database.write(partial(_forget, now, limit))

    async def _list(self, limit: int, query: str, *values: str | int) -> list[Versioned]:
        async def find(limit: int) -> list[Versioned]:
            return await self._database.read(partial(_all, query, (*values, limit), self._reading))

        return await self._reading.first(limit, find)


def _create(
    document: RequestDocument, now: datetime, reading: Reading, connection: sqlite3.Connection
) -> Versioned:
    found = _one(_BY_ID, (document.id,), reading, connection)
    if found is not None and now < found.document.expire_at:
        return found
    # In place of one whose time is over, the chain of versions goes on: its writers must not win.
    version = 1 if found is None else found.version + 1
    connection.execute(_STORE, (*_row(document, now), document.id, version))
    return Versioned(document=document, version=version)


def _replace(document: RequestDocument, version: int, now: datetime, connection: sqlite3.Connection) -> int:
    values = (*_row(document, now), version + 1, document.id, version)
    if not connection.execute(_REPLACE, values).rowcount:
        raise Conflict(f"Request {document.id} no longer has version {version}.")
    return version + 1


def _row(document: RequestDocument, now: datetime) -> tuple[str | int | bytes, ...]:
    """The columns `state` to `body`: what is asked for, then the document itself."""
    return (
        document.state,
        document.tenant,
        document.lane,
        document.backend or "",
        micros(document.created_at),
        micros(document.deadline_at),
        micros(document.expire_at),
        0 if document.not_before is None else micros(document.not_before),
        0 if document.claim is None else micros(document.claim.lease_until),
        bool(document.owed),
        micros(now),
        msgspec.json.encode(document),
    )


def _one(query: str, values: _Values, reading: Reading, connection: sqlite3.Connection) -> Versioned | None:
    row: Row | None = connection.execute(query, values).fetchone()
    return None if row is None else reading.one(row)


def _all(query: str, values: _Values, reading: Reading, connection: sqlite3.Connection) -> list[Versioned]:
    return reading.some(connection.execute(query, values))


def _waiting_tenants(now: datetime, connection: sqlite3.Connection) -> list[tuple[str, Lane]]:
    return sorted(connection.execute(_WAITING_TENANTS, (micros(now),)).fetchall())


def _queued(backend: str, lane: Lane, connection: sqlite3.Connection) -> tuple[int, datetime | None]:
    count, oldest = connection.execute(_QUEUED, (backend, lane)).fetchone()
    return count, None if oldest is None else moment(oldest)


def _forget(now: datetime, limit: int, connection: sqlite3.Connection) -> list[str]:
    found = connection.execute(_ENDED, (micros(now), limit)).fetchall()
    connection.executemany("DELETE FROM requests WHERE id = ?", found)
    return [request_id for (request_id,) in found]
