"""Documents of queued requests in memory."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import islice

from events.requests import FINAL, WAITING, RequestDocument, Versioned
from events.words import Conflict, Lane, Record

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class _Written(Record):
    """A document beside when it was last written."""

    found: Versioned
    at: datetime


class MemoryRequests:
    """Request documents and their versions; `now` is an aware clock.

    A document whose `expire_at` passed cannot be got any more. The sweeps still see it: a request
    that outlived it while the platform was off is to end first.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._written: dict[str, _Written] = {}

    async def create(self, document: RequestDocument) -> Versioned:
        """Stores a new document; where the id is taken, the stored one is returned unchanged."""
        stored = await self.get(document.id)
        if stored is not None:
            return stored
        # In place of one whose time is over, the chain of versions goes on: its writers must not win.
        over = self._written.pop(document.id, None)
        return self._write(document, 1 if over is None else over.found.version + 1)

    async def get(self, request_id: str) -> Versioned | None:
        """A document and its version; None where there is none or its time is over."""
        written = self._written.get(request_id)
        if written is None or written.found.document.expire_at <= self._now():
            return None
        return written.found

    async def replace(self, document: RequestDocument, version: int) -> int:
        """Writes the document if it still has `version`, and returns the new one; else raises `Conflict`."""
        written = self._written.get(document.id)
        if written is None or written.found.version != version:
            raise Conflict(f"Request {document.id} no longer has version {version}.")
        return self._write(document, version + 1).version

    async def waiting_tenants(self, now: datetime) -> list[tuple[str, Lane]]:
        """The tenants and lanes that have a request to claim at `now`, in their order."""
        return sorted({(doc.tenant, doc.lane) for doc in self._documents() if _claimable(doc, now)})

    async def waiting(self, tenant: str, lane: Lane, now: datetime, limit: int) -> list[Versioned]:
        """Requests to claim at `now`, by deadline, then by creation."""
        mine = (doc for doc in self._documents() if (doc.tenant, doc.lane) == (tenant, lane))
        claimable = [doc for doc in mine if _claimable(doc, now)]
        return self._first(limit, sorted(claimable, key=lambda doc: (doc.deadline_at, doc.created_at)))

    async def queued(self, backend: str, lane: Lane) -> tuple[int, datetime | None]:
        """How many requests wait there for a slot, and when the oldest of them was created."""
        waiting = [doc for doc in self._documents() if doc.state == "routed" and doc.backend == backend]
        created = [doc.created_at for doc in waiting if doc.lane == lane]
        return len(created), min(created, default=None)

    async def overdue(self, now: datetime, limit: int) -> list[Versioned]:
        """Requests whose deadline passed before they were begun, by deadline."""
        found = [doc for doc in self._documents() if doc.state in WAITING and doc.deadline_at <= now]
        return self._first(limit, sorted(found, key=lambda doc: doc.deadline_at))

    async def lost(self, before: datetime, limit: int) -> list[Versioned]:
        """Running requests whose lease ended before `before`, by its end."""
        return self._first(limit, [doc for doc in self._running() if _lease_until(doc) < before])

    async def running(self, limit: int) -> list[Versioned]:
        """Running requests, by the end of their lease."""
        return self._first(limit, self._running())

    async def stale(self, before: datetime, limit: int) -> list[Versioned]:
        """Requests created before `before` and not routed yet, by creation."""
        found = [doc for doc in self._documents() if doc.state == "accepted" and doc.created_at < before]
        return self._first(limit, sorted(found, key=lambda doc: doc.created_at))

    async def owing(self, before: datetime, limit: int) -> list[Versioned]:
        """Documents that owe events and were last written before `before`, by that time."""
        found = [w for w in self._written.values() if w.found.document.owed and w.at < before]
        return [written.found for written in sorted(found, key=lambda written: written.at)[:limit]]

    async def forget(self, now: datetime, limit: int) -> list[str]:
        """Deletes documents whose time is over by `now`, and returns their ids.

        Those that did not end, or still owe an event, are left for the sweep that ends them.
        """
        done = [doc for doc in self._documents() if doc.state in FINAL and not doc.owed]
        over = sorted((doc for doc in done if doc.expire_at <= now), key=lambda doc: doc.expire_at)
        ids = [doc.id for doc in over[:limit]]
        for request_id in ids:
            del self._written[request_id]
        return ids

    def _write(self, document: RequestDocument, version: int) -> Versioned:
        found = Versioned(document=document, version=version)
        self._written[document.id] = _Written(found=found, at=self._now())
        return found

    def _documents(self) -> list[RequestDocument]:
        return [written.found.document for written in self._written.values()]

    def _running(self) -> list[RequestDocument]:
        return sorted((doc for doc in self._documents() if doc.state == "running"), key=_lease_until)

    def _first(self, limit: int, documents: Iterable[RequestDocument]) -> list[Versioned]:
        return [self._written[document.id].found for document in islice(documents, limit)]


def _claimable(document: RequestDocument, now: datetime) -> bool:
    return (
        document.state == "routed"
        and now < document.deadline_at
        and (document.not_before is None or document.not_before <= now)
    )


def _lease_until(document: RequestDocument) -> datetime:
    return _LONG_AGO if document.claim is None else document.claim.lease_until
