"""Which replica takes the next call."""

from collections.abc import Sequence

from services.pool.replica import Replica


class LeastOutstanding:
    """The replica with the fewest calls under way; equals take turns."""

    def __init__(self) -> None:
        self._turn = 0

    def pick(self, replicas: Sequence[Replica]) -> Replica | None:
        """None where there is no replica."""
        if len(replicas) < 2:
            return replicas[0] if replicas else None
        self._turn = (self._turn + 1) % len(replicas)
        best = replicas[self._turn]
        for replica in replicas:
            if replica.in_flight < best.in_flight:
                best = replica
        return best
