"""Nothing reaches a client before its attempt's start is durable; what cannot be metered is not given."""

import asyncio
from collections.abc import Callable

import pytest

from events.usage import Completed, Progress, Started
from events.words import Usage
from services.router.order import Deadlines
from tests.services.router.refusing import refusal
from tests.support import wire
from tests.support.client import Client, connected
from tests.support.platform import eventually
from tests.support.routing import routed
from tests.support.upstream import (
    Script,
    Upstream,
    answers,
    begins,
    closes,
    hangs,
    resets,
    streams,
    waits_for,
)
from tests.support.wire import DONE, chat, completion, delta, usage, usage_event

pytestmark = pytest.mark.anyio

WHOLE = streams(delta("a"), usage_event(7, 3), DONE)
ANSWER = answers(completion(usage=usage(7, 3)))


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_waits_until_its_start_is_durable(engine: Upstream, stream: bool) -> None:
    engine.will(WHOLE if stream else ANSWER)
    async with routed(engine.url) as it, connected(it.port) as client:
        it.tap.close()
        await client.send(it.request(chat(stream=stream)))
        await engine.call()
        assert await client.is_told_nothing()
        it.tap.open()
        answer = await client.response()

    assert 200 == answer.status
    assert [Started, Completed] == [type(record) for record in it.tap.records]


async def test_events_that_come_meanwhile_are_all_given_in_their_order(engine: Upstream) -> None:
    engine.will(begins(delta("a"), delta("b")))
    async with routed(engine.url) as it, connected(it.port) as client:
        it.tap.close()
        await client.send(it.request(chat(stream=True)))
        call = await engine.call()
        assert await client.is_told_nothing()
        it.tap.open()
        await client.head()
        assert delta("a") + delta("b") == await client.chunk()
        await call.send(*wire.chunked([delta("c"), DONE]))

        assert delta("c") + DONE == await client.chunk() + await client.chunk()


async def test_a_refusal_need_not_wait(engine: Upstream) -> None:
    engine.will(answers(wire.problem(), 400))
    async with routed(engine.url) as it:
        it.tap.close()

        assert 400 == (await it.call(chat())).status


@pytest.mark.parametrize("stream", [False, True])
async def test_without_a_bus_nothing_is_answered_and_the_engine_is_stopped(
    engine: Upstream, stream: bool
) -> None:
    engine.will(begins(delta("a")) if stream else hangs)
    async with routed(engine.url) as it:
        it.tap.broken = True
        refusal(await it.call(chat(stream=stream)), 503, "metering_unavailable")
        await engine.calls[0].left()


async def test_while_the_bus_is_away_no_call_waits_for_it_and_no_engine_works_in_vain(
    engine: Upstream,
) -> None:
    async with routed(engine.url) as it:
        it.tap.broken = True
        for _ in range(5):
            refusal(await it.call(chat()), 503, "metering_unavailable")

    assert 1 == len(engine.calls)  # the first, which found out


async def test_answers_are_given_again_once_the_bus_is_back(engine: Upstream) -> None:
    engine.always = ANSWER
    async with routed(engine.url) as it:
        it.tap.broken = True
        assert 503 == (await it.call(chat())).status
        it.tap.broken = False

        async def served() -> bool:
            return (await it.call(chat())).status == 200

        await eventually(served)
        assert not it.recorder.failing


async def test_what_was_refused_is_recorded_but_not_billed_once_the_bus_is_back(engine: Upstream) -> None:
    async with routed(engine.url) as it:
        it.tap.broken = True
        await it.call(chat())
        it.tap.broken = False
        started, completed = await it.tap.has(2)

    assert isinstance(started, Started)
    assert isinstance(completed, Completed)
    assert started.attempt == completed.attempt
    assert not completed.billed


async def test_a_stream_that_begins_just_as_the_bus_goes_away_gives_nothing(engine: Upstream) -> None:
    engine.will(begins(delta("a")))
    async with routed(engine.url) as it, connected(it.port) as client:
        it.tap.close()
        await client.send(it.request(chat(stream=True)))
        await engine.call()
        assert await client.is_told_nothing()
        it.tap.broken = True
        it.tap.open()

        refusal(await client.response(), 503, "metering_unavailable")


