"""The tier of the cache in this process: the answers used last, as many as fit."""

from collections import OrderedDict
from datetime import datetime

from functions.caching.entry import Answer

OVERHEAD = 1024  # bytes of an answer beside its body, about


class MemoryTier:
    """Clear answers by entry id, at most `room` bytes of them; the one not used for longest goes first."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._used = 0
        self._answers: OrderedDict[str, tuple[Answer, datetime]] = OrderedDict()

    @property
    def used(self) -> int:
        """Bytes that are taken."""
        return self._used

    def get(self, entry_id: str, now: datetime) -> tuple[Answer, datetime] | None:
        """An answer whose time is not over, and when it is."""
        found = self._answers.get(entry_id)
        if found is None:
            return None
        if found[1] <= now:
            self._drop(entry_id)
            return None
        self._answers.move_to_end(entry_id)
        return found

    def put(self, entry_id: str, answer: Answer, expire_at: datetime) -> None:
        """Takes an answer in, in place of others if need be; one that is larger than the room is left out."""
        self._drop(entry_id)
        if _size(answer) > self._room:
            return
        self._answers[entry_id] = (answer, expire_at)
        self._used += _size(answer)
        while self._used > self._room:
            self._drop(next(iter(self._answers)))

    def clear(self) -> None:
        """Forgets everything."""
        self._answers.clear()
        self._used = 0

    def _drop(self, entry_id: str) -> None:
        found = self._answers.pop(entry_id, None)
        if found is not None:
            self._used -= _size(found[0])


def _size(answer: Answer) -> int:
    return len(answer.body) + OVERHEAD
