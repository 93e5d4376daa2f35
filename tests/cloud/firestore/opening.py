"""The Firestore adapters on an emulator, each time in an empty project. Needs no Google package to import.

What an adapter sends is watched: on closing, every query must have had its index, which the emulator
itself does not ask for, and every field written must be one whose index was decided.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from events.requests import RequestDocument, Versioned
from tests.cloud import emulators

T = TypeVar("T")
Now: TypeAlias = Callable[[], datetime]
Opener: TypeAlias = Callable[[Path, Now], AbstractAsyncContextManager[T]]

NEVER = 1_000_000  # ns: a version no document ever had


def directly(api: Any) -> Any:
    return api


@asynccontextmanager
async def watched_database(
    through: Callable[[Any], Any] = directly, **given: Any
) -> AsyncIterator[tuple[Any, Any]]:
    """A database in a fresh project, and what watches it. `through`: what lies between the adapters and
    the watched client. `given`: arguments of `Database`.
    """
    emulator = emulators.firestore()
    from services.adapters.firestore import indexes  # noqa: PLC0415
    from services.adapters.firestore.database import Database, Patience, close, connect  # noqa: PLC0415
    from tests.cloud.firestore.watching import Watched  # noqa: PLC0415

    api = connect(emulator.address)
    watched = Watched(api)
    # A busy machine is no reason to fail.
    given = {"patience": Patience(attempt_s=30.0, total_s=60.0), **given}
    try:
        yield Database.on_emulator(through(watched), emulators.fresh_project(), **given), watched
        watched.check((*indexes.DATA, *indexes.SECRETS))
    finally:
        await close(api)


def on_firestore(make: Callable[[Any, Now], T]) -> Opener[T]:
    @asynccontextmanager
    async def opened(folder: Path, now: Now) -> AsyncIterator[T]:
        async with watched_database() as (database, _):
            yield make(database, now)

    return opened


def _requests(database: Any, now: Now) -> Any:
    from services.adapters.firestore.requests import FirestoreRequests  # noqa: PLC0415

    return CountedVersions(FirestoreRequests(database, now))


def _bodies(database: Any, now: Now) -> Any:
    from services.adapters.firestore.bodies import FirestoreBodies  # noqa: PLC0415

    return FirestoreBodies(database, now)


def _journal(database: Any, now: Now) -> Any:
    from services.adapters.firestore.journal import FirestoreJournal  # noqa: PLC0415

    return FirestoreJournal(database, now)


def _ledger(database: Any, now: Now) -> Any:
    from services.adapters.firestore.ledger import FirestoreUsageLedger  # noqa: PLC0415

    return FirestoreUsageLedger(database, now)


def _keys(database: Any, now: Now) -> Any:
    from services.adapters.firestore.keys import FirestoreKeys  # noqa: PLC0415

    return FirestoreKeys(database)


def _data_keys(database: Any, now: Now) -> Any:
    from services.adapters.firestore.data_keys import FirestoreDataKeys  # noqa: PLC0415

    return FirestoreDataKeys(database)


def _config_documents(database: Any, now: Now) -> Any:
    from services.adapters.firestore.config_documents import FirestoreConfigDocuments  # noqa: PLC0415

    return FirestoreConfigDocuments(database, now)


def _advice(database: Any, now: Now) -> Any:
    from services.adapters.firestore.advice import FirestoreAdvice  # noqa: PLC0415

    return FirestoreAdvice(database)


def _cache(database: Any, now: Now) -> Any:
    from services.adapters.firestore.cache import FirestoreCache  # noqa: PLC0415

    return FirestoreCache(database, now)


def _keyed_calls(database: Any, now: Now) -> Any:
    from services.adapters.firestore.keyed_calls import FirestoreKeyedCalls  # noqa: PLC0415

    return FirestoreKeyedCalls(database, now)


def _job_runs(database: Any, now: Now) -> Any:
    from services.adapters.firestore.job_runs import FirestoreJobRuns  # noqa: PLC0415

    return FirestoreJobRuns(database)


requests = on_firestore(_requests)
bodies = on_firestore(_bodies)
journal = on_firestore(_journal)
ledger = on_firestore(_ledger)
keys = on_firestore(_keys)
job_runs = on_firestore(_job_runs)
advice = on_firestore(_advice)
cache = on_firestore(_cache)
keyed_calls = on_firestore(_keyed_calls)
data_keys = on_firestore(_data_keys)
config_documents = on_firestore(_config_documents)


class CountedVersions:
    """Request documents whose versions count from 1 for each document.

    To the rooms a version is an opaque number that grows. The suite writes some of them down and
    compares them with the adapter in memory, so those of Firestore, which are times, are numbered here.
    """

    def __init__(self, requests: Any) -> None:
        self._requests = requests
        self._versions: dict[str, list[int]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._requests, name)

    async def create(self, document: RequestDocument) -> Versioned:
        return self._counted(await self._requests.create(document))

    async def get(self, request_id: str) -> Versioned | None:
        found = await self._requests.get(request_id)
        return None if found is None else self._counted(found)

    async def replace(self, document: RequestDocument, version: int) -> int:
        known = self._versions.get(document.id, [])
        expected = known[version - 1] if 0 < version <= len(known) else NEVER
        return self._number(document.id, await self._requests.replace(document, expected))

    async def waiting(self, *given: Any) -> list[Versioned]:
        return self._all(await self._requests.waiting(*given))

    async def overdue(self, *given: Any) -> list[Versioned]:
        return self._all(await self._requests.overdue(*given))

    async def lost(self, *given: Any) -> list[Versioned]:
        return self._all(await self._requests.lost(*given))

    async def running(self, *given: Any) -> list[Versioned]:
        return self._all(await self._requests.running(*given))

    async def stale(self, *given: Any) -> list[Versioned]:
        return self._all(await self._requests.stale(*given))

    async def owing(self, *given: Any) -> list[Versioned]:
        return self._all(await self._requests.owing(*given))

    async def forget(self, now: datetime, limit: int) -> list[str]:
        gone: list[str] = await self._requests.forget(now, limit)
        for request_id in gone:
            del self._versions[request_id]
        return gone

    def _all(self, found: Sequence[Versioned]) -> list[Versioned]:
        return [self._counted(versioned) for versioned in found]

    def _counted(self, found: Versioned) -> Versioned:
        return Versioned(document=found.document, version=self._number(found.document.id, found.version))

    def _number(self, request_id: str, version: int) -> int:
        known = self._versions.setdefault(request_id, [])
        if version not in known:
            assert not known or known[-1] < version, "a version is smaller than the one before"
            known.append(version)
        return known.index(version) + 1
