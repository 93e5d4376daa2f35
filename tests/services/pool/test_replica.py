"""Calls to an engine that behaves as it should: what it gets, what is heard, and how connections are kept."""

import asyncio

import pytest

from services.pool.flight import value_of
from services.pool.replica import Replica
from tests.services.pool.receiving import Heard
from tests.support import wire
from tests.support.upstream import (
    Upstream,
    answers,
    begins,
    closes,
    hangs,
    never_ends,
    says,
    streams,
    unreachable,
)

pytestmark = pytest.mark.anyio

PATH = "/v1/chat/completions"
WHOLE = ["sent", "responded", "received", "completed"]


def call(replica: Replica, body: bytes = b"{}", fields: bytes = b"") -> Heard:
    heard = Heard()
    replica.send(PATH, fields, body, heard)
    return heard


async def test_an_engine_gets_the_request_and_its_answer_is_heard_in_order(
    engine: Upstream, replica: Replica
) -> None:
    engine.will(answers(b'{"a": 1}', headers={"X-Load": "3"}))
    heard = await call(replica, b"body", b"x-one: 1\r\n").end()

    assert WHOLE == heard.news
    assert (200, b'{"a": 1}') == (heard.status, heard.body)
    assert b"3" == value_of(heard.headers, b"x-load")
    got = engine.calls[0]
    assert got.head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert ("1", "application/json") == (got.headers["x-one"], got.headers["content-type"])
    assert "identity" == got.headers["accept-encoding"]
    assert b"body" == got.body


async def test_a_streams_pieces_are_heard_without_their_coding(engine: Upstream, replica: Replica) -> None:
    engine.will(streams(wire.delta("a"), wire.delta("b"), wire.DONE))

    assert wire.delta("a") + wire.delta("b") + wire.DONE == (await call(replica).end()).body


async def test_a_connection_is_used_again(engine: Upstream, replica: Replica) -> None:
    for _ in range(5):
        assert WHOLE == (await call(replica).end()).news

    assert 1 == engine.accepted


async def test_calls_at_the_same_time_have_connections_of_their_own(
    engine: Upstream, replica: Replica
) -> None:
    heard = [call(replica, b"%d" % number) for number in range(10)]
    assert 10 == replica.in_flight
    for one in heard:
        await one.end()

    assert 10 == engine.accepted
    assert 0 == replica.in_flight


async def test_a_connection_the_engine_closes_is_not_used_again(engine: Upstream, replica: Replica) -> None:
    engine.will(answers(headers={"connection": "close"}), answers())
    await call(replica).end()

    assert WHOLE == (await call(replica).end()).news
    assert 2 == engine.accepted


async def test_a_body_may_end_with_the_connection(engine: Upstream, replica: Replica) -> None:
    engine.will(says(b"HTTP/1.1 200 OK\r\n\r\n", b"all ", b"of it", then=closes), answers())
    heard = await call(replica).end()

    assert ("completed", b"all of it") == (heard.news[-1], heard.body)
    assert WHOLE == (await call(replica).end()).news


async def test_interim_responses_are_passed_over(engine: Upstream, replica: Replica) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
    engine.will(says(*interim, wire.response(b"{}")))
    heard = await call(replica).end()

    assert (WHOLE, 200) == (heard.news, heard.status)
    assert b"link" not in dict(heard.headers)


async def test_a_response_may_come_byte_by_byte(engine: Upstream, replica: Replica) -> None:
    response = wire.response(b'{"slow": true}')
    engine.will(says(*(response[at : at + 1] for at in range(len(response)))))

    assert b'{"slow": true}' == (await call(replica).end()).body


async def test_a_call_on_a_connection_that_was_closed_while_idle_is_stale(
    engine: Upstream, replica: Replica
) -> None:
    await call(replica).end()
    engine.drop_idle()  # the call below is written before this is known here
    heard = await call(replica).end()

    assert ["sent", "failed"] == heard.news
    assert "stale" == heard.kind
    assert WHOLE == (await call(replica, b"again").end()).news
    assert [b"{}", b"again"] == [got.body for got in engine.calls]


async def test_after_a_stale_one_no_idle_connection_is_trusted(engine: Upstream, replica: Replica) -> None:
    both = call(replica), call(replica)
    for one in both:
        await one.end()
    engine.drop_idle()
    await call(replica).end()

    assert WHOLE == (await call(replica).end()).news


async def test_idle_connections_are_closed_on_both_sides_and_forgotten(
    engine: Upstream, replica: Replica
) -> None:
    await call(replica).end()
    replica.close()
    await engine.calls[0].left()

    assert WHOLE == (await call(replica).end()).news


# --- cancelling, in every phase


async def test_a_call_that_is_cancelled_while_it_connects_is_never_made(engine: Upstream) -> None:
    with unreachable() as url:
        replica, heard = Replica(url), Heard()
        flight = replica.send(PATH, b"", b"", heard)
        await asyncio.sleep(0.01)
        flight.cancel()
        await asyncio.sleep(0.01)

    assert ([], 0) == (heard.news, replica.in_flight)


async def test_a_call_that_is_cancelled_before_anything_happened_is_never_made(
    engine: Upstream, replica: Replica
) -> None:
    heard = Heard()
    replica.send(PATH, b"", b"", heard).cancel()
    await asyncio.sleep(0.01)

    assert ([], []) == (heard.news, engine.calls)


@pytest.mark.parametrize(
    ("script", "until"),
    [
        (hangs, "sent"),
        (says(b"HTTP/1.1 200", then=hangs), "sent"),
        (says(wire.STREAM_HEAD, then=hangs), "responded"),
        (begins(wire.delta("a")), "received"),
        (never_ends(wire.delta("a")), "received"),
    ],
    ids=["waiting", "in the head", "after the head", "in the body", "in a flood"],
)
async def test_an_engine_sees_at_once_that_nobody_waits_any_more(
    engine: Upstream, replica: Replica, script: object, until: str
) -> None:
    engine.will(script)  # type: ignore[arg-type]
    heard = Heard()
    flight = replica.send(PATH, b"", b"", heard)
    await heard.hears(until)
    got = await engine.call()
    flight.cancel()
    known = list(heard.news)

    await got.left()
    assert known == heard.news
    assert 0 == replica.in_flight


async def test_cancelling_what_is_over_does_nothing(engine: Upstream, replica: Replica) -> None:
    heard = Heard()
    flight = replica.send(PATH, b"", b"", heard)
    await heard.end()
    flight.cancel()

    assert WHOLE == (await call(replica).end()).news
    assert (1, 0) == (engine.accepted, replica.in_flight)


# --- back-pressure


async def test_an_engine_that_is_paused_feels_it_and_goes_on_when_resumed(
    engine: Upstream, replica: Replica
) -> None:
    engine.will(never_ends(wire.delta("x" * 10_000)))
    heard = Heard()
    flight = replica.send(PATH, b"", b"", heard)
    await heard.hears("received")
    flight.pause()
    await asyncio.sleep(0.05)
    size = len(heard.body)
    await asyncio.sleep(0.05)
    assert size == len(heard.body)

    flight.resume()
    async with asyncio.timeout(10):
        while len(heard.body) == size:
            await asyncio.sleep(0.001)
    flight.cancel()
