"""Sealed bodies in memory."""

from collections.abc import Callable, Sequence
from datetime import datetime


class MemoryBodies:
    """Bodies by id, each until its `expire_at`; `now` is an aware clock."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._bodies: dict[str, tuple[datetime, bytes]] = {}

    async def put(self, body_id: str, sealed: bytes, expire_at: datetime) -> None:
        """Stores a body, to be forgotten at `expire_at`; putting it again replaces it."""
        self._bodies[body_id] = (expire_at, sealed)

    async def get(self, body_id: str) -> bytes | None:
        """The body; None where there is none or its time is over."""
        expire_at, sealed = self._bodies.get(body_id, (self._now(), b""))
        return sealed if self._now() < expire_at else None

    async def delete(self, body_ids: Sequence[str]) -> None:
        """Forgets bodies now; those that are not there are passed over."""
        for body_id in body_ids:
            self._bodies.pop(body_id, None)

    async def forget(self, now: datetime, limit: int) -> int:
        """Deletes at most `limit` bodies whose time is over by `now`; returns how many."""
        over = [body_id for body_id, (expire_at, _) in self._bodies.items() if expire_at <= now][:limit]
        await self.delete(over)
        return len(over)
