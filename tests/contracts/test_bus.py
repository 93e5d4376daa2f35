import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import timedelta

import pytest

from events.bus import Message
from events.catalog import Retry, Subscription
from events.words import Invalid
from tests.contracts.adapters import START, Bus, Clock

pytestmark = pytest.mark.anyio

RETRY = Retry(ack_deadline_s=10, min_backoff_s=1.0, max_backoff_s=5.0, attempts=4)
SUBSCRIPTION = Subscription(topic="news", consumer="reader", retry=RETRY)
READER = SUBSCRIPTION.name
MOMENT_S = 0.02
SOON_S = 5.0  # an upper bound that only a lost message ever reaches


def message(text: str, topic: str = "news") -> Message:
    return Message(topic=topic, attributes={"ce-id": text}, data=text.encode())


def texts(messages: Sequence[Message]) -> list[str]:
    return [message.data.decode() for message in messages]


async def receive(bus: Bus, limit: int = 10, name: str = READER) -> list[Message]:
    async with asyncio.timeout(SOON_S):
        return await bus.receive(name, limit)


async def nothing_comes(bus: Bus, name: str = READER) -> bool:
    try:
        async with asyncio.timeout(MOMENT_S):
            await bus.receive(name, 10)
    except TimeoutError:
        return True
    return False


async def waiting(bus: Bus, limit: int = 10) -> asyncio.Task[list[Message]]:
    task = asyncio.create_task(receive(bus, limit))
    await asyncio.sleep(MOMENT_S)
    return task


@pytest.fixture(autouse=True)
async def subscribed(bus: Bus) -> None:
    await bus.ensure([SUBSCRIPTION])


async def test_a_message_arrives_as_it_was_published(bus: Bus) -> None:
    await bus.publish([Message(topic="news", attributes={"ce-id": "1", "x": ""}, data=b"\x00\xff")])
    (found,) = await receive(bus)

    assert (found.topic, found.attributes, found.data) == ("news", {"ce-id": "1", "x": ""}, b"\x00\xff")
    assert (found.published_at, found.attempt) == (START, 1)
    assert found.id


async def test_messages_come_oldest_first_and_at_most_as_many_as_asked_for(bus: Bus) -> None:
    await bus.publish([message("a"), message("b")])
    await bus.publish([message("c")])

    assert texts(await receive(bus, limit=2)) == ["a", "b"]
    assert texts(await receive(bus, limit=2)) == ["c"]


async def test_each_subscription_gets_its_own_copy_of_what_follows_its_declaration(bus: Bus) -> None:
    await bus.publish([message("early")])
    late = Subscription(topic="news", consumer="late", retry=RETRY)
    await bus.ensure([late, SUBSCRIPTION])
    await bus.publish([message("news"), message("other", topic="elsewhere")])

    assert texts(await receive(bus)) == ["early", "news"]
    assert texts(await receive(bus, name=late.name)) == ["news"]
    assert {READER: 2, late.name: 1} == await bus.backlog()


async def test_an_acknowledged_message_never_comes_again(bus: Bus, clock: Clock) -> None:
    await bus.publish([message("a"), message("b")])
    found = await receive(bus)
    await bus.ack(READER, [found[0].id])
    clock.forward(10)

    assert texts(await receive(bus)) == ["b"]
    assert await bus.backlog() == {READER: 1}


async def test_acknowledging_is_idempotent_and_survives_unknown_ids(bus: Bus) -> None:
    await bus.publish([message("a")])
    (found,) = await receive(bus)
    for _ in range(2):
        await bus.ack(READER, [found.id, "nobody"])
    await bus.nack(READER, found.id)
    await bus.dead_letter(READER, found.id, "late")
    await bus.ack(READER, [])

    assert await bus.backlog() == {READER: 0}
    assert await bus.dead_letters(10) == []


