"""Which backends are cold, how long that usually lasts, and the requests that wait for an engine."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from events.config import Config, Place
from functions.routing.cold import Boots, Spell, learned, left_s
from services.front.limits import Budget
from services.pool.pool import Pool
from services.router.way import Way

EACH = 8 * 2**10  # bytes a request takes that waits, beside its body

Own = tuple[Place, ...]


class Waiter(Protocol):
    """A request that waits. `held`: what was taken for it of the budget."""

    held: int

    @property
    def way(self) -> Way:
        """Where it goes."""

    def go_on(self, pool: Pool, config: Config) -> bool:
        """An engine may be back; False where there is none for this one still."""

    def give_up(self) -> None:
        """There will be none: nobody serves its model any more."""


class ColdRoom:
    """Whoever waits is let go in the order they came, as many at once as replicas have slots free: a pool
    that comes up is not overrun. Of replicas that are put aside each gets one, once it is due for a trial.

    How long a backend was cold is measured from the first request that found it so to its first replica;
    until one such time is known it is the `boot_s` of its `fleet`.
    """

    def __init__(
        self,
        pool: Callable[[], Pool],
        config: Callable[[], Config],
        budget: Budget,
        clock: Callable[[], float],
    ) -> None:
        self._pool = pool
        self._config = config
        self._budget = budget
        self._clock = clock
        self._groups: dict[Own, dict[Waiter, None]] = {}
        self._spells: dict[str, Spell] = {}
        self._boots: dict[str, Boots] = {}

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._groups.values()))

    def left_s(self, backend: str) -> int:
        """In how many seconds an engine is expected at a backend where none could be reached just now."""
        backends, now = self._config().backends, self._clock()
        if backend not in backends or self._is_warm(backend):
            return 1
        spell = self._spells.get(backend)
        spell = self._spells[backend] = Spell(since=spell.since if spell else now, seen=now)
        boots = self._boots.get(backend)
        return left_s(boots.mean_s if boots else backends[backend].fleet.boot_s, now - spell.since)

    def join(self, waiter: Waiter, size: int) -> bool:
        """One more waits, with `size` bytes of its own; False where there is no room."""
        size += EACH
        patience = waiter.way.patience
        if patience is None or not self._budget.take(size):
            return False
        waiter.held = size
        self._groups.setdefault(patience.own, {})[waiter] = None
        for place in patience.own:
            self.left_s(place.backend)
        return True

    def leave(self, waiter: Waiter) -> None:
        """It waits no more."""
        patience = waiter.way.patience
        group = self._groups.get(patience.own) if patience else None
        if patience is None or group is None or waiter not in group:
            return
        del group[waiter]
        if not group:
            del self._groups[patience.own]
        self._budget.give_back(waiter.held)
        waiter.held = 0

    # --- what changed

    def look(self) -> None:
        """Called a few times a second: sees who is back, and lets go whom they have room for."""
        if self._spells:
            self._see()
        if self._groups:
            self.let_go()

    def _see(self) -> None:
        now, known = self._clock(), self._config().backends
        awaited = {place.backend for own in self._groups for place in own}
        for backend, spell in list(self._spells.items()):
            if backend not in known:
                del self._spells[backend]
            elif self._is_warm(backend):
                del self._spells[backend]
                boots = learned(self._boots.get(backend), spell, now)
                if boots is not None:
                    self._boots[backend] = boots
            elif backend in awaited or not self._pool().replicas(backend):  # it would be noticed
                self._spells[backend] = Spell(since=spell.since, seen=now)

    def ended(self, waiter: Waiter) -> None:
        """A request ended that may have waited; whoever waits may have its slot, once this turn of the loop
        is over.
        """
        if waiter.held:
            self.leave(waiter)
        elif self._groups:
            asyncio.get_running_loop().call_soon(self.let_go)

    def let_go(self) -> None:
        """As many as there is room for."""
        pool, config = self._pool(), self._config()
        for own, group in list(self._groups.items()):
            there = [place for place in own if config.place(place.model, place.backend) is not None]
            for waiter in list(group):
                if not there:
                    waiter.give_up()
                elif not _has_room(pool, there) or not waiter.go_on(pool, config):
                    break
                self.leave(waiter)

    def _is_warm(self, backend: str) -> bool:
        return any(not replica.aside_until for replica in self._pool().replicas(backend))


def _has_room(pool: Pool, places: Iterable[Place]) -> bool:
    """Whether one more may be sent to one of these places."""
    for place in places:
        slots = pool.slots(place.backend, place.model)
        for replica in pool.replicas(place.backend):
            if replica.aside_until:
                if replica.aside_until <= replica.now():
                    return True
            elif replica.in_flight < slots:
                return True
    return False
