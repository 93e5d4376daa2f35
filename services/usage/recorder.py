"""Gathers usage records into pages; tells who waits when a page is durable."""

import asyncio
import logging
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from events.bus import Message, Publisher, message_of
from events.envelope import wrap
from events.usage import UsageRecord, UsageRecorded
from events.words import Unavailable

MAX_RECORDS = 500  # about 200 KB
FIRST_RETRY_S = 0.1
LAST_RETRY_S = 2.0
CLOSES_WITHIN_S = 5.0

log = logging.getLogger("penstock.usage")


class Waiter(Protocol):
    """Somebody who may not go on before a record is durable."""

    def durable(self) -> None:
        """It is."""

    def not_durable(self) -> None:
        """The bus does not take records now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lingers:
    """How long a record may wait for company, in seconds, and how many pages may be on their way at once.

    They are the bus adapter's: small where a page is cheap, larger where every page costs money. There,
    starts also go `apart` from other records (see `StartsApart`).
    """

    started_s: float = 0.002
    other_s: float = 0.020
    pages_in_flight: int = 1
    apart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """What is served while the bus takes no records: for `serve_s` seconds, while no more than `records`
    wait in memory. They are published once it is back; a crash before loses them, and nobody is billed.
    """

    serve_s: float = 0.0
    records: int = 50_000  # about 20 MB


REFUSE = Spool()
SERVE = Spool(serve_s=60.0)

Entry = tuple[UsageRecord, Waiter | None]


class UsageRecorder:
    """The usage records of one process. A sealed page keeps its id and its content until it is published."""

    def __init__(
        self,
        publisher: Publisher,
        *,
        producer: str,
        source: str,
        lingers: Lingers,
        now: Callable[[], datetime],
        spool: Spool = REFUSE,
    ) -> None:
        self.producer = producer
        self._spool = spool
        self._failing = 0  # pages the bus did not take yet
        self._failing_since = 0.0
        self._publisher = publisher
        self._source = source
        self._lingers = lingers
        self._longest_s = max(lingers.started_s, lingers.other_s)
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._entries: list[Entry] = []
        self._waited_for = False  # somebody waits for one of the entries
        self._due = 0.0
        self._sealed_at = -math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._wanted = False  # the page is due but as many as may be are on their way
        self._publishing: set[asyncio.Task[None]] = set()

    @property
    def failing(self) -> bool:
        """Whether the bus takes no records now."""
        return self._failing > 0

    @property
    def backlog(self) -> int:
        """How many records wait to be published, without those on their way."""
        return len(self._entries)

    @property
    def refuses(self) -> bool:
        """Whether `durably` would take nothing now."""
        return self._failing > 0 and not self._may_serve()

    def durably(self, record: UsageRecord, waiter: Waiter) -> bool:
        """Takes a record; the waiter hears once it is durable, or is not. False where the bus fails
        already: then nothing was taken and nothing will be heard.
        """
        if self._failing:
            return self._spooled(record, waiter)
        self._entries.append((record, waiter))
        self._waited_for = True
        self._arm(self._lingers.started_s)
        return True

    def _spooled(self, record: UsageRecord, waiter: Waiter) -> bool:
        if not self._may_serve():
            return False
        self.add(record)
        self._loop.call_soon(waiter.durable)  # as good as durable: that is what the spool was chosen for
        return True

    def _may_serve(self) -> bool:
        spool = self._spool
        away_s = self._loop.time() - self._failing_since
        return away_s < spool.serve_s and len(self._entries) < spool.records

    def add(self, record: UsageRecord) -> None:
        """Takes any other record."""
        self._entries.append((record, None))
        self._arm(self._lingers.other_s)

    def hurry(self) -> None:
        """Somebody's first byte is ready: the page it waits for goes now."""
        if self._waited_for:
            self._seal()

    def _arm(self, linger_s: float) -> None:
        if self._wanted:  # they go as soon as a page has arrived
            return
        if len(self._entries) >= MAX_RECORDS:
            self._seal()
            return
        if self._timer is not None and linger_s == self._longest_s:
            return  # it is due before that
        due = self._loop.time() + linger_s
        if self._timer is None or due < self._due:
            if self._timer is not None:
                self._timer.cancel()
            self._due = due
            self._timer = self._loop.call_at(due, self._seal)

    def _seal(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._entries:
            return
        if len(self._publishing) >= self._lingers.pages_in_flight:
            self._wanted = True
            return
        self._sealed_at = self._loop.time()
        taken, self._entries = self._entries[:MAX_RECORDS], self._entries[MAX_RECORDS:]
        # While a publish was slow, more than fit may have come.
        self._wanted = self._waited_for = bool(self._entries)
        waiters = [waiter for _, waiter in taken if waiter is not None]
        task = self._loop.create_task(self._publish(self._message(taken), waiters))
        self._publishing.add(task)
        task.add_done_callback(self._published)

    def _message(self, entries: list[Entry]) -> Message:
        event = UsageRecorded(producer=self.producer, records=tuple(record for record, _ in entries))
        return message_of(wrap(event, id=secrets.token_hex(16), source=self._source, time=self._now()))

    def _published(self, task: asyncio.Task[None]) -> None:
        self._publishing.discard(task)
        if self._wanted:
            self._seal()

    async def _publish(self, message: Message, waiters: list[Waiter]) -> None:
        try:
            await self._publisher.publish((message,))
        except Unavailable as error:
            log.warning("usage records cannot be published: %s", error)
            if not self._failing:
                self._failing_since = self._loop.time()
            self._failing += 1
            served = self._may_serve()
            for waiter in (*waiters, *self._dismissed()):
                if served:
                    waiter.durable()
                else:
                    waiter.not_durable()
            await self._publish_later(message)
            self._failing -= 1
            log.warning("usage records are published again")
        else:
            for waiter in waiters:
                waiter.durable()

    def _dismissed(self) -> list[Waiter]:
        """Those whose records have not left yet: the failing page is before them. The records stay."""
        waiting = [waiter for _, waiter in self._entries if waiter is not None]
        self._entries = [(record, None) for record, _ in self._entries]
        self._waited_for = False
        return waiting

    async def _publish_later(self, message: Message) -> None:
        """Tries until it works: the page may hold completions whose starts are durable."""
        pause_s = FIRST_RETRY_S
        while True:
            await asyncio.sleep(pause_s)
            try:
                await self._publisher.publish((message,))
            except Unavailable:
                pause_s = min(LAST_RETRY_S, pause_s * 2)
            else:
                return

    async def close(self, within_s: float = CLOSES_WITHIN_S) -> None:
        """Publishes what is left. Where the bus stays away it is lost: the sweep settles it by estimate."""
        try:
            async with asyncio.timeout(within_s):
                while self._entries or self._publishing:
                    self._seal()
                    if self._publishing:
                        await asyncio.wait(self._publishing)
        except TimeoutError:
            log.error("usage records could not be published before the end")  # noqa: TRY400  (no bug of ours)
            self._entries, self._wanted = [], False
            for task in self._publishing:
                task.cancel()
