"""The key ring in Firestore: API keys by the hash of the key, and the tenants they belong to.

Every change adds one to a single document in the same commit: whoever caches keys reads that document.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from events.words import ApiKey, Conflict, Tenant, Unavailable
from services.adapters.firestore import documents
from services.adapters.firestore.database import Database, Moved
from services.adapters.firestore.documents import (
    Condition,
    Fields,
    Query,
    Stored,
    count,
    create,
    document_id,
    new_mark,
)
from services.adapters.firestore.indexes import KEY_IDS, KEYS, RING, TENANTS

T = TypeVar("T", ApiKey, Tenant)

SCHEMA = 1

_TRIES = 5
_RING: Final = f"{RING}/keys"
_CHANGED: Final = count(_RING, {"name": "keys"}, {"revision": 1})


class FirestoreKeys:
    """Keys by hash and by id, and tenants; every change makes the `revision` grow."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key: ApiKey) -> None:
        """Stores a new key; raises `Conflict` where its hash or its id is taken."""
        mark = new_mark()
        path = f"{KEYS}/{document_id(key.hash)}"
        # Only the name of a document is unique: so the id is the name of one, too.
        taken = create(f"{KEY_IDS}/{document_id(key.id)}", {"hash": key.hash})
        try:
            await self._database.commit([create(path, _of_key(key, mark)), taken, _CHANGED])
        except Moved as moved:
            if not await self._ours(path, mark):
                raise Conflict(
                    f"There is a key {key.id} already, or another one with the same secret."
                ) from moved

    async def by_hash(self, hash: str) -> ApiKey | None:
        """The key whose SHA-256 (hex) this is."""
        return _one(ApiKey, await self._database.get(f"{KEYS}/{document_id(hash)}", fields=("body",)))

    async def by_id(self, tenant: str, key_id: str) -> ApiKey | None:
        """A key by its public id."""
        key = _one(ApiKey, await self._stored(key_id))
        return key if key is not None and key.tenant == tenant else None

    async def list(self, tenant: str | None = None) -> Sequence[ApiKey]:
        """The keys of one tenant or of all, oldest first."""
        where: tuple[Condition, ...] = () if tenant is None else (("tenant", "==", tenant),)
        found = await self._database.find(Query(collection=KEYS, where=where, fields=("body",)))
        keys = [_decoded(ApiKey, stored) for stored in found]
        return sorted(keys, key=lambda key: (key.created_at, key.id))

    async def revoke(self, key_id: str, at: datetime) -> ApiKey | None:
        """Revokes a key from `at` on and returns it; the first revocation stays. None where there is none."""
        for _ in range(_TRIES):
            stored = await self._stored(key_id)
            key = _one(ApiKey, stored)
            if stored is None or key is None or key.revoked_at is not None:
                return key
            revoked = replace(key, revoked_at=at)
            write = documents.replace(stored.path, _of_key(revoked, new_mark()), stored.version)
            try:
                await self._database.commit([write, _CHANGED])
            except Moved:
                continue  # by somebody else, or unheard by us: what is stored tells
            return revoked
        raise Unavailable(f"Key {key_id} could not be revoked: others write it all the time.")

    async def add_tenant(self, tenant: Tenant) -> None:
        """Stores a new tenant; raises `Conflict` where its id is taken."""
        mark = new_mark()
        path = f"{TENANTS}/{document_id(tenant.id)}"
        fields: Fields = {"mark": mark, "schema": SCHEMA, "body": msgspec.json.encode(tenant)}
        try:
            await self._database.commit([create(path, fields), _CHANGED])
        except Moved as moved:
            if not await self._ours(path, mark):
                raise Conflict(f"There is a tenant {tenant.id} already.") from moved

    async def change_tenant(self, tenant: Tenant) -> bool:
        """Stores a tenant in place of the one of its id; False where there is none."""
        fields: Fields = {"mark": new_mark(), "schema": SCHEMA, "body": msgspec.json.encode(tenant)}
        path = f"{TENANTS}/{document_id(tenant.id)}"
        try:
            await self._database.commit([documents.amend(path, fields), _CHANGED])
        except Moved:
            return False
        return True

    async def tenant(self, id: str) -> Tenant | None:
        """A tenant by its id."""
        return _one(Tenant, await self._database.get(f"{TENANTS}/{document_id(id)}", fields=("body",)))

    async def tenants(self) -> Sequence[Tenant]:
        """Every tenant, by id."""
        found = await self._database.find(Query(collection=TENANTS, fields=("body",)))
        return sorted((_decoded(Tenant, stored) for stored in found), key=lambda tenant: tenant.id)

    async def revision(self) -> int:
        """Grows with every change of keys or tenants, so that a cache knows when to look again."""
        stored = await self._database.get(_RING)
        revision = 0 if stored is None else stored.fields["revision"]
        assert isinstance(revision, int)
        return revision

    async def _stored(self, key_id: str) -> Stored | None:
        found = await self._database.find(
            Query(collection=KEYS, where=(("id", "==", key_id),), limit=1, fields=("body",))
        )
        return found[0] if found else None

    async def _ours(self, path: str, mark: bytes) -> bool:
        """Whether a commit that found a document in its place was heard too late: it is its own."""
        stored = await self._database.get(path, fields=("mark",))
        return stored is not None and stored.fields["mark"] == mark


def _of_key(key: ApiKey, mark: bytes) -> Fields:
    body = msgspec.json.encode(key)
    return {"id": key.id, "tenant": key.tenant, "mark": mark, "schema": SCHEMA, "body": body}


def _one(kind: type[T], stored: Stored | None) -> T | None:
    return None if stored is None else _decoded(kind, stored)


def _decoded(kind: type[T], stored: Stored) -> T:
    body = stored.fields["body"]
    assert isinstance(body, bytes)
    return msgspec.json.decode(body, type=kind)
