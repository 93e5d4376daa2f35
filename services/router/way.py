"""Where a request goes next: replica after replica, place after place."""

from collections import deque
from collections.abc import Iterator

from services.pool.pool import Pool
from services.pool.replica import Replica
from services.router.order import Order


class Way:
    """What the next attempt is to do, and at which replica. `orders` are the same request for each place that
    may answer it, the best first; they are made as they are needed.

    A backend that is out, all its replicas put aside, comes after those that are not.
    """

    __slots__ = ("_orders", "_out", "_pool", "_tried", "order", "replica")

    order: Order
    replica: Replica

    def __init__(self, pool: Pool, orders: Iterator[Order]) -> None:
        self._pool = pool
        self._orders = orders
        self._out: deque[Order] | None = None
        self._tried: tuple[Replica, ...] = ()  # at this place

    def begin(self) -> bool:
        """Goes to the first place that can be called; False where there is none."""
        return self._next_place()

    def elsewhere(self) -> bool:
        """Goes on to another replica, if need be at another place; False where all were tried."""
        self._tried = (*self._tried, self.replica)
        replica = self._pool.pick(self.order.backend, self._tried)
        if replica is None:
            return self._next_place()
        self.replica = replica
        return True

    def again(self) -> bool:
        """Stays at this place, at the replica that is best now; False where it has none any more."""
        return self._go(self.order)

    def _next_place(self) -> bool:
        for order in self._orders:
            if self._pool.is_out(order.backend):
                self._out = self._out or deque()
                self._out.append(order)
            elif self._go(order):
                return True
        while self._out:
            if self._go(self._out.popleft()):
                return True
        return False

    def _go(self, order: Order) -> bool:
        replica = self._pool.pick(order.backend)
        if replica is None:
            return False
        self.order, self.replica, self._tried = order, replica, ()
        return True
