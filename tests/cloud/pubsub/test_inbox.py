"""What the contract says of an inbox, with a server's clock, and what only Pub/Sub does."""

import asyncio
import time
from datetime import timedelta

import pytest

from events.bus import Message
from events.catalog import Retry, Subscription
from events.words import Invalid, Unavailable
from services.adapters.pubsub.pulling.service import Flow
from services.adapters.pubsub.watch import watching
from tests.cloud.pubsub.opening import (
    NEWS,
    Project,
    message,
    nothing_comes,
    receive,
    receive_all,
    soon,
    texts,
)
from tests.support.clock import now

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def declared(project: Project) -> None:
    await project.ensure()


async def test_a_message_arrives_as_it_was_published(project: Project) -> None:
    sent = Message(topic="news", attributes={"ce-id": "1", "x": "", "wörd": "世界"}, data=b"\x00\xff")
    began = now()
    await project.publisher().publish([sent])
    (found,) = await receive(project.inbox())

    assert (sent.topic, sent.attributes, sent.data) == (found.topic, found.attributes, found.data)
    assert found.id
    assert 1 == found.attempt
    assert found.published_at is not None
    assert abs(found.published_at - began) < timedelta(seconds=30)


async def test_a_message_may_have_no_body(project: Project) -> None:
    await project.publisher().publish([Message(topic="news", attributes={"ce-id": "1"}, data=b"")])

    assert b"" == (await receive(project.inbox()))[0].data


async def test_every_subscription_gets_its_own_copy(project: Project) -> None:
    late = Subscription(topic="news", consumer="late")
    await project.ensure(NEWS, late)
    await project.publisher().publish([message("a")])
    inbox = project.inbox(NEWS, late)

    assert ["a"] == texts(await receive(inbox))
    assert ["a"] == texts(await receive(inbox, name=late.name))


async def test_processes_share_the_messages_and_none_comes_twice(project: Project) -> None:
    inboxes = [project.inbox(flow=Flow(max_messages=20)) for _ in range(3)]
    seen: list[str] = []

    async def consume(inbox: object) -> None:
        while True:
            found = await receive(inbox, 7)
            seen.extend(texts(found))
            await inbox.ack(NEWS.name, [one.id for one in found])  # type: ignore[attr-defined]

    consumers = [asyncio.create_task(consume(inbox)) for inbox in inboxes]
    sent = [str(number) for number in range(200)]
    publisher = project.publisher()
    await asyncio.gather(*(publisher.publish([message(text)]) for text in sent))
    async with asyncio.timeout(15):
        while len(seen) < len(sent):
            await asyncio.sleep(0.01)
    for consumer in consumers:
        consumer.cancel()
    await asyncio.gather(*consumers, return_exceptions=True)

    assert sorted(sent) == sorted(seen)


async def test_a_refused_message_comes_again_and_its_attempts_are_counted(project: Project) -> None:
    await project.publisher().publish([message("a")])
    inbox = project.inbox()
    (first,) = await receive(inbox)
    await inbox.nack(NEWS.name, first.id)
    (second,) = await receive(inbox)

    assert (first.id, 2) == (second.id, second.attempt)


async def test_what_a_closing_process_did_not_answer_goes_to_another_at_once(project: Project) -> None:
    await project.publisher().publish([message(text) for text in "abc"])
    leaving = project.inbox()
    (found,) = await receive(leaving, 1)
    await leaving.ack(NEWS.name, [found.id])
    await receive(leaving, 1)
    began = time.monotonic()
    await leaving.close()

    assert {"a", "b", "c"} - set(texts([found])) == set(texts(await receive_all(project.inbox(), 2)))
    assert time.monotonic() - began < NEWS.retry.ack_deadline_s / 2


async def test_answers_that_come_late_or_twice_do_no_harm(project: Project) -> None:
    await project.publisher().publish([message("a")])
    inbox = project.inbox()
    (found,) = await receive(inbox)
    for _ in range(2):
        await inbox.ack(NEWS.name, [found.id, "nobody"])
    await inbox.nack(NEWS.name, found.id)
    await inbox.dead_letter(NEWS.name, found.id, "late")
    await inbox.ack(NEWS.name, [])
    await inbox.close()

    assert await nothing_comes(project.inbox())


@pytest.mark.slow
async def test_a_message_refused_at_its_last_attempt_goes_to_the_dead_letter_topic(project: Project) -> None:
    await project.publisher().publish([message("a")])
    inbox = project.inbox()
    for attempt in range(1, NEWS.retry.attempts + 1):
        (found,) = await receive(inbox)
        assert attempt == found.attempt
        await inbox.nack(NEWS.name, found.id)
    (dead,) = await project.dead_letters(1)

    assert ("a", "a") == (dead.data.decode(), dead.attributes["ce-id"])
    assert NEWS.name == dead.attributes["CloudPubSubDeadLetterSourceSubscription"]
    assert await nothing_comes(inbox)


