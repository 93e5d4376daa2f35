"""Journals what is told of a response while it is made; readers in any process follow it there."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import Any

from events.journal import LARGEST_ENTRY, OPENING, Entry, body_id_of
from events.requests import RequestDocument
from events.words import Conflict
from services.dispatcher.ports import Ports
from services.pool.sse import data_of, split

Insist = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]

BATCH = LARGEST_ENTRY // 2  # bytes of events in an entry, unless one event has more
READ_AT_ONCE = 100


class Journalling:
    """The journal of a claimed document, as its attempt writes it.

    The fence is the journal itself: an attempt begins by taking the next place, and whoever finds the place
    taken that would be its own is not the one who makes the response any more (`Conflict`). `insist` does a
    write again where the store is away.
    """

    def __init__(self, document: RequestDocument, ports: Ports, insist: Insist) -> None:
        self._document = document
        self._ports = ports
        self._insist = insist
        self._expire_at = document.expire_at + timedelta(hours=1)  # its readers go by the document
        self._place = 0
        self._number = OPENING
        self._events: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self.size = 0  # bytes that wait to be written
        self.due = asyncio.Event()  # something is to be written now

    async def begin(self) -> int:
        """Takes its place behind the attempts before; the number of the next event."""
        while self._document.attempts > 1:
            await self._go_to_end()
            try:
                await self._append(closed=False)
                break
            except Conflict:
                continue  # an attempt before, not dead yet, said one thing more; it comes to know now
        return self._number

    async def _go_to_end(self) -> None:
        read = partial(self._ports.journal.read, self._document.id)
        while found := await self._insist(partial(read, self._place, READ_AT_ONCE)):
            last = found[-1]
            if last.attempt > self._document.attempts:
                raise Conflict(f"Attempt {last.attempt} makes {self._document.id} now.")
            self._place, self._number = last.place + 1, last.next

    def add(self, events: bytes) -> None:
        """Events that were told; they are due within `journal_every_s`."""
        for event in split(events):
            if data_of(event):  # a comment has no number, and keeps no line alive here
                self._events.append(event)
                self.size += len(event)
        if self.size >= self._ports.pace.journal_bytes:
            self.due.set()
        elif self._events and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._ports.pace.journal_every_s, self.due.set)

    async def flush(self, *, closed: bool = False) -> None:
        """Writes what there is. `closed`: nothing more comes. Raises `Conflict`: somebody else goes on."""
        self.due.clear()
        self.stop()
        events, self._events, self.size = self._events, [], 0
        batches = list(_batches(events))
        for at, batch in enumerate(batches, start=1):
            await self._append(batch, closed=closed and at == len(batches))
        if closed and not batches:
            await self._append(closed=True)

    def stop(self) -> None:
        """Nothing becomes due any more by the time that passes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _append(self, events: list[bytes] = [], *, closed: bool) -> None:  # noqa: B006  (only read)
        ports, document = self._ports, self._document
        name = body_id_of(document.id, self._place)
        sealed = b"" if not events else await self._sealed(name, b"".join(events))
        apart = len(sealed) > LARGEST_ENTRY
        if apart:
            await self._insist(partial(ports.bodies.put, name, sealed, self._expire_at))
        entry = Entry(
            request=document.id,
            place=self._place,
            attempt=document.attempts,
            first=self._number,
            next=self._number + len(events),
            expire_at=self._expire_at,
            closed=closed,
            sealed=b"" if apart else sealed,
            body_id=name if apart else "",
        )
        await self._insist(partial(ports.journal.append, entry))
        self._place, self._number = entry.place + 1, entry.next
        ports.waiters.ring(document.id)

    async def _sealed(self, name: str, events: bytes) -> bytes:
        seal = partial(self._ports.sealer.seal, self._document.tenant, "events", name, events)
        sealed: bytes = await self._insist(seal)
        return sealed


def _batches(events: Iterable[bytes]) -> Iterable[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for event in events:
        if batch and size + len(event) > BATCH:
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += len(event)
    if batch:
        yield batch