async def test_a_message_comes_again_from_the_moment_its_lease_ends(bus: Bus, clock: Clock) -> None:
    await bus.publish([message("a")])
    (first,) = await receive(bus)

    clock.forward(9.999999)
    assert await nothing_comes(bus)
    clock.forward(0.000001)
    (second,) = await receive(bus)
    assert (first.id, 2) == (second.id, second.attempt)


async def test_a_late_ack_ends_a_message_that_was_leased_again(bus: Bus, clock: Clock) -> None:
    await bus.publish([message("a")])
    (first,) = await receive(bus)
    clock.forward(10)
    await receive(bus)
    await bus.ack(READER, [first.id])
    clock.forward(10)

    assert await nothing_comes(bus)
    assert await bus.backlog() == {READER: 0}


async def test_older_messages_that_come_again_come_before_younger_ones(bus: Bus, clock: Clock) -> None:
    await bus.publish([message("a"), message("b")])
    await receive(bus, limit=1)
    clock.forward(10)
    await bus.publish([message("c")])

    assert texts(await receive(bus)) == ["a", "b", "c"]


async def test_refused_messages_come_again_after_a_backoff_that_doubles(bus: Bus, clock: Clock) -> None:
    patient = Retry(ack_deadline_s=10, min_backoff_s=1.0, max_backoff_s=5.0, attempts=10)
    await bus.ensure([Subscription(topic="news", consumer="reader", retry=patient)])
    await bus.publish([message("a")])
    for attempt, backoff_s in enumerate([1, 2, 4, 5, 5], start=1):
        (found,) = await receive(bus)
        assert attempt == found.attempt
        await bus.nack(READER, found.id)
        clock.forward(backoff_s - 0.001)
        assert await nothing_comes(bus)
        clock.forward(0.001)


async def test_a_message_refused_at_its_last_attempt_becomes_a_dead_letter(bus: Bus, clock: Clock) -> None:
    await bus.publish([message("a")])
    for _ in range(RETRY.attempts):
        (found,) = await receive(bus)
        await bus.nack(READER, found.id)
        clock.forward(5)
    (dead,) = await bus.dead_letters(10)

    assert (READER, START + timedelta(seconds=15)) == (dead.subscription, dead.dead_at)
    assert found == dead.message
    assert "4 deliveries" in dead.reason
    assert await bus.backlog() == {READER: 0}


async def test_a_message_never_answered_becomes_a_dead_letter(bus: Bus, clock: Clock) -> None:
    await bus.publish([message("a")])
    for _ in range(RETRY.attempts):
        await receive(bus)
        clock.forward(10)

    assert await nothing_comes(bus)
    (dead,) = await bus.dead_letters(10)
    assert ("a", RETRY.attempts) == (dead.message.data.decode(), dead.message.attempt)
    assert "10 s" in dead.reason


async def test_a_message_nobody_can_handle_is_put_aside_at_once_with_the_reason(bus: Bus) -> None:
    await bus.publish([message("bad"), message("good"), message("worse")])
    bad, good, worse = await receive(bus)
    await bus.dead_letter(READER, bad.id, "not JSON")
    await bus.dead_letter(READER, worse.id, "not even text")
    await bus.ack(READER, [good.id])

    assert await bus.backlog() == {READER: 0}
    assert [(worse, "not even text"), (bad, "not JSON")] == [
        (dead.message, dead.reason) for dead in await bus.dead_letters(10)
    ]
    assert [worse] == [dead.message for dead in await bus.dead_letters(1)]


async def test_a_dead_letter_put_back_starts_again_at_its_first_attempt(bus: Bus) -> None:
    await bus.publish([message("a")])
    (first,) = await receive(bus)
    await bus.dead_letter(READER, first.id, "too early")
    (dead,) = await bus.dead_letters(10)
    receiver = await waiting(bus)

    assert await bus.replay(dead.id)
    assert [first] == await receiver
    assert await bus.dead_letters(10) == []
    assert not await bus.replay(dead.id)


