from services.rehearsal.schedule.slots import Sequence, Slots


def sequences(count: int) -> list[Sequence]:
    return [Sequence(goal=1) for _ in range(count)]


def test_slots_go_to_the_first_and_the_others_wait_in_line() -> None:
    slots = Slots(2)
    first, second, third, fourth = sequences(4)
    assert [True, True, False, False] == [slots.join(s) for s in (first, second, third, fourth)]
    assert ([first, second], [third, fourth]) == (list(slots.running), list(slots.waiting))
    assert third is slots.leave(first)
    assert fourth is slots.leave(second)
    assert [third, fourth] == list(slots.running)


def test_who_leaves_the_line_frees_no_slot() -> None:
    slots = Slots(1)
    first, second, third = sequences(3)
    for sequence in (first, second, third):
        slots.join(sequence)
    assert slots.leave(second) is None
    assert slots.leave(second) is None
    assert third is slots.leave(first)
    assert slots.leave(first) is None
    assert [third] == list(slots.running)


def test_full_is_when_the_line_is_as_long_as_it_may_be() -> None:
    slots = Slots(1, 1)
    first, second = sequences(2)
    full = [slots.full]
    for sequence in (first, second):
        slots.join(sequence)
        full.append(slots.full)
    slots.leave(first)
    assert [False, False, True, False] == [*full, slots.full]


def test_without_bounds_it_is_never_full() -> None:
    unbounded, endless_line = Slots(), Slots(1)
    for sequence in sequences(100):
        assert unbounded.join(sequence)
        endless_line.join(sequence)
    assert not unbounded.full
    assert not endless_line.full
    assert 99 == len(endless_line.waiting)
