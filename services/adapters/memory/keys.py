"""The key ring in memory: API keys, and the tenants they belong to."""

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from events.words import ApiKey, Conflict, Tenant


class MemoryKeys:
    """Keys by hash and by id, and tenants; every change makes the `revision` grow."""

    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}  # by id
        self._ids: dict[str, str] = {}  # by hash
        self._tenants: dict[str, Tenant] = {}
        self._revision = 0

    async def add(self, key: ApiKey) -> None:
        """Stores a new key; raises `Conflict` where its hash or its id is taken."""
        if key.id in self._keys or key.hash in self._ids:
            raise Conflict(f"There is a key {key.id} already, or another one with the same secret.")
        self._ids[key.hash] = key.id
        self._put(key)

    async def by_hash(self, hash: str) -> ApiKey | None:
        """The key whose SHA-256 (hex) this is."""
        return self._keys.get(self._ids.get(hash, ""))

    async def by_id(self, tenant: str, key_id: str) -> ApiKey | None:
        """A key by its public id."""
        key = self._keys.get(key_id)
        return key if key is not None and key.tenant == tenant else None

    async def list(self, tenant: str | None = None) -> Sequence[ApiKey]:
        """The keys of one tenant or of all, oldest first."""
        keys = (key for key in self._keys.values() if tenant in (None, key.tenant))
        return sorted(keys, key=lambda key: (key.created_at, key.id))

    async def revoke(self, key_id: str, at: datetime) -> ApiKey | None:
        """Revokes a key from `at` on and returns it; the first revocation stays. None where there is none."""
        key = self._keys.get(key_id)
        if key is not None and key.revoked_at is None:
            self._put(replace(key, revoked_at=at))
        return self._keys.get(key_id)

    async def add_tenant(self, tenant: Tenant) -> None:
        """Stores a new tenant; raises `Conflict` where its id is taken."""
        if tenant.id in self._tenants:
            raise Conflict(f"There is a tenant {tenant.id} already.")
        self._tenants[tenant.id] = tenant
        self._revision += 1

    async def change_tenant(self, tenant: Tenant) -> bool:
        """Stores a tenant in place of the one of its id; False where there is none."""
        if tenant.id not in self._tenants:
            return False
        self._tenants[tenant.id] = tenant
        self._revision += 1
        return True

    async def tenant(self, id: str) -> Tenant | None:
        """A tenant by its id."""
        return self._tenants.get(id)

    async def tenants(self) -> Sequence[Tenant]:
        """Every tenant, by id."""
        return sorted(self._tenants.values(), key=lambda tenant: tenant.id)

    async def revision(self) -> int:
        """Grows with every change of keys or tenants, so that a cache knows when to look again."""
        return self._revision

    def _put(self, key: ApiKey) -> None:
        self._keys[key.id] = key
        self._revision += 1
