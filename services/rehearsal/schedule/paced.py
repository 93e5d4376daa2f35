"""Each sequence at a steady pace of its own."""

import heapq
from itertools import count

from services.rehearsal.schedule.slots import Sequence, Slots


class PacedSchedule:
    """Gives each running sequence a token every `token_s`; with 0 it gets all it wants in one step."""

    def __init__(self, token_s: float, slots: Slots) -> None:
        self.slots = slots
        self._token_s = token_s
        self._heap: list[tuple[float, int, Sequence]] = []
        self._turns = count()
        self._planned: dict[Sequence, int] = {}  # the one entry of the heap that counts, by its turn

    def due(self) -> float | None:
        """When the next step is to be made."""
        heap = self._heap
        while heap and self._planned.get(heap[0][2]) != heap[0][1]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def join(self, sequence: Sequence, now: float) -> None:
        """A sequence wants to be decoded."""
        if self.slots.join(sequence):
            self._begin(sequence, now)

    def leave(self, sequence: Sequence, now: float) -> None:
        """A sequence is done, or nobody wants it any more."""
        self._planned.pop(sequence, None)
        following = self.slots.leave(sequence)
        if following is not None:
            self._begin(following, now)

    def extend(self, sequence: Sequence, goal: int, now: float) -> None:
        """A sequence that is in shall go on to a further goal."""
        sequence.goal = goal
        if sequence in self.slots.running and sequence not in self._planned:
            self._begin(sequence, now)

    def step(self) -> list[Sequence]:
        """Makes the step that is due; the sequences it moved."""
        at, _, sequence = heapq.heappop(self._heap)
        more = 1 if self._token_s else sequence.goal
        sequence.produced = min(sequence.goal, sequence.produced + more)
        if sequence.produced < sequence.goal:
            self._plan(sequence, at + self._token_s)
        else:
            del self._planned[sequence]
        return [sequence]

    def _begin(self, sequence: Sequence, now: float) -> None:
        self._plan(sequence, now + self._token_s if sequence.goal else now)

    def _plan(self, sequence: Sequence, at: float) -> None:
        turn = next(self._turns)
        self._planned[sequence] = turn
        heapq.heappush(self._heap, (at, turn, sequence))
