"""What a guard does to the hot path: to prompts, to answers, and where it is slow, greedy or broken."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from events.words import Usage
from services.guarding.guard import Allowed, Blocked, Guard
from tests.services.router.guarded import (
    HELLO,
    SAID,
    STOP,
    WORD,
    ended,
    gone,
    reasons,
    rest_of,
)
from tests.services.router.refusing import refusal
from tests.support import wire
from tests.support.client import Client, connected
from tests.support.guards import (
    REDACTED,
    Passing,
    Slow,
    TestGuard,
    blocking,
    redacting,
)
from tests.support.routing import routed
from tests.support.upstream import Upstream, answers, begins, streams
from tests.support.wire import DONE, chat, completion, delta, text_of, usage, usage_event

pytestmark = pytest.mark.anyio

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