async def test_a_dead_letter_is_forgotten_after_a_month(bus: Bus, clock: Clock) -> None:
    await bus.publish([message("old"), message("young")])
    old, young = await receive(bus)
    await bus.dead_letter(READER, old.id, "bad")
    clock.forward(timedelta(days=1).total_seconds())
    await bus.dead_letter(READER, young.id, "bad")
    kept = await bus.dead_letters(10)
    clock.forward(timedelta(days=30).total_seconds())

    assert ["young", "old"] == texts([dead.message for dead in kept])
    assert ["young"] == texts([dead.message for dead in await bus.dead_letters(10)])
    assert [True, False] == [await bus.replay(dead.id) for dead in kept]
    assert ["young"] == texts(await receive(bus))


async def test_a_waiting_receiver_is_woken_by_a_publisher(bus: Bus, clock: Clock) -> None:
    receiver = await waiting(bus)
    await bus.publish([message("a")])
    (found,) = await receiver

    assert (found.data.decode(), found.attempt, found.published_at) == ("a", 1, START)
    assert await nothing_comes(bus)
    clock.forward(10)
    (again,) = await receive(bus)
    assert (found.id, 2) == (again.id, again.attempt)


async def test_more_than_a_waiting_receiver_asked_for_is_left_for_the_next(bus: Bus) -> None:
    receiver = await waiting(bus, limit=2)
    await bus.publish([message(text) for text in "abcd"])

    assert texts(await receiver) == ["a", "b"]
    assert texts(await receive(bus)) == ["c", "d"]


async def test_receivers_that_wait_together_share_what_comes(bus: Bus) -> None:
    receivers = [await waiting(bus, limit=1) for _ in range(3)]
    await bus.publish([message(text) for text in "abc"])

    found = await asyncio.gather(*receivers)

    assert sorted(texts(messages) for messages in found) == [["a"], ["b"], ["c"]]


async def test_every_message_of_many_publishers_is_delivered_once(bus: Bus) -> None:
    seen: list[str] = []

    async def consume() -> None:
        while True:
            found = await bus.receive(READER, 7)
            seen.extend(texts(found))
            await bus.ack(READER, [m.id for m in found])

    consumers = [asyncio.create_task(consume()) for _ in range(3)]
    sent = [str(number) for number in range(200)]
    await asyncio.gather(*(bus.publish([message(text)]) for text in sent))
    async with asyncio.timeout(SOON_S):
        while (await bus.backlog())[READER]:
            await asyncio.sleep(0.001)
    for consumer in consumers:
        consumer.cancel()
    await asyncio.gather(*consumers, return_exceptions=True)

    assert sorted(sent) == sorted(seen)


@pytest.mark.parametrize("pause_s", [0, 0.0001, 0.0005, 0.001, 0.002])
async def test_what_a_receiver_that_left_would_have_got_goes_to_the_next(bus: Bus, pause_s: float) -> None:
    for number in range(5):
        receiver = await waiting(bus) if number % 2 else asyncio.create_task(receive(bus))
        publisher = asyncio.create_task(bus.publish([message("a")]))
        await asyncio.sleep(pause_s)
        receiver.cancel()
        found = await asyncio.gather(receiver, return_exceptions=True)
        await publisher
        got = found[0] if isinstance(found[0], list) else await receive(bus)
        assert texts(got) == ["a"]
        await bus.ack(READER, [got[0].id])


@pytest.mark.parametrize("pause_s", [0, 0.0001, 0.001])
async def test_a_publisher_that_left_publishes_all_the_same_or_not_at_all(bus: Bus, pause_s: float) -> None:
    receiver = await waiting(bus)
    publisher = asyncio.create_task(bus.publish([message("a")]))
    await asyncio.sleep(pause_s)
    publisher.cancel()
    await asyncio.gather(publisher, return_exceptions=True)
    await bus.publish([message("b")])
    stored = (await bus.backlog())[READER]
    found = await receiver
    while len(found) < stored:
        found += await receive(bus)

    assert sorted(texts(found)) in (["b"], ["a", "b"])


