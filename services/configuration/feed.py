"""Follows the published configuration document: a process serves one version whole, then the next."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from events.config import Config
from events.config_reading import LARGEST, read
from events.words import Conflict, Invalid, Record, Unavailable
from services.pool.pool import Pool

LOOKED_BACK = 20  # versions, for one that can be served

log = logging.getLogger("penstock.configuration")


class Published(Record):
    """A version of the document: `body` is JSON, and is never changed under the same `version`."""

    version: int
    body: bytes
    at: datetime


class Documents(Protocol):
    """Where the document is published."""

    async def current(self) -> Published | None:
        """The newest version; None where none was ever published. Raises `Unavailable`."""

    async def versions(self, limit: int) -> Sequence[Published]:
        """The newest versions, newest first."""

    async def publish(self, body: bytes, after: int) -> Published:
        """Publishes the version behind `after` (0: the first); `Conflict` where that is not the newest."""


class Served(Record):
    """What a process serves: the document and where it came from. `version` is 0 where it was never
    published, `seen` is the newest that was looked at.
    """

    config: Config
    source: str
    version: int
    seen: int


def _nothing(config: Config) -> Mapping[str, str]:
    return {}


class ConfigFeed:
    """The version this process serves, and its pool. One that cannot be read is passed over: the last
    good one goes on.

    `judge` tells what the backends of a document need that is not here. It is asked again at every look,
    because a file may come later than the document that names it. `pool_of` makes the pool of a document.
    """

    def __init__(
        self,
        documents: Documents,
        judge: Callable[[Config], Mapping[str, str]] = _nothing,
        pool_of: Callable[[Config], Pool] = Pool,
    ) -> None:
        self._documents = documents
        self._judge = judge
        self._pool_of = pool_of
        self._config: Config | None = None
        self._pool: Pool | None = None
        self._source = ""
        self._pinned = ""
        self._lacking: Mapping[str, str] = {}
        self.seen = 0  # the newest version that was looked at
        self.version = 0  # the one served

    def config(self) -> Config:
        """The document. Raises `Unavailable` before there was one."""
        if self._config is None:
            raise Unavailable("No configuration document was read yet.")
        return self._config

    def pool(self) -> Pool:
        """Its backends. Raises `Unavailable` before there was a document."""
        if self._pool is None:
            raise Unavailable("No configuration document was read yet.")
        return self._pool

    def lacking(self) -> Mapping[str, str]:
        """What its backends need that is not here, by backend."""
        found = {} if self._pool is None else self._pool.lacking()
        return {**found, **self._lacking} if found else self._lacking

    def cold(self) -> Mapping[str, str]:
        """Which of its backends have no engine listed, and why."""
        return {} if self._pool is None else self._pool.cold()

    def served(self) -> Served:
        """All of that. Raises `Unavailable` before there was a document."""
        return Served(config=self.config(), source=self._source, version=self.version, seen=self.seen)

    def begin(self, config: Config, source: str, *, pinned: str = "") -> None:
        """Serves a document that was not published, until one is. `pinned` says why none is to be."""
        self._take(config, source)
        self._pinned = pinned

    async def refresh(self) -> None:
        """Takes the newest version, if it is a new one. Raises `Unavailable`, also where there is none."""
        await self.look()
        if self._config is None and not self.seen:
            raise Unavailable("No configuration document was published; publish one: penstock config apply.")

    async def look(self) -> None:
        """Takes the newest version, if there is a new one. Raises `Unavailable`."""
        if self._config is not None:
            self._lacking = self._judge(self._config)
        published = None if self._pinned else await self._documents.current()
        if published is not None and published.version > self.seen:  # two looks may overtake each other
            await self._look_at(published)

    async def _look_at(self, published: Published) -> None:
        self.seen = published.version
        if self._serve(published) or self._config is not None:
            return
        for earlier in await self._documents.versions(LOOKED_BACK):
            if earlier.version < published.version and self._serve(earlier):
                return

    def _serve(self, published: Published) -> bool:
        try:
            config = parse(published.body)
        except Invalid as error:
            log.error("version %d of the configuration is not taken: %s", published.version, error)  # noqa: TRY400
            return False
        self._take(config, f"version {published.version}, applied")
        self.version = published.version
        log.info("version %d of the configuration is served", published.version)
        return True

    def _take(self, config: Config, source: str) -> None:
        earlier, pool = self._pool, self._pool_of(config)
        pool.start()
        self._config, self._pool, self._source = config, pool, source
        self._lacking = self._judge(config)
        if earlier is not None:
            earlier.close()  # its idle connections; calls under way end on theirs

    async def apply(self, body: bytes, after: int | None) -> Published:
        """Publishes a document behind version `after` (None: the newest), and serves it. Raises `Invalid`
        where it cannot hold, `Conflict` where `after` is not the newest or something else was named at the
        start, `Unavailable`.
        """
        if self._pinned:
            raise Conflict(self._pinned)
        config = parse(body)
        if not config.models:
            raise Invalid("The configuration document has no models: name at least one model.")
        if after is None:
            newest = await self._documents.current()
            after = 0 if newest is None else newest.version
        published = await self._documents.publish(body, after)
        await self.refresh()
        return published

    async def follow(self, every_s: float) -> None:
        """Refreshes for ever; a store that is away is asked again."""
        while True:
            try:
                await self.refresh()
            except Unavailable as error:
                log.warning("the configuration cannot be read: %s", error)
            await asyncio.sleep(every_s)

    def close(self) -> None:
        """Closes the idle connections."""
        if self._pool is not None:
            self._pool.close()


def parse(body: bytes) -> Config:
    """The document in JSON. Raises `Invalid`."""
    if len(body) > LARGEST:
        raise Invalid(f"The configuration document has {len(body)} bytes; {LARGEST} is the most.")
    try:
        document = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"The configuration document is not JSON: {error}.") from error
    return read(document)
