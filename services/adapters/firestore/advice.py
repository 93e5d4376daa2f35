"""What the advice on replicas goes by, in Firestore: one document for each backend.

Every report of a dispatcher, and of a router with calls under way, is one write of it: a document takes
about one write a second, so some ten processes can report on a backend.
"""

from collections.abc import Sequence

import msgspec

from events.words import Conflict
from functions.autoscale.standing import Standing
from services.adapters.firestore.database import Database, Moved
from services.adapters.firestore.documents import Fields, Query, Stored, document_id, new_mark, replace
from services.adapters.firestore.indexes import ADVICE

SCHEMA = 1

_standing = msgspec.json.Decoder(Standing)


class FirestoreAdvice:
    """One standing for each backend; its version is when it last changed, in ns of the server's clock."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def standing(self, backend: str) -> tuple[Standing, int]:
        """What is remembered of a backend, and its version (0: nothing yet)."""
        stored = await self._database.get(_path(backend), fields=("body",))
        return (Standing(backend=backend), 0) if stored is None else (_decoded(stored), stored.version)

    async def put(self, standing: Standing, version: int) -> None:
        """Stores it if what is stored still has `version`; else raises `Conflict`."""
        mark, path = new_mark(), _path(standing.backend)
        fields: Fields = {"mark": mark, "schema": SCHEMA, "body": msgspec.json.encode(standing)}
        try:
            await self._database.commit([replace(path, fields, version)])
        except Moved as moved:
            # An answer may have been lost: then it is this very write that is there.
            stored = await self._database.get(path, fields=("mark",))
            if stored is None or stored.fields["mark"] != mark:
                raise Conflict(
                    f"The advice on {standing.backend} no longer has version {version}."
                ) from moved

    async def standings(self) -> Sequence[Standing]:
        """All of them, by backend."""
        found = await self._database.find(Query(collection=ADVICE, fields=("body",)))
        return sorted(map(_decoded, found), key=lambda standing: standing.backend)


def _path(backend: str) -> str:
    return f"{ADVICE}/{document_id(backend)}"


def _decoded(stored: Stored) -> Standing:
    body = stored.fields["body"]
    assert isinstance(body, bytes)
    return _standing.decode(body)
