"""Continuous batching: iteration after iteration, each decoding a token of all and reading some prompt."""

from services.rehearsal.profiles import Batching
from services.rehearsal.schedule.slots import Sequence, Slots

CHUNK = 512  # tokens of a prompt read in one iteration


class BatchSchedule:
    """Alternates two steps: composing an iteration, and ending it `Batching.decode_s` + `prefill_s` later.

    One prompt is read at a time, in the order they came; the iteration that ends it yields its first
    token. Who joins while an iteration runs takes part in the next; one who leaves yields nothing more,
    though the iteration takes its time.
    """

    def __init__(self, rates: Batching, slots: Slots) -> None:
        self.slots = slots
        self._rates = rates
        self._clock = 0.0
        self._ends: float | None = None  # of the iteration under way
        self._unread: dict[Sequence, int] = {}  # prompt tokens left to read, of running sequences
        self._decoding: list[Sequence] = []
        self._reading: Sequence | None = None

    def due(self) -> float | None:
        """When the next step is to be made."""
        if self._ends is not None:
            return self._ends
        return self._clock if self._unread or self._ready() else None

    def join(self, sequence: Sequence, now: float) -> None:
        """A sequence wants to be decoded."""
        self._wake(now)
        if self.slots.join(sequence):
            self._begin(sequence)

    def leave(self, sequence: Sequence, now: float) -> None:
        """A sequence is done, or nobody wants it any more."""
        self._wake(now)
        self._unread.pop(sequence, None)
        following = self.slots.leave(sequence)
        if following is not None:
            self._begin(following)

    def extend(self, sequence: Sequence, goal: int, now: float) -> None:
        """A sequence that is in shall go on to a further goal."""
        self._wake(now)
        sequence.goal = goal

    def step(self) -> list[Sequence]:
        """Makes the step that is due; the sequences it moved."""
        if self._ends is None:
            self._compose()
            return []
        self._clock, self._ends = self._ends, None
        moved = self._decoded()
        if self._reading is not None and self._read(self._reading):
            moved.append(self._reading)
        return moved

    def _wake(self, now: float) -> None:
        """An idle engine begins its next iteration now; a busy one when the present one is over."""
        if self.due() is None:
            self._clock = now

    def _begin(self, sequence: Sequence) -> None:
        self._unread[sequence] = max(
            1, sequence.uncached
        )  # the last token is always read: it yields the first

    def _ready(self) -> list[Sequence]:
        return [s for s in self.slots.running if s.produced < s.goal and s not in self._unread]

    def _compose(self) -> None:
        self._decoding = self._ready()
        self._reading = next(iter(self._unread), None)
        chunk = min(CHUNK, self._unread[self._reading]) if self._reading else 0
        contexts = (sequence.context for sequence in self._decoding)
        self._ends = self._clock + self._rates.decode_s(contexts) + self._rates.prefill_s(chunk)

    def _decoded(self) -> list[Sequence]:
        moved = [sequence for sequence in self._decoding if sequence in self.slots.running]
        for sequence in moved:
            sequence.produced += 1
        return moved

    def _read(self, sequence: Sequence) -> bool:
        """Whether that was the end of its prompt."""
        if sequence not in self._unread:
            return False  # it left
        self._unread[sequence] -= CHUNK
        if self._unread[sequence] > 0:
            return False
        del self._unread[sequence]
        sequence.produced = min(1, sequence.goal)
        return True
