"""Messages on their way through a handler: published, acknowledged, come again, or put aside."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from events.bus import Message, message_of
from events.catalog import Retry, Subscription
from events.envelope import Envelope, Event, wrap
from events.inference import InferenceRequested
from events.jobs import JobDue
from events.requests import Owed
from events.words import Conflict, Invalid, Unavailable
from services.adapters.memory.bus import MemoryBus
from services.delivery.consumer import Consumer
from tests.support.client import PATIENCE_S
from tests.support.clock import now
from tests.support.platform import eventually

pytestmark = pytest.mark.anyio

IN = Subscription(topic="job-x", consumer="tested", retry=Retry(min_backoff_s=0.001, max_backoff_s=0.01))
OUT = Subscription(topic="inference-requested-v1", consumer="listener")
SAID = InferenceRequested(request_id="req_1", tenant="acme", model="gemma", lane="batch")


@dataclass(slots=True)
class World:
    """A bus, and a handler that fails as often as it is told to."""

    bus: MemoryBus = field(default_factory=lambda: MemoryBus(now))
    fails: list[Exception] = field(default_factory=list)
    handled: list[Envelope] = field(default_factory=list)
    says: Sequence[Event | Owed] = (SAID, SAID)

    async def handle(self, envelope: Envelope) -> Sequence[Event | Owed]:
        self.handled.append(envelope)
        if self.fails:
            raise self.fails.pop(0)
        return self.says

    async def hears(self, name: str = "1") -> None:
        """An event arrives."""
        event = JobDue(job="x", slot=now())
        await self.bus.publish([message_of(wrap(event, id=name, source="/test", time=now()), "job-x")])

    async def said(self) -> list[Message]:
        async with asyncio.timeout(PATIENCE_S):
            return await self.bus.receive(OUT.name, 10)

    async def done(self) -> None:
        """Waits until nothing is left to handle."""

        async def empty() -> bool:
            return (await self.bus.backlog())[IN.name] == 0

        await eventually(empty)


class BrokenInbox:
    """An inbox with a bug: it fails so many times before it works."""

    def __init__(self, bus: MemoryBus, fails: int) -> None:
        self._bus = bus
        self._fails = fails

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def receive(self, subscription_name: str, limit: int) -> list[Message]:
        if self._fails:
            self._fails -= 1
            raise RuntimeError("a bug")
        return await self._bus.receive(subscription_name, limit)


@asynccontextmanager
async def consuming(*, broken: int = 0) -> AsyncIterator[World]:
    world = World()
    await world.bus.ensure([IN, OUT])
    inbox = BrokenInbox(world.bus, broken)
    consumer = Consumer(inbox, world.bus, IN, world.handle, source="/functions/tested")
    task = asyncio.create_task(consumer.run())
    try:
        yield world
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_follows_is_published_and_the_message_acknowledged() -> None:
    async with consuming() as world:
        await world.hears()
        said = await world.said()
        await world.done()

    assert ["/functions/tested"] * 2 == [message.attributes["ce-source"] for message in said]
    assert 2 == len({message.attributes["ce-id"] for message in said})
    assert 1 == len(world.handled)


async def test_the_same_event_is_always_followed_by_the_same_ones() -> None:
    async with consuming() as world:
        await world.hears("same")
        first = await world.said()
        await world.hears("same")
        second = await world.said()

    assert [m.attributes["ce-id"] for m in first] == [m.attributes["ce-id"] for m in second]


@pytest.mark.parametrize("error", [Unavailable("later"), Conflict("moved"), RuntimeError("a bug")])
async def test_what_failed_for_now_comes_again(error: Exception) -> None:
    async with consuming() as world:
        world.fails = [error, error]
        await world.hears()
        await world.said()
        await world.done()

    assert 3 == len(world.handled)
    assert [] == await world.bus.dead_letters(10)


async def test_a_bug_is_given_another_chance_but_not_for_ever() -> None:
    async with consuming() as world:
        world.fails = [RuntimeError("a bug")] * 99
        await world.hears()
        await world.done()

    (dead,) = await world.bus.dead_letters(10)
    assert IN.retry.attempts == len(world.handled)
    assert f"Given up after {IN.retry.attempts} deliveries" in dead.reason


async def test_a_consumer_outlives_a_bug_in_its_inbox() -> None:
    async with consuming(broken=1) as world:
        await world.hears()
        await world.said()

    assert 1 == len(world.handled)


async def test_what_a_document_owes_is_said_as_it_stands_whatever_was_consumed() -> None:
    owed = Owed(topic=OUT.topic, attributes={"ce-id": "of the document"}, data=b"{}")
    async with consuming() as world:
        world.says = (owed, SAID)
        await world.hears()
        first, second = await world.said()

    assert owed == Owed(topic=first.topic, attributes=first.attributes, data=first.data)
    assert "/functions/tested" == second.attributes["ce-source"]


async def test_what_no_retry_can_mend_is_put_aside_with_the_reason() -> None:
    async with consuming() as world:
        world.fails = [Invalid("It makes no sense.")]
        await world.hears()
        await world.done()

    (dead,) = await world.bus.dead_letters(10)
    assert ("It makes no sense.", IN.name) == (dead.reason, dead.subscription)
    assert 1 == len(world.handled)


@pytest.mark.parametrize(
    "message",
    [
        Message(topic="job-x", attributes={}, data=b""),
        Message(topic="job-x", attributes={"ce-specversion": "1.0"}, data=b"{}"),
    ],
)
async def test_what_is_no_event_is_put_aside_and_disturbs_no_other(message: Message) -> None:
    async with consuming() as world:
        await world.bus.publish([message])
        await world.hears()
        await world.said()
        await world.done()

    assert 1 == len(await world.bus.dead_letters(10))
    assert 1 == len(world.handled)


async def test_a_message_that_fails_does_not_hold_up_those_behind_it() -> None:
    async with consuming() as world:
        world.fails = [Unavailable("later")] * 5
        for name in ("1", "2", "3"):
            await world.hears(name)
        await world.done()

    assert {"1", "2", "3"} == {envelope.id for envelope in world.handled}
