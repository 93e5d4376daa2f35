"""Follows the published configuration document: a process serves one version whole, then the next."""

import asyncio
import logging
from datetime import datetime
from typing import Protocol

import msgspec

from events.config import Config, read
from events.words import Invalid, Record, Unavailable
from services.pool.pool import Pool

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


class ConfigFeed:
    """The version this process serves, and its pool. One that cannot be read is passed over: the last
    good one goes on.
    """

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._config: Config | None = None
        self._pool: Pool | None = None
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

    async def refresh(self) -> None:
        """Takes the newest version, if it is a new one. Raises `Unavailable`."""
        published = await self._documents.current()
        if published is None:
            raise Unavailable("No configuration document was published; publish one: penstock config apply.")
        if published.version == self.seen:
            return
        self.seen = published.version
        try:
            config = parse(published.body)
        except Invalid as error:
            log.error("version %d of the configuration is not taken: %s", published.version, error)  # noqa: TRY400
            return
        self._take(config)
        self.version = published.version
        log.info("version %d of the configuration is served", published.version)

    def _take(self, config: Config) -> None:
        earlier, pool = self._pool, Pool(config)
        pool.start()
        self._config, self._pool = config, pool
        if earlier is not None:
            earlier.close()  # its idle connections; calls under way end on theirs

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
    try:
        return read(msgspec.json.decode(body))
    except msgspec.DecodeError as error:
        raise Invalid(f"The configuration document is not JSON: {error}.") from error
