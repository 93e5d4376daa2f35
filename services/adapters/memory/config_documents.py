"""The configuration document in memory."""

from collections.abc import Callable
from datetime import datetime

from events.words import Conflict
from services.configuration.feed import Published


class MemoryConfigDocuments:
    """The versions, the newest last; `now` is an aware clock."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._versions: list[Published] = []

    async def current(self) -> Published | None:
        """The newest version; None where none was ever published."""
        return self._versions[-1] if self._versions else None

    async def publish(self, body: bytes, after: int) -> Published:
        """Publishes the version behind `after` (0: the first); `Conflict` where that is not the newest."""
        if after != len(self._versions):
            raise Conflict(f"The newest version of the configuration is {len(self._versions)}, not {after}.")
        published = Published(version=after + 1, body=body, at=self._now())
        self._versions.append(published)
        return published

    async def versions(self, limit: int) -> list[Published]:
        """The newest versions, newest first."""
        return self._versions[::-1][:limit]
