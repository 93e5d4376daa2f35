"""What a guard does to the hot path: to prompts, to answers, and where it is slow, greedy or broken."""

import asyncio
import gc
import logging
from collections.abc import Callable

import pytest

from events.usage import Completed
from events.words import Usage
from services.guarding.guard import Allowed, Blocked, Cut, Guard, Watch
from services.guarding.sieve import Sieve
from services.router.attempt import Attempt
from services.router.exchange import Exchange
from services.router.guarded import Guarded
from services.router.order import Deadlines
from services.router.retries import Retries
from tests.services.router.refusing import refusal
from tests.support import wire
from tests.support.client import Client, connected
from tests.support.guards import (
    REDACTED,
    Failing,
    Keeping,
    Passing,
    Redacting,
    Slow,
    TestGuard,
    blocking,
    redacting,
)
from tests.support.platform import eventually
from tests.support.routing import Routed, routed
from tests.support.upstream import Upstream, answers, begins, closes, streams
from tests.support.wire import DONE, chat, completion, delta, event, events_of, text_of, usage, usage_event

pytestmark = pytest.mark.anyio

WORD = "secret"
HELLO = event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
STOP = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
SAID = (HELLO, delta("It is no se"), delta("cret. Or "), delta("is it?"), STOP, usage_event(7, 3), DONE)
KEPT_ALIVE = b": keep-alive\n\n"
SOON = Retries(attempts=2, first_s=0.01, longest_s=0.05)


def keeping() -> TestGuard:
    return TestGuard(watch=Keeping)


async def ended(it: Routed) -> Completed:
    """The one completion so far."""
    records = await it.tap.has(2)
    (found,) = [record for record in records if isinstance(record, Completed)]
    return found


def reasons(stream: bytes) -> list[str]:
    told = [one for one in events_of(stream) if isinstance(one, dict)]
    choices = [choice for one in told for choice in one.get("choices", ())]
    return [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]


async def rest_of(client: Client) -> bytes:
    """What is left of a stream."""
    pieces = []
    while piece := await client.chunk():
        pieces.append(piece)
    return b"".join(pieces)


# --- prompts


@pytest.mark.parametrize("stream", [False, True])
async def test_a_blocked_prompt_reaches_no_engine_and_costs_nothing(engine: Upstream, stream: bool) -> None:
    guard = blocking(WORD)
    async with routed(engine.url, guard=guard) as it:
        answer = await it.call(chat("the secret", stream=stream))
        assert 200 == (await it.call(chat("Hi."))).status

    assert WORD not in refusal(answer, 400, "content_filter", "messages")
    assert 1 == len(engine.calls)
    assert 2 == len(await it.tap.has(2))


async def test_a_guard_is_told_who_asks_what_of_whom(engine: Upstream) -> None:
    guard = redacting(WORD)
    body = chat("Hi.", odd=1)
    async with routed(engine.url, guard=guard) as it:
        await it.call(body)

    (prompt,) = guard.prompts
    assert ("acme", wire.MODEL, "/v1/chat/completions", body) == (
        prompt.tenant,
        prompt.model,
        prompt.endpoint,
        prompt.body,
    )


async def test_a_verdict_is_waited_for(engine: Upstream) -> None:
    guard = Slow()
    async with routed(engine.url, guard=guard) as it, connected(it.port) as client:
        await client.send(it.request(chat()))
        await guard.asked.wait()
        assert [] == engine.calls
        guard.may.set()
        assert 200 == (await client.response()).status


async def test_a_verdict_against_a_prompt_may_take_its_time_too(engine: Upstream) -> None:
    guard = Slow(verdict=Blocked(message="Not about bees, please."))
    guard.may.set()
    async with routed(engine.url, guard=guard) as it:
        message = refusal(await it.call(chat()), 400, "content_filter", "messages")

    assert "Not about bees, please." == message
    assert [] == engine.calls