async def test_a_message_nobody_can_handle_is_put_aside_at_once_with_the_reason(project: Project) -> None:
    await project.publisher().publish([message("bad"), message("good")])
    inbox = project.inbox()
    by_text: dict[str, Message] = {}
    while len(by_text) < 2:
        by_text |= {one.data.decode(): one for one in await receive(inbox)}
    await inbox.dead_letter(NEWS.name, by_text["bad"].id, "nicht lesbar: ä" + "x" * 2_000)
    await inbox.ack(NEWS.name, [by_text["good"].id])
    await inbox.close()
    (dead,) = await project.dead_letters(1)

    assert ("bad", "bad") == (dead.data.decode(), dead.attributes["ce-id"])
    assert dead.attributes["penstock-dead-reason"].startswith("nicht lesbar: ?xxx")
    assert (by_text["bad"].id, "1") == (
        dead.attributes["penstock-dead-message-id"],
        dead.attributes["penstock-dead-attempts"],
    )
    assert await nothing_comes(project.inbox())


async def test_a_message_with_all_attributes_there_can_be_is_put_aside_too(project: Project) -> None:
    full = Message(topic="news", attributes={f"a{number}": "" for number in range(100)}, data=b"x")
    await project.publisher().publish([full])
    inbox = project.inbox()
    (found,) = await receive(inbox)
    await inbox.dead_letter(NEWS.name, found.id, "no")
    (dead,) = await project.dead_letters(1)

    assert "no" == dead.attributes["penstock-dead-reason"]
    assert 100 == len(dead.attributes)


@pytest.mark.slow
async def test_a_message_too_large_for_its_reason_is_refused_until_pubsub_puts_it_aside(
    project: Project,
) -> None:
    await project.publisher().publish([Message(topic="news", attributes={}, data=b"x" * 9_999_900)])
    inbox = project.inbox()
    for _ in range(NEWS.retry.attempts):
        (found,) = await receive(inbox)
        await inbox.dead_letter(NEWS.name, found.id, "not JSON" * 100)
    (dead,) = await project.dead_letters(1)

    assert 9_999_900 == len(dead.data)


async def test_where_the_dead_letter_topic_is_missing_the_message_is_kept(project: Project) -> None:
    lone = Subscription(topic="news", consumer="lone", retry=Retry(ack_deadline_s=10))
    await project.ensure(NEWS, lone)
    project.server._topics.delete_topic({"topic": project.place.topic(lone.dead_letter_topic)})
    await project.publisher().publish([message("a")])
    inbox = project.inbox(lone)
    (found,) = await receive(inbox, name=lone.name)
    with pytest.raises(Unavailable, match=r"news\.lone\.dead; make it with: penstock topics apply"):
        await inbox.dead_letter(lone.name, found.id, "no")
    await inbox.nack(lone.name, found.id)

    assert ["a"] == texts(await receive(inbox, name=lone.name))


async def test_an_undeclared_subscription_is_invalid(project: Project) -> None:
    inbox = project.inbox()
    for answer in (
        inbox.receive("news.nobody", 1),
        inbox.ack("news.nobody", ["a"]),
        inbox.nack("news.nobody", "a"),
        inbox.dead_letter("news.nobody", "a", "no"),
    ):
        with pytest.raises(Invalid, match=r"news\.nobody"):
            await answer


async def test_a_subscription_pubsub_does_not_have_is_unavailable_until_it_is_made(project: Project) -> None:
    late = Subscription(topic="news", consumer="late")
    inbox = project.inbox(late)
    with pytest.raises(Unavailable, match=r"no subscription news\.late; make it with: penstock topics apply"):
        await receive(inbox, name=late.name)
    await project.ensure(late)
    await project.publisher().publish([message("a")])
    found: list[Message] = []
    while not found:
        try:
            found = await receive(inbox, name=late.name)
        except Unavailable:
            continue

    assert ["a"] == texts(found)


async def test_a_watch_shows_everything_published_since_it_began_and_leaves_nothing(project: Project) -> None:
    other = Subscription(topic="jobs", consumer="reader")
    await project.ensure(NEWS, other)
    before = project.server.read().subscriptions
    publisher = project.publisher()
    await publisher.publish([message("before")])
    async with watching(project.channel, project.place, ["news", "jobs"]) as watch:
        await publisher.publish([message("a"), message("b", "jobs")])
        assert ["a", "b"] == sorted(texts([await soon(anext(watch)), await soon(anext(watch))]))
        assert 2 == len(project.server.read().subscriptions) - len(before)
        mine = {one.name: one for one in project.server.read().subscriptions if "watch" in one.name}
        assert {86_400} == {one.expires_after_s for one in mine.values()}

    assert before == project.server.read().subscriptions
    assert ["a", "before"] == sorted(texts(await receive_all(project.inbox(), 2)))


async def test_a_closed_watch_ends_its_iteration(project: Project) -> None:
    async with watching(project.channel, project.place, ["news"]) as watch:
        reading = asyncio.create_task(anext(watch, None))
        await asyncio.sleep(0)

    assert await soon(reading) is None


async def test_watching_a_topic_that_is_missing_says_so_and_leaves_nothing(project: Project) -> None:
    before = project.server.read().subscriptions
    with pytest.raises(Unavailable, match="no topic nowhere; make it with: penstock topics apply"):
        async with watching(project.channel, project.place, ["news", "nowhere"]):
            pass

    assert before == project.server.read().subscriptions
