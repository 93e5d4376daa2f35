"""Which replica takes the next call."""

from collections import Counter

from services.pool.picker import LeastOutstanding
from services.pool.replica import Replica


def replicas(*in_flight: int) -> list[Replica]:
    made = [Replica(f"http://engine:{8000 + number}") for number in range(len(in_flight))]
    for replica, calls in zip(made, in_flight, strict=True):
        replica.in_flight = calls
    return made


def test_without_replicas_none_is_picked() -> None:
    assert LeastOutstanding().pick([]) is None


def test_the_replica_with_the_fewest_calls_is_picked() -> None:
    few = replicas(3, 1, 2)

    assert few[1] is LeastOutstanding().pick(few)


def test_equals_take_turns() -> None:
    picker, equals = LeastOutstanding(), replicas(1, 1, 1)

    assert {2} == set(Counter(id(picker.pick(equals)) for _ in range(6)).values())


def test_a_picker_survives_replicas_that_come_and_go() -> None:
    picker = LeastOutstanding()
    for number in (3, 1, 2, 5, 1):
        assert picker.pick(replicas(*[0] * number)) is not None