@pytest.mark.parametrize("leave", [Client.close, Client.reset])
async def test_a_client_that_leaves_meanwhile_is_asked_about_no_longer(
    engine: Upstream, leave: Callable[[Client], None]
) -> None:
    guard = Slow()
    async with routed(engine.url, guard=guard) as it, connected(it.port) as client:
        await client.send(it.request(chat()))
        await guard.asked.wait()
        leave(client)
        async with asyncio.timeout(10):
            await guard.stopped.wait()
        await gone(it)

    assert [] == engine.calls


async def gone(it: Routed) -> None:
    async def is_gone() -> bool:
        return it.budget.used == 0 and not it.exchanges.open

    await eventually(is_gone)


class Raises:
    def judge(self, prompt: object) -> Allowed:
        raise RuntimeError(f"I choke on {prompt}")


class Says:
    def __init__(self, said: object) -> None:
        self._said = said

    def judge(self, prompt: object) -> Allowed:
        return self._said  # type: ignore[return-value]


def failing() -> Slow:
    guard = Slow(verdict=RuntimeError(f"I choke on {WORD}"))
    guard.may.set()
    return guard


class GivesUp:
    async def judge(self, prompt: object) -> Allowed:
        raise asyncio.CancelledError


NO_VERDICTS: dict[str, Callable[[], Guard]] = {
    "raises": Raises,
    "raises later": failing,
    "gives up": GivesUp,
    "says yes": lambda: Says(True),
    "says nothing": lambda: Says(None),
    "is late": Slow,
}


@pytest.mark.parametrize("guard", NO_VERDICTS.values(), ids=NO_VERDICTS)
async def test_without_a_verdict_there_is_no_answer(
    engine: Upstream, guard: Callable[[], Guard], caplog: pytest.LogCaptureFixture
) -> None:
    async with routed(engine.url, guard=guard(), verdict_within_s=0.05) as it:
        answer = await it.call(chat(WORD))

    refusal(answer, 503, "guard_unavailable")
    assert "1" == answer.headers["retry-after"]
    assert [] == engine.calls
    (record,) = [one for one in caplog.records if one.name == "penstock.guard"]
    assert logging.ERROR == record.levelno
    assert WORD not in record.getMessage()


async def test_who_waits_for_a_verdict_when_the_router_stops_is_told(engine: Upstream) -> None:
    guard = Slow()
    async with routed(engine.url, guard=guard) as it, connected(it.port) as client:
        await client.send(it.request(chat()))
        await guard.asked.wait()
        assert it.screen is not None
        await it.screen.close(0)
        refusal(await client.response(), 503, "shutting_down")


# --- answers


async def test_a_redacted_stream_goes_on(engine: Upstream) -> None:
    engine.will(streams(*SAID))
    async with routed(engine.url, guard=redacting(WORD)) as it:
        answer = await it.call(chat(stream=True))
        completed = await ended(it)

    assert f"It is no {REDACTED}. Or is it?" == text_of(answer.body)
    assert answer.body.endswith(STOP + DONE)
    assert ("finished", Usage(input=7, output=3), True) == (
        completed.outcome,
        completed.usage,
        completed.billed,
    )
    assert 0 == it.budget.used


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
async def test_a_stream_that_comes_byte_by_byte_is_redacted_alike(engine: Upstream, end: bytes) -> None:
    stream = b"".join(SAID).replace(b"\n\n", end)
    engine.will(streams(*(stream[at : at + 1] for at in range(len(stream)))))
    async with routed(engine.url, guard=redacting(WORD)) as it:
        answer = await it.call(chat(stream=True, stream_options={"include_usage": True}))

    body = answer.body.replace(b"\r\n", b"\n")
    assert f"It is no {REDACTED}. Or is it?" == text_of(body)
    assert body.endswith(STOP + usage_event(7, 3) + DONE)


async def test_what_may_be_read_is_read_before_the_next_is_made(engine: Upstream) -> None:
    engine.will(begins(HELLO, delta("It is no sec")))
    async with routed(engine.url, guard=redacting(WORD)) as it, connected(it.port) as client:
        await client.send(it.request(chat(stream=True)))
        await client.head()
        first = await client.chunk()
        assert "It is no " == text_of(first)
        await (await engine.call()).send(wire.chunk(delta("ond.")))
        assert "second." == text_of(await client.chunk())


