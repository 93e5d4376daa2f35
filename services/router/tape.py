"""What a client gets of an answer, noted down while it may be worth keeping."""

from collections.abc import Callable
from typing import Protocol

from events.usage import Outcome
from events.words import Usage
from functions.caching.rule import LARGEST
from services.front.limits import Budget


class Attempt(Protocol):
    """The attempt that answered; read before it is ended."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def answer(self) -> bytes:
        """The answer, where it came in one piece."""

    @property
    def usage(self) -> Usage:
        """What it cost."""

    @property
    def counted(self) -> bool:
        """Whether the engine said so."""


class Recorded:
    """An answer that went whole to a client."""

    __slots__ = ("attempt", "body", "counted", "stream", "usage")

    def __init__(self, attempt: Attempt, events: bytes | None) -> None:
        self.attempt = attempt.id
        self.stream = events is not None
        self.body = attempt.answer if events is None else events
        self.usage = attempt.usage
        self.counted = attempt.counted


class Tape:
    """Notes the events of a stream, while there is room; `keep` hears of an answer that went out whole."""

    __slots__ = ("_budget", "_events", "_held", "_keep", "_torn")

    def __init__(self, budget: Budget, keep: Callable[[Recorded], None]) -> None:
        self._budget = budget
        self._keep = keep
        self._events: list[bytes] = []
        self._held = 0
        self._torn = False  # there was no room, or it is too long to be kept

    def add(self, events: bytes) -> None:
        """More of a stream went to the client."""
        size = len(events)
        if self._torn:
            return
        if self._held + size > LARGEST or not self._budget.take(size):
            self._torn = True
            self._let_go()
            return
        self._held += size
        self._events.append(events)

    def end(self, outcome: Outcome, attempt: Attempt) -> None:
        """The exchange is over."""
        if outcome == "finished" and not self._torn:
            self._keep(Recorded(attempt, b"".join(self._events) if self._events else None))
        self._let_go()

    def _let_go(self) -> None:
        self._budget.give_back(self._held)
        self._events, self._held = [], 0