async def test_what_waits_for_a_receiver_that_left_is_not_delivered_under_a_lease_that_ended(
    bus: Bus, clock: Clock
) -> None:
    receiver = await waiting(bus)
    publisher = asyncio.create_task(bus.publish([message("a")]))
    await asyncio.sleep(0)
    receiver.cancel()
    await publisher
    clock.forward(10)

    assert texts(await receive(bus)) == ["a"]
    assert await nothing_comes(bus)


async def test_ending_all_leases_brings_the_messages_back_with_their_attempts_counted(bus: Bus) -> None:
    await bus.publish([message("a"), message("b")])
    await receive(bus, limit=1)
    for attempt in (2, 3, 4):
        await bus.release_all()
        (found, *_) = await receive(bus, limit=1)
        assert ("a", attempt) == (found.data.decode(), found.attempt)
    await bus.release_all()

    assert texts(await receive(bus)) == ["b"]
    assert [dead.message.data.decode() for dead in await bus.dead_letters(10)] == ["a"]


async def test_ending_all_leases_leaves_a_backoff_as_it_is(bus: Bus) -> None:
    await bus.publish([message("a")])
    (found,) = await receive(bus)
    await bus.nack(READER, found.id)
    await bus.release_all()

    assert await nothing_comes(bus)


async def test_an_undeclared_subscription_is_invalid(bus: Bus) -> None:
    with pytest.raises(Invalid, match="nobody"):
        await bus.receive("news.nobody", 1)
    with pytest.raises(Invalid, match="nobody"):
        await bus.ack("news.nobody", ["a"])


async def test_a_watch_shows_everything_published_since_it_began(bus: Bus) -> None:
    await bus.publish([message("before")])
    async with aclosing(bus.watch()) as watch, asyncio.timeout(SOON_S):
        await bus.publish([message("a"), message("unread", topic="nobody-subscribes")])
        assert texts([await anext(watch), await anext(watch)]) == ["a", "unread"]

        reading = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        await bus.publish([message("b")])
        assert texts([await reading]) == ["b"]


async def test_a_slow_watch_loses_the_oldest_and_holds_nobody_up(bus: Bus) -> None:
    async with aclosing(bus.watch()) as watch:
        await bus.publish([message(str(number)) for number in range(1_100)])

        assert (await anext(watch)).data.decode() == "100"


async def test_closing_a_watch_ends_it(bus: Bus) -> None:
    watch = bus.watch()
    reading = asyncio.create_task(_all(watch))
    await bus.publish([message("a")])
    await asyncio.sleep(MOMENT_S)
    await watch.aclose()
    await bus.publish([message("b")])

    assert texts(await reading) == ["a"]


async def _all(watch: AsyncIterator[Message]) -> list[Message]:
    return [message async for message in watch]


async def test_a_waiting_receiver_wakes_by_itself_when_a_lease_ends(bus: Bus, clock: Clock) -> None:
    await bus.publish([message("a")])
    (first,) = await receive(bus)
    clock.forward(10 - 2 * MOMENT_S)
    receiver = await waiting(bus)
    clock.forward(2 * MOMENT_S)
    (second,) = await receiver

    assert (first.id, 2) == (second.id, second.attempt)


async def test_a_waiting_receiver_wakes_by_itself_when_a_backoff_ends(bus: Bus, clock: Clock) -> None:
    quick = Retry(ack_deadline_s=10, min_backoff_s=2 * MOMENT_S)
    await bus.ensure([Subscription(topic="news", consumer="reader", retry=quick)])
    await bus.publish([message("a")])
    (first,) = await receive(bus)
    receiver = await waiting(bus)
    await bus.nack(READER, first.id)
    await asyncio.sleep(MOMENT_S)
    clock.forward(2 * MOMENT_S)
    (second,) = await receiver

    assert (first.id, 2) == (second.id, second.attempt)
