"""Wrapped data keys in Firestore, in a database of their own so that no data backup holds them."""

from events.words import Conflict
from services.adapters.firestore.database import Database, Moved
from services.adapters.firestore.documents import Fields, Stored, create, document_id, put
from services.adapters.firestore.indexes import DATA_KEYS

SCHEMA = 1


class FirestoreDataKeys:
    """One wrapped key for each tenant; one that was erased never comes back.

    `database` is to be one that holds nothing else, without recovery to a point in time.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, tenant: str) -> bytes | None:
        """The tenant's key; None where there is none, or none any more."""
        stored = await self._database.get(_path(tenant))
        return None if stored is None else _wrapped(stored)

    async def create(self, tenant: str, wrapped: bytes) -> bytes:
        """Stores a tenant's first key; returns the key that is stored, which is the first one ever given.

        Raises `Conflict` where the tenant's key was erased.
        """
        try:
            await self._database.commit([create(_path(tenant), _fields(tenant, wrapped))])
        except Moved:
            stored = await self.get(tenant)
            if stored is None:
                raise Conflict(
                    f"The data key of tenant {tenant} was erased; a new tenant id is needed."
                ) from None
            return stored
        return wrapped

    async def erase(self, tenant: str) -> None:
        """Erases the tenant's key for ever. Where it raises `Unavailable`, erase it again."""
        # What is null is the tombstone: the document stays, so that no key can be created again.
        await self._database.commit([put(_path(tenant), _fields(tenant, None))])


def _path(tenant: str) -> str:
    return f"{DATA_KEYS}/{document_id(tenant)}"


def _fields(tenant: str, wrapped: bytes | None) -> Fields:
    return {"tenant": tenant, "wrapped": wrapped, "schema": SCHEMA}


def _wrapped(stored: Stored) -> bytes | None:
    wrapped = stored.fields["wrapped"]
    assert wrapped is None or isinstance(wrapped, bytes)
    return wrapped
