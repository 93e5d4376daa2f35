"""Every adapter of every port, opened in an empty folder; a new adapter is one more line in a table."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from services.adapters.memory.advice import MemoryAdvice
from services.adapters.memory.bodies import MemoryBodies
from services.adapters.memory.bus import MemoryBus
from services.adapters.memory.cache import MemoryCache
from services.adapters.memory.config_documents import MemoryConfigDocuments
from services.adapters.memory.data_keys import MemoryDataKeys
from services.adapters.memory.job_runs import MemoryJobRuns
from services.adapters.memory.journal import MemoryJournal
from services.adapters.memory.keyed_calls import MemoryKeyedCalls
from services.adapters.memory.keys import MemoryKeys
from services.adapters.memory.ledger import MemoryUsageLedger
from services.adapters.memory.requests import MemoryRequests
from services.adapters.sqlite.advice import SqliteAdvice
from services.adapters.sqlite.bodies import SqliteBodies
from services.adapters.sqlite.bus import SqliteBus
from services.adapters.sqlite.cache import SqliteCache
from services.adapters.sqlite.config_documents import SqliteConfigDocuments
from services.adapters.sqlite.data_keys import SqliteDataKeys
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.job_runs import SqliteJobRuns
from services.adapters.sqlite.journal import SqliteJournal
from services.adapters.sqlite.keyed_calls import SqliteKeyedCalls
from services.adapters.sqlite.keys import SqliteKeys
from services.adapters.sqlite.ledger import SqliteUsageLedger
from services.adapters.sqlite.requests import SqliteRequests
from services.adapters.sqlite.schema import DATA
from tests.cloud.firestore import opening as firestore
from tests.cloud.pubsub import opening as pubsub
from tests.cloud.pubsub.gaps import GAPS as PUBSUB_GAPS

T = TypeVar("T")

START = datetime(2027, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)

Bus: TypeAlias = MemoryBus | SqliteBus
Ledger: TypeAlias = MemoryUsageLedger | SqliteUsageLedger
Requests: TypeAlias = MemoryRequests | SqliteRequests
Bodies: TypeAlias = MemoryBodies | SqliteBodies
Journal: TypeAlias = MemoryJournal | SqliteJournal
Keys: TypeAlias = MemoryKeys | SqliteKeys
Advice: TypeAlias = MemoryAdvice | SqliteAdvice
Cache: TypeAlias = MemoryCache | SqliteCache
KeyedCalls: TypeAlias = MemoryKeyedCalls | SqliteKeyedCalls
JobRuns: TypeAlias = MemoryJobRuns | SqliteJobRuns
DataKeys: TypeAlias = MemoryDataKeys | SqliteDataKeys
ConfigDocuments: TypeAlias = MemoryConfigDocuments | SqliteConfigDocuments


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time

    def forward(self, seconds: float) -> datetime:
        self.time += timedelta(seconds=seconds)
        return self.time


def wall_clock() -> datetime:
    return datetime.now(UTC)


Now: TypeAlias = Callable[[], datetime]
Opener: TypeAlias = Callable[[Path, Now], AbstractAsyncContextManager[T]]


@asynccontextmanager
async def data_file(folder: Path) -> AsyncIterator[Database]:
    database = Database(folder / "data.db", DATA)
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def sqlite_bus(folder: Path, now: Now) -> AsyncIterator[Bus]:
    async with data_file(folder) as database:
        yield await SqliteBus.open(database, now)


@asynccontextmanager
async def sqlite_data_keys(folder: Path, now: Now) -> AsyncIterator[DataKeys]:
    keys = SqliteDataKeys.open(folder / "keys.db")
    try:
        yield keys
    finally:
        await keys.close()


def in_memory(make: Callable[[Now], T]) -> Opener[T]:
    @asynccontextmanager
    async def opened(folder: Path, now: Now) -> AsyncIterator[T]:
        yield make(now)

    return opened


def in_data_file(make: Callable[[Database, Now], T]) -> Opener[T]:
    @asynccontextmanager
    async def opened(folder: Path, now: Now) -> AsyncIterator[T]:
        async with data_file(folder) as database:
            yield make(database, now)

    return opened


BUSES: dict[str, Opener[Bus]] = {
    "memory": in_memory(MemoryBus),
    "sqlite": sqlite_bus,
    "pubsub": pubsub.bus,
}
LEDGERS: dict[str, Opener[Ledger]] = {
    "memory": in_memory(MemoryUsageLedger),
    "sqlite": in_data_file(SqliteUsageLedger),
    "firestore": firestore.ledger,
}
REQUESTS: dict[str, Opener[Requests]] = {
    "memory": in_memory(MemoryRequests),
    "sqlite": in_data_file(SqliteRequests),
    "firestore": firestore.requests,
}
BODIES: dict[str, Opener[Bodies]] = {
    "memory": in_memory(MemoryBodies),
    "sqlite": in_data_file(SqliteBodies),
    "firestore": firestore.bodies,
}
JOURNALS: dict[str, Opener[Journal]] = {
    "memory": in_memory(MemoryJournal),
    "sqlite": in_data_file(SqliteJournal),
    "firestore": firestore.journal,
}
KEYS: dict[str, Opener[Keys]] = {
    "memory": in_memory(lambda now: MemoryKeys()),
    "sqlite": in_data_file(lambda database, now: SqliteKeys(database)),
    "firestore": firestore.keys,
}
ADVICE: dict[str, Opener[Advice]] = {
    "memory": in_memory(lambda now: MemoryAdvice()),
    "sqlite": in_data_file(lambda database, now: SqliteAdvice(database)),
    "firestore": firestore.advice,
}
CACHES: dict[str, Opener[Cache]] = {
    "memory": in_memory(MemoryCache),
    "sqlite": in_data_file(SqliteCache),
    "firestore": firestore.cache,
}
KEYED_CALLS: dict[str, Opener[KeyedCalls]] = {
    "memory": in_memory(MemoryKeyedCalls),
    "sqlite": in_data_file(SqliteKeyedCalls),
    "firestore": firestore.keyed_calls,
}
JOB_RUNS: dict[str, Opener[JobRuns]] = {
    "memory": in_memory(lambda now: MemoryJobRuns()),
    "sqlite": in_data_file(lambda database, now: SqliteJobRuns(database)),
    "firestore": firestore.job_runs,
}
DATA_KEYS: dict[str, Opener[DataKeys]] = {
    "memory": in_memory(lambda now: MemoryDataKeys()),
    "sqlite": sqlite_data_keys,
    "firestore": firestore.data_keys,
}

# Tests an adapter takes no part in, and why: the pair does not exist, it is not skipped.
GAPS: dict[Opener[Any], dict[str, str]] = {pubsub.bus: PUBSUB_GAPS}
CONFIG_DOCUMENTS: dict[str, Opener[ConfigDocuments]] = {
    "memory": in_memory(MemoryConfigDocuments),
    "sqlite": in_data_file(SqliteConfigDocuments),
    "firestore": firestore.config_documents,
}
