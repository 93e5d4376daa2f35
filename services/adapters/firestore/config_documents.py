"""The configuration document in Firestore: every version kept, one document that holds the newest."""

from collections.abc import Callable
from datetime import datetime

from events.words import Conflict, Invalid
from services.adapters.firestore.database import Database, Moved
from services.adapters.firestore.documents import (
    ABSENT,
    PIECE,
    Fields,
    Query,
    Stored,
    create,
    new_mark,
    replace,
)
from services.adapters.firestore.indexes import CONFIG, CONFIG_VERSIONS
from services.configuration.feed import Published

SCHEMA = 1
NEWEST = f"{CONFIG}/newest"


class FirestoreConfigDocuments:
    """`now` is an aware clock. A version is at most 900 KiB of JSON."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def current(self) -> Published | None:
        """The newest version; None where none was ever published."""
        stored = await self._database.get(NEWEST)
        return None if stored is None else _published(stored)

    async def publish(self, body: bytes, after: int) -> Published:
        """Publishes the version behind `after` (0: the first); `Conflict` where that is not the newest."""
        if len(body) > PIECE:
            raise Invalid(f"The configuration document has {len(body)} bytes; {PIECE} is the most.")
        stored = await self._database.get(NEWEST)
        newest = 0 if stored is None else _published(stored).version
        if after != newest:
            raise Conflict(f"The newest version of the configuration is {newest}, not {after}.")
        published = Published(version=after + 1, body=body, at=self._now())
        fields = _fields(published, mark := new_mark())
        version = ABSENT if stored is None else stored.version
        try:
            await self._database.commit(
                [replace(NEWEST, fields, version), create(f"{CONFIG_VERSIONS}/{published.version}", fields)]
            )
        except Moved:
            again = await self._database.get(NEWEST)  # it may be our own write, not heard of
            if again is None or again.fields["mark"] != mark:
                raise Conflict(f"Somebody else published version {published.version} first.") from None
        return published

    async def versions(self, limit: int) -> list[Published]:
        """The newest versions, newest first."""
        newest = await self.current()
        if newest is None:
            return []
        first = max(1, newest.version - limit + 1)
        query = Query(collection=CONFIG_VERSIONS, where=(("version", ">=", first),), order=("version",))
        return [_published(stored) for stored in await self._database.find(query)][::-1][:limit]


def _fields(published: Published, mark: bytes) -> Fields:
    return {
        "version": published.version,
        "body": published.body,
        "at": published.at,
        "mark": mark,
        "schema": SCHEMA,
    }


def _published(stored: Stored) -> Published:
    version, body, at = (stored.fields[name] for name in ("version", "body", "at"))
    assert isinstance(version, int)
    assert isinstance(body, bytes)
    assert isinstance(at, datetime)
    return Published(version=version, body=body, at=at)
