"""What is known of the queue since the last look, so that not every claim has to ask for it."""

from collections.abc import Iterable
from datetime import datetime
from heapq import heappop, heappush

from events.requests import Versioned
from events.words import Lane
from services.dispatcher.choice import AMONG_FIRST
from services.dispatcher.ports import Requests

MOST_LATER = 1000  # of those who wait for their time; the looks find what is beyond

Turn = tuple[str, Lane]


class Waiting:
    """Who waits, and the first few requests of some of them. It may be out of date: whoever claims what
    another one has claimed is told so by the store, and who waits unknown is found by the next look.
    """

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._more: set[Turn] = set()  # the store may hold more of them than is in hand
        self._hands: dict[Turn, list[Versioned]] = {}
        self._later: list[tuple[datetime, Turn]] = []  # a heap: the earliest comes first

    @property
    def next_at(self) -> datetime | None:
        """When the next of those comes that wait for their time, as far as is known."""
        return self._later[0][0] if self._later else None

    @property
    def turns(self) -> list[Turn]:
        """Who waits, as far as is known."""
        return [*(self._more | self._hands.keys())]

    def add(self, turns: Iterable[Turn]) -> None:
        """Of these, more may wait."""
        self._more.update(turns)

    def add_later(self, turn: Turn, at: datetime | None) -> None:
        """Of this turn, one may be claimed from then on; None: at once."""
        if at is None:
            self._more.add(turn)
        elif len(self._later) < MOST_LATER:
            heappush(self._later, (at, turn))

    def come(self, now: datetime) -> None:
        """Those whose time has come wait now."""
        while self._later and self._later[0][0] <= now:
            self._more.add(heappop(self._later)[1])

    async def look(self, now: datetime) -> None:
        """Asks who waits, and forgets what was known before."""
        self._more.clear()  # first: whoever is added meanwhile may not be in the answer
        self._hands.clear()
        self.add(await self._requests.waiting_tenants(now))

    async def hand(self, turn: Turn, now: datetime) -> list[Versioned]:
        """The first few of a turn, asked for where there are none in hand."""
        hand = self._hands.get(turn)
        if hand is not None:
            return hand
        self._more.discard(turn)  # first, as above
        found = list(await self._requests.waiting(*turn, now, AMONG_FIRST))
        if found:
            self._hands[turn] = found
        if len(found) == AMONG_FIRST:
            self._more.add(turn)
        return found

    def take(self, turn: Turn, one: Versioned) -> None:
        """One in hand is claimed, or cannot be."""
        hand = self._hands[turn]
        hand.remove(one)
        if not hand:
            del self._hands[turn]
