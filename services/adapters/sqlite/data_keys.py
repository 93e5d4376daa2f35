"""Wrapped data keys, in a SQLite file of their own so that no data backup holds them."""

import sqlite3
from functools import partial
from pathlib import Path

from events.words import Conflict
from services.adapters.sqlite.database import Database, Schema

DATA_KEYS = Schema(
    application_id=0x50454E4B,  # "PENK"
    steps=(
        (
            # `wrapped` is null where the key was erased: the tombstone.
            "CREATE TABLE data_keys (tenant TEXT PRIMARY KEY, wrapped BLOB) WITHOUT ROWID",
        ),
    ),
)


class SqliteDataKeys:
    """One wrapped key for each tenant; one that was erased never comes back."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, path: Path) -> "SqliteDataKeys":
        """The keys in the file at `path`; raises what `Database` raises."""
        return cls(Database(path, DATA_KEYS))

    async def get(self, tenant: str) -> bytes | None:
        """The tenant's key; None where there is none, or none any more."""
        return await self._database.read(partial(_get, tenant))

    async def create(self, tenant: str, wrapped: bytes) -> bytes:
        """Stores a tenant's first key; returns the key that is stored, which is the first one ever given.

        Raises `Conflict` where the tenant's key was erased.
        """
        return await self._database.write(partial(_create, tenant, wrapped))

    async def erase(self, tenant: str) -> None:
        """Erases the tenant's key for ever, also from the file's free space and its log.

        Where it raises `Unavailable`, bytes of the key may be left in the log: erase it again.
        """
        await self._database.write(partial(_erase, tenant))
        await self._database.checkpoint()

    async def close(self) -> None:
        """Lets go of the file."""
        await self._database.close()


def _get(tenant: str, connection: sqlite3.Connection) -> bytes | None:
    found = connection.execute("SELECT wrapped FROM data_keys WHERE tenant = ?", (tenant,)).fetchone()
    return None if found is None or found[0] is None else bytes(found[0])


def _create(tenant: str, wrapped: bytes, connection: sqlite3.Connection) -> bytes:
    connection.execute("INSERT OR IGNORE INTO data_keys (tenant, wrapped) VALUES (?, ?)", (tenant, wrapped))
    stored = _get(tenant, connection)
    if stored is None:
        raise Conflict(f"The data key of tenant {tenant} was erased; a new tenant id is needed.")
    return stored


def _erase(tenant: str, connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute(
        "INSERT INTO data_keys (tenant, wrapped) VALUES (?, NULL)"
        " ON CONFLICT (tenant) DO UPDATE SET wrapped = NULL",
        (tenant,),
    )
