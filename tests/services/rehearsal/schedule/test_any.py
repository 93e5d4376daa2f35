"""What holds of every schedule, whoever comes and goes."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from services.rehearsal.driver import Schedule
from services.rehearsal.profiles import LLAMACPP_L4, Batching
from services.rehearsal.schedule.batch import BatchSchedule
from services.rehearsal.schedule.paced import PacedSchedule
from services.rehearsal.schedule.slots import Sequence, Slots
from tests.services.rehearsal.schedule.play import Moved, play

Make = Callable[[Slots], Schedule]


def batch(slots: Slots) -> Schedule:
    assert isinstance(LLAMACPP_L4.pace, Batching)
    return BatchSchedule(LLAMACPP_L4.pace, slots)


schedules = st.sampled_from(
    [lambda slots: PacedSchedule(0.005, slots), lambda slots: PacedSchedule(0.0, slots), batch]
)
sizes = st.integers(1, 4)
# When each comes, what it wants, how long its prompt is, and after what time it gives up, if it does.
customers = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.integers(1, 20),
        st.integers(1, 2000),
        st.none() | st.floats(0, 1),
    ),
    max_size=12,
)
Customers = list[tuple[float, int, int, float | None]]


class Watched(Slots):
    """Slots that remember the most that ever ran, and who began when."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.most = 0
        self.began: list[Sequence] = []

    def join(self, sequence: Sequence) -> bool:
        runs = super().join(sequence)
        self._note(sequence if runs else None)
        return runs

    def leave(self, sequence: Sequence) -> Sequence | None:
        following = super().leave(sequence)
        self._note(following)
        return following

    def _note(self, began: Sequence | None) -> None:
        self.most = max(self.most, len(self.running))
        if began is not None:
            self.began.append(began)


def served(make: Make, slots: Slots, coming: Customers) -> tuple[list[Sequence], set[Sequence], list[Moved]]:
    """Those who came in order of arrival, those of them who would give up, and what happened."""
    ordered = sorted(coming, key=lambda customer: customer[0])
    sequences = [Sequence(goal=goal, prompt=prompt) for _, goal, prompt, _ in ordered]
    arrivals = [(at, sequence) for (at, _, _, _), sequence in zip(ordered, sequences, strict=True)]
    departures = {
        sequence: at + patience
        for (at, _, _, patience), sequence in zip(ordered, sequences, strict=True)
        if patience is not None
    }
    return sequences, set(departures), play(make(slots), arrivals, departures)


@given(schedules, sizes, customers)
def test_slots_are_never_exceeded_and_all_are_free_in_the_end(
    make: Make, count: int, coming: Customers
) -> None:
    slots = Watched(count)
    served(make, slots, coming)
    assert slots.most <= count
    assert ({}, {}) == (slots.running, slots.waiting)


@given(schedules, sizes, customers)
def test_who_stays_gets_all_it_wants(make: Make, count: int, coming: Customers) -> None:
    sequences, given_up, _ = served(make, Slots(count), coming)
    assert [] == [s for s in sequences if s not in given_up and s.produced != s.goal]


@given(schedules, sizes, customers)
def test_slots_go_to_whoever_came_first(make: Make, count: int, coming: Customers) -> None:
    slots = Watched(count)
    sequences, _, _ = served(make, slots, coming)
    assert slots.began == [s for s in sequences if s in slots.began]


@given(schedules, sizes, customers)
def test_tokens_come_in_order_and_none_after_leaving(make: Make, count: int, coming: Customers) -> None:
    sequences, _, history = served(make, Slots(count), coming)
    assert sorted(moved.at for moved in history) == [moved.at for moved in history]
    for sequence in sequences:
        counts = [moved.produced for moved in history if moved.sequence is sequence]
        assert sorted(set(counts)) == counts
        assert sequence.produced == (counts[-1] if counts else 0)