async def test_a_call_on_a_stale_connection_is_a_second_attempt_with_an_id_of_its_own(
    engine: Upstream,
) -> None:
    engine.will(ANSWER, resets, ANSWER)
    async with routed(engine.url) as it:
        answers_ = [await it.call(chat()) for _ in range(2)]
        records = await it.tap.has(6)

    assert [200, 200] == [answer.status for answer in answers_]
    first, second = [record for record in records[2:] if isinstance(record, Completed)]
    assert (first.request, "engine_died", False) == (second.request, first.outcome, first.billed)
    assert (f"{first.request}.1", f"{first.request}.2", True) == (
        first.attempt,
        second.attempt,
        second.billed,
    )
    assert [first.attempt, second.attempt] == [got.headers["x-penstock-attempt"] for got in engine.calls[1:]]


async def test_an_engine_that_hangs_up_on_every_call_is_called_twice_at_most(engine: Upstream) -> None:
    engine.will(ANSWER, resets, resets)
    async with routed(engine.url) as it:
        await it.call(chat())
        refusal(await it.call(chat()), 502, "engine_died")

    assert 3 == len(engine.calls)


async def test_a_long_answer_in_one_piece_waits_until_its_tokens_are_durable(engine: Upstream) -> None:
    engine.will(waits_for(soon := asyncio.Event(), ANSWER))
    async with (
        routed(engine.url, deadlines=Deadlines(progress_every_s=0.01)) as it,
        connected(it.port) as client,
    ):
        await client.send(it.request(chat()))
        await engine.call()
        await it.tap.has(1)
        await asyncio.sleep(0.02)
        it.tap.close()
        soon.set()
        assert await client.is_told_nothing()
        it.tap.open()
        assert 200 == (await client.response()).status

        async def over() -> bool:
            return isinstance(it.tap.records[-1], Completed)

        await eventually(over)
        *_, told, completed = it.tap.records

    assert isinstance(told, Progress)
    assert isinstance(completed, Completed)
    assert Usage(input=7, output=3) == told.usage == completed.usage


async def test_a_long_answer_whose_tokens_cannot_be_recorded_is_not_given(engine: Upstream) -> None:
    engine.will(waits_for(soon := asyncio.Event(), ANSWER))
    async with (
        routed(engine.url, deadlines=Deadlines(progress_every_s=0.01)) as it,
        connected(it.port) as client,
    ):
        await client.send(it.request(chat()))
        await it.tap.has(1)
        await asyncio.sleep(0.02)
        it.tap.broken = True
        soon.set()

        refusal(await client.response(), 503, "metering_unavailable")


# --- the engine fails, or time passes, before the start is durable


async def test_events_before_a_failure_are_given_once_durable_and_the_failure_after_them(
    engine: Upstream,
) -> None:
    engine.will(begins(delta("a"), then=closes))
    async with routed(engine.url) as it, connected(it.port) as client:
        it.tap.close()
        await client.send(it.request(chat(stream=True)))
        await engine.call()
        assert await client.is_told_nothing()
        it.tap.open()
        answer = await client.response()

    assert delta("a") in answer.body
    assert "engine_died" == wire.events_of(answer.body)[-1]["error"]["code"]


ENDS: dict[str, tuple[bool, Script]] = {
    "an answer": (False, ANSWER),
    "a whole stream": (True, WHOLE),
    "half a stream": (True, begins(delta("a"))),
    "a stream that broke": (True, begins(delta("a"), then=closes)),
    "a stream that hung up": (True, begins(delta("a"), DONE, then=closes)),
}


async def test_a_start_that_never_gets_durable_ends_at_the_deadline(engine: Upstream) -> None:
    async with routed(engine.url, deadlines=Deadlines(total_s=0.1)) as it:
        it.tap.close()
        for stream, script in ENDS.values():
            engine.will(script)
            refusal(await it.call(chat(stream=stream)), 504, "total_timeout")


@pytest.mark.parametrize(("stream", "script"), ENDS.values(), ids=ENDS)
async def test_a_process_that_stops_gives_nothing_that_is_not_durable(
    engine: Upstream, script: Script, stream: bool
) -> None:
    engine.will(script)
    async with routed(engine.url) as it, connected(it.port) as client:
        it.tap.close()
        await client.send(it.request(chat(stream=stream)))
        await engine.call()
        assert await client.is_told_nothing()
        await it.exchanges.drain(0)

        refusal(await client.response(), 503, "shutting_down")
        assert not it.exchanges.open


async def test_a_process_that_stops_ends_a_running_stream_in_band(engine: Upstream) -> None:
    engine.will(begins(delta("a")))
    async with routed(engine.url) as it, connected(it.port) as client:
        await client.send(it.request(chat(stream=True)))
        await client.head()
        await client.chunk()
        await it.exchanges.drain(0)
        last = wire.events_of(await client.chunk())[-1]
        await engine.calls[0].left()

    assert "shutting_down" == last["error"]["code"]


