"""Engines that fail, in every way they can: each call is heard to fail once, and spoils no other."""

import asyncio

import pytest

from services.pool.replica import FAILURES, FIRST_ASIDE_S, Replica
from tests.services.pool.receiving import Heard
from tests.support import wire
from tests.support.upstream import (
    Call,
    Script,
    Upstream,
    answers,
    begins,
    closes,
    hangs,
    resets,
    says,
    unreachable,
)

pytestmark = pytest.mark.anyio

PATH = "/v1/chat/completions"
PART = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def call(replica: Replica, body: bytes = b"{}") -> Heard:
    heard = Heard()
    replica.send(PATH, b"", body, heard)
    return heard


async def test_an_engine_that_refuses_connections(engine: Upstream, replica: Replica) -> None:
    await engine.refuse()
    heard = await call(replica).end()

    assert (["failed"], "connect") == (heard.news, heard.kind)
    assert heard.failure is not None
    assert engine.url in heard.failure.message


async def test_an_engine_whose_name_is_unknown() -> None:
    heard = await call(Replica("http://no-such-host.invalid:80")).end()

    assert (["failed"], "connect") == (heard.news, heard.kind)


async def test_an_engine_that_comes_back_is_used_again(engine: Upstream, replica: Replica) -> None:
    await call(replica).end()
    await engine.refuse()
    assert "connect" == (await call(replica).end()).kind
    await engine.listen()

    assert "completed" == (await call(replica).end()).news[-1]


async def test_an_engine_is_put_aside_while_it_refuses_connections(
    engine: Upstream, replica: Replica
) -> None:
    await call(replica).end()
    assert not replica.aside_until
    await engine.refuse()
    await call(replica).end()
    assert replica.aside_until > replica.now()
    await engine.listen()
    await call(replica).end()

    assert not replica.aside_until


@pytest.mark.parametrize(("waited_s", "aside"), [(0.5, False), (1.5, True)])
async def test_an_engine_whose_connection_is_given_up_late_is_put_aside(waited_s: float, aside: bool) -> None:
    time = 100.0
    with unreachable() as url:
        replica = Replica(url, clock=lambda: time)
        flight = replica.send(PATH, b"", b"{}", Heard())
        await asyncio.sleep(0.01)
        time += waited_s
        flight.cancel()
        await asyncio.sleep(0.01)

    assert aside is bool(replica.aside_until)


FAILS: dict[str, Script] = {
    "it answers with 500": answers(b"{}", 500),
    "it hangs up": closes,
    "it speaks another protocol": says(b"220 smtp.example ESMTP\r\n"),
    "it begins an answer and breaks off": says(PART, b"12345", then=closes),
}


@pytest.mark.parametrize("script", FAILS.values(), ids=FAILS)
async def test_an_engine_that_fails_again_and_again_is_put_aside(engine: Upstream, script: Script) -> None:
    time = 100.0
    replica = Replica(engine.url, clock=lambda: time)
    engine.always = script
    for _ in range(FAILURES - 1):
        await call(replica).end()
        assert not replica.aside_until
    await call(replica).end()
    assert time + FIRST_ASIDE_S == replica.aside_until

    time = replica.aside_until  # one is let through to see
    await call(replica).end()
    assert time + 2 * FIRST_ASIDE_S == replica.aside_until

    engine.always = answers()
    await call(replica).end()
    assert (0.0, 0) == (replica.aside_until, replica.failures)


async def test_an_answer_in_between_and_a_callers_mistakes_put_no_engine_aside(
    engine: Upstream, replica: Replica
) -> None:
    for _ in range(FAILURES):
        engine.will(answers(b"{}", 500), answers())
        await call(replica).end()
        await call(replica).end()
    engine.will(*[answers(b"{}", 400)] * (FAILURES + 1))
    for _ in range(FAILURES + 1):
        await call(replica).end()

    assert not replica.aside_until


async def test_an_engine_given_up_for_its_silence_has_failed(engine: Upstream, replica: Replica) -> None:
    engine.always = hangs
    for number in range(1, FAILURES + 1):
        flight = replica.send(PATH, b"", b"{}", Heard())
        await engine.call(number)
        flight.give_up()

    assert replica.aside_until


BREAKS: dict[str, Script] = {
    "at once": closes,
    "with a reset": resets,
    "in the status line": says(b"HTTP/1.1 2", then=closes),
    "in the head": says(b"HTTP/1.1 200 OK\r\ncontent-le", then=resets),
    "after the head": says(PART, then=closes),
    "in the body": says(PART, b"12345", then=closes),
    "in the body, with a reset": says(PART, b"12345", then=resets),
    "in a body that would end with the close": says(b"HTTP/1.1 200 OK\r\n\r\n", b"12", then=resets),
    "in a chunk's size": says(CHUNKED, b"1", then=closes),
    "in a chunk": says(CHUNKED, b"5\r\nab", then=closes),
    "between chunks": says(CHUNKED, wire.chunk(b"a"), then=closes),
    "before the last line": says(CHUNKED, wire.chunk(b"a"), b"0\r\n", then=closes),
    "after an interim response": says(b"HTTP/1.1 100 Continue\r\n\r\n", then=closes),
}


@pytest.mark.parametrize("script", BREAKS.values(), ids=BREAKS)
async def test_an_engine_that_breaks_off(engine: Upstream, replica: Replica, script: Script) -> None:
    engine.will(script)
    heard = await call(replica).end()

    assert "reset" == heard.kind
    assert 1 == heard.news.count("failed")
    assert 1 == len(engine.calls)
    assert 0 == replica.in_flight


