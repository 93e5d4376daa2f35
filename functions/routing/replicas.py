"""Which replica of a backend takes a call: those with room first, then whoever knows the prompt's beginning,
else the least busy. Health comes before that: who is put aside is not among them.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, TypeVar

BOUND = 1.25  # Mirrokni, Thorup, Zadimoghaddam: Consistent Hashing with Bounded Loads, 2017 (1608.01350)
FEW = 4  # slots of a replica, where nobody said how many
SHARED = 2  # a replica half full takes what it knows, however little the others have to do

_MASK = 2**64 - 1
_FACTOR = 0xBF58476D1CE4E5B9

Why = Literal["", "affinity", "spill", "least", "trial"]


class Loaded(Protocol):
    """What is known of a replica: the calls `in_flight` there, and a number of its own that stays."""

    in_flight: int
    salt: int


Replica = TypeVar("Replica", bound=Loaded)


class Asked(NamedTuple):
    """What a choice goes by. `prefix`: a hash of how the prompt begins, 0 where that does not matter.
    `slots`: calls a replica runs at once. `bound`: how many times the mean of calls under way a replica may
    have and still be given what it knows; 0: nothing is given for that.
    """

    prefix: int = 0
    slots: int = FEW
    bound: float = BOUND


def choose(replicas: Sequence[Replica], asked: Asked, turn: int) -> tuple[Replica, Why]:
    """One of at least one, and why."""
    prefix, slots, bound = asked
    free = with_room(replicas, slots)
    if prefix and bound:
        found, is_home = nearest(free, prefix, load_limit(replicas, slots, bound))
        if found is not None:
            return found, "affinity" if is_home and len(free) == len(replicas) else "spill"
    return least(free, turn), "least"


def with_room(replicas: Sequence[Replica], slots: int) -> Sequence[Replica]:
    """Those that have a slot free; all where none has: then calls wait inside the engines."""
    for replica in replicas:
        if replica.in_flight >= slots:
            return [one for one in replicas if one.in_flight < slots] or replicas
    return replicas


def load_limit(replicas: Sequence[Loaded], slots: int, bound: float) -> int:
    """The calls a replica may not have yet, to be given what it knows. There is always one below it, since
    the mean is.
    """
    total = 1  # the call itself
    for replica in replicas:
        total += replica.in_flight
    return max(math.ceil(bound * total / len(replicas)), slots // SHARED)


def nearest(replicas: Sequence[Replica], prefix: int, limit: int) -> tuple[Replica | None, bool]:
    """By rendezvous (Thaler and Ravishankar, 1998): the replica with the highest score that has fewer calls
    than `limit`, and whether that is the highest of all. Where a replica comes or goes, only what is nearest
    to it moves.
    """
    number = mixed(prefix)
    found, best, highest = None, -1, -1
    for replica in replicas:
        score = (number ^ replica.salt) * _FACTOR & _MASK
        highest = max(highest, score)
        if score > best and replica.in_flight < limit:
            found, best = replica, score
    return found, best == highest


def mixed(number: int) -> int:
    """64 bits of which each depends on all of `number`'s (the finish of splitmix64)."""
    number = (number ^ number >> 30) * _FACTOR & _MASK
    number = (number ^ number >> 27) * 0x94D049BB133111EB & _MASK
    return number ^ number >> 31


def least(replicas: Sequence[Replica], turn: int) -> Replica:
    """The one with the fewest calls; equals take turns by `turn`, which counts up."""
    best = replicas[turn % len(replicas)]
    for replica in replicas:
        if replica.in_flight < best.in_flight:
            best = replica
    return best
