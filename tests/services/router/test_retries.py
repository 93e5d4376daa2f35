"""Failed attempts are followed by others while the client has seen nothing of an answer; then never."""

import asyncio
from statistics import mean

import pytest

from events.usage import Completed, Started
from services.router.order import Deadlines
from services.router.retries import LEAST, Retries
from tests.services.router.refusing import refusal
from tests.support import client
from tests.support.routing import Routed, routed
from tests.support.upstream import (
    Script,
    Upstream,
    answers,
    begins,
    closes,
    hangs,
    resets,
    says,
    streams,
    upstream,
)
from tests.support.wire import (
    DONE,
    STREAM_HEAD,
    chat,
    chunk,
    completion,
    delta,
    event,
    events_of,
    problem,
    text_of,
)

pytestmark = pytest.mark.anyio

SOON = Retries(attempts=3, first_s=0.01, longest_s=0.05)
ROLE = event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
GOOD = (ROLE, delta("Hello"), delta(" there"), DONE)


def completions(it: Routed) -> list[Completed]:
    return [record for record in it.tap.records if isinstance(record, Completed)]


UNSEEN: dict[str, Script] = {
    "hangs up": closes,
    "resets": resets,
    "speaks another protocol": says(b"220 smtp.example ESMTP\r\n"),
    "breaks off in the head": says(b"HTTP/1.1 200 OK\r\ncont", then=closes),
    "fails with 500": answers(problem("out of memory"), 500),
    "fails with 502": answers(b"<html>bad gateway</html>", 502),
    "is busy": answers(problem("busy"), 503),
    "is over its rate": answers(problem("slow down"), 429, {"retry-after": "0"}),
    "answers with nonsense": answers(b"<html>It works!</html>"),
    "answers with an error": answers(problem("CUDA out of memory")),
    "waited too long for the request": answers(problem("late"), 408),
    "finds it too early": answers(problem("early"), 425),
    "ends a stream that says nothing": streams(),
    "streams an error first": streams(event({"error": {"message": "CUDA out of memory"}})),
    "tells who speaks, and breaks off": begins(ROLE, then=closes),
    "tells who speaks, and then an error": streams(ROLE, event({"error": {"message": "boom"}})),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("script", UNSEEN.values(), ids=UNSEEN)
async def test_what_was_not_seen_is_tried_again(engine: Upstream, script: Script, stream: bool) -> None:
    async with routed(engine.url, retries=SOON) as it:
        engine.will(script, streams(*GOOD) if stream else answers())
        answer = await it.call(chat(stream=stream))
        records = await it.tap.has(4)

    assert 200 == answer.status
    assert "Hello" in (text_of(answer.body) if stream else answer.body.decode())
    assert 2 == len(engine.calls)
    first, second = completions(it)
    assert (False, True) == (first.billed, second.billed)
    assert (".1", ".2") == (first.attempt[-2:], second.attempt[-2:])
    assert 2 == sum(isinstance(record, Started) for record in records)


async def test_the_stream_of_an_attempt_that_failed_unseen_leaves_no_trace(engine: Upstream) -> None:
    async with routed(engine.url, retries=SOON) as it:
        other = event({"id": "other", "choices": [{"index": 0, "delta": {"role": "assistant"}}]})
        engine.will(begins(other, then=closes), streams(*GOOD))
        answer = await it.call(chat(stream=True))

    assert b"".join(GOOD) == answer.body


async def test_a_part_of_an_answer_that_was_not_seen_yet_is_made_again(engine: Upstream) -> None:
    async with routed(engine.url, retries=SOON) as it, client.connected(it.port) as connection:
        it.tap.close()  # until its start is durable, nothing of an attempt may be seen
        engine.will(begins(ROLE, delta("Hel"), then=closes), streams(*GOOD))
        await connection.send(it.request(chat(stream=True)))
        await engine.call(2)
        it.tap.open()
        answer = await connection.response()

    assert b"".join(GOOD) == answer.body


async def test_an_answer_that_is_too_large_is_not_made_again(engine: Upstream) -> None:
    async with routed(engine.url, retries=SOON, deadlines=Deadlines(answer_bytes=100)) as it:
        engine.always = answers(completion("x" * 200))
        refusal(await it.call(chat()), 502, "engine_error")

    assert 1 == len(engine.calls)


async def test_a_stream_that_was_seen_is_not_begun_again(engine: Upstream) -> None:
    async with routed(engine.url, retries=SOON) as it:
        engine.will(begins(ROLE, delta("Hel"), then=closes))
        answer = await it.call(chat(stream=True))

    assert 200 == answer.status
    assert "engine_died" == events_of(answer.body)[-1]["error"]["code"]
    assert 1 == len(engine.calls)


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422])
async def test_what_another_attempt_cannot_mend_is_told_at_once(engine: Upstream, status: int) -> None:
    async with routed(engine.url, retries=SOON) as it:
        engine.always = answers(problem("No."), status)
        assert 400 <= (await it.call(chat())).status

    assert 1 == len(engine.calls)


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_an_engine_that_is_set_up_wrong_is_passed_by_for_another(engine: Upstream, status: int) -> None:
    async with upstream() as other, routed(other.url, engine.url, retries=Retries(first_s=60)) as it:
        engine.always = answers(problem("No."), status)
        assert {200} == {(await it.call(chat())).status for _ in range(4)}

    assert engine.calls


