"""Which replica takes the next call."""

from collections.abc import Collection, Sequence
from operator import attrgetter

from services.pool.replica import Replica

_due = attrgetter("aside_until")


class LeastOutstanding:
    """The replica with the fewest calls under way; equals take turns.

    A dead replica fails its calls at once and so would always have the fewest: those put aside are
    passed over until they are due, and then get one call as a trial. Where all are aside, the one due
    soonest is tried.
    """

    def __init__(self) -> None:
        self._turn = 0

    def pick(self, replicas: Sequence[Replica], tried: Collection[Replica] = ()) -> Replica | None:
        """One that is not among those `tried` already; None where there is none."""
        if tried:
            replicas = [replica for replica in replicas if replica not in tried]
        if len(replicas) < 2:
            return replicas[0] if replicas else None
        self._turn += 1
        best = self._least(replicas)
        return self._besides(replicas, best) if best.aside_until else best

    def _least(self, replicas: Sequence[Replica]) -> Replica:
        best = replicas[self._turn % len(replicas)]
        for replica in replicas:
            if replica.in_flight < best.in_flight:
                best = replica
        return best

    def _besides(self, replicas: Sequence[Replica], aside: Replica) -> Replica:
        """The choice where the first one was put aside."""
        if aside.aside_until > aside.now():
            healthy = [replica for replica in replicas if not replica.aside_until]
            if healthy:
                return self._least(healthy)
            aside = min(replicas, key=_due)
        aside.take_trial()
        return aside
