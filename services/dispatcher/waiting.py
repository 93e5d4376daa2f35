"""What is known of the queue since the last look, so that not every claim has to ask for it."""

from collections.abc import Iterable
from datetime import datetime

from events.requests import Versioned
from events.words import Lane
from services.dispatcher.choice import AMONG_FIRST
from services.dispatcher.ports import Requests

Turn = tuple[str, Lane]


class Waiting:
    """Who waits, and the first few requests of some of them. It may be out of date: whoever claims what
    another one has claimed is told so by the store, and who waits unknown is found by the next look.
    """

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._more: set[Turn] = set()  # the store may hold more of them than is in hand
        self._hands: dict[Turn, list[Versioned]] = {}

    @property
    def turns(self) -> list[Turn]:
        """Who waits, as far as is known."""
        return [*(self._more | self._hands.keys())]

    def add(self, turns: Iterable[Turn]) -> None:
        """Of these, more may wait."""
        self._more.update(turns)

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
