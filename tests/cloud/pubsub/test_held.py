from hypothesis import settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from events.bus import Message
from services.adapters.pubsub.pulling.held import Held


def held(hold_s: float = 60.0) -> Held:
    return Held(lease_s=10.0, hold_s=hold_s)


def message(name: str) -> Message:
    return Message(topic="news", attributes={}, data=b"x", id=name)


def ids(messages: list[Message]) -> list[str]:
    return [one.id for one in messages]


def test_messages_are_given_out_once_in_the_order_they_came() -> None:
    mine = held()
    for name in "abc":
        mine.take_in(message(name), f"{name}1", now=0.0)

    assert ["a", "b"] == ids(mine.give_out(2, now=1.0))
    assert ["c"] == ids(mine.give_out(2, now=1.0))
    assert [] == mine.give_out(2, now=1.0)


def test_a_message_that_comes_again_while_a_handler_has_it_is_only_answered_by_its_new_name() -> None:
    mine = held()
    mine.take_in(message("a"), "a1", now=0.0)
    mine.give_out(1, now=0.0)
    mine.take_in(message("a"), "a2", now=11.0)

    assert [] == mine.give_out(1, now=11.0)
    assert ["a2"] == mine.answer(["a"])


def test_a_message_that_comes_again_after_its_answer_was_lost_is_given_out_again() -> None:
    mine = held()
    mine.take_in(message("a"), "a1", now=0.0)
    mine.give_out(1, now=0.0)
    mine.answer(["a"])
    mine.take_in(message("a"), "a2", now=11.0)

    assert ["a"] == ids(mine.give_out(1, now=11.0))


def test_an_answer_that_failed_can_be_given_again_until_the_lease_ends() -> None:
    mine = held()
    mine.take_in(message("a"), "a1", now=0.0)
    mine.give_out(1, now=0.0)

    assert ["a1"] == mine.answer(["a", "unknown"])
    mine.forget_expired(now=9.9)
    assert ["a1"] == mine.answer(["a"])
    mine.forget_expired(now=10.0)
    assert [] == mine.answer(["a"])


def test_leases_are_extended_from_a_third_of_their_time_until_the_message_was_held_too_long() -> None:
    mine = held(hold_s=30.0)
    mine.take_in(message("a"), "a1", now=0.0)

    assert [] == mine.to_extend(now=3.0)
    assert ["a1"] == mine.to_extend(now=3.4)
    mine.extended(["a1"], now=3.4)
    assert [] == mine.to_extend(now=5.0)
    assert ["a1"] == mine.to_extend(now=29.9)
    assert [] == mine.to_extend(now=30.0)


def test_what_was_answered_is_not_extended() -> None:
    mine = held()
    mine.take_in(message("a"), "a1", now=0.0)
    mine.answer(["a"])

    assert [] == mine.to_extend(now=5.0)


def test_an_unread_message_whose_lease_ended_is_not_given_out() -> None:
    mine = held()
    mine.take_in(message("a"), "a1", now=0.0)

    assert [] == mine.give_out(1, now=10.0)
    assert 0 == len(mine)


def test_what_a_handler_has_stays_known_without_a_lease_until_it_was_held_too_long() -> None:
    mine = held(hold_s=30.0)
    mine.take_in(message("a"), "a1", now=0.0)
    mine.give_out(1, now=0.0)
    mine.forget_expired(now=29.0)
    assert ["a1"] == mine.to_extend(now=29.0)  # the connection may be back
    mine.forget_expired(now=30.0)

    assert 0 == len(mine)
    mine.take_in(message("a"), "a2", now=31.0)
    assert ["a"] == ids(mine.give_out(1, now=31.0))


def test_what_comes_again_after_it_was_held_too_long_is_given_out_again_at_once() -> None:
    mine = held(hold_s=5.0)
    mine.take_in(message("a"), "a1", now=0.0)
    mine.give_out(1, now=0.0)
    mine.take_in(message("a"), "a2", now=9.9)

    assert ["a"] == ids(mine.give_out(1, now=9.9))


def test_giving_up_returns_what_was_not_answered() -> None:
    mine = held()
    for name in "abc":
        mine.take_in(message(name), f"{name}1", now=0.0)
    mine.give_out(1, now=0.0)
    mine.answer(["b"])

    assert ["a1", "c1"] == list(mine.give_up())
    assert (0, 0, []) == (len(mine), mine.bytes, mine.give_out(9, now=0.0))


def test_bodies_count_until_they_are_answered_and_heard() -> None:
    mine = held()
    mine.take_in(message("a"), "a1", now=0.0)
    mine.take_in(message("a"), "a2", now=0.0)
    mine.answer(["a"])
    assert 1 == mine.bytes
    mine.forget_answered(["a", "unknown"])
    assert 0 == mine.bytes


class Deliveries(RuleBasedStateMachine):
    """Whatever comes, is read, answered or forgotten in whatever order: nobody gets what another has."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.held = held(hold_s=25.0)
        self.out: dict[str, float] = {}  # by message id: when it came
        self.came: dict[str, float] = {}
        self.number = 0

    @rule(name=some.sampled_from("abc"))
    def comes(self, name: str) -> None:
        self.number += 1
        self.held.take_in(message(name), f"{name}{self.number}", self.now)
        if name not in self.out:
            self.came[name] = self.now

    @rule(limit=some.integers(1, 3))
    def reads(self, limit: int) -> None:
        given = self.held.give_out(limit, self.now)
        assert len(given) <= limit
        for one in given:
            assert one.id not in self.out or self.now >= self.out[one.id] + 25.0
            self.out[one.id] = self.came[one.id]

    @rule(name=some.sampled_from("abc"), heard=some.booleans())
    def answers(self, name: str, heard: bool) -> None:
        names = self.held.answer([name])
        assert all(one.startswith(name) for one in names)
        if heard:
            self.held.forget_answered([name])
        self.out.pop(name, None)

    @rule(seconds=some.sampled_from([0.5, 3.5, 10.0, 26.0]), extended=some.booleans())
    def passes(self, seconds: float, extended: bool) -> None:
        self.now += seconds
        self.held.forget_expired(self.now)
        if extended:
            self.held.extended(self.held.to_extend(self.now), self.now)

    @invariant()
    def holds_no_more_than_came(self) -> None:
        assert len(self.held) <= 3


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(max_examples=30, stateful_step_count=30)
