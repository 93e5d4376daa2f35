"""Engines that fail, in every phase: callers get the envelope or an event in-band, never half a truth."""

from pathlib import Path
from typing import Any

import pytest

from tests.services.router.refusing import refusal
from tests.support import wire
from tests.support.platform import Running, config_file, running
from tests.support.upstream import Script, Upstream, answers, begins, closes, resets, says, streams
from tests.support.wire import DONE, completion, delta, problem, response, usage_event

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def platform(shared_platform: Running) -> Running:
    return shared_platform


@pytest.fixture
def engine(shared_engine: Upstream) -> Upstream:
    shared_engine.forget()
    return shared_engine


PART = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n"

DIES: dict[str, Script] = {
    "at once": closes,
    "with a reset": resets,
    "in the head": says(b"HTTP/1.1 200 OK\r\ncont", then=closes),
    "after the head": says(PART, then=closes),
    "in the body": says(PART, completion()[:40], then=resets),
    "before its first event": begins(then=closes),
    "in its first event": begins(delta("a")[:20], then=closes),
    "behind a comment": begins(b": ping", then=resets),
    "behind an interim response": says(b"HTTP/1.1 102 Processing\r\n\r\n", then=closes),
    "with another protocol": says(b"220 smtp.example ESMTP\r\n"),
    "with a bad chunk": says(wire.STREAM_HEAD, b"zz\r\n"),
    "with a stream that says nothing": streams(),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("script", DIES.values(), ids=DIES)
async def test_an_engine_that_dies_before_it_said_anything(
    platform: Running, engine: Upstream, script: Script, stream: bool
) -> None:
    engine.will(script)
    answer = await platform.chat(stream=stream)

    refusal(answer, 502, "engine_died")
    assert 1 == len(engine.calls)


NONSENSE: dict[str, Script] = {
    "no JSON": answers(b"<html>It works!</html>"),
    "nothing": says(response(b"")),
    "a list": answers(b"[]"),
    "a body longer than said": says(response(completion(), headers={"content-length": "20"})),
    "depth": answers(b'{"a":' + b"[" * 20_000),
}


@pytest.mark.parametrize("script", NONSENSE.values(), ids=NONSENSE)
async def test_an_engine_that_answers_with_nonsense(
    platform: Running, engine: Upstream, script: Script
) -> None:
    engine.will(script, answers())

    refusal(await platform.chat(), 502, "engine_error")
    assert 200 == (await platform.chat()).status


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_says_200_and_means_an_error(
    platform: Running, engine: Upstream, stream: bool
) -> None:
    engine.will(answers(problem("CUDA out of memory")))

    message = refusal(await platform.chat(stream=stream), 502, "engine_error")
    assert "CUDA" not in message


async def test_an_engine_that_refuses_connections(platform: Running, engine: Upstream) -> None:
    await engine.refuse()

    message = refusal(await platform.chat(), 503, "engine_unavailable")
    assert engine.url not in message
    await engine.listen()


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_callers_mistake_that_only_the_engine_sees(
    platform: Running, engine: Upstream, status: int
) -> None:
    body = problem("top_p must be at most 1.", code="bad_value", param="top_p")
    engine.will(answers(body, status))

    assert "top_p must be at most 1." == refusal(await platform.chat(), status, "bad_value", "top_p")


@pytest.mark.parametrize("status", [401, 404, 500, 501, 504])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_engines_own_failure(platform: Running, engine: Upstream, status: int, stream: bool) -> None:
    engine.will(answers(problem("CUDA out of memory"), status))

    message = refusal(await platform.chat(stream=stream), 502, "engine_error")
    assert "CUDA" not in message


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("told", "seconds"), [({"retry-after": "7"}, "7"), ({}, "1")])
async def test_a_busy_engine(
    platform: Running, engine: Upstream, status: int, told: dict[str, str], seconds: str
) -> None:
    engine.will(answers(problem(), status, told))
    answer = await platform.chat()

    assert seconds == answer.headers["retry-after"]
    assert (status, "engine_busy") == (answer.status, answer.error["code"])
    assert "x-should-retry" not in answer.headers


CUTS: dict[str, Script] = {
    "a close": begins(delta("Hel"), then=closes),
    "a reset": begins(delta("Hel"), then=resets),
    "half an event": begins(delta("Hel"), delta("lo")[:20], then=closes),
    "a bad chunk": says(wire.STREAM_HEAD, wire.chunk(delta("Hel")), b"zz\r\n"),
    "an end without [DONE]": streams(delta("Hel")),
    "the usage, but no [DONE]": streams(delta("Hel"), usage_event(7, 1)),
    "words about [DONE]": streams(delta("Hel"), delta("data: [DONE]")),
    "a close behind a bare stream": says(wire.BARE_STREAM_HEAD, delta("Hel"), then=closes),
}


@pytest.mark.parametrize("script", CUTS.values(), ids=CUTS)
async def test_a_stream_that_is_cut_ends_with_an_error_and_no_done(
    platform: Running, engine: Upstream, script: Script
) -> None:
    engine.will(script)
    answer = await platform.chat(stream=True)
    *told, last = wire.events_of(answer.body)

    assert 200 == answer.status
    assert "Hel" == told[0]["choices"][0]["delta"]["content"]
    assert {"message", "type", "param", "code"} == set(last["error"])
    assert "engine_died" == last["error"]["code"]
    assert "[DONE]" not in [*told, last]


@pytest.mark.parametrize(
    "first",
    [
        wire.event({"error": {"message": "CUDA out of memory", "code": 500}}),
        b'event: error\ndata: {"error": "CUDA out of memory"}\n\n',
    ],
)
async def test_a_stream_that_begins_with_an_error_is_an_error(
    platform: Running, engine: Upstream, first: bytes
) -> None:
    engine.will(streams(first, DONE))

    message = refusal(await platform.chat(stream=True), 502, "engine_error")
    assert "CUDA" not in message


async def test_an_event_without_end_is_not_kept_for_ever(platform: Running, engine: Upstream) -> None:
    async def flood(call: Any) -> None:
        await call.send(wire.STREAM_HEAD, wire.chunk(delta("a") + b"data: "))
        while not call.gone.is_set():
            await call.send(wire.chunk(b"x" * 2**20))
            await call.drained()

    engine.will(flood)
    answer = await platform.chat(stream=True)

    assert "engine_error" == wire.events_of(answer.body)[-1]["error"]["code"]


async def test_the_next_call_is_served_after_every_kind_of_failure(
    platform: Running, engine: Upstream
) -> None:
    for script in (*DIES.values(), *CUTS.values(), *NONSENSE.values()):
        engine.will(script, answers())
        await platform.chat(stream=True)
        assert 200 == (await platform.chat()).status


async def test_an_engine_that_closes_idle_connections_fails_no_call(
    platform: Running, engine: Upstream
) -> None:
    for _ in range(5):
        assert 200 == (await platform.chat()).status
        engine.drop_idle()

    assert 5 == len(engine.calls)


async def test_an_engine_that_comes_back_is_used_again(tmp_path: Path, engine: Upstream) -> None:
    async with running(tmp_path, config=config_file(tmp_path, engine.url)) as platform:
        await platform.chat()
        await engine.refuse()
        assert 503 == (await platform.chat()).status
        await engine.listen()

        assert 200 == (await platform.chat()).status
