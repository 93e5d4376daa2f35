"""What a stopped or dead platform left in its data folder, read by the platform's own adapters."""

import shutil
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from events.bus import Message, topic_by_type
from events.catalog import KNOWN, Subscription, ingest_topic
from events.envelope import decode, type_of
from events.inference import InferenceCompleted, InferenceRequested
from events.usage import UsageRecord, UsageRecorded
from functions.request.handler import request_id
from services.adapters.dead_letter import DeadLetter
from services.adapters.local.folder import DataFolder
from services.adapters.sqlite.bus import SqliteBus
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.journal import SqliteJournal
from services.adapters.sqlite.ledger import SqliteUsageLedger
from services.adapters.sqlite.requests import SqliteRequests
from services.adapters.sqlite.schema import DATA
from services.requests.ingest import received
from services.runtime.first_start import DEFAULT_TENANT
from tests.kill.facts import Final, Step

DATABASE = "data.db"
ORACLE = Subscription(topic=topic_by_type(type_of(InferenceCompleted)), consumer="oracle")
ALL = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What lies in one data file."""

    bus: SqliteBus
    journal: SqliteJournal
    ledger: SqliteUsageLedger
    requests: SqliteRequests

    async def waiting(self, subscription: str) -> list[Message]:
        """A subscription's messages, oldest first; they count as delivered once more."""
        backlog = await self.bus.backlog()
        return await self.bus.receive(subscription, ALL) if backlog.get(subscription) else []


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Stores]:
    """The stores of a folder on which no platform runs."""
    database = Database(folder / DATABASE, DATA)
    try:
        yield Stores(
            bus=await SqliteBus.open(database, _now),
            journal=SqliteJournal(database, _now),
            ledger=SqliteUsageLedger(database, _now),
            requests=SqliteRequests(database, _now),
        )
    finally:
        await database.close()


def _now() -> datetime:
    return datetime.now(UTC)


async def prepare(folder: Path) -> None:
    """Makes a data folder whose bus keeps every final event for the oracle, for good."""
    DataFolder(folder).prepare()
    async with opened(folder) as stores:
        await stores.bus.ensure([ORACLE])


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """All that concerns the oracle. `unsettled`: what is still to be done, in words."""

    records: tuple[UsageRecord, ...]
    finals: tuple[Final, ...]
    stored: dict[str, frozenset[str]]  # the requests of each trace
    journal: tuple[Step, ...]
    dead: tuple[DeadLetter, ...]
    unsettled: tuple[str, ...]


async def read(folder: Path) -> Remains:
    """What lies in the folder of a platform that was stopped."""
    async with opened(folder) as stores:
        pages = await stores.ledger.pages(limit=ALL)
        finals = tuple(map(_final, await stores.waiting(ORACLE.name)))
        ended = {final.request_id for final in finals}
        return Remains(
            records=tuple(record for stored in pages for record in stored.page.records),
            finals=finals,
            stored=await _by_trace(stores, ended),
            journal=tuple([step for name in sorted(ended) for step in await _journal(stores, name)]),
            dead=tuple(await stores.bus.dead_letters(ALL)),
            unsettled=(*await _undelivered(stores), *await _open(stores)),
        )


def _final(message: Message) -> Final:
    envelope = decode(message.attributes, message.data, KNOWN)
    assert isinstance(envelope.event, InferenceCompleted)
    return Final(event_id=envelope.id, request_id=envelope.event.request_id, status=envelope.event.status)


async def _by_trace(stores: Stores, names: Iterable[str]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for name in names:
        stored = await stores.requests.get(name)
        if stored is not None and stored.document.traceparent:
            found[stored.document.traceparent.split("-")[1]].add(name)
    return {trace: frozenset(of_trace) for trace, of_trace in found.items()}


async def _journal(stores: Stores, name: str) -> list[Step]:
    return [
        Step(request_id=name, place=entry.place, attempt=entry.attempt, first=entry.first, next=entry.next)
        for entry in await stores.journal.read(name, 0, ALL)
    ]


async def _undelivered(stores: Stores) -> list[str]:
    backlog = await stores.bus.backlog()
    return [
        f"{count} messages for {name}"
        for name, count in backlog.items()
        if count and name != ORACLE.name and not name.startswith("job-")  # their slots come anyway
    ]


async def _open(stores: Stores) -> list[str]:
    found = []
    for producer in await stores.ledger.producers():
        standing, _ = await stores.ledger.standing(producer)
        unfolded = await stores.ledger.unfolded(producer, ALL)
        if standing.open or unfolded:
            found.append(f"{len(standing.open)} open attempts, {len(unfolded)} new pages of {producer}")
    found += [f"{stored.document.id} runs" for stored in await stores.requests.running(ALL)]
    found += [f"{stored.document.id} owes events" for stored in await stores.requests.owing(_now(), ALL)]
    return found


async def half_done(folder: Path) -> set[str]:
    """The topics that have a message whose effect is stored already, in the folder of a dead platform.

    What the dead left is not touched: a copy is looked at.
    """
    with TemporaryDirectory() as copy:
        for file in folder.glob(f"{DATABASE}*"):
            if not file.name.endswith("-shm"):  # made anew from the log
                shutil.copy(file, copy)
        async with opened(Path(copy)) as stores:
            return {
                message.topic
                for name in await stores.bus.backlog()
                for message in await stores.waiting(name)
                if await _has_effect(message, stores)
            }


async def _has_effect(message: Message, stores: Stores) -> bool:
    if message.topic == ingest_topic(DEFAULT_TENANT):
        name = request_id(received(DEFAULT_TENANT, message))
        return await stores.requests.get(name) is not None
    envelope = decode(message.attributes, message.data, KNOWN)
    match envelope.event:
        case InferenceRequested(request_id=name):
            found = await stores.requests.get(name)
            return found is not None and found.document.state != "accepted"
        case UsageRecorded():
            return envelope.id in {stored.id for stored in await stores.ledger.pages(limit=ALL)}
    return False
