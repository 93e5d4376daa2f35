"""A guard that holds back or fails: who waits, what is told, what is billed, and what is left behind."""

import asyncio
import gc
from collections.abc import Callable

import pytest

from events.usage import Completed
from services.guarding.guard import Cut, Watch
from services.guarding.sieve import Sieve
from services.router.attempt import Attempt
from services.router.exchange import Exchange
from services.router.guarded import Guarded
from services.router.order import Deadlines
from tests.services.router.cold.pool import cold_pool, config_of
from tests.services.router.guarded import (
    HELLO,
    KEPT_ALIVE,
    SAID,
    SOON,
    STOP,
    WORD,
    ended,
    gone,
    keeping,
    rest_of,
)
from tests.services.router.refusing import refusal
from tests.support import wire
from tests.support.client import connected
from tests.support.guards import (
    REDACTED,
    Failing,
    Keeping,
    Passing,
    Redacting,
    TestGuard,
    blocking,
    redacting,
)
from tests.support.platform import eventually
from tests.support.routing import Routed, routed
from tests.support.upstream import Upstream, answers, begins, closes, streams
from tests.support.wire import DONE, chat, completion, delta, events_of, text_of

pytestmark = pytest.mark.anyio


async def test_while_all_is_held_back_another_attempt_may_take_the_place(engine: Upstream) -> None:
    engine.will(begins(HELLO, delta("sec"), then=closes), streams(HELLO, delta("ret."), STOP, DONE))
    async with routed(engine.url, guard=redacting(WORD), retries=SOON) as it:
        answer = await it.call(chat(stream=True))
        await it.tap.has(4)

    assert "ret." == text_of(answer.body)  # of the first nothing is remembered
    assert "2" == answer.headers["x-penstock-attempts"]
    assert [False, True] == [one.billed for one in it.tap.records if isinstance(one, Completed)]
    assert 0 == it.budget.used


async def test_where_no_other_may_the_client_gets_an_error_and_no_bill(engine: Upstream) -> None:
    engine.will(begins(HELLO, delta("sec"), then=closes))
    async with routed(engine.url, guard=redacting(WORD)) as it:
        refusal(await it.call(chat(stream=True)), 502, "engine_died")
        completed = await ended(it)

    assert not completed.billed


async def test_of_a_stream_that_breaks_off_all_is_told_that_may_be_read(engine: Upstream) -> None:
    engine.will(begins(delta("It is no sec"), then=closes))
    async with routed(engine.url, guard=redacting(WORD)) as it:
        answer = await it.call(chat(stream=True))

    assert "It is no sec" == text_of(answer.body)
    assert "engine_died" == events_of(answer.body)[-1]["error"]["code"]


async def test_a_client_that_waits_is_kept_alive_before_and_amid_an_answer(engine: Upstream) -> None:
    deadlines = Deadlines(commit_after_s=0.01)
    engine.will(begins(HELLO, delta("sec")))
    router = routed(engine.url, guard=redacting(WORD), deadlines=deadlines)
    async with router as it, connected(it.port) as client:
        await client.send(it.request(chat(stream=True)))
        await client.head()
        assert KEPT_ALIVE == await client.chunk()
        call = await engine.call()
        await call.send(wire.chunk(delta("ond and sec")))
        while (piece := await client.chunk()) == KEPT_ALIVE:
            pass
        assert "second and " == text_of(piece)
        assert KEPT_ALIVE == await client.chunk()
        await call.send(*map(wire.chunk, (delta("ret"), STOP, DONE)), wire.LAST_CHUNK)

        assert REDACTED == text_of(await rest_of(client))


async def test_a_client_is_not_kept_alive_right_behind_what_it_got(engine: Upstream) -> None:
    deadlines = Deadlines(commit_after_s=100, idle_s=1000)
    engine.will(begins(HELLO, delta("It is no sec")))
    async with routed(engine.url, guard=redacting(WORD), deadlines=deadlines) as it:
        began = it.exchanges.clock()
        it.exchanges.clock = lambda: began + 50
        async with connected(it.port) as client:
            await client.send(it.request(chat(stream=True)))
            await client.head()
            await client.chunk()
            (exchange,) = it.exchanges.open
            it.exchanges.clock = lambda: began + 120
            await (await engine.call()).send(wire.chunk(delta("ond. sec")))
            assert "second. " == text_of(await client.chunk())
            exchange.check(began + 200)
            assert await client.is_told_nothing()
            exchange.check(began + 221)
            assert KEPT_ALIVE == await client.chunk()


async def test_a_client_may_leave_while_all_is_held_back(engine: Upstream) -> None:
    engine.will(begins(HELLO, delta("sec")))
    async with routed(engine.url, guard=redacting(WORD)) as it:
        async with connected(it.port) as client:
            asked = chat(stream=True)
            await client.send(it.request(asked))
            await used(it, len(asked) + len(HELLO) + len("sec"))
            client.reset()
            await engine.calls[0].left()
        completed = await ended(it)
        await gone(it)

    assert ("client_gone", True) == (completed.outcome, completed.billed)


async def used(it: Routed, size: int) -> None:
    async def is_used() -> bool:
        return it.budget.used == size

    await eventually(is_used)


async def test_more_than_there_is_memory_for_is_not_held_back(engine: Upstream) -> None:
    engine.will(streams(HELLO, *(delta("x" * 200) for _ in range(20)), STOP, DONE))
    async with routed(engine.url, guard=keeping(), budget=2000) as it:
        answer = await it.call(chat(stream=True))
        await engine.calls[0].left()
        await gone(it)

    refusal(answer, 503, "overloaded")


