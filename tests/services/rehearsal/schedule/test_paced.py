import pytest

from services.rehearsal.schedule.paced import PacedSchedule
from services.rehearsal.schedule.slots import Sequence, Slots
from tests.services.rehearsal.schedule.play import Moved, play, times


def test_each_sequence_keeps_its_own_pace_whatever_the_others_do() -> None:
    alone = Sequence(goal=4)
    history = play(PacedSchedule(0.5, Slots()), [(10.0, alone)])
    assert [10.5, 11.0, 11.5, 12.0] == times(history, alone)

    early, late = Sequence(goal=4), Sequence(goal=3)
    history = play(PacedSchedule(0.5, Slots()), [(10.0, early), (10.2, late)])
    assert [10.5, 11.0, 11.5, 12.0] == times(history, early)
    assert pytest.approx([10.7, 11.2, 11.7]) == times(history, late)


def test_who_waits_begins_the_moment_a_slot_is_free() -> None:
    first, second = Sequence(goal=2), Sequence(goal=1)
    history = play(PacedSchedule(1.0, Slots(1)), [(0.0, first), (0.5, second)])
    assert [1.0, 2.0] == times(history, first)
    assert [3.0] == times(history, second)


def test_who_leaves_early_is_never_moved_again_and_makes_room() -> None:
    gone, next_one = Sequence(goal=100), Sequence(goal=1)
    history = play(PacedSchedule(1.0, Slots(1)), [(0.0, gone), (0.0, next_one)], {gone: 2.5})
    assert [1.0, 2.0] == times(history, gone)
    assert [3.5] == times(history, next_one)
    assert 2 == gone.produced


def test_who_leaves_the_line_is_never_moved() -> None:
    first, gone, last = Sequence(goal=2), Sequence(goal=1), Sequence(goal=1)
    history = play(PacedSchedule(1.0, Slots(1)), [(0.0, first), (0.1, gone), (0.2, last)], {gone: 0.5})
    assert [] == times(history, gone)
    assert [3.0] == times(history, last)


def test_without_a_pace_all_tokens_come_in_one_step() -> None:
    sequence = Sequence(goal=1000)
    assert [Moved(5.0, sequence, 1000)] == play(PacedSchedule(0.0, Slots()), [(5.0, sequence)])


def test_a_goal_of_nothing_is_reached_at_once_and_can_be_extended() -> None:
    schedule = PacedSchedule(1.0, Slots())
    sequence = Sequence(goal=0)
    schedule.join(sequence, 3.0)
    assert 3.0 == schedule.due()
    assert [sequence] == schedule.step()
    assert schedule.due() is None
    assert sequence in schedule.slots.running

    schedule.extend(sequence, 1, 7.0)
    assert 8.0 == schedule.due()
    assert [sequence] == schedule.step()
    assert 1 == sequence.produced


def test_a_goal_can_be_extended_while_the_sequence_waits_or_runs() -> None:
    schedule = PacedSchedule(1.0, Slots(1))
    running, waiting = Sequence(goal=1), Sequence(goal=1)
    schedule.join(running, 0.0)
    schedule.join(waiting, 0.0)
    schedule.extend(running, 2, 0.5)
    schedule.extend(waiting, 3, 0.5)
    assert [1.0, 2.0] == times(play_on(schedule), running)
    assert 3 == waiting.produced


def play_on(schedule: PacedSchedule) -> list[Moved]:
    return play(schedule, [])
