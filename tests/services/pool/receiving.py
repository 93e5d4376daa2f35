"""Who hears of a call in these tests, and remembers all of it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from services.pool.flight import Failure, Headers
from tests.support.client import PATIENCE_S


@dataclass(slots=True)
class Heard:
    """A `Receiver`; `news` are the names of what it heard, in order, pieces of a body told once."""

    news: list[str] = field(default_factory=list)
    status: int = 0
    headers: Headers = field(default_factory=dict)
    body: bytes = b""
    failure: Failure | None = None
    at_end: Callable[[], object] = lambda: None
    _told: asyncio.Event = field(default_factory=asyncio.Event)

    def sent(self) -> None:
        self._note("sent")

    def responded(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers
        self._note("responded")

    def received(self, data: bytes) -> None:
        self.body += data
        if self.news[-1] != "received":
            self._note("received")

    def completed(self) -> None:
        self._note("completed")
        self.at_end()

    def failed(self, failure: Failure) -> None:
        self.failure = failure
        self._note("failed")

    def _note(self, what: str) -> None:
        self.news.append(what)
        self._told.set()

    async def hears(self, *any_of: str) -> None:
        """Waits until one of these was heard."""
        async with asyncio.timeout(PATIENCE_S):
            while not set(any_of) & set(self.news):
                self._told.clear()
                await self._told.wait()

    async def end(self) -> "Heard":
        """Waits for the end, whichever."""
        await self.hears("completed", "failed")
        return self

    @property
    def kind(self) -> str | None:
        """What kind of failure it was."""
        return self.failure.kind if self.failure else None
