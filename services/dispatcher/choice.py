"""Whose request runs next."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import TypeVar

from events.words import Lane

AMONG_FIRST = 4  # dispatchers choose at random among so many, or they would all want the same one

Item = TypeVar("Item")


def next_turn(
    waiting: Sequence[tuple[str, Lane]], running: Mapping[str, int], last: Mapping[str, int]
) -> tuple[str, Lane] | None:
    """The tenant and lane to serve: interactive before batch, then the tenant with the fewest running,
    then the one whose last turn (counted up) is longest ago.
    """

    def order(turn: tuple[str, Lane]) -> tuple[bool, int, int, str]:
        tenant, lane = turn
        return lane != "interactive", running.get(tenant, 0), last.get(tenant, -1), tenant

    return min(waiting, key=order, default=None)


def among_first(candidates: Sequence[Item], random: Random) -> Item | None:
    """One of the first few."""
    return random.choice(candidates[:AMONG_FIRST]) if candidates else None
