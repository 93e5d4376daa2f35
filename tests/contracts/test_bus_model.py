"""Any order of steps on a bus, against a model of one subscription that is easy to believe."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.bus import Message
from events.catalog import Retry, Subscription
from tests.contracts.adapters import BUSES, Bus, Clock, Opener, wall_clock
from tests.support.examples import at_most

pytestmark = pytest.mark.anyio

LEASE_S = 10
SUBSCRIPTION = Subscription(
    topic="news",
    consumer="reader",
    retry=Retry(ack_deadline_s=LEASE_S, min_backoff_s=2.0, max_backoff_s=5.0, attempts=3),
)
READER = SUBSCRIPTION.name
BACKOFFS_S = [2.0, 4.0]
ENOUGH = 1_000

Step: TypeAlias = tuple[str, int]


@dataclass
class Copy:
    """What the model knows of a message."""

    text: str
    attempt: int = 0
    due_s: float = 0.0
    id: str = ""


@dataclass
class Model:
    """One subscription, told in the fewest words."""

    now_s: float = 0.0
    copies: list[Copy] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    published: int = 0

    def due(self) -> list[Copy]:
        return [copy for copy in self.copies if copy.due_s <= self.now_s]

    def give_up_unanswered(self) -> None:
        for copy in self.due():
            if copy.attempt == 3:
                self.bury(copy)

    def lease(self, limit: int) -> list[Copy]:
        self.give_up_unanswered()
        leased = self.due()[:limit]
        for copy in leased:
            copy.attempt += 1
            copy.due_s = self.now_s + LEASE_S
        return leased

    def refuse(self, copy: Copy) -> None:
        if copy.attempt == 3:
            self.bury(copy)
        else:
            copy.due_s = self.now_s + BACKOFFS_S[copy.attempt - 1]

    def bury(self, copy: Copy) -> None:
        self.copies.remove(copy)
        self.dead.append(copy.text)

    def delivered(self, number: int) -> Copy | None:
        known = [copy for copy in self.copies if copy.id]
        return known[number % len(known)] if known else None


class Pair:
    """A bus and its model, taking the same steps."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self.bus = bus
        self.clock = clock
        self.model = Model()

    async def take(self, step: Step) -> None:
        what, number = step
        match what:
            case "publish":
                await self.publish(number)
            case "receive":
                await self.receive(number)
            case "forward":
                self.clock.forward(number)
                self.model.now_s += number
            case answer:
                await self.answer(answer, self.model.delivered(number))

    async def publish(self, number: int) -> None:
        new = [Copy(text=str(self.model.published + n), due_s=self.model.now_s) for n in range(number)]
        self.model.published += number
        self.model.copies += new
        await self.bus.publish([_message(copy.text) for copy in new])

    async def receive(self, limit: int) -> None:
        expected = self.model.lease(limit)
        if not expected:
            return
        async with asyncio.timeout(5):
            found = await self.bus.receive(READER, limit)
        assert [(copy.text, copy.attempt) for copy in expected] == [
            (message.data.decode(), message.attempt) for message in found
        ]
        for copy, message in zip(expected, found, strict=True):
            copy.id = message.id

    async def answer(self, answer: str, copy: Copy | None) -> None:
        if copy is None:
            return
        match answer:
            case "ack":
                self.model.copies.remove(copy)
                await self.bus.ack(READER, [copy.id, copy.id])
            case "nack":
                self.model.refuse(copy)
                await self.bus.nack(READER, copy.id)
            case "dead":
                self.model.bury(copy)
                await self.bus.dead_letter(READER, copy.id, "unreadable")

    async def compare(self) -> None:
        await self.publish(1)  # so that there is something to receive
        await self.receive(ENOUGH)
        assert {READER: len(self.model.copies)} == await self.bus.backlog()
        dead = await self.bus.dead_letters(ENOUGH)
        assert sorted(self.model.dead) == sorted(letter.message.data.decode() for letter in dead)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 3)),
        st.tuples(st.just("receive"), st.integers(1, 4)),
        st.tuples(st.just("forward"), st.sampled_from([1, 2, 4, 10])),
        st.tuples(st.sampled_from(["ack", "nack", "nack", "dead"]), st.integers(0, 5)),
    ),
    max_size=30,
)


# The clock of Pub/Sub cannot be moved.
OURS = {name: open_bus for name, open_bus in BUSES.items() if name != "pubsub"}


def _message(text: str) -> Message:
    return Message(topic="news", attributes={}, data=text.encode())


@pytest.mark.parametrize("open_bus", OURS.values(), ids=list(OURS))
@at_most(30)
@given(steps=STEPS)
async def test_a_bus_does_what_its_model_does(open_bus: Opener[Bus], steps: list[Step]) -> None:
    clock = Clock()
    with TemporaryDirectory() as folder:
        async with open_bus(Path(folder), clock) as bus:
            await bus.ensure([SUBSCRIPTION])
            pair = Pair(bus, clock)
            for step in steps:
                await pair.take(step)
            await pair.compare()


async def test_a_receiver_that_waited_before_there_was_a_message_sees_its_lease_end(tmp_path: Path) -> None:
    await asyncio.gather(*(_left_alone(open_bus, tmp_path) for open_bus in OURS.values()))


async def _left_alone(open_bus: Opener[Bus], folder: Path) -> None:
    quick = Subscription(topic="news", consumer="reader", retry=Retry(ack_deadline_s=1))
    async with open_bus(folder, wall_clock) as bus, asyncio.timeout(5):
        await bus.ensure([quick])
        receivers = [asyncio.create_task(bus.receive(READER, 1)) for _ in range(2)]
        await asyncio.sleep(0.02)
        await bus.publish([_message("a")])
        found = await asyncio.gather(*receivers)

    assert sorted(messages[0].attempt for messages in found) == [1, 2]
