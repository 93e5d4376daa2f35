"""How an inbox bears what a server does to its stream and its answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from events.bus import Message
from events.words import Unavailable
from services.adapters.pubsub.connection import Place, connect
from services.adapters.pubsub.inbox import PubSubInbox
from services.adapters.pubsub.pulling.service import Flow
from tests.cloud.pubsub.opening import NEWS, nothing_comes, receive
from tests.cloud.pubsub.scripted import Script, ScriptedServer, delivery, ends, flat, scripted, stays

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_loop")]

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@asynccontextmanager
async def pulling(*scripts: Script, **given: Any) -> AsyncIterator[tuple[ScriptedServer, PubSubInbox]]:
    async with scripted(*scripts) as server:
        place = Place(project="test", emulator=server.address)
        channel = await connect(place)
        inbox = PubSubInbox(channel, place, [NEWS], **{"timeout_s": 2.0, **given})
        try:
            yield server, inbox
        finally:
            await inbox.close()
            await channel.close()


def ids(messages: list[Message]) -> list[str]:
    return [one.id for one in messages]


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.OK,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNKNOWN,
    ],
)
async def test_a_stream_that_ends_is_opened_again_by_the_same_client(code: grpc.StatusCode) -> None:
    scripts = (ends(code, delivery(("a", "a1"))), ends(code), stays(delivery(("b", "b1"))))
    async with pulling(*scripts) as (server, inbox):
        assert ["a", "b"] == ids(await receive(inbox, 1)) + ids(await receive(inbox, 1))

    assert 3 == len(server.opened)
    assert 1 == len({opened.client_id for opened in server.opened})


async def test_a_stream_says_how_much_it_takes_and_for_how_long() -> None:
    flow = Flow(max_messages=7, max_bytes=1_234)
    async with pulling(stays(delivery(("a", "a1"))), flow=flow) as (server, inbox):
        await receive(inbox)

    (opened,) = server.opened
    assert f"projects/test/subscriptions/{NEWS.name}" == opened.subscription
    assert (10, 7, 1_234) == (
        opened.stream_ack_deadline_seconds,
        opened.max_outstanding_messages,
        opened.max_outstanding_bytes,
    )


async def test_a_short_interruption_is_no_error_to_a_receiver_and_a_long_one_is() -> None:
    async with pulling(ends(UNAVAILABLE), timeout_s=0.5) as (_, inbox):
        began = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable, match=r"subscription news.reader \(unavailable"):
            await receive(inbox)

    assert asyncio.get_running_loop().time() - began > 0.5


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (grpc.StatusCode.NOT_FOUND, "no subscription news.reader; make it with: penstock topics apply"),
        (grpc.StatusCode.PERMISSION_DENIED, r"subscription news.reader \(permission denied"),
    ],
)
async def test_what_somebody_has_to_mend_is_told_at_once_and_forgotten_when_it_is_mended(
    code: grpc.StatusCode, told: str
) -> None:
    async with pulling(ends(code), ends(code), stays(delivery(("a", "a1")))) as (_, inbox):
        first, second = asyncio.create_task(receive(inbox)), asyncio.create_task(receive(inbox))
        for receiver in (first, second):
            with pytest.raises(Unavailable, match=told):
                await receiver
        with pytest.raises(Unavailable, match=told):
            await receive(inbox)
        assert ["a"] == ids(await receive(inbox))


async def test_an_ack_goes_at_once_and_those_given_meanwhile_go_together() -> None:
    deliveries = [(str(number), f"ack-{number}") for number in range(150)]
    async with pulling(stays(delivery(*deliveries))) as (server, inbox):
        server.delay_s = 0.05
        first, *others = await receive(inbox, 150)
        acking = asyncio.create_task(inbox.ack(NEWS.name, [first.id]))
        await asyncio.sleep(0.01)
        await asyncio.gather(acking, *(inbox.ack(NEWS.name, [one.id]) for one in others))

    assert sorted(ack_id for _, ack_id in deliveries) == sorted(flat(server.acked))
    assert [1, 149] == [len(call) for call in server.acked]
    assert [] == server.modified  # nothing was left to return


async def test_an_ack_that_fails_is_tried_again() -> None:
    async with pulling(stays(delivery(("a", "a1")))) as (server, inbox):
        await receive(inbox)
        server.will = [UNAVAILABLE, UNAVAILABLE]
        await inbox.ack(NEWS.name, ["a"])

    assert [["a1"]] * 3 == server.acked


async def test_an_ack_that_keeps_failing_is_unavailable_and_may_be_given_again() -> None:
    async with pulling(stays(delivery(("a", "a1"))), timeout_s=0.5) as (server, inbox):
        await receive(inbox)
        server.will = [UNAVAILABLE] * 1_000
        with pytest.raises(Unavailable, match=r"news\.reader"):
            await inbox.ack(NEWS.name, ["a"])
        server.will, server.acked = [], []
        await inbox.ack(NEWS.name, ["a"])
        await inbox.ack(NEWS.name, ["a"])  # done with: nothing to send

    assert [["a1"]] == server.acked


async def test_an_ack_whose_caller_left_is_sent_all_the_same() -> None:
    async with pulling(stays(delivery(("a", "a1"), ("b", "b1")))) as (server, inbox):
        server.delay_s = 0.05
        await receive(inbox)
        leaving = asyncio.create_task(inbox.ack(NEWS.name, ["a"]))
        await asyncio.sleep(0.01)
        leaving.cancel()
        await inbox.ack(NEWS.name, ["b"])

    assert [["a1"], ["b1"]] == server.acked


async def test_a_message_that_comes_again_meanwhile_is_not_handled_twice_and_acked_by_its_last_name() -> None:
    async with pulling(stays(delivery(("a", "a1")))) as (server, inbox):
        await receive(inbox)
        await server.more.put(delivery(("a", "a2")))
        assert await nothing_comes(inbox)
        await inbox.ack(NEWS.name, ["a"])

    assert [["a2"]] == server.acked


async def test_closing_returns_what_was_not_answered_and_ends_waiting() -> None:
    async with pulling(stays(delivery(("a", "a1"), ("b", "b1"), ("c", "c1")))) as (server, inbox):
        await receive(inbox, 2)
        await inbox.ack(NEWS.name, ["a"])
        await receive(inbox, 2)
        waiting = asyncio.create_task(receive(inbox))
        await asyncio.sleep(0)
        await inbox.close()
        with pytest.raises(Unavailable, match="no more"):
            await waiting
        with pytest.raises(Unavailable, match="no more"):
            await receive(inbox)

    assert [(0, ["b1", "c1"])] == server.modified


async def test_a_process_that_does_not_read_is_not_sent_more_than_it_takes() -> None:
    """Also by a server that does not keep to the limits, as the emulator: then the stream fills up."""
    body, count = b"x" * 100_000, 800  # far more than windows and sockets take
    deliveries = [delivery((str(number), f"ack-{number}"), data=body) for number in range(count)]
    async with pulling(stays(*deliveries), flow=Flow(max_messages=5)) as (server, inbox):
        first = await receive(inbox, 1)
        await asyncio.sleep(0.5)
        assert server.sent < count / 2
        found = ids(first)
        await inbox.ack(NEWS.name, found)
        while len(found) < count:
            some = ids(await receive(inbox))
            assert len(some) <= 5
            await inbox.ack(NEWS.name, some)
            found += some

    assert [str(number) for number in range(count)] == found


@pytest.mark.slow
async def test_leases_of_what_is_held_are_extended_and_of_what_was_answered_are_not() -> None:
    async with pulling(stays(delivery(("a", "a1"), ("b", "b1"), ("c", "c1")))) as (server, inbox):
        await receive(inbox, 2)
        await inbox.ack(NEWS.name, ["a"])
        await asyncio.sleep(5)
        assert [(10, ["b1", "c1"])] == server.modified
        server.will = [UNAVAILABLE]
        await asyncio.sleep(4.5)
        assert [(10, ["b1", "c1"])] * 3 == server.modified  # the second failed once
