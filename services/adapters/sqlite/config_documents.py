"""The configuration document in a SQLite file: every version that was applied is kept."""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from events.words import Conflict
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.schema import micros, moment
from services.configuration.feed import Published

_NEWEST = "SELECT version, body, at FROM config_versions ORDER BY version DESC LIMIT ?"


class SqliteConfigDocuments:
    """`now` is an aware clock."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def current(self) -> Published | None:
        """The newest version; None where none was ever published."""
        return next(iter(await self.versions(1)), None)

    async def publish(self, body: bytes, after: int) -> Published:
        """Publishes the version behind `after` (0: the first); `Conflict` where that is not the newest."""
        published = Published(version=after + 1, body=body, at=self._now())
        await self._database.write(partial(_publish, published))
        return published

    async def versions(self, limit: int) -> Sequence[Published]:
        """The newest versions, newest first."""
        return await self._database.read(partial(_versions, limit))


def _publish(published: Published, connection: sqlite3.Connection) -> None:
    (newest,) = connection.execute("SELECT ifnull(max(version), 0) FROM config_versions").fetchone()
    if newest != published.version - 1:
        raise Conflict(f"The newest version of the configuration is {newest}, not {published.version - 1}.")
    row = (published.version, micros(published.at), published.body)
    connection.execute("INSERT INTO config_versions (version, at, body) VALUES (?, ?, ?)", row)


def _versions(limit: int, connection: sqlite3.Connection) -> list[Published]:
    rows = connection.execute(_NEWEST, (limit,))
    return [Published(version=version, body=body, at=moment(at)) for version, body, at in rows]
