"""Wrapped data keys in memory."""

from events.words import Conflict


class MemoryDataKeys:
    """One wrapped key for each tenant; one that was erased never comes back."""

    def __init__(self) -> None:
        self._wrapped: dict[str, bytes | None] = {}  # None: erased

    async def get(self, tenant: str) -> bytes | None:
        """The tenant's key; None where there is none, or none any more."""
        return self._wrapped.get(tenant)

    async def create(self, tenant: str, wrapped: bytes) -> bytes:
        """Stores a tenant's first key; returns the key that is stored, which is the first one ever given.

        Raises `Conflict` where the tenant's key was erased.
        """
        stored = self._wrapped.setdefault(tenant, wrapped)
        if stored is None:
            raise Conflict(f"The data key of tenant {tenant} was erased; a new tenant id is needed.")
        return stored

    async def erase(self, tenant: str) -> None:
        """Erases the tenant's key for ever."""
        self._wrapped[tenant] = None