async def test_more_than_there_is_memory_for_amid_an_answer_ends_it_in_band(engine: Upstream) -> None:
    class KeepsTheRest(Keeping):
        def feed(self, text: str) -> str | Cut:
            return text if text == "a" else super().feed(text)

    engine.will(streams(HELLO, delta("a"), *(delta("x" * 200) for _ in range(20)), STOP, DONE))
    async with routed(engine.url, guard=TestGuard(watch=KeepsTheRest), budget=2000) as it:
        answer = await it.call(chat(stream=True))
        await gone(it)

    assert text_of(answer.body).startswith("ax")
    assert "overloaded" == events_of(answer.body)[-1]["error"]["code"]


async def test_a_router_that_stops_tells_what_may_be_read(engine: Upstream) -> None:
    engine.will(begins(HELLO, delta("It is no sec")))
    async with routed(engine.url, guard=redacting(WORD)) as it, connected(it.port) as client:
        await client.send(it.request(chat(stream=True)))
        await client.head()
        assert "It is no " == text_of(await client.chunk())
        await it.exchanges.drain(0)
        rest = await rest_of(client)

    assert "sec" == text_of(rest)
    assert "shutting_down" == events_of(rest)[-1]["error"]["code"]


# --- a guard that fails


def fails(after: int) -> TestGuard:
    return TestGuard(watch=lambda: Failing(after))


async def test_an_answer_a_guard_fails_on_is_neither_told_nor_billed_nor_made_again(
    engine: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    engine.will(streams(*SAID), answers(completion(WORD)))
    async with routed(engine.url, guard=fails(1), retries=SOON) as it:
        refusal(await it.call(chat(stream=True)), 503, "guard_unavailable")
        refusal(await it.call(chat()), 503, "guard_unavailable")
        records = await it.tap.has(4)
        await gone(it)

    assert [("blocked", False)] * 2 == [
        (one.outcome, one.billed) for one in records if isinstance(one, Completed)
    ]
    assert 2 == len(engine.calls)
    assert not any("choke" in record.getMessage() for record in caplog.records)


async def test_a_guard_that_fails_amid_a_stream_ends_it_in_band(engine: Upstream) -> None:
    engine.will(streams(*SAID))
    async with routed(engine.url, guard=fails(3)) as it:
        answer = await it.call(chat(stream=True))
        completed = await ended(it)
        await gone(it)

    assert "It is no secret. Or " == text_of(answer.body)
    assert "guard_unavailable" == events_of(answer.body)[-1]["error"]["code"]
    assert ("blocked", True) == (completed.outcome, completed.billed)


class FailsAtTheEnd(Redacting):
    def finish(self) -> str | Cut:
        raise RuntimeError("I choke.")


async def test_a_guard_that_fails_at_the_end_of_a_stream_that_broke_off_tells_nothing_more(
    engine: Upstream,
) -> None:
    engine.will(begins(delta("It is no sec"), then=closes))
    async with routed(engine.url, guard=TestGuard(watch=lambda: FailsAtTheEnd(WORD))) as it:
        answer = await it.call(chat(stream=True))

    assert "It is no " == text_of(answer.body)
    assert "engine_died" == events_of(answer.body)[-1]["error"]["code"]


async def test_what_cannot_be_read_does_not_pass_a_guard(engine: Upstream) -> None:
    engine.will(streams(delta("a"), b'data: {"choices":[{"delta":"secret"}]}\n\n', DONE))
    async with routed(engine.url, guard=TestGuard(watch=Passing)) as it:
        answer = await it.call(chat(stream=True))

    assert WORD.encode() not in answer.body
    assert "guard_unavailable" == events_of(answer.body)[-1]["error"]["code"]


WATCHES: dict[str, Callable[[], Watch]] = {"keeps": Keeping, "redacts": lambda: Redacting(WORD)}


@pytest.mark.parametrize("watch", WATCHES.values(), ids=WATCHES)
async def test_an_empty_answer_is_an_empty_answer(engine: Upstream, watch: Callable[[], Watch]) -> None:
    engine.will(streams(HELLO, STOP, DONE))
    async with routed(engine.url, guard=TestGuard(watch=watch)) as it:
        answer = await it.call(chat(stream=True))

    assert HELLO + STOP + DONE == answer.body


CALLS: dict[str, tuple[TestGuard, bool]] = {
    "redacted": (redacting(WORD), True),
    "redacted whole": (redacting(WORD), False),
    "blocked": (blocking(WORD), True),
    "failed": (fails(2), True),
}


async def nothing_left() -> bool:
    kinds = Exchange | Attempt | Guarded | Sieve
    return not any(isinstance(one, kinds) for one in gc.get_objects())


@pytest.mark.parametrize(("guard", "stream"), CALLS.values(), ids=CALLS)
async def test_what_a_guarded_request_took_is_freed_without_the_garbage_collector(
    engine: Upstream, guard: TestGuard, stream: bool
) -> None:
    engine.will(closes, streams(*SAID) if stream else answers(completion(WORD)))
    gc.collect()
    gc.disable()
    try:
        async with routed(engine.url, guard=guard, retries=SOON) as it:
            await it.call(chat(stream=stream))
            await eventually(nothing_left)
    finally:
        gc.enable()


async def test_who_waits_for_an_engine_is_guarded_too(engine: Upstream) -> None:
    engine.will(streams(*SAID))
    async with cold_pool(config_of(engine, cold="hold"), guard=redacting(WORD)) as cold:
        waiting = asyncio.create_task(cold.it.call(chat(stream=True)))
        await cold.lists("127.0.0.1")
        answer = await waiting

    assert f"It is no {REDACTED}. Or is it?" == text_of(answer.body)
