"""Which replica takes the next call."""

from collections import Counter
from collections.abc import Sequence

from services.pool.picker import Picker
from services.pool.replica import Replica


class Clock:
    time = 100.0

    def __call__(self) -> float:
        return self.time


def replicas(*in_flight: int, clock: Clock | None = None) -> list[Replica]:
    urls = [f"http://engine:{8000 + number}" for number in range(len(in_flight))]
    made = [Replica(url, clock=clock or Clock()) for url in urls]
    for replica, calls in zip(made, in_flight, strict=True):
        replica.in_flight = calls
    return made


def which(picker: Picker, some: list[Replica], tried: Sequence[Replica] = ()) -> Replica | None:
    picked = picker.pick(some, tried)
    return None if picked is None else picked.replica


def test_without_replicas_none_is_picked() -> None:
    assert Picker().pick([]) is None


def test_the_replica_with_the_fewest_calls_is_picked() -> None:
    few = replicas(3, 1, 2)

    assert few[1] is which(Picker(), few)


def test_equals_take_turns() -> None:
    picker, equals = Picker(), replicas(1, 1, 1)

    assert {2} == set(Counter(id(which(picker, equals)) for _ in range(6)).values())


def test_a_picker_survives_replicas_that_come_and_go() -> None:
    picker = Picker()
    for number in (3, 1, 2, 5, 1):
        assert picker.pick(replicas(*[0] * number)) is not None


def picks(picker: Picker, some: list[Replica], times: int = 6) -> list[int]:
    """Which were picked, by their place."""
    return [some.index(which(picker, some) or some[0]) for _ in range(times)]


def aside(replica: Replica, until: float) -> None:
    replica.aside_until = until


def test_a_replica_put_aside_is_passed_over_although_it_has_the_fewest_calls() -> None:
    some = replicas(0, 5, 6)
    aside(some[0], 110)

    assert [1] * 6 == picks(Picker(), some)


def test_the_others_take_turns_meanwhile() -> None:
    some = replicas(0, 0, 0)
    aside(some[1], 110)

    assert {0: 3, 2: 3} == dict(Counter(picks(Picker(), some)))


def test_a_replica_that_is_due_gets_one_call_as_a_trial() -> None:
    clock = Clock()
    some = replicas(0, 5, clock=clock)
    some[0].put_aside(100)
    clock.time = 102.0

    assert [0, 1, 1, 1] == picks(Picker(), some, 4)
    clock.time = 104.0  # nothing was heard of it: the next trial
    assert [0, 1] == picks(Picker(), some, 2)


def test_where_all_are_aside_the_one_due_soonest_is_tried() -> None:
    some = replicas(0, 0, 0)
    for replica, until in zip(some, (130, 110, 120), strict=True):
        aside(replica, until)

    assert some[1] is which(Picker(), some)


def test_a_single_replica_is_tried_whatever_happened() -> None:
    some = replicas(0)
    aside(some[0], 110)

    assert [0, 0] == picks(Picker(), some, 2)


def test_those_tried_already_are_left_out() -> None:
    some, picker = replicas(0, 1, 2), Picker()

    assert some[1] is which(picker, some, some[:1])
    assert some[2] is which(picker, some, some[:2])
    assert picker.pick(some, some) is None


def test_each_failed_trial_doubles_the_pause_up_to_a_bound() -> None:
    clock = Clock()
    (replica,) = replicas(0, clock=clock)
    pauses = []
    for _ in range(6):
        replica.put_aside(clock.time)
        pauses.append(replica.aside_until - clock.time)
        clock.time = replica.aside_until

    assert [2, 4, 8, 16, 30, 30] == pauses


def test_many_failures_at_once_are_one() -> None:
    clock = Clock()
    (replica,) = replicas(0, clock=clock)
    clock.time = 101.0
    for _ in range(64):
        replica.put_aside(100.0)  # they all began before the first of them failed

    assert 103 == replica.aside_until


def test_a_success_ends_it_and_the_next_pause_is_short_again() -> None:
    clock = Clock()
    (replica,) = replicas(0, clock=clock)
    for _ in range(3):
        replica.put_aside(clock.time)
        clock.time += 100
    replica.recovered()
    assert 0 == replica.aside_until
    replica.put_aside(clock.time)

    assert 2 == replica.aside_until - clock.time


def test_what_a_replica_takes_to_begin_is_forgotten_after_a_minute() -> None:
    clock = Clock()
    (replica,) = replicas(0, clock=clock)
    assert replica.begins_s is None
    replica.began_after(1.0)
    replica.began_after(2.0)
    assert 1.3 == replica.begins_s
    clock.time += 60
    assert replica.begins_s is None
    replica.began_after(5.0)
    assert 5.0 == replica.begins_s
