"""Waking those who wait in this process for the end of a request."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Waiters:
    """Who waits for which request. Whoever ends one here rings; of ends elsewhere nothing is heard."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

    @property
    def count(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    @contextmanager
    def waiting(self, request_id: str) -> Iterator[asyncio.Event]:
        """What is set by every ring from here on."""
        rung = asyncio.Event()
        others = self._waiting.setdefault(request_id, set())
        others.add(rung)
        try:
            yield rung
        finally:
            others.discard(rung)
            if not others:
                del self._waiting[request_id]

    def ring(self, request_id: str) -> None:
        """The request ended."""
        for rung in self._waiting.get(request_id, ()):
            rung.set()
