"""Sequences, the slots they decode in, and the line they wait in: first come, first served."""

import math


class Sequence:
    """One answer as a schedule sees it: counts of tokens.

    It is moved until `produced` reaches `goal` and then keeps its slot, to be given a further goal or
    to leave. `uncached` of its `prompt` tokens have to be read first.
    """

    __slots__ = ("goal", "produced", "prompt", "uncached")

    def __init__(self, *, goal: int, prompt: int = 0, uncached: int | None = None) -> None:
        self.goal = goal
        self.prompt = prompt
        self.uncached = prompt if uncached is None else uncached
        self.produced = 0

    @property
    def context(self) -> int:
        """Tokens the next one attends to."""
        return self.prompt + self.produced

    def moved(self) -> None:
        """Told by whoever drives the schedule, after each step that moved it."""


class Slots:
    """Keeps at most `count` sequences running and lets others wait; both in the order they came."""

    def __init__(self, count: int | None = None, queue: int | None = None) -> None:
        self._count = math.inf if count is None else count
        self._queue = math.inf if queue is None else queue
        self.running: dict[Sequence, None] = {}
        self.waiting: dict[Sequence, None] = {}

    @property
    def full(self) -> bool:
        """Whether nobody should join now. It is a bound for the polite: `join` does not enforce it."""
        return len(self.running) >= self._count and len(self.waiting) >= self._queue

    def join(self, sequence: Sequence) -> bool:
        """Takes a slot, or a place in the line; True where it got its slot."""
        if len(self.running) < self._count:
            self.running[sequence] = None
            return True
        self.waiting[sequence] = None
        return False

    def leave(self, sequence: Sequence) -> Sequence | None:
        """Gives up the slot or the place; the sequence whose turn it is now, if one is. Safe to repeat."""
        self.waiting.pop(sequence, None)
        if sequence not in self.running:
            return None
        del self.running[sequence]
        if not self.waiting:
            return None
        first = next(iter(self.waiting))
        del self.waiting[first]
        self.running[first] = None
        return first