GARBAGE: dict[str, Script] = {
    "another protocol": says(b"220 smtp.example ESMTP\r\n"),
    "TLS": says(b"\x15\x03\x01\x00\x02\x02\x46"),
    "an unknown version": says(b"HTTP/9.9 200 OK\r\n\r\n"),
    "a status that is no number": says(b"HTTP/1.1 abc OK\r\n\r\n"),
    "two lengths": says(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
    "a length that is no number": says(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"),
    "a chunk size that is no number": says(CHUNKED, b"xyz\r\n"),
    "a chunk larger than any": says(CHUNKED, b"ffffffffffffffffff\r\n"),
    "a chunk longer than its size": says(CHUNKED, b"2\r\nabcdef\r\n"),
    "a switch of protocols": says(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
    "a head without end": says(b"HTTP/1.1 200 OK\r\n", *[b"x: " + b"y" * 9000 + b"\r\n"] * 10),
    "a header without end": says(b"HTTP/1.1 200 OK\r\nx: ", *[b"y" * 50_000] * 4, then=hangs),
}


@pytest.mark.parametrize("script", GARBAGE.values(), ids=GARBAGE)
async def test_an_engine_that_does_not_speak_http(engine: Upstream, replica: Replica, script: Script) -> None:
    engine.will(script)
    heard = await call(replica).end()

    assert "protocol" == heard.kind
    assert 1 == heard.news.count("failed")
    await engine.calls[0].left()


EARLY: dict[str, Script] = {
    "closing": closes,
    "resetting": resets,
    "answering and closing": says(wire.response(wire.problem(), 413), then=closes),
}


@pytest.mark.parametrize("script", EARLY.values(), ids=EARLY)
async def test_an_engine_that_does_not_read_the_request_to_its_end(
    engine: Upstream, replica: Replica, script: Script
) -> None:
    engine.on_connect = script
    heard = await call(replica, b"x" * 10 * 2**20).end()

    assert heard.kind == "reset" or heard.status == 413
    assert 0 == replica.in_flight


async def test_a_connection_on_which_a_request_was_answered_early_carries_no_other(
    engine: Upstream, replica: Replica
) -> None:
    async def answers_the_first_bytes(early: Call) -> None:
        early.read_no_more()
        await answers(wire.problem(), 413)(early)

    engine.on_connect = answers_the_first_bytes
    heard = await call(replica, b"x" * 16 * 2**20).end()
    engine.on_connect = None
    second = await call(replica).end()

    assert (413, 200) == (heard.status, second.status)
    assert 2 == engine.accepted


async def test_an_engine_that_is_silent_is_waited_for(engine: Upstream, replica: Replica) -> None:
    engine.will(hangs)
    heard = call(replica)
    await engine.call()
    await asyncio.sleep(0.02)

    assert ["sent"] == heard.news


async def test_an_engine_that_speaks_before_it_is_asked_is_not_trusted_with_the_next_call(
    engine: Upstream, replica: Replica
) -> None:
    first = await call_and_then(engine, replica, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale")
    second = await call(replica, b"next").end()

    assert b"stale" not in first.body + second.body
    assert ("completed", 2) == (second.news[-1], engine.accepted)


async def call_and_then(engine: Upstream, replica: Replica, stray: bytes) -> Heard:
    """A whole answer, and some time later more bytes."""
    engine.will(says(wire.response(b"{}")))
    heard = await call(replica).end()
    await engine.calls[0].send(stray)
    await engine.calls[0].left()
    return heard


STRAY = {
    "a whole response": wire.response(b"stale"),
    "half a response": b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\nstale",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "a body that was longer than said": b"stale",
}


@pytest.mark.parametrize("stray", STRAY.values(), ids=STRAY)
async def test_what_an_engine_says_beyond_its_answer_never_reaches_the_next_call(
    engine: Upstream, replica: Replica, stray: bytes
) -> None:
    engine.will(says(wire.response(b'{"first": 1}') + stray), answers(b'{"second": 2}'))
    first = await call(replica).end()
    second = await call(replica).end()

    assert (b'{"first": 1}', b'{"second": 2}') == (first.body, second.body)
    assert (200, "completed") == (second.status, second.news[-1])


async def test_not_even_a_call_made_in_the_very_moment_the_answer_is_whole(
    engine: Upstream, replica: Replica
) -> None:
    engine.will(says(wire.response(b'{"first": 1}') + wire.response(b"stale")), answers(b'{"second": 2}'))
    second = Heard()
    first = Heard(at_end=lambda: replica.send(PATH, b"", b"{}", second))
    replica.send(PATH, b"", b"{}", first)

    assert b'{"second": 2}' == (await second.end()).body


async def test_a_call_that_was_answered_with_anything_is_not_stale(
    engine: Upstream, replica: Replica
) -> None:
    await call(replica).end()
    engine.will(says(b"HTTP/1.1", then=closes))

    assert "reset" == (await call(replica).end()).kind


async def test_no_call_is_made_again_here(engine: Upstream, replica: Replica) -> None:
    await call(replica).end()
    engine.will(resets, resets)

    assert ["stale", "reset"] == [(await call(replica).end()).kind for _ in range(2)]
    assert 3 == len(engine.calls)


async def test_an_engine_gone_for_good_while_a_connection_was_idle(
    engine: Upstream, replica: Replica
) -> None:
    await call(replica).end()
    await engine.refuse()
    heard = await call(replica).end()

    assert "connect" == heard.kind


async def test_one_failing_call_leaves_the_others_alone(engine: Upstream, replica: Replica) -> None:
    engine.will(begins(wire.delta("a")), resets, answers())
    streaming = call(replica)
    await streaming.hears("received")
    assert "reset" == (await call(replica).end()).kind
    assert "completed" == (await call(replica).end()).news[-1]

    assert ["sent", "responded", "received"] == streaming.news
