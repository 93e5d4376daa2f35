"""Where a request goes next: replica after replica, place after place."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from events.config import Config, Place
from services.pool.picker import Picked
from services.pool.pool import Pool
from services.pool.replica import Replica
from services.router.order import Order
from services.wire.fields import Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """No model but the caller's own may answer while all `own` places are out. With `hold` the request waits
    until one is not, with `enqueue` that takes it over; with neither it is refused.
    """

    own: tuple[Place, ...]
    hold: bool = False
    enqueue: Callable[[], None] | None = None

    @property
    def waits(self) -> bool:
        """Whether others are left to see if an engine is back."""
        return self.hold or self.enqueue is not None


class Way:
    """What the next attempt is to do, and at which replica. `make` is the same request as an order for each
    of the `places` that may answer it, the best first; orders are made as they are needed. `prefix`: how the
    prompt begins, as a number.

    A backend that is out, all its replicas put aside, comes after those that are not. `patience`: where it
    says so, nothing stands in for the caller's model while that is cold.
    """

    __slots__ = (
        "_left", "_make", "_out", "_places", "_pool", "_prefix", "_tried", "order", "patience", "picked",
        "replica",
    )  # fmt: skip

    order: Order
    replica: Replica
    picked: Picked | None  # None: it waits for one

    def __init__(
        self,
        pool: Pool,
        places: Sequence[Place],
        make: Callable[[Place], Order],
        prefix: int = 0,
        patience: Patience | None = None,
    ) -> None:
        self._pool = pool
        self._places = places
        self._make = make
        self._prefix = prefix
        self.patience = patience
        self._start()

    def _start(self) -> None:
        self._left: Iterator[Place] = iter(self._places)
        self._out: deque[Place] | None = None
        self._tried: tuple[Replica, ...] = ()  # at this place

    def begin(self) -> bool:
        """Goes to the first place that can be called; False where there is none."""
        return self._next_place()

    def begin_anew(self, pool: Pool, config: Config) -> bool:
        """Begins once more, with the places and replicas there are now."""
        self._pool = pool
        self._places = [one for one in self._places if config.place(one.model, one.backend) is not None]
        self._start()
        return self._next_place()

    def wait(self) -> None:
        """Stays at the first place, without a replica."""
        self.picked = None
        self.order = self._make(self._places[0])

    def elsewhere(self) -> bool:
        """Goes on to another replica, if need be at another place; False where all were tried."""
        self._tried = (*self._tried, self.replica)
        return self._pick(self._tried) or self._next_place()

    def again(self) -> bool:
        """Stays at this place, at the replica that is best now; False where it has none any more."""
        self._tried = ()
        return self._pick(())

    @property
    def route(self) -> Fields:
        """The header line that tells the place, and of several replicas which one, and why that."""
        if self.picked is None:
            return b"%b;cold=hold\r\n" % self.order.route
        _, number, of, why = self.picked
        if not why:
            return b"%b\r\n" % self.order.route
        return b"%b;replica=%d;of=%d;picked=%b\r\n" % (self.order.route, number, of, why.encode())

    def _next_place(self) -> bool:
        patience = self.patience
        for place in self._left:
            if patience is not None and place not in patience.own and self._is_cold(patience):
                return False
            if self._pool.is_out(place.backend):
                self._out = self._out or deque()
                self._out.append(place)
            elif self._go(place):
                return True
        if patience is not None and patience.waits:
            return False
        while self._out:
            if self._go(self._out.popleft()):
                return True
        return False

    def _is_cold(self, patience: Patience) -> bool:
        own = (place for place in self._places if place in patience.own)  # those that are there still
        return all(self._pool.is_out(place.backend) for place in own)

    def _go(self, place: Place) -> bool:
        if not self._reach(place.backend, place.model, ()):
            return False
        self.order, self._tried = self._make(place), ()
        return True

    def _pick(self, tried: tuple[Replica, ...]) -> bool:
        return self._reach(self.order.backend, self.order.model, tried)

    def _reach(self, backend: str, model: str, tried: tuple[Replica, ...]) -> bool:
        picked = self._pool.pick(backend, tried, model=model, prefix=self._prefix)
        if picked is None:
            return False
        self.picked, self.replica = picked, picked.replica
        return True
