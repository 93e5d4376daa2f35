"""The stores of an embedded platform, opened together on one data folder."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime

from services.adapters.local.folder import DataFolder
from services.adapters.local.master_key import FileMasterKey
from services.adapters.sqlite.bodies import SqliteBodies
from services.adapters.sqlite.bus import SqliteBus
from services.adapters.sqlite.data_keys import SqliteDataKeys
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.keys import SqliteKeys
from services.adapters.sqlite.ledger import SqliteUsageLedger
from services.adapters.sqlite.requests import SqliteRequests
from services.adapters.sqlite.schema import DATA
from services.sealing.sealer import Sealer


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Everything that keeps state."""

    bus: SqliteBus
    ledger: SqliteUsageLedger
    requests: SqliteRequests
    bodies: SqliteBodies
    keys: SqliteKeys
    sealer: Sealer


async def open_stores(folder: DataFolder, now: Callable[[], datetime], stack: AsyncExitStack) -> Stores:
    """Opens the data file and the file of data keys; `stack` closes them."""
    database = Database(folder.path / "data.db", DATA)
    stack.push_async_callback(database.close)
    data_keys = SqliteDataKeys.open(folder.path / "data-keys.db")
    stack.push_async_callback(data_keys.close)
    return Stores(
        bus=await SqliteBus.open(database, now),
        ledger=SqliteUsageLedger(database, now),
        requests=SqliteRequests(database, now),
        bodies=SqliteBodies(database, now),
        keys=SqliteKeys(database),
        sealer=Sealer(FileMasterKey(folder.path / "master-key"), data_keys),
    )