@pytest.mark.parametrize("stream", [False, True])
async def test_attempts_end(engine: Upstream, stream: bool) -> None:
    async with routed(engine.url, retries=SOON) as it:
        engine.always = answers(problem("busy"), 503)
        refusal(await it.call(chat(stream=stream)), 503, "engine_busy")
        await it.tap.has(6)

    assert 3 == len(engine.calls)
    assert [False] * 3 == [record.billed for record in completions(it)]


async def test_who_asks_for_more_patience_than_there_is_gets_no_second_call(engine: Upstream) -> None:
    async with routed(engine.url, retries=SOON) as it:
        engine.always = answers(problem("busy"), 503, {"retry-after": "7"})
        answer = await it.call(chat())

    assert "7" == answer.headers["retry-after"]
    assert 1 == len(engine.calls)


async def test_another_replica_is_called_at_once(engine: Upstream) -> None:
    async with upstream() as other, routed(engine.url, other.url, retries=Retries(first_s=60)) as it:
        engine.always = answers(problem("busy"), 503)
        statuses = {(await it.call(chat())).status for _ in range(4)}

    assert {200} == statuses
    assert 4 == len(other.calls)


async def test_a_replica_that_does_not_begin_is_given_up_for_another(engine: Upstream) -> None:
    async with upstream() as other:
        deadlines = Deadlines(first_byte_s=0.1)
        async with routed(engine.url, other.url, deadlines=deadlines, retries=SOON) as it:
            engine.always = hangs
            statuses = {(await it.call(chat())).status for _ in range(2)}
        assert {200} == statuses
        await engine.calls[0].left()


async def test_a_replica_that_keeps_failing_is_left_alone(engine: Upstream) -> None:
    async with upstream() as other, routed(engine.url, other.url, retries=SOON) as it:
        engine.always = answers(problem("out of memory"), 500)
        for _ in range(20):
            assert 200 == (await it.call(chat())).status

    assert 5 == len(engine.calls)


async def test_a_client_that_leaves_in_a_pause_costs_no_further_call(engine: Upstream) -> None:
    async with routed(engine.url, retries=Retries(first_s=5, longest_s=60)) as it:
        engine.always = answers(problem("busy"), 503, {"retry-after": "30"})
        async with client.connected(it.port) as connection:
            await connection.send(it.request(chat()))
            await it.tap.has(2)
        async with asyncio.timeout(10):
            while it.exchanges.open:
                await asyncio.sleep(0.01)

        assert 0 == it.exchanges.retrying
    assert 1 == len(engine.calls)


async def test_a_pause_ends_with_the_time_there_is(engine: Upstream) -> None:
    deadlines = Deadlines(total_s=0.2)
    async with routed(engine.url, deadlines=deadlines, retries=Retries(longest_s=60)) as it:
        engine.always = answers(problem("busy"), 503, {"retry-after": "30"})
        refusal(await it.call(chat()), 504, "total_timeout")


# --- streams that keep silent


async def test_a_stream_that_is_long_in_coming_is_kept_alive_and_may_still_be_begun_anew(
    engine: Upstream,
) -> None:
    failing = asyncio.Event()

    async def fails_late(call: object) -> None:
        await failing.wait()
        await resets(call)  # type: ignore[arg-type]

    async with routed(engine.url, deadlines=Deadlines(commit_after_s=0.05), retries=SOON) as it:
        engine.will(says(STREAM_HEAD, chunk(ROLE), then=fails_late), streams(*GOOD))
        async with client.connected(it.port) as connection:
            await connection.send(it.request(chat(stream=True)))
            await connection.head()
            assert b": keep-alive\n\n" == await connection.chunk()
            failing.set()
            answer = b""
            while DONE not in answer:
                answer += await connection.chunk()

    assert b"".join(GOOD) == answer.replace(b": keep-alive\n\n", b"")


async def test_a_stream_that_was_kept_alive_in_vain_is_told_its_error_in_band(engine: Upstream) -> None:
    async def late(call: object) -> None:
        await asyncio.sleep(0.6)
        await answers(problem("busy"), 503, {"retry-after": "60"})(call)  # type: ignore[arg-type]

    async with routed(engine.url, deadlines=Deadlines(commit_after_s=0.05), retries=SOON) as it:
        engine.will(late)
        answer = await it.call(chat(stream=True))
        await it.tap.has(2)

    assert 200 == answer.status
    assert answer.body.startswith(b": keep-alive\n\n")
    assert "engine_busy" == events_of(answer.body)[-1]["error"]["code"]
    assert DONE not in answer.body
    assert [False] == [record.billed for record in completions(it)]


# --- how many, and when


def test_few_requests_may_be_retried_where_many_fail() -> None:
    retries = Retries()
    assert retries.may(1, LEAST - 1, 3)
    assert not retries.may(1, LEAST, 3)
    assert retries.may(2, 19, 100)
    assert not retries.may(2, 20, 100)
    assert not retries.may(3, 0, 100)


def test_pauses_grow_and_are_spread() -> None:
    retries = Retries(first_s=1.0, longest_s=4.0)
    drawn = {number: [retries.pause_s(number) or 0 for _ in range(400)] for number in (1, 2, 3, 9)}

    assert all(
        0 < pause <= bound for number, bound in ((1, 1), (2, 2), (3, 4), (9, 4)) for pause in drawn[number]
    )
    assert mean(drawn[1]) < mean(drawn[2]) < mean(drawn[3])
    assert 3.0 == min(retries.pause_s(1, 3.0) or 0 for _ in range(20))
    assert retries.pause_s(1, 4.1) is None
