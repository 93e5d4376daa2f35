"""What the advice on replicas goes by, in a SQLite file."""

import sqlite3
from collections.abc import Sequence
from functools import partial

import msgspec

from events.words import Conflict
from functions.autoscale.standing import Standing
from services.adapters.sqlite.database import Database

_GET = "SELECT version, body FROM advice WHERE backend = ?"
_PUT = """
    INSERT INTO advice (backend, version, body) VALUES (?, ?, ?)
    ON CONFLICT (backend) DO UPDATE SET version = excluded.version, body = excluded.body
"""

_standing = msgspec.json.Decoder(Standing)


class SqliteAdvice:
    """One standing for each backend, and its version."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def standing(self, backend: str) -> tuple[Standing, int]:
        """What is remembered of a backend, and its version (0: nothing yet)."""
        return await self._database.read(partial(_get, backend))

    async def put(self, standing: Standing, version: int) -> None:
        """Stores it if what is stored still has `version`; else raises `Conflict`."""
        await self._database.write(partial(_put, standing, version))

    async def standings(self) -> Sequence[Standing]:
        """All of them, by backend."""
        return await self._database.read(_all)


def _get(backend: str, connection: sqlite3.Connection) -> tuple[Standing, int]:
    found = connection.execute(_GET, (backend,)).fetchone()
    return (Standing(backend=backend), 0) if found is None else (_standing.decode(found[1]), found[0])


def _put(standing: Standing, version: int, connection: sqlite3.Connection) -> None:
    _, current = _get(standing.backend, connection)
    if current != version:
        raise Conflict(f"The advice on {standing.backend} has version {current}, not {version}.")
    connection.execute(_PUT, (standing.backend, version + 1, msgspec.json.encode(standing)))


def _all(connection: sqlite3.Connection) -> list[Standing]:
    return [
        _standing.decode(body) for (body,) in connection.execute("SELECT body FROM advice ORDER BY backend")
    ]
