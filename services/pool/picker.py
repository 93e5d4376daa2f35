"""Which replica takes the next call."""

from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import NamedTuple

from functions.routing.replicas import Asked, Why, choose
from services.pool.replica import Replica

_due = attrgetter("aside_until")


class Picked(NamedTuple):
    """The choice: which of how many, counted from 1, and why. `why` is empty where there was no choice."""

    replica: Replica
    place: int = 1
    of: int = 1
    why: Why = ""


NOTHING_ASKED = Asked()


class Picker:
    """Passes over the replicas that are put aside; the others are chosen from by room, prefix and load.

    A dead replica fails its calls at once and so would always have the fewest: those put aside are
    passed over until they are due, and then get one call as a trial. Where all are aside, the one due
    soonest is tried.
    """

    def __init__(self) -> None:
        self._turn = 0

    def pick(
        self,
        replicas: Sequence[Replica],
        tried: Collection[Replica] = (),
        asked: Asked = NOTHING_ASKED,
    ) -> Picked | None:
        """One that is not among those `tried` already; None where there is none."""
        left = [one for one in replicas if one not in tried] if tried else replicas
        if len(left) < 2:
            return self._only(replicas, left[0]) if left else None
        for replica in left:
            if replica.aside_until:
                left, trial = _beside(left)
                if trial is not None:
                    return _told(replicas, trial, "trial")
                break
        self._turn += 1
        replica, why = choose(left, asked, self._turn)
        return _told(replicas, replica, why)

    @staticmethod
    def _only(replicas: Sequence[Replica], replica: Replica) -> Picked:
        """It is called whatever happened there."""
        if replica.aside_until and replica.aside_until <= replica.now():
            replica.take_trial()
        return Picked(replica) if len(replicas) < 2 else _told(replicas, replica, "least")


def _beside(replicas: Sequence[Replica]) -> tuple[list[Replica], Replica | None]:
    """Those that are not put aside, and whoever is and gets a trial: who is due, or where all are aside the
    one due soonest.
    """
    healthy = [one for one in replicas if not one.aside_until]
    soonest = min((one for one in replicas if one.aside_until), key=_due)
    if healthy and soonest.aside_until > soonest.now():
        return healthy, None
    soonest.take_trial()
    return healthy, soonest


def _told(replicas: Sequence[Replica], replica: Replica, why: Why) -> Picked:
    return Picked(replica, replicas.index(replica) + 1, len(replicas), why)
