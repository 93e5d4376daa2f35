"""Writes usage pages to the ledger, and settles what fell silent."""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from events.envelope import Envelope, Event
from events.jobs import JobDue
from events.usage import UsageRecorded
from events.words import Invalid, Record, Usage, hashed_id
from functions.metering.bill import Increment, increments
from functions.metering.settlement import Fold, Standing, StoredPage

PAGES_AT_ONCE = 100  # fewer would cost more: every step stores the whole standing
RECORDS_AT_ONCE = 1000  # folded in one go: about two milliseconds


class Settlement(Record):
    """One step of the sweep, to be stored whole or not at all: the pages folded, the standing they
    leave (None: nothing to remember) and, where bill rows follow, the page that holds them.

    A producer's version only ever grows, also while there is nothing to remember of it.
    """

    producer: str
    folded: tuple[str, ...]
    standing: Standing | None
    page_id: str = ""
    page: UsageRecorded | None = None
    increments: tuple[Increment, ...] = ()


class UsageLedger(Protocol):
    """The append-only ledger and the sums beside it."""

    async def append(self, page_id: str, body: bytes, producer: str, sums: Sequence[Increment]) -> bool:
        """Stores a page (JSON of a `UsageRecorded`) and adds its sums in one commit; False where the
        page was counted before.
        """

    async def producers(self) -> Sequence[str]:
        """The producers that have pages not folded yet, or a standing."""

    async def standing(self, producer: str) -> tuple[Standing, int]:
        """What is remembered of a producer, and its version (0: nothing yet)."""

    async def unfolded(self, producer: str, limit: int) -> Sequence[StoredPage]:
        """The oldest pages not folded yet, in the order they were stored."""

    async def settle(self, settlement: Settlement, version: int) -> int:
        """Stores a settlement if the standing still has `version`, and returns the new version;
        else raises `Conflict`.
        """


class AttemptCounts(Protocol):
    """What the agents beside the engines counted."""

    async def of(self, attempts: Collection[str]) -> Mapping[str, Usage]:
        """The tokens of those attempts that are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the metering function needs; an attempt silent for `silent_after_s` is settled."""

    ledger: UsageLedger
    counts: AttemptCounts
    silent_after_s: float


async def handle(envelope: Envelope, ports: Ports) -> Sequence[Event]:
    """Counts a page, or runs the sweep when its job is due."""
    match envelope.event:
        case UsageRecorded() as page:
            await ports.ledger.append(envelope.id, envelope.data, page.producer, increments(page.records))
        case JobDue(job="settle-usage"):
            for producer in await ports.ledger.producers():
                await sweep(producer, envelope.time, ports)
        case _:
            raise Invalid(f"The metering function does not consume {envelope.type} ({envelope.subject}).")
    return []


async def sweep(producer: str, now: datetime, ports: Ports) -> None:
    """Brings one producer's standing up to date, step by step, and settles it at the end."""
    standing, version = await ports.ledger.standing(producer)
    while pages := deque(await ports.ledger.unfolded(producer, PAGES_AT_ONCE)):
        fold = Fold(standing)
        folded = await _take_in(pages, fold)
        standing = fold.standing()
        version = await ports.ledger.settle(_settlement(fold, folded), version)
    fold = Fold(standing)
    silent_after = timedelta(seconds=ports.silent_after_s)
    counts = await ports.counts.of([a for a, o in fold.open.items() if now - o.seen_at > silent_after])
    fold.settle(now, silent_after, counts)
    if fold.standing() != standing:
        await ports.ledger.settle(_settlement(fold, ()), version)


async def _take_in(pages: deque[StoredPage], fold: Fold) -> tuple[str, ...]:
    """Folds all pages and returns their ids. A hundred full ones would hold up for tens of milliseconds
    what else runs in this process: others get their turn between, and each page is let go of at once,
    because freeing them all together takes a third of that time.
    """
    folded: list[str] = []
    records = 0
    while pages:
        stored = pages.popleft()
        fold.add(stored)
        folded.append(stored.id)
        records += len(stored.page.records)
        if records >= RECORDS_AT_ONCE:
            records = 0
            await asyncio.sleep(0)
    return tuple(folded)


def _settlement(fold: Fold, folded: tuple[str, ...]) -> Settlement:
    standing = fold.standing()
    rows = tuple(fold.rows)
    return Settlement(
        producer=fold.producer,
        folded=folded,
        standing=None if standing.idle else standing,
        page_id=hashed_id(row.id for row in rows),
        page=UsageRecorded(producer=fold.producer, records=rows) if rows else None,
        increments=increments(rows),
    )
