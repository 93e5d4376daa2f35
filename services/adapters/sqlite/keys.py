"""The key ring in a SQLite file: API keys, and the tenants they belong to."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from events.words import ApiKey, Conflict, Tenant
from services.adapters.sqlite.database import Database

T = TypeVar("T", ApiKey, Tenant)

_BY_HASH = "SELECT body FROM keys WHERE hash = ?"
_BY_ID = "SELECT body FROM keys WHERE id = ?"
_BY_ID_OF_TENANT = "SELECT body FROM keys WHERE id = ? AND tenant = ?"
_ADD = "INSERT OR IGNORE INTO keys (hash, id, tenant, body) VALUES (?, ?, ?, ?)"
_ADD_TENANT = "INSERT OR IGNORE INTO tenants (id, body) VALUES (?, ?)"


class SqliteKeys:
    """Keys by hash and by id, and tenants; every change makes the `revision` grow."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key: ApiKey) -> None:
        """Stores a new key; raises `Conflict` where its hash or its id is taken."""
        await self._database.write(partial(_add, key))

    async def by_hash(self, hash: str) -> ApiKey | None:
        """The key whose SHA-256 (hex) this is."""
        return await self._database.read(partial(_one, ApiKey, _BY_HASH, (hash,)))

    async def by_id(self, tenant: str, key_id: str) -> ApiKey | None:
        """A key by its public id."""
        return await self._database.read(partial(_one, ApiKey, _BY_ID_OF_TENANT, (key_id, tenant)))

    async def list(self, tenant: str | None = None) -> Sequence[ApiKey]:
        """The keys of one tenant or of all, oldest first."""
        return await self._database.read(partial(_keys, tenant))

    async def revoke(self, key_id: str, at: datetime) -> ApiKey | None:
        """Revokes a key from `at` on and returns it; the first revocation stays. None where there is none."""
        return await self._database.write(partial(_revoke, key_id, at))

    async def add_tenant(self, tenant: Tenant) -> None:
        """Stores a new tenant; raises `Conflict` where its id is taken."""
        await self._database.write(partial(_add_tenant, tenant))

    async def change_tenant(self, tenant: Tenant) -> bool:
        """Stores a tenant in place of the one of its id; False where there is none."""
        return await self._database.write(partial(_change_tenant, tenant))

    async def tenant(self, id: str) -> Tenant | None:
        """A tenant by its id."""
        return await self._database.read(
            partial(_one, Tenant, "SELECT body FROM tenants WHERE id = ?", (id,))
        )

    async def tenants(self) -> Sequence[Tenant]:
        """Every tenant, by id."""
        return await self._database.read(_tenants)

    async def revision(self) -> int:
        """Grows with every change of keys or tenants, so that a cache knows when to look again."""
        return await self._database.read(_revision)


def _one(kind: type[T], query: str, values: tuple[str, ...], connection: sqlite3.Connection) -> T | None:
    found = connection.execute(query, values).fetchone()
    return None if found is None else msgspec.json.decode(found[0], type=kind)


def _keys(tenant: str | None, connection: sqlite3.Connection) -> list[ApiKey]:
    if tenant is None:
        rows = connection.execute("SELECT body FROM keys")
    else:
        rows = connection.execute("SELECT body FROM keys WHERE tenant = ?", (tenant,))
    keys = [msgspec.json.decode(body, type=ApiKey) for (body,) in rows]
    return sorted(keys, key=lambda key: (key.created_at, key.id))


def _tenants(connection: sqlite3.Connection) -> list[Tenant]:
    rows = connection.execute("SELECT body FROM tenants ORDER BY id")
    return [msgspec.json.decode(body, type=Tenant) for (body,) in rows]


def _revision(connection: sqlite3.Connection) -> int:
    (revision,) = connection.execute("SELECT revision FROM ring").fetchone()
    return int(revision)


def _add(key: ApiKey, connection: sqlite3.Connection) -> None:
    row = (key.hash, key.id, key.tenant, msgspec.json.encode(key))
    if not connection.execute(_ADD, row).rowcount:
        raise Conflict(f"There is a key {key.id} already, or another one with the same secret.")
    _changed(connection)


def _add_tenant(tenant: Tenant, connection: sqlite3.Connection) -> None:
    if not connection.execute(_ADD_TENANT, (tenant.id, msgspec.json.encode(tenant))).rowcount:
        raise Conflict(f"There is a tenant {tenant.id} already.")
    _changed(connection)


def _change_tenant(tenant: Tenant, connection: sqlite3.Connection) -> bool:
    values = (msgspec.json.encode(tenant), tenant.id)
    if not connection.execute("UPDATE tenants SET body = ? WHERE id = ?", values).rowcount:
        return False
    _changed(connection)
    return True


def _revoke(key_id: str, at: datetime, connection: sqlite3.Connection) -> ApiKey | None:
    key = _one(ApiKey, _BY_ID, (key_id,), connection)
    if key is None or key.revoked_at is not None:
        return key
    revoked = replace(key, revoked_at=at)
    connection.execute("UPDATE keys SET body = ? WHERE id = ?", (msgspec.json.encode(revoked), key_id))
    _changed(connection)
    return revoked


def _changed(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE ring SET revision = revision + 1")