# --- what is recorded


async def test_one_attempt_has_one_start_and_one_end_whatever_happens(engine: Upstream) -> None:
    scripts = (ANSWER, WHOLE, begins(delta("a"), then=closes), answers(b"nonsense"), answers(b"{}", 500))
    engine.will(*scripts)
    async with routed(engine.url) as it:
        for _ in scripts:
            await it.call(chat(stream=True))
        records = await it.tap.has(2 * len(scripts))

    started = [record.attempt for record in records if isinstance(record, Started)]
    completed = [record.attempt for record in records if isinstance(record, Completed)]
    assert len(scripts) == len(set(started))
    assert sorted(started) == sorted(completed)


async def test_a_record_tells_who_asked_for_what(engine: Upstream) -> None:
    engine.will(ANSWER)
    async with routed(engine.url) as it:
        answer = await it.call(chat("x" * 40))
        started, completed = await it.tap.has(2)

    assert isinstance(started, Started)
    assert isinstance(completed, Completed)
    assert answer.headers["x-request-id"] == started.request == completed.request
    assert ("acme", "key_", "gemma", "pool", 10, False) == (
        started.tenant,
        started.key[:4],
        started.model,
        started.backend,
        started.estimate,
        started.queued,
    )
    assert ("finished", 7, 3, True, None) == (
        completed.outcome,
        completed.usage.input,
        completed.usage.output,
        completed.billed,
        completed.estimated,
    )
    assert completed.first_byte_ms is not None
    assert 0 <= completed.first_byte_ms <= completed.duration_ms


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        "much",
        {"prompt_tokens": -1_000_000, "completion_tokens": 3},
        {"prompt_tokens": 7, "completion_tokens": 10**30},
    ],
    ids=["none", "empty", "words", "negative", "immense"],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_usage_that_cannot_be_believed_is_estimated(
    engine: Upstream, told: object, stream: bool
) -> None:
    whole = answers(completion("y" * 80, usage=told))
    events = [delta(""), *[delta("y")] * 20]
    engine.will(streams(*events, wire.event({"choices": [], "usage": told}), DONE) if stream else whole)
    async with routed(engine.url) as it:
        assert 200 == (await it.call(chat("x" * 40, stream=stream))).status
        _, completed = await it.tap.has(2)

    assert isinstance(completed, Completed)
    assert "usage" == completed.estimated
    assert 10 == completed.usage.input
    assert completed.usage.output in (20, 21)  # the event that tells the usage is an event too


async def test_a_long_attempt_tells_of_its_progress(engine: Upstream) -> None:
    engine.will(begins(delta(""), delta("a"), delta("b")))
    async with (
        routed(engine.url, deadlines=Deadlines(progress_every_s=0.1)) as it,
        connected(it.port) as client,
    ):
        await client.send(it.request(chat("x" * 40, stream=True)))
        _, progress, *_ = await it.tap.has(2)

    assert isinstance(progress, Progress)
    assert (10, 2) == (progress.usage.input, progress.usage.output)


@pytest.mark.parametrize("leave", [Client.close, Client.reset])
async def test_a_client_that_leaves_before_its_start_is_durable_is_recorded(
    engine: Upstream, leave: Callable[[Client], None]
) -> None:
    engine.will(hangs)
    async with routed(engine.url) as it, connected(it.port) as client:
        it.tap.close()
        await client.send(it.request(chat()))
        call = await engine.call()
        leave(client)
        await call.left()
        it.tap.open()
        _, completed = await it.tap.has(2)

    assert isinstance(completed, Completed)
    assert "client_gone" == completed.outcome


async def test_an_engine_that_was_never_reached_has_no_record(engine: Upstream) -> None:
    await engine.refuse()
    async with routed(engine.url) as it:
        assert 503 == (await it.call(chat())).status
        await engine.listen()
        await it.call(chat())
        records = await it.tap.has(2)

    assert 1 == len({record.attempt for record in records})


async def test_calls_share_pages(engine: Upstream) -> None:
    async with routed(engine.url) as it:
        it.tap.close()
        first = asyncio.create_task(it.call(chat()))
        await engine.call()
        others = [asyncio.create_task(it.call(chat())) for _ in range(20)]
        await engine.call(21)
        it.tap.open()
        await asyncio.gather(first, *others)
        await it.tap.has(42)

    assert len(it.tap.pages) < 10
