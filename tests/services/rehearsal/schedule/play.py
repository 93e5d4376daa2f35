"""Plays a schedule on a clock that does not wait."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from services.rehearsal.driver import Schedule
from services.rehearsal.schedule import slots


class Moved(NamedTuple):
    """A sequence had that many tokens from this time on."""

    at: float
    sequence: slots.Sequence
    produced: int


def play(
    schedule: Schedule,
    arrivals: Sequence[tuple[float, slots.Sequence]],
    departures: Mapping[slots.Sequence, float] | None = None,
) -> list[Moved]:
    """All that moves until nothing is due; sequences leave once they reach their goal, or earlier."""
    coming = sorted(arrivals, key=lambda arrival: arrival[0])
    going = sorted((departures or {}).items(), key=lambda departure: departure[1])
    history: list[Moved] = []
    while True:
        due = schedule.due()
        if coming and (due is None or coming[0][0] < due) and (not going or coming[0][0] <= going[0][1]):
            at, sequence = coming.pop(0)
            schedule.join(sequence, at)
        elif going and (due is None or going[0][1] < due):
            sequence, at = going.pop(0)
            schedule.leave(sequence, at)
        elif due is None:
            return history
        else:
            for sequence in schedule.step():
                history.append(Moved(due, sequence, sequence.produced))
                if sequence.produced == sequence.goal:
                    schedule.leave(sequence, due)


def times(history: list[Moved], sequence: slots.Sequence) -> list[float]:
    """When its tokens came."""
    return [moved.at for moved in history if moved.sequence is sequence and moved.produced]
