"""Documents of queued requests in Firestore: one read or one write for each step of a request."""

import asyncio
import dataclasses
from collections.abc import Callable
from datetime import datetime
from typing import Final, get_args

import msgspec

from events.requests import FINAL, WAITING, RequestDocument, Versioned
from events.words import Conflict, Lane, Unavailable
from services.adapters.firestore.database import Database, Moved
from services.adapters.firestore.documents import (
    ABSENT,
    EPOCH,
    Condition,
    Fields,
    Query,
    Stored,
    delete,
    document_id,
    new_mark,
    replace,
)
from services.adapters.firestore.indexes import REQUESTS, SPREADS, spread_of
from services.adapters.reading import Reading, Row

SCHEMA = 1

_TRIES = 5
_LANES: Final[tuple[Lane, ...]] = get_args(Lane)
_WAITING: Final = tuple(sorted(WAITING))
_FINAL: Final = tuple(sorted(FINAL))
_EVERYWHERE: Final[Condition] = ("spread", "in", SPREADS)


class FirestoreRequests:
    """Request documents; the version of one is when it last changed, in ns of the server's clock. `now`
    is an aware clock.

    A document whose `expire_at` passed cannot be got any more. The sweeps still see it: a request
    that outlived it while the platform was off is to end first. So no TTL policy belongs on it.
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
        mark, version = new_mark(), ABSENT
        for _ in range(_TRIES):
            try:
                return Versioned(document=document, version=await self._write(document, version, mark))
            except Moved:
                stored = await self._database.get(_path(document.id))
            if stored is not None and self._kept(stored, mark):
                return self._reading.one(_row(stored))
            # In place of one whose time is over, the chain of versions goes on: its writers must not win.
            version = ABSENT if stored is None else stored.version
        raise Unavailable(f"Request {document.id} could not be created: others write it all the time.")

    async def get(self, request_id: str) -> Versioned | None:
        """A document and its version; None where there is none or its time is over."""
        stored = await self._database.get(_path(request_id), fields=("body",))
        found = None if stored is None else self._reading.one(_row(stored))
        return found if found is not None and self._now() < found.document.expire_at else None

    async def replace(self, document: RequestDocument, version: int) -> int:
        """Writes the document if it still has `version`, and returns the new one; else raises `Conflict`."""
        mark = new_mark()
        try:
            return await self._write(document, version, mark)
        except Moved as moved:
            # An answer may have been lost: then it is this very write that moved the document.
            stored = await self._database.get(_path(document.id), fields=("mark",))
            if stored is not None and stored.fields["mark"] == mark:
                return stored.version
            raise Conflict(f"Request {document.id} no longer has version {version}.") from moved

    async def waiting_tenants(self, now: datetime) -> list[tuple[str, Lane]]:
        """The tenants and lanes that have a request to claim at `now`, in their order."""
        lanes = await asyncio.gather(*(self._tenants(lane, now) for lane in _LANES))
        return sorted((tenant, lane) for lane, found in zip(_LANES, lanes, strict=True) for tenant in found)

    async def waiting(self, tenant: str, lane: Lane, now: datetime, limit: int) -> list[Versioned]:
        """Requests to claim at `now`, by deadline, then by creation."""
        query = Query(
            collection=REQUESTS,
            where=(("tenant", "==", tenant), *_claimable(lane, now)),
            order=("deadline_at", "created_at", "not_before"),
            fields=("body",),
        )
        return await self._first(limit, query)

    async def queued(self, backend: str, lane: Lane) -> tuple[int, datetime | None]:
        """How many requests wait there for a slot, and when the oldest of them was created."""
        there: tuple[Condition, ...] = (("backend", "==", backend), ("lane", "==", lane))
        query = Query(
            collection=REQUESTS,
            where=(_EVERYWHERE, ("state", "==", "routed"), *there),
            order=("created_at",),
            fields=("created_at",),
        )
        oldest = await self._database.find(dataclasses.replace(query, limit=1))
        if not oldest:
            return 0, None
        created_at = oldest[0].fields["created_at"]
        assert isinstance(created_at, datetime)
        return await self._database.count(query), created_at

    async def overdue(self, now: datetime, limit: int) -> list[Versioned]:
        """Requests whose deadline passed before they were begun, by deadline."""
        return await self._all("deadline_at", limit, ("state", "in", _WAITING), ("deadline_at", "<=", now))

    async def lost(self, before: datetime, limit: int) -> list[Versioned]:
        """Running requests whose lease ended before `before`, by its end."""
        return await self._all("lease_until", limit, ("state", "==", "running"), ("lease_until", "<", before))

    async def running(self, limit: int) -> list[Versioned]:
        """Running requests, by the end of their lease."""
        return await self._all("lease_until", limit, ("state", "==", "running"))

    async def stale(self, before: datetime, limit: int) -> list[Versioned]:
        """Requests created before `before` and not routed yet, by creation."""
        return await self._all("created_at", limit, ("state", "==", "accepted"), ("created_at", "<", before))

    async def owing(self, before: datetime, limit: int) -> list[Versioned]:
        """Documents that owe events and were last written before `before`, by that time."""
        return await self._all("written_at", limit, ("owing", "==", True), ("written_at", "<", before))

    async def forget(self, now: datetime, limit: int) -> list[str]:
        """Deletes documents whose time is over by `now`, and returns their ids.

        Those that did not end, or still owe an event, are left for the sweep that ends them.
        """
        over = Query(
            collection=REQUESTS,
            where=(
                _EVERYWHERE,
                ("owing", "==", False),
                ("state", "in", _FINAL),
                ("expire_at", "<=", now),
            ),
            order=("expire_at",),
            limit=limit,
            fields=("id",),
        )
        found = await self._database.find(over)
        # At the version found: a new document may have taken the place meanwhile.
        gone = await self._database.each([delete(stored.path, stored.version) for stored in found])
        return [str(stored.fields["id"]) for stored, done in zip(found, gone, strict=True) if done]

    async def _write(self, document: RequestDocument, version: int, mark: bytes) -> int:
        path = _path(document.id)
        (written,) = await self._database.commit(
            [replace(path, _fields(document, self._now(), mark), version)]
        )
        return written

    async def _tenants(self, lane: Lane, now: datetime) -> list[str]:
        """Step by step along the index: one document for each tenant, however many requests it has."""
        tenants: list[str] = []
        while True:
            behind: Condition = ("tenant", ">", tenants[-1] if tenants else "")
            found = await self._database.find(
                Query(
                    collection=REQUESTS,
                    where=(*_claimable(lane, now), behind),
                    order=("tenant", "deadline_at", "not_before"),
                    limit=1,
                    fields=("tenant",),
                )
            )
            if not found:
                return tenants
            tenants.append(str(found[0].fields["tenant"]))

    async def _all(self, order: str, limit: int, *where: Condition) -> list[Versioned]:
        query = Query(collection=REQUESTS, where=(_EVERYWHERE, *where), order=(order,), fields=("body",))
        return await self._first(limit, query)

    async def _first(self, limit: int, query: Query) -> list[Versioned]:
        async def find(limit: int) -> list[Versioned]:
            found = await self._database.find(dataclasses.replace(query, limit=limit))
            return self._reading.some(map(_row, found))

        return await self._reading.first(limit, find)

    def _kept(self, stored: Stored, mark: bytes) -> bool:
        """Whether it is our own, or another one whose time is not over."""
        if stored.fields["mark"] == mark:
            return True
        return self._now() < self._reading.one(_row(stored)).document.expire_at


def _path(request_id: str) -> str:
    return f"{REQUESTS}/{document_id(request_id)}"


def _claimable(lane: Lane, now: datetime) -> tuple[Condition, ...]:
    return (
        ("state", "==", "routed"),
        ("lane", "==", lane),
        ("deadline_at", ">", now),
        ("not_before", "<=", now),
    )


def _fields(document: RequestDocument, now: datetime, mark: bytes) -> Fields:
    """What is asked for, then the document itself. No time is the first of all times: a field that is
    missing would be in no index.
    """
    return {
        "id": document.id,
        "state": document.state,
        "tenant": document.tenant,
        "lane": document.lane,
        "backend": document.backend or "",
        "created_at": document.created_at,
        "deadline_at": document.deadline_at,
        "expire_at": document.expire_at,
        "not_before": document.not_before or EPOCH,
        "lease_until": EPOCH if document.claim is None else document.claim.lease_until,
        "owing": bool(document.owed),
        "written_at": now,
        "spread": spread_of(document.id),
        "mark": mark,
        "schema": SCHEMA,
        "body": msgspec.json.encode(document),
    }


def _row(stored: Stored) -> Row:
    body = stored.fields["body"]
    assert isinstance(body, bytes)
    return stored.path, stored.version, body
