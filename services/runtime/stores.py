"""Where state is kept: opened together, on one data folder."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from services.adapters.local.folder import DataFolder
from services.adapters.local.master_key import FileMasterKey
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
from services.sealing.sealer import Sealer

if TYPE_CHECKING:  # Google's client is loaded where it is used only
    from services.adapters.firestore.advice import FirestoreAdvice
    from services.adapters.firestore.bodies import FirestoreBodies
    from services.adapters.firestore.cache import FirestoreCache
    from services.adapters.firestore.config_documents import FirestoreConfigDocuments
    from services.adapters.firestore.job_runs import FirestoreJobRuns
    from services.adapters.firestore.journal import FirestoreJournal
    from services.adapters.firestore.keyed_calls import FirestoreKeyedCalls
    from services.adapters.firestore.keys import FirestoreKeys
    from services.adapters.firestore.ledger import FirestoreUsageLedger
    from services.adapters.firestore.requests import FirestoreRequests


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Everything that keeps state, but the bus."""

    ledger: "SqliteUsageLedger | FirestoreUsageLedger"
    requests: "SqliteRequests | FirestoreRequests"
    bodies: "SqliteBodies | FirestoreBodies"
    journal: "SqliteJournal | FirestoreJournal"
    keys: "SqliteKeys | FirestoreKeys"
    job_runs: "SqliteJobRuns | FirestoreJobRuns"
    advice: "SqliteAdvice | FirestoreAdvice"
    cache: "SqliteCache | FirestoreCache"
    keyed_calls: "SqliteKeyedCalls | FirestoreKeyedCalls"
    config: "SqliteConfigDocuments | FirestoreConfigDocuments"
    sealer: Sealer


async def open_local(
    folder: DataFolder, now: Callable[[], datetime], stack: AsyncExitStack
) -> tuple[Stores, SqliteBus]:
    """Opens the data file and the file of data keys; `stack` closes them."""
    database = Database(folder.path / "data.db", DATA)
    stack.push_async_callback(database.close)
    data_keys = SqliteDataKeys.open(folder.path / "data-keys.db")
    stack.push_async_callback(data_keys.close)
    stores = Stores(
        ledger=SqliteUsageLedger(database, now),
        requests=SqliteRequests(database, now),
        bodies=SqliteBodies(database, now),
        journal=SqliteJournal(database, now),
        keys=SqliteKeys(database),
        job_runs=SqliteJobRuns(database),
        advice=SqliteAdvice(database),
        cache=SqliteCache(database, now),
        keyed_calls=SqliteKeyedCalls(database, now),
        config=SqliteConfigDocuments(database, now),
        sealer=Sealer(FileMasterKey(folder.path / "master-key"), data_keys),
    )
    return stores, await SqliteBus.open(database, now)