async def test_a_guard_that_changes_nothing_changes_no_byte(engine: Upstream) -> None:
    engine.will(streams(*SAID), answers(completion(WORD)))
    async with routed(engine.url, guard=TestGuard(watch=Passing)) as it:
        stream, whole = await it.call(chat(stream=True)), await it.call(chat())

    assert b"".join((*SAID[:-2], DONE)) == stream.body
    assert completion(WORD) == whole.body


async def test_a_blocked_stream_ends_as_openais_do_and_its_engine_stops(engine: Upstream) -> None:
    engine.will(begins(*SAID[:3]))
    async with routed(engine.url, guard=blocking(WORD)) as it:
        answer = await it.call(chat(stream=True))
        await engine.calls[0].left()
        completed = await ended(it)
        assert {"blocked": 1} == it.exchanges.metrics.models[wire.MODEL].outcomes

    assert 200 == answer.status
    assert "It is no " == text_of(answer.body)
    assert ["content_filter"] == reasons(answer.body)
    assert answer.body.endswith(DONE)
    assert ("blocked", True, "usage") == (completed.outcome, completed.billed, completed.estimated)
    assert completed.usage.output > 0
    assert 0 == it.budget.used


async def test_a_stream_blocked_in_one_piece_behind_which_more_came(engine: Upstream) -> None:
    engine.will(begins(*SAID[:2]))
    async with routed(engine.url, guard=blocking(WORD)) as it, connected(it.port) as client:
        await client.send(it.request(chat(stream=True)))
        await client.head()
        assert "It is no " == text_of(await client.chunk())
        await (await engine.call()).send(wire.chunk(b"".join(SAID[2:]) + b"data: {"))
        assert ["content_filter"] == reasons(await rest_of(client))
        await gone(it)


async def test_a_stream_blocked_before_anything_may_be_seen_waits_until_it_may(engine: Upstream) -> None:
    engine.will(streams(HELLO, delta(WORD), delta("x" * 100), DONE))
    async with routed(engine.url, guard=blocking(WORD)) as it, connected(it.port) as client:
        it.tap.close()
        await client.send(it.request(chat(stream=True)))
        assert await client.is_told_nothing()
        it.tap.open()
        answer = await client.response()

    assert ["content_filter"] == reasons(answer.body)
    assert 0 == it.budget.used


async def test_an_answer_in_one_piece_is_redacted(engine: Upstream) -> None:
    engine.will(answers(completion(f"no {WORD}", usage=usage(7, 3))))
    async with routed(engine.url, guard=redacting(WORD)) as it:
        answer = await it.call(chat())
        completed = await ended(it)

    assert f"no {REDACTED}" == answer.json["choices"][0]["message"]["content"]
    assert usage(7, 3) == answer.json["usage"]
    assert ("finished", True) == (completed.outcome, completed.billed)


async def test_a_blocked_answer_in_one_piece_says_so_and_is_billed(engine: Upstream) -> None:
    engine.will(answers(completion(f"no {WORD}", usage=usage(7, 3))))
    async with routed(engine.url, guard=blocking(WORD)) as it:
        answer = await it.call(chat())
        completed = await ended(it)

    (choice,) = answer.json["choices"]
    assert (200, "no ", "content_filter") == (
        answer.status,
        choice["message"]["content"],
        choice["finish_reason"],
    )
    assert ("blocked", True, Usage(input=7, output=3)) == (
        completed.outcome,
        completed.billed,
        completed.usage,
    )


async def test_an_answer_nobody_watches_passes(engine: Upstream) -> None:
    engine.will(streams(*SAID))
    async with routed(engine.url, guard=TestGuard()) as it:
        answer = await it.call(chat(stream=True))

    assert b"".join((*SAID[:-2], DONE)) == answer.body


# --- a guard that holds back


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
